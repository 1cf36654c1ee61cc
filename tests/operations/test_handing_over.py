"""What leaves for other servers: envelope, signatures, return paths; and what the sender is told, and when."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.mail.authentication.signing import Zone, dkimpy_verdicts
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import ROBO, arrive, becomes, clock_at, delivered_to, relayed_through, until
from tests.support.sink import EXTENSIONS, Sink
from tests.support.submission import submit

from daimon_mcp.domain.domains import dkim_name
from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.inboxes import split_subaddress
from daimon_mcp.domain.queue import Attempt, ClaimedDelivery, Outcome
from daimon_mcp.domain.verp import delivery_of
from daimon_mcp.mail.dsn import read_dsn
from daimon_mcp.operations.queueing import Selection
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction

NOTE: dict[str, Any] = {"inbox": ROBO, "subject": "Note", "body": "x"}
ANN, BEN, GONE = "ann@far.example", "ben@far.example", "gone@far.example"
EVERYTHING = Selection()
HOUR = 3600
Start = Callable[..., AbstractAsyncContextManager[Daimon]]


@pytest.fixture
async def sink() -> AsyncGenerator[Sink]:
    async with Sink(extensions=(*EXTENSIONS, "DSN")) as made:
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a daimon on this test's folder, through a sink."""

    def made(sink: Sink, **relay: Any) -> AbstractAsyncContextManager[Daimon]:
        settings = relayed_through(sink)
        settings["relay"] |= relay
        return running(tmp_path / "data", settings, workers=True, clock=clock_at("2026-11-10T12:00:00Z"))

    return made


@pytest.fixture
async def daimon(start: Start, sink: Sink) -> AsyncGenerator[Daimon]:
    async with start(sink) as made:
        await made.upgrade()
        yield made


async def attempted(daimon: Daimon, count: int) -> None:
    """Return once so many attempts have ended."""

    async def look() -> bool | None:
        rows = await daimon.operations.core.database.fetch("SELECT count(*) FROM attempts WHERE ended_at IS NOT NULL")
        return True if rows[0][0] >= count else None

    await until(daimon, look)


async def raw(daimon: Daimon, message_id: str) -> bytes:
    core = daimon.operations.core
    [(digest,)] = await core.database.fetch("SELECT blob_hash FROM messages WHERE id = ?", [message_id])
    return await core.blobs.get(core.database, digest)


async def reports(daimon: Daimon, agent: Agent, count: int) -> list[dict[str, Any]]:
    """What is in the inbox, once there is so much."""

    async def look() -> list[dict[str, Any]] | None:
        found = await delivered_to(agent, ROBO)
        return found if len(found) >= count else None

    return await until(daimon, look)


async def states(agent: Agent, message_id: str) -> dict[str, str]:
    message = await agent.do("get_message", message_id=message_id)
    return {each["recipient"]: each["status"] for each in message["deliveries"]}


# -- return paths and signatures ---------------------------------------------------------------------------------------


async def test_with_variable_return_paths_each_recipient_has_its_own(start: Start, sink: Sink) -> None:
    async with start(sink, verp=True) as daimon, daimon.agent() as agent:
        await daimon.upgrade()
        await agent.do("create_inbox", username="robo")
        sent = await agent.do("send_email", **NOTE, to=[ANN, BEN])
        await becomes(daimon, agent, sent["id"], "sent")
        key = daimon.operations.core.verp_key
        about: dict[int, str] = {}
        for stored in sink.messages:
            local, _, domain = stored.mail_from.rpartition("@")
            base, tag = split_subaddress(local)
            number = delivery_of(key, base, tag)
            assert (base, domain) == ("robo", "agents.localhost")
            assert number is not None
            [about[number]] = stored.recipients
        rows = await daimon.operations.core.database.fetch("SELECT no, recipient FROM deliveries")
        assert about == dict(rows)
        assert sink.messages[0].content == sink.messages[1].content


async def test_without_them_one_transaction_takes_all(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sent = await agent.do("send_email", **NOTE, to=[ANN, BEN])
    await becomes(daimon, agent, sent["id"], "sent")
    [stored] = sink.messages
    assert (stored.mail_from, stored.recipients) == (ROBO, [ANN, BEN])
    assert b"DKIM-Signature" not in stored.content  # the domain has no keys


async def test_mail_is_signed_with_both_keys_of_its_domain_and_each_try_is_the_same(
    daimon: Daimon, agent: Agent, sink: Sink
) -> None:
    keys = await daimon.operations.domain_keys.published("agents.localhost")
    zone = Zone({(dkim_name(key.selector, "agents.localhost"), "TXT"): [key.public] for key in keys})
    sink.drop("reading", times=1)
    sink.answer("content", "451 4.3.0 Try again", times=1)
    sent = await agent.do("send_email", **NOTE, to=ANN)
    await attempted(daimon, 1)
    daimon.later(90)
    await attempted(daimon, 2)
    daimon.later(600)
    await becomes(daimon, agent, sent["id"], "sent")
    [stored] = sink.messages
    assert dkimpy_verdicts(stored.content, zone, 2) == [True, True]
    tags = re.findall(rb"DKIM-Signature:.*?a=([a-z0-9-]+);.*?d=([a-z.]+);", stored.content.replace(b"\r\n", b""))
    assert sorted(tags) == [(b"ed25519-sha256", b"agents.localhost"), (b"rsa-sha256", b"agents.localhost")]
    core = daimon.operations.core
    [(sealed,)] = await core.database.fetch("SELECT private FROM dkimkeys WHERE algorithm = 'rsa-sha256'")
    assert b"\x30\x82" not in sealed[:64]  # the key is kept encrypted
    [(mail_from, created_at)] = await core.database.fetch("SELECT mail_from, created_at FROM queue")
    again = [await daimon.operations.signing.signed(await raw(daimon, sent["id"]), mail_from, created_at)] * 2
    assert again == [stored.content] * 2


# -- what was asked about reports (RFC 3461) ---------------------------------------------------------------------------


async def test_what_the_sender_asked_for_goes_along_to_a_server_that_knows_it(
    daimon: Daimon, agent: Agent, sink: Sink
) -> None:
    id_ = await submit(
        daimon, Recipient(ANN, "SUCCESS,FAILURE", "rfc822;ann@far.example"), BEN, ret="HDRS", envid="ticket-7"
    )
    await becomes(daimon, agent, id_, "sent")
    [mail] = [each for each in sink.commands if each.startswith("MAIL")]
    assert {"RET=HDRS", "ENVID=ticket-7"} <= set(mail.split())
    assert f"RCPT TO:<{ANN}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;ann@far.example" in sink.commands
    assert f"RCPT TO:<{BEN}>" in sink.commands
    assert await delivered_to(agent, ROBO) == []  # that server will tell


async def test_a_server_that_does_not_know_it_is_not_told_and_we_report_the_success(tmp_path: Path) -> None:
    async with Sink() as plain:
        clock = clock_at("2026-11-10T12:00:00Z")
        async with (
            running(tmp_path / "plain", relayed_through(plain), workers=True, clock=clock) as daimon,
            daimon.agent() as agent,
        ):
            await daimon.upgrade()
            await agent.do("create_inbox", username="robo")
            id_ = await submit(daimon, Recipient(ANN, "SUCCESS", "rfc822;ann@far.example"), BEN, envid="ticket-7")
            await becomes(daimon, agent, id_, "sent")
            [told] = await reports(daimon, agent, 1)
            found = read_dsn(await raw(daimon, told["id"]))
            assert found is not None
            assert found.envelope_id == "ticket-7"
            [success] = found.failures
            assert (success.recipient, success.action, success.orcpt) == (ANN, "relayed", "rfc822;ann@far.example")
            assert told["subject"] == "Delivery successful"
            assert not any("NOTIFY" in command or "ENVID" in command for command in plain.commands)


async def test_who_wants_no_reports_gets_none(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "550 5.7.1 Not here", match=GONE)
    id_ = await submit(daimon, Recipient(GONE, "NEVER"))
    await becomes(daimon, agent, id_, "bounced")
    assert await delivered_to(agent, ROBO) == []


# -- late mail ---------------------------------------------------------------------------------------------------------


async def test_after_four_hours_the_sender_is_told_once_that_it_takes_long(
    daimon: Daimon, agent: Agent, sink: Sink
) -> None:
    sink.answer("RCPT", "451 4.7.1 Later")
    sent = await agent.do("send_email", **NOTE, to=ANN)
    await attempted(daimon, 1)
    for count in range(2, 9):
        daimon.later(HOUR)
        await daimon.operations.queueing.retry(EVERYTHING)
        await attempted(daimon, count)
        assert len(await delivered_to(agent, ROBO)) == (1 if count > 4 else 0), count
    [warning] = await delivered_to(agent, ROBO)
    assert (warning["subject"], warning["thread_id"]) == ("Delivery delayed", sent["thread_id"])
    assert (await agent.do("get_message", message_id=sent["id"]))["delivery_status"] == "queued"


async def test_one_who_does_not_want_to_hear_of_a_delay_does_not_use_it_up_for_another(
    daimon: Daimon, agent: Agent, sink: Sink
) -> None:
    sink.answer("RCPT", "451 4.7.1 Later")
    id_ = await submit(daimon, Recipient(ANN, "FAILURE"), Recipient(BEN))
    await attempted(daimon, 2)
    await daimon.operations.queueing.hold(Selection(id=await delivery_id(daimon, BEN)))
    daimon.later(5 * HOUR)
    await attempted(daimon, 3)
    assert await delivered_to(agent, ROBO) == []
    await daimon.operations.queueing.release(EVERYTHING)
    await attempted(daimon, 4)
    [warning] = await reports(daimon, agent, 1)
    found = read_dsn(await raw(daimon, warning["id"]))
    assert found is not None
    assert [(each.recipient, each.action) for each in found.failures] == [(BEN, "delayed")]
    assert (await states(agent, id_)) == {ANN: "queued", BEN: "queued"}


# -- an end in the middle ----------------------------------------------------------------------------------------------


async def delivery_id(daimon: Daimon, recipient: str) -> str:
    rows = await daimon.operations.core.database.fetch("SELECT id FROM deliveries WHERE recipient = ?", [recipient])
    return str(rows[0][0])


@pytest.mark.parametrize("begun", [True, False])
async def test_an_attempt_that_was_cut_off_by_the_end_of_the_process(start: Start, sink: Sink, begun: bool) -> None:
    """As a killed process leaves it: claimed, not recorded. Once its content has begun it is never sent again."""
    async with start(sink) as daimon, daimon.agent() as agent:
        await daimon.upgrade()
        await agent.do("create_inbox", username="robo")
        sink.answer("RCPT", "451 4.7.1 Later", times=1)
        sent = await agent.do("send_email", **NOTE, to=ANN)
        await attempted(daimon, 1)
        core = daimon.operations.core

        def claimed(tx: Transaction) -> None:
            number = 1  # the only one there is
            tx.run(
                sql.delivery_lease, delivery_no=number, again_at=core.clock.now() + 10**9, owner="killed",
                until=core.clock.now() + 10**9,
            )  # fmt: skip
            tx.run(sql.attempt_insert, delivery_no=number, n=2, started_at=core.clock.now())
            if begun:
                tx.run(sql.attempt_content, delivery_no_=number, n_=2, now=core.clock.now())

        await core.database.write(claimed)
    async with start(sink) as daimon, daimon.agent() as agent:
        message = await becomes(daimon, agent, sent["id"], "outcome_unknown" if begun else "sent")
        [delivery] = message["deliveries"]
        if not begun:
            assert (len(sink.messages), delivery["attempts"]) == (1, 3)
            return
        assert sink.messages == []
        [report] = await reports(daimon, agent, 1)
        assert (report["subject"], report["thread_id"]) == ("Delivery not confirmed", sent["thread_id"])
        daimon.later(24 * HOUR)
        await daimon.operations.queueing.retry(EVERYTHING)
        await arrive(daimon, ROBO, subject="later mail")
        assert sink.messages == []
        assert len(await delivered_to(agent, ROBO)) == 2
    async with start(sink) as daimon, daimon.agent() as agent:  # and is not told again
        assert len(await delivered_to(agent, ROBO)) == 2
        assert await states(agent, sent["id"]) == {ANN: "outcome_unknown"}


async def test_a_lease_is_renewed_only_for_who_has_it(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    gate = sink.hold("content")
    await agent.do("send_email", **NOTE, to=ANN)
    await gate.reached()
    delivering, core = daimon.operations.delivering, daimon.operations.core
    [(number, id_, attempts, until_when)] = await core.database.fetch(
        "SELECT no, id, attempts, lease_until FROM deliveries"
    )
    claimed = partial(ClaimedDelivery, number, id_, Recipient(ANN), expires_at=0)
    daimon.later(60)
    assert await delivering.renew([claimed(attempt=attempts - 1)]) == []
    assert await delivering.renew([claimed(attempt=attempts)]) == [claimed(attempt=attempts)]
    [(later,)] = await core.database.fetch("SELECT lease_until FROM deliveries")
    assert later == until_when + 60_000_000
    gate.open()
    await attempted(daimon, 1)
    assert await delivering.renew([claimed(attempt=attempts)]) == []


async def test_only_so_many_are_claimed_at_once_and_each_once(tmp_path: Path, sink: Sink) -> None:
    """Two that claim at the same time share what is due; nobody else claims what is leased."""
    async with running(tmp_path / "idle", relayed_through(sink), clock=clock_at("2026-11-10T12:00:00Z")) as daimon:
        await daimon.upgrade()
        async with daimon.agent() as agent:
            await agent.do("create_inbox", username="robo")
            sent = await agent.do("send_email", **NOTE, to=[f"p{number}@far.example" for number in range(7)])
            other = await agent.do("send_email", **NOTE, to=["ann@busy.example", ANN])
        delivering = daimon.operations.delivering
        found: list[str] = []

        async def claim() -> None:
            for message in await delivering.claim(3, ["busy.example"]):
                found.extend(each.recipient.address for each in message.deliveries)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(claim)
        assert sorted(found) == sorted([*(f"p{number}@far.example" for number in range(7)), ANN])
        assert await delivering.next_due(["busy.example"]) != daimon.operations.core.clock.now()
        [message] = await delivering.claim(10)
        assert (message.message_id, [each.recipient.address for each in message.deliveries]) == (
            other["id"], ["ann@busy.example"],
        )  # fmt: skip
        done = Attempt(Outcome.ACCEPTED, 250, "2.0.0", "Ok", "far")
        await delivering.record(message, {message.deliveries[0].no: done})
        assert await delivering.claim(10) == []
        rows = await daimon.operations.core.database.fetch("SELECT count(*) FROM attempts")
        assert rows == [(9,)]
        assert sent["status"] == "queued"
