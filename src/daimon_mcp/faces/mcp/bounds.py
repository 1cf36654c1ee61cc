"""No answer of a tool is longer than the operator allows: fewer rows, shorter texts, and it says so.

A token is taken as four bytes of UTF-8, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from daimon_mcp.operations.requests import Request

BYTES_PER_TOKEN = 4
USUAL_TOKENS = 8_000  # of an answer to a call that does not say how much it wants

# A cut link or cursor is of no use; a script holds a link.
_WHOLE = frozenset(
    {"url", "operator_action_url", "agent_script", "cursor", "next_cursor", "id", "password", "api_key",
     "account_api_key", "upgrade_context", "next_steps", "download_url", "upload_url", "path"}
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
    rows = len(_rows(result))
    if hasattr(request, "limit") and rows > _FEW_ROWS:
        return request.model_copy(update={"limit": max(_FEW_ROWS, int(0.9 * rows * most / measured))})
    texts = [len(text.encode()) for text in _texts(result)]
    room = most - (measured - sum(texts))
    if isinstance(tokens, int) and tokens > _LEAST_TOKENS and texts and room > most // 5:
        # What is asked for is shared by all rows of an answer.
        shown = min(tokens, (sum(texts) if rows else max(texts)) // BYTES_PER_TOKEN)
        return request.model_copy(
            update={"max_tokens": min(tokens - 1, max(_LEAST_TOKENS, int(0.9 * shown * room / sum(texts))))}
        )
    if hasattr(request, "limit") and rows > 1:
        return request.model_copy(update={"limit": max(1, int(0.9 * rows * most / measured))})
    if isinstance(tokens, int) and tokens > _LEAST_TOKENS:
        return request.model_copy(update={"max_tokens": _LEAST_TOKENS})
    return None


_LEAST_TOKENS = 25
_FEW_ROWS = 5  # as many as this are rather shown with shorter texts than one by one


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = result.get("thread", result)
    for name in ("messages", "threads", "changes", "drafts", "inboxes", "webhooks"):
        if name in found:
            return found[name]
    return []


def _texts(result: Mapping[str, Any]) -> list[str]:
    found = [result, *_rows(result)]
    return [text for each in found for name in _TEXTS if (text := each.get(name))]


def clipped(envelope: dict[str, Any], most: int) -> dict[str, Any]:
    """The envelope with its longest strings and lists cut until it fits, and named in `truncated_fields`."""
    if size(envelope) <= most:
        return envelope
    smaller = envelope
    for longest, items in _STEPS:
        cut = _Cut(longest, items)
        smaller = {key: cut.value(key, value) for key, value in envelope.items()}
        note = {"truncated": True, "truncated_fields": list(cut.names)}
        if "result" in smaller:
            smaller["result"] = {**smaller["result"], **note}
        else:
            smaller |= note
        if size(smaller) <= most:
            break
    return smaller


class _Cut:
    """One try: strings of at most `longest` characters, lists of at most `items`."""

    def __init__(self, longest: int, items: int) -> None:
        self._longest = longest
        self._items = items
        self.names: dict[str, None] = {}  # in order, each once

    def value(self, name: str, value: Any) -> Any:
        if name in _WHOLE:
            return value
        if isinstance(value, str):
            return self._string(name, value)
        if isinstance(value, Mapping):
            return self._fields(name, cast("Mapping[str, Any]", value))
        if isinstance(value, list):
            found = cast("list[Any]", value)
            kept = [each for each in found if self._is_short(name, each)][: self._items]
            if len(kept) < len(found):
                self.names[name] = None
            return [self.value(name, each) for each in kept]
        return value

    def _is_short(self, name: str, each: Any) -> bool:
        """Whether a link fits: it is kept whole or not at all."""
        link: str = each["url"] if name == "links" else each if name == "cta_links" else ""
        return len(link) <= self._longest

    def _string(self, name: str, text: str) -> str:
        # The least that a text was asked for again with is not cut once more: its next_offset is said already.
        longest = max(self._longest, _LEAST_TOKENS * BYTES_PER_TOKEN) if name in _TEXTS else self._longest
        if len(text) <= longest:
            return text
        self.names[name] = None
        return text[: longest - 1] + "…"

    def _fields(self, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        kept = list(fields)
        if name in _OPEN and len(kept) > self._items:
            self.names[name] = None
            kept = kept[: self._items]
        smaller = {self._string(name, key) if name in _OPEN else key: self.value(key, fields[key]) for key in kept}
        for text in ("body_text", "extracted_text"):
            if "next_offset" in fields and smaller.get(text) != fields.get(text):
                # only where a text was read from its start
                smaller |= {"next_offset": len(smaller[text]) - 1, "truncated": True}
        return smaller


_TEXTS = ("body_text", "reply_body", "body_html", "extracted_text")
# Objects whose fields are not ours, and can be very many.
_OPEN = ("headers", "metadata")
