"""DOCX (ECMA-376, WordprocessingML): paragraphs, headings, lists, tables, notes, headers and footers."""

from __future__ import annotations

from collections.abc import Mapping

from daimon_mcp.extraction.formats.package import Package
from daimon_mcp.extraction.formats.relations import Relation, main_part, relations
from daimon_mcp.extraction.formats.xml import Handler, attribute, parse_xml
from daimon_mcp.extraction.sink import Full, Sink

_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"}
# Removed text keeps its words in w:delText; a fallback repeats its choice; instructions of fields are no text.
_SKIPPED = frozenset({"Fallback", "del", "moveFrom", "instrText"})
_NOTES = {"header": "Header", "footer": "Footer", "footnotes": "Footnotes", "endnotes": "Endnotes",
          "comments": "Comments"}  # fmt: skip
_OFF = frozenset({"0", "false", "off"})
_MAX_LEVEL = 6


class _Styles(Handler):
    """Heading level (1…6) by the id of a paragraph style, and which styles are those of lists.

    Names of built-in styles are English in every language.
    """

    NAMES = frozenset({"style", "name", "numPr", "outlineLvl"})

    def __init__(self) -> None:
        self.levels: dict[str, int] = {}
        self.lists: set[str] = set()
        self._id = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "style":
            self._id = attribute(attributes, "styleId") or ""
        elif name == "name" and self._id:
            title = (attribute(attributes, "val") or "").lower()
            if title == "title":
                self.levels[self._id] = 1
            elif title.startswith("heading ") and title[8:] in {"1", "2", "3", "4", "5", "6"}:
                self.levels[self._id] = int(title[8:])
        elif name == "numPr" and self._id:
            self.lists.add(self._id)
        elif name == "outlineLvl" and self._id:
            level = attribute(attributes, "val") or ""
            if level in {"0", "1", "2", "3", "4", "5"}:
                self.levels.setdefault(self._id, int(level) + 1)

    def end(self, name: str) -> None:
        if name == "style":
            self._id = ""


class _Paragraph:
    """One that is open: its words, and what it looks like."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.heading = 0
        self.indent = -1  # of a list
        self.links: list[tuple[str, int]] = []  # URL, and where in the words its text begins


class _Document(Handler):
    """Turns events into lines. Tables hold cells hold paragraphs and tables: each open cell collects its own lines."""

    NAMES = frozenset(
        {"t", "r", "rPr", "vanish", "p", "pStyle", "ilvl", "numPr", "hyperlink", "tr", "tc", "tbl", *_SKIPPED, *_BREAKS}
    )

    def __init__(self, sink: Sink, styles: _Styles, related: Mapping[str, Relation]) -> None:
        self.hidden = 0
        self._sink = sink
        self._styles = styles
        self._related = related
        self._paragraphs: list[_Paragraph] = []
        self._rows: list[list[str]] = []
        self._cells: list[list[str]] = []
        self._skip = 0  # how many elements that are skipped are open
        self._is_text = False
        self._in_run_properties = False
        self._vanish = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skip:
            self._skip += name in _SKIPPED
            return
        paragraph = self._paragraphs[-1] if self._paragraphs else None
        match name:
            case "t":
                self._is_text = not self._vanish
                self.hidden += self._vanish
            case "r":
                self._vanish = False
            case "rPr":
                self._in_run_properties = True
            case "vanish":
                self._vanish = self._in_run_properties and attribute(attributes, "val") not in _OFF
            case "p":
                self._paragraphs.append(_Paragraph())
            case "pStyle" if paragraph:
                style = attribute(attributes, "val") or ""
                paragraph.heading = self._styles.levels.get(style, 0)
                if style in self._styles.lists:
                    paragraph.indent = max(paragraph.indent, 0)
            case "ilvl" if paragraph:
                level = attribute(attributes, "val") or ""
                paragraph.indent = int(level) if level in {"1", "2", "3", "4", "5", "6", "7", "8"} else 0
            case "numPr" if paragraph:
                paragraph.indent = max(paragraph.indent, 0)
            case "hyperlink" if paragraph:
                relation = self._related.get(attribute(attributes, "id") or "")
                url = relation.target if relation and relation.external else ""
                paragraph.links.append((url, len(paragraph.words)))
            case "tr":
                self._rows.append([])
            case "tc":
                self._cells.append([])
            case _ if name in _SKIPPED:
                self._skip = 1
            case _ if name in _BREAKS and paragraph and not self._in_run_properties and not self._vanish:
                # The tab stops of a paragraph are elements of the same name, and have a place.
                if not (name == "tab" and attribute(attributes, "pos")):
                    paragraph.words.append(_BREAKS[name])
            case _:
                pass

    def end(self, name: str) -> None:
        if self._skip:
            self._skip -= name in _SKIPPED
            return
        match name:
            case "t":
                self._is_text = False
            case "rPr":
                self._in_run_properties = False
            case "r":
                self._vanish = False
            case "p" if self._paragraphs:
                self._close(self._paragraphs.pop())
            case "hyperlink" if self._paragraphs and self._paragraphs[-1].links:
                paragraph = self._paragraphs[-1]
                url, begun = paragraph.links.pop()
                if url and "".join(paragraph.words[begun:]).strip() not in {url, url.removeprefix("mailto:")}:
                    paragraph.words.append(f" ({url})")
            case "tc" if self._cells:
                lines = self._cells.pop()
                if self._rows:
                    self._rows[-1].append(" ".join(lines))
            case "tr" if self._rows:
                self._write("\t".join(self._rows.pop()).rstrip("\t"))
            case "tbl":
                self._write("")
            case _:
                pass

    def text(self, data: str) -> None:
        if self._is_text and self._paragraphs:
            self._paragraphs[-1].words.append(data)

    def _close(self, paragraph: _Paragraph) -> None:
        words = "".join(paragraph.words).strip()
        if not words:
            return
        if self._cells:
            self._write(" ".join(words.split()))
        elif paragraph.heading:
            self._write(f"\n{'#' * min(paragraph.heading, _MAX_LEVEL)} {words}\n")
        elif paragraph.indent >= 0:
            self._write(f"{'  ' * paragraph.indent}- {words}")
        else:
            self._write(words + "\n")

    def _write(self, line: str) -> None:
        if not self._cells:
            self._sink.line(line)
            return
        # What a cell holds cannot be more than is wanted at all.
        if line:
            self._cells[-1].append(line[: self._sink.room])
        self._sink.check()


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write the document, then its notes, headers and footers, each under its name."""
    package = Package(content)
    main = main_part(package)
    related = relations(package, main)
    styles = _Styles()
    for relation in related.values():
        if relation.kind == "styles" and relation.target in package:
            parse_xml(package.chunks(relation.target), styles)
    hidden = 0
    try:
        handler = _Document(sink, styles, related)
        parse_xml(package.chunks(main), handler)
        hidden += handler.hidden
        written: set[str] = set()
        for relation in related.values():
            if relation.kind in _NOTES and relation.target in package:
                aside = sink.aside()
                try:
                    parse_xml(
                        package.chunks(relation.target),
                        _Document(aside, styles, relations(package, relation.target)),
                    )
                except Full:
                    sink.truncated = True
                text = aside.text()
                # The first page, odd and even pages have headers of their own, often the same.
                if text and text not in written:
                    written.add(text)
                    sink.line(f"\n[{_NOTES[relation.kind]}]\n{text}")
    finally:
        if hidden:
            sink.facts["hidden_runs"] = hidden
