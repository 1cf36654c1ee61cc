"""RTF: its words, without the tables of fonts, colours and styles, without pictures and hidden text."""

from __future__ import annotations

import re

from daimon_mcp.extraction.sink import Sink, Unreadable
from daimon_mcp.mail.charsets import decode_text

_TOKEN = re.compile(
    r"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|([\r\n]+)|([^\\{}\r\n]+)|\\"
)
_DESTINATIONS = frozenset({
    "fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "listtable", "listoverridetable", "rsidtbl",
    "generator", "themedata", "datastore", "colorschememapping", "latentstyles", "xmlnstbl", "fldinst", "header",
    "footer", "headerl", "headerr", "headerf", "footerl", "footerr", "footerf", "bkmkstart", "bkmkend", "mmathPr",
    "wgrffmtfilter", "revtbl", "pgdsctbl", "filetbl", "userprops",
})  # fmt: skip
_CHARACTERS = {
    "par": "\n", "line": "\n", "sect": "\n\n", "page": "\n\n", "row": "\n", "cell": "\t", "tab": "\t",
    "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”",
    "emspace": " ", "enspace": " ",
}  # fmt: skip


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write the text."""
    if not content[:20].lstrip().startswith(b"{\\rtf"):
        raise Unreadable("damaged")
    source = content.decode("latin-1")
    codepage = "cp1252"
    groups: list[tuple[bool, int]] = []  # whether what encloses a group is skipped, and its \uc
    skip, fallback, pending = False, 1, 0
    octets = bytearray()  # of one run of \'xx: two of them may be one character
    units = bytearray()  # of one run of \u, in UTF-16

    def write(text: str) -> None:
        if octets:
            text = decode_text(bytes(octets), codepage)[0] + text
            octets.clear()
        if units:
            text = units.decode("utf-16-le", "replace") + text
            units.clear()
        if text and not skip:
            sink.add(text)

    for match in _TOKEN.finditer(source):
        word, number, octet, symbol, brace, _, plain = match.groups()
        if octet is not None:
            if pending:
                pending -= 1
            elif not skip:
                if units:
                    write("")
                octets.append(int(octet, 16))
            continue
        if plain is not None:
            cut = min(pending, len(plain))
            pending -= cut
            if cut < len(plain):
                write(plain[cut:])
            continue
        sink.check()
        if brace == "{":
            write("")
            groups.append((skip, fallback))
            pending = 0
        elif brace == "}":
            write("")
            skip, fallback = groups.pop() if groups else (skip, fallback)
            pending = 0
        elif symbol == "*":
            skip = True  # a destination that who does not know it shall skip
        elif symbol is not None:
            write({"~": "\u00a0", "_": "-", "\n": "\n", "\r": "\n"}.get(symbol, symbol if symbol in "\\{}" else ""))
        elif word is not None:
            if word == "u" and number is not None:
                if octets:
                    write("")
                if not skip:
                    units += (int(number) % 65_536).to_bytes(2, "little")
                pending = fallback
            elif word == "uc":
                fallback = min(max(int(number or 1), 0), 10)
            elif word == "ansicpg" and number:
                codepage = f"cp{number}" if number != "65001" else "utf-8"
            elif word in _DESTINATIONS:
                write("")
                skip = True
            elif word == "v":
                write("")
                skip = number != "0"
            elif word in _CHARACTERS:
                write(_CHARACTERS[word])
            elif word == "bin":
                raise Unreadable("unsupported")
    write("")
