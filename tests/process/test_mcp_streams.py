"""MCP over a connection, and over this process's own stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server import MCPServer
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCResponse

from daimon_mcp.faces.mcp.streams import MessageReader, MessageWriter, message_streams

ALONE = str(Path(__file__).with_name("toy_alone.py"))
INITIALIZE = {
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


class Ends:
    """Both ends of a connection."""

    def __init__(self, near: asyncio.StreamWriter, reader: asyncio.StreamReader, far: socket.socket) -> None:
        self.near = near
        self.reader = reader
        self.far = far

    async def say(self, *lines: bytes) -> None:
        """From the far end, all of it."""
        await asyncio.get_running_loop().sock_sendall(self.far, b"".join(line + b"\n" for line in lines))

    async def hear(self) -> bytes:
        """One line at the far end."""
        got = b""
        with anyio.fail_after(20):
            while not got.endswith(b"\n"):
                data = await asyncio.get_running_loop().sock_recv(self.far, 1 << 16)
                assert data, got[:200]
                got += data
        return got


@pytest.fixture
async def ends() -> AsyncGenerator[Ends]:
    near, far = socket.socketpair()
    far.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=near, limit=1 << 16)
    yield Ends(writer, reader, far)
    far.close()
    writer.transport.abort()


@asynccontextmanager
async def serving(ends: Ends) -> AsyncGenerator[MCPServer[Any]]:
    server: MCPServer[Any] = MCPServer("toy", version="1")

    @server.tool()
    async def echo(text: str) -> str:
        """Say it again."""
        return text

    lowlevel = server._lowlevel_server  # pyright: ignore[reportPrivateUsage] - as the product's own server has to

    async def serve() -> None:
        async with message_streams(ends.reader, ends.near) as (messages, answers):
            await lowlevel.run(messages, answers, lowlevel.create_initialization_options())

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        yield server
        group.cancel_scope.cancel()


def request(request_id: int | str, method: str = "tools/call", **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()


INITIALIZE_LINE = json.dumps({"jsonrpc": "2.0", "id": 0, **INITIALIZE}).encode()


async def test_answers_begin_with_version_and_id(ends: Ends) -> None:
    async with serving(ends):
        await ends.say(INITIALIZE_LINE)
        assert (await ends.hear()).startswith(b'{"jsonrpc":"2.0","id":0,"result":')
        await ends.say(request("x", name="echo", arguments={"text": "é"}))
        assert (await ends.hear()).startswith(b'{"jsonrpc":"2.0","id":"x","result":')
        await ends.say(request(2, "no/such/method"))
        assert (await ends.hear()).startswith(b'{"jsonrpc":"2.0","id":2,"error":')


async def test_malformed_lines_are_exceptions_among_the_messages(ends: Ends) -> None:
    reader = MessageReader(ends.reader, ends.near)
    await ends.say(b"not json", b"", b"[]", b"\xff", b'{"jsonrpc":"2.0","method":"ok"}\r')
    for _ in range(4):
        assert isinstance(await reader.receive(), Exception)
    message = await reader.receive()
    assert isinstance(message, SessionMessage)
    assert message.message == JSONRPCNotification(jsonrpc="2.0", method="ok")


async def test_a_session_goes_on_after_malformed_lines(ends: Ends) -> None:
    async with serving(ends):
        await ends.say(b"not json", INITIALIZE_LINE, b"[[[", request(1, name="echo", arguments={"text": "t"}))
        heard = await ends.hear()
        while heard.count(b"\n") < 2:
            heard += await ends.hear()
        assert [json.loads(line)["id"] for line in heard.splitlines()] == [0, 1]


async def test_a_line_over_the_limit_is_answered_and_the_next_one_read(ends: Ends) -> None:
    reader = MessageReader(ends.reader, ends.near, limit=1_000_000)

    async def say() -> None:
        await ends.say(
            b'{"jsonrpc":"2.0","id":5,"method":"' + b"x" * 2_000_000 + b'"}',
            b'{"jsonrpc":"2.0","method":"' + b"x" * 900_000 + b'"}',
        )

    async with anyio.create_task_group() as group:
        group.start_soon(say)
        with anyio.fail_after(20):
            assert isinstance(await reader.receive(), SessionMessage)
    answer = json.loads(await ends.hear())
    assert (answer["id"], answer["error"]["code"]) == (5, -32600)


async def test_the_end_of_the_connection_is_the_end_of_the_messages(ends: Ends) -> None:
    reader = MessageReader(ends.reader, ends.near)
    await asyncio.get_running_loop().sock_sendall(ends.far, b'{"jsonrpc":"2.0","method":"last"}')
    ends.far.shutdown(socket.SHUT_WR)
    messages = [message async for message in reader]
    assert [type(message) for message in messages] == [SessionMessage]
    with pytest.raises(anyio.EndOfStream):
        await reader.receive()
    await reader.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await reader.receive()


async def test_a_cancelled_receive_loses_nothing(ends: Ends) -> None:
    reader = MessageReader(ends.reader, ends.near)
    with anyio.move_on_after(0):
        await reader.receive()
    await ends.say(b'{"jsonrpc":"2.0","method":"ok"}')
    assert isinstance(await reader.receive(), SessionMessage)


async def test_a_client_that_went_away_breaks_the_writer(ends: Ends) -> None:
    writer = MessageWriter(ends.near)
    answer = SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "x" * 100_000}))
    ends.far.close()

    async def send_on() -> None:
        for _ in range(100):
            await writer.send(answer)

    with pytest.raises(anyio.BrokenResourceError):
        await send_on()
    await writer.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await writer.send(answer)


async def test_the_writer_waits_for_a_slow_client(ends: Ends) -> None:
    writer = MessageWriter(ends.near)
    answer = SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "x" * 100_000}))
    sent = 0
    heard = b""

    async def send() -> None:
        nonlocal sent
        for _ in range(30):
            await writer.send(answer)
            sent += 1

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        for _ in range(200):
            await anyio.lowlevel.checkpoint()
        assert 0 < sent < 30
        while heard.count(b"\n") < 30:
            heard += await ends.hear()
    assert all(json.loads(line)["id"] == 1 for line in heard.splitlines())


loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
CALLS = b"\n".join([INITIALIZE_LINE, request(1, name="noisy", arguments={"text": "t"})]) + b"\n"


def check_alone(stdout: bytes, stderr: bytes) -> None:
    *answers, after = stdout.splitlines()
    assert [json.loads(answer)["id"] for answer in answers] == [0, 1]
    assert json.loads(answers[1])["result"]["structuredContent"] == {"result": "t 0"}
    assert json.loads(after) == {"after": "serving"}
    assert {b"printed t", b"written t", b"child t"} <= set(stderr.splitlines())


@loops
def test_alone_on_pipes(loop: str) -> None:
    with subprocess.Popen(
        [sys.executable, ALONE, loop], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as alone:
        assert alone.stdin is not None
        assert alone.stdout is not None
        alone.stdin.write(CALLS)
        alone.stdin.flush()
        answers = alone.stdout.readline() + alone.stdout.readline()
        rest, complaints = alone.communicate(timeout=20)
    check_alone(answers + rest, complaints)


def two_lines(connection: socket.socket) -> bytes:
    connection.settimeout(20)
    got = b""
    while got.count(b"\n") < 2:
        data = connection.recv(1 << 16)
        assert data, got
        got += data
    return got


@loops
def test_alone_on_one_socket_that_stays_as_it_was(loop: str) -> None:
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        subprocess.Popen(
            [sys.executable, ALONE, loop], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE
        ) as alone,
    ):
        ours.sendall(CALLS)
        answers = two_lines(ours)
        ours.shutdown(socket.SHUT_WR)
        _, complaints = alone.communicate(timeout=20)
        answers += ours.recv(1 << 16)
        # Others share this description; they would not expect it to have become non-blocking.
        assert os.get_blocking(theirs.fileno())
    check_alone(answers, complaints)


@loops
def test_alone_on_a_socket_each_way(loop: str) -> None:
    our_in, their_in = socket.socketpair()
    our_out, their_out = socket.socketpair()
    with (
        our_in,
        our_out,
        subprocess.Popen(
            [sys.executable, ALONE, loop], stdin=their_in.fileno(), stdout=their_out.fileno(), stderr=subprocess.PIPE
        ) as alone,
    ):
        their_in.close()
        their_out.close()
        our_in.sendall(CALLS)
        answers = two_lines(our_out)
        our_in.shutdown(socket.SHUT_WR)
        _, complaints = alone.communicate(timeout=20)
        answers += our_out.recv(1 << 16)
    check_alone(answers, complaints)


@loops
def test_alone_from_a_file_into_a_file(tmp_path: Path, loop: str) -> None:
    (tmp_path / "in").write_bytes(INITIALIZE_LINE + b"\n")
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        subprocess.run([sys.executable, ALONE, loop], stdin=stdin, stdout=stdout, check=True, timeout=20)
    first, *rest = (tmp_path / "out").read_bytes().splitlines()
    assert json.loads(first)["id"] == 0
    assert rest == [b'{"after": "serving"}']
