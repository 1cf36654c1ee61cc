"""What iCalendar and vCard share (RFC 5545 §3.1, RFC 6350 §3.3): folded lines `NAME;PARAM=VALUE:value`."""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass

from daimon_mcp.mail.charsets import decode_text

_FOLD = re.compile(r"\r?\n[ \t]")
_LINE = re.compile(r"[^\r\n]+")
_HEAD = re.compile(r"([A-Za-z0-9.-]{1,80})((?:;[^\";:]{0,200}(?:\"[^\"]{0,500}\"[^\";:]{0,200}){0,10}){0,20}):")
_PARAMETER = re.compile(r";([^=;\"]{1,40})(?:=(\"[^\"]*\"|[^;\"]*))?")
_ESCAPE = re.compile(r"\\([\\;,nN])")
_MAX_LINE = 20_000


@dataclass(frozen=True, slots=True)
class ContentLine:
    """One line: upper-case name without a group, parameters by upper-case name, the value as written."""

    name: str
    params: dict[str, str]
    value: str

    @property
    def text(self) -> str:
        """The value as text, unescaped."""
        return unescape(self.value)


def unescape(value: str) -> str:
    """A value without its backslashes (RFC 5545 §3.3.11)."""
    return _ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)


def content_lines(text: str) -> Iterator[ContentLine]:
    """The lines of `text` that are content lines, the others left out. Quoted-printable of vCard 2.1 is decoded."""
    lines = (line[0] for line in _LINE.finditer(_FOLD.sub("", text)))
    for line in lines:
        match = _HEAD.match(line[:_MAX_LINE])
        if not match:
            continue
        params: dict[str, str] = {}
        for name, value in _PARAMETER.findall(match[2]):
            params.setdefault(name.upper(), value.strip('"'))
        value = line[match.end() :][:_MAX_LINE]
        if "QUOTED-PRINTABLE" in params or params.get("ENCODING", "").upper() == "QUOTED-PRINTABLE":
            while value.endswith("=") and len(value) < _MAX_LINE and (more := next(lines, None)) is not None:
                value = value[:-1] + more[:_MAX_LINE]
            value = decode_text(quopri.decodestring(value.encode()), params.get("CHARSET"))[0].replace("\r\n", "\n")
        yield ContentLine(match[1].rpartition(".")[2].upper(), params, value)
