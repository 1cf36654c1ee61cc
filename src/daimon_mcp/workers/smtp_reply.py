"""What a server says, read from its octets (RFC 5321 §4.2), and what it means for a message."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from daimon_mcp.domain.queue import Attempt, Outcome

MAX_LINE: Final = 4_096  # octets; RFC 5321 §4.5.3.1.5 allows 512, some servers have more to say
MAX_LINES: Final = 200
MAX_TEXT: Final = 500  # characters kept of a reply

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_MEANING: Final = {2: Outcome.ACCEPTED, 4: Outcome.DEFERRED, 5: Outcome.REFUSED}


class Lost(Exception):
    """The connection is gone, or of no more use. `str(error)` says why; the peer's octets are in it as repr only."""


class BadReply(Lost):
    """What the server sent is no reply."""


class Reply(NamedTuple):
    """One reply. `lines` are without code and line end; octets that are not UTF-8 are surrogates in them."""

    code: int
    lines: tuple[str, ...]

    def words(self) -> tuple[str | None, str]:
        """Enhanced status and text; the status may be on every line of it (RFC 2034 §4), and is kept once."""
        enhanced = None
        texts: list[str] = []
        for line in self.lines:
            found = _ENHANCED.match(line)
            if found and found[1][0] == str(self.code)[0]:
                enhanced = enhanced or found[1]
                texts.append(line[found.end() :])
            else:
                texts.append(line)
        return enhanced, clean(" ".join(texts))


class ReplyParser:
    """Turns octets into replies. No I/O; not to be used again after it raised BadReply."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self._rest = b""  # less than a line
        self._code = b""  # of the reply whose last line has not come
        self._lines: list[str] = []

    @property
    def pending(self) -> bool:
        """Whether anything has come that nobody took: a reply, or the beginning of one."""
        return bool(self.replies or self._rest or self._lines)

    def feed(self, data: bytes) -> None:
        """Read on; whole replies are in `replies`. A line may end with LF alone: nothing is sent on from here."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.removesuffix(b"\r"))
        if len(self._rest) > MAX_LINE:
            raise BadReply("a line of the reply is too long")

    def _line(self, line: bytes) -> None:
        if len(line) > MAX_LINE:
            raise BadReply("a line of the reply is too long")
        code, mark = line[:3], line[3:4]
        if len(code) != 3 or not code.isdigit() or code[0] not in b"2345" or mark not in b" -":
            raise BadReply(f"not an SMTP reply: {line[:80]!r}")
        if self._lines and code != self._code:
            raise BadReply(f"a reply with two codes: {self._code.decode()} and {code.decode()}")
        self._lines.append(line[4:].decode("utf-8", "surrogateescape"))
        if mark == b"-":
            if len(self._lines) >= MAX_LINES:
                raise BadReply("the reply has too many lines")
            self._code = code
            return
        self.replies.append(Reply(int(code), tuple(self._lines)))
        self._lines = []


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who the answers in an `Attempt` are from: `remote`, over a connection protected as `tls` says."""

    remote: str
    tls: str = ""

    def answered(self, reply: Reply, otherwise: Outcome) -> Attempt:
        """What a reply means: 2xx ACCEPTED, 4xx DEFERRED, 5xx REFUSED; any other code, `otherwise`."""
        enhanced, text = reply.words()
        outcome = _MEANING.get(reply.code // 100, otherwise)
        return Attempt(outcome, reply.code, enhanced, text, self.remote, self.tls)

    def put_off(self, reply: Reply) -> Attempt:
        """DEFERRED with that reply's words, whatever its code."""
        enhanced, text = reply.words()
        return Attempt(Outcome.DEFERRED, reply.code, enhanced, text, self.remote, self.tls)

    def deferred(self, text: str, enhanced: str | None = None) -> Attempt:
        """DEFERRED for want of an answer."""
        return Attempt(Outcome.DEFERRED, None, enhanced, clean(text), self.remote, self.tls)

    def refused(self, code: int, enhanced: str, text: str) -> Attempt:
        """REFUSED by ourselves, because the server could not take it."""
        return Attempt(Outcome.REFUSED, code, enhanced, clean(text), self.remote, self.tls)


def clean(text: str) -> str:
    """The peer's words, printable, on one line, 500 characters at most."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return text[:MAX_TEXT].strip()
