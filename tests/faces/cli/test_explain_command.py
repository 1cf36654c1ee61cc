"""`daimon-mcp explain`: the story of a message as the operator reads it in a terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.post import ROBO, arrive, becomes
from tests.support.sink import Sink

from daimon_mcp.faces.cli.control import dispatch
from daimon_mcp.faces.cli.explained import lines


@pytest.fixture
async def agent(relayed: Daimon) -> AsyncGenerator[Agent]:
    async with relayed.agent() as made:
        await made.do("create_inbox", username="robo")
        yield made


async def shown(daimon: Daimon, message_id: str, **more: Any) -> str:
    answer = await dispatch(daimon.operations, "explain", {"message_id": message_id, **more})
    return "\n".join(lines(answer["result"]))


async def test_mail_that_was_refused(relayed: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "554 5.7.1 Client host blocked using zen.spamhaus.org", match="ann@")
    sent = await agent.do("send_email", inbox=ROBO, to="ann@far.example", subject="s", body="b")
    await becomes(relayed, agent, sent["id"], "bounced")
    text = await shown(relayed, sent["id"], recipient=None)
    assert text.startswith(f"The message {sent['id']} is bounced, for 1 recipient.\n")
    assert "2026-11-10T12:00:00Z  attempt 1, recipient 1  " in text
    assert '"554 5.7.1 Client host blocked using zen.spamhaus.org"' in text
    assert "Recipient 1: ann@far.example: bounced, attempts: 1" in text
    assert "  - Find the list in the quoted reply" in text


async def test_mail_that_came(relayed: Daimon, agent: Agent) -> None:
    await agent.do("add_to_list", inbox=ROBO, list="block", entries=["example.com"])
    [held] = await arrive(relayed, ROBO)
    text = await shown(relayed, held)
    assert "From ann@example.com, in spam, from another server." in text
    assert "Held: Its sender is on a block list" in text


async def test_what_is_not_there_or_not_its_recipient(relayed: Daimon, agent: Agent) -> None:
    answer = await dispatch(relayed.operations, "explain", {"message_id": "msg_none"})
    assert answer["error"] == "MESSAGE_NOT_FOUND"
    sent = await agent.do("send_email", inbox=ROBO, to=ROBO, subject="s", body="b")
    answer = await dispatch(relayed.operations, "explain", {"message_id": sent["id"], "recipient": "x@far.example"})
    assert answer["error"] == "INVALID_REQUEST"
