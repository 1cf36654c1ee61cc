"""Content that is too large for memory: in a file while it comes in, the core's when it is there, else gone."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from tests.faces.smtp.server import Client, Inbound, client_of, serving

from daimon_mcp.faces.smtp.service import IN_MEMORY, Limits

LINES = [b"." * 3, b"x" * 75, b"", b".", b"y" * 998, b"\x00\xff"]


def content_of(octets: int) -> bytes:
    lines = b"".join(line + b"\r\n" for line in LINES)
    return lines * (octets // len(lines)) + b"z" * (octets % len(lines) - 2) + b"\r\n"


def on_the_wire(content: bytes) -> bytes:
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


@pytest.mark.parametrize("octets", [IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 7, 5_000_000])
@pytest.mark.parametrize("piece", [1_448, 65_536, 10_000_000])
async def test_what_is_larger_than_fits_in_memory_arrives_as_a_file(octets: int, piece: int) -> None:
    content = content_of(octets)
    wire = on_the_wire(content)
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        for start in range(0, len(wire), piece):
            await client.send(wire[start : start + piece])
        assert (await client.reply()).startswith("250 2.0.0 ")
        assert await client.say("NOOP") == "250 2.0.0 Ok"
    [(_, _, received)] = inbound.core.messages
    assert received == content
    assert [file.size for file in inbound.core.files] == ([octets] if len(wire) - 1 > IN_MEMORY else [])
    assert all(file.path.parent == inbound.spool for file in inbound.core.files)


async def fills_the_spool(inbound: Inbound) -> None:
    with anyio.fail_after(5):
        while not os.listdir(inbound.spool):
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("reset", [True, False])
async def test_of_a_message_that_breaks_off_nothing_is_left(reset: bool) -> None:
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        await client.send(on_the_wire(content_of(2 * IN_MEMORY))[:-3])
        await fills_the_spool(inbound)
        if reset:
            client.reset_when_closed()
    assert inbound.core.messages == []
    assert not inbound.spool.exists()  # it was empty when the listener had ended


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [("loop", "554 5.4.6 Mail loop detected"), ("full-later", "452 4.3.1 *"), ("bug-later", "451 4.3.0 *")],
)
async def test_of_a_message_that_is_refused_nothing_is_left(recipient: str, reply: str) -> None:
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content(f"{recipient}@mx.example")
        await client.send(on_the_wire(content_of(2 * IN_MEMORY)))
        assert (await client.reply()).startswith(reply.rstrip("*"))
    assert not inbound.spool.exists()


@pytest.mark.parametrize(("flaw", "at"), [(b"\n", 10), (b"\r", 2 * IN_MEMORY), (b"x\n", -2), (b"\r.\r\n", -2)])
async def test_a_bare_line_end_is_found_anywhere(flaw: bytes, at: int) -> None:
    content = content_of(3 * IN_MEMORY)
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        await client.send(on_the_wire(content[:at] + b"x" + flaw + b"x" + content[at:]))
        assert await client.reply() == "550 5.6.11 A CR or LF alone in the message is refused"
        assert await client.say("NOOP") == "250 2.0.0 Ok"
    assert inbound.core.messages == []


async def test_a_disk_that_is_full_puts_the_message_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        with monkeypatch.context() as patch:
            patch.setattr("daimon_mcp.faces.smtp.spool.os.write", full)
            await client.send(on_the_wire(content_of(3 * IN_MEMORY)))
            assert await client.reply() == "452 4.3.1 Cannot store mail now, try again later"
        await client.to_content()
        await client.send(on_the_wire(content_of(3 * IN_MEMORY)))
        assert (await client.reply()).startswith("250 2.0.0 ")


async def flood(client: Client, most: int) -> int:
    """Send without a line end until they hang up; how many octets went."""
    for sent in range(0, most, 1_000_000):
        try:
            await client.send(b"x" * 1_000_000)
        except anyio.BrokenResourceError:
            return sent
    return most


async def test_two_hundred_megabytes_without_a_line_end_take_little_memory_and_no_disk() -> None:
    async with serving() as inbound, client_of(inbound) as client:
        await client.to_content()
        tracemalloc.start()
        try:
            sent = await flood(client, 200_000_000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert sent < 40_000_000
    assert peak < 6_000_000  # the client's million among them
    assert not inbound.spool.exists()


async def test_at_the_end_a_file_the_core_may_have_taken_is_left_alone(tmp_path: Path) -> None:
    async with serving(Limits(close_seconds=0.2), spool=tmp_path) as inbound, client_of(inbound) as client:
        inbound.core.gate = anyio.Event()
        await client.to_content()
        await client.send(on_the_wire(content_of(2 * IN_MEMORY)))
        with anyio.fail_after(5):
            await inbound.core.entered.wait()
        inbound.stop.cancel()
        assert await client.reply() == "421 4.3.2 Server is shutting down"
    assert inbound.core.messages == []
    [left] = os.listdir(tmp_path)
    assert await anyio.Path(tmp_path / left).read_bytes() == content_of(2 * IN_MEMORY)


async def test_many_large_messages_at_once_hold_little_of_them_in_memory() -> None:
    wire = on_the_wire(content_of(2_000_000))
    async with serving() as inbound:

        async def hand_in() -> None:
            async with client_of(inbound) as client:
                await client.to_content()
                await client.send(wire)
                assert (await client.reply()).startswith("250 2.0.0 ")

        async with anyio.create_task_group() as tasks:
            for _ in range(15):
                tasks.start_soon(hand_in)
        assert len(inbound.core.files) == 15
