"""Real reports: what Postfix says of mail it took from us, and what we make of it when it comes back."""

from __future__ import annotations

import asyncio
import json
import smtplib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.journeys.test_with_postfix import ANN, BEN, HERE, ROBO, World, world
from tests.operations.test_bounces_back import report
from tests.support.dovecot import dovecot
from tests.support.post import becomes, until
from tests.support.postfix import NOBODY, lmtp_to

NOTE: dict[str, Any] = {"inbox": ROBO, "subject": "Note", "body": "Is anybody there?"}
verp = pytest.mark.parametrize("verp", [False, True])


async def events(w: World, message_id: str) -> list[str]:
    rows = await w.daimon.operations.core.database.fetch("SELECT type, payload_json FROM events ORDER BY seq")
    return [kind for kind, payload in rows if json.loads(payload).get("message_id") == message_id]


async def states(w: World, message_id: str) -> dict[str, str]:
    message = await w.agent.do("get_message", message_id=message_id)
    return {each["recipient"]: each["status"] for each in message["deliveries"]}


@verp
async def test_a_mail_to_nobody_comes_back_and_is_told_of(tmp_path: Path, verp: bool) -> None:
    async with world(tmp_path, relay={"verp": verp}, routes={"gone.test": NOBODY}) as w:
        sent = await w.agent.do("send_email", **NOTE, to=["ann@gone.test", BEN])
        await becomes(w.daimon, w.agent, sent["id"], "bounced")
        assert await states(w, sent["id"]) == {"ann@gone.test": "bounced", BEN: "sent"}
        assert await events(w, sent["id"]) == ["message.sent", "message.bounced"]
        [bounce] = await w.arrived(ROBO)
        assert (bounce["kind"], bounce["thread_id"]) == ("bounce", sent["thread_id"])
        read = (await w.agent.call("get_message", message_id=bounce["id"])).text
        assert "\nNot delivered: ann@gone.test 5.1.1: the address does not exist\n" in read
        [suppressed] = (await w.agent.do("list_suppressions"))["suppressions"]
        assert (suppressed["address"], suppressed["message_id"]) == ("ann@gone.test", sent["id"])
        again = await w.agent.call("send_email", **NOTE, to="ann@gone.test")
        assert again.is_error
        assert "ann@gone.test" in again.text
        story = await w.agent.call("explain_delivery", message_id=sent["id"])
        assert "Recipient 1 (relay, attempts: 1): bounced, no_such_user. It is not tried again." in story.text
        assert "Recipient 2 (relay, attempts: 1): sent, accepted." in story.text
        assert f" report {bounce['id']}" in story.text
        assert f"Report {bounce['id']}: ann@gone.test failed 5.1.1: " in story.text


@verp
async def test_an_address_that_is_forwarded_to_nobody_bounces_under_its_own_name(tmp_path: Path, verp: bool) -> None:
    forward = {"virtual_alias_maps": f"inline:{{{{{ANN} = old.ann@gone.test}}}}"}
    async with world(tmp_path, relay={"verp": verp}, routes={"gone.test": NOBODY}, parameters=forward) as w:
        sent = await w.agent.do("send_email", **NOTE, to=[ANN, BEN])
        await becomes(w.daimon, w.agent, sent["id"], "bounced")
        assert await states(w, sent["id"]) == {ANN: "bounced", BEN: "sent"}
        [bounce] = await w.arrived(ROBO)
        assert b"Final-Recipient: rfc822; old.ann@gone.test\r\n" in await w.raw(bounce["id"])
        [suppressed] = (await w.agent.do("list_suppressions"))["suppressions"]
        assert suppressed["address"] == ANN


@verp
async def test_what_the_next_server_refuses_comes_back_in_its_words(tmp_path: Path, verp: bool) -> None:
    async with world(tmp_path, relay={"verp": verp}) as w:
        w.far.answer("RCPT", "550 5.7.1 Your kind is not <wanted> here", match=ANN)
        sent = await w.agent.do("send_email", **NOTE, to=ANN)
        message = await becomes(w.daimon, w.agent, sent["id"], "bounced")
        [delivery] = message["deliveries"]
        assert delivery["last_reply"] == "550 5.7.1 Your kind is not <wanted> here"
        assert (await w.agent.do("list_suppressions"))["suppressions"] == []
        story = await w.agent.call("explain_delivery", message_id=sent["id"])
        assert "Recipient 1 (relay, attempts: 1): bounced, " in story.text
        assert "Your kind is not <wanted> here" in story.text


@verp
async def test_late_mail_is_late_and_not_lost(tmp_path: Path, verp: bool) -> None:
    async with world(tmp_path, relay={"verp": verp}, parameters={"delay_warning_time": "1s"}) as w:
        w.far.answer("RCPT", "451 4.3.2 Come back later", match=ANN, times=4)
        sent = await w.agent.do("send_email", **NOTE, to=ANN)
        await becomes(w.daimon, w.agent, sent["id"], "sent")
        await w.postfix.log.says("sender delay notification")
        [warning] = await w.arrived(ROBO)
        assert warning["thread_id"] == sent["thread_id"]
        read = (await w.agent.call("get_message", message_id=warning["id"])).text
        assert f"\nDelayed: {ANN} 4.3.2: the receiving mail system takes no mail at present\n" in read
        assert await states(w, sent["id"]) == {ANN: "sent"}
        story = await w.agent.call("explain_delivery", message_id=sent["id"])
        assert f"Report {warning['id']}: {ANN} delayed 4.3.2: " in story.text
        assert "451 4.3.2 Come back later" in story.text


async def submit(w: World, recipients: Mapping[str, str]) -> str:
    """Hand a message in as a mail program does, with what it asks of reports: NOTIFY of each recipient. Its id."""
    login = await w.agent.do("get_smtp_credentials")
    content = f"From: {ROBO}\r\nTo: {ANN}\r\nSubject: Asked\r\nMessage-ID: <asked@{HERE}>\r\n\r\nx\r\n"
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # made by the server itself

    def say() -> str:
        with smtplib.SMTP(*w.daimon.submission, local_hostname="program.test") as client:
            client.starttls(context=trust)
            client.login(login["username"], login["password"])
            client.mail(ROBO, ["RET=HDRS", "ENVID=ticket-7"])
            for address, notify in recipients.items():
                code, reply = client.rcpt(address, [f"NOTIFY={notify}", f"ORCPT=rfc822;{address}"])
                assert code == 250, reply
            code, reply = client.data(content)
            assert code == 250, reply
            return reply.decode()

    said = await asyncio.to_thread(say)

    async def look() -> str | None:
        found = await w.agent.do("list_messages", inbox=ROBO, direction="outbound")
        return found["messages"][0]["id"] if found["messages"] else None

    id_ = await until(w.daimon, look)
    assert id_ in said
    return id_


@verp
async def test_success_that_was_asked_for_is_told(tmp_path: Path, verp: bool) -> None:
    """Postfix says `delivered` of what it hands to mailboxes by LMTP."""
    async with (
        dovecot(users={"ann@home.test": "x"}) as mailboxes,
        world(
            tmp_path,
            relay={"verp": verp},
            routes={"home.test": lmtp_to(mailboxes.lmtp_port)},
            parameters={"lmtp_assume_final": "yes"},
        ) as w,
    ):
        id_ = await submit(w, {"ann@home.test": "SUCCESS,FAILURE"})
        await w.postfix.log.says("sender delivery status notification")
        found = await becomes(w.daimon, w.agent, id_, "delivered")
        assert await states(w, id_) == {"ann@home.test": "delivered"}
        assert (await events(w, id_))[-1] == "message.delivered"
        [told] = await w.arrived(ROBO)
        assert told["thread_id"] == found["thread_id"]
        read = (await w.agent.call("get_message", message_id=told["id"])).text
        assert "\nDelivered: ann@home.test 2.0.0: it was delivered\n" in read
        raw = await w.raw(told["id"])
        assert b"Original-Envelope-Id: ticket-7\r\n" in raw
        assert b"Original-Recipient: rfc822;ann@home.test\r\n" in raw
        story = await w.agent.call("explain_delivery", message_id=id_)
        assert "Recipient 1 (relay, attempts: 1): delivered, state.delivered." in story.text
        assert f"Recipient 1: ann@home.test, last answer: 127.0.0.1:{w.postfix.port} 250 2.0.0 <ann@home" in story.text


async def test_that_mail_was_handed_on_is_not_that_it_was_delivered(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        id_ = await submit(w, {ANN: "SUCCESS"})
        [told] = await w.arrived(ROBO)
        assert b"\r\nAction: relayed\r\n" in await w.raw(told["id"])
        assert told["thread_id"] == (await w.agent.do("get_message", message_id=id_))["thread_id"]
        assert await states(w, id_) == {ANN: "sent"}
        story = await w.agent.call("explain_delivery", message_id=id_)
        assert f"Report {told['id']}: {ANN} relayed 2.0.0: " in story.text


async def test_who_wants_no_report_gets_none(tmp_path: Path) -> None:
    async with world(tmp_path, routes={"gone.test": NOBODY}) as w:
        id_ = await submit(w, {"ann@gone.test": "NEVER", BEN: "SUCCESS"})
        await w.postfix.log.says("sender delivery status notification")
        await becomes(w.daimon, w.agent, id_, "sent", "delivered")
        [told] = await w.arrived(ROBO)
        assert b"Final-Recipient: rfc822; ben@far.test\r\n" in await w.raw(told["id"])
        assert "gone" not in (await w.raw(told["id"])).decode()


@verp
async def test_a_made_up_bounce(tmp_path: Path, verp: bool) -> None:
    """Without variable return paths all that can be asked is that it knows the Message-ID and the recipient."""
    async with world(tmp_path, relay={"verp": verp}) as w:
        sent = await w.agent.do("send_email", **NOTE, to=ANN)
        [stored] = await w.relayed(sent["id"])
        assert (stored.mail_from != ROBO) == verp
        message_id = sent["message_id"]
        paths = [ROBO]
        if verp:
            local, _, domain = stored.mail_from.rpartition("@")
            paths += [f"robo+b-1-{'a' * 16}@{domain}", f"{local[:-1]}{'b' if local[-1] == 'a' else 'a'}@{domain}"]

        def forge() -> None:
            with smtplib.SMTP(*w.daimon.inbound, local_hostname="evil.test") as client:
                for path in paths:
                    client.sendmail("", [path], report(message_id, (ANN, "failed", "5.1.1")))

        await asyncio.to_thread(forge)
        await w.arrived(ROBO, len(paths))
        assert await states(w, sent["id"]) == {ANN: "sent" if verp else "bounced"}
        assert len((await w.agent.do("list_suppressions"))["suppressions"]) == (0 if verp else 1)


@pytest.mark.parametrize(
    ("subject", "state"),
    [
        ("Warning: could not send message for past 4 hours", "sent"),
        ("Mail delayed", "sent"),
        ("Your message came back", "bounced"),
    ],
)
async def test_words_that_nobody_understands_come_to_a_return_path(tmp_path: Path, subject: str, state: str) -> None:
    async with world(tmp_path, relay={"verp": True}) as w:
        sent = await w.agent.do("send_email", **NOTE, to=ANN)
        [stored] = await w.relayed(sent["id"])
        words = f"From: MAILER-DAEMON@far.test\r\nSubject: {subject}\r\n\r\nSee the subject.\r\n"

        def say() -> None:
            with smtplib.SMTP(w.postfix.host, w.postfix.port, "far.test") as client:
                client.sendmail("", [stored.mail_from], words)

        await asyncio.to_thread(say)
        [arrived] = await w.arrived(ROBO)
        assert (arrived["kind"], arrived["thread_id"]) == ("bounce", sent["thread_id"])
        assert await states(w, sent["id"]) == {ANN: state}


async def test_an_answer_by_a_machine_to_the_return_path_is_no_bounce(tmp_path: Path) -> None:
    """Such answers have the null sender and go to the return path (RFC 3834 §3.3, §4), as bounces do."""
    async with world(tmp_path, relay={"verp": True}) as w:
        sent = await w.agent.do("send_email", **NOTE, to=ANN)
        [stored] = await w.relayed(sent["id"])
        answer = (
            f"From: Ann <{ANN}>\r\nTo: {ROBO}\r\nSubject: Out of office: Note\r\nAuto-Submitted: auto-replied\r\n"
            f"In-Reply-To: {sent['message_id']}\r\n\r\nI am away. Mail is not delivered to anybody else.\r\n"
        )

        def say() -> None:
            with smtplib.SMTP(w.postfix.host, w.postfix.port, "far.test") as client:
                client.sendmail("", [stored.mail_from], answer)

        await asyncio.to_thread(say)
        [arrived] = await w.arrived(ROBO)
        assert (arrived["kind"], arrived["thread_id"]) == ("auto_reply", sent["thread_id"])
        assert "tag" not in arrived
        assert await states(w, sent["id"]) == {ANN: "sent"}
