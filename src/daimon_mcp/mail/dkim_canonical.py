"""A message taken apart for DKIM and ARC, and its canonical forms (RFC 6376 §3.4).

Every step is linear in the size of what a stranger sent: bytes methods, no pattern that could go back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Canonicalization = Literal["simple", "relaxed"]

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_TABS = bytes.maketrans(b"\t", b" ")


@dataclass(frozen=True, slots=True)
class Field:
    """A header field: its name in lower case, and itself from its name up to (without) its last CRLF."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, folds kept."""
        return self.raw.partition(b":")[2]


@dataclass(slots=True)
class Parts:
    """A message as fields and body, every line ended by CRLF. Bodies are canonicalised once, whoever asks."""

    fields: tuple[Field, ...]
    body: bytes
    _bodies: dict[Canonicalization, bytes] = field(default_factory=dict[Canonicalization, bytes])
    _hashes: dict[tuple[Canonicalization, int | None], bytes] = field(
        default_factory=dict[tuple[Canonicalization, int | None], bytes]
    )

    def canonical_body(self, form: Canonicalization) -> bytes:
        """The body in one of the two forms."""
        if form not in self._bodies:
            self._bodies[form] = relaxed_body(self.body) if form == "relaxed" else simple_body(self.body)
        return self._bodies[form]

    def body_hash(self, form: Canonicalization, length: int | None = None) -> bytes:
        """SHA-256 of the canonical body, or of its first `length` octets."""
        key = (form, length)
        if key not in self._hashes:
            body = self.canonical_body(form)
            self._hashes[key] = hashlib.sha256(body if length is None else memoryview(body)[:length]).digest()
        return self._hashes[key]


def take_apart(content: bytes) -> Parts:
    """`content` as fields and body. Bare line feeds count as line ends; lines that are no field are left out.

    Without an empty line everything is header. Never raises.
    """
    if content.count(b"\n") != content.count(b"\r\n"):
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if content.startswith(b"\r\n"):
        return Parts((), content[2:])
    header, _, body = content.partition(b"\r\n\r\n")
    fields: list[Field] = []
    for raw in _FIELD_END.split(header.removesuffix(b"\r\n")):
        name, colon, _ = raw.partition(b":")
        name = name.rstrip(b" \t")
        if colon and name and name[0] not in b" \t" and b"\n" not in name:
            fields.append(Field(name.lower(), raw))
    return Parts(tuple(fields), body)


def _single_spaces(text: bytes) -> bytes:
    """Tabs and runs of spaces as one space. A run halves in every round, so there are few of them."""
    text = text.translate(_TABS)
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text


def _end_of_text(body: bytes) -> int:
    """Where the empty lines at the end of a body begin: the last line's own CRLF is one of theirs."""
    end = len(body.rstrip(b"\r\n"))
    if end == len(body) or body.endswith(b"\r"):
        return len(body)
    lone = body.rfind(b"\r\r", end)  # a carriage return that ends no line is text
    return end if lone < 0 else lone + 1


def simple_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.3: one CRLF at the end, also where there is no body at all."""
    end = _end_of_text(body)
    return body if body[end:] == b"\r\n" else body[:end] + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.4: white space reduced, none at the ends of lines, no empty lines at the end."""
    body = _single_spaces(body).replace(b" \r\n", b"\r\n").removesuffix(b" ")
    end = _end_of_text(body)
    if not end:
        return b""
    return body if body[end:] == b"\r\n" else body[:end] + b"\r\n"


def relaxed_field(field: Field) -> bytes:
    """RFC 6376 §3.4.2: name in lower case, unfolded, white space reduced; without the CRLF."""
    return field.name + b":" + _single_spaces(field.value.replace(b"\r\n", b"")).strip(b" ")


def canonical_field(field: Field, form: Canonicalization) -> bytes:
    """A field in one of the two forms, without the CRLF behind it."""
    return relaxed_field(field) if form == "relaxed" else field.raw


def select_fields(fields: Sequence[Field], names: Sequence[bytes]) -> list[Field]:
    """The fields that a list of names (lower case) means: of equal ones the last first; none where none is left
    (RFC 6376 §5.4.2)."""
    left: dict[bytes, list[Field]] = {name: [] for name in names}
    for one in fields:
        if one.name in left:
            left[one.name].append(one)
    return [left[name].pop() for name in names if left[name]]
