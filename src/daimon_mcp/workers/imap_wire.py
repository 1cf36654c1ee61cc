"""The client's end of an IMAP connection: lines and literals, tags, limits, TLS (RFC 3501 §2.2, §4.3).

Every wait has an end and every answer a limit, and a task that is cancelled leaves no thread behind. Nothing is retried
here: a connection that has raised anything but `CommandFailed` is done with.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from daimon_mcp.logs import WIRE, one_line

wire_log = logging.getLogger(WIRE)

MAX_LINE = 65_536
"""Octets of one line of a server's answer, without literals."""

MAX_ANSWER = 64 << 20
"""Octets of all that a server may say to one command that asks for no content: a list of a million messages fits."""

_LITERAL = re.compile(rb"\{(\d{1,19})\}\Z")
_NUMBERED = re.compile(rb"\d{1,10} ([A-Z]+)(?: |\Z)", re.IGNORECASE)
_STATUS = re.compile(rb"\* (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE)
_CODE = re.compile(rb"\[([A-Z0-9-]+)(?: ([^\]]*))?\]", re.IGNORECASE)
_EVERY = 100  # answers that are read before others get their turn: a full buffer is read without any wait

Part = bytes | tuple[bytes, bytes]
"""A line without its end; or what stands before a literal, and the literal."""


class ImapError(Exception):
    """What keeps us from reading the mailbox, in words for the operator. Never has a password in it."""


class ConnectionLost(ImapError):
    """The network or the server ended it; it may work later."""


class LoginFailed(ImapError):
    """The server does not let us in."""


class CommandFailed(ImapError):
    """The server said NO or BAD to one command; the connection is good. `text` are its words, code included."""

    def __init__(self, command: str, text: str) -> None:
        super().__init__(f"the server refuses {command}: {text}")
        self.text = text


class TooLarge(ImapError):
    """The server sends more than we take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a mailbox is. `timeout` is the seconds an answer may take; `tls` is None for an unprotected connection."""

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    tls: ssl.SSLContext | None
    timeout: float = 60.0


class Wire:
    """One connection. Commands are given one after the other, by one task."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout = timeout
        self._tag = 0
        self._room = MAX_ANSWER
        self._closing = False
        self.capabilities: frozenset[str] = frozenset()
        self.news = False
        """Whether the server has spoken of new mail (EXISTS) since this was last set to False."""
        self.codes: dict[bytes, bytes] = {}
        """Response codes of OK answers (RFC 3501 §7.1) since this was last emptied, such as UIDVALIDITY."""

    async def greet(self, server: Server) -> None:
        """Hear the greeting, go over to TLS where that is asked for, and learn what the server can.

        Raises ImapError.
        """
        async with self._in_time(self._timeout):
            parts = await self._answer()
            line = first_line(parts).upper()
            self._untagged(parts)
        if line.startswith(b"* PREAUTH"):
            raise ImapError("the server says that we are logged in before we have said who we are")
        if not line.startswith(b"* OK"):
            raise ConnectionLost(f"the server does not welcome us: {shown(first_line(parts))}")
        if server.security == "starttls":
            await self.ask_capabilities()
            if "STARTTLS" not in self.capabilities:
                raise ImapError("the server offers no STARTTLS")
            await self.run("STARTTLS")
            await self._start_tls(server)
            self.capabilities = frozenset()  # what was said in the clear, anybody may have said (RFC 3501 §6.2.1)
        if not self.capabilities:
            await self.ask_capabilities()

    async def _start_tls(self, server: Server) -> None:
        assert server.tls is not None
        if self._reader._buffer:  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            raise ImapError("the server goes on in the clear after STARTTLS, which somebody else may have put in")
        try:
            async with asyncio.timeout(self._timeout):
                await self._writer.start_tls(server.tls, server_hostname=server.host)
        except ssl.SSLError as error:
            raise ImapError(_tls_words(error)) from None
        except (OSError, EOFError) as error:
            raise ConnectionLost(f"TLS could not be started: {_plain(error)}") from None

    async def ask_capabilities(self) -> None:
        """Learn what the server can now."""
        await self.run("CAPABILITY")

    def close(self) -> None:
        """Close the connection now; never waits."""
        self._writer.transport.abort()

    async def run(
        self,
        command: str,
        *,
        secret: bool = False,
        room: int = MAX_ANSWER,
        patience: float | None = None,
        on_fetch: Callable[[list[Part]], None] | None = None,
    ) -> bytes:
        """One command; the text of its OK. `on_fetch` is told each FETCH answer, as `12 (UID 5 …`.

        The server may say `room` octets and take `patience` seconds. A `secret` command is shown nowhere. Raises
        CommandFailed for NO and BAD, another ImapError when the connection is of no more use.
        """
        name = " ".join(command.split(" ")[: 2 if command.startswith("UID ") else 1])
        async with self._in_time(patience or self._timeout):
            tag = await self._send(command.encode("ascii"), shown=f"{name} …" if secret else command, room=room)
            return await self._complete(tag, name, on_fetch)

    async def _send(self, command: bytes, *, shown: str, room: int = MAX_ANSWER) -> bytes:
        """Begin a command; its tag."""
        self._room = room
        self._tag += 1
        tag = b"d%d" % self._tag
        wire_log.debug("C: %s %s", tag.decode(), one_line(shown[:500]))
        self._writer.write(tag + b" " + command + b"\r\n")
        await self._writer.drain()
        return tag

    async def _complete(self, tag: bytes, name: str, on_fetch: Callable[[list[Part]], None] | None = None) -> bytes:
        count = 0
        while True:
            parts = await self._answer()
            line = first_line(parts)
            if line.startswith(tag + b" "):
                return self._completed(line[len(tag) + 1 :], name)
            if self._untagged(parts) == b"FETCH" and on_fetch is not None:
                on_fetch(_unlabelled(parts))
            count += 1
            if count % _EVERY == 0:
                await asyncio.sleep(0)

    def _completed(self, rest: bytes, name: str) -> bytes:
        """The text of a tagged OK; raises CommandFailed for anything else."""
        word, _, text = rest.partition(b" ")
        if word.upper() != b"OK":
            raise CommandFailed(name, shown(text))
        self._code(text)
        return text

    def _untagged(self, parts: list[Part]) -> bytes:
        """Note what an untagged answer tells of the connection and the mailbox; the kind of answer it is."""
        line = first_line(parts)
        if not line.startswith(b"* "):
            raise ConnectionLost(f"the server does not speak IMAP: {shown(line)}")
        rest = line[2:]
        if numbered := _NUMBERED.match(rest):
            kind = numbered[1].upper()
            self.news = self.news or kind == b"EXISTS"
            return kind
        kind, _, text = rest.partition(b" ")
        kind = kind.upper()
        if kind == b"CAPABILITY":
            self._learn(text)
        elif kind in {b"OK", b"PREAUTH"}:
            self._code(text)
        elif kind == b"BYE" and not self._closing:
            raise ConnectionLost(f"the server said goodbye: {shown(text)}")
        return kind

    def _code(self, text: bytes) -> None:
        code = _CODE.match(text)
        if code is None:
            return
        name, value = code[1].upper(), code[2] or b""
        if name == b"CAPABILITY":
            self._learn(value)
        elif len(self.codes) < 20:
            self.codes[name] = value

    def _learn(self, text: bytes) -> None:
        self.capabilities = frozenset(text.decode("ascii", "replace").upper().split())

    async def _answer(self, line: bytes | None = None) -> list[Part]:
        """One answer with its literals, `line` being its first if that was read. Takes from the command's room."""
        parts: list[Part] = []
        while True:
            if line is None:
                line = await self._read_line()
            if not parts:
                wire_log.debug("S: %s", one_line(line[:500].decode("utf-8", "replace")))
            # In text for people, what looks like a literal is none.
            has_none = not parts and (not line.startswith(b"* ") or _STATUS.match(line))
            literal = None if has_none else _LITERAL.search(line)
            if literal is None:
                parts.append(line)
                return parts
            size = int(literal[1])
            self._take(size)
            parts.append((line, await self._reader.readexactly(size)))
            line = None

    async def _read_line(self) -> bytes:
        """A line without its end. Cancelled, it has read nothing."""
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise TooLarge("the server sends a line without end") from None
        self._take(len(line))
        return line.rstrip(b"\r\n")

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise TooLarge("the server sends more than was asked for")

    @asynccontextmanager
    async def _in_time(self, seconds: float) -> AsyncGenerator[None]:
        """Failures of the network as ConnectionLost, a silent server among them."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise ConnectionLost("the server does not answer in time") from None
        except asyncio.IncompleteReadError:
            raise ConnectionLost("the server closed the connection") from None
        except OSError as error:
            raise ConnectionLost(f"the connection broke: {_plain(error)}") from None


async def dial(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, over TLS when it is TLS from the first byte. Raises ImapError."""
    try:
        async with asyncio.timeout(server.timeout):
            return await asyncio.open_connection(
                server.host, server.port, ssl=server.tls if server.security == "tls" else None, limit=MAX_LINE
            )
    except ssl.SSLError as error:
        raise ImapError(_tls_words(error)) from None
    except OSError as error:
        raise ConnectionLost(f"cannot connect: {_plain(error)}") from None


def first_line(parts: list[Part]) -> bytes:
    """The line an answer begins with."""
    first = parts[0]
    return first if isinstance(first, bytes) else first[0]


def shown(text: bytes) -> str:
    """A server's words in a message: one line, 200 characters."""
    return one_line(text.decode("utf-8", "replace")[:200]).strip()


def _unlabelled(parts: list[Part]) -> list[Part]:
    """`* 12 FETCH (UID 5 …` without its star and name."""
    first = parts[0]
    number, _, rest = first_line(parts)[2:].partition(b" ")
    bare = number + b" " + rest.partition(b" ")[2]
    return [bare if isinstance(first, bytes) else (bare, first[1]), *parts[1:]]


def _plain(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return one_line((error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__)


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {one_line(str(error.verify_message))}"
    return f"TLS: {one_line(error.reason or str(error))}"
