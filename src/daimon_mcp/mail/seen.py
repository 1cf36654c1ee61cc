"""All stretches of a message's body as one view: what a person sees of it, for every rule that reads it."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from daimon_mcp.mail.html_render import render_html
from daimon_mcp.mail.html_view import Anchor, HiddenText, HtmlView, Line
from daimon_mcp.mail.replies import lines_of
from daimon_mcp.mail.sanitize import clean_text

MAX_TEXT = 1_000_000
MAX_HTML = 2_000_000

_WORDS = re.compile(r"\w+")
_WORD = re.compile(r"\w{2,40}")
_URL = re.compile(r"\S{0,20}://\S+|\S+@\S+")
_LEAST_WORDS = 10  # fewer say nothing about whether two texts are the same
_SAME = 0.5
_COMPARED = 200_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch of the body: its plain form, its HTML form, or both (multipart/alternative)."""

    plain: str | None = None
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The body as it is seen.

    `text` has `[n]` after each anchor, n counting distinct URLs; `plain` is what the text/plain parts said; `html` is
    the decoded, unsafe HTML of all parts, or None. `anchors` is None when there is no HTML. `alt_mismatch` says that a
    text/plain part and the HTML beside it hold other words.
    """

    text: str
    plain: str
    html: str | None
    lines: tuple[Line, ...]
    anchors: tuple[Anchor, ...] | None
    hidden: tuple[HiddenText, ...]
    hidden_chars: int
    images: int
    trackers: int
    alt_mismatch: bool
    warnings: tuple[str, ...]


def see(stretches: Iterable[Stretch]) -> Seen:
    """Put the stretches of a body together. HTML is what people see, so it goes before the plain form beside it."""
    whole = _Whole()
    for stretch in stretches:
        whole.add(stretch)
    return whole.finish()


class _Whole:
    def __init__(self) -> None:
        self._texts: list[str] = []
        self._plain: list[str] = []
        self._rich: list[str] = []
        self._lines: list[Line] = []
        self._anchors: list[Anchor] = []
        self._hidden: list[HiddenText] = []
        self._hidden_chars = self._images = self._trackers = 0
        self._has_html = self._mismatch = False
        self._room = MAX_HTML
        self._warnings: dict[str, None] = {}

    def add(self, stretch: Stretch) -> None:
        if stretch.plain is not None and len(stretch.plain) > MAX_TEXT:
            self._warnings["text was cut"] = None
        plain = clean_text((stretch.plain or "")[:MAX_TEXT]).strip("\n").rstrip()
        if plain.strip():
            self._plain.append(plain)
        if stretch.html is None:
            self._rich.append(f"<pre>{html.escape((stretch.plain or '')[:MAX_TEXT])}</pre>")
            self._append(plain, lines_of(plain))
            return
        self._has_html = True
        if len(stretch.html) > self._room:
            self._warnings["html was cut"] = None
        source = stretch.html[: self._room]
        self._room -= len(source)
        self._rich.append(source)
        view = render_html(source)
        self._hidden += view.hidden
        self._hidden_chars += view.hidden_chars
        self._images += view.images
        self._trackers += view.trackers
        for warning in view.warnings:
            self._warnings[warning] = None
        seen = view.text()
        if plain.strip() and (not seen.strip() or (not view.anchors and _words(plain) == _words(seen))):
            # All of it is in pictures; or it is the same, and the plain form has its writer's own line breaks.
            self._append(plain, lines_of(plain))
            return
        if plain.strip() and not _same_words(plain, seen):
            self._mismatch = True
        self._append_view(view)

    def _append(self, text: str, lines: Iterable[Line]) -> None:
        if text.strip():
            self._part()
            self._texts.append(text)
            self._lines += lines

    def _append_view(self, view: HtmlView) -> None:
        if any(line.text for line in view.lines):
            self._part()
        first_line, first_anchor = len(self._lines), len(self._anchors)
        for line in view.lines:
            moved = tuple((start, end, index + first_anchor) for start, end, index in line.anchors)
            self._lines.append(replace(line, anchors=moved) if moved and first_anchor else line)
        for anchor in view.anchors:
            self._anchors.append(replace(anchor, line=anchor.line + first_line) if anchor.line >= 0 else anchor)
        # Numbers go through all of the body; where there is one HTML part, as nearly always, they are its own.
        numbered = view if not first_anchor else self._as_view(first_line)
        self._texts.append(numbered.text(numbered=True))

    def _as_view(self, first_line: int) -> HtmlView:
        return HtmlView(tuple(self._lines[first_line:]), tuple(self._anchors), (), 0, 0, 0)

    def _part(self) -> None:
        if self._lines:
            self._lines.append(Line(""))

    def finish(self) -> Seen:
        text = "\n\n".join(each for each in (text.strip("\n").rstrip() for text in self._texts) if each)
        if len(text) > MAX_TEXT:
            self._warnings["text was cut"] = None
        rich = "\n".join(self._rich).replace("\x00", "")[:MAX_HTML] if self._has_html else None
        return Seen(
            text=text[:MAX_TEXT],
            plain="\n\n".join(self._plain)[:MAX_TEXT],
            html=rich,
            lines=tuple(self._lines),
            anchors=tuple(self._anchors) if self._has_html else None,
            hidden=tuple(self._hidden),
            hidden_chars=self._hidden_chars,
            images=self._images,
            trackers=self._trackers,
            alt_mismatch=self._mismatch,
            warnings=tuple(self._warnings),
        )


def _words(text: str) -> list[str]:
    return _WORDS.findall(text[:_COMPARED].casefold())


def _same_words(plain: str, seen: str) -> bool:
    """Whether at least half of the words of the plain form are in what is seen; URLs count in neither."""
    words = Counter(_WORD.findall(_URL.sub(" ", plain[:_COMPARED]).casefold()))
    total = words.total()
    if total < _LEAST_WORDS:
        return True
    known = Counter(_WORD.findall(_URL.sub(" ", seen[: 2 * _COMPARED]).casefold()))
    return (words & known).total() >= _SAME * total
