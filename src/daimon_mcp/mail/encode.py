"""Header text on its way out: encoded words (RFC 2047 §2) and folding (RFC 5322 §2.2.3)."""

from __future__ import annotations

import binascii
import unicodedata

FOLD_AT = 78
_MAX_WORD = 75
_Q_LITERAL = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")


def _clusters(text: str) -> list[str]:
    """Characters with the marks that follow them, so that no encoded word begins with a mark."""
    clusters: list[str] = []
    for character in text:
        joined = clusters and len(clusters[-1]) < 8 and unicodedata.category(character)[0] == "M"
        if joined:
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _q(octets: bytes) -> str:
    return "".join(chr(octet) if octet in _Q_LITERAL else "_" if octet == 32 else f"={octet:02X}" for octet in octets)


def encoded_words(text: str, taken: int = 1) -> str:
    """`text` as encoded words in UTF-8 of at most 75 characters, separated by single spaces.

    Q for mostly ASCII, else B. `taken` characters stand before the first one: a line with such words has at most 76.
    No character is split between words. Q uses only what is allowed in a phrase (RFC 2047 §5 (3)).
    """
    clusters = [cluster.encode("utf-8", "replace") for cluster in _clusters(text)]
    whole = b"".join(clusters)
    quoted = len(_q(whole)) <= len(whole) * 2  # a little longer than B, and readable
    room = _MAX_WORD - len("=?utf-8?q??=")
    words: list[str] = []
    current = b""

    def size(octets: bytes) -> int:
        return len(_q(octets)) if quoted else (len(octets) + 2) // 3 * 4

    def close() -> None:
        payload = _q(current) if quoted else binascii.b2a_base64(current, newline=False).decode("ascii")
        words.append(f"=?utf-8?{'q' if quoted else 'b'}?{payload}?=")

    for cluster in clusters:
        if current and size(current + cluster) > (room if words else room + 1 - taken):
            close()
            current = b""
        current += cluster
    if current:
        close()
    return " ".join(words)


def fold(name: str, value: str) -> str:
    """`name: value` folded at single spaces to lines of at most 78 where its words allow, with CRLF at the end.

    `value` is one line without runs of spaces; the first word stays beside the name.
    """
    lines: list[str] = []
    line = f"{name}:"
    for index, word in enumerate(value.split(" ")):
        if index and len(line) + 1 + len(word) > FOLD_AT:
            lines.append(line)
            line = ""
        line += " " + word
    lines.append(line.rstrip(" "))
    return "\r\n".join(lines) + "\r\n"


def unstructured(name: str, value: str) -> str:
    """A field of free text: controls and white space become single spaces, what is not plain ASCII is encoded."""
    text = " ".join("".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c for c in value).split())
    text = "".join("\ufffd" if unicodedata.category(c) == "Cs" else c for c in text)
    plain = text.isascii() and "=?" not in text and all(len(word) <= 900 for word in text.split(" "))
    return fold(name, text if plain else encoded_words(text, len(name) + 2))
