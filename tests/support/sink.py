"""An SMTP server that takes everything, and misbehaves exactly as it is told.

    async with Sink() as sink:
        sink.answer("RCPT", "550 5.1.1 No such user", match="bob@")
        sink.drop("content", store=True)  # takes the message, and is gone before it says so
        gate = sink.hold("DATA")

Steps are `connect`, the commands `EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP QUIT`, `reading`, where 354 has been
sent and nothing read, which is not answered, and `content`, where all has come up to and with the final dot. Rules are
used in the order they were given, each `times` times.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

from tests.support.gate import PATIENCE, Gate

EXTENSIONS = ("PIPELINING", "SIZE 20971520", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
_PATH = re.compile(r"(?:FROM|TO):<(.*)>(?: (.*))?", re.IGNORECASE)


@dataclass
class Stored:
    """A message the sink took. `wire` is as sent, dots doubled, without the final dot line."""

    mail_from: str
    recipients: list[str]
    options: str
    wire: bytes
    connection: int
    tls: bool
    username: str | None

    @property
    def content(self) -> bytes:
        """The message as its author had it."""
        return (b"\r\n" + self.wire).replace(b"\r\n.", b"\r\n")[2:]


@dataclass
class _Rule:
    step: str
    match: str
    times: int | None
    reply: str | None = None
    store: bool = False
    gate: Gate | None = None


class _Gone(Exception):
    """This connection is over."""


@dataclass
class _Session:
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tls: bool
    username: str | None = None
    mail_from: str | None = None
    options: str = ""
    recipients: list[str] = field(default_factory=list[str])


class Sink:
    """Listens on 127.0.0.1 while it is entered; `port` is where. `messages` are those it took, in order."""

    def __init__(
        self,
        *,
        extensions: Sequence[str] = EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        users: Mapping[str, str] | None = None,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.messages: list[Stored] = []
        self.commands: list[str] = []
        self.connections = 0
        self.most_at_once = 0
        self._extensions = tuple(extensions)
        self._tls = tls
        self._starttls = starttls
        self._users = users
        self._rules: list[_Rule] = []
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._heard = asyncio.Event()

    def answer(self, step: str, reply: str, *, match: str = "", times: int | None = None) -> None:
        """Answer `step` with `reply` (lines by CRLF) where the command holds `match`; a 421 closes."""
        self._rules.append(_Rule(step, match, times, reply=reply))

    def drop(self, step: str, *, match: str = "", times: int | None = 1, store: bool = False) -> None:
        """Close the connection in place of an answer; at `content`, keep the message before that or not."""
        self._rules.append(_Rule(step, match, times, store=store))

    def hold(self, step: str, *, match: str = "", times: int | None = 1) -> Gate:
        """Stop before the answer to `step` until the gate is opened."""
        gate = Gate()
        self._rules.append(_Rule(step, match, times, gate=gate))
        return gate

    def drop_all(self) -> None:
        """Close every connection now."""
        for writer in self._open.values():
            writer.transport.abort()

    async def heard(self, command: str) -> None:
        """Return once a client has said `command`."""
        async with asyncio.timeout(PATIENCE):
            while command not in self.commands:
                self._heard.clear()
                await self._heard.wait()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._server.wait_closed()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.connections += 1
        self.most_at_once = max(self.most_at_once, len(self._open))
        session = _Session(self.connections, reader, writer, tls=self._tls is not None)
        try:
            await self._reply(session, "connect", "", "220 sink.test ESMTP")
            while True:
                line = await reader.readuntil(b"\r\n")
                await self._command(session, line[:-2].decode())
        except (_Gone, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            del self._open[task]
            writer.close()
            if task.cancelling():
                writer.transport.abort()

    async def _command(self, session: _Session, line: str) -> None:
        verb, _, argument = line.partition(" ")
        self.commands.append(line)
        self._heard.set()
        match verb.upper():
            case "EHLO":
                offers = [*self._extensions]
                if self._starttls and not session.tls:
                    offers.append("STARTTLS")
                if self._users is not None and (session.tls or not self._starttls):
                    offers.append("AUTH PLAIN LOGIN")
                lines = ["sink.test", *offers]
                reply = "\r\n".join(f"250{'-' if at < len(lines) - 1 else ' '}{text}" for at, text in enumerate(lines))
                await self._reply(session, "EHLO", line, reply)
            case "HELO" | "NOOP" | "RSET":
                session.mail_from, session.recipients = None, []
                await self._reply(session, verb.upper(), line, "250 2.0.0 Ok")
            case "STARTTLS" if self._starttls:
                await self._reply(session, "STARTTLS", line, "220 2.0.0 Go ahead")
                await session.writer.start_tls(self._starttls)
                session.tls = True
            case "AUTH":
                await self._log_in(session, line, argument)
            case "MAIL" if self._users is not None and session.username is None:
                await self._reply(session, "MAIL", line, "530 5.7.0 Authentication required")
            case "MAIL":
                if await self._reply(session, "MAIL", line, "250 2.1.0 Ok"):
                    session.mail_from, session.options = _path(argument)
                    session.recipients = []
            case "RCPT" if session.mail_from is None:
                await self._write(session, "503 5.5.1 MAIL first")
            case "RCPT":
                if await self._reply(session, "RCPT", line, "250 2.1.5 Ok"):
                    session.recipients.append(_path(argument)[0])
            case "DATA" if not session.recipients:
                await self._write(session, "554 5.5.1 No valid recipients")
            case "DATA":
                if await self._reply(session, "DATA", line, "354 Go ahead"):
                    await self._content(session)
            case "QUIT":
                await self._reply(session, "QUIT", line, "221 2.0.0 Bye")
                raise _Gone
            case _:
                await self._write(session, "500 5.5.1 What?")

    async def _content(self, session: _Session) -> None:
        transport = cast("asyncio.Transport", session.writer.transport)
        transport.pause_reading()
        await self._reply(session, "reading", "", "")
        transport.resume_reading()
        lines: list[bytes] = []
        while (line := await session.reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line)
        stored = Stored(
            session.mail_from or "",
            session.recipients,
            session.options,
            b"".join(lines),
            session.number,
            session.tls,
            session.username,
        )
        session.mail_from, session.recipients = None, []
        await self._reply(session, "content", "", "250 2.0.0 Ok: taken", stored)

    async def _log_in(self, session: _Session, line: str, argument: str) -> None:
        mechanism, _, first = argument.partition(" ")
        if mechanism.upper() == "PLAIN":
            _, name, password = base64.b64decode(first).decode().split("\0")
        else:
            if not first:
                await self._write(session, "334 VXNlcm5hbWU6")
                first = (await session.reader.readuntil(b"\r\n")).decode()
            name = base64.b64decode(first).decode()
            await self._write(session, "334 UGFzc3dvcmQ6")
            password = base64.b64decode(await session.reader.readuntil(b"\r\n")).decode()
        known = self._users is not None and self._users.get(name) == password
        if await self._reply(session, "AUTH", line, "235 2.7.0 Ok" if known else "535 5.7.8 Authentication failed"):
            session.username = name

    async def _reply(self, session: _Session, step: str, line: str, reply: str, stored: Stored | None = None) -> bool:
        """Answer by the first rule for this step, or with `reply`; whether the answer was a yes."""
        for rule in [rule for rule in self._rules if rule.step == step and rule.match in line and rule.times != 0]:
            if rule.times is not None:
                rule.times -= 1
            if rule.gate is not None:
                await rule.gate.pass_through()
                continue
            if rule.reply is None:
                if rule.store and stored is not None:
                    self.messages.append(stored)
                raise _Gone
            reply = rule.reply
            break
        yes = reply.startswith(("2", "3"))
        if yes and stored is not None:
            self.messages.append(stored)
        if reply:
            await self._write(session, reply)
        return yes

    async def _write(self, session: _Session, reply: str) -> None:
        session.writer.write(reply.encode("utf-8", "surrogateescape") + b"\r\n")
        await session.writer.drain()
        if reply.startswith("421"):
            raise _Gone


def _path(argument: str) -> tuple[str, str]:
    found = _PATH.fullmatch(argument)
    assert found is not None, argument
    return found[1], found[2] or ""
