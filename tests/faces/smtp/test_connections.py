"""How a connection begins and how long it may take: early talkers, TLS in its three ways, slow and silent peers."""

from __future__ import annotations

import asyncio
import gc
import smtplib
import socket
import ssl
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from tests.faces.smtp.server import Client, Inbound, client_of, listening, serving

from daimon_mcp.faces.smtp import connection, handshake
from daimon_mcp.faces.smtp.listener import Early, plain_address
from daimon_mcp.faces.smtp.service import IN_MEMORY, Limits

TIMED_OUT = "421 4.4.2 Timed out"
MESSAGE = b"Subject: hi\r\n\r\nhello\r\n"


def spoke_at_once(inbound: Inbound, words: bytes) -> socket.socket:
    """A connection on which `words` arrive before the server has run: this thread is the server's."""
    peer = socket.create_connection((inbound.host, inbound.port))
    peer.sendall(words)
    return peer


async def hear(peer: socket.socket) -> bytes:
    """All that comes until the end."""

    def read() -> bytes:
        heard = b""
        with peer:
            peer.settimeout(5)
            while data := peer.recv(1000):
                heard += data
        return heard

    return await anyio.to_thread.run_sync(read)


async def test_who_speaks_before_the_greeting_is_refused() -> None:
    async with serving() as inbound:
        for words in (b"EHLO bot.example\r\nMAIL FROM:<>\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\n"):
            assert await hear(spoke_at_once(inbound, words)) == b"554 5.5.0 Spoke before the greeting\r\n"
        async with client_of(inbound) as client:
            assert await client.say("NOOP") == "250 2.0.0 Ok"


async def test_who_speaks_while_the_greeting_is_held_back_is_refused() -> None:
    async with serving(Limits(greeting_seconds=0.2)) as inbound:
        async with await anyio.connect_tcp(inbound.host, inbound.port) as stream:
            await stream.send(b"EHLO bot.example\r\n")
            assert await Client(stream).reply() == "554 5.5.0 Spoke before the greeting"
        async with client_of(inbound) as client:
            assert await client.say("EHLO c.example") == "250 HELP"


async def test_who_leaves_before_the_greeting_frees_its_place() -> None:
    async with serving(Limits(greeting_seconds=5, max_connections=1)) as inbound:
        for _ in range(3):
            stream = await anyio.connect_tcp(inbound.host, inbound.port)
            with anyio.move_on_after(0.05):
                await stream.receive()
            await stream.send_eof()
            assert await Client(stream).reply() == "220 mx.example ESMTP"  # an end is no word
            await stream.aclose()


async def test_a_listener_that_ends_does_not_wait_for_greetings() -> None:
    async with (
        serving(Limits(greeting_seconds=60)) as inbound,
        await anyio.connect_tcp(inbound.host, inbound.port) as stream,
    ):
        with anyio.move_on_after(0.05):
            await stream.receive()
        inbound.stop.cancel()
        assert await Client(stream).reply() == "421 4.3.2 Server is shutting down"


@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "taken for implicit"])
async def test_tls_from_the_first_octet(implicit: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    limits = Limits(greeting_seconds=0.1)
    async with listening(limits=limits, tls=server_tls, implicit_tls=implicit, early=Early.TLS) as inbound:

        def talk() -> None:
            with smtplib.SMTP_SSL(inbound.host, inbound.port, "c.example", context=client_tls, timeout=5) as client:
                client.ehlo()
                assert not client.has_extn("starttls")
                client.sendmail("sam@sender.example", ["ada@mx.example"], MESSAGE)

        await anyio.to_thread.run_sync(talk)
        [(_, peer, content)] = inbound.core.messages
    assert peer.tls
    assert content == MESSAGE


async def test_a_port_that_looks_for_tls_still_greets_and_offers_it(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async with listening(limits=Limits(greeting_seconds=0.05), tls=server_tls, early=Early.TLS) as inbound:

        def talk() -> None:
            with smtplib.SMTP(inbound.host, inbound.port, "c.example", timeout=5) as client:
                client.starttls(context=client_tls)
                client.sendmail("sam@sender.example", ["ada@mx.example"], MESSAGE)

        await anyio.to_thread.run_sync(talk)
        assert inbound.core.messages[0][1].tls


@pytest.mark.parametrize("way", ["starttls", "implicit", "taken for implicit"])
async def test_a_handshake_that_stops_half_way_ends_and_frees_its_place(
    way: str, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "TLS_SECONDS", 0.3)
    limits = Limits(max_connections=1, greeting_seconds=0.1 if way == "taken for implicit" else 0)
    async with listening(limits=limits, tls=server_tls, implicit_tls=way == "implicit", early=Early.TLS) as inbound:
        for _ in range(2):
            async with await anyio.connect_tcp(inbound.host, inbound.port) as stream:
                client = Client(stream)
                if way == "starttls":
                    await client.reply()
                    assert await client.say("EHLO c.example", "STARTTLS") == "220 2.0.0 Ready to start TLS"
                await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                await client.until_closed()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()


async def test_who_leaves_before_the_handshake_leaves_nothing_behind(server_tls: ssl.SSLContext) -> None:
    """TLS takes tens of kilobytes: peers that come and go must not make it wait until a handshake's time is over."""
    loop = asyncio.get_running_loop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    made: asyncio.Queue[tuple[asyncio.Transport, asyncio.Protocol]] = asyncio.Queue()

    class Peer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.put_nowait((cast("asyncio.Transport", transport), self))

    def left() -> int:
        gc.collect()
        return sum(type(each).__name__ in ("SSLProtocol", "SSLObject") for each in gc.get_objects())

    before = left()
    async with await loop.create_server(Peer, "127.0.0.1", 0) as server:

        async def come_and_go() -> None:
            with socket.create_connection(server.sockets[0].getsockname()):
                transport, protocol = await made.get()
                transport.close()
                hello = b"\x16\x03\x01\x02\x00\x01"
                assert not await handshake.start_tls(
                    transport, protocol, server_tls, early=lambda: hello, shutdown_seconds=1
                )
            for _ in range(10):
                await anyio.lowlevel.checkpoint()

        for _ in range(3):
            await come_and_go()
    assert left() == before
    assert not problems


async def test_too_many_on_a_port_of_tls_are_not_told_in_clear(server_tls: ssl.SSLContext) -> None:
    async with (
        listening(limits=Limits(max_connections=1), tls=server_tls, implicit_tls=True) as inbound,
        await anyio.connect_tcp(inbound.host, inbound.port),
        await anyio.connect_tcp(inbound.host, inbound.port) as stream,
    ):
        assert await Client(stream).reply() == ""


async def test_a_slow_loris_is_found_by_the_sweep_whatever_it_sends() -> None:
    async with listening() as inbound, client_of(inbound) as silent, client_of(inbound) as dribbling:
        await dribbling.say("EHLO c.example")
        for octet in b"MAIL FRO":
            inbound.clock.move(40)
            await silent.send(b"")
            await dribbling.send(bytes([octet]))
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            inbound.listener.sweep()
        assert await silent.reply() == TIMED_OUT
        assert await dribbling.reply() == TIMED_OUT
        assert await dribbling.reply() == ""


async def test_content_is_cut_for_silence_and_for_slowness_but_not_for_its_length() -> None:
    async with (
        listening() as inbound,
        client_of(inbound) as steady,
        client_of(inbound) as silent,
        client_of(inbound) as slow,
    ):
        for client in (steady, silent, slow):
            await client.to_content()
        await silent.send(b"x" * 100_000)
        for minute in range(12):
            await steady.send(b"x" * 58 + b"\r\n" + b"y" * 31_000)  # 500 octets a second and a little
            await slow.send(b"x" * 100)
            await _heard(inbound)
            inbound.clock.move(62)
            inbound.listener.sweep()
            if minute == 4:
                assert await silent.reply() == TIMED_OUT
                assert await slow.reply() == TIMED_OUT
                slow = steady
        await steady.send(b"\r\n.\r\n")
        assert (await steady.reply()).startswith("250 2.0.0 ")


async def _heard(inbound: Inbound) -> None:
    """Let the server read what was sent."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_time_in_the_core_is_not_the_peers() -> None:
    async with listening() as inbound, client_of(inbound) as client:
        inbound.core.gate = anyio.Event()
        await client.to_content()
        await client.send(MESSAGE + b".\r\n")
        await inbound.core.entered.wait()
        inbound.clock.move(1_000)
        inbound.listener.sweep()
        inbound.core.gate.set()
        assert (await client.reply()).startswith("250 2.0.0 ")
        inbound.clock.move(1_000)
        inbound.listener.sweep()
        assert await client.reply() == "421 4.4.2 Session has lasted too long"
        assert await client.reply() == ""


async def test_who_sends_on_while_the_core_is_busy_is_not_read_for_ever() -> None:
    async with listening() as inbound, client_of(inbound) as client:
        inbound.core.gate = anyio.Event()
        await client.to_content()
        await client.send(MESSAGE + b".\r\n")
        await inbound.core.entered.wait()
        with anyio.move_on_after(0.3):
            while True:
                await client.send(b"NOOP\r\n" * 100_000)
        [member] = inbound.listener.members
        assert isinstance(member, connection.Connection)
        assert 0 < member.unread < 3 * IN_MEMORY
        inbound.core.gate.set()
        assert (await client.reply()).startswith("250 2.0.0 ")
        assert await client.reply() == "250 2.0.0 Ok"


class Somebody:
    """A member that only has an address."""

    def __init__(self, address: str) -> None:
        self.address = plain_address(address)

    def check(self, now: int) -> None:
        """Nothing to look at."""

    def wake(self) -> None:
        """Leave."""

    def cut_off(self) -> None:
        """Leave."""

    def abort(self) -> None:
        """Leave."""


async def test_places_are_counted_by_what_one_peer_can_have_many_of() -> None:
    async with listening(limits=Limits(max_connections_per_address=2, max_connections=7)) as inbound:
        listener = inbound.listener

        def admitted(*addresses: str) -> list[bool]:
            return [listener.admit(Somebody(address)) for address in addresses]

        assert admitted("2001:db8::1", "2001:db8::ffff:2", "2001:db8::3") == [True, True, False]
        assert admitted("2001:db8:0:1::1", "fe80::1%eth0") == [True, True]
        assert admitted("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1") == [True, True, False]
        assert admitted("192.0.2.2", "192.0.2.3") == [True, False]  # the last place of all
        for member in listener.members:
            listener.left(member)
            listener.left(member)
        assert admitted("2001:db8::1", "192.0.2.1") == [True, True]
        for member in listener.members:
            listener.left(member)
