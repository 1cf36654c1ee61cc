"""The lines of a mail as the reply rules look at them: the ones with words, cleaned and clipped for matching.

A long mail is looked at only as far as `MAX_CHARS` and `MAX_ROWS` go, and each line as far as `CLIP`, so that no
rule costs more than a fixed amount however large the mail is. What lies beyond belongs to the part it follows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from daimon_mcp.mail.html_view import Line

MAX_CHARS = 256 * 1024
MAX_ROWS = 8_000
CLIP = 600

# Colons of all scripts that end an attribution: Armenian, Hebrew, Ethiopic, Khmer, Mongolian, fullwidth forms.
COLONS = ":：։՝׃፡፣፦៖᠄∶︓﹕ː꞉"

_MARKS = re.compile(r"[ \t]{0,3}>(?:[ \t]?>){0,99}")
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
_NEWLINE = re.compile(r"\r\n|\n|\r")
# Where a long address was broken after its opening bracket, the closing one stands where a quote mark would.
_CLOSING_BRACKET = re.compile(r" ?>[^<>]{0,40}[:：]\s{0,10}\Z")
_BLANK = Line("")


class Row(NamedTuple):
    """One line that is not blank.

    `at` is its index among the lines, `text` is clean: no invisible marks, white space collapsed, at most `CLIP`
    characters. `gap` says that a blank line stands above it. `quoted` is its depth. `markup` says that it is inside
    markup that quotes, `signature` that markup calls it one; `markup.settled` decides which of these to believe.
    """

    at: int
    text: str
    quoted: int
    gap: bool
    markup: bool
    signature: bool


def lines_of(text: str) -> tuple[Line, ...]:
    """The lines of a plain text, leading `>` marks as the depth of `quoted`; anything beyond 256 Ki characters is one
    line. `text_of` gives the text back, but for the spacing of the marks."""
    head, tail = text, ""
    if len(text) > MAX_CHARS:
        end = text.rfind("\n", 0, MAX_CHARS) + 1 or MAX_CHARS
        head, tail = text[:end].removesuffix("\n"), text[end:]
    lines: list[Line] = []
    seen: dict[str, Line] = {"": _BLANK}  # the same line again costs nothing: hostile mails repeat themselves
    above = ""
    for raw in _NEWLINE.split(head):
        line = seen.get(raw)
        if line is None:
            marks = _MARKS.match(raw) if ">" in raw else None
            if marks is None:
                line = Line(raw)
            elif "@" in above and _is_open(above) and _CLOSING_BRACKET.match(raw[:CLIP]):
                lines.append(Line(raw))
                above = raw[-CLIP:]
                continue
            else:
                content = raw[marks.end() :]
                line = Line(content.removeprefix(" "), quoted=marks[0].count(">"))
            seen[raw] = line
        lines.append(line)
        above = raw[-CLIP:]
    if tail:
        lines.append(Line(tail))
    return tuple(lines)


def _is_open(above: str) -> bool:
    """Whether a line that is not quoted has an address and goes on: a bracket is open in it, or no colon ends it."""
    return not above.lstrip().startswith(">") and above.rstrip()[-1:] not in COLONS


def text_of(lines: Sequence[Line]) -> str:
    """The lines as text, quotes as `> `, without blank lines around them."""
    written = [f"{'>' * line.quoted} {line.text}".rstrip() if line.quoted else line.text.rstrip() for line in lines]
    start, end = 0, len(written)
    while start < end and not written[start]:
        start += 1
    while end > start and not written[end - 1]:
        end -= 1
    return "\n".join(written[start:end])


def clean(text: str) -> str:
    """`text` for matching: clipped, invisible and bidirectional marks gone, white space collapsed, digits of every
    script as 0-9."""
    text = text[:CLIP]
    if not text.isascii():
        text = _FOREIGN_DIGIT.sub(_plain, _INVISIBLE.sub("", text))
    if "&" in text:
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    return " ".join(text.split())


def _plain(match: re.Match[str]) -> str:
    digit = unicodedata.decimal(match[0], None)
    return match[0] if digit is None else str(digit)


def rows_of(lines: Sequence[Line]) -> list[Row]:
    """The rows among the first `MAX_CHARS` characters of `lines`, `MAX_ROWS` at most."""
    rows: list[Row] = []
    left, gap = MAX_CHARS, False
    for at, line in enumerate(lines):
        if left <= 0 or len(rows) == MAX_ROWS:
            break
        left -= len(line.text) + 1
        text = clean(line.text) if line.text else ""
        if text:
            rows.append(Row(at, text, line.quoted, gap, line.zone == "quote", line.zone == "signature"))
            gap = False
        elif not line.quoted:
            gap = True
    return rows
