"""Content-Transfer-Encoding, undone (RFC 2045 §6) and uuencode. Never raises, linear in time."""

from __future__ import annotations

import binascii
import re

_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
_UU_BEGIN = re.compile(rb"^begin(?:-base64)? [0-7]{3,4} ([^\r\n]{1,255})\r?\n", re.MULTILINE)
_UU_END = re.compile(rb"^end[ \t]*\r?$", re.MULTILINE)


def decode_base64(octets: bytes) -> tuple[bytes, str | None]:
    """Base64 as found in mail: junk between is dropped, missing padding forgiven, what follows padding ignored."""
    kept = octets.translate(None, _NOT_BASE64)
    padding = kept.find(b"=")
    data = kept if padding < 0 else kept[:padding]
    broken = len(data) % 4 == 1
    if broken:
        data = data[:-1]
    decoded = binascii.a2b_base64(data + b"=" * (-len(data) % 4))
    return decoded, "base64 is broken" if broken else None


def _uu_lines(octets: bytes) -> tuple[bytes, str | None]:
    decoded = bytearray()
    warning = None
    for line in octets.splitlines():
        if not line.strip() or line == b"`":
            continue
        try:
            decoded += binascii.a2b_uu(line)
        except binascii.Error:
            # Some encoders pad the last group wrongly: take the octets the count promises.
            count = ((line[0] - 32) & 63) * 4 // 3 + 2
            try:
                decoded += binascii.a2b_uu(line[:count])
            except binascii.Error:
                warning = "uuencode is broken"
    return bytes(decoded), warning


def find_uuencoded(octets: bytes) -> list[tuple[str, int, int]]:
    """Uuencoded files inside a text as (file name, start, end); start is at `begin`, end past `end`."""
    found: list[tuple[str, int, int]] = []
    position = 0
    while len(found) < 1000 and (begin := _UU_BEGIN.search(octets, position)):
        end = _UU_END.search(octets, begin.end())
        if end is None:
            break
        found.append((begin[1].decode("utf-8", "replace").strip(), begin.start(), end.end()))
        position = end.end()
    return found


def decode_uuencode(octets: bytes) -> tuple[bytes, str | None]:
    """The first `begin` … `end` file in `octets`; without one, all lines."""
    begin = _UU_BEGIN.search(octets)
    if begin is None:
        return _uu_lines(octets)
    end = _UU_END.search(octets, begin.end())
    body = octets[begin.end() : end.start() if end else len(octets)]
    if begin[0].startswith(b"begin-base64"):
        return decode_base64(body)
    return _uu_lines(body)


def decode_transfer(octets: bytes, encoding: str) -> tuple[bytes, str | None]:
    """Octets of a part in `encoding` (any case, "" is 7bit) as (decoded, warning or None)."""
    name = encoding.strip().lower()
    if name == "base64":
        return decode_base64(octets)
    if name == "quoted-printable":
        return binascii.a2b_qp(octets), None
    if name in {"x-uuencode", "uuencode", "x-uue", "uue"}:
        return decode_uuencode(octets)
    if name in {"", "7bit", "8bit", "binary", "7-bit", "8-bit"}:
        return octets, None
    return octets, f"unknown transfer encoding {encoding[:40]!r}"
