"""HTML to what a person sees: lines, their looks, the anchors, and a report of what was hidden.

The tree is lxml's (html_tree.py), the cascade is our own (html_cascade.py): a library that resolves style sheets
recurses or runs as long as a stranger wishes. Never raises; takes time linear in the source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from daimon_mcp.mail.html_cascade import Cascade
from daimon_mcp.mail.html_hidden import HiddenReport
from daimon_mcp.mail.html_lines import Flow, visible_order
from daimon_mcp.mail.html_links import MAX_ANCHORS, DraftAnchor, fills, followable, is_button, is_tracker
from daimon_mcp.mail.html_looks import BLOCKS, COLUMNS, Looks, LooksOfPage, collapsed, display_of
from daimon_mcp.mail.html_never import NEVER_SEEN, NO_TEXT
from daimon_mcp.mail.html_selectors import Budget
from daimon_mcp.mail.html_tree import parse_tree
from daimon_mcp.mail.html_view import Anchor, HtmlView
from daimon_mcp.mail.html_zones import is_indentation, zone_of

if TYPE_CHECKING:
    from daimon_mcp.mail.html_tree import Element, Tree

__all__ = ("Budget", "render_html")

MAX_QUOTES: Final = 20
_SPACED: Final = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "dl", "pre", "hr"})
_INLINE: Final = frozenset({"inline", "inline-block", "inline-flex", "inline-grid", "contents", "ruby", "inline-table"})


def render_html(source: str, budget: Budget | None = None) -> HtmlView:
    """What a person sees of `source`. All parts of one mail may share one `budget` for their style sheets."""
    tree = parse_tree(source)
    if tree is None:
        return HtmlView((), (), (), 0, 0, 0)
    return _Renderer(tree, budget).render()


class _Frame:
    """An open element: what its end has to undo."""

    __slots__ = ("anchor", "block", "gap", "looks", "number", "quoted", "row", "tag", "zone")

    def __init__(self, tag: str, looks: Looks, anchor: int, quoted: int, zone: str) -> None:
        self.tag = tag
        self.looks = looks
        self.anchor = anchor
        self.quoted = quoted
        self.zone = zone
        self.block = False
        self.gap = False
        self.row = False
        self.number = -1  # of the next item of an ordered list


class _Renderer:
    def __init__(self, tree: Tree, budget: Budget | None) -> None:
        self._tree = tree
        self._cascade = Cascade(tree, budget)
        self._hosts = tree.hosts
        self._looks = LooksOfPage(quirks=tree.quirks)
        self._flow = Flow()
        self._hidden = HiddenReport()
        self._anchors: list[DraftAnchor] = []
        self._images = 0
        self._trackers = 0
        self._override = False
        self._turned = False
        self._rest = ""
        looks = Looks()
        looks.custom = self._cascade.registered
        self._frames: list[_Frame] = [_Frame("", looks, -1, 0, "")]
        self._lists = 0

    def render(self) -> HtmlView:
        from lxml import etree

        walk = etree.iterwalk(self._tree.root, events=("start", "end", "comment"))
        frames = self._frames
        skipped = False
        for event, element in walk:
            if event == "start":
                skipped = self._start(element)
                if skipped:
                    walk.skip_subtree()
                elif element.text:
                    self._text(element.text)
            else:
                if event == "comment":
                    self._hidden.comment(element.text or "")
                elif skipped:
                    skipped = False
                else:
                    self._end(frames.pop())
                if element.tail and element is not self._tree.root:
                    self._text(element.tail)
        return self._finish()

    def _text(self, text: str) -> None:
        frame = self._frames[-1]
        looks = frame.looks
        if looks.unseen:
            if not text.isspace():
                self._hidden.add(text, looks.unseen)
            return
        if not text.isascii():
            self._hidden.unicode(text)
        if looks.reverse or self._override or not text.isascii():
            text, self._override, met = visible_order(text, reverse=looks.reverse, override=self._override)
            self._turned = self._turned or met
        added = self._flow.put(text, looks, frame.anchor)
        if added:
            seen = not added.isspace()
            if seen:
                self._hidden.visible(len(added))
            if frame.anchor >= 0:
                anchor = self._anchors[frame.anchor]
                if seen and not anchor.seen:
                    anchor.seen, anchor.line = True, len(self._flow.lines)
                anchor.text.append(added)

    def _start(self, element: Element) -> bool:
        """Opens an element; whether what is in it is to be left out, and there is no frame for it."""
        tag: str = element.tag
        frame = self._frames[-1]
        if tag == "br":
            if not frame.looks.unseen:
                self._space_in_label(frame)
                self._flow.break_line()
                self._override = False
            if element.text or len(element):
                self._frames.append(_Frame(tag, frame.looks, frame.anchor, frame.quoted, frame.zone))
                return False
            return True
        if tag in NO_TEXT:
            if tag in COLUMNS and collapsed(element, self._cascade.declared):
                frame.looks = frame.looks.invisible_copy()
            return True
        if self._hosts and element in self._hosts:
            self._hide(element, "element")
            return True
        if tag in NEVER_SEEN or (frame.looks.summary is not None and tag != "summary"):
            self._hide(element, "element")
            return True
        css = self._cascade.declared(element)
        if tag == "img":
            self._image(element, css, frame)
            return True
        looks = self._looks.of(frame.looks, element, css)
        if looks.hidden:
            self._hide(element, looks.hidden)
            return True
        opened = _Frame(tag, looks, frame.anchor, frame.quoted, self._rest or frame.zone)
        display = display_of(tag, css)
        if display not in _INLINE or (tag in BLOCKS and display != "inline"):
            self._block(opened, element, tag, display)
        self._frames.append(opened)
        if opened.zone != "quote" and len(element.attrib):
            self._zone(opened, element)
        if tag == "a":
            self._anchor(opened, element, css, frame.looks)
        elif frame.anchor >= 0 and frame.tag == "a" and is_button(element, css, looks, frame.looks):
            self._anchors[frame.anchor].button = True
        return False

    def _block(self, opened: _Frame, element: Element, tag: str, display: str) -> None:
        flow = self._flow
        self._override = False
        if opened.anchor >= 0:
            self._space_in_label(opened)
        opened.block = True
        opened.gap = tag in _SPACED and not (tag in {"ul", "ol"} and self._lists)
        if display == "table-row":
            opened.row = True
            flow.open_row()
        elif display == "table-cell":
            flow.open_cell()
        else:
            flow.block(gap=opened.gap)
        if tag == "blockquote" and opened.quoted < MAX_QUOTES and not is_indentation(element):
            opened.quoted += 1
        elif tag in {"ul", "ol"}:
            self._lists += 1
            if tag == "ol":
                start = (element.get("start") or "1").strip()
                opened.number = int(start) if start.isdecimal() and len(start) < 7 else 1
        elif tag == "li" and opened.looks.markers:
            self._item()
        flow.quoted, flow.zone = opened.quoted, opened.zone

    def _item(self) -> None:
        outer = self._frames[-1]
        indent = "  " * min(max(self._lists - 1, 0), 10)
        if outer.number >= 0:
            self._flow.marker = f"{indent}{outer.number}. "
            outer.number += 1
        else:
            self._flow.marker = f"{indent}- "

    def _end(self, frame: _Frame) -> None:
        if not frame.block:
            return
        flow = self._flow
        self._override = False
        if frame.anchor >= 0:
            self._space_in_label(frame)
        if frame.row:
            flow.close_row()
        else:
            flow.block(gap=frame.gap)
        if frame.tag in {"ul", "ol"}:
            self._lists -= 1
        elif frame.tag == "li":
            flow.marker = ""
        outer = self._frames[-1]
        flow.quoted, flow.zone = outer.quoted, self._rest or outer.zone
        if self._rest:
            outer.zone = self._rest

    def _zone(self, opened: _Frame, element: Element) -> None:
        zone = zone_of(element)
        if not zone:
            return
        self._flow.block()
        if zone == "rest":
            self._rest = zone = "quote"
        opened.zone = self._flow.zone = zone
        if not opened.block:
            opened.block = True  # so that its end restores the zone

    def _anchor(self, opened: _Frame, element: Element, css: dict[str, str], outside: Looks) -> None:
        opened.anchor = -1
        url = followable(element.get("href"))
        if not url or len(self._anchors) >= MAX_ANCHORS:
            return
        button = is_button(element, css, opened.looks, outside) or self._fills_coloured_cell(element)
        opened.anchor = len(self._anchors)
        self._anchors.append(DraftAnchor(url, len(self._flow.lines), button))

    def _fills_coloured_cell(self, element: Element) -> bool:
        cell = fills(element)
        if cell is None:
            return False
        for above in range(len(self._frames) - 2, 0, -1):
            frame = self._frames[above]
            if frame.tag == cell.tag:
                return frame.looks.ground != self._frames[above - 1].looks.ground
            if above < len(self._frames) - 7:
                break
        return False

    def _space_in_label(self, frame: _Frame) -> None:
        if frame.anchor >= 0:
            self._anchors[frame.anchor].text.append(" ")

    def _image(self, element: Element, css: dict[str, str], frame: _Frame) -> None:
        looks = self._looks.of(frame.looks, element, css) if css else frame.looks
        hidden = bool(looks.hidden) or looks.invisible or looks.alpha < 0.06
        if is_tracker(element, css, hidden=hidden):
            self._trackers += 1
        else:
            self._images += 1
            if frame.anchor >= 0 and not hidden:
                anchor = self._anchors[frame.anchor]
                anchor.picture = True
                if element.get("alt"):
                    anchor.alternative.append((element.get("alt") or "")[:500])

    def _hide(self, element: Element, how: str) -> None:
        """Reports what is in an element that nobody sees, and lists its anchors as invisible ones."""
        for inner in element.iter("*"):
            tag = inner.tag
            if tag in NO_TEXT:
                if inner is not element and inner.tail:
                    self._hidden.add(inner.tail, how)
                continue
            if tag == "img":
                if is_tracker(inner, {}, hidden=True):
                    self._trackers += 1
            elif tag == "a" and len(self._anchors) < MAX_ANCHORS and (url := followable(inner.get("href"))):
                label = inner.text or (inner[0].text if len(inner) else None) or ""
                self._anchors.append(DraftAnchor(url, -1, button=False, text=[label[:500]]))
            if inner.text:
                self._hidden.add(inner.text, how)
            if inner is not element and inner.tail:
                self._hidden.add(inner.tail, how)
        self._hidden.close()

    def _finish(self) -> HtmlView:
        lines = self._flow.finish()
        places: dict[int, int] = {}
        for index, line in enumerate(lines):
            for _, _, anchor in line.anchors:
                places.setdefault(anchor, index)
        last = len(lines) - 1
        anchors: list[Anchor] = [
            draft.finish(places.get(index, min(draft.line, last))) for index, draft in enumerate(self._anchors)
        ]
        warnings: list[str] = []
        if self._cascade.degraded:
            self._hidden.unknown("whatever only the style sheets hide: they were too complex to be read")
            warnings.append("the style sheets were too complex to be read: text that only they hide may be in the text")
        if self._tree.cut:
            warnings.append("the HTML is nested too deeply or too long: its end is missing")
        if self._turned:
            warnings.append("text whose direction is overridden is given in the order in which it is seen")
        return HtmlView(
            tuple(lines),
            tuple(anchors),
            self._hidden.entries(),
            self._hidden.characters,
            self._images,
            self._trackers,
            tuple(warnings),
        )
