"""What a forwarded mail says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daimon_mcp.mail.html_view import Line
from daimon_mcp.mail.replies.header_block import find_header_block
from daimon_mcp.mail.replies.rows import Row, text_of


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A forwarded mail as the text has it: strangers' words, "" where unknown. `body` is all below its header."""

    from_: str
    date: str
    subject: str
    body: str


def read_forwarded(lines: Sequence[Line], rows: Sequence[Row], start: int) -> Forwarded:
    """The forwarded mail whose header block, if it has one, starts in one of the three rows from `start` on."""
    for at in range(start, min(len(rows), start + 3)):
        block = find_header_block(rows, at, divided=True)
        if block is not None:
            body = _body(lines, rows, block.end)
            fields = block.fields
            return Forwarded(fields.get("from", ""), fields.get("date", ""), fields.get("subject", ""), body)
    return Forwarded("", "", "", _body(lines, rows, start))


def _body(lines: Sequence[Line], rows: Sequence[Row], start: int) -> str:
    return text_of(lines[rows[start].at :]) if start < len(rows) else ""
