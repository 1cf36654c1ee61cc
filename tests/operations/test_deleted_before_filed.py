"""Mail that was acknowledged for an inbox which is deleted before it is filed: it is kept with that inbox's mail."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.faces.smtp.server import Client
from tests.support.daimon import Agent, Daimon, MovableClock, running
from tests.support.post import OTHER, PEER, ROBO, delivered_to, eml

from daimon_mcp.domain.changes import Change, MessageAdded, MessageChanged
from daimon_mcp.domain.envelopes import Envelope

LETTER = eml(subject="Late", to=OTHER)


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path, listeners=True) as made:
        yield made


async def lying_in(daimon: Daimon, address: str) -> list[tuple[Any, ...]]:
    """Subject, tag and mailbox of all mail of every inbox that ever had the address."""
    return await daimon.operations.core.database.fetch(
        """SELECT m.subject, m.tag, b.name FROM messages m JOIN inboxes i ON i.no = m.inbox_no
           JOIN mailboxes b ON b.no = m.mailbox_no WHERE i.address = ? ORDER BY m.seq""",
        [address],
    )


@pytest.mark.parametrize(
    ("address", "tag"), [(OTHER, None), ("Other+Bills@agents.localhost", "bills")], ids=["plain", "tagged"]
)
async def test_deleted_between_the_recipient_and_the_content(
    daimon: Daimon, agent: Agent, address: str, tag: str | None
) -> None:
    async with await anyio.connect_tcp(*daimon.inbound) as stream:
        client = Client(stream)
        assert (await client.reply()).startswith("220 ")
        await client.say("EHLO mail.example.com", "MAIL FROM:<ann@example.com>", f"RCPT TO:<{ROBO}>")
        assert (await client.say(f"RCPT TO:<{address}>")).startswith("250 ")
        await agent.do("delete_inbox", inbox=OTHER)
        assert (await client.say("DATA")).startswith("354 ")
        await client.send(LETTER + b".\r\n")
        assert (await client.reply()).startswith("250 ")
        assert (await client.say(f"RCPT TO:<{address}>", "MAIL FROM:<>", f"RCPT TO:<{address}>")).startswith("550 ")
    await daimon.operations.spool.settled(5)
    assert await lying_in(daimon, OTHER) == [("Late", tag, "INBOX")]
    assert [each["subject"] for each in await delivered_to(agent, ROBO)] == ["Late"]


async def test_deleted_between_the_acknowledgement_and_filing(tmp_path: Path) -> None:
    async with running(tmp_path) as daimon, daimon.agent() as agent:
        await agent.do("create_inbox", username="robo")
        await agent.do("create_inbox", username="other")
        await daimon.operations.receiving.accept(Envelope("ann@example.com", (OTHER,)), PEER, LETTER)
        await agent.do("delete_inbox", inbox=OTHER)
        told: list[Change] = []
        daimon.operations.core.bus.subscribe(told.append)
        ((number, _),) = daimon.operations.spool.waiting()
        await daimon.operations.intake.file(number, anyio.lowlevel.checkpoint)

        assert await lying_in(daimon, OTHER) == [("Late", None, "INBOX")]
        assert not [each for each in told if isinstance(each, MessageAdded | MessageChanged)]
        kinds = await daimon.operations.core.database.fetch("SELECT type FROM events ORDER BY seq")
        assert kinds[-1] == ("inbox.deleted",)
        assert (await agent.do("search_messages", query="Late"))["messages"] == []
        assert (await agent.do("list_messages", inbox=ROBO))["messages"] == []


async def test_mail_for_an_address_is_not_put_into_an_inbox_deleted_long_ago(tmp_path: Path) -> None:
    async with running(tmp_path, workers=True, clock=MovableClock()) as daimon, daimon.agent() as agent:
        await agent.do("create_inbox", username="robo")
        await agent.do("create_inbox", username="other")
        await agent.do("delete_inbox", inbox=OTHER)
        daimon.later(2 * 3600)
        await daimon.operations.receiving.accept(Envelope("ann@example.com", (OTHER, ROBO)), PEER, LETTER)
        await daimon.operations.spool.settled(5)
        assert await lying_in(daimon, OTHER) == []
        assert [each["subject"] for each in await delivered_to(agent, ROBO)] == ["Late"]
