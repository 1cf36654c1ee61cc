"""What a stranger can take from the inbound listener: connections, memory and time, and no more."""

from __future__ import annotations

import socket
import tracemalloc

import anyio
import anyio.abc
import pytest
from tests.faces.smtp.server import Client, Inbound, client_of, serving

from daimon_mcp.faces.smtp.dialogue import LINE_FLOOD
from daimon_mcp.faces.smtp.service import ROOM, Limits

MIB = 2**20
TIMED_OUT = "421 4.4.2 Timed out"
TOO_MUCH = "452 4.3.1 Too much mail at once, try again later"


async def flood(inbound: Inbound, start: list[str], chunk: bytes, size: int) -> tuple[int, bytes]:
    """Say `start` line by line, then send `size` octets as fast as they go; how many went, and all that came back."""

    def talk() -> tuple[int, bytes]:
        sent, heard = 0, b""
        with socket.create_connection((inbound.host, inbound.port), timeout=5) as connection:
            connection.recv(1000)
            for line in start:
                connection.sendall(line.encode() + b"\r\n")
                connection.recv(1000)
            try:
                while sent < size:
                    connection.sendall(chunk)
                    sent += len(chunk)
            except OSError:  # they hung up
                pass
            try:
                while data := connection.recv(1000):
                    heard += data
            except OSError:
                pass
        return sent, heard

    return await anyio.to_thread.run_sync(talk)


@pytest.fixture
def into_content() -> list[str]:
    return ["EHLO c.example", "MAIL FROM:<>", "RCPT TO:<ada@mx.example>", "DATA"]


@pytest.mark.parametrize(
    "chunk", [b"x" * 65_536, b"x" * 70 + b"\r\n", b"\r\n.\r" * 1000], ids=["no-ends", "lines", "ends"]
)
async def test_a_flood_of_content_is_cut_and_takes_no_more_memory_than_the_limit(
    chunk: bytes, into_content: list[str]
) -> None:
    async with serving(Limits(max_message_bytes=MIB)) as inbound:
        tracemalloc.start()
        try:
            sent, heard = await flood(inbound, into_content, chunk * (65_536 // len(chunk)), 64 * MIB)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert heard == b"421 4.3.4 Far more mail data than this server takes\r\n"
    assert sent < 16 * MIB  # what the sockets hold of it; the server read 2 MiB
    assert peak < 2 * MIB + 4 * ROOM  # a growing buffer may be there twice for a moment
    assert inbound.core.messages == []


async def test_content_over_the_limit_is_read_to_its_end_and_refused_there() -> None:
    limits = Limits(max_message_bytes=200_000)
    async with serving(limits) as inbound, client_of(inbound) as client:
        await client.to_content()
        await client.send((b"x" * 998 + b"\r\n") * 300)
        await client.send(b".\r\n")
        assert await client.reply() == "552 5.3.4 Message is larger than 200000 octets"
        await client.to_content()
        await client.send((b"x" * 998 + b"\r\n") * 200 + b".\r\n")
        assert (await client.reply()).startswith("250 2.0.0 ")
    assert [len(content) for _, _, content in inbound.core.messages] == [200_000]


async def test_doubled_dots_do_not_count() -> None:
    async with serving(Limits(max_message_bytes=3000)) as inbound, client_of(inbound) as client:
        await client.to_content()
        await client.send(b"..\r\n" * 1000 + b".\r\n")
        assert (await client.reply()).startswith("250 2.0.0 ")
    assert inbound.core.messages[0][2] == b".\r\n" * 1000


async def test_a_command_without_an_end_is_cut() -> None:
    async with serving() as inbound:
        sent, heard = await flood(inbound, ["EHLO c.example"], b"x" * 65_536, 64 * MIB)
    assert heard == b"421 4.7.0 Line without an end\r\n"
    assert LINE_FLOOD <= sent < 16 * MIB


async def test_connections_over_the_limits_are_told_before_the_greeting() -> None:
    async with serving(Limits(max_connections=5, max_connections_per_address=2)) as inbound:
        async with client_of(inbound), client_of(inbound) as second:
            for _ in range(3):
                async with await anyio.connect_tcp(inbound.host, inbound.port) as stream:
                    refused = Client(stream)
                    assert await refused.reply() == "421 4.7.0 Too many connections"
                    assert await refused.reply() == ""
            # Another address still gets in, until all places are taken.
            others = [
                await anyio.connect_tcp(inbound.host, inbound.port, local_host=f"127.0.0.{last}") for last in (2, 3, 4)
            ]
            for stream in others:
                assert await Client(stream).reply() == "220 mx.example ESMTP"
            async with await anyio.connect_tcp(inbound.host, inbound.port, local_host="127.0.0.5") as stream:
                assert await Client(stream).reply() == "421 4.7.0 Too many connections"
            for stream in others:
                await stream.aclose()
            assert await second.say("QUIT") == "221 2.0.0 Bye"
            assert await second.reply() == ""
        async with client_of(inbound) as client:  # a place that was left is free again
            assert await client.say("NOOP") == "250 2.0.0 Ok"


async def test_a_dribble_is_not_a_command() -> None:
    async with serving(Limits(command_seconds=0.3)) as inbound, client_of(inbound) as client:
        replied = anyio.Event()

        async def dribble() -> None:
            while not replied.is_set():
                await client.send(b"N")
                with anyio.move_on_after(0.02):
                    await replied.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dribble)
            assert await client.reply() == TIMED_OUT
            replied.set()


async def test_content_must_come_at_a_least_rate_but_may_take_its_time() -> None:
    limits = Limits(command_seconds=0.5, data_bytes_per_second=2_000)
    async with serving(limits) as inbound:

        async def send_slowly(chunk: bytes, chunks: int) -> str:
            async with client_of(inbound) as client:
                await client.to_content()
                replied = anyio.Event()
                heard = ""

                async def listen() -> None:
                    nonlocal heard
                    heard = await client.reply()
                    replied.set()

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(listen)
                    for _ in range(chunks):
                        await client.send(chunk)
                        with anyio.move_on_after(0.05):
                            await replied.wait()
                        if replied.is_set():
                            return heard
                    await client.send(b".\r\n")
                return heard

        # Some times the least rate, for longer than silence is borne; then a part of it.
        assert (await send_slowly(b"x" * 998 + b"\r\n", 24)).startswith("250 2.0.0 ")
        assert await send_slowly(b"x" * 3 + b"\r\n", 24) == TIMED_OUT
    assert [len(content) for _, _, content in inbound.core.messages] == [24_000]


async def test_a_session_ends_after_its_time_however_busy_it_is() -> None:
    async with serving() as inbound, client_of(inbound) as client:
        assert await client.say("EHLO c.example") == "250 HELP"
        inbound.clock.move(1799)
        assert await client.say("NOOP") == "250 2.0.0 Ok"
        inbound.clock.move(2)
        assert await client.say("NOOP") == "250 2.0.0 Ok"  # it came before we looked at the clock
        assert await client.reply() == "421 4.4.2 Session has lasted too long"
        assert await client.reply() == ""


async def test_a_peer_that_reads_nothing_is_let_go() -> None:
    limits = Limits(command_seconds=0.3, close_seconds=0.2)

    async def ask_for_ever(stream: anyio.abc.SocketStream) -> None:
        while True:
            await stream.send(b"HELP\r\n" * 10_000)

    async with serving(limits) as inbound, await anyio.connect_tcp(inbound.host, inbound.port) as stream:
        with anyio.fail_after(10), pytest.raises(anyio.BrokenResourceError):
            await ask_for_ever(stream)


async def _held_by_the_core(inbound: Inbound, client: Client, octets: int) -> None:
    """Send a message of `octets` and wait until the core has it."""
    inbound.core.entered = anyio.Event()
    await client.to_content()
    await client.send(_content(octets) + b".\r\n")
    with anyio.fail_after(5):
        await inbound.core.entered.wait()


def _content(octets: int) -> bytes:
    return b"x" * (octets - 2) + b"\r\n"


async def _until_data_is_welcome(client: Client) -> None:
    """Ask again and again: what a peer that left had is given back when its session has found out."""
    with anyio.fail_after(5):
        while not (reply := await client.say("DATA")).startswith("354 "):
            assert reply == TOO_MUCH


async def test_mail_that_would_take_too_much_memory_at_once_is_put_off() -> None:
    limits = Limits(max_message_bytes=130_000, max_buffered_bytes=200_000)
    async with serving(limits) as inbound, client_of(inbound) as first, client_of(inbound) as second:
        inbound.core.gate = anyio.Event()
        async with client_of(inbound) as early, client_of(inbound) as late:
            await early.to_content()
            await _held_by_the_core(inbound, first, 130_000)
            # Begun while there was room; what goes on arriving finds none, and is read to its end but not kept.
            await early.send(_content(120_000) + b".\r\n")
            assert await early.reply() == TOO_MUCH
            await _held_by_the_core(inbound, second, 10_000)
            assert await late.say("EHLO c.example", "MAIL FROM:<>", "RCPT TO:<ada@mx.example>") == "250 2.1.5 Ok"
            assert await late.say("DATA") == TOO_MUCH
            inbound.core.gate.set()
            assert (await first.reply()).startswith("250 2.0.0 ")
            assert (await second.reply()).startswith("250 2.0.0 ")
            # What was refused can be sent now, in the same sessions.
            assert (await late.say("DATA")).startswith("354 ")
            await late.send(_content(9_000) + b".\r\n")
            assert (await late.reply()).startswith("250 2.0.0 ")
            await early.to_content()
            await early.send(_content(120_000) + b".\r\n")
            assert (await early.reply()).startswith("250 2.0.0 ")
    assert [len(content) for _, _, content in inbound.core.messages] == [130_000, 10_000, 9_000, 120_000]


async def test_what_a_peer_that_leaves_had_sent_is_given_back() -> None:
    limits = Limits(max_message_bytes=130_000, max_buffered_bytes=200_000)
    async with serving(limits) as inbound, client_of(inbound) as client:
        for ending in (b"", b".\r\n"):
            inbound.core.gate = anyio.Event()
            async with client_of(inbound) as first, client_of(inbound) as second:
                await _held_by_the_core(inbound, first, 70_000)
                await second.to_content()
                await second.send(_content(100_000) + ending)
                await client.say("EHLO c.example", "MAIL FROM:<>", "RCPT TO:<ada@mx.example>")
                first.reset_when_closed()
                second.reset_when_closed()
            inbound.core.gate.set()
            await _until_data_is_welcome(client)
            await client.send(_content(125_000) + b".\r\n")
            assert (await client.reply()).startswith("250 2.0.0 ")


async def test_a_message_of_the_largest_size_fits_whatever_the_budget() -> None:
    limits = Limits(max_message_bytes=130_000, max_buffered_bytes=1)
    async with serving(limits) as inbound, client_of(inbound) as client:
        for _ in range(2):
            await client.to_content()
            await client.send(_content(130_000) + b".\r\n")
            assert (await client.reply()).startswith("250 2.0.0 ")
