"""`daimon-mcp explain`: the story of a message as the operator reads it in a terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import ROBO, arrive, becomes, clock_at, relayed_through
from tests.support.sink import Sink

from daimon_mcp.faces.cli.control import dispatch
from daimon_mcp.faces.cli.explained import lines


@pytest.fixture
async def sink() -> AsyncGenerator[Sink]:
    async with Sink() as made:
        yield made


@pytest.fixture
async def daimon(tmp_path: Path, sink: Sink) -> AsyncGenerator[Daimon]:
    clock = clock_at("2026-11-10T12:00:00Z")
    async with running(tmp_path / "data", relayed_through(sink), workers=True, clock=clock) as made:
        await made.upgrade()
        yield made


@pytest.fixture
async def agent(daimon: Daimon) -> AsyncGenerator[Agent]:
    async with daimon.agent() as made:
        await made.do("create_inbox", username="robo")
        yield made


async def shown(daimon: Daimon, message_id: str, **more: Any) -> str:
    answer = await dispatch(daimon.operations, "explain", {"message_id": message_id, **more})
    return "\n".join(lines(answer["result"]))


async def test_mail_that_was_refused(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "554 5.7.1 Client host blocked using zen.spamhaus.org", match="ann@")
    sent = await agent.do("send_email", inbox=ROBO, to="ann@far.example", subject="s", body="b")
    await becomes(daimon, agent, sent["id"], "bounced")
    text = await shown(daimon, sent["id"], recipient=None)
    assert text.startswith(f"The message {sent['id']} is bounced, for 1 recipient.\n")
    assert "2026-11-10T12:00:00Z  attempt 1, recipient 1  " in text
    assert '"554 5.7.1 Client host blocked using zen.spamhaus.org"' in text
    assert "Recipient 1: ann@far.example: bounced, attempts: 1" in text
    assert "  - Find the list in the quoted reply" in text


async def test_mail_that_came(daimon: Daimon, agent: Agent) -> None:
    await agent.do("add_to_list", inbox=ROBO, list="block", entries=["example.com"])
    [held] = await arrive(daimon, ROBO)
    text = await shown(daimon, held)
    assert "From ann@example.com, in spam, from another server." in text
    assert "Held: Its sender is on a block list" in text


async def test_what_is_not_there_or_not_its_recipient(daimon: Daimon, agent: Agent) -> None:
    answer = await dispatch(daimon.operations, "explain", {"message_id": "msg_none"})
    assert answer["error"] == "MESSAGE_NOT_FOUND"
    sent = await agent.do("send_email", inbox=ROBO, to=ROBO, subject="s", body="b")
    answer = await dispatch(daimon.operations, "explain", {"message_id": sent["id"], "recipient": "x@far.example"})
    assert answer["error"] == "INVALID_REQUEST"
