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

import re

from daimon_mcp.domain.search_operators import ASCII_LOWER, COLUMNS, VALUES, nearly, operator_of
from daimon_mcp.domain.search_tree import Both, Either, Fact, Node, Not, Query, words_of

MOST_DEPTH = 10  # parentheses deeper than this mean nothing

_TOKEN = re.compile(r'\s+|(?P<paren>[()])|(?P<minus>-(?=[^\s)-]))|(?P<bar>\|)|(?P<quote>["“”„])|(?P<word>[^\s()"“”„]+)')
_CLOSING = re.compile('["“”]')
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
        name, given = operator_of(value)
        if name is not None and given:
            return self._meant(name, given, positive)
        if name is not None and self._is_value(*self._peek()):
            return self._plain(depth, name, positive)
        if name is not None:
            self.empty[name] = None
        elif (near := nearly(value)) is not None:
            self.near[near] = None
        return self._meant(operator, value, positive)

    @staticmethod
    def _is_value(kind: str, value: str) -> bool:
        """Whether this can stand after an operator with a space between, as in `subject: invoice`."""
        if kind == "word":
            return value not in ("AND", "NOT") and operator_of(value)[0] is None
        return kind in ("open", "phrase")

    def _meant(self, operator: str | None, value: str, positive: bool) -> Node | None:
        if operator is None:
            return words_of(value, None)
        if operator in VALUES:
            node = VALUES[operator](value.strip(), self._now)
            if positive and isinstance(node, Fact) and (node.name == "aside" or node.value in ("Trash", "Spam")):
                self.aside = True
            return None if isinstance(node, Fact) and node.name == "aside" else node
        words = words_of(value, COLUMNS[operator])
        if operator == "from" and words is not None and _WHOLE_ADDRESS.fullmatch(value):
            # The words of an address are those of a longer one too.
            return Both((words, Fact("address", value.translate(ASCII_LOWER))))
        return words


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
