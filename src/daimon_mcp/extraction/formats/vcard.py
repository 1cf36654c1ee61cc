"""vCard (RFC 6350, and 2.1): each person in readable lines."""

from __future__ import annotations

import re

from daimon_mcp.extraction.formats.contentlines import ContentLine, content_lines, unescape
from daimon_mcp.extraction.formats.text import decode, reject_binary
from daimon_mcp.extraction.sink import Sink, Unreadable

_LABELS = {
    "NICKNAME": "Nickname", "ORG": "Organisation", "TITLE": "Title", "ROLE": "Role", "EMAIL": "Email",
    "TEL": "Phone", "ADR": "Address", "URL": "URL", "IMPP": "Messenger", "BDAY": "Birthday", "TZ": "Time zone",
    "LANG": "Language", "CATEGORIES": "Categories", "NOTE": "Note",
}  # fmt: skip
_STRUCTURED = frozenset({"N", "ADR", "ORG"})
_SEMICOLON = re.compile(r"(?<!\\);")
_KINDS = frozenset({"HOME", "WORK", "CELL", "FAX", "PAGER", "MAIN"})


def _value(line: ContentLine) -> str:
    if line.name not in _STRUCTURED:
        return line.text.removeprefix("tel:").removeprefix("mailto:")
    fields = [unescape(part).strip() for part in _SEMICOLON.split(line.value)]
    if line.name == "N":  # family, given, additional, prefixes, suffixes
        fields = [*fields[3:4], *fields[1:3], *fields[:1], *fields[4:5]]
        return " ".join(filter(None, fields))
    return ", ".join(filter(None, fields))


def _kind(line: ContentLine) -> str:
    said = {part.strip().upper() for part in line.params.get("TYPE", "").split(",")} | set(line.params)
    found = sorted(said & _KINDS)
    return f" ({', '.join(found).lower()})" if found else ""


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write every card."""
    text = decode(content, charset)
    reject_binary(text)
    cards = 0
    card: list[str] = []
    name = full_name = ""
    for line in content_lines(text):
        sink.check()
        kind = line.value.strip().upper()
        if line.name == "BEGIN" and kind == "VCARD":
            cards += 1
            card, name, full_name = [], "", ""
        elif line.name == "END" and kind == "VCARD":
            if full_name or name:
                card.insert(0, f"Name: {full_name or name}")
            sink.add("\n".join([*card, "", ""]))
            card = []
        elif line.name == "N":
            name = _value(line)
        elif line.name == "FN":
            full_name = full_name or line.text.strip()
        elif line.name in _LABELS and cards and (value := _value(line).strip()):
            card.append(f"{_LABELS[line.name]}{_kind(line)}: {value}")
    sink.add("\n".join(card))  # of a card that is cut off
    if not cards:
        raise Unreadable("damaged")
    sink.facts["cards"] = cards
