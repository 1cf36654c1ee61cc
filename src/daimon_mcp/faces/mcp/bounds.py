"""No answer of a tool is longer than the operator allows: fewer rows, shorter texts, and it says so.

A token is taken as four bytes of UTF-8, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from daimon_mcp.operations.requests import Request

BYTES_PER_TOKEN = 4

# A cut link or cursor is of no use; a script holds a link.
_WHOLE = frozenset(
    {"url", "operator_action_url", "agent_script", "cursor", "next_cursor", "id", "password", "api_key",
     "account_api_key", "upgrade_context", "next_steps"}
)  # fmt: skip
# Longest string and longest list, tried in turn until all of it fits.
_STEPS = ((8000, 100), (2000, 50), (500, 20), (200, 10), (60, 3))


def size(envelope: Mapping[str, Any]) -> int:
    """Bytes of an envelope on the wire."""
    return len(orjson.dumps(envelope))


def narrowed(request: Request, result: Mapping[str, Any], measured: int, most: int) -> Request | None:
    """The same question for less, or None when it cannot be asked for less.

    A list is asked for fewer rows, so that its cursor goes on where it stops; a text for fewer tokens.
    """
    share = 0.9 * most / measured
    tokens = getattr(request, "max_tokens", None)
    if isinstance(tokens, int) and tokens > _LEAST_TOKENS:
        # Texts come twice in an answer (all of it, and the new words), so this may take more than one round.
        return request.model_copy(update={"max_tokens": max(_LEAST_TOKENS, int(min(tokens, most) * share))})
    rows = _rows(result)
    if hasattr(request, "limit") and rows > 1:
        return request.model_copy(update={"limit": max(1, int(rows * share))})
    return None


_LEAST_TOKENS = 100


def _rows(result: Mapping[str, Any]) -> int:
    found = result.get("thread", result)
    return max((len(cast("list[Any]", found[n])) for n in ("messages", "drafts", "inboxes") if n in found), default=0)


def clipped(envelope: dict[str, Any], most: int) -> dict[str, Any]:
    """The envelope with its longest strings and lists cut until it fits, and named in `truncated_fields`."""
    if size(envelope) <= most:
        return envelope
    smaller = envelope
    for longest, items in _STEPS:
        cut: dict[str, None] = {}
        smaller = {key: _cut(key, value, longest, items, cut) for key, value in envelope.items()}
        note = {"truncated": True, "truncated_fields": list(cut)}
        if "result" in smaller:
            smaller["result"] = {**smaller["result"], **note}
        else:
            smaller |= note
        if size(smaller) <= most:
            break
    return smaller


def _cut(name: str, value: Any, longest: int, items: int, cut: dict[str, None]) -> Any:
    if name in _WHOLE:
        return value
    if isinstance(value, str):
        if len(value) <= longest:
            return value
        cut[name] = None
        return value[: longest - 1] + "…"
    if isinstance(value, Mapping):
        entries = list(cast("Mapping[str, Any]", value).items())
        # The fields of an answer are few and ours; only what others fill can have very many.
        if len(entries) > max(items, _MOST_FIELDS):
            cut[name] = None
            entries = entries[:_MOST_FIELDS]
        return {key: _cut(key, each, longest, items, cut) for key, each in entries}
    if isinstance(value, list):
        found = cast("list[Any]", value)
        if len(found) > items:
            cut[name] = None
        return [_cut(name, each, longest, items, cut) for each in found[:items]]
    return value


_MOST_FIELDS = 40
