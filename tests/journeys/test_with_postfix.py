"""Postfix as our relay, and Postfix as the server in front of us: what is handed over arrives, byte for byte."""

from __future__ import annotations

import asyncio
import base64
import smtplib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.support.daimon import Agent, Daimon, running
from tests.support.nameserver import nameserver
from tests.support.ports import free_port
from tests.support.post import becomes, delivered_to, until
from tests.support.postfix import Postfix, lmtp_to, postfix, smtp_to
from tests.support.sink import Sink, Stored

HERE = "agents.test"
ROBO, OTHER, THIRD = f"robo@{HERE}", f"other@{HERE}", f"third@{HERE}"
ANN, BEN = "ann@far.test", "ben@far.test"
TRICKY = ".\n..\n.hidden\n. \n.\n\nUmlaute: äöü, 漢字, 🎉\n....\nFrom here\n.\n."
FIVE_MB = 5 * 1024 * 1024


@dataclass
class World:
    """Us, a Postfix beside us, and the server that it relays to."""

    daimon: Daimon
    agent: Agent
    postfix: Postfix
    far: Sink

    async def raw(self, message_id: str) -> bytes:
        """A message as it is stored."""
        core = self.daimon.operations.core
        [(blob,)] = await core.database.fetch(f"SELECT blob_hash FROM messages WHERE id = '{message_id}'")
        return await core.blobs.get(core.database, blob)

    async def relayed(self, message_id: str, *, messages: int = 1) -> Sequence[Stored]:
        """What the far server has, once Postfix has relayed it."""
        await becomes(self.daimon, self.agent, message_id, "sent", "bounced")
        await self.postfix.log.says("status=sent", times=messages)
        return self.far.messages

    async def hand_in(self, recipients: Sequence[str], content: bytes, *, options: Sequence[str] = ()) -> None:
        """Give Postfix a message from Ann."""

        def say() -> None:
            with smtplib.SMTP(self.postfix.host, self.postfix.port, "far.test") as client:
                client.sendmail(ANN, recipients, content, options)

        await asyncio.to_thread(say)

    async def arrived(self, inbox: str, count: int = 1) -> list[dict[str, Any]]:
        """What an inbox has received, once there is so much."""

        async def look() -> list[dict[str, Any]] | None:
            found = await delivered_to(self.agent, inbox)
            return found if len(found) >= count else None

        return await until(self.daimon, look)


@asynccontextmanager
async def world(
    folder: Path,
    *,
    relay: Mapping[str, Any] | None = None,
    route: Callable[[int], str] = smtp_to,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncGenerator[World]:
    """We send through Postfix, which relays all to `far` but our own domain to us. `options` are Postfix's."""
    port = free_port()
    async with AsyncExitStack() as stack:
        far = await stack.enter_async_context(Sink(extensions=("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8")))
        options["routes"] = {HERE: route(port), **options.get("routes", {})}
        server = await stack.enter_async_context(postfix(relay_to=far.port, **options))
        sections: dict[str, Any] = {
            "mail": {"domain": HERE},
            "smtp": {"lmtp_port" if route is lmtp_to else "inbound_port": port, "hostname": "mx.agents.test"},
            "relay": {"host": server.host, "port": server.port, "security": "none", **(relay or {})},
        }
        for section, more in (settings or {}).items():
            sections.setdefault(section, {}).update(more)
        daimon = await stack.enter_async_context(running(folder / "data", sections, listeners=True))
        await daimon.upgrade()
        agent = await stack.enter_async_context(daimon.agent())
        for name in ("robo", "other", "third"):
            await agent.do("create_inbox", username=name)
        yield World(daimon, agent, server, far)


# ── we send through it


async def test_what_we_send_through_postfix_arrives_byte_for_byte(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        sent = await w.agent.do("send_email", inbox=ROBO, to=[ANN, BEN], subject="Punkte: ä", body=TRICKY)
        [stored] = await w.relayed(sent["id"], messages=2)
        ours = await w.raw(sent["id"])
        assert (stored.mail_from, stored.recipients) == (ROBO, [ANN, BEN])
        assert stored.content.startswith(b"Received: from mx.agents.test ")
        assert stored.content.endswith(b"\r\n" + ours)
        explained = await w.agent.call("explain_delivery", message_id=sent["id"])
        assert "Recipient 2 (relay, attempts: 1): sent, accepted." in explained.text
        assert f"Recipient 1: {ANN}, last answer: 127.0.0.1:{w.postfix.port} 250 2.0.0 Ok: queued as" in explained.text


async def test_five_megabytes_go_through_postfix_unchanged(tmp_path: Path) -> None:
    octets = base64.b64encode(bytes(range(256)) * (FIVE_MB // 256)).decode()
    attachment = {"filename": "all.bin", "content_type": "application/octet-stream", "content": octets}
    async with world(tmp_path) as w:
        sent = await w.agent.do("send_email", inbox=ROBO, to=ANN, subject="Much", body="x", attachments=[attachment])
        [stored] = await w.relayed(sent["id"])
        assert len(stored.content) > FIVE_MB
        assert stored.content.endswith(b"\r\n" + await w.raw(sent["id"]))


async def test_an_address_beyond_ascii_needs_smtputf8_and_postfix_has_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        sent = await w.agent.do("send_email", inbox=ROBO, to="jürgen@far.test", subject="Grüße", body="Hallo Jürgen")
        [stored] = await w.relayed(sent["id"])
        assert stored.recipients == ["jürgen@far.test"]
        assert "SMTPUTF8" in stored.options
        assert stored.content.endswith(b"\r\n" + await w.raw(sent["id"]))
        assert "To: jürgen@far.test\r\n".encode() in stored.content


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_postfix_wants_a_login_under_tls(tmp_path: Path, authority: trustme.CA, security: str) -> None:
    trust = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trust))
    login = {"username": "robo", "password": "secret and long", "ca_file": str(trust), "security": security}
    users = {"robo": "secret and long"}
    async with world(tmp_path, certificate=authority.issue_cert("127.0.0.1"), users=users) as plain:
        server = plain.postfix
        port = server.port if security == "starttls" else server.tls_port
        sections = {"mail": {"domain": HERE}, "relay": {"host": server.host, "port": port, **login}}
        refused = await plain.agent.do("send_email", inbox=ROBO, to=ANN, subject="No", body="not logged in")
        await becomes(plain.daimon, plain.agent, refused["id"], "bounced")
        async with running(tmp_path / "second", sections, workers=True) as daimon, daimon.agent() as agent:
            await daimon.upgrade()
            await agent.do("create_inbox", username="robo")
            sent = await agent.do("send_email", inbox=ROBO, to=ANN, subject="Yes", body="logged in")
            await becomes(daimon, agent, sent["id"], "sent")
            await server.log.says("status=sent")
            [stored] = [each for each in plain.far.messages if each.recipients == [ANN]]
            assert b"Subject: Yes\r\n" in stored.content
            assert b"with ESMTPSA" in stored.content
            story = await agent.do("explain_delivery", message_id=sent["id"])
            [attempt] = [each for each in story["timeline"] if each["what"] == "attempt"]
            assert attempt["tls"].startswith("TLSv1.3")


async def test_a_certificate_that_is_not_to_be_trusted_sends_nothing(tmp_path: Path, authority: trustme.CA) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    async with world(tmp_path, certificate=certificate, relay={"security": "starttls"}) as w:
        sent = await w.agent.do("send_email", inbox=ROBO, to=ANN, subject="Secret", body="x")

        async def look() -> str | None:
            [delivery] = (await w.agent.do("get_message", message_id=sent["id"]))["deliveries"]
            return delivery.get("last_reply")

        assert "certificate" in (await until(w.daimon, look))
        explained = await w.agent.call("explain_delivery", message_id=sent["id"])
        assert "Recipient 1 (relay, attempts: 1): queued, " in explained.text
        assert w.far.messages == []


# ── it delivers to us

FROM = b"From: ann@far.test\r\n"
EIGHT = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
LETTERS = {
    "plain": FROM + b"Subject: Dots\r\n\r\n" + TRICKY.replace("\n", "\r\n").encode("ascii", "ignore") + b"\r\n",
    "8bit": FROM + EIGHT % b"utf-8" + TRICKY.replace("\n", "\r\n").encode() + b"\r\n",
    "latin": FROM + EIGHT % b"iso-8859-1" + b"Gr\xfc\xdfe\r\n",
    "utf8": "Subject: Grüße 漢字\r\nFrom: Änne <änne@far.test>\r\n\r\nhi\r\n".encode(),
    "five megabytes": FROM + b"Subject: Much\r\n\r\n" + (b"." * 77 + b"\r\n") * (FIVE_MB // 79),
}


@pytest.mark.parametrize("route", [smtp_to, lmtp_to])
async def test_what_postfix_delivers_to_us_is_kept_byte_for_byte(tmp_path: Path, route: Callable[[int], str]) -> None:
    as_it_is = {"local_header_rewrite_clients": ""}  # else Postfix adds Date and Message-ID
    async with world(tmp_path, route=route, parameters=as_it_is) as w:
        for number, (name, letter) in enumerate(LETTERS.items(), 1):
            options = {"8bit": ["BODY=8BITMIME"], "latin": ["BODY=8BITMIME"], "utf8": ["SMTPUTF8"]}.get(name, [])
            await w.hand_in([ROBO], letter, options=options)
            await w.postfix.log.says("status=sent", times=number)
            found = await w.arrived(ROBO, number)
            raw = await w.raw(found[-1]["id"])
            assert raw.endswith(b"\r\n" + letter), name
            assert raw.startswith(b"Return-Path: <ann@far.test>\r\n")
            protocol = b"LMTP" if route is lmtp_to else b"SMTPS" if name == "utf8" else b"ESMTPS"
            expected = b"with " + (b"UTF8" if name == "utf8" else b"") + protocol + b" "
            assert b"by mx.agents.test " + expected in raw.replace(b"\r\n ", b" ")[:600]
            message = await w.agent.do("get_message", message_id=found[-1]["id"])
            if name == "8bit":
                assert message["body_text"].replace("\r\n", "\n").rstrip("\n") == TRICKY
            if name == "latin":
                assert message["body_text"].strip() == "Grüße"
            if name == "utf8":
                assert (message["subject"], message["from_address"]) == ("Grüße 漢字", "änne@far.test")


@pytest.mark.parametrize("route", [smtp_to, lmtp_to])
async def test_several_recipients_are_told_one_by_one(tmp_path: Path, route: Callable[[int], str]) -> None:
    async with world(tmp_path, route=route) as w:
        letter = b"Subject: All\r\nFrom: ann@far.test\r\nMessage-ID: <all@far.test>\r\n\r\nx\r\n"
        await w.hand_in([ROBO, OTHER, f"nobody@{HERE}", f"{THIRD}"], letter)
        await w.postfix.log.says("status=sent", times=4)  # to three of us, and the bounce to Ann
        for inbox in (ROBO, OTHER, THIRD):
            [message] = await w.arrived(inbox)
            assert message["subject"] == "All"
        [bounce] = w.far.messages
        assert (bounce.mail_from, bounce.recipients) == ("", [ANN])
        assert b"550" in bounce.content
        assert b"Status: 5.1.1\r\n" in bounce.content
        assert b"Final-Recipient: rfc822; nobody@agents.test\r\n" in bounce.content


async def test_postfix_comes_back_when_it_is_put_off_and_is_known_from_then_on(tmp_path: Path) -> None:
    zone = 'far.test. TXT "v=spf1 ip4:127.0.0.1 -all"'
    async with nameserver(zone) as dns:
        strict: dict[str, Any] = {"greylist_seconds": 1, "trusted_networks": []}
        async with world(tmp_path, settings={"smtp": strict, "dns": {"nameservers": [dns.address]}}) as w:
            for number in (1, 2):
                await w.hand_in([ROBO], FROM + b"Subject: Hello\r\n\r\nx\r\n")
                await w.postfix.log.says("status=sent", times=number)
            deferred = [line for line in w.postfix.log.lines if "status=deferred" in line]
            assert deferred
            assert all("said: 451 4.7.1 " in line for line in deferred)
            assert len({line.split()[5] for line in deferred}) == 1  # the first mail alone
            found = await w.arrived(ROBO, 2)
            message = await w.agent.do("get_message", message_id=found[0]["id"])
            assert (message["authentication"]["spf"], message["authentication"]["spf_domain"]) == ("pass", "far.test")


# ── what it does not take, and what it asks back


@pytest.mark.parametrize(
    ("parameters", "fields", "meaning"),
    [
        ({"message_size_limit": "100000"}, {"to": ANN, "body": "word " * 40_000}, "too_large"),
        ({"smtpd_discard_ehlo_keywords": "smtputf8"}, {"to": "jürgen@far.test", "body": "x"}, "unsupported"),
        ({"smtpd_recipient_restrictions": "reject"}, {"to": ANN, "body": "x"}, "policy"),
    ],
)
async def test_what_postfix_does_not_take_is_told_at_once(
    tmp_path: Path, parameters: Mapping[str, str], fields: Mapping[str, Any], meaning: str
) -> None:
    async with world(tmp_path, parameters=parameters) as w:
        sent = await w.agent.do("send_email", inbox=ROBO, subject="Note", **fields)
        await becomes(w.daimon, w.agent, sent["id"], "bounced")
        told = (await w.agent.call("explain_delivery", message_id=sent["id"])).text
        assert f"Recipient 1 (relay, attempts: 1): bounced, {meaning}. It is not tried again." in told
        [report] = await w.arrived(ROBO)
        assert report["kind"] == "bounce"
        assert w.far.messages == []


@pytest.mark.parametrize("verp", [False, True])
async def test_a_server_that_asks_back_whether_a_sender_is_real_is_told_so(tmp_path: Path, verp: bool) -> None:
    callback = {
        "smtpd_sender_restrictions": "reject_unverified_sender",
        "unverified_sender_reject_code": "550",
        "address_verify_map": "",
        "address_verify_poll_delay": "1s",
    }
    async with world(tmp_path, relay={"verp": verp}, parameters=callback) as w:
        sent = await w.agent.do("send_email", inbox=ROBO, to=ANN, subject="Note", body="x")
        [stored] = await w.relayed(sent["id"])
        assert stored.mail_from.startswith("robo+b-" if verp else "robo@")
        assert await delivered_to(w.agent, ROBO) == []
