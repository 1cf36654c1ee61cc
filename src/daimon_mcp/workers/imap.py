"""An IMAP client for reading one mailbox (RFC 3501, with RFC 2177, 4315, 4959 and 6851 where they are offered).

The connection is our own (imap_wire.py): imapclient and imaplib under it read whatever size a server announces, block a
thread, and can sleep through mail that is told of in the same packet in which IDLE begins. What imapclient knows of
FETCH answers and of folder names is used.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.workers.imap_wire import (
    MAX_LINE,
    CommandFailed,
    ConnectionLost,
    ImapError,
    LoginFailed,
    Part,
    Server,
    Wire,
    dial,
    first_line,
    shown,
    wire_log,
)

MAX_HEADER = 131_072
"""Octets of a header that are looked at."""

SLOWEST = 16_384
"""Octets a second that content must come in, on top of the time an answer may take."""

_UNSAFE = re.compile(r"[\r\n\x00]")
_LATER = ("[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]")  # a login may work another time (RFC 5530 §3)

Item = dict[bytes, object]


@dataclass(frozen=True, slots=True)
class Selected:
    """A mailbox as SELECT described it; `uidnext` is None where the server does not tell."""

    uidvalidity: int
    uidnext: int | None
    read_only: bool


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """A message of the mailbox: its UID, RFC822.SIZE in octets, and INTERNALDATE in epoch µs (0 when unreadable)."""

    uid: int
    size: int
    internal_date: int


class Imap(Wire):
    """A connection and what is asked of it."""

    async def log_in(self, username: str, *, password: str | None = None, token: str | None = None) -> None:
        """By a password (PLAIN, or LOGIN) or an OAuth access token (OAUTHBEARER, RFC 7628, or XOAUTH2).

        Raises LoginFailed with the server's words, or another ImapError.
        """
        offered, self.capabilities = self.capabilities, frozenset()
        try:
            if token is not None:
                await self._log_in_by_token(offered, username, token)
            elif "AUTH=PLAIN" in offered:
                await self._authenticate(offered, "PLAIN", f"\0{username}\0{password or ''}")
            elif "LOGINDISABLED" in offered:
                raise LoginFailed("the server takes no passwords on this connection")
            else:
                await self._log_in_plainly(username, password or "")
        except CommandFailed as error:
            if error.text.upper().startswith(_LATER):
                raise ConnectionLost(f"the server lets nobody in now: {error.text}") from None
            raise LoginFailed(f"the server refuses the login: {error.text}") from None
        if not self.capabilities:
            await self.ask_capabilities()

    async def _log_in_by_token(self, offered: frozenset[str], username: str, token: str) -> None:
        if "AUTH=OAUTHBEARER" in offered:
            name = username.replace("=", "=3D").replace(",", "=2C")
            answer = f"n,a={name},\x01auth=Bearer {token}\x01\x01"
            await self._authenticate(offered, "OAUTHBEARER", answer, after_error=b"AQ==")
        elif "AUTH=XOAUTH2" in offered:
            await self._authenticate(offered, "XOAUTH2", f"user={username}\x01auth=Bearer {token}\x01\x01")
        else:
            raise LoginFailed("the server takes no OAuth tokens (neither OAUTHBEARER nor XOAUTH2)")

    async def _log_in_plainly(self, username: str, password: str) -> None:
        both = username + password
        if not both.isascii() or _UNSAFE.search(both):
            raise LoginFailed("user name and password must be ASCII for this server")
        await self.run(f"LOGIN {_quoted(username)} {_quoted(password)}", secret=True)

    async def _authenticate(
        self, offered: frozenset[str], mechanism: str, response: str, after_error: bytes = b""
    ) -> None:
        """AUTHENTICATE (RFC 3501 §6.2.2), in one go where SASL-IR is offered.

        Asked once more, we give `after_error`: that is how a server tells what is wrong with a token before its NO.
        """
        answer = base64.b64encode(response.encode())
        name = f"AUTHENTICATE {mechanism}"
        async with self._in_time(self._timeout):
            at_once = "SASL-IR" in offered
            tag = await self._send(name.encode() + (b" " + answer if at_once else b""), shown=name)
            answers = [after_error] if at_once else [answer, after_error]
            while True:
                parts = await self._answer()
                line = first_line(parts)
                if line.startswith(b"+") and answers:
                    self._writer.write(answers.pop(0) + b"\r\n")
                    await self._writer.drain()
                elif line.startswith(tag + b" "):
                    self._completed(line[len(tag) + 1 :], name)
                    return
                else:
                    self._untagged(parts)

    async def select(self, mailbox: str, *, read_only: bool) -> Selected:
        """Open a folder, by EXAMINE when nothing is to be changed. Raises CommandFailed when it cannot be opened."""
        self.codes.clear()
        text = await self.run(f"{'EXAMINE' if read_only else 'SELECT'} {_folder(mailbox)}")
        uidvalidity = self.codes.get(b"UIDVALIDITY", b"")
        uidnext = self.codes.get(b"UIDNEXT", b"")
        if not uidvalidity.isdigit():
            raise ImapError("the server gives its mail no lasting numbers (UIDVALIDITY)")
        return Selected(
            int(uidvalidity[:18]),
            int(uidnext[:18]) if uidnext.isdigit() else None,
            text.upper().startswith(b"[READ-ONLY]"),
        )

    async def noop(self) -> None:
        """Let the server tell what is new."""
        await self.run("NOOP")

    async def listed_after(self, uid: int) -> list[Listed]:
        """Every message with a greater UID, in their order."""
        found: dict[int, Listed] = {}

        def note(parts: list[Part]) -> None:
            item = _item(parts)
            each = _number(item.get(b"UID"))
            if each is not None and each > uid:  # `n:*` names the last message in any case (RFC 3501 §6.4.8)
                found[each] = Listed(each, _number(item.get(b"RFC822.SIZE")) or 0, _date(item))

        await self.run(f"UID FETCH {uid + 1}:* (UID RFC822.SIZE INTERNALDATE)", on_fetch=note)
        return sorted(found.values())

    async def headers(self, uids: Sequence[int]) -> dict[int, bytes]:
        """The first MAX_HEADER octets of the headers of some messages; those that are gone are left out."""
        found: dict[int, bytes] = {}

        def note(parts: list[Part]) -> None:
            item = _item(parts)
            uid, header = _number(item.get(b"UID")), _body(item, b"BODY[HEADER]")
            if uid is not None and header is not None:
                found[uid] = header

        await self.run(
            f"UID FETCH {_set(uids)} (UID BODY.PEEK[HEADER]<0.{MAX_HEADER}>)",
            room=len(uids) * (MAX_HEADER + MAX_LINE),
            on_fetch=note,
        )
        return found

    async def content(self, uid: int, max_bytes: int) -> bytes | None:
        """A whole message, unread as before; None when it is gone, or the server has nothing to show for it.

        Raises TooLarge when it has much more than `max_bytes`, whatever its size was said to be.
        """
        found: list[bytes] = []

        def note(parts: list[Part]) -> None:
            item = _item(parts)
            body = _body(item, b"BODY[]")
            if item.get(b"UID") == uid and body is not None:
                found.append(body)

        await self.run(
            f"UID FETCH {uid} (UID BODY.PEEK[])",
            room=max_bytes + MAX_LINE,
            patience=self._timeout + max_bytes / SLOWEST,
            on_fetch=note,
        )
        return found[-1] if found else None

    async def idle(self, seconds: float) -> None:
        """Wait for new mail, or that long; `news` says which. Raises CommandFailed when the server does not let us."""
        async with self._in_time(self._timeout):
            tag = await self._send(b"IDLE", shown="IDLE")
            while not first_line(parts := await self._answer()).startswith(b"+"):
                if first_line(parts).startswith(tag + b" "):
                    self._completed(first_line(parts)[len(tag) + 1 :], "IDLE")
                    raise ConnectionLost("the server ended IDLE before it began")
                self._untagged(parts)
        until = asyncio.get_running_loop().time() + seconds
        while not self.news and (line := await self._line_before(until)) is not None:
            async with self._in_time(self._timeout):
                if line.startswith(tag + b" "):
                    raise ConnectionLost("the server ended IDLE by itself")
                self._untagged(await self._answer(line))
        async with self._in_time(self._timeout):
            wire_log.debug("C: DONE")
            self._writer.write(b"DONE\r\n")
            await self._writer.drain()
            await self._complete(tag, "IDLE")

    async def _line_before(self, until: float) -> bytes | None:
        """The next line, or None when it has not come before `until` (loop time)."""
        async with self._in_time(max(0.0, until - asyncio.get_running_loop().time()) + self._timeout):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    return await self._read_line()
            return None

    async def mark_seen(self, uids: Sequence[int]) -> None:
        """Mark messages read."""
        await self.run(f"UID STORE {_set(uids)} +FLAGS.SILENT (\\Seen)")

    async def delete(self, uids: Sequence[int]) -> None:
        """Mark messages deleted and remove them.

        Without UIDPLUS they are only marked: an EXPUNGE would remove what somebody else has marked.
        """
        await self.run(f"UID STORE {_set(uids)} +FLAGS.SILENT (\\Deleted)")
        if "UIDPLUS" in self.capabilities:
            await self.run(f"UID EXPUNGE {_set(uids)}")

    async def move(self, uids: Sequence[int], folder: str) -> None:
        """Move messages to a folder, which is made when it is missing; by a copy where there is no MOVE.

        A repeat after a lost connection moves what is still there; by copies it may leave a second one in the folder.
        """
        moves = "MOVE" in self.capabilities
        command = f"UID {'MOVE' if moves else 'COPY'} {_set(uids)} {_folder(folder)}"
        try:
            await self.run(command)
        except CommandFailed as error:
            if not error.text.upper().startswith("[TRYCREATE]"):
                raise
            await self.run(f"CREATE {_folder(folder)}")
            await self.run(command)
        if not moves:
            await self.delete(uids)

    async def log_out(self) -> None:
        """Say goodbye, briefly."""
        self._closing = True
        with suppress(ImapError):
            await self.run("LOGOUT", patience=2.0)


@asynccontextmanager
async def connected(server: Server) -> AsyncGenerator[Imap]:
    """A connection that has been greeted, over TLS where asked for. It is closed at the end, however that comes.

    Raises ImapError.
    """
    reader, writer = await dial(server)
    imap = Imap(reader, writer, server.timeout)
    try:
        await imap.greet(server)
        yield imap
    finally:
        imap.close()


def _item(parts: list[Part]) -> Item:
    """What one FETCH answer says. Raises ImapError when it cannot be understood."""
    from imapclient.exceptions import ProtocolError  # pyright: ignore[reportMissingTypeStubs]
    from imapclient.response_parser import parse_fetch_response  # pyright: ignore[reportMissingTypeStubs]

    # Each by itself: message numbers, by which the parser joins answers, may change between two of them.
    try:
        found = parse_fetch_response(cast("list[bytes]", parts), normalise_times=False, uid_is_key=False)
    except (ProtocolError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ImapError(f"the server's answer cannot be understood: {shown(repr(error).encode())}") from None
    return cast("Item", next(iter(found.values()), Item()))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else None


def _body(item: Item, label: bytes) -> bytes | None:
    """A body section by its label, which has where it starts appended when only a part was asked for."""
    for name, value in item.items():
        if name.partition(b"<")[0] == label:
            if isinstance(value, int):  # digits alone that came as no literal
                return b"%d" % value
            return value if isinstance(value, bytes) else None
    return None


def _date(item: Item) -> int:
    moment = item.get(b"INTERNALDATE")
    if not isinstance(moment, datetime):
        return 0
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    try:
        return max(0, int(aware.timestamp())) * SECOND
    except (OverflowError, ValueError):
        return 0


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _folder(name: str) -> str:
    """A folder name as IMAP writes it: modified UTF-7 (RFC 3501 §5.1.3), quoted."""
    from imapclient.imap_utf7 import encode  # pyright: ignore[reportMissingTypeStubs]

    return _quoted(encode(name).decode("ascii"))
