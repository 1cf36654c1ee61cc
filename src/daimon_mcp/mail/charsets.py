"""Octets to text, whatever the label says. Never raises."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

# Labels that in practice mean a larger set than they name (WHATWG Encoding), or that Python spells otherwise.
_ALIASES = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "ansi_x3.4-1968": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "iso_8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "chinese": "gb18030",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "sjis": "cp932",
    "windows-31j": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "unicode-1-1-utf-7": "utf-7",
    "utf8mb4": "utf-8",
    "utf-8": "utf-8-sig",
    "utf8": "utf-8-sig",
}
_LABEL = re.compile(r"[a-z0-9][a-z0-9_.:+-]{0,39}\Z")
# Codecs of Python that are no charsets of mail, or not linear in time.
# ASCII octets that mean other characters in UTF-7, HZ, the ISO-2022 family, UTF-16 and EBCDIC.
_PROBE = b"ABC abc 019 +AGE- ~{VP~} \x1b$B0l\x1b(B ..."
_REFUSED = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})


@lru_cache(maxsize=256)
def find_codec(label: str) -> tuple[str, bool] | None:
    """The Python codec for a charset label and whether it leaves ASCII octets alone; None for a label unknown to us."""
    name = label.strip().strip("\"'").lower()
    name = _ALIASES.get(name, name)
    if not _LABEL.match(name):
        return None
    try:
        info = codecs.lookup(name)
        # bytes.decode refuses Python's codecs that are no charsets, such as base64, zip and rot13.
        b"aaaa".decode(name, "replace")
    except (LookupError, ValueError, ImportError):
        return None
    if info.name.replace("-", "_") in _REFUSED:
        return None
    return info.name, _PROBE.decode(name, "replace") == _PROBE.decode("ascii")


def _western(octets: bytes) -> str:
    """Windows-1252, and Latin-1 where that has holes."""
    try:
        return octets.decode("cp1252")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def decode_unlabelled(octets: bytes) -> str:
    """Octets without a charset: UTF-8 when they are valid, else Windows-1252 (guessing is worse on short text)."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return _western(octets)


def decode_text(octets: bytes, label: str | None) -> tuple[str, str | None]:
    """Octets in the charset `label` (None: not said) as (text, warning or None)."""
    found = find_codec(label) if label else None
    if octets.isascii() and (found is None or found[1]):
        return octets.decode("ascii"), None if found or not label else f"unknown charset {label[:40]!r}"
    if found is None:
        warning = f"unknown charset {label[:40]!r}" if label else "8-bit text without a charset"
        return decode_unlabelled(octets), warning
    codec = found[0]
    if codec == "cp1252":
        # Labelled Latin, but valid UTF-8: nobody writes such Latin by chance.
        try:
            return octets.decode("utf-8"), None
        except UnicodeDecodeError:
            return _western(octets), None
    try:
        return octets.decode(codec), None
    except UnicodeError:
        pass
    warning = f"text is not valid {label[:40] if label else codec!r}"
    text = octets.decode(codec, "replace")
    broken = text.count("\ufffd")
    if codec.startswith("utf-8") and broken > sum(1 for character in text if character > "\x7f") - broken:
        return _western(octets), warning
    return text, warning
