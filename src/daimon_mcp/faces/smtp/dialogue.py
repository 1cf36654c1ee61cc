"""The frame of an SMTP dialogue without I/O: bytes in, lines and replies, and what is needed from outside.

A dialogue is one generator. It runs while it can, and stops where it needs something: more bytes, an answer from the
core (`Ask`), TLS, or a moment for its replies to leave. Whoever holds the connection gives it that and goes on with
`advance` or `fail`. So a waiting session is no task, and a command reads from top to bottom.

Replies are collected and taken when the dialogue stops for its peer, so that a group of pipelined commands gets one
write (RFC 2920 §3.2). Only CRLF ends a line.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar, cast

from daimon_mcp.faces.smtp import replies
from daimon_mcp.logs import WIRE, one_line

log = logging.getLogger(__name__)
wire_log = logging.getLogger(WIRE)

LINE_FLOOD: Final = 65_536  # octets without a line end that make us hang up
MAX_UNSENT: Final = 16_384  # octets of replies after which others get their turn
MAX_LOGGED: Final = 500  # characters of one line of a conversation

# What follows may be a password: behind AUTH, and where a client goes on with a login that was refused.
_LOGIN: Final = re.compile(rb"\s*AUTH\s+\S+\s+|(?=[A-Za-z0-9+/]{12,}=*\s*$)", re.IGNORECASE)

T = TypeVar("T")


class Need(Enum):
    """What a dialogue waits for, beside the core."""

    BYTES = "bytes"  # `receive`
    FLUSH = "flush"  # its replies written
    TLS = "tls"  # its replies written, then a handshake
    CLOSE = "close"  # it is over: its replies written, then the end of the connection


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Something the core is asked: await `call()`, then `advance` with what it returns, or `fail` with what it raises.

    Raising is part of the conversation: a command decides what becomes of it.
    """

    call: Callable[[], Awaitable[object]]


Action = Ask | Need
Steps = Generator[Action, object, T]
"""A part of a dialogue: yields what it needs, returns T."""


class HangUp(Exception):
    """The session is over; `reply` is our last word, None if nobody listens."""

    def __init__(self, reply: str | None) -> None:
        super().__init__(reply)
        self.reply = reply


class Rejected(Exception):
    """A command cannot be done; `reply` says why. The session goes on."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


def ask(call: Callable[[], Awaitable[T]]) -> Steps[T]:
    """Have `call()` awaited outside; what it returns, or raises."""
    return cast("T", (yield Ask(call)))


class Dialogue(ABC):
    """Lines in, replies out. What is said, and to whom, is a subclass's.

    `cid` is what log lines and replies that speak of our side are found by.
    """

    def __init__(self, *, cid: str, max_line: int) -> None:
        self.cid = cid
        self.max_line = max_line  # octets of a line with its CRLF
        self._buffer = bytearray()
        self._out = bytearray()
        self._steps = self._whole()

    @property
    def unread(self) -> int:
        """Octets received that no step has taken yet."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Bytes from the peer, for the next `advance`."""
        self._buffer += data

    def advance(self, result: object = None) -> Action:
        """Go on, with the `result` of the last `Ask` if there was one; what is needed next."""
        try:
            return self._steps.send(result)
        except StopIteration:
            return Need.CLOSE

    def fail(self, error: Exception) -> Action:
        """Go on after the last need could not be met; `HangUp` ends the dialogue with its reply."""
        try:
            return self._steps.throw(error)
        except StopIteration:
            return Need.CLOSE

    def lost(self) -> None:
        """The peer is gone: release everything. May be called again."""
        self._steps.close()

    def replies(self) -> bytes:
        """Take what is to be written now."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def answer(self, reply: str) -> None:
        """Say `reply`, lines separated by CRLF."""
        if wire_log.isEnabledFor(logging.DEBUG):
            for line in reply.split("\r\n"):
                trace("S", line.encode())
        self._out += reply.encode() + b"\r\n"

    def line(self, *, secret: bool = False) -> Steps[bytes]:
        """The next line without its CRLF; a `secret` one is not logged.

        Raises Rejected for a line that is too long or ends in another way, HangUp for one without end.
        """
        buffer = self._buffer
        looked_at = dropped = 0
        if (end := buffer.find(b"\n")) < 0:
            self.waiting()
        while end < 0:
            if dropped + len(buffer) > LINE_FLOOD:
                raise HangUp(replies.LINE_WITHOUT_END)
            if dropped or len(buffer) > self.max_line:
                dropped += len(buffer)
                buffer.clear()
            looked_at = len(buffer)
            yield Need.BYTES
            end = buffer.find(b"\n", looked_at)
        if dropped + end > LINE_FLOOD:
            raise HangUp(replies.LINE_WITHOUT_END)
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        if wire_log.isEnabledFor(logging.DEBUG):
            trace("C", b"[secret]" if secret else line.removesuffix(b"\n").removesuffix(b"\r"))
        if dropped or len(line) > self.max_line:
            raise Rejected(replies.LINE_TOO_LONG)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Rejected(replies.BARE_LINE_END)
        return line[:-2]

    def _line_at_hand(self) -> bytes | None:
        """A good line that is there already, which most are; None where `line` has to look closer."""
        end = self._buffer.find(b"\r\n", 0, self.max_line)
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        if b"\n" in line or b"\r" in line:
            return None
        del self._buffer[: end + 2]
        if wire_log.isEnabledFor(logging.DEBUG):
            trace("C", line)
        return line

    @abstractmethod
    def waiting(self) -> None:
        """Called when a line is not there yet and the peer's time for it begins."""

    @abstractmethod
    def over(self) -> None:
        """Called once, when the dialogue has ended in whatever way."""

    def internal_error(self, error: Exception) -> str:
        """Log our bug; the reply names the cid and nothing else."""
        log.error("internal error in an SMTP session", exc_info=error)
        return replies.internal_error(self.cid)

    @abstractmethod
    def _converse(self) -> Steps[None]:
        """The dialogue, from the greeting on."""

    def _whole(self) -> Steps[None]:
        try:
            yield from self._converse()
        except HangUp as hang_up:
            if hang_up.reply is not None:
                self.answer(hang_up.reply)
        except Exception as error:  # noqa: BLE001  the last catch: whatever it is, the peer gets an id and no more
            self.internal_error(error)
            self.answer(replies.internal_error_closing(self.cid))
        finally:
            self._buffer.clear()
            self.over()


def trace(who: str, line: bytes) -> None:
    """Log one line of a conversation, escaped so that it can be cut out of a log and played again."""
    if who == "C" and (login := _LOGIN.match(line)):
        line = login[0] + b"[secret]"
    text = one_line(line[: MAX_LOGGED * 4].replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace"))
    wire_log.debug("%s: %s", who, text if len(text) <= MAX_LOGGED else f"{text[:MAX_LOGGED]}…")
