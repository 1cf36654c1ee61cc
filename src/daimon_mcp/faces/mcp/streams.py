"""MCP over byte streams: what the SDK's server loop reads from and writes to, for the owner's socket and for stdio.

The SDK's own stdio transport hands every line through a worker thread and every message through a memory stream. Here
`receive` takes a line from the loop's own reader, and `send` writes into its writer: no thread, no second task.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from daimon_mcp.shim import LINE_LIMIT, LineSplitter, lines_of, too_long

CHUNK = 256 * 1024
CLOSE_SECONDS = 1.0


class MessageReader:
    """The client's messages, one a line; the SDK's `ReadStream`.

    A line that is no JSON-RPC message is an exception among the messages, as the SDK has it. A line over `limit` bytes
    (measured as it arrives, so give or take CHUNK) is not read, and answered with a JSON-RPC error.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int = LINE_LIMIT) -> None:
        self._reader = reader
        self._writer = writer
        self._splitter = LineSplitter(limit)
        self._lines: deque[bytes] = deque()
        self._ended = False
        self._closed = False

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises anyio.EndOfStream when the client is gone, anyio.ClosedResourceError after aclose.
        """
        while not self._lines:
            if self._closed:
                raise anyio.ClosedResourceError
            if self._ended:
                raise anyio.EndOfStream
            await self._read()
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(self._lines.popleft(), by_name=False))
        except ValidationError as error:
            return error

    async def _read(self) -> None:
        try:
            data = await self._reader.read(CHUNK)
        except OSError:
            data = b""  # a connection cut off ends as one that was closed
        self._ended = not data
        self._lines.extend(lines_of(self._splitter.feed(data) if data else self._splitter.end()))
        while self._splitter.dropped:
            self._writer.write(too_long(self._splitter.dropped.pop()))

    async def aclose(self) -> None:
        """Read no more; the connection itself is its owner's to close."""
        self._closed = True
        self._lines.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


class MessageWriter:
    """Messages to the client, one a line; the SDK's `WriteStream`. `{"jsonrpc":"2.0","id":` begins every answer."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._closed = False

    async def send(self, item: SessionMessage, /) -> None:
        """Write one message, whole even when cancelled, and wait while the client is slow.

        Raises anyio.ClosedResourceError after aclose, anyio.BrokenResourceError when the client is gone.
        """
        if self._closed:
            raise anyio.ClosedResourceError
        if self._writer.is_closing():
            raise anyio.BrokenResourceError
        self._writer.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
        try:
            await self._writer.drain()
        except OSError:
            raise anyio.BrokenResourceError from None

    async def aclose(self) -> None:
        """Write no more; the connection itself is its owner's to close."""
        self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()


@asynccontextmanager
async def message_streams(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncGenerator[tuple[MessageReader, MessageWriter]]:
    """The two streams that `mcp.server.lowlevel.Server.run` wants, over a connection that stays the caller's."""
    async with MessageReader(reader, writer) as messages, MessageWriter(writer) as answers:
        yield messages, answers


@asynccontextmanager
async def stdio_streams() -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """This process's stdin and stdout as asyncio streams, for serving without an owner.

    Meanwhile descriptor 0 is /dev/null and 1 is stderr, so that nothing that prints, here or in a child process, can
    reach the wire. Both are put back at the end. Pipes, sockets, terminals and files all do.
    """
    with _diverted(0, lambda: os.open(os.devnull, os.O_RDONLY)) as wire_in, _diverted(1, lambda: os.dup(2)) as wire_out:
        if _is_socket(wire_in) and os.path.samestat(os.fstat(wire_in), os.fstat(wire_out)):
            reader, writer = await _open_socket(wire_in)  # one connection, as inetd hands it over
            incoming: asyncio.BaseTransport | asyncio.StreamWriter = writer
        else:
            reader, incoming = await _open_reader(wire_in)
            writer = await _open_writer(wire_out)
        try:
            yield reader, writer
        finally:
            incoming.close()
            await _close(writer)


@contextmanager
def _diverted(fd: int, elsewhere: Callable[[], int]) -> Generator[int]:
    """A private duplicate of `fd`, while `fd` itself leads elsewhere."""
    sys.stdout.flush()
    private = os.dup(fd)
    blocking = os.get_blocking(private)
    other = elsewhere()
    os.dup2(other, fd)
    os.close(other)
    try:
        yield private
    finally:
        sys.stdout.flush()  # what was printed meanwhile goes where it was meant to go
        # The loop made the description non-blocking, which everybody who has it would inherit.
        os.set_blocking(private, blocking)
        os.dup2(private, fd)
        os.close(private)


def _is_socket(fd: int) -> bool:
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


def _is_pipe(fd: int) -> bool:
    """Whether the loop can wait for `fd` as a pipe; for files and /dev/null it cannot, and need not."""
    return stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd)


async def _open_socket(fd: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    # As a pipe, the loop would take the first byte that arrives for the end of the other side.
    connection = socket.socket(fileno=os.dup(fd))
    connection.setblocking(False)
    return await asyncio.open_connection(sock=connection, limit=CHUNK)


async def _open_reader(fd: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport | asyncio.StreamWriter]:
    """The reader, and what to close in the end; keep it, since a StreamWriter that is collected closes itself."""
    if _is_socket(fd):
        return await _open_socket(fd)
    reader = asyncio.StreamReader(limit=CHUNK)
    pipe = os.fdopen(os.dup(fd), "rb", buffering=0)
    if _is_pipe(fd):
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        return reader, transport
    with pipe:
        reader.feed_data(await anyio.to_thread.run_sync(pipe.readall))
    reader.feed_eof()
    return reader, _FileTransport(fd)


async def _open_writer(fd: int) -> asyncio.StreamWriter:
    if _is_socket(fd):
        return (await _open_socket(fd))[1]
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    if _is_pipe(fd):
        transport, _ = await loop.connect_write_pipe(lambda: protocol, os.fdopen(os.dup(fd), "wb", buffering=0))
    else:
        transport = _FileTransport(fd)
    return asyncio.StreamWriter(transport, protocol, None, loop)


class _FileTransport(asyncio.WriteTransport):
    """A descriptor that never blocks for long: a file, /dev/null."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True


async def _close(writer: asyncio.StreamWriter) -> None:
    """Let what was written leave, unless nobody takes it."""
    writer.close()
    if isinstance(writer.transport, _FileTransport):
        return
    with anyio.move_on_after(CLOSE_SECONDS, shield=True) as patience:
        try:
            await writer.wait_closed()
        except OSError:
            return
    if patience.cancelled_caught:
        writer.transport.abort()
