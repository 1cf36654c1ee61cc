"""Markup that calls its text a quote or a signature, believed only as far as the text in it looks like one.

Anybody can write the markup of a mail program around the words that count; people see the words all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from daimon_mcp.mail.replies.attribution import find_attribution
from daimon_mcp.mail.replies.dividers import find_original_divider, is_forward_divider
from daimon_mcp.mail.replies.header_block import find_header_block, is_ruler, label_of
from daimon_mcp.mail.replies.rows import COLONS, Row
from daimon_mcp.mail.replies.signatures import is_notice, is_tagline

_MOST_ZONES = 60  # honest mails have a handful; each of the others costs a search
_FIRST_ROWS = 8
_NEAR = 5  # rows from the attribution to the blockquote that it announces
_SIGNATURE_ROWS = 12
_SIGNATURE_CHARS = 800
_ASKS = re.compile(r"[?？؟!！。।]")


def settled(rows: list[Row]) -> list[Row]:
    """The rows with zones of quote and signature markup kept or dropped; rows in a kept quote get a depth of 1."""
    at, left = 0, _MOST_ZONES
    while at < len(rows):
        row = rows[at]
        if not (row.markup or row.signature):
            at += 1
            continue
        end = at + 1
        while end < len(rows) and (rows[end].markup, rows[end].signature) == (row.markup, row.signature):
            end += 1
        left -= 1
        if row.markup:
            _settle_quote(rows, at, end, looked_at=left >= 0)
        elif left < 0 or not _is_signature(rows[at:end]):
            for index in range(at, end):
                rows[index] = rows[index]._replace(signature=False)
        at = end
    return rows


def _settle_quote(rows: list[Row], at: int, end: int, *, looked_at: bool) -> None:
    """Finds where in `[at:end)` the quote begins; what stands above that was written by the sender, or all of it.

    Such markup holds either an attribution, blockquotes, and perhaps answers between and below them, or the whole
    quoted mail flat below an attribution or a header block: then all of it is quoted.
    """
    first = next((index for index in range(at, end) if rows[index].quoted), end)
    start, flat = _beginning(rows, at, end, first) if looked_at else (first, False)
    for index in range(at, end):
        row = rows[index]
        if row.quoted:
            continue
        if start <= index and (index < first or flat):
            rows[index] = row._replace(quoted=1)
        else:
            rows[index] = row._replace(markup=False)


def _beginning(rows: Sequence[Row], at: int, end: int, first: int) -> tuple[int, bool]:
    """Where the quote in `[at:end)` begins, and whether all below is quoted too; `first` is its first blockquote."""
    if at and first > at and rows[at - 1].text[-1] in COLONS and find_attribution(rows, at - 1) is not None:
        return at, True
    start, flat = first, False
    for index in range(at, min(first, end, at + _FIRST_ROWS)):
        found = find_attribution(rows, index) if _may_announce(rows, at, index) else None
        if found is not None:
            # What shares its line with an attribution is set apart from it where the quote is cut.
            start = index + 1 if found.split else max(at, found.start)
            flat = not (found.end == first and first - start <= _NEAR)
            break
        if _divides(rows, index):
            start, flat = index, True
            break
    while start > at and is_ruler(rows[start - 1].text):
        start -= 1
    return start, flat


def _may_announce(rows: Sequence[Row], at: int, index: int) -> bool:
    text = rows[index].text
    return text[-1] in COLONS or text[0] in "-–—" or "@" in text or (index > at and "@" in rows[index - 1].text)


def _divides(rows: Sequence[Row], index: int) -> bool:
    """Whether a divider or a header block begins in row `index`; the markup stands for the ruler above it."""
    text = rows[index].text
    if find_original_divider(rows, index) or is_forward_divider(rows, index):
        return True
    label = label_of(text)
    if label is None and text[0] not in "发寄":
        return False
    below = label_of(rows[index + 1].text) if index + 1 < len(rows) else None
    if label is not None and below is not None and label[2] and below[2] and label[0] != below[0]:
        return True
    return find_header_block(rows, index, divided=True) is not None


def _is_signature(rows: Sequence[Row]) -> bool:
    """Whether rows that markup calls a signature are no longer than one, and neither ask nor state anything."""
    if len(rows) > _SIGNATURE_ROWS or sum(len(row.text) for row in rows) > _SIGNATURE_CHARS:
        return False
    return not any(_says(row.text) for row in rows)


def _says(text: str) -> bool:
    """Whether a line is a question or a sentence, as names, titles, addresses and notices are not."""
    if is_notice(text) or is_tagline(text):
        return False
    words = text.split()
    prose = len(words) >= 4 and 2 * sum(word[0].islower() and "@" not in word for word in words) > len(words)
    # "do it." and "the offer." end a sentence, "Acme Inc." does not.
    ended = any(word[-1] == "." and (len(word) > 4 or word[0].islower()) and "@" not in word for word in words[2:])
    return prose or ended or _ASKS.search(text) is not None
