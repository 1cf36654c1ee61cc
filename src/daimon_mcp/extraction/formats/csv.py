"""CSV and its relatives: a line for each row, cells with a tab between them."""

from __future__ import annotations

import csv
import io

from daimon_mcp.extraction.formats.text import decode, reject_binary
from daimon_mcp.extraction.sink import Sink

MAX_CELL = 2000
_MAX_FIELD = 131_072
_SAMPLE = 20_000
_DELIMITERS = "\t;,|"


def delimiter_of(text: str) -> str:
    """The delimiter that gives the most lines the same number of cells, more than one; a comma when none does."""
    lines = [line for line in text[:_SAMPLE].splitlines()[:50] if line.strip()]
    best, score = ",", 0.0
    for delimiter in _DELIMITERS:
        counts = [line.count(delimiter) for line in lines]
        most = max(set(counts) - {0}, key=counts.count, default=0)
        if most and (share := counts.count(most) / len(lines) + most / 1000) > score:
            best, score = delimiter, share
    return best


def cell(value: str) -> str:
    """A cell on one line and of bounded length."""
    if len(value) > MAX_CELL:
        value = value[:MAX_CELL] + "…"
    return value if value.isprintable() else " ".join(value.split())


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write every row."""
    text = decode(content, charset)
    reject_binary(text)
    csv.field_size_limit(_MAX_FIELD)
    source = io.StringIO(text, newline="")
    rows = csv.reader(source, delimiter=delimiter_of(text))
    try:
        for row in rows:
            line = "\t".join(row)
            # Most rows have nothing that a line cannot show.
            if len(line) > MAX_CELL or line.count("\t") >= len(row) or "\n" in line or "\r" in line:
                line = "\t".join(map(cell, row))
            sink.line(line.rstrip("\t"))
    except csv.Error:
        # A quote that is never closed: what follows is written as it is.
        for line in source:
            sink.line(line.rstrip("\r\n"))
    sink.facts["rows"] = rows.line_num
