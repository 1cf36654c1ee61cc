"""Reverse- and forward-paths as MAIL and RCPT give them (RFC 5321 §4.1.2)."""

from __future__ import annotations

import re

# With two kindnesses: spaces after the colon, and dots anywhere in a local part, as some sites have.
# A source route is read and forgotten (RFC 5321 §4.1.1.3).
_LOCAL = r"""(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-\u0080-\U0010ffff]+|"(?:[^"\\]|\\.)*")"""
_DOMAIN = r"(?:[A-Za-z0-9_\-\u0080-\U0010ffff]+(?:\.[A-Za-z0-9_\-\u0080-\U0010ffff]+)*|\[[A-Za-z0-9:.\-]+\])"
_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
_PATH = re.compile(rf"<(?:{_ROUTE}(?P<local>{_LOCAL})@(?P<domain>{_DOMAIN})|(?P<bare>[A-Za-z]*))>(?P<rest>(?: .*)?)")
_SHAPE = re.compile(r"<.*>(?: .*)?")


def after_keyword(keyword: str, argument: str) -> str | None:
    """The path and parameters behind `FROM:` or `TO:`; None if it is no command of that shape."""
    if argument[: len(keyword)].upper() != keyword:
        return None
    path = argument[len(keyword) :].lstrip(" ")
    return path if _SHAPE.fullmatch(path) else None


def read_path(path: str) -> tuple[str, list[str]] | None:
    """Address ("" for `<>`, a bare word for `<postmaster>`) and parameters of a path; None if it is no address.

    Length limits are RFC 5321 §4.5.3.1, in octets. Characters that do not print, C1 controls and the invisible among
    them, are refused.
    """
    found = _PATH.fullmatch(path)
    if found is None or not path.isprintable():
        return None
    parameters = found["rest"].split()
    if found["local"] is None:
        return found["bare"], parameters
    if len(found["local"].encode()) > 64 or len(found["domain"].encode()) > 255:
        return None
    return f"{found['local']}@{found['domain']}", parameters
