"""What becomes of mail that programs hand in: the same mail as one sent by a tool, or a refusal with its reasons."""

from __future__ import annotations

import email
import email.policy
import json
import smtplib
import sqlite3
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import anyio
import pytest
from tests.faces.smtp.mailroom import Mailroom, mail, mailroom, relay_to
from tests.support.daimon import Agent
from tests.support.sink import Sink

from daimon_mcp.domain.tiers import Tier
from daimon_mcp.operations.approving import ListApprovals
from daimon_mcp.operations.oversight import SetOversight

NOT_OWNED = "550 5.7.1 Sender address rejected: not owned by this account"


@dataclass
class Post:
    """A mailroom and where its mail to others ends."""

    room: Mailroom
    sink: Sink

    async def arrived(self, count: int = 1) -> list[EmailMessage]:
        """The mails at the sink, once there are as many."""

        async def enough() -> bool:
            return len(self.sink.messages) >= count

        await self.room.until(enough)
        return [email.message_from_bytes(each.content, policy=email.policy.default) for each in self.sink.messages]


@pytest.fixture
async def post(tmp_path: Path) -> AsyncGenerator[Post]:
    async with Sink() as sink, mailroom(tmp_path / "data", relay_to(sink.port)) as room:
        yield Post(room, sink)


def id_of(reply: str) -> str:
    """The message's id in the reply to its content."""
    assert reply.startswith("250 2.0.0 Ok: queued as msg_"), reply
    return reply.rpartition(" ")[2]


async def in_sent(agent: Agent, subject: str) -> list[str]:
    """Ids of the mails in Sent with this subject."""
    found = await agent.do("list_messages", label="sent")
    return [each["id"] for each in found["messages"] if each["subject"] == subject]


async def settled(room: Mailroom, message_id: str) -> dict[str, object]:
    """A mail once it is in Sent."""

    async def filed() -> bool:
        return not (await room.agent.call("get_message", message_id=message_id)).is_error

    await room.until(filed)
    return await room.agent.do("get_message", message_id=message_id)


async def test_a_mail_is_in_sent_and_at_the_relay_as_a_tools_would_be(post: Post) -> None:
    room = post.room
    async with room.secure() as client:
        reply = await mail(
            client, room, room.letter("Bare", "Bcc: eve@example.com"), "ann@example.com", "eve@example.com"
        )
    stored = await settled(room, id_of(reply))
    assert (stored["from_address"], stored["to_addresses"]) == (room.address, ["ann@example.com"])
    assert (stored["labels"], stored["body_text"], stored["untrusted"]) == (["sent"], "Hello.", False)
    assert await in_sent(room.agent, "Bare") == [id_of(reply)]
    [arrived, *_] = await post.arrived()
    assert arrived["Bcc"] is None
    assert arrived["Date"] is not None
    assert arrived["Message-ID"].endswith("@agents.localhost>")
    assert arrived["Received"].split(";")[0].count("with ESMTPSA") == 1
    assert {each for stored in post.sink.messages for each in stored.recipients} == {
        "ann@example.com",
        "eve@example.com",
    }


@pytest.mark.usefixtures("unhurried")
async def test_the_same_mail_handed_in_again_is_sent_once(post: Post) -> None:
    room = post.room
    letter = room.letter("Once", "Message-ID: <once@agents.localhost>", "Date: Sat, 21 Nov 2026 09:00:00 +0000")
    ids: list[str] = []
    for starttls_port in (False, True):
        async with room.secure(starttls_port=starttls_port) as client:
            ids += [id_of(await mail(client, room, letter)), id_of(await mail(client, room, letter))]
    assert len(set(ids)) == 1
    [arrived] = await post.arrived()
    assert (arrived["Message-ID"], arrived["Date"].datetime.year) == ("<once@agents.localhost>", 2026)
    async with room.secure() as client:
        changed = await mail(client, room, letter.replace("Hello.", "Hello again."))
    assert id_of(changed) != ids[0]
    assert len(await post.arrived(2)) == 2


async def test_names_that_are_ones_own_pass_and_others_do_not(post: Post) -> None:
    room = post.room
    letter = room.letter()
    async with room.secure() as client:
        for sender, written in [
            ("ROBO@Agents.Localhost", letter),
            ("robo+news@agents.localhost", letter.replace(room.address, '"Chief, the" <Robo+x@agents.localhost>')),
            (room.address, letter.replace(f"From: {room.address}", f"From: =?utf-8?q?Ann?= <{room.address}>")),
            (room.address, letter.replace(f"From: {room.address}", 'From: "robo"@agents.localhost')),
        ]:
            assert (await mail(client, room, written, sender=sender))[:3] == "250", sender
        await client.say("RSET")
        assert await client.say("MAIL FROM:<ceo@agents.localhost>") == NOT_OWNED
        assert await client.say("MAIL FROM:<robo@example.com>") == NOT_OWNED
        for header in ("ceo@agents.localhost", f"{room.address} <ceo@example.com>", f"{room.address}, ceo@example.com"):
            assert await mail(client, room, letter.replace(room.address, header)) == NOT_OWNED, header
        assert await mail(client, room, room.letter("s", "Sender: ceo@example.com")) == NOT_OWNED


async def test_headers_that_readers_disagree_about_are_named(post: Post) -> None:
    room = post.room
    async with room.secure() as client:
        reply = await mail(client, room, room.letter("s", f"From: {room.address}"))
        assert reply == "554 5.6.0 from: may be there once only"
        reply = await mail(client, room, room.letter().replace("From:", "From :"))
        assert reply == "554 5.6.0 from: has a space before its colon"
        # A server that drops NULs would see the end of the content there.
        assert (
            await mail(client, room, room.letter() + "\0.\r\nMAIL FROM:<x@y>\r\n") == "554 5.6.0 content: holds a NUL"
        )
        assert (await mail(client, room, room.letter())).startswith("250 ")


async def test_wishes_of_the_envelope_are_taken_and_bad_ones_named(post: Post) -> None:
    room = post.room
    async with room.secure() as client:
        wishes = "SIZE=500 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=one+2B AUTH=<>"
        assert await client.say(f"MAIL FROM:<{room.address}> {wishes}") == "250 2.1.0 Ok"
        original = "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;ann@example.com"
        assert await client.say(f"RCPT TO:<ann@example.com> {original}") == "250 2.1.5 Ok"
        assert (await client.say("DATA")).startswith("354 ")
        letter = room.letter("Grüße").replace("ann@example.com", "Änn <ann@example.com>")
        id_of(await client.say(letter + "."))
        assert await client.say(f"MAIL FROM:<{room.address}> RET=SOME") == (
            "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]"
        )
        assert await client.say(f"MAIL FROM:<{room.address}> XYZ=1") == (
            "555 5.5.4 Parameter not recognized or not implemented"
        )
    [arrived] = await post.arrived()
    assert (arrived["Subject"], arrived["To"]) == ("Grüße", "Änn <ann@example.com>")


async def test_the_fifty_first_recipient_is_for_the_next_mail(post: Post) -> None:
    room = post.room
    async with room.secure() as client:
        await client.say(f"MAIL FROM:<{room.address}>")
        for number in range(50):
            assert await client.say(f"RCPT TO:<ann{number}@example.com>") == "250 2.1.5 Ok"
        assert await client.say("RCPT TO:<ann50@example.com>") == "452 4.5.3 Too many recipients"
        assert (await client.say("DATA")).startswith("354 ")
        assert (await client.say(room.letter() + ".")).startswith("250 ")


async def test_a_recipient_who_is_not_here_is_refused_and_one_who_is_gets_it(post: Post) -> None:
    room = post.room
    await room.agent.do("create_inbox", username="other")
    async with room.secure() as client:
        assert await mail(client, room, room.letter(), "nobody@agents.localhost") == "550 5.1.1 No such inbox here"
        await client.say("RSET")
        id_of(await mail(client, room, room.letter("Near"), "other@agents.localhost"))
    found = await room.agent.do("wait_for_message", inbox="other@agents.localhost", timeout_seconds=10)
    assert "Near" in str(found)


async def test_too_large_is_refused_when_declared_and_when_it_turns_out(tmp_path: Path) -> None:
    async with mailroom(tmp_path / "data", {"smtp": {"max_message_bytes": 65_536}}) as room:
        await room.agent.do("create_inbox", username="other")
        async with room.secure() as client:
            large = "552 5.3.4 Message is larger than 65536 octets"
            assert await client.say(f"MAIL FROM:<{room.address}> SIZE=65537") == large
            body = ("x" * 70 + "\r\n") * 1000
            assert await mail(client, room, room.letter() + body, "other@agents.localhost") == large
            assert (await mail(client, room, room.letter(), "other@agents.localhost")).startswith("250 ")


async def test_the_limit_is_said_with_when_it_ends_and_the_link(tmp_path: Path) -> None:
    limits = {"limits": {"starter": {"sends_per_day": 1, "sends_per_minute": -1}}}
    async with mailroom(tmp_path / "data", {**limits, "relay": {"host": "127.0.0.1"}}, tier=Tier.STARTER) as room:
        async with room.secure() as client:
            id_of(await mail(client, room, room.letter("one")))
            await client.send(f"MAIL FROM:<{room.address}>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n".encode())
            for _ in range(3):
                assert (await client.reply())[0] in "23"
            await client.send((room.letter("two") + ".\r\n").encode())
            lines = await client.lines()
        assert all(len(line) <= 510 for line in lines)
        assert [line[4:11] for line in lines] == ["5.7.26 "] * len(lines)
        text = " ".join(line[11:] for line in lines)
        assert text.startswith("Daily send limit reached (1/1). Upgrade to increase limit. Resets at 2")
        assert f"Your operator can lift this: {room.daimon.url}/" in text

        def send(smtp: smtplib.SMTP) -> bytes:
            with pytest.raises(smtplib.SMTPDataError) as caught:
                smtp.sendmail(room.address, ["ann@example.com"], room.letter("three"))
            assert caught.value.smtp_code == 550
            error = caught.value.smtp_error
            return error if isinstance(error, bytes) else error.encode()

        assert b"5.7.26" in await room.program(send)


async def test_a_burst_is_put_off(tmp_path: Path) -> None:
    limits = {"limits": {"starter": {"sends_per_minute": 1}}}
    async with mailroom(tmp_path / "data", {**limits, "relay": {"host": "127.0.0.1"}}, tier=Tier.STARTER) as room:
        async with room.secure() as client:
            id_of(await mail(client, room, room.letter("one")))
            await client.send(b"")
            reply = await mail(client, room, room.letter("two"))
        assert reply.startswith("450 4.7.1 At most 1 send per minute; sent in the last one: 1. ")
        assert ", id " in reply or " id " in reply


async def test_programs_and_tools_together_never_send_more_than_the_limit(tmp_path: Path) -> None:
    limits = {"limits": {"starter": {"sends_per_day": 12, "sends_per_month": -1, "sends_per_minute": -1}}}
    async with (
        Sink() as sink,
        mailroom(tmp_path / "data", relay_to(sink.port, **limits), tier=Tier.STARTER) as room,
    ):
        done: list[bool] = []

        async def by_program(number: int) -> None:
            async with room.secure() as client:
                for each in range(3):
                    reply = await mail(client, room, room.letter(f"p{number}{each}"), "a@example.com", "b@example.com")
                    done.extend([reply[:3] == "250"] * 2)
                    assert reply[:3] == "250" or "5.7.26" in reply, reply

        async def by_tool(number: int) -> None:
            answer = await room.agent.call("send_email", to="c@example.com", subject=f"t{number}", body="b")
            done.append(not answer.is_error)
            assert not answer.is_error or answer.error == "SEND_LIMIT_EXCEEDED", answer.text

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(by_program, number)
                tasks.start_soon(by_tool, number)
                tasks.start_soon(by_tool, 10 + number)
        assert len(done) == 24
        accepted = sum(done)
        assert accepted in (11, 12)  # two at a time may not fit where one would
        assert (await room.agent.do("get_account"))["sends_today"] == accepted


async def test_sudden_volume_stops_sending_after_the_mail_that_showed_it_was_answered(tmp_path: Path) -> None:
    settings = {"submission": {"abuse_volume": 3, "abuse_stops_sending": True}, "relay": {"host": "127.0.0.1"}}
    async with mailroom(tmp_path / "data", settings) as room, room.secure() as client:
        id_of(await mail(client, room, room.letter("usual")))
        id_of(await mail(client, room, room.letter("sudden"), "a@example.com", "b@example.com"))
        assert await client.reply() == "421 4.7.0 Credentials or rights have changed, log in again"
        assert await client.reply() == ""
        assert (await room.agent.do("get_account"))["sends_today"] == 3


async def test_pretending_to_be_others_is_reported_and_stops_sending_until_the_operator_says(tmp_path: Path) -> None:
    settings = {"submission": {"abuse_refused_senders": 3, "abuse_stops_sending": True}, "relay": {"host": "127.0.0.1"}}
    async with mailroom(tmp_path / "data", settings) as room:
        async with room.secure() as idle, room.secure() as client:
            for _ in range(2):
                assert await client.say("MAIL FROM:<ceo@example.com>") == NOT_OWNED
            assert await client.say("MAIL FROM:<ceo@example.com>") == NOT_OWNED  # answered first
            for each in (client, idle):
                assert await each.reply() == "421 4.7.0 Credentials or rights have changed, log in again"
                assert await each.reply() == ""
        stopped = "550 5.7.1 Sending is stopped until the operator lets it go on"
        async with room.secure() as client:
            assert await mail(client, room, room.letter()) == stopped
            actor = await room.daimon.actor()
            assert await room.daimon.operations.abuse.resume(actor.account_id)
            id_of(await mail(client, room, room.letter()))
        with sqlite3.connect(room.daimon.app.settings.data_dir / "mail.db") as store:
            rows = store.execute(
                "SELECT payload_json FROM events WHERE type = 'account.smtp_abuse_detected'"
            ).fetchall()
        store.close()
        [payload] = [json.loads(row[0]) for row in rows]
        assert (payload["kind"], payload["count"], payload["sending_stopped"]) == ("refused_senders", 3, True)


async def test_a_program_is_told_that_its_mail_waits_or_may_not_leave(post: Post) -> None:
    room = post.room
    operations = room.daimon.operations
    oversee = operations.oversight.set_oversight
    await oversee(SetOversight(inbox=room.address, oversight="gated_send"), by="cli")
    async with room.secure() as client:
        reply = await mail(client, room, room.letter("Held"), "ann@example.com")
        assert reply.startswith("250 2.0.0 Ok: held for the operator's approval as msg_")
        stored = await settled(room, reply.rpartition(" ")[2])
        assert stored["delivery_status"] == "pending_approval"
        await oversee(SetOversight(inbox=room.address, oversight="read_only"), by="cli")
        reply = await mail(client, room, room.letter("Refused"), "ann@example.com")
        assert reply == "550 5.7.1 This inbox may not send; its operator can change that"
    await oversee(SetOversight(inbox=room.address, oversight="autonomous"), by="cli")
    [waiting] = (await operations.approving.list_approvals(ListApprovals()))["approvals"]
    await operations.approving.decide(waiting["id"], approve=True, by="cli")
    [arrived] = await post.arrived()
    assert arrived["Subject"] == "Held"
