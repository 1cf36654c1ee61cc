"""HTML that may be shown to people: what nobody was meant to see is removed first, then what could act or load.

The order matters: a sanitizer drops the styles that hide text and keeps the text, so that it would come to light.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from daimon_mcp.mail.html_cascade import Cascade
from daimon_mcp.mail.html_lines import visible_order
from daimon_mcp.mail.html_links import is_tracker
from daimon_mcp.mail.html_looks import BLOCKS, COLUMNS, Looks, LooksOfPage, collapsed
from daimon_mcp.mail.html_never import NEVER_SEEN, NO_TEXT
from daimon_mcp.mail.html_tree import Tree, parse_tree
from daimon_mcp.mail.sanitize import clean_text

if TYPE_CHECKING:
    from nh3 import Cleaner

    from daimon_mcp.mail.html_tree import Element

MAX_DEPTH: Final = 200  # elements inside one another; what is deeper becomes plain text in the innermost

_TAGS: Final = frozenset(
    {"a", "abbr", "address", "article", "aside", "b", "bdi", "big", "blockquote", "br", "caption", "center", "cite"}
    | {
        "code",
        "col",
        "colgroup",
        "dd",
        "del",
        "details",
        "dfn",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "font",
    }
    | {
        "footer",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "i",
        "ins",
        "kbd",
        "li",
        "main",
        "mark",
        "nav",
        "ol",
    }
    | {
        "p",
        "pre",
        "q",
        "rp",
        "rt",
        "ruby",
        "s",
        "samp",
        "section",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "summary",
    }
    | {"sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "tt", "u", "ul", "var", "wbr"}
)
_BOX: Final = frozenset({"align", "valign", "width", "height", "bgcolor"})
_ATTRIBUTES: Final[dict[str, frozenset[str]]] = {
    "*": frozenset({"style", "dir", "lang", "align"}),
    "a": frozenset({"href"}),
    "font": frozenset({"color", "size", "face"}),
    "table": _BOX | {"border", "cellpadding", "cellspacing"},
    "tr": _BOX,
    "td": _BOX | {"colspan", "rowspan", "nowrap"},
    "th": _BOX | {"colspan", "rowspan", "nowrap"},
    "col": frozenset({"span", "width"}),
    "ol": frozenset({"start", "type"}),
    "ul": frozenset({"type"}),
    "li": frozenset({"value"}),
    "details": frozenset({"open"}),
    "hr": frozenset({"width", "size"}),
}
# None of these can load anything or take text out of its place.
_PROPERTIES: Final = frozenset(
    {"background-color", "color", "font-family", "font-size", "font-style", "font-weight", "line-height", "text-align"}
    | {
        "text-decoration",
        "text-transform",
        "vertical-align",
        "white-space",
        "border-radius",
        "border-collapse",
        "width",
    }
    | {f"{each}-{side}" for each in ("padding", "border") for side in ("top", "right", "bottom", "left")}
    | {"padding", "border", "border-color", "border-style", "border-width", "max-width", "letter-spacing"}
)
_COPIED: Final = (
    "background-color",
    "color",
    "font-size",
    "font-weight",
    "font-family",
    "padding-top",
    "padding-right",
    "padding-bottom",
    "padding-left",
    "border",
    "border-radius",
    "line-height",
)
# A function other than a colour, or what may make one: an own style with it is left out whole.
_FUNCTION: Final = re.compile(r"\\|/\*|(?<!rgb)(?<!rgba)(?<!hsl)(?<!hsla)\(", re.IGNORECASE)

_AMPERSAND: Final = "\ufdd0"


def clean_html(source: str) -> str:
    """A fragment of safe HTML with what a person sees of `source`. Never raises.

    No scripts, forms, ids or classes; nothing is loaded: images are their alternative text in brackets. Links are to
    http, https and mailto, with `rel="noopener noreferrer nofollow"`.
    """
    tree = parse_tree(source)
    if tree is None:
        return ""
    from lxml import etree

    _Remover(tree).remove()
    written = clean_text(etree.tostring(tree.root, encoding="unicode", method="html"))
    # To the cleaner an ampersand is the beginning of a reference, which costs it more than any other character; it gets
    # one that stands for nothing (Unicode 23.7), also in what is of its kind already, and so none of those comes out.
    cleaned = _cleaner().clean(written.replace("&amp;", _AMPERSAND))
    return cleaned.replace(_AMPERSAND, "&amp;").strip()


@cache
def _cleaner() -> Cleaner:
    from nh3 import Cleaner

    return Cleaner(
        tags=set(_TAGS),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        filter_style_properties=set(_PROPERTIES),
        url_relative="deny",
    )


class _Remover:
    """Empties what is hidden and writes what the style sheets say into the elements, as nothing else survives."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._cascade = Cascade(tree)
        self._looks = LooksOfPage(quirks=tree.quirks)
        self._emptied: list[Element] = []
        self._texts: list[tuple[Element, str]] = []
        self._tails: list[tuple[Element, str]] = []
        self._flat: list[tuple[Element, list[str]]] = []
        self._override = False
        self._images: list[tuple[Element, str]] = []
        self._styles: list[tuple[Element, str]] = []

    def remove(self) -> None:
        self._walk()
        for element, style in self._styles:
            element.set("style", style)
        for element, text in self._texts:
            element.text = text
        for element, text in self._tails:
            element.tail = text
        for element, alternative in self._images:
            _empty(element)
            element.tag = "span"
            element.text = alternative
        for element in self._emptied:
            _empty(element)
        for element, pieces in self._flat:
            _empty(element)
            element.text = " ".join(pieces)

    def _walk(self) -> None:
        from lxml import etree

        walk = etree.iterwalk(self._tree.root, events=("start", "end", "comment"))
        stack: list[Looks] = [Looks()]
        stack[0].custom = self._cascade.registered
        skipped = False
        for event, element in walk:
            if event == "start":
                if element.tag in COLUMNS and collapsed(element, self._cascade.declared):
                    stack[-1] = stack[-1].invisible_copy()
                looks = self._start(element, stack[-1])
                skipped = looks is None
                if looks is None:
                    walk.skip_subtree()
                    continue
                stack.append(looks)
                if len(stack) == MAX_DEPTH and len(element):
                    self._flat.append((element, []))
                if element.text:
                    self._text(element.text, element, self._texts, stack, len(stack) >= MAX_DEPTH)
                continue
            if event == "end" and not skipped:
                stack.pop()
            skipped = False
            if element.tail:
                self._text(element.tail, element, self._tails, stack, len(stack) >= MAX_DEPTH)

    def _text(
        self, text: str, element: Element, changed: list[tuple[Element, str]], stack: list[Looks], deep: bool
    ) -> None:
        looks = stack[-1]
        if looks.unseen:
            changed.append((element, ""))
            return
        if looks.reverse or self._override or not text.isascii():
            shown, self._override, met = visible_order(text, reverse=looks.reverse, override=self._override)
            if met:
                text = shown
                changed.append((element, text))
        if deep and self._flat:
            self._flat[-1][1].append(text)

    def _start(self, element: Element, outer: Looks) -> Looks | None:
        """The looks of an element that stays; None for one that is emptied."""
        tag: str = element.tag
        if tag in BLOCKS:
            self._override = False
        hosts = self._tree.hosts
        if tag in NO_TEXT or tag in NEVER_SEEN or (hosts and element in hosts):
            self._emptied.append(element)
            return None
        css = self._cascade.declared(element)
        looks = self._looks.of(outer, element, css) if tag != "br" else outer
        if looks.hidden:
            self._emptied.append(element)
            return None
        if tag == "img":
            alternative = " ".join((element.get("alt") or "").split())[:300]
            shown = alternative and not looks.unseen and not is_tracker(element, css, hidden=False)
            self._images.append((element, f"[{alternative}]" if shown else ""))
            return None
        own = element.get("style") or ""
        if css or own:
            copied = [f"{name}:{css[name]}" for name in _COPIED if name in css and "(" not in css[name]]
            if looks.ground is None:
                copied.append("color:inherit")  # its picture will not be there, and white would be on white
            if own and _FUNCTION.search(own):
                own = ""
            self._styles.append((element, ";".join([own, *copied])))
        return looks


def _empty(element: Element) -> None:
    element.clear(keep_tail=True)  # pyright: ignore[reportCallIssue]
