"""OpenDocument text, spreadsheets and presentations (ISO 26300): paragraphs, headings, lists and tables."""

from __future__ import annotations

from daimon_mcp.extraction.formats.package import Package
from daimon_mcp.extraction.formats.xml import Handler, attribute, parse_xml
from daimon_mcp.extraction.sink import Sink, Unreadable

_MAX_REPEATS = 100
_BREAKS = {"tab": "\t", "line-break": "\n"}
# Who changed what and when is in the document too, with the words that were removed.
_SKIPPED = frozenset({"tracked-changes", "annotation"})


class _Content(Handler):
    """Turns events into lines. Cells are joined by tabs; what is empty and repeated to the edge is not written."""

    NAMES = frozenset(
        {"p", "h", "s", "list", "table", "table-row", "table-cell", "covered-table-cell", *_SKIPPED, *_BREAKS}
    )

    def __init__(self, sink: Sink) -> None:
        self.tables = 0
        self._sink = sink
        self._words: list[list[str]] = []  # of the paragraphs that are open
        self._headings: list[int] = []
        self._lists = 0
        self._rows: list[list[str]] = []
        self._cells: list[tuple[list[str], int]] = []
        self._skip = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in _SKIPPED or self._skip:
            self._skip += name in _SKIPPED
            return
        match name:
            case "p" | "h":
                self._words.append([])
                level = attribute(attributes, "outline-level") or "1"
                self._headings.append(int(level) if name == "h" and level in {"1", "2", "3", "4", "5", "6"} else 0)
            case "s" if self._words:
                self._words[-1].append(" " * _times(attribute(attributes, "c")))
            case "list":
                self._lists += 1
            case "table":
                self.tables += 1
                title = attribute(attributes, "name")
                if title and not self._cells:
                    self._sink.line(f"\n[Table {title}]")
            case "table-row":
                self._rows.append([])
            case "table-cell" | "covered-table-cell":
                self._cells.append(([], _times(attribute(attributes, "number-columns-repeated"))))
            case _ if name in _BREAKS and self._words:
                self._words[-1].append(_BREAKS[name])
            case _:
                pass

    def end(self, name: str) -> None:
        if self._skip:
            self._skip -= name in _SKIPPED
            return
        match name:
            case "p" | "h" if self._words:
                self._close("".join(self._words.pop()).strip(), self._headings.pop())
            case "list":
                self._lists -= 1
            case "table-cell" | "covered-table-cell" if self._cells:
                lines, times = self._cells.pop()
                if self._rows:
                    self._rows[-1].extend([" ".join(lines)] * times)
            case "table-row" if self._rows:
                self._write("\t".join(self._rows.pop()).rstrip("\t"))
            case _:
                pass

    def text(self, data: str) -> None:
        if self._words and not self._skip:
            self._words[-1].append(data)

    def _close(self, words: str, heading: int) -> None:
        if not words:
            return
        if self._cells:
            self._write(" ".join(words.split()))
        elif heading:
            self._write(f"\n{'#' * heading} {words}\n")
        elif self._lists:
            self._write(f"{'  ' * min(self._lists - 1, 8)}- {words}")
        else:
            self._write(words + "\n")

    def _write(self, line: str) -> None:
        if not self._cells:
            if line:
                self._sink.line(line)
            return
        if line:
            self._cells[-1][0].append(line[: self._sink.room])
        self._sink.check()


def _times(said: str | None) -> int:
    """How often something is repeated; a spreadsheet says 16384 for the empty cells at the end of every row."""
    return min(int(said), _MAX_REPEATS) if said and said.isdecimal() and len(said) < 9 else 1


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write the document."""
    package = Package(content)
    if "META-INF/manifest.xml" in package:
        manifest = b"".join(package.chunks("META-INF/manifest.xml"))
        if b"encryption-data" in manifest:
            raise Unreadable("encrypted")
    handler = _Content(sink)
    try:
        parse_xml(package.chunks("content.xml"), handler)
    finally:
        if handler.tables:
            sink.facts["tables"] = handler.tables
