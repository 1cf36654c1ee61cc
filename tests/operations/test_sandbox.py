"""Trying things out: with the sandbox for a relay, each outcome mail can have, and nothing leaves."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import ROBO, becomes, clock_at, delivered_to, until
from tests.support.submission import submit

from daimon_mcp.domain.clock import SystemClock
from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.queue import Handover, Outcome
from daimon_mcp.workers.sandbox import Sandbox

NOTE: dict[str, Any] = {"inbox": ROBO, "subject": "Note", "body": "x"}

_connecting: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _connecting is not None and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        _connecting.append(f"{event} {arguments[-1]!r}")


sys.addaudithook(_audit)  # there is no way to take one away again: it is deaf outside these tests


@pytest.fixture(autouse=True)
def nothing_connects_anywhere() -> Generator[None]:
    """As the interpreter itself sees it."""
    global _connecting
    _connecting = []
    yield
    found, _connecting = _connecting, None
    assert found == []


@pytest.fixture(params=[False, True], ids=["plain", "verp"])
async def daimon(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Daimon]:
    sections = {"relay": {"mode": "sandbox", "verp": request.param}}
    clock = clock_at("2026-11-10T12:00:00Z")
    async with running(tmp_path / "data", sections, workers=True, clock=clock) as made:
        await made.upgrade()
        yield made


async def arrived(daimon: Daimon, agent: Agent, count: int = 1) -> list[dict[str, Any]]:
    """What is in the inbox, once there is so much."""

    async def look() -> list[dict[str, Any]] | None:
        found = await delivered_to(agent, ROBO)
        return found if len(found) >= count else None

    return await until(daimon, look)


async def test_mail_to_anybody_is_taken_and_goes_nowhere(daimon: Daimon, agent: Agent) -> None:
    for address in ("ann@example.com", "anybody@sandbox.test", "bounce@example.com"):
        sent = await agent.do("send_email", **NOTE, to=address)
        message = await becomes(daimon, agent, sent["id"], "sent")
        assert "nothing has left this server" in message["deliveries"][0]["last_reply"]
    assert await delivered_to(agent, ROBO) == []
    assert {"action": "send_to_other_servers"} in (await agent.do("get_capabilities"))["can"]


async def test_an_agent_is_told_that_nothing_leaves(daimon: Daimon, agent: Agent) -> None:
    account = await agent.call("get_account")
    assert account.result["relay"] == "sandbox"
    assert "This server is a sandbox" in account.text
    sent = await agent.call("send_email", **NOTE, to="ann@example.com")
    assert sent.result["status"] == "queued"
    assert "does not leave this server" in sent.result["note"]
    assert "this server lets no mail out" in sent.text
    assert "leaves at once" not in sent.text
    await becomes(daimon, agent, sent.result["id"], "sent")
    story = await agent.call("explain_delivery", message_id=sent.result["id"])
    assert story.result["deliveries"][0]["meaning"] == "state.captured"
    assert [entry["meaning"] for entry in story.result["timeline"] if entry["what"] == "attempt"] == ["state.captured"]
    assert "has not left this server" in story.text
    assert "nothing of it has left this server" in story.text
    draft = await agent.do("create_draft", **NOTE, to="ben@example.com")
    assert "this server lets no mail out" in (await agent.call("send_draft", draft_id=draft["id"])).text
    later = await agent.call(
        "send_email", **{**NOTE, "body": "y"}, to="ann@example.com", send_at="2026-11-11T12:00:00Z"
    )
    assert "it will be captured" in later.text
    local = await agent.call("send_email", **NOTE, to=ROBO)
    assert "sandbox" not in local.text


async def test_a_bounce(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", **NOTE, to=["bounce+x@sandbox.test", "ann@sandbox.test"])
    message = await becomes(daimon, agent, sent["id"], "bounced")
    assert {each["recipient"]: each["status"] for each in message["deliveries"]} == {
        "bounce+x@sandbox.test": "bounced", "ann@sandbox.test": "sent",
    }  # fmt: skip
    [report] = await arrived(daimon, agent)
    assert (report["kind"], report["thread_id"]) == ("bounce", sent["thread_id"])
    refused = await agent.call("send_email", **NOTE, to="bounce+x@sandbox.test")
    assert refused.envelope["code"] == "SUPPRESSED"


async def test_mail_that_is_late(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", **NOTE, to="delay@sandbox.test")

    async def tried(count: int) -> None:
        async def look() -> bool | None:
            rows = await daimon.operations.core.database.fetch("SELECT count(*) FROM attempts WHERE ended_at > 0")
            return rows[0][0] == count or None

        await until(daimon, look)

    await tried(1)
    assert (await agent.do("get_message", message_id=sent["id"]))["delivery_status"] == "queued"
    daimon.later(90)
    await tried(2)
    assert (await agent.do("get_message", message_id=sent["id"]))["delivery_status"] == "queued"
    daimon.later(8 * 60)
    message = await becomes(daimon, agent, sent["id"], "sent")
    assert message["deliveries"][0]["attempts"] == 3
    story = await agent.do("explain_delivery", message_id=sent["id"])
    outcomes = [entry["outcome"] for entry in story["timeline"] if entry["what"] == "attempt"]
    assert outcomes == ["deferred", "deferred", "accepted"]


async def test_an_automatic_answer_comes_into_the_thread(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", **{**NOTE, "subject": "Café"}, to="autoreply@sandbox.test")
    await becomes(daimon, agent, sent["id"], "sent")
    waited = await agent.do("wait_for_message", inbox=ROBO, thread_id=sent["thread_id"], after=sent["cursor"])
    answer = waited["message"]
    assert (answer["kind"], answer["in_reply_to"], answer["subject"]) == (
        "auto_reply", sent["message_id"], "Automatic reply: Café",
    )  # fmt: skip
    assert answer["from_address"] == "autoreply@sandbox.test"
    assert answer["body_text"] == "I am away until further notice. This answer was made by the sandbox."
    again = await agent.do("reply_to_message", message_id=answer["id"], body="Until when?")
    await becomes(daimon, agent, again["id"], "sent")
    assert again["thread_id"] == sent["thread_id"]


async def test_no_automatic_answer_to_automatic_mail(daimon: Daimon, agent: Agent) -> None:
    content = (
        f"From: {ROBO}\r\nTo: autoreply@sandbox.test\r\nSubject: Auto\r\nAuto-Submitted: auto-replied\r\n"
        "Message-ID: <auto@agents.localhost>\r\n\r\nx\r\n"
    )
    id_ = await submit(daimon, "autoreply@sandbox.test", content=content.encode())
    await becomes(daimon, agent, id_, "sent")
    assert await delivered_to(agent, ROBO) == []


async def test_a_complaint_is_told_and_suppresses(daimon: Daimon, agent: Agent) -> None:
    sent = await agent.do("send_email", **NOTE, to="complaint@sandbox.test")
    message = await becomes(daimon, agent, sent["id"], "sent")
    [complaint] = await arrived(daimon, agent)
    assert complaint["subject"] == "Complaint about your mail"
    assert complaint["thread_id"] == sent["thread_id"]
    [entry] = (await agent.do("list_suppressions"))["suppressions"]
    assert (entry["address"], entry["why"]) == ("complaint@sandbox.test", "complained")
    rows = await daimon.operations.core.database.fetch("SELECT type FROM events WHERE type = 'message.complained'")
    assert len(rows) == 1
    refused = await agent.call("send_email", **{**NOTE, "subject": "Again"}, to="Complaint@sandbox.test")
    assert (refused.error, refused.envelope["code"]) == ("RECIPIENT_REFUSED", "SUPPRESSED")
    assert message["delivery_status"] == "sent"


@pytest.mark.parametrize("role", ["autoreply", "complaint"])
async def test_nobody_answers_the_null_sender(role: str, daimon: Daimon) -> None:
    operations = daimon.operations
    sandbox = Sandbox(
        receiving=operations.receiving, texts=operations.texts, hostname="sandbox.test", clock=SystemClock()
    )
    recipient = Recipient(f"{role}@sandbox.test")
    handover = Handover(mail_from="", recipients=(recipient,), content=b"Subject: x\r\n\r\nx\r\n")
    found = await sandbox.relay("sandbox", handover)
    assert found[recipient.address].outcome is Outcome.ACCEPTED
    assert await operations.spool.listed() == []


async def test_an_operators_words_come_back_too(tmp_path: Path) -> None:
    words = tmp_path / "words" / "sandbox"
    words.mkdir(parents=True)
    (words / "auto_reply.md").write_text("# subject_prefix\nAbwesend:\n\n# body\nIch bin fort, für {{immer}}.\n")
    sections = {"relay": {"mode": "sandbox"}, "operator": {"prompts_dir": str(words.parent)}}
    async with running(tmp_path / "data", sections, workers=True) as daimon, daimon.agent() as agent:
        await daimon.upgrade()
        await agent.do("create_inbox", username="robo")
        await agent.do("send_email", **NOTE, to="autoreply@sandbox.test")
        [answer] = await arrived(daimon, agent)
        shown = await agent.do("get_message", message_id=answer["id"])
    assert (shown["subject"], shown["body_text"]) == ("Abwesend: Note", "Ich bin fort, für {immer}.")
