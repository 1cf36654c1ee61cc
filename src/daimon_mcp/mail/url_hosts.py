"""The host that a browser goes to for a URL, however that is written (URL Standard §3.5 and §4.4)."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

_MOST_AUTHORITY = 10_000
_SPECIAL = re.compile(r"(https?):[/\\]*", re.IGNORECASE)
_AUTHORITY = re.compile(r"[^/\\?#]*")
_PORT = re.compile(r":(\d{0,5})\Z")
# Nothing of these may be in a host (URL Standard, forbidden domain code points).
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\"#%/:<>?@\[\\\]^`{|}]")
_IGNORED = re.compile("[\u00ad\u034f\u180b-\u180f\u200b-\u200d\u2060\u2064\ufe00-\ufe0f\ufeff]")
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_V6 = re.compile(r"\[[0-9a-f:.]{2,45}\]")
_NUMBER = re.compile(r"0x[0-9a-f]*|\d+")
_MOST_HOST = 1_000


def split_web_url(url: str) -> tuple[str, str, str] | None:
    """`(scheme, authority, rest)` of an http or https URL, None for others.

    Slashes and backslashes after the colon are skipped, however many; either of them ends the authority.
    """
    match = _SPECIAL.match(url)
    if match is None:
        return None
    end = _AUTHORITY.match(url, match.end(), match.end() + _MOST_AUTHORITY)
    authority = end.group() if end is not None else ""
    return match[1].lower(), authority, url[match.end() + len(authority) :]


def host_of(authority: str) -> str:
    """The host of an authority, lower case, without credentials, port and final dot; empty where there is none or a
    browser would refuse it. Names stay in the script they are written in, `xn--` ones as they are."""
    if len(authority) >= _MOST_AUTHORITY:
        return ""
    host = authority.rpartition("@")[2]
    port = _PORT.search(host)
    if port is not None:
        if port[1] and int(port[1]) > 65_535:
            return ""
        host = host[: port.start()]
    if host.startswith("["):
        return host.lower() if _V6.fullmatch(host.lower()) else ""
    if "%" in host:
        host = unquote(host[:_MOST_HOST], errors="replace")
    host = plain_host(host).rstrip(".")
    if not host or len(host) > _MOST_HOST or _FORBIDDEN.search(host):
        return ""
    return _address(host) if _NUMBER.fullmatch(host.rpartition(".")[2]) else host


def plain_host(host: str) -> str:
    """A host's name as it is looked up: lower case, its compatibility forms and all dots plain (UTS 46 mapping)."""
    if not host.isascii():
        host = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _IGNORED.sub("", host)).lower())
        return host.translate(_DOTS)
    return host.lower()


def _address(host: str) -> str:
    """An IPv4 address, whose parts may be decimal, octal or hexadecimal and fewer than four; empty if it is none."""
    parts = host.split(".")
    if len(parts) > 4 or any(_NUMBER.fullmatch(part) is None or len(part) > 20 for part in parts):
        return ""
    values: list[int] = []
    for part in parts:
        base = 16 if part.startswith("0x") else 8 if len(part) > 1 and part[0] == "0" else 10
        digits = part[2:] if base == 16 else part
        try:
            values.append(int(digits or "0", base))
        except ValueError:
            return ""
    if any(value > 255 for value in values[:-1]) or values[-1] >= 256 ** (5 - len(values)):
        return ""
    number = values[-1] + sum(value << 8 * (3 - place) for place, value in enumerate(values[:-1]))
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
