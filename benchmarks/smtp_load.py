"""The load that every server gets: an SMTP client in a process of its own, one command at a time on each connection.

As a program it reads a `Load` as JSON from standard input and prints what it measured as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, cast

from benchmarks.loops import run
from benchmarks.mails import mail


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be sent: mails of `size` octets over `connections` at a time, for `seconds` or `messages` in all.

    `each` mail has a connection of its own, or they are reused. `tls` begins with STARTTLS or the first byte, and then
    `user` may log in.
    """

    port: int
    connections: int
    size: int
    seconds: float = 0.0
    messages: int = 0
    each: bool = False
    tls: Literal["no", "starttls", "implicit"] = "no"
    user: str = ""
    password: str = ""
    sender: str = "ann@example.com"
    recipient: str = "bench@agents.localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Mails taken in so many seconds, and how long one took: seconds that half, and all but a hundredth, are within."""

    messages: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Mails a second."""
        return self.messages / self.seconds


async def measure(load: Load) -> Measured:
    """Send a load from a process of its own.

    Raises RuntimeError where the server refuses anything, TimeoutError where it takes a minute longer than it should.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.smtp_load"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(load.seconds + 60):
            output, errors = await process.communicate(json.dumps(asdict(load)).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(errors.decode(errors="replace").strip().rpartition("\n")[2])
    return Measured(**json.loads(output))


class Content:
    """One mail as it goes over the wire, with a Message-ID of its own each time."""

    def __init__(self, load: Load) -> None:
        text = mail(load.size, 7, to=load.recipient).replace(b"\r\n.", b"\r\n..")
        text = text.replace(b"ann7@example.com", load.sender.encode())
        before, _, after = text.partition(b"Message-ID: <")
        self._before = before + b"Message-ID: <"
        self._after = after[after.index(b">") :].removesuffix(b"\r\n") + b"\r\n.\r\n"
        self._mark = f"{time.time_ns():x}"
        self._number = 0

    def next(self) -> bytes:
        """The next mail, with its final dot."""
        self._number += 1
        return b"%b%d.%b@example.com%b" % (self._before, self._number, self._mark.encode(), self._after)


class Session(asyncio.Protocol):
    """One connection: a reply is awaited after each command."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: asyncio.Future[bytes] | None = None
        self._lost = False
        self.step: _Mails | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A reply is complete when its last line has a space behind the code."""
        buffer = self._buffer + data if self._buffer else data
        if not buffer.endswith(b"\r\n") or buffer[buffer.rfind(b"\n", 0, -1) + 4 :][:1] == b"-":
            self._buffer = buffer
            return
        self._buffer = b""
        if self.step is not None:
            self.step.reply(buffer)
        elif self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(buffer)
        else:
            self._buffer = buffer

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self._lost = True
        error = ConnectionError(f"the server hung up: {exc}; it said {self._buffer[:200]!r}")
        if self.step is not None:
            self.step.failed(error)
        elif self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    async def ask(self, command: bytes, code: bytes) -> bytes:
        """Send a command and await a reply with this code. Raises RuntimeError for another."""
        assert self.transport is not None
        if self._lost:
            raise ConnectionError("the server hung up")
        self._waiting = asyncio.get_running_loop().create_future()
        if command:
            self.transport.write(command)
        elif self._buffer:  # the greeting was here before us
            early, self._buffer = self._buffer, b""
            self.data_received(early)
        reply = await self._waiting
        if not reply.startswith(code):
            raise RuntimeError(f"{command[:20]!r} got {reply[:200]!r}")
        return reply

    def close(self) -> None:
        """Hang up."""
        if self.transport is not None:
            self.transport.close()


class _Mails:
    """Mails over one session, one after the other, without a task: each reply leads to the next command."""

    def __init__(self, session: Session, work: Work, again: Callable[[], bool]) -> None:
        self._session = session
        self._work = work
        self._again = again
        self._at = 0
        self._began = 0.0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, began: float) -> None:
        """Send mails for as long as there is to be another one. Raises RuntimeError for a reply of another kind."""
        self._session.step = self
        self._start(began)
        try:
            await self._done
        finally:
            self._session.step = None

    def _start(self, began: float) -> None:
        self._at = 0
        self._began = began
        self._write(self._work.mail_from)

    def reply(self, reply: bytes) -> None:
        """What follows on a reply."""
        at = self._at
        if not reply.startswith(_CODES[at]):
            self.failed(RuntimeError(f"{('MAIL', 'RCPT', 'DATA', 'content')[at]} got {reply[:200]!r}"))
            return
        self._at = at + 1
        if at == 0:
            self._write(self._work.rcpt_to)
        elif at == 1:
            self._write(b"DATA\r\n")
        elif at == 2:
            self._write(self._work.content.next())
        else:
            self._work.taken(self._began)
            if self._again():
                self._start(time.perf_counter())
            else:
                self._done.set_result(None)

    def failed(self, error: Exception) -> None:
        """End with an error."""
        if not self._done.done():
            self._done.set_exception(error)

    def _write(self, data: bytes) -> None:
        assert self._session.transport is not None
        self._session.transport.write(data)


_CODES = (b"250", b"250", b"354", b"250")


class Work:
    """What all connections of a load share: what is sent, until when, and what came of it."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.content = Content(load)
        self.mail_from = b"MAIL FROM:<%b>\r\n" % load.sender.encode()
        self.rcpt_to = b"RCPT TO:<%b>\r\n" % load.recipient.encode()
        self.took: list[float] = []
        self.began = 0.0
        self.last = 0.0
        self._left = load.messages
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        secret = f"\0{load.user}\0{load.password}".encode()
        self._auth = b"AUTH PLAIN " + base64.b64encode(secret) + b"\r\n"

    def more(self) -> bool:
        """Whether to send another mail; counts it."""
        if self.load.messages:
            self._left -= 1
            return self._left >= 0
        return time.perf_counter() < self.began + self.load.seconds

    def taken(self, began: float) -> None:
        """A mail was taken. Those that end after the time are not counted."""
        now = time.perf_counter()
        if self.load.messages or now <= self.began + self.load.seconds:
            self.took.append(now - began)
            self.last = now

    async def open(self) -> Session:
        """A session that is ready for MAIL."""
        load, loop = self.load, asyncio.get_running_loop()
        tls = self._context if load.tls == "implicit" else None
        _, session = await loop.create_connection(Session, "127.0.0.1", load.port, ssl=tls)
        await session.ask(b"", b"220")
        await session.ask(b"EHLO client.example.com\r\n", b"250")
        if load.tls == "starttls":
            await session.ask(b"STARTTLS\r\n", b"220")
            assert session.transport is not None
            upgraded = await loop.start_tls(session.transport, session, self._context, server_hostname="localhost")
            session.transport = cast("asyncio.Transport", upgraded)
            await session.ask(b"EHLO client.example.com\r\n", b"250")
        if load.user:
            await session.ask(self._auth, b"235")
        return session

    async def reused(self, session: Session) -> None:
        """As many mails as there are, over one session."""
        if self.more():
            await _Mails(session, self, self.more).send(time.perf_counter())
        session.close()

    async def one_by_one(self) -> None:
        """A connection for each mail; what it takes to open one is the mail's time too."""
        while self.more():
            began = time.perf_counter()
            session = await self.open()
            await _Mails(session, self, lambda: False).send(began)
            await session.ask(b"QUIT\r\n", b"221")
            session.close()


async def send(load: Load) -> Measured:
    """Send a load from this process."""
    work = Work(load)
    if load.each:
        work.began = time.perf_counter()
        await asyncio.gather(*(work.one_by_one() for _ in range(load.connections)))
    else:
        sessions = await asyncio.gather(*(work.open() for _ in range(load.connections)))
        work.began = time.perf_counter()
        await asyncio.gather(*(work.reused(session) for session in sessions))
    took = sorted(work.took) or [float("inf")]
    return Measured(
        messages=len(work.took),
        seconds=load.seconds if not load.messages else work.last - work.began,
        p50=took[len(took) // 2],
        p99=took[len(took) * 99 // 100],
    )


if __name__ == "__main__":
    print(json.dumps(asdict(run(send(Load(**json.load(sys.stdin)))))))
