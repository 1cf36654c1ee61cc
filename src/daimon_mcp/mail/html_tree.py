"""A stranger's HTML as an lxml tree: the shapes that libxml2 reads otherwise than a browser are put right first.

Nothing is loaded from anywhere. Depth and attributes are bounded, so that parsing takes time linear in the input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daimon_mcp.mail.html_tokens import MAX_ATTRIBUTES, needs_repair, repaired

if TYPE_CHECKING:
    from lxml.etree import _Element as Element  # pyright: ignore[reportPrivateUsage]

MAX_CHARACTERS = 4_000_000
CROWDED_FROM = 16_384

# libxml2 ends these where a block or a table begins, and a browser does not: under a name of their own they stay open.
_KEPT = ("a", "b", "i", "u", "tt", "big", "font", "form", "h1", "h2", "h3", "h4", "h5", "h6")
_KEPT_TAG = re.compile(r"<(/?)(a|b|i|u|tt|big|font|form|h[1-6])(?=[\s/>])", re.IGNORECASE)
_PREFIX = re.compile(r"<kept(\d{1,7})-", re.IGNORECASE)
_IN_HEAD = frozenset(
    {"title", "meta", "link", "base", "style", "script", "noscript", "template", "basefont", "bgsound"}
)


def is_element(node: Element) -> bool:
    """False for a comment and whatever else is in a tree without being an element."""
    return isinstance(node.tag, str)  # pyright: ignore[reportUnnecessaryIsInstance]: a function, for a comment


@dataclass(frozen=True, slots=True)
class Tree:
    """The root element, whether a browser would use its quirks mode, and whether the end of the source is missing.

    What is in one of the `hosts` is not shown, because a shadow tree is shown in its place.
    """

    root: Element
    quirks: bool
    cut: bool
    hosts: frozenset[Element] = frozenset()


def parse_tree(source: str) -> Tree | None:
    """The tree of `source`; None when there is no element and no text in it. Never raises."""
    from lxml import etree

    cut = len(source) > MAX_CHARACTERS
    if cut:
        source = source[:MAX_CHARACTERS]
    source = source.replace("\0", "\ufffd")  # as a browser does: were it left out, its neighbours would join
    quirks = "<!doctype" not in source[:2000].lower()
    crowded = MAX_ATTRIBUTES if len(source) > CROWDED_FROM else 0
    if needs_repair(source, crowded):
        source = repaired(source, crowded)
    lowered = source.lower()
    prefix = _unused(lowered)
    source = _keep_open(source, prefix)
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_pis=True, huge_tree=True)
    try:
        root = etree.fromstring(source.encode("utf-8", "replace"), parser)
    except (etree.LxmlError, ValueError):
        return None
    if root is None:  # pyright: ignore[reportUnnecessaryComparison]
        return None
    for element in list(root.iter(*(prefix + name for name in _KEPT))):
        element.tag = element.tag[len(prefix) :]
    _end_head(root)
    last = parser.error_log.last_error
    cut = cut or (last is not None and "depth" in (last.message or "").lower())
    return Tree(root, quirks, cut, _hosts(root) if "shadowrootmode" in lowered else frozenset())


def _unused(source: str) -> str:
    """The beginning of a tag name that nothing in the source has."""
    if "<kept" not in source:
        return "kept0-"
    taken = {int(number) for number in _PREFIX.findall(source)}
    return f"kept{next(number for number in range(len(taken) + 1) if number not in taken)}-"


def _keep_open(source: str, prefix: str) -> str:
    inside = False

    def renamed(found: re.Match[str]) -> str:
        nonlocal inside
        end, name = found[1], found[2].lower()
        if name != "a":
            return f"<{end}{prefix}{name}"
        before = f"</{prefix}a>" if inside and not end else ""  # an anchor ends the one before it
        inside = not end
        return f"{before}<{end}{prefix}a"

    return _KEPT_TAG.sub(renamed, source)


def _end_head(root: Element) -> None:
    """Moves into the body what a browser would not take into the head, where libxml2 leaves tags it does not know."""
    from lxml import etree

    head = root.find("head")
    if head is None:
        return
    moved: list[Element] = []
    for child in head:
        if moved or (is_element(child) and child.tag not in _IN_HEAD):
            moved.append(child)
    if not moved:
        return
    body = root.find("body")
    if body is None:
        body = etree.SubElement(root, "body")
    first = etree.Element("p")
    body.insert(0, first)
    first.tail, body.text = body.text, None
    for child in moved:
        first.addprevious(child)  # with its tail
    before = first.getprevious()
    if first.tail and before is not None:
        before.tail = (before.tail or "") + first.tail
        first.tail = None
    body.remove(first)


def _hosts(root: Element) -> frozenset[Element]:
    found: set[Element] = set()
    for template in root.iter("template"):
        parent = template.getparent()
        if parent is not None and (template.get("shadowrootmode") or "").lower() in {"open", "closed"}:
            found.add(parent)
    return frozenset(found)
