"""One-time codes that a mail binds to a site (draft-wells-origin-bound-one-time-codes)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from daimon_mcp.mail.html_view import Line

_BOUND = re.compile(r"@?((?:[\w-]{1,63}\.){1,8}[\w-]{2,63})(?::\d{1,5})? ?#([A-Za-z0-9-]{3,16})(?: [@%]\S{1,253})?")
_HEADER_ORIGIN = re.compile(
    r"https?://((?:[\w-]{1,63}\.){0,8}[\w-]{1,63})|\b((?:[\w-]{1,63}\.){1,8}[A-Za-z][\w-]{1,62})\b"
)
_HEADER_CODE = re.compile(r"\b(?:[Cc]ode|otp|OTP|[Tt]oken)\s{0,3}=\s{0,3}\"?([A-Za-z0-9-]{3,16})")


def _host(text: str) -> str:
    return text.strip(".").lower()


def bound_line(lines: Sequence[Line]) -> tuple[str, str] | None:
    """`(code, domain)` of the last line with text, when it has the form `@example.com #123456`."""
    for line in reversed(lines[-20:]):
        text = line.text.strip()
        if text:
            match = _BOUND.fullmatch(text) if text.startswith("@") and len(text) < 600 else None
            return (match.group(2), _host(match.group(1))) if match else None
    return None


def bound_header(value: str | None) -> tuple[str, str] | None:
    """`(code, domain)` of a header: `@example.com #123456`, or parameters `code=…` with an origin."""
    value = (value or "")[:500].strip()
    if match := _BOUND.fullmatch(value):
        return match.group(2), _host(match.group(1))
    code, origin = _HEADER_CODE.search(value), _HEADER_ORIGIN.search(value)
    if code is None or origin is None:
        return None
    return code.group(1), _host(origin.group(1) or origin.group(2))
