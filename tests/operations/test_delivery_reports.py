"""What the sender learns of mail that did not arrive: by its status, and by a report in its inbox."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import (
    ROBO,
    arrive,
    becomes,
    clock_at,
    delivered_to,
    read_mail,
    relayed_through,
    until,
)
from tests.support.sink import Sink

NOTE: dict[str, Any] = {"inbox": ROBO, "subject": "Note", "body": "x"}


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


async def one_report(daimon: Daimon, agent: Agent) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = await delivered_to(agent, ROBO)
        return found[0] if found else None

    found = await until(daimon, look)
    return await agent.do("get_message", message_id=found["id"], include=["headers"])


async def test_a_refusal_for_good_is_a_bounce_in_the_thread(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "550 5.1.1 No such user", match="gone@")
    sent = await agent.do("send_email", **NOTE, to="gone@example.com")
    message = await becomes(daimon, agent, sent["id"], "bounced")
    [delivery] = message["deliveries"]
    assert (delivery["status"], delivery["attempts"], delivery["last_outcome"]) == ("bounced", 1, "refused")
    assert "5.1.1" in delivery["last_reply"]
    assert "bounced" in message["labels"]
    report = await one_report(daimon, agent)
    assert (report["kind"], report["thread_id"], report["in_reply_to"]) == (
        "bounce", sent["thread_id"], sent["message_id"],
    )  # fmt: skip
    assert report["from_address"] == "mailer-daemon@agents.localhost"
    assert "gone@example.com: 550 " in report["body_text"]
    assert "No such user" in report["body_text"]
    assert report["headers"]["auto-submitted"] == "auto-replied"
    waited = await agent.do("wait_for_message", inbox=ROBO, after=sent["cursor"], thread_id=sent["thread_id"])
    assert waited["message"]["id"] == report["id"]


async def test_each_recipient_has_an_outcome_of_its_own(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "550 5.1.1 No such user", match="gone@")
    sink.answer("RCPT", "451 4.7.1 Later", match="busy@", times=1)
    sent = await agent.do("send_email", **NOTE, to="ok@example.com", cc="gone@example.com", bcc="busy@example.com")

    async def settled() -> dict[str, Any] | None:
        message = await agent.do("get_message", message_id=sent["id"])
        states = {each["recipient"]: each["status"] for each in message["deliveries"]}
        return message if states["ok@example.com"] == "sent" and states["gone@example.com"] == "bounced" else None

    message = await until(daimon, settled)
    assert message["delivery_status"] == "queued"
    [busy] = [each for each in message["deliveries"] if each["recipient"] == "busy@example.com"]
    assert busy["status"] == "queued"
    assert "next_attempt_at" in busy
    report = await one_report(daimon, agent)
    assert "gone@example.com" in report["body_text"]
    assert "busy@" not in report["body_text"]
    daimon.later(90)
    after = await becomes(daimon, agent, sent["id"], "bounced")
    assert {each["recipient"]: each["status"] for each in after["deliveries"]} == {
        "ok@example.com": "sent",
        "gone@example.com": "bounced",
        "busy@example.com": "sent",
    }
    assert len(await delivered_to(agent, ROBO)) == 1


async def test_after_five_days_it_is_given_up_and_said(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "451 4.7.1 Later", match="busy@")
    sent = await agent.do("send_email", **NOTE, to="busy@example.com")

    def attempted(count: int) -> Any:
        async def look() -> dict[str, Any] | None:
            message = await agent.do("get_message", message_id=sent["id"])
            [delivery] = message["deliveries"]
            done = delivery["attempts"] >= count and delivery.get("last_outcome") is not None
            return message if done else None

        return look

    first = await until(daimon, attempted(1))
    assert first["delivery_status"] == "queued"
    daimon.later(3600)
    await until(daimon, attempted(2))
    assert await delivered_to(agent, ROBO) == []
    daimon.later(5 * 24 * 3600)
    await becomes(daimon, agent, sent["id"], "failed")
    report = await one_report(daimon, agent)
    assert (report["kind"], report["thread_id"]) == ("bounce", sent["thread_id"])
    attempts = len([command for command in sink.commands if command.startswith("RCPT")])
    daimon.later(24 * 3600)
    assert len([command for command in sink.commands if command.startswith("RCPT")]) == attempts


async def test_lost_after_the_final_dot_is_unknown_and_not_sent_again(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.drop("content", store=True)
    sent = await agent.do("send_email", **NOTE, to="ann@example.com")
    message = await becomes(daimon, agent, sent["id"], "outcome_unknown")
    assert message["sent_at"] is None
    assert message["deliveries"][0]["status"] == "outcome_unknown"
    report = await one_report(daimon, agent)
    assert "may or may not have arrived" in report["body_text"]
    assert "ann@example.com" in report["body_text"]
    daimon.later(6 * 24 * 3600)
    assert len(sink.messages) == 1
    assert (await agent.do("get_message", message_id=sent["id"]))["delivery_status"] == "outcome_unknown"
    assert len(await delivered_to(agent, ROBO)) == 1


async def test_the_report_names_what_failed_and_hides_the_others(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.answer("RCPT", "550 5.1.1 <b>No</b>\x07 user \xe9", match="gone@")
    await agent.do("send_email", **NOTE, to="gone@example.com", bcc="hidden@example.com")
    report = await one_report(daimon, agent)
    operations = daimon.operations
    row = await operations.core.database.fetch("SELECT blob_hash FROM messages WHERE id = ?", [report["id"]])
    raw = await operations.core.blobs.get(operations.core.database, row[0][0])
    assert b"hidden@" not in raw
    assert b"\x07" not in raw
    mail = read_mail(raw)
    assert mail.get_content_type() == "multipart/report"
    assert mail["Bcc"] is None


async def test_there_is_no_report_on_a_report(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    await arrive(daimon, ROBO, mail_from="", sender="MAILER-DAEMON@example.com", subject="Undelivered")
    sink.answer("RCPT", "550 5.1.1 No such user", match="gone@")
    sent = await agent.do("send_email", **NOTE, to="gone@example.com")
    await becomes(daimon, agent, sent["id"], "bounced")
    found = await delivered_to(agent, ROBO)
    assert len(found) == 2
    answer = await agent.call("reply_to_message", message_id=found[-1]["id"], body="Why?")
    assert answer.error == "RECIPIENT_REFUSED"  # nobody reads what reports are sent from
    assert {stored.mail_from for stored in sink.messages} <= {ROBO}


async def test_an_inbox_that_is_gone_gets_no_report_and_breaks_nothing(
    daimon: Daimon, agent: Agent, sink: Sink
) -> None:
    gate = sink.hold("RCPT")
    sink.answer("RCPT", "550 5.1.1 No such user", match="gone@")
    await agent.do("create_inbox", username="short-lived")
    await agent.do("send_email", **{**NOTE, "inbox": "short-lived@agents.localhost"}, to="gone@example.com")
    await gate.reached()
    await agent.do("delete_inbox", inbox="short-lived@agents.localhost")
    gate.open()

    async def settled() -> bool | None:
        rows = await daimon.operations.core.database.fetch("SELECT 1 FROM deliveries WHERE state = 'bounced'")
        return True if rows else None

    assert await until(daimon, settled)
