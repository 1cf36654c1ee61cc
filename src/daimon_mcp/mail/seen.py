"""All stretches of a message's body as one view: what a person sees of it, for every rule that reads it."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from daimon_mcp.mail.html_render import Budget, render_html
from daimon_mcp.mail.html_view import Anchor, HiddenText, HtmlView, Line
from daimon_mcp.mail.replies import lines_of
from daimon_mcp.mail.sanitize import clean_text

MAX_TEXT = 1_000_000
MAX_HTML = 2_000_000
MAX_HTML_PARTS = 100
"""HTML parts of a mail that are read; people send a few."""
MAX_ANCHORS = 5_000

_WORD = re.compile(r"\w{2,40}")
_RULER = re.compile(r"[\s*_=~#–—-]{2,}")
_LEAST_WORDS = 10  # fewer say nothing about whether two texts are the same
_SAME = 0.5


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
    text/plain part and the HTML beside it hold other words. `unseen` are the lines, by index, that only a text/plain
    part has although there is HTML beside it, without a word (pictures, nothing) or one of too many: no person sees
    them, so nothing in them may ask for anything.
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
    unseen: frozenset[int] = frozenset()


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
        self._budget = Budget()  # one for all parts: many small sheets cost no more than a large one
        self._parts_left = MAX_HTML_PARTS
        self._numbers: dict[str, int] = {}
        self._unseen: set[int] = set()
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
        if len(stretch.html) > self._room or not self._parts_left:
            self._warnings["html was cut"] = None
        if not self._parts_left:
            self._append_unseen(plain)
            return
        self._parts_left -= 1
        source = stretch.html[: self._room]
        self._room -= len(source)
        self._rich.append(source)
        view = self._within_room(render_html(source, self._budget))
        self._hidden += view.hidden
        self._hidden_chars += view.hidden_chars
        self._images += view.images
        self._trackers += view.trackers
        for warning in view.warnings:
            self._warnings[warning] = None
        if not any(line.text for line in view.lines):
            self._append_view(view)  # its pictures may be links
            self._append_unseen(plain)
        elif plain.strip() and not view.anchors and _is_the_same(plain, view):
            # The plain form has its writer's own line breaks.
            self._append(plain, lines_of(plain))
        else:
            if plain.strip() and not _same_words(plain, view):
                self._mismatch = True
            self._append_view(view)

    def _append(self, text: str, lines: Iterable[Line]) -> None:
        if text.strip():
            self._part()
            self._texts.append(text)
            self._lines += lines

    def _append_unseen(self, plain: str) -> None:
        """Adds the plain form beside HTML that shows no words: it may say what it likes, nobody would know."""
        first = len(self._lines)
        self._append(plain, lines_of(plain))
        self._unseen.update(range(first, len(self._lines)))
        self._mismatch = self._mismatch or bool(plain.strip())

    def _within_room(self, view: HtmlView) -> HtmlView:
        """The view with as many of its anchors as the mail may still have; the text of the others stays."""
        room = MAX_ANCHORS - len(self._anchors)
        if len(view.anchors) >= room and view.anchors:
            self._warnings["links were cut"] = None
        if len(view.anchors) <= room:
            return view
        lines = tuple(
            replace(line, anchors=tuple(each for each in line.anchors if each[2] < room)) if line.anchors else line
            for line in view.lines
        )
        return replace(view, lines=lines, anchors=view.anchors[:room])

    def _append_view(self, view: HtmlView) -> None:
        if any(line.text for line in view.lines):
            self._part()
        first_line, first_anchor = len(self._lines), len(self._anchors)
        for line in view.lines:
            moved = tuple((start, end, index + first_anchor) for start, end, index in line.anchors)
            self._lines.append(replace(line, anchors=moved) if moved and first_anchor else line)
        for anchor in view.anchors:
            self._anchors.append(replace(anchor, line=anchor.line + first_line) if anchor.line >= 0 else anchor)
        # Numbers go through all of the body.
        self._texts.append(view.text(numbered=True, numbers=self._numbers))

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
            unseen=frozenset(self._unseen),
        )


def _is_the_same(plain: str, view: HtmlView) -> bool:
    """Whether the plain form is the view but for white space, and tells quotes and rulers apart as the view does.

    All of it is compared, character by character: what differs is a text that nobody sees.
    """
    lines = lines_of(plain)
    return _squeezed(lines) == _squeezed(view.lines) and (
        _squeezed(line for line in lines if line.quoted) == _squeezed(line for line in view.lines if line.quoted)
        and _rulers(lines) == _rulers(view.lines)
    )


def _squeezed(lines: Iterable[Line]) -> str:
    return "".join("".join(line.text.split()) for line in lines)


def _rulers(lines: Iterable[Line]) -> list[str]:
    """The lines of marks alone, which part a text from its signature or from what it quotes."""
    return ["".join(line.text.split()) for line in lines if _RULER.fullmatch(line.text)]


def _same_words(plain: str, view: HtmlView) -> bool:
    """Whether at least half of the words of the plain form are in what is seen; URLs count in neither."""
    words = _counted(plain)
    total = words.total()
    if total < _LEAST_WORDS:
        return True
    known = _counted("\n".join(line.text for line in view.lines))
    return (words & known).total() >= _SAME * total


def _counted(text: str) -> Counter[str]:
    told = " ".join(word for word in text.casefold().split() if "://" not in word and "@" not in word)
    return Counter(_WORD.findall(told))
