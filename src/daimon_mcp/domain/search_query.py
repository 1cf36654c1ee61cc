"""The language of searches: words, phrases, operators; read into a tree of plain data.

    invoice paid              both words
    "see you on friday"       the words in this order
    invoice OR receipt        either; OR joins its two neighbours, as mail programs have it: a OR b c is (a OR b) c
    -draft, NOT draft         not this
    (a b) OR c                parentheses
    inv*                      a word that begins so, by three characters or more
    from:ann subject:"q4 plan" to: cc: bcc: body: filename:
    has:attachment is:unread|read|starred|answered|bounced|held in:inbox|sent|trash|spam|scheduled|anywhere
    label:invoice kind:human thread:thr_… larger:1M smaller:20k
    after:2026-11-01 before:2026-11-21T09:00:00Z newer_than:7d older_than:2w

Any text is a query: what is no operator is a word, what is left open is closed at the end. Only an operator's value
can be wrong; an operator without one, or a name that is nearly an operator's, is read as words and noted. Mail in Trash
and Spam is found only by a query that names one of them, or `in:anywhere`.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Literal

from daimon_mcp.domain.clock import DAY, HOUR, BadTime, from_datetime, parse_time
from daimon_mcp.domain.ids import canonical_id
from daimon_mcp.domain.refusals import Refused, invalid
from daimon_mcp.domain.search_text import pieces

Column = Literal["subject", "sender", "recipients", "body", "files"]
FactName = Literal[
    "attachment", "unread", "read", "starred", "answered", "status", "held", "mailbox", "aside", "label", "kind",
    "thread", "larger", "smaller", "after", "before", "address", "cc", "bcc",
]  # fmt: skip

MOST_DEPTH = 10  # parentheses deeper than this mean nothing
_SHORTEST_PREFIX = 3  # shorter ones stand for a good part of all words, and are taken as words
_FOREVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Words:
    """Words in a row, as one phrase: anywhere, or in one column. With `prefix` the last word may go on."""

    text: str
    column: Column | None = None
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """Something about the message that is no text of it. Times are epoch µs, sizes bytes, switches 1."""

    name: FactName
    value: str | int = 1


@dataclass(frozen=True, slots=True)
class Not:
    """What does not hold."""

    node: Node


@dataclass(frozen=True, slots=True)
class Both:
    """What holds altogether; two nodes or more."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of two nodes or more."""

    nodes: tuple[Node, ...]


Node = Words | Fact | Not | Both | Either


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked for. `node` is None when there is nothing to look for; `aside` includes Trash and Spam.

    `empty` are the operators that have no value, and `near` those whose name something nearly is: both read as words.
    """

    node: Node | None
    aside: bool = False
    empty: tuple[str, ...] = ()
    near: tuple[str, ...] = ()

    def wanted(self) -> list[Words]:
        """The words that a message is to have, for marking them."""
        found: list[Words] = []
        left: list[Node] = [] if self.node is None else [self.node]
        while left:
            each = left.pop()
            if isinstance(each, Words):
                found.append(each)
            elif isinstance(each, (Both, Either)):
                left += each.nodes
        return found


_TOKEN = re.compile(r'\s+|(?P<paren>[()])|(?P<minus>-(?=[^\s)-]))|(?P<bar>\|)|(?P<quote>["“”„])|(?P<word>[^\s()"“”„]+)')
_CLOSING = re.compile('["“”]')
_OPERATOR = re.compile(r"([A-Za-z_]{2,12}):(.*)", re.DOTALL)
_COLUMNS: Mapping[str, Column] = {
    "from": "sender",
    "to": "recipients",
    "subject": "subject",
    "body": "body",
    "filename": "files",
}
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
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # as the store's lower() does
_WHOLE_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+\.[^\s@<>.]+|[^\s@<>]+@localhost")


def parse(text: str, now: int) -> Query:
    """Read a query; `now` (epoch µs) is what ages count from.

    Raises Refused(INVALID_REQUEST) for a value that an operator cannot have, with one that it can.
    """
    reader = _Reader(text.replace("\x00", " "), now)
    node = reader.all_of(0)
    return Query(node, reader.aside, tuple(reader.empty), tuple(reader.near))


class _Reader:
    """Goes through the text once; every character belongs to one token, so nothing is read twice."""

    def __init__(self, text: str, now: int) -> None:
        self._now = now
        self._tokens = _tokens(text)
        self._at = 0
        self.aside = False
        self.empty: dict[str, None] = {}
        self.near: dict[str, None] = {}

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def all_of(self, depth: int, operator: str | None = None) -> Node | None:
        """Terms up to a closing parenthesis or the end."""
        nodes: list[Node] = []
        joins = False
        while True:
            kind, value = self._peek()
            if kind == "end":
                break
            if kind == "close":
                if depth:
                    break
                self._at += 1
            elif kind == "or":
                self._at += 1
                joins = bool(nodes)
            elif kind == "word" and value == "AND":
                self._at += 1
            else:
                node = self._term(depth, operator)
                if node is None:
                    continue
                if joins:
                    nodes[-1] = _joined(Either, [nodes[-1], node])
                else:
                    nodes.append(node)
                joins = False
        return _joined(Both, nodes) if nodes else None

    def _term(self, depth: int, operator: str | None, *, positive: bool = True) -> Node | None:
        negated = False
        while (token := self._peek())[0] == "minus" or token == ("word", "NOT"):
            negated = not negated
            self._at += 1
        positive = positive and not negated
        node = self._plain(depth, operator, positive)
        return node if node is None or not negated else node.node if isinstance(node, Not) else Not(node)

    def _plain(self, depth: int, operator: str | None, positive: bool) -> Node | None:
        kind, value = self._peek()
        if kind in ("end", "close", "or"):
            return None
        self._at += 1
        if kind == "open":
            if depth >= MOST_DEPTH:
                return None
            was = self.aside
            node = self.all_of(depth + 1, operator)
            self.aside = self.aside if positive else was
            if self._peek()[0] == "close":
                self._at += 1
            return node
        if kind == "phrase":
            return self._meant(operator, value, positive)
        name, given = _operator(value)
        if name is not None and given:
            return self._meant(name, given, positive)
        if name is not None and self._is_value(*self._peek()):
            return self._plain(depth, name, positive)
        if name is not None:
            self.empty[name] = None
        elif (near := _nearly(value)) is not None:
            self.near[near] = None
        return self._meant(operator, value, positive)

    @staticmethod
    def _is_value(kind: str, value: str) -> bool:
        """Whether this can stand after an operator with a space between, as in `subject: invoice`."""
        if kind == "word":
            return value not in ("AND", "NOT") and _operator(value)[0] is None
        return kind in ("open", "phrase")

    def _meant(self, operator: str | None, value: str, positive: bool) -> Node | None:
        if operator is None:
            return _words(value, None)
        if operator in _VALUES:
            node = _VALUES[operator](value.strip(), self._now)
            if positive and isinstance(node, Fact) and (node.name == "aside" or node.value in ("Trash", "Spam")):
                self.aside = True
            return None if isinstance(node, Fact) and node.name == "aside" else node
        words = _words(value, _COLUMNS[operator])
        if operator == "from" and words is not None and _WHOLE_ADDRESS.fullmatch(value):
            # The words of an address are those of a longer one too.
            return Both((words, Fact("address", value.translate(_ASCII_LOWER))))
        return words


def _operator(word: str) -> tuple[str | None, str]:
    """The operator a word begins with, and what follows it."""
    match = _OPERATOR.fullmatch(word)
    if match is None:
        return None, word
    name = match[1].lower()
    return (name, match[2]) if name in _COLUMNS or name in _VALUES else (None, word)


@lru_cache(maxsize=512)
def _near(name: str) -> str | None:
    found = difflib.get_close_matches(name, [*_COLUMNS, *_VALUES], 1, 0.75)
    return found[0] if found else None


def _nearly(word: str) -> str | None:
    """The operator whose name a word's is spelt like, as in `form:ann`."""
    match = _OPERATOR.fullmatch(word)
    return None if match is None else _near(match[1].lower())


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    after_space = True
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None
        at = match.end()
        match match.lastgroup:
            case None:
                after_space = True
                continue
            case "paren":
                found.append(("open" if match[0] == "(" else "close", ""))
            case "minus":
                if after_space or (found and found[-1][0] in ("open", "minus")):
                    found.append(("minus", ""))
            case "bar":
                found.append(("or", ""))
            case "quote":
                end = _CLOSING.search(text, at)
                stop = end.start() if end else len(text)
                phrase = text[at:stop]
                at = end.end() if end else stop
                if text.startswith("*", at):
                    phrase, at = phrase + "*", at + 1
                found.append(("phrase", phrase))
            case _:
                word = match[0]
                found.append(("or", "") if word == "OR" else ("word", word))
        after_space = False
    return found


def _joined(kind: type[Both] | type[Either], nodes: list[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    flat: list[Node] = []
    for node in nodes:
        if isinstance(node, kind):
            flat += node.nodes
        else:
            flat.append(node)
    return kind(tuple(flat))


def _words(text: str, column: Column | None) -> Words | None:
    """None when there is nothing in it that could be looked for."""
    stripped = text.rstrip("*")
    found = pieces(stripped)
    if not found:
        return None
    prefix = stripped != text and len(found[-1]) >= _SHORTEST_PREFIX
    return Words(stripped, column, prefix)


# -- values of operators ---------------------------------------------------------------------------------------------


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
        words = _words(value, "recipients")
        # The index has all recipients in one column; which header it was is told by the list itself.
        return None if words is None else Both((words, Fact(name, words.text.strip().translate(_ASCII_LOWER))))

    return read


_VALUES: Mapping[str, Callable[[str, int], Node | None]] = {
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
