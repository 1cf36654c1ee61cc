"""The inbound listener with clients as people use them: smtplib, aiosmtplib, with and without TLS."""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Callable, Iterator

import aiosmtplib
import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faces.smtp.server import Inbound, client_of, serving

from daimon_mcp.faces.smtp.service import Limits
from daimon_mcp.logs import WIRE, cid

MESSAGE = b"From: sam@sender.example\r\nTo: ada@mx.example\r\nSubject: hi\r\n\r\n.hello\r\n..\r\n"


async def with_smtplib(inbound: Inbound, talk: Callable[[smtplib.SMTP], object]) -> None:
    def connect() -> None:
        with smtplib.SMTP(inbound.host, inbound.port, "mail.sender.example", timeout=5) as client:
            talk(client)

    await anyio.to_thread.run_sync(connect)


async def test_a_message_arrives_with_its_envelope_its_peer_and_the_bytes_that_were_sent() -> None:
    async with serving() as inbound:

        def talk(client: smtplib.SMTP) -> None:
            assert client.sendmail("sam@sender.example", ["ada@mx.example", "bob@mx.example"], MESSAGE) == {}

        await with_smtplib(inbound, talk)
        [(envelope, peer, content)] = inbound.core.messages
    assert (envelope.mail_from, envelope.rcpt_to) == ("sam@sender.example", ("ada@mx.example", "bob@mx.example"))
    assert content == MESSAGE
    assert (peer.address, peer.helo, peer.tls, peer.esmtp) == ("127.0.0.1", "mail.sender.example", False, True)
    assert peer.options == (f"size={len(MESSAGE)}",)
    assert len(peer.cid) == len("c0ffee1234.1")


async def test_many_messages_on_one_connection_each_with_its_own_envelope() -> None:
    async with serving() as inbound:

        def talk(client: smtplib.SMTP) -> None:
            for number in range(20):
                client.sendmail(f"sam{number}@sender.example", f"agent{number}@mx.example", b"n: %d\r\n" % number)

        await with_smtplib(inbound, talk)
    assert [(envelope.mail_from, envelope.rcpt_to, content) for envelope, _, content in inbound.core.messages] == [
        (f"sam{number}@sender.example", (f"agent{number}@mx.example",), b"n: %d\r\n" % number) for number in range(20)
    ]


async def test_a_refused_recipient_does_not_hinder_the_others() -> None:
    async with serving() as inbound:

        def talk(client: smtplib.SMTP) -> None:
            refused = client.sendmail("", ["nobody@mx.example", "ada@mx.example", "x@elsewhere.example"], MESSAGE)
            assert refused == {
                "nobody@mx.example": (550, b"5.1.1 No such inbox here"),
                "x@elsewhere.example": (550, b"5.7.1 Relay access denied"),
            }

        await with_smtplib(inbound, talk)
        [(envelope, _, _)] = inbound.core.messages
    assert (envelope.mail_from, envelope.rcpt_to) == ("", ("ada@mx.example",))


async def test_a_recipient_named_twice_is_one() -> None:
    async with serving() as inbound:
        await with_smtplib(inbound, lambda client: client.sendmail("", ["ada@mx.example"] * 2, MESSAGE))
    assert inbound.core.messages[0][0].rcpt_to == ("ada@mx.example",)
    assert inbound.core.asked == ["ada@mx.example"]


async def test_a_client_without_extensions_is_served() -> None:
    async with serving() as inbound:

        def talk(client: smtplib.SMTP) -> None:
            client.helo("old.sender.example")
            client.sendmail("sam@sender.example", "ada@mx.example", MESSAGE)

        await with_smtplib(inbound, talk)
        [(_, peer, _)] = inbound.core.messages
    assert (peer.esmtp, peer.helo, peer.options) == (False, "old.sender.example", ())


async def test_smtputf8_reaches_the_core() -> None:
    async with serving() as inbound:
        async with aiosmtplib.SMTP(
            hostname=inbound.host, port=inbound.port, local_hostname="c.example", start_tls=False
        ) as client:
            await client.sendmail(
                "sám@sender.example",
                ["åda@mx.example"],
                "Subject: été\r\n".encode(),
                mail_options=["SMTPUTF8", "BODY=8BITMIME"],
            )
        [(envelope, peer, content)] = inbound.core.messages
    assert (envelope.mail_from, envelope.rcpt_to) == ("sám@sender.example", ("åda@mx.example",))
    assert peer.smtputf8
    assert "BODY=8BITMIME" in peer.options
    assert content == "Subject: été\r\n".encode()


async def test_the_250_comes_after_the_core_has_the_message_and_names_it() -> None:
    async with serving() as inbound, client_of(inbound) as client:
        inbound.core.gate = anyio.Event()
        await client.to_content()
        await client.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        await inbound.core.entered.wait()
        replied = anyio.Event()
        reply = ""

        async def listen() -> None:
            nonlocal reply
            reply = await client.reply()
            replied.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            assert not replied.is_set()
            inbound.core.gate.set()
        assert reply == f"250 2.0.0 Ok, id {inbound.core.messages[0][1].cid}"


async def test_each_connection_has_an_id_of_its_own_and_each_message_a_number_behind_it() -> None:
    async with serving() as inbound:
        for _ in range(3):

            def talk(client: smtplib.SMTP) -> None:
                client.sendmail("", "ada@mx.example", MESSAGE)
                client.mail("sam@sender.example")  # the second, which comes to nothing
                client.rset()
                client.sendmail("", "ada@mx.example", MESSAGE)

            await with_smtplib(inbound, talk)
    ids = [peer.cid for _, peer, _ in inbound.core.messages]
    sessions = [each.partition(".")[0] for each in ids]
    assert ids == [f"{session}.{number}" for session, number in zip(sessions, (1, 3) * 3, strict=True)]
    assert [len(set(sessions)), *map(len, set(sessions))] == [3, 10, 10, 10]


@pytest.fixture
def named() -> Iterator[list[tuple[str, str]]]:
    """The first word and the cid of what is logged of recipients and mail."""
    found: list[tuple[str, str]] = []

    class Named(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append((record.getMessage().partition(" ")[0], cid.get()))

    logger, handler = logging.getLogger("daimon_mcp.faces.smtp.inbound"), Named()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


async def test_log_lines_and_replies_name_the_message_they_are_about(
    named: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    begin = b"MAIL FROM:<c@c.example>\r\n"
    async with serving() as inbound, client_of(inbound) as client:
        await client.say("EHLO c.example")
        await client.send(begin + b"RCPT TO:<full@mx.example>\r\nRSET\r\n" + begin + b"RCPT TO:<x@mx.example>\r\n")
        replies = [await client.reply() for _ in range(5)]
        session, _, first = replies[1].rpartition(", id ")[2].partition(".")
        assert first == "1"
        await client.say("RCPT TO:<ada@mx.example>", "DATA")
        assert await client.say(".") == f"250 2.0.0 Ok, id {session}.2"
        await client.send(begin + b"RCPT TO:<ada@mx.example>\r\nDATA\r\n")
        for _ in range(3):
            await client.reply()
        assert await client.say(".") == f"250 2.0.0 Ok, id {session}.3"
    expected = [("recipient", "1"), ("recipient", "2"), ("mail", "2"), ("mail", "3")]
    assert named == [(what, f"{session}.{number}") for what, number in expected]


async def test_starttls_with_smtplib_forgets_what_was_said_in_clear(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with serving(starttls=server_tls) as inbound:

        def talk(client: smtplib.SMTP) -> None:
            client.ehlo()
            assert client.has_extn("starttls")
            client.mail("sam@sender.example")
            assert client.starttls(context=client_tls)[0] == 220
            assert client.docmd("RCPT", "TO:<ada@mx.example>") == (503, b"5.5.1 Send EHLO or HELO first")
            client.ehlo()
            assert not client.has_extn("starttls")
            assert client.docmd("STARTTLS") == (503, b"5.5.1 TLS already active")
            client.sendmail("sam@sender.example", "ada@mx.example", MESSAGE)

        await with_smtplib(inbound, talk)
        [(_, peer, content)] = inbound.core.messages
    assert peer.tls
    assert peer.address == "127.0.0.1"
    assert content == MESSAGE


async def test_starttls_with_aiosmtplib_carries_a_large_message(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    large = b"Subject: large\r\n\r\n" + b".".ljust(998, b"x") + b"\r\n" + (b"y" * 76 + b"\r\n") * 60_000
    async with serving(starttls=server_tls) as inbound:
        async with aiosmtplib.SMTP(
            hostname=inbound.host,
            port=inbound.port,
            local_hostname="c.example",
            start_tls=True,
            tls_context=client_tls,
        ) as client:
            await client.sendmail("sam@sender.example", ["ada@mx.example"], large)
        assert [content for _, _, content in inbound.core.messages] == [large]


async def test_what_follows_starttls_in_clear_is_not_read(server_tls: ssl.SSLContext) -> None:
    async with serving(starttls=server_tls) as inbound, client_of(inbound) as client:
        await client.say("EHLO c.example")
        await client.send(b"STARTTLS\r\nMAIL FROM:<injected@sender.example>\r\n")
        assert await client.reply() == "554 5.5.0 Commands sent before the reply to the last one"
        assert await client.reply() == ""


@pytest.mark.parametrize("way", ["nonsense", "in clear", "half closed", "reset"])
async def test_a_failed_handshake_ends_the_connection_and_frees_its_place(way: str, server_tls: ssl.SSLContext) -> None:
    async with serving(Limits(max_connections=1), starttls=server_tls) as inbound:
        async with client_of(inbound) as client:
            assert await client.say("EHLO c.example", "STARTTLS") == "220 2.0.0 Ready to start TLS"
            match way:
                case "nonsense":
                    await client.send(b"\x16\x03\x01\x00\x04zzzz")
                case "in clear":
                    await client.send(b"EHLO again\r\n")
                case "half closed":
                    await client.stream.send_eof()
                case _:
                    client.reset_when_closed()
            if way != "reset":
                await client.until_closed()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        async with client_of(inbound) as client:
            assert await client.say("NOOP") == "250 2.0.0 Ok"


async def test_the_wire_log_is_a_conversation_without_what_people_wrote(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, WIRE)
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        await client.send(b"Subject: private\r\n\r\nprivate too\r\n.\r\n")
        ident = (await client.reply()).rpartition(" ")[2]
        await client.send(b"x\\\x00\x1b[31m\xff" + b"long" * 400 + b"\r\n")
        await client.reply()
        await client.say("QUIT")
    lines = [record.getMessage() for record in caplog.records if record.name == WIRE]
    escaped = r"x\\\x00\x1b[31m\xff"
    assert lines[:3] == ["S: 220 mx.example ESMTP", "C: EHLO c.example", "S: 250-mx.example"]
    assert lines[-8:-3] == [
        "C: DATA",
        "S: 354 End with <CRLF>.<CRLF>",
        "C: [33 octets]",
        f"S: 250 2.0.0 Ok, id {ident}",
        f"C: {escaped}{('long' * 400)[: 500 - len(escaped)]}…",
    ]
    assert lines[-1] == "S: 221 2.0.0 Bye"
    assert not any("private" in record.getMessage() for record in caplog.records)


@settings(max_examples=40)
@given(
    lines=st.lists(st.one_of(st.sampled_from([b"", b".", b"..", b".\t."]), st.binary(max_size=30)), max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
async def test_content_arrives_as_sent_however_it_was_cut_up(lines: list[bytes], cuts: list[int]) -> None:
    content = b"".join(line.translate(None, b"\r\n") + b"\r\n" for line in lines)
    wire = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(wire)], strict=True):
            if wire[start:end]:
                await client.send(wire[start:end])
                for _ in range(5):  # so that the server reads it by itself
                    await anyio.lowlevel.checkpoint()
        assert (await client.reply()).startswith("250 2.0.0 ")
        assert [received for _, _, received in inbound.core.messages] == [content]
