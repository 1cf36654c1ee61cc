"""Whether an `@supports` condition holds (CSS Conditional 3): yes, no, or nobody can say."""

from __future__ import annotations

import re

from daimon_mcp.mail.html_css import supported

MAX_LENGTH = 1000
MAX_DEPTH = 10

_TOKEN = re.compile(r"\s*(?:(not|and|or)(?=[\s(])|([-\w]*)\(|(\S))", re.IGNORECASE)
_DECLARATION = re.compile(r"\s*([-\w]+)\s*:(.*)", re.DOTALL)


def supports(condition: str, depth: int = 0) -> bool | None:
    """True or False when that is sure, None when it is not. Never raises."""
    if len(condition) > MAX_LENGTH or depth > MAX_DEPTH:
        return None
    declared = _DECLARATION.fullmatch(condition)
    if declared:
        return supported(declared[1], declared[2])
    result: bool | None = None
    operator = ""
    negated = False
    at = 0
    first = True
    while at < len(condition.rstrip()):
        found = _TOKEN.match(condition, at)
        if found is None or found[3]:
            return None
        at = found.end()
        if found[1]:
            word = found[1].lower()
            negated = negated != (word == "not")
            operator = operator if word == "not" else word
            continue
        end = _closing(condition, at)
        value = None if found[2] else supports(condition[at:end], depth + 1)
        at = end + 1
        if negated:
            value, negated = (None if value is None else not value), False
        result, first = (value if first else _joined(result, value, operator)), False
    return result


def _joined(left: bool | None, right: bool | None, operator: str) -> bool | None:
    decides = operator == "or"
    if left is decides or right is decides:
        return decides
    return None if left is None or right is None or not operator else not decides


def _closing(text: str, at: int) -> int:
    depth = 1
    for place in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if not depth:
            return place
    return len(text)
