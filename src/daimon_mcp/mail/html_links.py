"""Anchors and images as a person meets them: what can be followed, what looks like a button, what only tracks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from daimon_mcp.mail.html_tree import is_element
from daimon_mcp.mail.html_values import length
from daimon_mcp.mail.html_view import Anchor
from daimon_mcp.mail.sanitize import clean_line, clean_text

if TYPE_CHECKING:
    from daimon_mcp.mail.html_looks import Looks
    from daimon_mcp.mail.html_tree import Element

MAX_URL: Final = 8192
MAX_ANCHORS: Final = 5000
MAX_LABEL: Final = 500

_FOLLOWABLE: Final = re.compile(r"(?:https?:[/\\]*|mailto:|tel:)\S", re.IGNORECASE)
_IN_URL: Final = re.compile(r"[\t\r\n]")
_AROUND: Final = "".join(map(chr, range(0x21)))
_BUTTON_NAME: Final = re.compile(r"(?<![a-z])(?:btn|button|cta)(?![a-z])|(?:btn|button|cta)(?:\b|_)", re.IGNORECASE)
_TRACKER: Final = re.compile(
    r"/(?:wf/open|track/open|trk/open|e/o|o\.gif|open\.(?:php|aspx|gif)|pixel(?:\.\w{3,4})?|beacon|t\.gif|1x1\.\w{3,4})(?:[/?]|\Z)"
    r"|[/.](?:open-?tracking|email-?open|opentrack)\b|//(?:pixel|beacon|open)\.",
    re.IGNORECASE,
)
_SIDES: Final = ("top", "right", "bottom", "left")


@dataclass(slots=True)
class DraftAnchor:
    """An anchor while its document is still read; `line` is the index it would start in."""

    url: str
    line: int
    button: bool
    seen: bool = False
    picture: bool = False
    text: list[str] = field(default_factory=list)
    alternative: list[str] = field(default_factory=list)

    def finish(self, line: int) -> Anchor:
        text = clean_line("".join(self.text))[:MAX_LABEL]
        image_only = self.picture and not text
        visible = self.seen or image_only
        label = text or clean_line(" ".join(self.alternative))[:MAX_LABEL]
        return Anchor(self.url, label, line if visible else -1, visible, self.button, image_only)


def followable(href: str | None) -> str:
    """The URL of an href that can be followed, trimmed as browsers do; empty for others."""
    if not href or len(href) > MAX_URL:
        return ""
    url = href.strip(_AROUND)
    if "\n" in url or "\r" in url or "\t" in url:
        url = _IN_URL.sub("", url)
    return clean_text(url) if _FOLLOWABLE.match(url) else ""


def is_button(element: Element, css: dict[str, str], looks: Looks, outside: Looks) -> bool:
    """Whether an anchor, or what fills it, looks like a button by its name or its box."""
    names = f"{element.get('class') or ''} {element.get('id') or ''} {element.get('role') or ''}"
    if names != "  " and _BUTTON_NAME.search(names[:300]):
        return True
    if element.tag == "button":
        return True
    if not css:
        return False
    filled = looks.ground != outside.ground and ("background-color" in css or "background-image" in css)
    padded = sum((length(css.get(f"padding-{side}", ""), looks.size, 100.0) or 0.0) > 0 for side in _SIDES) >= 2
    rounded = (length(css.get("border-radius", "").partition(" ")[0]) or 0.0) > 0
    bordered = css.get("border", "none").partition(" ")[0] not in {"none", "0", "0px", "initial"}
    if padded:
        return filled or rounded or bordered
    return filled and (rounded or css.get("display") in {"block", "inline-block"})


def fills(element: Element) -> Element | None:
    """The cell or block whose only content is this element; None when there is more in it."""
    inner = element
    for _ in range(5):
        outer = inner.getparent()
        if outer is None or (inner.tail and inner.tail.strip()) or (outer.text and outer.text.strip()):
            return None
        # A sibling count would be a walk over all of them (lxml keeps none), for each of thousands of links.
        if sum(1 for each in islice(outer, 4) if is_element(each) and each.tag != "br") != 1 or _crowded(inner):
            return None
        if outer.tag in {"td", "th"}:
            return outer
        inner = outer
    return None


def _crowded(element: Element) -> bool:
    """Whether another element than a line break, or more than three siblings, follow."""
    after = list(islice(element.itersiblings(), 4))
    return len(after) > 3 or any(is_element(each) and each.tag != "br" for each in after)


def is_tracker(element: Element, css: dict[str, str], *, hidden: bool) -> bool:
    """Whether an image is there to be fetched and not to be seen: two px at most, hidden, or a known kind of URL."""
    source = element.get("src") or ""
    if hidden:
        return source[:4].lower() == "http"
    for name in ("width", "height"):
        for value in (element.get(name), css.get(name)):
            px = length(value.strip().lower(), 16.0, 1000.0) if value else None
            if px is not None and px <= 2:
                return True
    return _TRACKER.search(source[:2000]) is not None
