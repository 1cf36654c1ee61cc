"""The lock and the socket of a data folder, the idle watch, and sessions side by side."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest

from daimon_mcp.owner import (
    Hello,
    HelloRefused,
    IdleWatch,
    Listener,
    SessionStreams,
    accept_sessions,
    bind_socket,
    lock,
)

HELLO = b'{"daimon":1,"version":"3","api_key":"k","profile":null,"read_only":true}\n'


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("d") / "data")


def test_one_holder_at_a_time(data: str) -> None:
    held = lock(data, "serve")
    assert held is not None
    assert (Path(data) / "daimon.lock").read_text() == f"{os.getpid()} serve\n"
    assert lock(data, "stdio") is None
    assert (Path(data) / "daimon.lock").read_text() == f"{os.getpid()} serve\n"
    held.release()
    assert (Path(data) / "daimon.lock").read_text() == ""
    again = lock(data, "stdio")
    assert again is not None
    again.release()


def test_a_socket_left_by_a_killed_owner_is_replaced(data: str) -> None:
    Path(data).mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{data}/daimon.sock")
    listener = bind_socket(data)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(listener.path)
    listener.close()
    assert not os.path.exists(listener.path)
    listener.close()


def test_only_its_own_socket_is_unlinked(data: str) -> None:
    Path(data).mkdir()
    first = bind_socket(data)
    os.unlink(first.path)  # the folder was removed and made again, say
    second = bind_socket(data)
    first.close()
    assert os.path.exists(second.path)
    second.close()


def test_binding_leaves_the_umask_alone(data: str) -> None:
    Path(data).mkdir()
    before = os.umask(0o027)
    try:
        bind_socket(data).close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def had_a_session(watch: IdleWatch) -> IdleWatch:
    watch.began()
    watch.ended()
    return watch


async def test_the_watch_gives_the_first_session_time_to_arrive() -> None:
    async def may_leave() -> bool:
        return True

    with anyio.move_on_after(0.1) as scope:
        await IdleWatch(0.0, may_leave).wait()
    assert scope.cancelled_caught
    with anyio.fail_after(5):
        await had_a_session(IdleWatch(0.0, may_leave)).wait()


async def test_the_watch_waits_for_the_last_session_and_asks() -> None:
    asked = 0
    refusals = anyio.Event()

    async def may_leave() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            refusals.set()
        return allowed

    allowed = False
    watch = IdleWatch(0.001, may_leave)
    watch.began()
    watch.began()
    left = anyio.Event()

    async def wait() -> None:
        await watch.wait()
        left.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            watch.ended()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert asked == 0
            watch.ended()
            await refusals.wait()
            assert not left.is_set()
            allowed = True
            await left.wait()


async def test_a_session_that_begins_while_asking_is_not_left(data: str) -> None:
    watch: IdleWatch

    async def may_leave() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            watch.began()
        return True

    asked = 0
    watch = had_a_session(IdleWatch(0.001, may_leave))
    with anyio.move_on_after(0.05) as scope:
        await watch.wait()
    assert scope.cancelled_caught
    watch.ended()
    with anyio.fail_after(5):
        await watch.wait()
    assert asked == 2


def file_exists(path: str) -> bool:
    return os.path.lexists(path)


class Served:
    """What reached `serve`, which then echoes lines until it is told to `break`."""

    def __init__(self) -> None:
        self.hellos: list[Hello] = []
        self.running = 0

    async def answer(self, hello: Hello) -> Mapping[str, object]:
        if hello.api_key == "refused":
            raise HelloRefused("not you")
        return {"repeatable": ["a"], "version": "1"}

    async def serve(self, hello: Hello, streams: SessionStreams) -> None:
        self.hellos.append(hello)
        self.running += 1
        try:
            while line := await streams.reader.readline():
                if line == b"break\n":
                    raise RuntimeError("broken")
                streams.writer.write(line)
                await streams.writer.drain()
        finally:
            self.running -= 1


@asynccontextmanager
async def accepting(data: str, served: Served) -> AsyncGenerator[Listener]:
    os.mkdir(data)
    listener = bind_socket(data)

    async def accept() -> None:
        await accept_sessions(listener, answer=served.answer, serve=served.serve)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(accept)
            yield listener
            group.cancel_scope.cancel()
    assert not file_exists(listener.path)


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, line: bytes) -> bytes:
        self.writer.write(line)
        return await self.reader.readline()


@asynccontextmanager
async def calling(listener: Listener) -> AsyncGenerator[Caller]:
    reader, writer = await asyncio.open_unix_connection(listener.path)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_hello_answer_session(data: str) -> None:
    served = Served()
    async with accepting(data, served) as listener, calling(listener) as caller:
        assert json.loads(await caller.ask(HELLO)) == {"daimon": 1, "repeatable": ["a"], "version": "1"}
        assert await caller.ask(b"one\n") == b"one\n"
        hello = served.hellos[0]
    assert (hello.version, hello.api_key, hello.profile, hello.read_only) == ("3", "k", None, True)
    assert hello.pid in (os.getpid(), None)


@pytest.mark.parametrize(
    "hello",
    [
        b"\n",
        b"null\n",
        b'{"daimon":1}\n',
        HELLO.replace(b"true", b"1"),
        HELLO.replace(b'"k"', b"7"),
        HELLO.replace(b'"3"', b"null"),
        HELLO.replace(b'"k"', b'"refused"'),
        HELLO.replace(b":1,", b":2,"),
    ],
)
async def test_a_refused_hello_is_answered_and_served_nothing(data: str, hello: bytes) -> None:
    served = Served()
    async with accepting(data, served) as listener, calling(listener) as caller:
        answer = json.loads(await caller.ask(hello + b"a line that nobody reads\n"))
        assert set(answer) == {"daimon", "error"}
        assert await caller.reader.read() == b""
    assert served.hellos == []


async def test_a_session_that_breaks_hurts_no_other(data: str, caplog: pytest.LogCaptureFixture) -> None:
    served = Served()
    async with accepting(data, served) as listener, calling(listener) as stays, calling(listener) as breaks:
        await stays.ask(HELLO)
        await breaks.ask(HELLO)
        assert await breaks.ask(b"break\n") == b""
        assert await stays.ask(b"still here\n") == b"still here\n"
    assert "a session failed" in caplog.text


async def test_cancelled_the_owner_cuts_its_connections(data: str) -> None:
    served = Served()
    async with accepting(data, served) as listener:
        reader, writer = await asyncio.open_unix_connection(listener.path)
        writer.write(HELLO)
        await reader.readline()
        writer.write(b"one\n")
        await reader.readline()
        assert served.running == 1
    assert served.running == 0
    assert await reader.read() == b""
    writer.close()


async def test_a_caller_in_the_queue_when_the_owner_leaves_is_told_nothing(data: str) -> None:
    served = Served()
    leaving = anyio.Event()
    go = anyio.Event()

    async def may_leave() -> bool:
        leaving.set()
        await go.wait()
        return True

    os.mkdir(data)
    listener = bind_socket(data)
    watch = had_a_session(IdleWatch(0.0, may_leave))

    async def accept() -> None:
        await accept_sessions(listener, answer=served.answer, serve=served.serve, idle=watch)

    with socket.socket(socket.AF_UNIX) as late, anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(accept)
            await leaving.wait()
            late.connect(listener.path)  # the owner's loop has not seen it when it is told to leave
            go.set()
        late.setblocking(False)
        with suppress(ConnectionResetError):
            assert late.recv(1) == b""
    assert served.hellos == []
    assert not file_exists(listener.path)
