"""What a search asks for, as a tree of plain data: read by `search_query`, turned into SQL by the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from daimon_mcp.domain.search_text import pieces

Column = Literal["subject", "sender", "recipients", "body", "files"]
FactName = Literal[
    "attachment", "unread", "read", "starred", "answered", "status", "held", "mailbox", "aside", "label", "kind",
    "thread", "larger", "smaller", "after", "before", "address", "cc", "bcc",
]  # fmt: skip

_SHORTEST_PREFIX = 3  # shorter ones stand for a good part of all words, and are taken as words


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


def words_of(text: str, column: Column | None) -> Words | None:
    """The words of a text, in a row; None when there is nothing in it that could be looked for."""
    stripped = text.rstrip("*")
    found = pieces(stripped)
    if not found:
        return None
    prefix = stripped != text and len(found[-1]) >= _SHORTEST_PREFIX
    return Words(stripped, column, prefix)
