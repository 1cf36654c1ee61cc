"""Taking a reply apart: what is new in it, what it quotes, its signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from daimon_mcp.mail.html_view import Line
from daimon_mcp.mail.replies.attribution import find_attribution
from daimon_mcp.mail.replies.dividers import find_original_divider, is_above_line, is_bounce, is_forward_divider
from daimon_mcp.mail.replies.forwards import read_forwarded
from daimon_mcp.mail.replies.header_block import find_header_block, is_ruler, label_of
from daimon_mcp.mail.replies.markup import settled
from daimon_mcp.mail.replies.reply import Reply
from daimon_mcp.mail.replies.rows import CLIP, COLONS, Row, clean, rows_of, text_of
from daimon_mcp.mail.replies.signatures import is_signature_like, signature_start

_BODY, _QUOTED, _SIGNATURE = 0, 1, 2
# Lines that end with a colon, or start with a label or dashes, are looked at with the lines around them: no honest mail
# has this many above what it quotes.
_MAX_CANDIDATES = 400

_Rule = Literal["attribution", "header_block", "original_divider", "markup", "forward"]


class _Mark(NamedTuple):
    """Rows `[start:end)` that stand above what is quoted; `quotes` says that quote marks follow, so that the quote ends
    where they end. `split` is where in the clean text of row `start` the mark begins."""

    rule: _Rule
    start: int
    end: int
    certain: bool
    quotes: bool
    split: int = 0

    @property
    def certain_quote(self) -> bool:
        """Whether it is markup that starts with an attribution."""
        return self.rule == "markup" and self.certain


def extract_reply(lines: Sequence[Line], *, is_reply: bool, bulk: bool = False) -> Reply:
    """The parts of a mail given as lines, of plain text (`lines_of`) or of HTML (`html_render`).

    `is_reply` says that the mail answers another one (In-Reply-To, References, a reply's subject): only then are the
    weaker rules tried; of any other mail only a quote is cut that an attribution certainly announces and that runs to
    the end. `bulk` says that a list or a machine sent it: nothing is taken for a signature. Never raises; the time is
    linear, and what lies beyond the first 256 Ki characters is not looked at but goes with the part it follows.
    """
    rows = settled(rows_of(lines))
    if not rows:
        return Reply(text_of(lines), "", "", None, "none", 1.0)
    return _Extraction(list(lines), rows, is_reply=is_reply, bulk=bulk).run()


class _Extraction:
    """One mail's lines, its rows, and which part each line goes to."""

    def __init__(self, lines: list[Line], rows: list[Row], *, is_reply: bool, bulk: bool) -> None:
        self.lines = lines
        self.rows = rows
        self.is_reply = is_reply
        self.bulk = bulk
        self.parts = bytearray(len(rows))
        self.below_line = 0
        self.attributions = self.headers = _MAX_CANDIDATES

    def run(self) -> Reply:
        """Decides, and gives the parts back."""
        end = self.above_line()
        mark = self.first_mark(0, end)
        if mark is not None and mark.rule == "forward":
            return self.whole("kept_forward", 0.9, forwarded_at=mark.end)
        if is_bounce(self.rows) and (mark is None or mark.rule != "attribution"):
            return self.whole("kept_bounce", 0.9)
        if mark is not None and not self.is_reply and not (mark.certain and self.runs_to_end(mark)):
            return self.whole("none", 0.8)
        rule, confidence = self.without_mark(end) if mark is None else self.cut_at(mark, end)
        if rule == "kept_inline":
            self.parts = bytearray(len(self.rows))
        elif end < len(self.rows):
            self.assign(len(self.rows) - self.below_line, len(self.rows), _QUOTED)
            rule, confidence = (rule, confidence) if mark is not None else ("original_divider", 0.9)
        if mark is not None and _BODY not in self.parts and mark.rule != "attribution" and not mark.certain_quote:
            # Nobody sends a quote alone: it is a forward that does not call itself one.
            return self.whole("kept_forward", 0.7, forwarded_at=mark.start)
        signed = not self.bulk and (self.is_reply or mark is not None) and self.sign()
        return self.reply("signature", 0.8) if signed and rule == "none" else self.reply(rule, confidence)

    def above_line(self) -> int:
        """The row that asks to reply above it, `len(rows)` when none does; all below is quoted."""
        rows = self.rows
        end = len(rows)
        if self.is_reply:
            end = next((at for at, row in enumerate(rows) if is_above_line(row.text)), end)
        self.below_line = len(rows) - end
        return end

    # -- finding what stands above a quote

    def first_mark(self, start: int, end: int) -> _Mark | None:
        """The first mark in rows `[start:end)`."""
        rows = self.rows
        for at in range(start, end):
            row = rows[at]
            if row.quoted:
                if (at == start or not rows[at - 1].quoted) and is_forward_divider(rows, at):
                    return _Mark("forward", at, at + 1, certain=True, quotes=True)
                if row.markup:
                    return _Mark("markup", at, at, certain=self.announced(at), quotes=True)
                continue
            mark = self.mark_at(at)
            if mark is not None:
                return mark
        return None

    def mark_at(self, at: int) -> _Mark | None:
        rows, text = self.rows, self.rows[at].text
        first, last = text[0], text[-1]
        if first in "-–—_=*" and self.headers > 0:
            self.headers -= 1 + len(text) // 100
            if is_forward_divider(rows, at):
                return _Mark("forward", at, at + 1, certain=True, quotes=False)
            if find_original_divider(rows, at):
                return _Mark("original_divider", at, at + 1, certain=False, quotes=False)
        elif last in COLONS and is_forward_divider(rows, at):
            return _Mark("forward", at, at + 1, certain=True, quotes=False)
        if self.attributions > 0 and (
            last in COLONS or first in "-–—" or "@" in text or (at and "@" in rows[at - 1].text)
        ):
            self.attributions -= 1 + len(text) // 100
            found = find_attribution(rows, at)
            if found is not None:
                start = found.start
                if start and not found.split and is_ruler(rows[start - 1].text):
                    start -= 1
                return _Mark("attribution", start, found.end, found.certain, found.quotes, found.split)
        if self.headers > 0 and (first in "发寄" or label_of(text) is not None):
            self.headers -= 1 + len(text) // 100
            block = find_header_block(rows, at)
            if block is not None:
                start = at - 1 if at and is_ruler(rows[at - 1].text) else at
                return _Mark("header_block", start, block.end, block.certain, quotes=False)
        return None

    def announced(self, at: int) -> bool:
        """Whether one of the first rows of a quote in markup is an attribution with a date and an address."""
        for index in range(at, min(at + 5, len(self.rows))):
            if self.rows[index].text[-1] in COLONS:
                found = find_attribution(self.rows, index)
                return found is not None and found.certain
        return False

    def runs_to_end(self, mark: _Mark) -> bool:
        return mark.quotes and self.quote_end(mark.end, len(self.rows)) == len(self.rows)

    def quote_end(self, start: int, end: int) -> int:
        """The first row from `start` on that is neither quoted nor a quoted line's wrapped end."""
        rows = self.rows
        at = start
        while at < end:
            row = rows[at]
            barred = row.text[0] == "|" and (at == start or rows[at - 1].text[0] == "|")
            if not (row.quoted or barred or (at > start and self.is_wrapped(row))):
                break
            at += 1
        return at

    def is_wrapped(self, row: Row) -> bool:
        """Whether a row that is not quoted stands directly between lines that are, as the wrapped end of one does: it
        goes on in lower case, and is not in markup, where nothing is wrapped."""
        if row.gap or row.at + 1 >= len(self.lines) or not self.lines[row.at + 1].quoted:
            return False
        return (row.text[0].islower() or row.text[0] in "(<[") and not self.lines[row.at].zone

    # -- deciding what goes where

    def cut_at(self, mark: _Mark, end: int) -> tuple[str, float]:
        if mark.split and self.split(mark):
            mark = mark._replace(start=mark.start + 1, end=mark.end + 1, split=0)
            end += 1
        mark = mark._replace(start=self.quote_above(mark.start))
        if not mark.quotes:
            self.assign(mark.start, end, _QUOTED)
            return mark.rule, 0.95 if mark.certain else 0.85
        tail = self.quote_end(mark.end, end)
        self.assign(mark.start, tail, _QUOTED)
        following = self.first_mark(tail, end)
        answer_end = end if following is None else following.start
        if any(row.quoted for row in self.rows[tail:answer_end]) or (
            following is not None and following.rule == "markup"
        ):
            return "kept_inline", 0.9
        if following is not None:
            self.assign(answer_end, end, _QUOTED)
        return mark.rule, 0.97 if mark.certain else 0.9

    def quote_above(self, start: int) -> int:
        """`start`, or where the only quote above it starts when it reaches down to it: nobody answers it there."""
        at = start
        while at and self.rows[at - 1].quoted:
            at -= 1
        return start if at == 0 or any(row.quoted for row in self.rows[:at]) else at

    def without_mark(self, end: int) -> tuple[str, float]:
        """Quote marks that nothing announces: cut when they are all there is below the text, or only a signature
        stands under them."""
        rows = self.rows
        first = next((at for at in range(end) if rows[at].quoted), end)
        if first == end:
            return "none", 1.0
        tail = self.quote_end(first, end)
        if first == 0:
            return "kept_inline", 0.7
        if tail == end or is_signature_like(rows[tail:end]):
            introduced = tail - first == 1 and not rows[first].gap and rows[first - 1].text[-1] in COLONS
            if self.is_reply and not introduced and not any(row.quoted for row in rows[tail:end]):
                self.assign(first, tail, _QUOTED)
                return "quote_tail", 0.75
            return "none", 0.7
        return "kept_inline", 0.8

    def split(self, mark: _Mark) -> bool:
        """Gives a mark that shares its line with prose a line and a row of its own, below the prose."""
        row = self.rows[mark.start]
        line = self.lines[row.at]
        wanted = len(row.text[: mark.split].replace(" ", ""))
        offsets = range(min(len(line.text), 2 * CLIP))
        offset = next((at for at in offsets if len(clean(line.text[:at]).replace(" ", "")) == wanted), 0)
        if not offset:
            return False
        texts = (line.text[:offset], line.text[offset:])
        self.lines[row.at : row.at + 1] = [replace(line, text=text, spans=(), anchors=()) for text in texts]
        moved = [other._replace(at=other.at + 1) for other in self.rows[mark.start :]]
        moved[0] = moved[0]._replace(text=row.text[mark.split :], gap=False)
        self.rows[mark.start :] = [row._replace(text=row.text[: mark.split].rstrip()), *moved]
        self.parts.insert(mark.start, _BODY)
        return True

    def sign(self) -> bool:
        """Puts signatures at the end of each stretch of the body, and rows that markup calls one, apart."""
        before = bytes(self.parts)
        start = 0
        while start < len(self.parts):
            end = start
            while end < len(self.parts) and self.parts[end] == self.parts[start]:
                end += 1
            if self.parts[start] == _BODY:
                keep = start + signature_start(self.rows[start:end])
                self.assign(keep, end, _SIGNATURE)
            start = end
        if not any(part == _BODY for part in self.parts) and any(part == _BODY for part in before):
            self.parts = bytearray(before)
        return bytes(self.parts) != before

    def assign(self, start: int, end: int, part: int) -> None:
        if end > start:
            self.parts[start:end] = bytes([part]) * (end - start)

    # -- giving it back

    def whole(self, rule: str, confidence: float, *, forwarded_at: int | None = None) -> Reply:
        forwarded = None if forwarded_at is None else read_forwarded(self.lines, self.rows, forwarded_at)
        return Reply(text_of(self.lines), "", "", forwarded, rule, confidence)

    def reply(self, rule: str, confidence: float) -> Reply:
        texts: tuple[list[str], list[str], list[str]] = ([], [], [])
        start = first = 0
        while start < len(self.rows):
            end = start
            while end < len(self.rows) and self.parts[end] == self.parts[start]:
                end += 1
            last = self.rows[end].at if end < len(self.rows) else len(self.lines)
            while (
                self.parts[start] != _QUOTED and last > first and self.lines[last - 1].quoted and end < len(self.rows)
            ):
                if self.lines[last - 1].text.strip() or self.parts[end] != _QUOTED:
                    break
                last -= 1
            texts[self.parts[start]].append(text_of(self.lines[first:last]))
            start, first = end, last
        body, quoted, signature = ("\n\n".join(stretch) for stretch in texts)
        return Reply(body, quoted, signature, None, rule, confidence)
