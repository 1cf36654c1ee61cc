"""A mail as one text to look for codes in, and every stretch of it that has the form of one."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from daimon_mcp.mail.html_view import Line
from daimon_mcp.mail.word_match import lower_in_place

_MOST_LINES = 600
_MOST_CHARS = 20_000
_LINE_CHARS = 4_000

_ZEROS = (
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0, 0xF20,
    0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0,
    0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6,
)  # fmt: skip
"""The digit nought of every script in the basic plane, and of the mathematical alphabets."""


@cache
def _ascii_forms() -> dict[int, str]:
    """Decimal digits of all scripts and full-width letters and hyphens, as ASCII: one character for one."""
    forms = {zero + value: str(value) for zero in _ZEROS for value in range(10)}
    forms.update({0xFF21 + i: chr(0x41 + i) for i in range(26)})
    forms.update({0xFF41 + i: chr(0x61 + i) for i in range(26)})
    forms.update(dict.fromkeys((8208, 8209, 8210, 8211, 65293, 8722), "-"))
    forms.update(dict.fromkeys((160, 8199, 8201, 8202, 8239, 12288), " "))
    return forms


BLANK = "\u00a7"
"""Stands for characters that are part of a URL, an address, a date, a phone number: no code is in there."""

_NO_CODE = re.compile(
    r"https?://[^\s<>\"]{1,2000}|www\.[^\s<>\"]{1,500}"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
    r"|(?<![A-Za-z0-9])[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{4,32}"
    r"|(?<!\d)\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:T\d[\d:.Z+-]{3,20})?(?!\d)|(?<!\d)\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)\d\d(?!\d)"
    r"|(?<![\w.])\+\d[\d ()./-]{5,18}\d|\(\d{2,5}\)[ -]?\d[\d -]{3,12}\d"
    r"|(?<![\d-])(?:1-)?\d{3}[-.]\d{3}[-.]\d{4}(?![\d-])|(?<!\d)0\d{1,4}[ /-]\d{3,4}[ -]\d{2,5}(?:[ -]\d{2,4})?(?!\d)"
    r"|(?<!\d)0\d(?:[ .]\d\d){4}(?!\d)"
    r"|(?<!\d)\d{1,3}(?:[,.']\d{3})+(?:[.,]\d{1,2})?(?!\d)|(?<!\d)\d{1,7}[.,]\d{2}(?!\d)"
    r"|, [A-Z]{2} \d{5}(?:-\d{4})?(?![A-Za-z0-9])"
    r"|(?<![\w-])\d{4}(?:[ -]\d{4}){2,3}(?!\d)"
)  # fmt: skip

# All that `_NO_CODE` can match has one of these; the last stands for three digits with no letter between them. It is a
# quick look at each line, which most do not pass.
_MAY_BE_NONE = re.compile(r"@|://|www\.|\+\d|[0-9a-fA-F]{8}-|\d[^A-Za-z]{0,4}\d[^A-Za-z]{0,4}\d")

_START = r"(?<![A-Za-z0-9#$€£¥₹₩₽/.@=_+&%\\-])(?<!\d[ ,])"
_STOP = r"(?![A-Za-z0-9@%°/_+=#\\]|[.,:]\d|-[A-Za-z0-9]|['’][0-9])"
CANDIDATE = re.compile(
    _START + r"(?:(?P<prefixed>[A-Z]{1,3}-\d{4,8})"
    r"|(?P<split>(?:\d{3} \d{3}|\d{4} \d{4}|\d{2} \d{2} \d{2}|\d(?: {1,3}\d){3,7})(?! \d))"
    r"|(?P<dashed>(?=[A-Z]{0,9}-?[A-Z]{0,9}\d|[A-Z]{3,5}-[A-Z]{3,5})[A-Z0-9]{3,5}(?:-[A-Z0-9]{3,5}){1,3}|\d{3}-\d{3})"
    r"|(?P<digits>\d{4,10})"
    r"|(?P<mixed>(?=[A-Za-z]{1,15}\d|\d{1,15}[A-Za-z])[A-Za-z0-9]{5,16})"
    r"|(?P<cased>(?=(?:[A-Z]{0,7}[a-z]{1,7}[A-Z]){2})[A-Za-z]{6,8})"
    r"|(?P<letters>[A-Z]{6,10}|[a-z]{8}))" + _STOP
)
_SINGLE_DIGIT = re.compile(r"\s*\d\s*")


@dataclass(slots=True)
class CodeText:
    """The lines as one text, in three forms of equal length.

    `seen` has ASCII digits; `open` is that without URLs, dates and phone numbers; `lower` that in lower case.
    """

    lines: list[Line]
    starts: list[int]
    seen: str
    open: str
    lower: str

    def line_at(self, place: int) -> int:
        """The index of the line that a place is in."""
        return bisect_right(self.starts, place) - 1

    def bounds(self, index: int) -> tuple[int, int]:
        """Where a line begins and ends."""
        end = self.starts[index + 1] - 1 if index + 1 < len(self.starts) else len(self.seen)
        return self.starts[index], end


def _blanked(match: re.Match[str]) -> str:
    return BLANK * (match.end() - match.start())


def _joined_boxes(lines: Sequence[Line]) -> list[Line]:
    """Four to eight digits on a line each, as a row of boxes is rendered, become one line of split digits."""
    joined: list[Line] = []
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and len(lines[end].text) <= 3 and _SINGLE_DIGIT.fullmatch(lines[end].text):
            end += 1
        if 4 <= end - at <= 8:
            joined.append(Line(" ".join(line.text.strip() for line in lines[at:end])))
            at = end
        else:
            end = max(end, at + 1)
            joined.extend(lines[at:end])
            at = end
    return joined


def without_struck(lines: Sequence[Line]) -> Sequence[Line]:
    """The lines with `BLANK`s for what a line goes through: its writer took that back."""
    if not any(span.struck for line in lines for span in line.spans):
        return lines
    return [_without_struck(line) for line in lines]


def _without_struck(line: Line) -> Line:
    pieces: list[str] = []
    place = 0
    for span in line.spans:
        if span.struck and span.end > place:
            start = max(place, span.start)
            pieces += line.text[place:start], BLANK * (span.end - start)
            place = span.end
    return replace(line, text="".join(pieces) + line.text[place:]) if pieces else line


def code_text(lines: Sequence[Line]) -> CodeText:
    """The first 20,000 characters of a mail's lines, ready to be searched for `CANDIDATE`s in its `open` form."""
    kept: list[Line] = []
    room = _MOST_CHARS
    for line in lines[:_MOST_LINES]:
        if room <= 0:
            break
        text = line.text[: min(_LINE_CHARS, room)]
        room -= len(text) + 1
        kept.append(
            line if len(text) == len(line.text) and "\n" not in text else replace(line, text=text.replace("\n", " "))
        )
    kept = _joined_boxes(kept)
    starts: list[int] = []
    place = 0
    for line in kept:
        starts.append(place)
        place += len(line.text) + 1
    seen = "\n".join(line.text for line in kept).replace("\t", " ")
    if not seen.isascii():
        seen = seen.translate(_ascii_forms())
    opened = "\n".join(_NO_CODE.sub(_blanked, line) if _MAY_BE_NONE.search(line) else line for line in seen.split("\n"))
    return CodeText(kept, starts, seen, opened, lower_in_place(seen))
