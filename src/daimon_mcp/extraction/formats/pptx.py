"""PPTX (ECMA-376, PresentationML): the text of each slide and of its notes."""

from __future__ import annotations

from daimon_mcp.extraction.formats.package import Package
from daimon_mcp.extraction.formats.relations import main_part, relations
from daimon_mcp.extraction.formats.xml import Handler, attribute, parse_xml
from daimon_mcp.extraction.sink import Sink

MAX_SLIDES = 1000


class _Presentation(Handler):
    """The relation ids of the slides, in order."""

    NAMES = frozenset({"sldId"})

    def __init__(self) -> None:
        self.slides: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sldId":
            # An id of its own, and the relation's, which has a prefix.
            self.slides.append(next((value for key, value in attributes.items() if key.endswith(":id")), ""))


class _Slide(Handler):
    """Turns the events of one slide into lines. Numbers of slides (fields) are no words."""

    NAMES = frozenset({"Fallback", "fld", "t", "br", "tr", "p", "tc"})

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._words: list[str] = []
        self._cells: list[str] | None = None
        self._is_text = False
        self._skip = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Fallback" or (name == "fld" and (attribute(attributes, "type") or "").startswith("slidenum")):
            self._skip += 1
        elif name == "t":
            self._is_text = not self._skip
        elif name == "br":
            self._words.append("\n")
        elif name == "tr":
            self._cells = []

    def end(self, name: str) -> None:
        if name in {"Fallback", "fld"}:
            self._skip = max(0, self._skip - 1)
        elif name == "t":
            self._is_text = False
        elif name == "p":
            if self._cells is None:
                self._flush()
        elif name == "tc" and self._cells is not None:
            self._cells.append(" ".join("".join(self._words).split()))
            self._words.clear()
        elif name == "tr" and self._cells is not None:
            self._sink.line("\t".join(self._cells))
            self._cells = None

    def text(self, data: str) -> None:
        if self._is_text:
            self._words.append(data)

    def _flush(self) -> None:
        words = "".join(self._words).strip()
        self._words.clear()
        if words:
            self._sink.line(words)


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write every slide under its number."""
    package = Package(content)
    main = main_part(package)
    presentation = _Presentation()
    parse_xml(package.chunks(main), presentation)
    related = relations(package, main)
    sink.facts["slides"] = len(presentation.slides)
    sink.truncated = len(presentation.slides) > MAX_SLIDES
    for number, identifier in enumerate(presentation.slides[:MAX_SLIDES], start=1):
        slide = related.get(identifier)
        if not slide or slide.target not in package:
            continue
        aside = sink.aside()
        parse_xml(package.chunks(slide.target), _Slide(aside))
        for relation in relations(package, slide.target).values():
            if relation.kind == "notesSlide" and relation.target in package:
                notes = sink.aside()
                parse_xml(package.chunks(relation.target), _Slide(notes))
                if not notes.is_empty:
                    aside.line(f"\n[Notes]\n{notes.text()}")
        if not aside.is_empty:
            sink.line(f"\n[Slide {number}]\n{aside.text()}")
