"""An IMAP server with one folder, that misbehaves exactly as it is told.

    async with ImapPeer() as peer:
        peer.put(b"Subject: hello\\r\\n\\r\\nhi\\r\\n")
        peer.cut("UID FETCH", match="BODY.PEEK[]", after=40)  # is gone 40 octets into that answer
        peer.say("LOGIN", "NO [AUTHENTICATIONFAILED] who?")
        gate = peer.hold("SELECT")

Rules are for commands, named with UID where it belongs to them; `match` is a part of the command's line. They are used
in the order they were given, each `times` times.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from typing import Self

from tests.support.gate import PATIENCE, Gate

EVERYTHING = "IDLE UIDPLUS MOVE AUTH=PLAIN SASL-IR"
_LINE = re.compile(r"(\S+) (UID \w+|\w+) ?(.*)", re.DOTALL)
_HEADER_END = re.compile(rb"\r\n\r\n")


@dataclass
class Kept:
    """A message in the folder. `size` and `sent` are what the peer says of it, true or not."""

    uid: int
    content: bytes
    date: str
    size: int
    flags: set[str] = field(default_factory=set[str])


@dataclass
class _Rule:
    command: str
    match: str
    times: int | None
    answer: str | None = None
    raw: bytes | None = None
    cut: int | None = None
    gate: Gate | None = None


class _Gone(Exception):
    """This connection is over."""


class ImapPeer:
    """The server. `commands` are the lines it was given, without tags; `logins` what it was logged in with."""

    def __init__(
        self,
        *,
        capabilities: str = EVERYTHING,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        greeting: str = "* OK ready",
        password: str = "secret",
    ) -> None:
        self.capabilities = capabilities
        self.uidvalidity = 100
        self.uidnext = 1
        self.tells_uidnext = True
        self.idle_starts_with: list[str] = []
        self.messages: list[Kept] = []
        self.folders: dict[str, list[bytes]] = {}
        self.commands: list[str] = []
        self.logins: list[bytes | str] = []
        self.connections = 0
        self.password = password
        self.port = 0
        self._tls = tls
        self._starttls = starttls
        self._greeting = greeting
        self._rules: list[_Rule] = []
        self._idling: list[asyncio.StreamWriter] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = asyncio.Condition()
        self._server: asyncio.Server | None = None

    # -- what tests say to it ------------------------------------------------------------------------------------------

    def put(self, content: bytes, *, date: str = "21-Nov-2026 10:00:00 +0000", size: int | None = None) -> int:
        """Deliver a message, and tell those who idle; its UID."""
        uid = self.uidnext
        self.uidnext += 1
        self.messages.append(Kept(uid, content, date, len(content) if size is None else size))
        for writer in self._idling:
            writer.write(b"* %d EXISTS\r\n" % len(self.messages))
        return uid

    def renumber(self) -> None:
        """Give the folder a new UIDVALIDITY, and its messages new UIDs from 1."""
        self.uidvalidity += 1
        for uid, message in enumerate(self.messages, 1):
            message.uid = uid
        self.uidnext = len(self.messages) + 1

    def say(self, command: str, answer: str, *, match: str = "", times: int | None = 1) -> None:
        """Complete a command with `answer`, and do nothing; `* BYE …` ends the connection."""
        self._rules.append(_Rule(command, match, times, answer=answer))

    def send(self, command: str, raw: bytes, *, match: str = "", times: int | None = 1) -> None:
        """Send octets before the command is answered as usual."""
        self._rules.append(_Rule(command, match, times, raw=raw))

    def cut(self, command: str, *, after: int = 0, match: str = "", times: int | None = 1) -> None:
        """Be gone that many octets into the answer. What the command does is done."""
        self._rules.append(_Rule(command, match, times, cut=after))

    def hold(self, command: str, *, match: str = "") -> Gate:
        """Stop before a command is answered."""
        gate = Gate()
        self._rules.append(_Rule(command, match, 1, gate=gate))
        return gate

    async def heard(self, command: str, times: int = 1) -> None:
        """Return when lines with that beginning have come so often since the start."""
        async with asyncio.timeout(PATIENCE), self._heard:
            await self._heard.wait_for(lambda: sum(line.startswith(command) for line in self.commands) >= times)

    def disconnect(self) -> None:
        """Drop every connection."""
        for writer in self._open:
            writer.transport.abort()

    # -- the server ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.disconnect()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        try:
            writer.write(self._greeting.encode() + b"\r\n")
            await self._serve(reader, writer)
        except (_Gone, OSError, EOFError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            pass  # or the streams would report it
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            found = _LINE.fullmatch(line)
            assert found is not None, line
            tag, command, rest = found[1], found[2].upper(), found[3]
            async with self._heard:
                self.commands.append(f"{command} {rest}".rstrip())
                self._heard.notify_all()
            rule = self._rule(command, rest)
            if rule is not None and rule.gate is not None:
                await rule.gate.pass_through()
            if rule is not None and rule.raw is not None:
                writer.write(rule.raw)
            if rule is not None and rule.answer is not None:
                if rule.answer.startswith("*"):
                    writer.write(f"{rule.answer}\r\n".encode())
                    await writer.drain()
                    raise _Gone
                writer.write(f"{tag} {rule.answer}\r\n".encode())
                continue
            if command == "IDLE":
                await self._idle(tag, reader, writer)
                continue
            if command == "AUTHENTICATE":
                writer.write(await self._authenticate(tag, rest, reader, writer))
                continue
            answer = self._answer(tag, command, rest)
            if rule is not None and rule.cut is not None:
                writer.write(answer[: rule.cut])
                await writer.drain()
                raise _Gone
            writer.write(answer)
            await writer.drain()
            if command == "STARTTLS":
                assert self._starttls is not None
                await writer.start_tls(self._starttls)
            if command == "LOGOUT":
                raise _Gone

    def _rule(self, command: str, rest: str) -> _Rule | None:
        for rule in self._rules:
            if rule.command == command and rule.match in rest:
                if rule.times is not None:
                    rule.times -= 1
                    if not rule.times:
                        self._rules.remove(rule)
                return rule
        return None

    async def _idle(self, tag: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # In one packet, as a server sends it that has something to tell already.
        writer.write("".join(f"{line}\r\n" for line in ["+ idling", *self.idle_starts_with]).encode())
        self.idle_starts_with = []
        self._idling.append(writer)
        try:
            done = await reader.readline()
            if done != b"DONE\r\n":
                raise _Gone
            async with self._heard:
                self.commands.append("DONE")
                self._heard.notify_all()
        finally:
            self._idling.remove(writer)
        writer.write(f"{tag} OK idled\r\n".encode())

    async def _authenticate(
        self, tag: str, rest: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        import base64

        mechanism, _, initial = rest.partition(" ")
        if not initial:
            writer.write(b"+ \r\n")
            initial = (await reader.readline()).decode().rstrip("\r\n")
        response = base64.b64decode(initial)
        self.logins.append(response)
        if self.password.encode() in response:
            return f"{tag} OK in\r\n".encode()
        if mechanism != "PLAIN":
            writer.write(b"+ " + base64.b64encode(b'{"status":"401"}') + b"\r\n")
            self.logins.append(await reader.readline())
        return f"{tag} NO [AUTHENTICATIONFAILED] Invalid credentials\r\n".encode()

    def _answer(self, tag: str, command: str, rest: str) -> bytes:
        lines: list[bytes] = []
        done = f"{tag} OK {command} done"
        if command == "CAPABILITY":
            lines.append(f"* CAPABILITY IMAP4rev1 {self.capabilities}".encode())
        elif command == "LOGIN":
            self.logins.append(rest)
            if f'"{self.password}"' not in rest:
                done = f"{tag} NO [AUTHENTICATIONFAILED] Invalid credentials"
        elif command in {"SELECT", "EXAMINE"}:
            lines += [
                b"* FLAGS (\\Seen \\Deleted)",
                b"* %d EXISTS" % len(self.messages),
                b"* OK [UIDVALIDITY %d] UIDs valid" % self.uidvalidity,
            ]
            if self.tells_uidnext:
                lines.append(b"* OK [UIDNEXT %d] Predicted next UID" % self.uidnext)
            done = f"{tag} OK [READ-{'WRITE' if command == 'SELECT' else 'ONLY'}] selected"
        elif command == "UID FETCH":
            lines += self._fetch(rest)
        elif command == "UID STORE":
            flag = rest.partition("(")[2].rstrip(")")
            for message in self._named(rest.partition(" ")[0]):
                message.flags.add(flag)
        elif command == "UID EXPUNGE":
            for message in self._named(rest):
                if "\\Deleted" in message.flags:
                    lines.append(b"* %d EXPUNGE" % (self.messages.index(message) + 1))
                    self.messages.remove(message)
        elif command == "CREATE":
            self.folders[rest.strip('"')] = []
        elif command in {"UID MOVE", "UID COPY"}:
            uids, _, folder = rest.partition(" ")
            kept = self.folders.get(folder.strip('"'))
            if kept is None:
                return f"{tag} NO [TRYCREATE] no such folder\r\n".encode()
            for message in self._named(uids):
                kept.append(message.content)
                if command == "UID MOVE":
                    self.messages.remove(message)
        elif command == "LOGOUT":
            lines.append(b"* BYE bye")
        return b"".join(line + b"\r\n" for line in [*lines, done.encode()])

    def _named(self, uids: str) -> list[Kept]:
        wanted: set[int] = set()
        last = self.messages[-1].uid if self.messages else 0
        for part in uids.split(","):
            first, _, end = part.partition(":")
            low, high = int(first), last if end == "*" else int(end or first)
            wanted |= set(range(min(low, high), max(low, high) + 1))
        return [message for message in self.messages if message.uid in wanted]

    def _fetch(self, rest: str) -> list[bytes]:
        uids, _, items = rest.partition(" ")
        lines: list[bytes] = []
        for message in self._named(uids):
            said = [b"UID %d" % message.uid]
            if "RFC822.SIZE" in items:
                said.append(b"RFC822.SIZE %d" % message.size)
            if "INTERNALDATE" in items:
                said.append(b'INTERNALDATE "%s"' % message.date.encode())
            if "HEADER" in items:
                end = _HEADER_END.search(message.content)
                header = message.content[: end.end() if end else len(message.content)][:131_072]
                said.append(b"BODY[HEADER]<0> {%d}\r\n%s" % (len(header), header))
            elif "BODY.PEEK[]" in items:
                said.append(b"BODY[] {%d}\r\n%s" % (len(message.content), message.content))
            lines.append(b"* %d FETCH (%s)" % (self.messages.index(message) + 1, b" ".join(said)))
        return lines
