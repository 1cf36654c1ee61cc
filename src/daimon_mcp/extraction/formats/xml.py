"""XML as events, from pieces: no tree, no entities, no DTD, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar
from xml.parsers import expat

from daimon_mcp.extraction.sink import Unreadable


class Handler:
    """What hears of elements by their names without prefix, and of text. It may raise to end the reading.

    Elements that are not in `NAMES` pass unheard, for speed; what is not overridden is not called at all.
    """

    NAMES: ClassVar[frozenset[str]] = frozenset()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, data: str) -> None:
        """Text between two of these; it may come in pieces."""


def attribute(attributes: dict[str, str], name: str) -> str | None:
    """An attribute by its name without prefix."""
    for key, value in attributes.items():
        if key == name or key.endswith(":" + name):
            return value
    return None


def parse_xml(chunks: Iterable[bytes], handler: Handler) -> None:
    """Tell `handler` what is in the document.

    Raises Unreadable("damaged") when it is not well-formed or has a DTD: no office file has one, and entities need one.
    Nothing here recurses, so it may be nested as deep as it likes.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = 65_536
    heard: dict[str, str] = {}  # name as written: name without prefix
    unheard: set[str] = set()

    def started(name: str, attributes: dict[str, str]) -> None:
        if name in unheard:
            return
        local = heard.get(name)
        if local is None:
            local = name.rpartition(":")[2]
            if local not in handler.NAMES:
                unheard.add(name)
                return
            heard[name] = local
        handler.start(local, attributes)

    def ended(name: str) -> None:
        if name in heard:
            handler.end(heard[name])

    def refuse(*_: object) -> None:
        raise Unreadable("damaged")

    parser.StartElementHandler = started
    if type(handler).end is not Handler.end:
        parser.EndElementHandler = ended
    if type(handler).text is not Handler.text:
        parser.CharacterDataHandler = handler.text
    parser.StartDoctypeDeclHandler = refuse
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_NO_MEMORY]:
            raise MemoryError from error
        raise Unreadable("damaged") from error
