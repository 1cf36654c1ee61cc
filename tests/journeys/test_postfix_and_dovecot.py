"""The mail servers that tests have beside them, Postfix and Dovecot, do what tests count on."""

from __future__ import annotations

import asyncio
import email
import email.policy
import imaplib
import smtplib
import ssl
from email.message import EmailMessage

import pytest
import trustme
from tests.support.dovecot import dovecot
from tests.support.postfix import NOBODY, Postfix, lmtp_to, postfix, smtp_to
from tests.support.sink import Sink, Stored

US, ANN = "robo@agents.test", "ann@far.test"
LETTER = b"From: robo@agents.test\r\nSubject: Hello\r\n\r\nHello there\r\n"


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context


async def send(server: Postfix, recipient: str) -> None:
    """Hand Postfix a letter from us."""

    def say() -> None:
        with smtplib.SMTP(server.host, server.port, local_hostname="agents.test") as client:
            client.sendmail(US, [recipient], LETTER)

    await asyncio.to_thread(say)


def parsed(stored: Stored) -> EmailMessage:
    return email.message_from_bytes(stored.content, policy=email.policy.default)


async def test_postfix_relays_what_it_is_given_and_leaves_nothing_running() -> None:
    async with Sink() as sink, postfix(relay_to=sink.port) as server:
        await send(server, ANN)
        await server.log.says("status=sent")
    [stored] = sink.messages
    assert (stored.mail_from, stored.recipients) == (US, [ANN])
    assert parsed(stored)["Received"].startswith("from agents.test")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(server.host, server.port)


async def test_postfix_takes_mail_for_others_only_after_a_login_under_tls(authority: trustme.CA) -> None:
    certificate, trust = authority.issue_cert("127.0.0.1"), trusting(authority)

    def say(server: Postfix) -> None:
        with smtplib.SMTP(server.host, server.port) as client:
            client.ehlo()
            assert not client.has_extn("auth")
            client.starttls(context=trust)
            with pytest.raises(smtplib.SMTPRecipientsRefused, match="Relay access denied"):
                client.sendmail(US, [ANN], LETTER)
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("robo", "wrong")
            client.login("robo", "secret")
            client.sendmail(US, [ANN], LETTER)
        assert server.tls_port is not None
        with smtplib.SMTP_SSL(server.host, server.tls_port, context=trust) as client:
            client.login("robo", "secret")
            client.sendmail(US, [ANN], LETTER)

    async with (
        Sink() as sink,
        postfix(relay_to=sink.port, certificate=certificate, users={"robo": "secret"}) as server,
    ):
        await asyncio.to_thread(say, server)
        await server.log.says("status=sent", times=2)
    assert [stored.recipients for stored in sink.messages] == [[ANN], [ANN]]


async def test_postfix_bounces_to_us_what_has_no_mailbox() -> None:
    async with Sink() as us, postfix(routes={"agents.test": smtp_to(us.port), "far.test": NOBODY}) as server:
        await send(server, ANN)
        await server.log.says("status=sent")
    [stored] = us.messages
    assert (stored.mail_from, stored.recipients) == ("", [US])
    report = parsed(stored)
    assert report.get_content_type() == "multipart/report"
    assert "Diagnostic-Code: X-Postfix; There is no such mailbox" in report.as_string()


async def test_postfix_bounces_to_us_what_the_next_server_refuses() -> None:
    async with (
        Sink() as far,
        Sink() as us,
        postfix(relay_to=far.port, routes={"agents.test": smtp_to(us.port)}) as server,
    ):
        far.answer("RCPT", "550 5.7.1 Not from you")
        await send(server, ANN)
        await server.log.says("status=sent")
    assert "Diagnostic-Code: smtp; 550 5.7.1 Not from you" in parsed(us.messages[0]).as_string()


async def test_postfix_refuses_at_rcpt_whom_it_is_told_to() -> None:
    async with postfix(accepts=["far.test"], refuses={ANN: "550 5.1.1 No such user"}) as server:
        with pytest.raises(smtplib.SMTPRecipientsRefused, match=r"5\.1\.1 <ann@far\.test>.*No such user"):
            await send(server, ANN)


async def test_postfix_tries_again_within_seconds() -> None:
    async with Sink() as sink, postfix(relay_to=sink.port) as server:
        sink.answer("RCPT", "451 4.3.0 Later", times=1)
        await send(server, ANN)
        await server.log.says("status=deferred")
        await server.log.says("status=sent")
    assert len(sink.messages) == 1


async def test_postfix_delivers_by_lmtp_to_dovecot_where_imap_finds_it() -> None:
    def look(host: str, port: int) -> bytes:
        with imaplib.IMAP4(host, port) as client:
            client.login(ANN, "secret")
            client.select("INBOX")
            _, [found, _] = client.fetch("1", "(RFC822)")
            assert isinstance(found, tuple)
            return found[1]

    async with (
        dovecot(users={ANN: "secret"}) as mailboxes,
        postfix(routes={"far.test": lmtp_to(mailboxes.lmtp_port)}) as server,
    ):
        await send(server, ANN)
        await server.log.says("status=sent")
        raw = await asyncio.to_thread(look, mailboxes.host, mailboxes.imap_port)
    assert raw.startswith(b"Return-Path: <robo@agents.test>\r\n")
    assert raw.endswith(b"\r\n\r\nHello there\r\n")


async def test_dovecot_speaks_imap_under_tls_to_who_knows_the_password(authority: trustme.CA) -> None:
    certificate, trust = authority.issue_cert("127.0.0.1"), trusting(authority)

    def look(host: str, port: int, tls_port: int | None) -> None:
        with imaplib.IMAP4(host, port) as client:
            client.starttls(trust)
            with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                client.login(ANN, "wrong")
            client.login(ANN, "secret")
        assert tls_port is not None
        with imaplib.IMAP4_SSL(host, tls_port, ssl_context=trust) as client:
            client.login(ANN, "secret")
            assert client.select("INBOX") == ("OK", [b"1"])
            assert b"IDLE" in client.capability()[1][0]

    async with dovecot(users={ANN: "secret"}, certificate=certificate) as server:
        await server.deliver(ANN, LETTER)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            await server.deliver("bob@far.test", LETTER)
        await asyncio.to_thread(look, server.host, server.imap_port, server.imaps_port)
