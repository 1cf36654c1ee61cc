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

    A text is asked for fewer tokens, so that `next_offset` goes on where it stops; a list for fewer rows, so that its
    cursor does. `measured` and `most` are bytes.
    """
    tokens = getattr(request, "max_tokens", None)
    texts = [len(text.encode()) for text in _texts(result)]
    room = most - (measured - sum(texts))
    if isinstance(tokens, int) and tokens > _LEAST_TOKENS and texts and room > most // 5:
        shown = min(tokens, max(texts) // BYTES_PER_TOKEN)
        return request.model_copy(
            update={"max_tokens": min(tokens - 1, max(_LEAST_TOKENS, int(0.9 * shown * room / sum(texts))))}
        )
    rows = len(_rows(result))
    if hasattr(request, "limit") and rows > 1:
        return request.model_copy(update={"limit": max(1, int(0.9 * rows * most / measured))})
    if isinstance(tokens, int) and tokens > _LEAST_TOKENS:
        return request.model_copy(update={"max_tokens": _LEAST_TOKENS})
    return None


_LEAST_TOKENS = 100


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = result.get("thread", result)
    for name in ("messages", "drafts", "inboxes"):
        if name in found:
            return found[name]
    return []


def _texts(result: Mapping[str, Any]) -> list[str]:
    found = [result, *_rows(result)]
    return [text for each in found for name in ("body_text", "reply_body", "body_html") if (text := each.get(name))]


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
