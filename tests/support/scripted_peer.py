"""A peer on a raw socket that says exactly what a test tells it to, when it tells it to.

    async def script(line: Line) -> None:
        await line.say(b"220 peer.test\r\n")
        assert (await line.hear()).startswith(b"EHLO")

    async with ScriptedPeer(script) as peer: ...

A script that returns has its connection closed; one that fails shows its error when the block is left.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

from tests.support.gate import PATIENCE


class Line:
    """One connection, from the peer's side."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._reader = reader
        self._writer = writer

    async def say(self, octets: bytes) -> None:
        """Send, as they are, in one piece."""
        self._writer.write(octets)
        await self._writer.drain()

    async def hear(self) -> bytes:
        """The next line, without its end."""
        async with asyncio.timeout(PATIENCE):
            return (await self._reader.readuntil(b"\r\n"))[:-2]

    async def hear_content(self) -> bytes:
        """Up to and with the final dot."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readuntil(b"\r\n.\r\n")

    async def hear_all(self) -> bytes:
        """Whatever has come by now; waits for the first octet."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read(2**20)

    async def go_tls(self, context: ssl.SSLContext) -> None:
        """Be a TLS server from here on."""
        async with asyncio.timeout(PATIENCE):
            await self._writer.start_tls(context)

    async def until_closed(self) -> bytes:
        """All that comes until the other side is gone."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._reader.read()
        except ConnectionError:
            return b""

    def reset(self) -> None:
        """Be gone without a goodbye."""
        self._writer.transport.abort()


Script = Callable[[Line], Awaitable[None]]


class ScriptedPeer:
    """Listens on a loopback address while it is entered, and plays `script` on every connection."""

    def __init__(self, script: Script, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self.connections = 0
        self._script = script
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        await asyncio.sleep(0)
        if self._errors:
            raise self._errors[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._script(Line(self.connections, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the other side is gone
        except AssertionError as error:
            self._errors.append(error)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()
