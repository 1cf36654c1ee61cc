"""Parameters of MAIL and RCPT: which there are, and what their values look like.

SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), AUTH (RFC 4954 §5), RET, ENVID, NOTIFY and ORCPT (RFC 3461 §4).
A parameter that was not offered is 555, one that is given twice or has a bad value is 501 (RFC 5321 §4.1.1.11).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from daimon_mcp.faces.smtp import replies
from daimon_mcp.faces.smtp.dialogue import Rejected
from daimon_mcp.mail.xtext import is_xtext

Table = Mapping[str, Callable[[str], object]]
"""Parameters that are offered, by their names in upper case, each with a check of its value: true if it is a good one.
"""


def _orcpt(value: str) -> bool:
    """RFC 3461 §4.2: address type and xtext."""
    kind, _, address = value.partition(";")
    return len(value) <= 500 and bool(_WORD(kind)) and address != "" and is_xtext(address)


_WORD: Final = re.compile(r"[A-Za-z0-9\-]+").fullmatch

MAIL: Final[Table] = {
    "SIZE": re.compile(r"[0-9]{1,20}").fullmatch,
    "BODY": re.compile(r"7BIT|8BITMIME", re.IGNORECASE).fullmatch,
    "SMTPUTF8": "".__eq__,
}
MAIL_DSN: Final[Table] = {
    "RET": re.compile(r"FULL|HDRS", re.IGNORECASE).fullmatch,
    "ENVID": lambda value: 1 <= len(value) <= 100 and is_xtext(value),
}
MAIL_AUTH: Final[Table] = {"AUTH": lambda value: value == "<>" or (1 <= len(value) <= 500 and is_xtext(value))}
RCPT: Final[Table] = {}
RCPT_DSN: Final[Table] = {
    "NOTIFY": re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*", re.IGNORECASE).fullmatch,
    "ORCPT": _orcpt,
}
_FLAGS: Final = frozenset({"SMTPUTF8"})  # parameters without a value


def read_parameters(words: list[str], offered: Table, syntax: str) -> dict[str, str]:
    """The parameters in `words`, names in upper case, values as given ("" for a flag).

    Raises Rejected: with 555 for one that is not `offered`, with `syntax` (a reply line) for a bad one.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.upper()
        if (is_good := offered.get(name)) is None:
            raise Rejected(replies.PARAMETER_UNKNOWN)
        if name in found or bool(equals) == (name in _FLAGS) or not is_good(value):
            raise Rejected(syntax)
        found[name] = value
    return found
