"""Where queues are drained to: an SMTP server in a process of its own that takes everything and keeps nothing.

As a program: `python -m benchmarks.smtp_sink MAILS DELAY_MS` prints its port, lets nobody in before a line comes from
standard input, and prints what it counted, as JSON, when it has taken so many mails.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from benchmarks.loops import run

_HELLO = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 0\r\n250 ENHANCEDSTATUSCODES\r\n"
_END = b"\r\n.\r\n"


class Sink:
    """Greets once it is open, and then answers every mail `delay` seconds after its end."""

    def __init__(self, mails: int, delay: float) -> None:
        self.delay = delay
        self.opened = 0.0
        self.last = 0.0
        self.connections = 0
        self.most_connections = 0
        self.full = asyncio.Event()
        self._left = mails
        self._outside: list[Inlet] = []

    def come(self, inlet: Inlet) -> None:
        """Somebody has connected."""
        self.connections += 1
        self.most_connections = max(self.connections, self.most_connections)
        if self.opened:
            inlet.say(b"220 sink.test\r\n")
        else:
            self._outside.append(inlet)

    def open(self) -> None:
        """Greet those who wait, and all others from now on."""
        self.opened = time.perf_counter()
        for inlet in self._outside:
            inlet.say(b"220 sink.test\r\n")

    def taken(self) -> None:
        """A mail has come in."""
        self.last = time.perf_counter()
        self._left -= 1
        if not self._left:
            self.full.set()


class Inlet(asyncio.Protocol):
    """One connection."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._in_content = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or let it wait."""
        self._transport = cast("asyncio.Transport", transport)
        self._sink.come(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it."""
        self._transport = None
        self._sink.connections -= 1

    def say(self, reply: bytes) -> None:
        """Reply, if anybody listens still."""
        if self._transport is not None:
            self._transport.write(reply)

    def data_received(self, data: bytes) -> None:
        """All commands that are there, in order, with one write."""
        buffer = self._buffer
        buffer += data
        replies = b""
        while buffer:
            if self._in_content:
                end = buffer.find(_END)
                if end < 0:
                    break
                del buffer[: end + len(_END)]
                self._in_content = False
                self._sink.taken()
                if self._sink.delay:
                    asyncio.get_running_loop().call_later(self._sink.delay, self.say, b"250 2.0.0 ok\r\n")
                else:
                    replies += b"250 2.0.0 ok\r\n"
                continue
            end = buffer.find(b"\n")
            if end < 0:
                break
            verb = bytes(buffer[:4]).upper()
            del buffer[: end + 1]
            if verb == b"EHLO":
                replies += (
                    b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 0\r\n250 ENHANCEDSTATUSCODES\r\n"
                )
            elif verb == b"DATA":
                replies += b"354 go on\r\n"
                self._in_content = True
            elif verb == b"QUIT":
                self.say(replies + b"221 2.0.0 bye\r\n")
                if self._transport is not None:
                    self._transport.close()
                return
            else:
                replies += b"250 2.1.0 ok\r\n"
        if replies:
            self.say(replies)


class RunningSink:
    """A sink as a process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._process = process

    async def drain(self, *, seconds: float) -> tuple[float, int]:
        """Open it, and wait until it is full: seconds from then to the last mail, and most connections at a time.

        Raises TimeoutError after `seconds`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        async with asyncio.timeout(seconds):
            counted = json.loads(await self._process.stdout.readline())
        return counted["seconds"], counted["connections"]


@asynccontextmanager
async def sink(mails: int, *, delay: float = 0.0) -> AsyncGenerator[RunningSink]:
    """Run a sink for so many mails, each answered after `delay` seconds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.smtp_sink", str(mails), str(delay)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield RunningSink(process, int(await process.stdout.readline()))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _main(mails: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    here = Sink(mails, delay)
    server = await loop.create_server(lambda: Inlet(here), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    here.open()
    await here.full.wait()
    counted = {"seconds": here.last - here.opened, "connections": here.most_connections}
    print(json.dumps(counted), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    run(_main(int(sys.argv[1]), float(sys.argv[2])))
