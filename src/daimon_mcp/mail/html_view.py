"""What a person sees of an HTML mail, as plain data: lines with their looks, anchors, and what was hidden.

Made by `html_render.render_html`; read by the reply rules, the code finder and the link finder.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch `[start:end)` of a line that looks different from running text.

    `size` is the computed font size in px; `marked` says that a class or id calls it a code, an OTP, a PIN or a token;
    `struck` that a line goes through it.
    """

    start: int
    end: int
    size: float
    bold: bool
    monospace: bool
    spaced: bool
    heading: bool
    marked: bool
    struck: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One visible line, clean (sanitize.py), without quote marks.

    `quoted` is the depth of blockquotes around it. `zone` is `quote` inside markup that mail programs write around what
    is quoted (also the attribution they put there), `signature` inside their signature markup, else empty.
    `anchors` are `(start, end, index)`: the stretch of text that is the anchor of that index.
    """

    text: str
    quoted: int = 0
    zone: str = ""
    spans: tuple[Span, ...] = ()
    anchors: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Anchor:
    """An `<a href>` with a URL one can follow (http, https, mailto, tel), entity-decoded and otherwise verbatim.

    `label` is its visible text, for an image its alt text. `line` is the index of the line it starts in, -1 when
    nothing of it can be seen. `button` says that it looks like one.
    """

    url: str
    label: str
    line: int
    visible: bool
    button: bool
    image_only: bool


@dataclass(frozen=True, slots=True)
class HiddenText:
    """Words in the markup that nobody sees, at most 300 characters of them, and how they were hidden.

    `how` is one of: display, visibility, opacity, size, colour, off_screen, clip, attribute, comment, element, unicode.
    `preheader` marks the usual hidden first block that mail programs show beside the subject.
    """

    text: str
    how: str
    preheader: bool = False


@dataclass(frozen=True, slots=True)
class HtmlView:
    """A whole HTML body as it is seen."""

    lines: tuple[Line, ...]
    anchors: tuple[Anchor, ...]
    hidden: tuple[HiddenText, ...]
    hidden_chars: int
    images: int
    trackers: int
    warnings: tuple[str, ...] = ()

    def text(self, *, numbered: bool = False, numbers: dict[str, int] | None = None) -> str:
        """All lines, quotes as `> `; `numbered` adds ` [n]` after each anchor, n counting distinct URLs from 1.

        `numbers` are the URLs that have one from the parts before; those of this part are added to it.
        """
        numbers = {} if numbers is None else numbers
        for anchor in self.anchors:
            numbers.setdefault(anchor.url, len(numbers) + 1)
        written: list[str] = []
        for line in self.lines:
            text = line.text
            if numbered and line.anchors:
                pieces: list[str] = []
                place = 0
                for _, end, index in line.anchors:
                    anchor = self.anchors[index]
                    if anchor.label != anchor.url:
                        pieces += text[place:end], f" [{numbers[anchor.url]}]"
                        place = max(place, end)
                text = "".join(pieces) + text[place:]
            if line.quoted:
                text = f"{'>' * line.quoted} {text}".rstrip()
            written.append(text)
        return "\n".join(written)
