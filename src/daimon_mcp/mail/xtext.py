"""xtext (RFC 3461 §4): how ENVID and ORCPT write any octet as printable ASCII without spaces, `+` or `=`."""

from __future__ import annotations

import re

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_LENIENT = re.compile(r"(?:[!-*,-<>-~\x80-\U0010ffff]|\+[0-9A-Fa-f]{2})*\Z")
_HEX = re.compile(rb"\+([0-9A-Fa-f]{2})")


def is_xtext(text: str) -> bool:
    """Whether `text` is xtext to the letter, upper-case hexadecimals included; "" is."""
    return bool(_XTEXT.match(text))


def encode(text: str) -> str:
    """Any text as xtext; what is beyond ASCII goes as the octets of its UTF-8."""
    return "".join(
        chr(octet) if 0x21 <= octet <= 0x7E and octet not in b"+=" else f"+{octet:02X}"
        for octet in text.encode("utf-8", "replace")
    )


def decode(text: str) -> str | None:
    """The text that xtext stands for, or None when it is no xtext.

    Lower-case hexadecimals are read too, and characters beyond ASCII as they are (RFC 6533 §3, with SMTPUTF8). The
    result can hold anything, line ends included: clean it before it is shown or written.
    """
    if not _LENIENT.match(text):
        return None
    octets = _HEX.sub(lambda match: bytes([int(match[1], 16)]), text.encode("utf-8"))
    return octets.decode("utf-8", "replace")
