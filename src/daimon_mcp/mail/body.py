"""MIME parts on their way out: seven-bit bodies, attachments, multiparts (RFC 2045, RFC 2046, RFC 2231)."""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from daimon_mcp.mail.encode import fold
from daimon_mcp.mail.headers import parse_parameters
from daimon_mcp.mail.sanitize import clean_line

MAX_LINE = 998

_LINE_END = re.compile(r"\r\n|\r|\n")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9!#$&+.^_`{|}~-]{1,60}\Z")
_VALUE = re.compile(r"[ -~]{1,200}\Z")
_ID = re.compile(r"[!-;=?-~]{1,200}\Z")
_LONG_LINE = re.compile(rb"[^\n]{999}")
_FROM = re.compile(rb"^From ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OutgoingAttachment:
    """A file to send. With a `content_id` that the HTML refers to (`cid:…`) it is shown inside it."""

    filename: str
    content_type: str
    content: bytes
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """Header fields (each with its CRLF) and an encoded body that ends with CRLF."""

    fields: str
    body: bytes

    def octets(self) -> bytes:
        return self.fields.encode() + b"\r\n" + self.body


def canonical_text(text: str) -> bytes:
    """UTF-8 with CRLF line ends and one at the end; controls other than tab are dropped, lone surrogates replaced."""
    plain = _CONTROLS.sub("", _LINE_END.sub("\n", text))
    if not plain.endswith("\n"):
        plain += "\n"
    return plain.replace("\n", "\r\n").encode("utf-8", "replace")


def _is_seven_bit(octets: bytes) -> bool:
    """Canonical ASCII lines of at most 998 that no relay changes (a line `From …` is given a `>` by some)."""
    return octets.isascii() and not _LONG_LINE.search(octets) and not _FROM.search(octets)


def text_entity(text: str, subtype: str) -> Entity:
    """A text part: 7bit when it can be, else quoted-printable, or base64 when that is shorter."""
    octets = canonical_text(text)
    kind = f'text/{subtype}; charset="utf-8"'
    if _is_seven_bit(octets):
        return Entity(fold("Content-Type", kind) + fold("Content-Transfer-Encoding", "7bit"), octets)
    printable = quoted_printable(octets)
    if len(printable) <= len(octets) * 1.6:
        return Entity(fold("Content-Type", kind) + fold("Content-Transfer-Encoding", "quoted-printable"), printable)
    return Entity(fold("Content-Type", kind) + fold("Content-Transfer-Encoding", "base64"), base64_lines(octets))


def quoted_printable(octets: bytes) -> bytes:
    """RFC 2045 §6.7 of text with CRLF line ends. A line that starts with `From ` is protected."""
    encoded = binascii.b2a_qp(octets, quotetabs=False, istext=True, header=False)
    # Encoding the F makes the line two octets longer: a soft line break after it keeps the limit of 76.
    return _FROM.sub(b"=46=\r\nrom ", encoded)


def base64_lines(octets: bytes) -> bytes:
    """Base64 in lines of 76 with CRLF."""
    lines = [binascii.b2a_base64(octets[at : at + 57], newline=False) for at in range(0, len(octets), 57)]
    return b"\r\n".join(lines) + b"\r\n"


def _parameter(name: str, value: str) -> str:
    """`; name=value`, quoted, or in RFC 2231 form (sections when it is long)."""
    if _VALUE.match(value) and len(value) <= 60:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'; {name}="{escaped}"'
    encoded = "utf-8''" + quote(value, safe="!#$&+-.^_`|~", errors="replace")
    if len(encoded) <= 60:
        return f"; {name}*={encoded}"
    pieces: list[str] = []
    while encoded:
        cut = min(50, len(encoded))
        while cut < len(encoded) and "%" in encoded[cut - 2 : cut]:  # never inside %XX
            cut -= 1
        pieces.append(f"; {name}*{len(pieces)}*={encoded[:cut]}")
        encoded = encoded[cut:]
    return "".join(pieces)


def attachment_entity(file: OutgoingAttachment, *, inline: bool = False) -> Entity:
    """A file. A type that is none, or that may not be base64 (message/*, multipart/*), is sent as octet-stream.

    A message/rfc822 that is seven-bit already goes as it is. A content id that cannot be one is left out.
    """
    kind, given = parse_parameters(file.content_type.encode("utf-8", "replace"))
    if not _TYPE.match(kind) or kind.startswith("multipart/"):
        kind, given = "application/octet-stream", {}
    content = file.content
    body, encoding = b"", "base64"
    if kind.startswith("message/"):
        if kind == "message/rfc822" and _is_seven_bit(content) and _is_canonical(content):
            body, encoding = content if content.endswith(b"\r\n") else content + b"\r\n", "7bit"
        else:
            kind, given = "application/octet-stream", {}
    params = "".join(
        _parameter(name, value)
        for name, value in given.items()
        if name not in {"name", "boundary"} and _TOKEN.match(name) and _VALUE.match(value)
    )
    name = clean_line(file.filename).replace("/", "_").replace("\\", "_")[:200] or "attachment"
    disposition = ("inline" if inline else "attachment") + _parameter("filename", name)
    fields = fold("Content-Type", kind + params) + fold("Content-Transfer-Encoding", encoding)
    fields += fold("Content-Disposition", disposition)
    identifier = (file.content_id or "").strip("<> ")
    if _ID.match(identifier):
        fields += fold("Content-ID", f"<{identifier}>")
    return Entity(fields, body or base64_lines(content))


def _is_canonical(octets: bytes) -> bool:
    """Every CR and LF stands in a CRLF."""
    pairs = octets.count(b"\r\n")
    return octets.count(b"\n") == pairs == octets.count(b"\r")


def multipart_entity(subtype: str, parts: Sequence[Entity], *, seed: str) -> Entity:
    """The parts under a boundary made from `seed` that occurs in none of them."""
    bodies = [part.octets() for part in parts]
    number = 0
    while True:
        digest = hashlib.sha256(f"{seed}/{subtype}/{number}".encode("utf-8", "replace")).hexdigest()[:28]
        boundary = f"=_{digest}"
        if not any(boundary.encode() in body for body in bodies):
            break
        number += 1
    line = f"--{boundary}\r\n".encode()
    body = b"".join(line + part + b"\r\n" for part in bodies) + f"--{boundary}--\r\n".encode()
    return Entity(fold("Content-Type", f'multipart/{subtype}; boundary="{boundary}"'), body)
