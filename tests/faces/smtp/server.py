"""The inbound listener on a free port, in front of a core that keeps mail in a list."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.domain.envelopes import ContentFile, Envelope, Peer, ReceivedContent
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.smtp.inbound import InboundSession, serve_inbound
from daimon_mcp.faces.smtp.listener import Early, Listener
from daimon_mcp.faces.smtp.lmtp import serve_lmtp
from daimon_mcp.faces.smtp.service import Budget, Limits, Service
from daimon_mcp.faces.smtp.serving import on_port
from daimon_mcp.faces.smtp.spool import Spool

HOSTNAME = "mx.example"
CORE_SECRET = "/srv/daimon/store.db is locked"


class FakeClock:
    """Goes on as time does, and can be moved."""

    def __init__(self) -> None:
        self._ahead = 0

    def now(self) -> int:
        """Epoch µs."""
        return 1_795_251_600 * SECOND + self._ahead + time.monotonic_ns() // 1000

    def seconds_until(self, due: int) -> float:
        """As the clock is now."""
        return max(0.0, (due - self.now()) / SECOND)

    def move(self, seconds: float) -> None:
        """Later by that much."""
        self._ahead += int(seconds * SECOND)


@dataclass
class MemoryCore:
    """Takes mail for ada, bob, postmaster and `agent` with any digits at mx.example; others of its people are trouble.

    Set `gate` to hold `accept` up; it sets `entered` when it is there. `files` are the files it was handed, which it
    reads and removes.
    """

    messages: list[tuple[Envelope, Peer, bytes]] = field(default_factory=list[tuple[Envelope, Peer, bytes]])
    asked: list[str] = field(default_factory=list[str])
    files: list[ContentFile] = field(default_factory=list[ContentFile])
    gate: anyio.Event | None = None
    entered: anyio.Event = field(default_factory=anyio.Event)

    def check_sender(self, mail_from: str, peer: str) -> None:
        """Anybody may send."""

    async def check_recipient(self, address: str, peer: str | None = None, mail_from: str = "") -> None:
        """Who is here."""
        self.asked.append(address)
        local, _, domain = address.lower().rpartition("@")
        match local or domain, domain:
            case "postmaster", _:
                return
            case _, other if other != HOSTNAME:
                raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="RELAY_DENIED")
            case "bug", _:
                raise RuntimeError(CORE_SECRET)
            case "full", _:
                raise Refused(RefusalCode.STORE_UNAVAILABLE)
            case "ada" | "bob" | "bug-later" | "full-later" | "loop" | '"ada lovelace"' | "åda", _:
                return
            case name, _ if name.startswith("agent") and name[5:].isdigit():
                return
            case _:
                raise Refused(RefusalCode.INBOX_NOT_FOUND)

    async def accept(self, envelope: Envelope, peer: Peer, content: ReceivedContent) -> str:
        """Keep it."""
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        for trouble, error in (
            ("bug-later", RuntimeError(CORE_SECRET)),
            ("full-later", Refused(RefusalCode.STORE_UNAVAILABLE)),
            ("loop", Refused(RefusalCode.RECIPIENT_REFUSED, reason="MAIL_LOOP")),
        ):
            if f"{trouble}@{HOSTNAME}" in envelope.rcpt_to:
                raise error
        if isinstance(content, ContentFile):
            self.files.append(content)
            octets = await anyio.Path(content.path).read_bytes()
            assert len(octets) == content.size
            await anyio.Path(content.path).unlink()
        else:
            octets = content
        self.messages.append((envelope, peer, octets))
        return f"msg_{len(self.messages)}"


@dataclass
class Inbound:
    """A running listener. Cancelling `stop` begins its end, which the block around it waits for."""

    core: MemoryCore
    clock: FakeClock
    host: str
    port: int
    stop: anyio.CancelScope
    spool: Path


@asynccontextmanager
async def serving(
    limits: Limits | None = None, *, starttls: ssl.SSLContext | None = None, spool: Path | None = None
) -> AsyncGenerator[Inbound]:
    """Run the listener, with the default limits if not told otherwise.

    Nothing may be left in its folder at the end, unless that is the test's own `spool`.
    """
    core, clock = MemoryCore(), FakeClock()
    folder = str(spool) if spool else await anyio.mkdtemp(prefix="spool")
    serve = partial(
        serve_inbound,
        spool=lambda: Path(folder),
        host="127.0.0.1",
        port=0,
        hostname=HOSTNAME,
        receiving=core,
        limits=limits or Limits(),
        clock=clock,
        starttls=starttls,
    )
    stop = anyio.CancelScope()

    async def run(*, task_status: anyio.abc.TaskStatus[tuple[str, int]]) -> None:
        with stop:
            await serve(task_status=task_status)

    async with anyio.create_task_group() as tasks:
        host, port = await tasks.start(run)
        yield Inbound(core, clock, host, port, stop, Path(folder))
        stop.cancel()
    if spool is None:
        await anyio.Path(folder).rmdir()


@dataclass
class Listening(Inbound):
    """A listener with a session of the test's choice, and its sweep in the test's hands too."""

    listener: Listener


@asynccontextmanager
async def listening(
    session: type[InboundSession] = InboundSession,
    limits: Limits | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    implicit_tls: bool = False,
    early: Early = Early.NOTHING,
) -> AsyncGenerator[Listening]:
    """Run a listener of a kind of its own."""
    core, clock = MemoryCore(), FakeClock()
    folder = await anyio.mkdtemp(prefix="spool")
    limits = limits or Limits()
    service = Service(
        hostname=HOSTNAME,
        limits=limits,
        clock=clock,
        spool=Spool(lambda: Path(folder)),
        budget=Budget(limits),
        offers_tls=tls is not None and not implicit_tls,
    )
    start = partial(session, service, core)
    listener = Listener(service, start, tls=tls, implicit_tls=implicit_tls, early=early)
    async with on_port(listener, "127.0.0.1", 0) as (host, port):
        yield Listening(core, clock, host, port, anyio.CancelScope(), Path(folder), listener)
    await anyio.Path(folder).rmdir()


@asynccontextmanager
async def serving_lmtp(*, path: Path | None = None) -> AsyncGenerator[Inbound]:
    """Run LMTP, on a port or on the socket `path`."""
    core, clock = MemoryCore(), FakeClock()
    folder = await anyio.mkdtemp(prefix="spool")
    serve = partial(
        serve_lmtp,
        at=path or ("127.0.0.1", 0),
        hostname=HOSTNAME,
        receiving=core,
        limits=Limits(),
        clock=clock,
        spool=lambda: Path(folder),
    )
    async with anyio.create_task_group() as tasks:
        bound = await tasks.start(serve)
        host, port = ("", 0) if isinstance(bound, Path) else bound
        yield Inbound(core, clock, host, port, tasks.cancel_scope, Path(folder))
        tasks.cancel_scope.cancel()
    await anyio.Path(folder).rmdir()


class Client:
    """Bytes to a server and reply lines from it, for what no mail library would send."""

    def __init__(self, stream: anyio.abc.SocketStream | TLSStream) -> None:
        self.stream = stream
        self._replies = BufferedByteReceiveStream(stream)

    async def send(self, data: bytes) -> None:
        """As it is."""
        await self.stream.send(data)

    async def reply(self) -> str:
        """The last line of the next reply; "" when the server has hung up."""
        while True:
            try:
                with anyio.fail_after(5):
                    line = (await self._replies.receive_until(b"\r\n", 65_536)).decode()
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return ""
            if line[3:4] != "-":
                return line

    async def lines(self) -> list[str]:
        """All lines of the next reply."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            with anyio.fail_after(5):
                lines.append((await self._replies.receive_until(b"\r\n", 65_536)).decode())
        return lines

    async def say(self, *lines: str) -> str:
        """Send each line when the one before it is answered; the last reply."""
        reply = ""
        for line in lines:
            await self.send(line.encode() + b"\r\n")
            reply = await self.reply()
        return reply

    async def until_closed(self) -> None:
        """Read to the end of the connection, whatever comes."""
        with anyio.fail_after(5), contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await self.stream.receive()

    def reset_when_closed(self) -> None:
        """End with RST in place of FIN."""
        raw = self.stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def to_content(self, recipient: str = "ada@mx.example") -> None:
        """All that comes before content."""
        assert await self.say("EHLO c.example", "MAIL FROM:<c@c.example>", f"RCPT TO:<{recipient}>") == "250 2.1.5 Ok"
        assert (await self.say("DATA")).startswith("354 ")


@asynccontextmanager
async def client_of(inbound: Inbound) -> AsyncGenerator[Client]:
    """A connection whose greeting has been read."""
    async with await anyio.connect_tcp(inbound.host, inbound.port) as stream:
        client = Client(stream)
        assert await client.reply() == "220 mx.example ESMTP"
        yield client
