"""kill -9 of the owner while it sends and while it receives: what was acknowledged is there, once."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from typing import Any

import aiosmtplib
import anyio
import pytest
from tests.durability.conftest import Make
from tests.durability.kit import Agent, Folder, eventually, kill_often
from tests.durability.relayed import UNCONFIRMED, check_relayed, message_id
from tests.support.daimon import Daimon
from tests.support.ports import free_port
from tests.support.sink import Sink

from daimon_mcp.store.consistency import findings

SENDERS = 4
OUTSIDE = "someone@example.org"


def with_relay(make_folder: Make, sink: Sink) -> Folder:
    return make_folder(relay__host="127.0.0.1", relay__port=sink.port, relay__security="none")


class Sent:
    """What was acknowledged: results by subject."""

    def __init__(self) -> None:
        self.results: dict[str, dict[str, Any]] = {}
        self.done = False

    async def keep_sending(self, agent: Agent, inbox: dict[str, Any], number: int) -> None:
        """Outside, to ourselves, to both; now and then something large. Each until it is acknowledged."""
        chance = random.Random(number)
        recipients = ([OUTSIDE], [inbox["address"]], [OUTSIDE, inbox["address"]], [OUTSIDE, "other@example.net"])
        count = 0
        while not self.done:
            count += 1
            subject = f"s{number}-{count}"
            body = chance.randbytes(700_000).hex() if count % 12 == 5 else f"Hello {subject}"
            self.results[subject] = await agent.until_done(
                "send_email", to=recipients[count % 4], subject=subject, body=body, client_id=subject
            )


async def check_sends(daimon: Daimon, sent: Sent, sink: Sink) -> None:
    database = daimon.operations.core.database
    assert not await findings(database, deep=True)

    outbound = await database.fetch("SELECT id, subject, message_id FROM messages WHERE direction = 'outbound'")
    assert Counter(subject for _, subject, _ in outbound) == Counter(list(sent.results))
    ids = {subject: (public_id, said) for public_id, subject, said in outbound}
    for subject, result in sent.results.items():
        assert ids[subject] == (result["id"], result["message_id"])

    # A copy for ourselves is written in the transaction that sends; beside them there are reports alone.
    local = await database.fetch(
        "SELECT m.subject FROM deliveries d JOIN queue q ON q.no = d.queue_no JOIN messages m ON m.seq = q.message_seq"
        " WHERE d.transport = 'local'"
    )
    inbound = await database.fetch("SELECT subject FROM messages WHERE direction = 'inbound' AND kind != 'bounce'")
    assert Counter(inbound) == Counter(local)
    await check_relayed(database, sink)


async def sends(make_folder: Make, kills: int) -> None:
    async with Sink() as sink:
        folder = with_relay(make_folder, sink)
        sent = Sent()
        async with folder.agent() as agent:
            inbox = await agent.until_done("create_inbox", username="writer", client_id="writer")
            await folder.unlimited()
            async with anyio.create_task_group() as tasks:
                for number in range(SENDERS):
                    tasks.start_soon(sent.keep_sending, agent, inbox, number)
                await kill_often(folder, kills, random.Random(kills), lambda: len(sent.results))
                sent.done = True
            await folder.settled()
        await folder.end_owner()
        async with folder.opened() as daimon:
            await check_sends(daimon, sent, sink)


async def test_sends_survive_kill_9(make_folder: Make) -> None:
    await sends(make_folder, 4)


@pytest.mark.long
async def test_sends_survive_kill_9_many_times(make_folder: Make) -> None:
    await sends(make_folder, 100)


@pytest.mark.parametrize("step", ["RCPT", "content"])
async def test_a_kill_while_the_content_is_under_way_is_told_and_not_sent_again(make_folder: Make, step: str) -> None:
    """Before it, the relay has nothing, and gets it from the next owner; there, nobody can know whether it has."""
    async with Sink() as sink:
        folder = with_relay(make_folder, sink)
        async with folder.agent() as agent:
            await agent.do("create_inbox", username="writer")
            await folder.unlimited()
            gate = sink.hold(step)
            result = await agent.do("send_email", to=OUTSIDE, subject="once", body="Hello", client_id="once")
            await gate.reached()
            await folder.kill_owner()
            gate.open()
            again = await agent.do("send_email", to=OUTSIDE, subject="once", body="Hello", client_id="once")
            assert again["id"] == result["id"]
            await folder.settled()
        await folder.end_owner()
        assert [message_id(each.content) for each in sink.messages] == [result["message_id"]]
        async with folder.opened() as daimon:
            database = daimon.operations.core.database
            tries = await database.fetch("SELECT outcome FROM attempts ORDER BY n")
            reports = await database.fetch("SELECT subject FROM messages WHERE direction = 'inbound'")
            if step == "content":
                assert (tries, reports) == ([("outcome_unknown",)], [(UNCONFIRMED,)])
            else:
                assert (tries, reports) == ([(None,), ("accepted",)], [])


# --- receiving -------------------------------------------------------------------------------------------------------

Uids = dict[str, tuple[int, int]]


def uids_in(folder: Folder) -> tuple[Uids, dict[int, int]]:
    """Where every message stands, and every mailbox's next UID; nobody else has the folder meanwhile."""
    with folder.held():
        connection = sqlite3.connect(folder.path / "mail.db")
        rows = connection.execute("SELECT id, mailbox_no, uid FROM messages").fetchall()
        nexts = dict(connection.execute("SELECT no, uidnext FROM mailboxes").fetchall())
        connection.close()
    return {public_id: (mailbox, uid) for public_id, mailbox, uid in rows}, nexts


class Peers:
    """Other servers that deliver: what they were told 250 for, and what they tried."""

    def __init__(self, port: int, address: str) -> None:
        self.taken: list[str] = []
        self.tried: set[str] = set()
        self.done = False
        self._port = port
        self._address = address

    async def keep_delivering(self, number: int) -> None:
        """Mail after mail, each tried once, on one connection for as long as it lasts."""
        chance = random.Random(number)
        count = 0
        while not self.done:
            client = aiosmtplib.SMTP(hostname="127.0.0.1", port=self._port, use_tls=False, start_tls=False, timeout=20)
            try:
                await client.connect()
                while not self.done:
                    count += 1
                    name = f"r{number}-{count}"
                    body = chance.randbytes(600_000 if count % 15 == 7 else 50).hex()
                    lines = "\r\n".join(body[at : at + 72] for at in range(0, len(body), 72))
                    self.tried.add(name)
                    await client.sendmail(
                        "ann@example.com",
                        [self._address],
                        f"From: ann@example.com\r\nSubject: {name}\r\n\r\n{lines}\r\n",
                    )
                    self.taken.append(name)
            except (aiosmtplib.SMTPException, OSError):
                await anyio.sleep(0.01)  # nobody is there, or not any more: the next mail will tell
            finally:
                client.close()


async def receives(make_folder: Make, port: int, kills: int) -> None:
    chance = random.Random(kills)
    folder = make_folder(smtp__inbound_port=port)
    async with folder.agent() as agent:
        inbox = await agent.do("create_inbox", username="reader")
    peers = Peers(port, inbox["address"])
    seen: Uids = {}
    nexts: dict[int, int] = {}
    async with anyio.create_task_group() as tasks:
        for number in range(SENDERS):
            tasks.start_soon(peers.keep_delivering, number)
        for _ in range(kills):
            async with folder.agent() as agent:
                await agent.do("list_inboxes")
            before = len(peers.taken)
            await eventually(lambda before=before: len(peers.taken) > before)
            await anyio.sleep(chance.random() * 0.3)
            await folder.kill_owner()
            await eventually(folder.is_free)
            now, next_now = uids_in(folder)
            # What once had a UID keeps it, and nothing new has one that was given out, or could have been.
            assert {public_id: now[public_id] for public_id in seen} == seen
            for public_id in now.keys() - seen.keys():
                mailbox, uid = now[public_id]
                assert uid >= nexts.get(mailbox, 1)
            assert all(next_now[mailbox] >= at for mailbox, at in nexts.items())
            seen, nexts = now, next_now
        peers.done = True
    async with folder.agent() as agent:  # what was acknowledged before the last kill is filed by the next owner
        await agent.do("list_inboxes")
        await folder.settled()
    await folder.end_owner()
    async with folder.opened() as daimon:
        database = daimon.operations.core.database
        assert not await findings(database, deep=True)
        found = Counter(row[0] for row in await database.fetch("SELECT subject FROM messages"))
    assert len(peers.taken) == len(set(peers.taken)) > kills
    assert set(peers.taken) <= set(found) <= peers.tried
    assert set(found.values()) == {1}


async def test_received_mail_survives_kill_9(make_folder: Make) -> None:
    await receives(make_folder, free_port(), 4)


@pytest.mark.long
async def test_received_mail_survives_kill_9_many_times(make_folder: Make) -> None:
    await receives(make_folder, free_port(), 100)
