"""Published ways to have two servers see two different mails, and other noise on the wire."""

from __future__ import annotations

import ssl

import anyio
import pytest
from tests.faces.smtp.server import Client, client_of, serving

SMUGGLED = b"MAIL FROM:<admin@mx.example>\r\nRCPT TO:<bob@mx.example>\r\nDATA\r\nSubject: two\r\n\r\nhi"
END = b"\r\n.\r\n"

BARE = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\r.\n",
    b"\n.\r",
    b"\n\n.\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\n.\n\r\n",
    b"\r\n\x00.\n",
    b"\n\x00.\r\n",
    b"\x00\n.\n",
    b"\r\x00\n.\r\x00\n",
]
NO_BARE = [b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n.\x00\x00\r\n", b"\r\n .\r\n", b"\r\n. \r\n"]


@pytest.mark.parametrize("sequence", BARE, ids=repr)
@pytest.mark.parametrize("one_write", [True, False], ids=["one write", "octets"])
async def test_what_looks_like_an_end_refuses_the_whole_message(sequence: bytes, one_write: bool) -> None:
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        content = b"Subject: one\r\n\r\nhello" + sequence + SMUGGLED + END
        for piece in [content] if one_write else [content[at : at + 1] for at in range(len(content))]:
            await client.send(piece)
        assert await client.reply() == "550 5.6.11 A CR or LF alone in the message is refused"
        assert await client.say("NOOP") == "250 2.0.0 Ok"
    assert inbound.core.messages == []


@pytest.mark.parametrize("sequence", NO_BARE, ids=repr)
async def test_what_only_a_careless_reader_takes_for_an_end_is_text(sequence: bytes) -> None:
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        content = b"Subject: one\r\n\r\nhello" + sequence + SMUGGLED
        await client.send(content + END)
        assert (await client.reply()).startswith("250 2.0.0 ")
        assert await client.say("NOOP") == "250 2.0.0 Ok"
    [(_, _, received)] = inbound.core.messages
    assert received == content.replace(b"\r\n.", b"\r\n") + b"\r\n"


async def test_ten_thousand_recipients_are_put_off_and_never_refused() -> None:
    async with serving() as inbound, client_of(inbound) as client:
        await client.say("EHLO c.example", "MAIL FROM:<c@c.example>")
        lines = b"".join(b"RCPT TO:<agent%d@mx.example>\r\n" % number for number in range(10_000))
        heard: list[str] = []

        async def listen() -> None:
            for _ in range(10_000):
                heard.append(await client.reply())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await client.send(lines)
        assert heard == ["250 2.1.5 Ok"] * 50 + ["452 4.5.3 Too many recipients"] * 9_950
        assert (await client.say("DATA")).startswith("354 ")
        await client.send(b"hi\r\n.\r\n")
        assert (await client.reply()).startswith("250 2.0.0 ")
    assert len(inbound.core.asked) == 50
    assert len(inbound.core.messages[0][0].rcpt_to) == 50


async def test_nothing_is_read_behind_quit() -> None:
    async with serving() as inbound, client_of(inbound) as client:
        await client.say("EHLO c.example")
        await client.send(b"QUIT\r\nMAIL FROM:<c@c.example>\r\nNOOP\r\n")
        assert await client.reply() == "221 2.0.0 Bye"
        assert await client.reply() == ""


async def test_garbage_behind_the_end_of_a_message_is_no_part_of_it() -> None:
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        await client.send(b"hello\r\n.\r\n.\r\nhello\r\n\x00\xff\r\nNOOP\r\n")
        assert (await client.reply()).startswith("250 2.0.0 ")
        for _ in range(3):
            assert await client.reply() == "500 5.5.1 Command not recognized"
        assert await client.reply() == "250 2.0.0 Ok"
    assert [content for _, _, content in inbound.core.messages] == [b"hello\r\n"]


@pytest.mark.parametrize("behind", [b"MAIL FROM:<c@c.example>\r\n", b"N", b"\n", b"\x16\x03\x01"], ids=repr)
async def test_nothing_said_in_clear_gets_into_tls(behind: bytes, server_tls: ssl.SSLContext) -> None:
    async with serving(starttls=server_tls) as inbound, client_of(inbound) as client:
        await client.say("EHLO c.example")
        await client.send(b"STARTTLS\r\n" + behind)
        assert await client.reply() == "554 5.5.0 Commands sent before the reply to the last one"
        assert await client.reply() == ""


@pytest.mark.parametrize("character", [*range(32), 127], ids=hex)
async def test_no_control_character_gets_into_an_address(character: int) -> None:
    async with serving() as inbound, client_of(inbound) as client:
        await client.say("EHLO c.example", "MAIL FROM:<c@c.example>")
        for local in (b"ada%c", b'"ada%c"', b"ada@mx%c.example"):
            await client.send(b"RCPT TO:<" + local % character + b"@mx.example>\r\n")
            assert (await client.reply()).startswith("50")
            if character == ord("\n"):  # the other half is a line of its own
                assert await client.reply() == "500 5.5.1 Command not recognized"
    assert inbound.core.asked == []


async def test_a_line_of_any_length_is_one_line() -> None:
    async with serving() as inbound, client_of(inbound) as client:
        for length in (2_049, 5_000, 60_000):
            await client.send(b"NOOP ".ljust(length - 2, b"x") + b"\r\n")
            assert await client.reply() == "500 5.5.2 Line too long"
        await client.send(b"NOOP ".ljust(70_000, b"x") + b"\r\n")
        assert await client.reply() == "421 4.7.0 Line without an end"
        assert await client.reply() == ""


async def test_the_server_is_well_after_all_of_it() -> None:
    async with serving() as inbound:
        for noise in (b"\r\n" * 30, b"\x00" * 3000 + b"\r\n", bytes(range(256)) * 40, b"DATA\r\n.\r\n"):
            async with await anyio.connect_tcp(inbound.host, inbound.port) as stream:
                await stream.send(noise)
                await stream.send_eof()
                await Client(stream).until_closed()
        async with client_of(inbound) as client:
            await client.to_content()
            await client.send(b"hello\r\n.\r\n")
            assert (await client.reply()).startswith("250 2.0.0 ")
    assert len(inbound.core.messages) == 1
