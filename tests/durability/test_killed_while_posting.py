"""kill -9 of the owner while it posts to webhooks: every event is told, in order, and known again when told twice."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from tests.durability.conftest import Make
from tests.durability.kit import Agent, eventually, kill_often
from tests.support.receiver import Receiver, receiver

SENDERS = 3


class Sent:
    """What was acknowledged: ids of messages."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.done = False

    async def keep_sending(self, agent: Agent, inbox: dict[str, Any], number: int) -> None:
        """To ourselves, each until it is acknowledged; each makes two events."""
        count = 0
        while not self.done:
            count += 1
            subject = f"s{number}-{count}"
            result = await agent.until_done(
                "send_email", inbox=inbox["id"], to=inbox["address"], subject=subject, body="Hello", client_id=subject
            )
            self.ids.add(result["id"])


def told(peer: Receiver) -> set[str]:
    """Messages whose delivery the receiver knows of."""
    return {each.json["data"]["message"]["id"] for each in peer.posted if each.event == "message.delivered"}


async def posts(make_folder: Make, kills: int) -> None:
    async with receiver() as peer:
        folder = make_folder()
        sent = Sent()
        async with folder.agent() as agent:
            inbox = await agent.until_done("create_inbox", username="writer", client_id="writer")
            await folder.unlimited()
            hook = await agent.do(
                "create_webhook", url=peer.url(), events=["message.received", "message.delivered"], client_id="hook"
            )
            async with anyio.create_task_group() as tasks:
                for number in range(SENDERS):
                    tasks.start_soon(sent.keep_sending, agent, inbox, number)
                await kill_often(folder, kills, random.Random(kills), lambda: len(peer.posted))
                sent.done = True
            await eventually(lambda: sent.ids <= told(peer))
        await folder.end_owner()
        async with folder.opened() as daimon:
            database = daimon.operations.core.database
            recorded = await database.fetch(
                "SELECT e.id, d.state, d.attempts,"
                " (SELECT count(*) FROM hookattempts a WHERE a.delivery_no = d.no AND a.status = 200)"
                " FROM events e JOIN hookdeliveries d ON d.event_seq = e.seq ORDER BY e.seq"
            )
            log = await database.fetch("SELECT id FROM events WHERE type LIKE 'message.%' ORDER BY seq")
            assert [row[0] for row in recorded] == [public_id for (public_id,) in log]
            assert {(state, answered) for _, state, _, answered in recorded} == {("delivered", 1)}
            firsts = list(dict.fromkeys(each.headers["webhook-id"] for each in peer.posted))
            assert firsts == [row[0] for row in recorded]
            assert len(peer.posted) <= sum(attempts for _, _, attempts, _ in recorded)
        assert hook["status"] == "active"


async def test_events_survive_kill_9(make_folder: Make) -> None:
    await posts(make_folder, 3)


@pytest.mark.long
async def test_events_survive_kill_9_many_times(make_folder: Make) -> None:
    await posts(make_folder, 40)
