"""Names as the DNS has them: labels of at most 63 bytes, 255 in all (RFC 1035 §2.3.4), U-labels made A-labels."""

from __future__ import annotations

import ipaddress
import re

import idna

from daimon_mcp.resolver.answers import BadName

MAX_NAME = 253  # characters, without the final dot: 255 bytes on the wire
MAX_LABEL = 63
_LABEL = re.compile(r"[!-~]+")  # more than host names may have: SPF macros and service names make odd ones


def canonical(name: str) -> str:
    """`name` in lower case ASCII without the final dot. Raises BadName for what cannot be asked."""
    text = name.removesuffix(".")
    if not text or len(text) > MAX_NAME:  # U-labels are shorter than their A-labels, so this holds for both
        raise BadName(f"{_shown(name)} is no domain name: empty or too long")
    if not text.isascii():
        text = _ascii(name, text)
    text = text.lower()
    for label in text.split("."):
        if len(label) > MAX_LABEL or not _LABEL.fullmatch(label):
            raise BadName(
                f"{_shown(name)} is no domain name: a label is empty, too long, or has a character not allowed"
            )
    if len(text) > MAX_NAME:
        raise BadName(f"{_shown(name)} is no domain name: too long")
    return text


def _ascii(name: str, text: str) -> str:
    """Each label by IDNA 2008 with the mapping of UTS 46; one with an underscore before it stays as it is."""
    try:
        mapped = idna.uts46_remap(text, std3_rules=False)
        return ".".join(part if part.isascii() else idna.alabel(part).decode("ascii") for part in mapped.split("."))
    except UnicodeError as error:  # IDNAError is one
        raise BadName(f"{_shown(name)} is no domain name: not valid in IDNA") from error


def reverse(address: str) -> str:
    """The name of the PTR records of an IP address. Raises BadName for what is none."""
    try:
        return ipaddress.ip_address(address).reverse_pointer
    except ValueError:
        raise BadName(f"{_shown(address)} is no IP address") from None


def _shown(name: str) -> str:
    return ascii(name[:100])
