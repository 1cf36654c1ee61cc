"""Reports that come back from outside: they settle the recipients they name, of our own mail, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import OTHER, ROBO, arrive, becomes, delivered_to, until
from tests.support.sink import Sink

ANN, BEN = "ann@far.example", "ben@far.example"


def report(original: str, *groups: tuple[str, str, str], said: str = "") -> bytes:
    """A delivery status notification (RFC 3464) on a Message-ID: recipient, action and status of each group."""
    each = "".join(
        f"\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: {status}\r\n"
        + (f"Diagnostic-Code: smtp; {said}\r\n" if said else "")
        for recipient, action, status in groups
    )
    return (
        "From: Mail Delivery System <MAILER-DAEMON@mx.far.example>\r\nTo: robo@agents.localhost\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nI am sorry.\r\n"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.far.example\r\n{each}\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {original}\r\nSubject: Note\r\n\r\n--b--\r\n"
    ).encode()


async def sent(daimon: Daimon, agent: Agent, *recipients: str, **fields: Any) -> dict[str, Any]:
    """A mail that the relay has taken."""
    done = await agent.do(
        "send_email", **{"inbox": ROBO, "subject": "Note", "body": "x", **fields}, to=list(recipients)
    )
    await becomes(daimon, agent, done["id"], "sent", "delivered")
    return done


async def of(agent: Agent, message_id: str) -> tuple[str, dict[str, str]]:
    """Status of a mail and of each of its recipients."""
    message = await agent.do("get_message", message_id=message_id)
    return message["delivery_status"], {each["recipient"]: each["status"] for each in message["deliveries"]}


async def events(daimon: Daimon, message_id: str) -> list[str]:
    rows = await daimon.operations.core.database.fetch("SELECT type, payload_json FROM events ORDER BY seq")
    return [kind for kind, payload in rows if json.loads(payload).get("message_id") == message_id]


async def told(agent: Agent, cursor: str, message_id: str) -> list[str]:
    found = await agent.do("changes", since=cursor, limit=200)
    return [what for each in found["changes"] if each["message_id"] == message_id for what in each["what"]]


async def test_a_bounce_settles_the_mail_it_is_about_and_joins_it(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN)
    cursor = (await agent.do("changes", inbox=ROBO))["cursor"]
    content = report(mail["message_id"], (ANN, "failed", "5.2.2"), said="552 5.2.2 Mailbox <full>, sorry")
    [arrived] = await arrive(daimon, ROBO, content=content, mail_from="")
    message = await agent.do("get_message", message_id=mail["id"])
    assert (message["delivery_status"], "bounced" in message["labels"]) == ("bounced", True)
    [delivery] = message["deliveries"]
    assert (delivery["status"], delivery["attempts"]) == ("bounced", 1)
    assert "5.2.2" in delivery["last_reply"]
    assert "Mailbox <full>, sorry" in delivery["last_reply"]
    assert await events(daimon, mail["id"]) == ["message.sent", "message.bounced"]
    assert await told(agent, cursor, mail["id"]) == ["bounced"]
    listed = await agent.do("list_messages", inbox=ROBO, label="bounced")
    assert [each["id"] for each in listed["messages"]] == [mail["id"]]

    waited = await agent.do("wait_for_message", inbox=ROBO, after=mail["cursor"], thread_id=mail["thread_id"])
    bounce = waited["message"]
    assert (bounce["id"], bounce["kind"], bounce["thread_id"]) == (arrived, "bounce", mail["thread_id"])
    assert "I am sorry." in bounce["body_text"]
    assert bounce["bounce"]["original_message_id"] == mail["message_id"]
    [failure] = bounce["bounce"]["failures"]
    assert (failure["recipient"], failure["status"], failure["reason"]) == (ANN, "5.2.2", "the mailbox is full")
    assert await events(daimon, arrived) == ["message.received"]


async def test_only_the_recipient_that_bounced_has_bounced(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN, BEN)
    [_] = await arrive(daimon, ROBO, content=report(mail["message_id"], (BEN.upper(), "failed", "5.1.1")), mail_from="")
    assert await of(agent, mail["id"]) == ("bounced", {ANN: "sent", BEN: "bounced"})
    await arrive(daimon, ROBO, content=report(mail["message_id"], (ANN, "delivered", "2.0.0")), mail_from="")
    assert await of(agent, mail["id"]) == ("bounced", {ANN: "delivered", BEN: "bounced"})
    assert await events(daimon, mail["id"]) == ["message.sent", "message.bounced"]


async def test_the_address_that_was_written_to_counts_before_the_one_it_became(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN, BEN)
    content = report(mail["message_id"], (BEN, "failed", "5.1.1"))
    forwarded = content.replace(b"Final-Recipient", f"Original-Recipient: rfc822;{ANN}\r\nFinal-Recipient".encode())
    await arrive(daimon, ROBO, content=forwarded, mail_from="")
    assert await of(agent, mail["id"]) == ("bounced", {ANN: "bounced", BEN: "sent"})


async def test_success_is_told_when_all_have_it(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN, BEN)
    await arrive(daimon, ROBO, content=report(mail["message_id"], (ANN, "delivered", "2.0.0")), mail_from="")
    status, recipients = await of(agent, mail["id"])
    assert recipients == {ANN: "delivered", BEN: "sent"}
    assert status == "sent"
    await arrive(daimon, ROBO, content=report(mail["message_id"], (BEN, "delivered", "2.0.0")), mail_from="")
    assert await of(agent, mail["id"]) == ("delivered", {ANN: "delivered", BEN: "delivered"})
    assert await events(daimon, mail["id"]) == ["message.sent", "message.delivered"]


@pytest.mark.parametrize("action", ["delayed", "relayed", "expanded", "nonsense"])
async def test_what_settles_nothing_changes_nothing(daimon: Daimon, agent: Agent, action: str) -> None:
    mail = await sent(daimon, agent, ANN)
    await arrive(daimon, ROBO, content=report(mail["message_id"], (ANN, action, "4.4.1")), mail_from="")
    assert await of(agent, mail["id"]) == ("sent", {ANN: "sent"})


async def test_a_forwarder_bounces_under_another_name(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN)
    content = report(mail["message_id"], ("ann.private@else.example", "failed", "5.1.1"))
    await arrive(daimon, ROBO, content=content, mail_from="")
    assert await of(agent, mail["id"]) == ("bounced", {ANN: "bounced"})


async def test_a_repeated_report_is_harmless(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN)
    content = report(mail["message_id"], (ANN, "failed", "5.1.1"))
    await arrive(daimon, ROBO, content=content, mail_from="")
    before = await agent.do("get_message", message_id=mail["id"])
    cursor = (await agent.do("changes", inbox=ROBO))["cursor"]
    for action in ("failed", "delivered"):  # nor does a later word for the opposite count
        again = report(mail["message_id"], (ANN, action, "5.1.1"))
        await arrive(daimon, ROBO, content=again, mail_from="")
    assert await agent.do("get_message", message_id=mail["id"]) == before
    assert await told(agent, cursor, mail["id"]) == []
    assert await events(daimon, mail["id"]) == ["message.sent", "message.bounced"]
    assert len(await delivered_to(agent, ROBO)) == 3


async def test_an_unknown_outcome_is_cleared_up(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    sink.drop("content", store=True)
    lost = await agent.do("send_email", inbox=ROBO, to=ANN, subject="Note", body="x")
    await becomes(daimon, agent, lost["id"], "outcome_unknown")
    await arrive(daimon, ROBO, content=report(lost["message_id"], (ANN, "failed", "5.1.1")), mail_from="")
    assert (await of(agent, lost["id"]))[0] == "bounced"


async def test_forged_reports_change_nothing(daimon: Daimon, agent: Agent) -> None:
    mine = await sent(daimon, agent, ANN, BEN)
    theirs = await sent(daimon, agent, ANN, inbox=OTHER)
    local = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Local", body="x")
    [letter] = await arrive(daimon, ROBO, message_id="<letter@far.example>")
    cursor = (await agent.do("changes", inbox=ROBO))["cursor"]
    theirs_before = await agent.do("get_message", message_id=theirs["id"])
    forged = (
        report(mine["message_id"], ("eve@far.example", "failed", "5.1.1")),  # nobody it was sent to
        report(theirs["message_id"], (ANN, "failed", "5.1.1")),  # another inbox's mail
        report(local["message_id"], (OTHER, "failed", "5.1.1")),  # we know that it is there
        report("<letter@far.example>", (ROBO, "failed", "5.1.1")),  # mail that came
        report("<unknown@far.example>", (ANN, "failed", "5.1.1")),
        report("", (ANN, "failed", "5.1.1")),
        report(mine["message_id"], ("", "failed", "5.1.1")),
        report(mine["message_id"]),
    )
    for content in forged:
        await arrive(daimon, ROBO, content=content, mail_from="")
    assert await of(agent, mine["id"]) == ("sent", {ANN: "sent", BEN: "sent"})
    assert await of(agent, local["id"]) == ("delivered", {OTHER: "delivered"})
    assert await agent.do("get_message", message_id=theirs["id"]) == theirs_before
    for message_id in (mine["id"], local["id"], letter):
        assert await told(agent, cursor, message_id) == []
        assert set(await events(daimon, message_id)) <= {"message.sent", "message.delivered", "message.received"}
    assert len(await delivered_to(agent, ROBO)) == 1 + len(forged)


async def test_what_waits_for_another_try_is_not_settled_by_others(daimon: Daimon, agent: Agent, sink: Sink) -> None:
    """A report cannot stop mail that we still hold: we know better what became of it."""
    sink.answer("RCPT", "451 4.7.1 Later", match="ann@", times=1)
    mail = await agent.do("send_email", inbox=ROBO, to=[ANN, BEN], subject="Note", body="x")

    async def tried() -> bool | None:
        message = await agent.do("get_message", message_id=mail["id"])
        return all(each.get("last_outcome") for each in message["deliveries"]) or None

    await until(daimon, tried)
    await arrive(daimon, ROBO, content=report(mail["message_id"], (ANN, "failed", "5.1.1")), mail_from="")
    assert (await of(agent, mail["id"]))[1] == {ANN: "queued", BEN: "sent"}
    daimon.later(90)
    await becomes(daimon, agent, mail["id"], "sent")


async def test_mail_to_ourselves_bounces_as_the_one_that_was_sent(daimon: Daimon, agent: Agent) -> None:
    """The copy that came to the same inbox has the same Message-ID."""
    mail = await sent(daimon, agent, ANN, ROBO)
    await arrive(daimon, ROBO, content=report(mail["message_id"], (ANN, "failed", "5.1.1")), mail_from="")
    assert await of(agent, mail["id"]) == ("bounced", {ANN: "bounced", ROBO: "delivered"})


async def test_a_report_on_mail_that_was_deleted_is_mail_like_any_other(daimon: Daimon, agent: Agent) -> None:
    trashed = await sent(daimon, agent, ANN)
    await agent.do("delete_message", message_id=trashed["id"])
    await arrive(daimon, ROBO, content=report(trashed["message_id"], (ANN, "failed", "5.1.1")), mail_from="")
    assert (await of(agent, trashed["id"]))[0] == "bounced"
    gone = await sent(daimon, agent, BEN)
    await agent.do("delete_message", message_id=gone["id"], permanent=True)
    await arrive(daimon, ROBO, content=report(gone["message_id"], (BEN, "failed", "5.1.1")), mail_from="")
    assert await events(daimon, gone["id"]) == ["message.sent"]
    assert len(await delivered_to(agent, ROBO)) == 2


# -- complaints (RFC 5965) ---------------------------------------------------------------------------------------------


def complaint(original: str, *recipients: str, kind: str = "abuse") -> bytes:
    named = "".join(f"Original-Rcpt-To: {each}\r\n" for each in recipients)
    return (
        "From: feedback@fbl.far.example\r\nTo: robo@agents.localhost\r\nSubject: FW: Note\r\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nA user did not want this.\r\n"
        f"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\nVersion: 1\r\n{named}\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {original}\r\n\r\n--b--\r\n"
    ).encode()


async def complain(daimon: Daimon, content: bytes, mail_from: str = "feedback@fbl.far.example") -> str:
    [arrived] = await arrive(daimon, ROBO, content=content, mail_from=mail_from)
    return arrived


async def test_a_complaint_is_told_once_and_joins_the_mail(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN, BEN)
    arrived = await complain(daimon, complaint(mail["message_id"], ANN.upper()))
    assert await of(agent, mail["id"]) == ("sent", {ANN: "sent", BEN: "sent"})
    assert (await agent.do("get_message", message_id=arrived))["thread_id"] == mail["thread_id"]
    assert await events(daimon, mail["id"]) == ["message.sent", "message.complained"]
    await complain(daimon, complaint(mail["message_id"], ANN))
    await complain(daimon, complaint(mail["message_id"]))
    assert await events(daimon, mail["id"]) == ["message.sent", "message.complained"]
    await complain(daimon, complaint(mail["message_id"], BEN))
    assert await events(daimon, mail["id"]) == ["message.sent", "message.complained", "message.complained"]
    rows = await daimon.operations.core.database.fetch("SELECT payload_json FROM events WHERE type LIKE '%complained'")
    assert [json.loads(row[0])["recipients"] for row in rows] == [[ANN], [BEN]]
    assert json.loads(rows[0][0])["feedback_type"] == "abuse"


async def test_a_complaint_is_explained(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN)
    arrived = await complain(daimon, complaint(mail["message_id"]))  # one recipient: no doubt whose it is
    story = await agent.do("explain_delivery", message_id=mail["id"])
    assert story["timeline"][-1] == {
        "at": story["timeline"][-1]["at"], "what": "complaint", "message_id": arrived, "feedback_type": "abuse",
        "recipients": [1],
    }  # fmt: skip
    [delivery] = story["deliveries"]
    assert (delivery["status"], delivery["meaning"]) == ("sent", "state.complained")


async def test_what_is_no_complaint_of_a_recipient(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN, BEN)
    [letter] = await arrive(daimon, ROBO, message_id="<letter@far.example>")
    await agent.do("add_to_list", inbox=ROBO, list="block", entries=["evil.example"])
    await complain(daimon, complaint(mail["message_id"], "eve@far.example"))
    await complain(daimon, complaint(mail["message_id"], ANN, kind="not-spam"))
    await complain(daimon, complaint("<letter@far.example>", ANN))
    held = await complain(daimon, complaint(mail["message_id"], ANN), mail_from="fbl@evil.example")
    await complain(daimon, report(mail["message_id"], (ANN, "failed", "5.1.1")))  # no report: it has a sender
    assert await of(agent, mail["id"]) == ("sent", {ANN: "sent", BEN: "sent"})
    assert await events(daimon, mail["id"]) == ["message.sent"]
    assert await events(daimon, letter) == ["message.received"]
    assert (await agent.do("get_message", message_id=held))["hold_reason"] == "on_block_list"


async def test_who_is_gone_or_complained_is_not_written_to_again(daimon: Daimon, agent: Agent) -> None:
    mail = await sent(daimon, agent, ANN, BEN, "cy@far.example")
    bounce = report(mail["message_id"], (ANN, "failed", "5.1.1"), ("cy@far.example", "failed", "5.2.2"), said="550 No")
    await arrive(daimon, ROBO, content=bounce, mail_from="")
    await complain(daimon, complaint(mail["message_id"], BEN))
    rows = await daimon.operations.core.database.fetch("SELECT address, why, reply FROM suppressions ORDER BY address")
    assert [tuple(row) for row in rows] == [(ANN, "bounced", "550 No"), (BEN, "complained", "abuse")]


async def test_what_nobody_vouches_for_keeps_nobody_from_being_written_to(tmp_path: Path) -> None:
    """Any other recipient knows the Message-ID and could make such a report up."""
    strict: dict[str, Any] = {"smtp": {"trusted_networks": []}, "relay": {"mode": "sandbox"}}
    async with running(tmp_path / "strict", strict, workers=True) as daimon, daimon.agent() as agent:
        await daimon.upgrade()
        await agent.do("create_inbox", username="robo")
        mail = await sent(daimon, agent, ANN, BEN)
        await arrive(daimon, ROBO, content=report(mail["message_id"], (ANN, "failed", "5.1.1")), mail_from="")
        await complain(daimon, complaint(mail["message_id"], BEN))
        assert (await of(agent, mail["id"]))[1] == {ANN: "bounced", BEN: "sent"}
        assert (await agent.do("list_suppressions"))["suppressions"] == []
