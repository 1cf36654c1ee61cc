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
_SAYS = re.compile(r"[?？؟]|(?:\S+ ){2}\S+[.!。！।]\Z|[.!。！।] ?\Z(?<=[\u0900-\u097f\u3000-\u9fff\uff01-\uff60].)")


def settled(rows: list[Row]) -> list[Row]:
    """The rows with zones of quote and signature markup kept or dropped; rows in a kept quote get a depth of 1."""
    at = left = 0
    left = _MOST_ZONES
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
    """Where a quote begins, and whether all that follows is quoted too."""
    if first > at and at and rows[at - 1].text[-1] in COLONS and find_attribution(rows, at - 1) is not None:
        return at, first > at + _NEAR
    for index in range(at, min(first + 1, end, at + _FIRST_ROWS)):
        row = rows[index]
        if row.quoted:
            break
        start = _announced(rows, at, index)
        if start < 0:
            continue
        while start > at and is_ruler(rows[start - 1].text):
            start -= 1
        below = _end_of_announcement(rows, index)
        return start, not (first < end and first - start <= _NEAR and below == first)
    start = first
    while start > at and is_ruler(rows[start - 1].text):
        start -= 1
    return start, False


def _announced(rows: Sequence[Row], at: int, index: int) -> int:
    """The row from `at` on where an attribution that ends, or a header block or divider that is, in `index` begins."""
    text = rows[index].text
    if find_original_divider(rows, index) or is_forward_divider(rows, index):
        return index
    if label_of(text) is not None or text[0] in "发寄":
        block = find_header_block(rows, index)
        if block is not None:
            return index
    if text[-1] in COLONS or text[0] in "-–—" or "@" in text or (index > at and "@" in rows[index - 1].text):
        found = find_attribution(rows, index)
        if found is not None:
            return max(at, found.start)
    return -1


def _end_of_announcement(rows: Sequence[Row], index: int) -> int:
    """The row below an attribution."""
    return index + 1


def _is_signature(rows: Sequence[Row]) -> bool:
    """Whether rows that markup calls a signature are no longer than one, and neither ask nor state anything."""
    if len(rows) > _SIGNATURE_ROWS or sum(len(row.text) for row in rows) > _SIGNATURE_CHARS:
        return False
    return not any(_SAYS.search(row.text) and not is_notice(row.text) and not is_tagline(row.text) for row in rows)
