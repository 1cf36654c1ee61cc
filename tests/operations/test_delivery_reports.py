"""What the sender learns of mail that did not arrive: by its status, and by a report in its inbox."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon
from tests.support.post import (
    ROBO,
    arrive,
    becomes,
    delivered_to,
    read_mail,
    until,
)
from tests.support.sink import Sink

from daimon_mcp.domain.clock import HOUR
from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.mail.dsn import Failure, read_dsn
from daimon_mcp.operations.reports import Reported, Reports
from daimon_mcp.store import messages, queue
from daimon_mcp.store.messages import Content

NOTE: dict[str, Any] = {"inbox": ROBO, "subject": "Note", "body": "x"}


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


# -- what a sender asked to be told (RFC 3461 §4.1) --------------------------------------------------------------------

LATE = Failure("busy@far.example", "4.7.1", "451 4.7.1 Later", "mx.far.example", "failed")


async def put_off(daimon: Daimon, agent: Agent, sink: Sink) -> Reported:
    """A mail that waits for its second try."""
    sink.answer("RCPT", "451 4.7.1 Later", match="busy@")
    sent = await agent.do("send_email", **NOTE, to="busy@far.example")

    async def look() -> bool | None:
        [delivery] = (await agent.do("get_message", message_id=sent["id"]))["deliveries"]
        return bool(delivery.get("last_outcome")) or None

    await until(daimon, look)
    core = daimon.operations.core
    message = await messages.by_id(core.database, sent["id"])
    assert message is not None
    original = await core.blobs.get(core.database, message.blob_hash)
    return Reported(message=message, original=original, mail_from=ROBO)


async def placed(daimon: Daimon, about: Reported, warning: Content | None) -> bool:
    core = daimon.operations.core
    message = await messages.by_id(core.database, str(getattr(about.message, "id", "")))
    assert message is not None
    queued = await queue.by_message(core.database, message.seq)
    assert queued is not None
    return await core.database.write(
        lambda tx: Reports.place_warning(tx, message, queued.no, warning, core.clock.now())
    )


def with_notify(about: Reported, notify: str | None) -> Reported:
    return replace(about, recipients=[Recipient(LATE.recipient, notify, "rfc822;busy@far.example")], envid="Q1")


async def test_a_delay_is_told_once(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    reports = Reports(daimon.operations.core, daimon.operations.texts)
    about = await put_off(daimon, agent, sink)
    until_when = daimon.operations.core.clock.now() + HOUR
    warning = await reports.delayed(with_notify(about, None), [LATE], retry_until=until_when)
    assert warning is not None
    assert [await placed(daimon, about, warning) for _ in range(2)] == [True, False]
    report = await one_report(daimon, agent)
    assert (report["kind"], report["subject"]) == ("bounce", "Delivery delayed")
    assert report["thread_id"] == getattr(about.message, "thread_id", "")
    assert "it is tried until 2026-11-10T13:00:00Z" in report["body_text"]
    assert report["bounce"]["failures"][0]["action"] == "delayed"
    core = daimon.operations.core
    stored = await messages.by_id(core.database, report["id"])
    assert stored is not None
    raw = await core.blobs.get(core.database, stored.blob_hash)
    assert b"Will-Retry-Until: Tue, 10 Nov 2026 13:00:00 +0000\r\n" in raw
    read = read_dsn(raw)
    assert read is not None
    assert (read.envelope_id, read.failures[0].orcpt) == ("Q1", "rfc822;busy@far.example")
    story = await agent.do("explain_delivery", message_id=getattr(about.message, "id", ""))
    assert [entry["what"] for entry in story["timeline"]][-2:] == ["delay_warning", "report"]
    assert story["delivery_status"] == "queued"


async def test_a_delay_that_nobody_wants_to_hear_of_is_put_down_all_the_same(
    daimon: Daimon, agent: Agent, sink: Sink
) -> None:
    about = await put_off(daimon, agent, sink)
    assert [await placed(daimon, about, None) for _ in range(2)] == [True, False]
    assert await delivered_to(agent, ROBO) == []


@pytest.mark.parametrize(
    ("notify", "wanted"),
    [(None, {"failed", "unknown", "delayed"}), ("NEVER", set[str]()), ("SUCCESS", {"delivered"}),
     ("FAILURE", {"failed", "unknown"}), ("DELAY", {"delayed"}),
     ("SUCCESS,FAILURE,DELAY", {"failed", "unknown", "delayed", "delivered"})],
)  # fmt: skip
async def test_reports_go_by_notify(
    daimon: Daimon, agent: Agent, sink: Sink, notify: str | None, wanted: set[str]
) -> None:
    reports = Reports(daimon.operations.core, daimon.operations.texts)
    about = with_notify(await put_off(daimon, agent, sink), notify)
    other = Failure("else@far.example", "5.1.1", "", "", "failed")
    made = {
        "failed": await reports.failed(about, [LATE]),
        "unknown": await reports.unknown(about, [LATE]),
        "delayed": await reports.delayed(about, [LATE], retry_until=0),
        "delivered": await reports.delivered(about, [replace(LATE, action="relayed", status="2.0.0")]),
    }
    assert {name for name, content in made.items() if content is not None} == wanted
    mixed = await reports.failed(about, [LATE, other])
    assert mixed is not None
    named = [each["recipient"] for each in mixed.reading["bounce"]["failures"]]
    assert named == ([LATE.recipient] if "failed" in wanted else []) + [other.recipient]
    assert await reports.failed(replace(about, mail_from=""), [other]) is None


async def test_success_is_a_notification(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    reports = Reports(daimon.operations.core, daimon.operations.texts)
    about = with_notify(await put_off(daimon, agent, sink), "SUCCESS")
    content = await reports.delivered(about, [Failure(LATE.recipient, "2.0.0", "", "mx.far.example", "relayed")])
    assert content is not None
    assert (content.kind, content.subject) == ("notification", "Delivery successful")
    assert "busy@far.example: relayed" in content.text
