"""Text that flows into lines as a browser would break them: white space collapses, blocks and rows end a line."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from daimon_mcp.mail.html_view import Line, Span
from daimon_mcp.mail.sanitize import clean_text

if TYPE_CHECKING:
    from daimon_mcp.mail.html_looks import Looks

MAX_LINES = 10_000  # after so many, what would be a line of its own goes on the last one
MAX_ROW = 300  # characters of a table row that is written as one line
_RIGHT_TO_LEFT = "\u202e"
_MARKS = re.compile("([\u202e\u202c]+)")


@dataclass(slots=True)
class DraftLine:
    """A line while its document is still read."""

    text: str
    quoted: int
    zone: str
    runs: list[tuple[int, int, Looks]] = field(default_factory=list)
    anchors: list[tuple[int, int, int]] = field(default_factory=list)


class Flow:
    """Takes text, breaks and blocks in document order."""

    def __init__(self) -> None:
        self.lines: list[DraftLine] = []
        self.quoted = 0
        self.zone = ""
        self.marker = ""  # of a list item whose text has not come yet
        self._pieces: list[str] = []
        self._length = 0
        self._space = False
        self._gap = False
        self._runs: list[tuple[int, int, Looks]] = []
        self._anchors: list[tuple[int, int, int]] = []
        self._sizes: Counter[float] = Counter()
        self._rows: list[list[int]] = []

    @property
    def empty(self) -> bool:
        """Whether nothing has been written into the line that is open."""
        return not self._length

    def put(self, text: str, looks: Looks, anchor: int) -> str:
        """Adds the text of one text node; what was added to the line, so that a label can be made of it."""
        if looks.pre and "\n" in text:
            added: list[str] = []
            for number, part in enumerate(text.replace("\r\n", "\n").split("\n", MAX_LINES)):
                if number:
                    self.break_line()
                added.append(self._add(part, looks, anchor))
            return " ".join(added)
        return self._add(text, looks, anchor)

    def _add(self, text: str, looks: Looks, anchor: int) -> str:
        if text.isalnum():  # one word without a space around it
            before, joined, after = False, text, False
        else:
            words = text.split()
            if not words:
                if text and self._length:
                    self._space = True
                return " " if text else ""
            before, after = text[0].isspace(), text[-1].isspace()
            joined = text.expandtabs(4).rstrip() if looks.pre and not self._length else " ".join(words)
        if self.marker and not self._length:
            self._pieces.append(self.marker)
            self._length = len(self.marker)
            self.marker = ""
        elif self._length and (self._space or before):
            self._pieces.append(" ")
            self._length += 1
        self._space = after
        start = self._length
        self._length = end = start + len(joined)
        self._pieces.append(joined)
        self._sizes[looks.size] += end - start
        self._runs.append((start, end, looks))
        if anchor >= 0:
            if self._anchors and self._anchors[-1][2] == anchor:
                start = self._anchors.pop()[0]
            self._anchors.append((start, end, anchor))
        return f"{' ' if before else ''}{joined}{' ' if after else ''}"

    def break_line(self) -> None:
        """A `<br>`: ends the line, and asks for a blank one when there is none to end."""
        if self._length:
            self._end_or_space()
        else:
            self._gap = True

    def block(self, *, gap: bool = False) -> None:
        """The edge of a block: ends the line if there is one; `gap` asks for a blank line."""
        if self._length:
            self._end_or_space()
        if gap:
            self._gap = True

    def _end_or_space(self) -> None:
        if len(self.lines) < MAX_LINES:
            self._end()
        else:
            self._space = True

    def _end(self) -> None:
        if self._gap and self.lines:
            before = self.lines[-1]
            inside = before.zone == self.zone
            self.lines.append(DraftLine("", min(before.quoted, self.quoted), self.zone if inside else ""))
        self._gap = False
        line = DraftLine("".join(self._pieces), self.quoted, self.zone, self._runs, self._anchors)
        self.lines.append(line)
        self._pieces.clear()
        self._runs, self._anchors = [], []
        self._length = 0
        self._space = False

    def open_row(self) -> None:
        """A table row begins."""
        self.block()
        self._rows.append([])

    def open_cell(self) -> None:
        """A cell begins in the row that is open."""
        self.block()
        if self._rows:
            self._rows[-1].append(len(self.lines))

    def close_row(self) -> None:
        """A table row ends: it becomes one line when each of its cells is at most one."""
        self.block()
        starts = self._rows.pop() if self._rows else []
        if len(starts) < 2:
            return
        first = starts[0]
        starts.append(len(self.lines))
        cells: list[DraftLine] = []
        for start, end in pairwise(starts):
            if end - start > 3:
                return
            held = [line for line in self.lines[start:end] if line.text]
            if len(held) > 1:
                return
            cells += held
        if len(cells) < 2 or sum(len(cell.text) for cell in cells) > MAX_ROW:
            return
        if any(cell.zone != cells[0].zone or cell.quoted != cells[0].quoted for cell in cells):
            return
        lead = [self.lines[first]] if not self.lines[first].text else []
        self.lines[first:] = [*lead, _joined(cells)]

    def finish(self) -> list[Line]:
        """All lines, with spans for what does not look like running text."""
        if self._length:
            self._end()
        usual = self._sizes.most_common(1)[0][0] if self._sizes else 0.0
        return [
            Line(line.text, line.quoted, line.zone, _spans(line.runs, usual) if line.runs else (), tuple(line.anchors))
            for line in self.lines
        ]


def _joined(cells: list[DraftLine]) -> DraftLine:
    row = cells[0]
    for cell in cells[1:]:
        shift = len(row.text) + 1
        row.text += f"\t{cell.text}"
        row.runs += [(start + shift, end + shift, looks) for start, end, looks in cell.runs]
        row.anchors += [(start + shift, end + shift, index) for start, end, index in cell.anchors]
    return row


def _spans(runs: list[tuple[int, int, Looks]], usual: float) -> tuple[Span, ...]:
    if len(runs) == 1 and runs[0][2].size == usual and not runs[0][2].special:
        return ()
    found: list[Span] = []
    for start, end, looks in runs:
        if not (looks.special or abs(looks.size - usual) >= 1):
            continue
        last = found[-1] if found else None
        span = Span(
            start, end, round(looks.size, 1), looks.bold, looks.monospace, looks.spaced, looks.heading, looks.marked,
            looks.struck,
        )  # fmt: skip
        if last is not None and start - last.end <= 1 and _same(last, span):
            found[-1] = Span(last.start, end, *_looks(last))
        else:
            found.append(span)
    return tuple(found)


def _looks(span: Span) -> tuple[float, bool, bool, bool, bool, bool, bool]:
    return span.size, span.bold, span.monospace, span.spaced, span.heading, span.marked, span.struck


def _same(one: Span, other: Span) -> bool:
    return _looks(one) == _looks(other)


def visible_order(text: str, *, reverse: bool, override: bool) -> tuple[str, bool, bool]:
    """The text in the order in which it is seen, cleaned; whether an override is still open; whether one was met.

    U+202E turns what follows it around up to U+202C or the end of the block (UAX 9 §3.1.2); `reverse` is the same by
    markup. Words in a script that runs from right to left are left as they are.
    """
    if reverse or override or _RIGHT_TO_LEFT in text:
        parts: list[str] = []
        turned = override or reverse
        for number, piece in enumerate(_MARKS.split(text)):
            if number % 2:  # a run of marks, of which the last counts
                turned = piece[-1] == _RIGHT_TO_LEFT or reverse
            elif piece:
                shown = clean_text(piece)
                parts.append(shown[::-1] if turned and not _runs_from_right(shown) else shown)
        return "".join(parts), turned and not reverse, True
    return clean_text(text), False, False


def _runs_from_right(text: str) -> bool:
    return any("\u0590" <= character <= "\u08ff" for character in text)
