"""The operators of searches and their values: `from:`, `is:`, `after:` and the others.

What is made of a value is a node of the tree; one that an operator cannot have is refused, with one that it can.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Literal

from daimon_mcp.domain.clock import DAY, HOUR, BadTime, from_datetime, parse_time
from daimon_mcp.domain.ids import canonical_id
from daimon_mcp.domain.refusals import Refused, invalid
from daimon_mcp.domain.search_tree import Both, Column, Fact, FactName, Node, words_of

_OPERATOR = re.compile(r"([A-Za-z_]{2,12}):(.*)", re.DOTALL)
COLUMNS: Mapping[str, Column] = {
    "from": "sender",
    "to": "recipients",
    "subject": "subject",
    "body": "body",
    "filename": "files",
}
"""Operators whose value is words of the mail, and the column of the index that has them."""

_MAILBOXES = {"inbox": "INBOX", "sent": "Sent", "trash": "Trash", "spam": "Spam", "scheduled": "Scheduled"}
_IS: Mapping[str, FactName] = {
    "unread": "unread",
    "read": "read",
    "starred": "starred",
    "flagged": "starred",
    "answered": "answered",
    "replied": "answered",
}
_KINDS = ("human", "auto_reply", "bounce", "newsletter", "invite", "notification")
_AGE = re.compile(r"(\d{1,4})(h|d|w|m|y)", re.IGNORECASE)
_AGE_UNITS = {"h": HOUR, "d": DAY, "w": 7 * DAY, "m": 30 * DAY, "y": 365 * DAY}
_SIZE = re.compile(r"(\d{1,12})(?:\.(\d))?\s?(k|m|g)?i?b?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DAY = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})")
ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # as the store's lower() does
_FOREVER = 1 << 62


def operator_of(word: str) -> tuple[str | None, str]:
    """The operator a word begins with, and what follows it."""
    match = _OPERATOR.fullmatch(word)
    if match is None:
        return None, word
    name = match[1].lower()
    return (name, match[2]) if name in COLUMNS or name in VALUES else (None, word)


@lru_cache(maxsize=512)
def _near(name: str) -> str | None:
    found = difflib.get_close_matches(name, [*COLUMNS, *VALUES], 1, 0.75)
    return found[0] if found else None


def nearly(word: str) -> str | None:
    """The operator whose name a word's is spelt like, as in `form:ann`."""
    match = _OPERATOR.fullmatch(word)
    return None if match is None else _near(match[1].lower())


def _wrong(problem: str, example: str) -> Refused:
    return invalid("query", problem, example)


def _has(value: str, now: int) -> Node:
    del now
    if value.lower() not in ("attachment", "attachments", "file", "files"):
        raise _wrong("`has:` takes only attachment", "has:attachment")
    return Fact("attachment")


def _is(value: str, now: int) -> Node:
    del now
    lower = value.lower()
    if lower in _IS:
        return Fact(_IS[lower])
    if lower == "bounced":
        return Fact("status", "bounced")
    if lower in ("held", "blocked"):
        return Fact("held")
    raise _wrong("`is:` takes unread, read, starred, answered, bounced or held", "is:unread")


def _in(value: str, now: int) -> Node:
    del now
    lower = value.lower()
    if lower in ("anywhere", "all", "any"):
        return Fact("aside")
    if lower not in _MAILBOXES:
        raise _wrong("`in:` takes inbox, sent, trash, spam, scheduled or anywhere", "in:sent")
    return Fact("mailbox", _MAILBOXES[lower])


def _label(value: str, now: int) -> Node:
    del now
    lower = value.lower()
    if lower in _MAILBOXES:
        return Fact("mailbox", _MAILBOXES[lower])
    if lower == "unread":
        return Fact("unread")
    if lower == "bounced":
        return Fact("status", "bounced")
    return Fact("held") if lower == "blocked" else Fact("label", lower)


def _kind(value: str, now: int) -> Node:
    del now
    lower = value.lower().replace("-", "_")
    if lower not in _KINDS:
        raise _wrong(f"`kind:` takes {', '.join(_KINDS[:-1])} or {_KINDS[-1]}", "kind:human")
    return Fact("kind", lower)


def _thread(value: str, now: int) -> Node:
    del now
    return Fact("thread", canonical_id(value))


def _moment(operator: str, value: str) -> int:
    if match := _DAY.fullmatch(value):
        try:
            day = date(int(match[1]), int(match[2]), int(match[3]))
            return from_datetime(datetime(day.year, day.month, day.day, tzinfo=UTC))
        except ValueError:
            raise _wrong(f"`{operator}:` needs a day that exists", f"{operator}:2026-11-21") from None
    try:
        return parse_time(value)
    except BadTime as error:
        raise _wrong(f"`{operator}:` takes a day or a time: {error}", f"{operator}:2026-11-21") from None


def _after(value: str, now: int) -> Node:
    return Fact("after", _age("after", value, now) if _AGE.fullmatch(value) else _moment("after", value))


def _before(value: str, now: int) -> Node:
    return Fact("before", _age("before", value, now) if _AGE.fullmatch(value) else _moment("before", value))


def _age(operator: str, value: str, now: int) -> int:
    match = _AGE.fullmatch(value)
    if match is None:
        raise _wrong(f"`{operator}:` takes a number and h, d, w, m or y", f"{operator}:7d")
    return now - int(match[1]) * _AGE_UNITS[match[2].lower()]


def _newer(value: str, now: int) -> Node:
    return Fact("after", _age("newer_than", value, now))


def _older(value: str, now: int) -> Node:
    return Fact("before", _age("older_than", value, now))


def _size(operator: str, value: str) -> int:
    match = _SIZE.fullmatch(value)
    if match is None:
        raise _wrong(f"`{operator}:` takes bytes, or a number with k or M", f"{operator}:1M")
    unit = _SIZE_UNITS[(match[3] or "").lower()]
    return min(_FOREVER, int(match[1]) * unit + int(match[2] or 0) * unit // 10)


def _larger(value: str, now: int) -> Node:
    del now
    return Fact("larger", _size("larger", value))


def _smaller(value: str, now: int) -> Node:
    del now
    return Fact("smaller", _size("smaller", value))


def _copied(name: Literal["cc", "bcc"]) -> Callable[[str, int], Node | None]:
    def read(value: str, now: int) -> Node | None:
        del now
        words = words_of(value, "recipients")
        # The index has all recipients in one column; which header it was is told by the list itself.
        return None if words is None else Both((words, Fact(name, words.text.strip().translate(ASCII_LOWER))))

    return read


VALUES: Mapping[str, Callable[[str, int], Node | None]] = {
    "cc": _copied("cc"),
    "bcc": _copied("bcc"),
    "has": _has,
    "is": _is,
    "in": _in,
    "label": _label,
    "kind": _kind,
    "thread": _thread,
    "after": _after,
    "since": _after,
    "before": _before,
    "until": _before,
    "newer_than": _newer,
    "older_than": _older,
    "larger": _larger,
    "smaller": _smaller,
}
"""Operators whose value is no words of the mail: given it and the time now (epoch µs), its node, or None for nothing.

Raises Refused(INVALID_REQUEST) for a value that is not possible.
"""
