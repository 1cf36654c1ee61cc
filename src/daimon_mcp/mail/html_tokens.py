"""HTML tokens as a browser splits them (HTML §13.2.5), to put right what libxml2 reads otherwise.

Only whole tags are changed: comments, attribute values and the text of style sheets stay as they are, so that no end
of a comment and no declaration comes to be by leaving something out.
"""

from __future__ import annotations

import re
from itertools import chain

MAX_ATTRIBUTES = 64

# A browser goes on after </body> and </html>, libxml2 stops there. The usual ones, with nothing after them, may stay.
_ENDS = re.compile(r"</(?:body|html)(?=[\s/>])", re.IGNORECASE)
_LAST = re.compile(r"(?:\s|</(?:body|html)\s*+>)*+\Z", re.IGNORECASE)
_SELECT = re.compile(r"<select(?=[\s/>])", re.IGNORECASE)

_VALUE = r"(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|[^\s>\"'][^\s>]*+)"
_ATTRIBUTE = rf"(?:=[^\s/>=]*+|[^\s/>=]++)(?:\s*+=\s*+{_VALUE}?+)?+"
_INSIDE = rf"(?:\s++|/(?!>)|{_ATTRIBUTE})*+"
_TOKEN = re.compile(
    r"<!--(?:-?>|.*?(?:--!?>|\Z))"
    rf"|<(?P<raw>style|script|title|textarea|xmp|iframe|noembed|noframes)(?=[\s/>])(?P<head>{_INSIDE})/?(?:>|\Z)"
    r"(?P<text>.*?(?:(?=</(?P=raw)[\s/>])|\Z))"
    rf"|<(?P<end>/?)(?P<name>[a-zA-Z][^\s/>]*+)(?P<inside>{_INSIDE})(?P<slash>/?)(?:>|\Z)"
    r"|<[!?/][^>]*+(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_PART = re.compile(rf"\s++|/|(?P<name>=[^\s/>=]*+|[^\s/>=]++)(?:\s*+=\s*+{_VALUE}?+)?+")
# What hides an element, or says what a rule is about, is kept before anything else.
_FIRST = frozenset({"style", "class", "id", "hidden", "dir", "color", "bgcolor", "name", "type", "popover", "href"})
_CLOSES_SELECT = frozenset({"select", "input", "textarea", "keygen"})
_IN_SELECT = frozenset({"option", "optgroup"})


def needs_repair(source: str, crowded: int) -> bool:
    """Whether there may be anything in it for `repaired` to do; `crowded` is as there."""
    if crowded or "/>" in source:
        return True
    end = _ENDS.search(source)
    if end and not _LAST.match(source, end.start()):
        return True
    return _SELECT.search(source) is not None


def repaired(source: str, crowded: int) -> str:
    """The source without what libxml2 misreads.

    The end tags of the page are left out; `<div/>` opens an element; there are only options in a list to select from;
    with `crowded` a tag has about that many attributes at most, as libxml2 compares each with all others.
    """
    repair = _Repair(crowded)
    return _TOKEN.sub(repair.token, source)


class _Repair:
    def __init__(self, crowded: int) -> None:
        self._crowded = crowded
        self._selecting = False

    def token(self, found: re.Match[str]) -> str:
        if found["raw"]:
            name = found["raw"].lower()
            if self._selecting and name in _CLOSES_SELECT:
                self._selecting = False
            inside = found["head"]
            return f"<{name}{self._cut(inside) if self._crowded else inside}>{found['text']}"
        name = found["name"]
        if name is None:
            return found[0]
        name = name.lower()
        if found["end"]:
            if name in {"body", "html"} or (self._selecting and name not in _IN_SELECT | {"select"}):
                return ""
            if name == "select":
                self._selecting = False
            return found[0]
        before = ""
        if self._selecting:
            if name in _CLOSES_SELECT:
                before, self._selecting = "</select>", False
                if name == "select":
                    return before
            elif name not in _IN_SELECT:
                return ""
        if name == "select":
            self._selecting = True
        inside = found["inside"]
        if self._crowded and len(inside) > 2 * self._crowded:
            inside = self._cut(inside)
        elif not found["slash"] and not before:
            return found[0]
        return f"{before}<{name}{inside} >"

    def _cut(self, inside: str) -> str:
        if len(inside) <= 2 * self._crowded:
            return inside
        kept: dict[str, str] = {}
        others: dict[str, str] = {}
        for part in _PART.finditer(inside):
            name = (part["name"] or "").lower()
            if name in _FIRST:
                kept.setdefault(name, part[0])
            elif name and len(others) < self._crowded:
                others.setdefault(name, part[0])
        return "".join(f" {each}" for each in chain(kept.values(), others.values()))
