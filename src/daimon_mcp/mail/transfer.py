"""Content-Transfer-Encoding, undone (RFC 2045 §6) and uuencode. Never raises, linear in time."""

from __future__ import annotations

import binascii
import re

_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
_ONLY_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]*+")
_PADDED_END = re.compile(rb"=[ \t]{0,9}\r?\n")
_MAX_CHUNKS = 10_000
# White space at a line's end is no part of the text, soft line break or not (RFC 2045 §6.7).
_QP_SPACE = re.compile(rb"(?<![ \t])[ \t]{1,998}+(\r?(?:\n|\Z))")
_NOT_A_NAME = re.compile(r"[^a-z0-9]")
_NAMES = {
    **dict.fromkeys(["", "7", "8", "7bit", "8bit", "7bits", "8bits", "6bit", "binary", "none", "plain"], "binary"),
    **dict.fromkeys(["base64", "b64", "xbase64", "base64encoded"], "base64"),
    **dict.fromkeys(["quotedprintable", "quoteprintable", "quotedprintible", "qp", "quoted"], "quoted-printable"),
    **dict.fromkeys(["uuencode", "xuuencode", "uuencoded", "xuuencoded", "uue", "xuue"], "uuencode"),
}
# The first line below must be encoded: words after "begin 600 ..." in a letter are no file.
_UU_BEGIN = re.compile(
    rb"^begin(-base64)? [0-7]{3,4} ([^\r\n]{1,255})\r?\n(?=(?(1)[A-Za-z0-9+/=]{1,90}|[ -`]{0,90})[ \t]{0,9}\r?$)",
    re.MULTILINE,
)
_UU_END = re.compile(rb"^end[ \t]*\r?$", re.MULTILINE)


def decode_base64(octets: bytes) -> tuple[bytes, str | None]:
    """Base64 as found in mail: junk between is dropped, missing padding forgiven.

    What follows padding is read only if all of it is base64 again (some encoders pad every chunk), else ignored: it is
    a mailing list's footer.
    """
    kept = octets.translate(None, _NOT_BASE64)
    padding = kept.find(b"=")
    if padding < 0:
        return _quanta(kept)
    decoded, warning = _quanta(kept[:padding])
    rest = kept[padding:].lstrip(b"=")
    if not rest:
        return decoded, warning
    tail = octets[octets.find(b"=") :].strip()
    chunks = [chunk for chunk in rest.split(b"=", _MAX_CHUNKS) if chunk]
    if len(chunks) <= _MAX_CHUNKS and _ONLY_BASE64.fullmatch(tail) and all(len(chunk) % 4 != 1 for chunk in chunks):
        return b"".join([decoded, *(_quanta(chunk)[0] for chunk in chunks)]), warning
    return decoded, warning or "base64 has an end before its end"


def _quanta(data: bytes) -> tuple[bytes, str | None]:
    """Base64 without its padding."""
    broken = len(data) % 4 == 1
    if broken:
        data = data[:-1]
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4)), "base64 is broken" if broken else None


def _is_no_base64(octets: bytes) -> bool:
    """Whether octets labelled base64 are text that was never encoded: a tenth of them or more cannot be base64."""
    sample = octets[:65_536]
    end = _PADDED_END.search(sample)
    lines = (sample[: end.start()] if end else sample).split(b"\n")
    sample = b"".join(line.strip() for line in lines)
    return len(sample.translate(None, _NOT_BASE64)) * 10 < len(sample) * 9


def _uu_lines(octets: bytes) -> tuple[bytes, str | None]:
    decoded = bytearray()
    warning = None
    for line in octets.splitlines():
        if not line.strip() or line == b"`":
            continue
        count = (line[0] - 32) & 63
        held = (len(line) - 1) * 3 // 4
        try:
            octets_of_line = binascii.a2b_uu(line)
            if held * 2 < count:  # more is promised than blanks lost at the line's end can explain
                octets_of_line, warning = octets_of_line[:held], "uuencode is broken"
            decoded += octets_of_line
        except binascii.Error:
            # Some encoders pad the last group wrongly: take the octets the count promises.
            try:
                decoded += binascii.a2b_uu(line[: count * 4 // 3 + 2])
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
        found.append((begin[2].decode("utf-8", "replace").strip(), begin.start(), end.end()))
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


def transfer_name(encoding: str) -> str:
    """The standard's name for an encoding however it is spelt: "Base-64" and "8 bits" are meant; "" if unknown."""
    return _NAMES.get(_NOT_A_NAME.sub("", encoding[:40].lower()), "")


def decode_transfer(octets: bytes, encoding: str) -> tuple[bytes, str | None]:
    """Octets of a part in `encoding` (any case, "" is 7bit) as (decoded, warning or None)."""
    name = transfer_name(encoding)
    if name == "binary":
        return octets, None
    if name == "base64":
        if _is_no_base64(octets):
            return octets, "base64 is broken"
        return decode_base64(octets)
    if b"\r" in octets and b"\n" not in octets:
        octets = octets.replace(b"\r", b"\n")
    if name == "quoted-printable":
        if any(end in octets for end in (b" \n", b" \r\n", b"\t\n", b"\t\r\n")) or octets[-1:] in (b" ", b"\t"):
            octets = _QP_SPACE.sub(rb"\1", octets)
        return binascii.a2b_qp(octets), None
    if name == "uuencode":
        return decode_uuencode(octets)
    return octets, "unknown transfer encoding"
