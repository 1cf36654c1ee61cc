"""A stranger's HTML as an lxml tree: the shapes that libxml2 reads otherwise than a browser are put right first.

Nothing is loaded from anywhere. Depth and attributes are bounded, so that parsing takes time linear in the input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element as Element  # pyright: ignore[reportPrivateUsage]

MAX_CHARACTERS = 4_000_000
MAX_ATTRIBUTES = 64
CROWDED_FROM = 16_384

# A browser goes on after </body> and </html>, libxml2 stops there.
_ENDS = re.compile(r"</(?:body|html)\s*+>", re.IGNORECASE)
# For a browser <div/> opens an element, for libxml2 it is an empty one: what follows would lose its style.
_SELF_CLOSED = re.compile(r"<([a-zA-Z][a-zA-Z0-9:]*+)/>")
_SLASHES = ('"/>', "'/>", " />", "\t/>", "\n/>")
_ATTRIBUTE = r"[\s/]++[^\s/>=][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s>\"'][^\s>]*+))?"
_CROWDED = re.compile(rf"(<[a-zA-Z][^\s/>]*+(?:{_ATTRIBUTE}){{{MAX_ATTRIBUTES}}})[^>]*+")


def is_element(node: Element) -> bool:
    """False for a comment and whatever else is in a tree without being an element."""
    return isinstance(node.tag, str)  # pyright: ignore[reportUnnecessaryIsInstance]: a function, for a comment


@dataclass(frozen=True, slots=True)
class Tree:
    """The root element, whether a browser would use its quirks mode, and whether the end of the source is missing."""

    root: Element
    quirks: bool
    cut: bool


def parse_tree(source: str) -> Tree | None:
    """The tree of `source`; None when there is no element and no text in it. Never raises."""
    from lxml import etree

    cut = len(source) > MAX_CHARACTERS
    if cut:
        source = source[:MAX_CHARACTERS]
    source = source.replace("\0", "")
    quirks = "<!doctype" not in source[:2000].lower()
    source = _ENDS.sub("", source)
    if "/>" in source:
        source = _SELF_CLOSED.sub(r"<\1>", source)
        for slash in _SLASHES:
            source = source.replace(slash, slash[0] + ">")
    if len(source) > CROWDED_FROM:  # libxml2 compares each attribute of a tag with all others
        source = _CROWDED.sub(r"\1", source)
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_pis=True, huge_tree=True)
    try:
        root = etree.fromstring(source.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError):
        return None
    if root is None:  # pyright: ignore[reportUnnecessaryComparison]
        return None
    last = parser.error_log.last_error
    cut = cut or (last is not None and "depth" in (last.message or "").lower())
    return Tree(root, quirks, cut)
