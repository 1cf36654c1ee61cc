"""Conversations: one thread with its messages, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.messages import CHARS_PER_TOKEN, clip
from daimon_mcp.operations.requests import Id, Moment, Request
from daimon_mcp.operations.views import Of, cursor, message_view, read_cursor, read_pair, thread_view
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import messages, threads

_LEAST_TOKENS = 25
_FOREVER = 1 << 62


class GetThread(Request):
    thread_id: Annotated[Id, Field(description="thr_ id")]
    limit: Annotated[int, Field(ge=1, le=50)] = 20
    cursor: str | None = None
    max_tokens: Annotated[int, Field(ge=100, le=25_000, description="For all texts together")] = 6000


class ListThreads(Request):
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    label: Annotated[str | None, Field(max_length=64, description="Only threads with a message so labelled")] = None
    unread: Annotated[bool | None, Field(description="true: only with unread messages")] = None
    before: Annotated[Moment | None, Field(description="Last message before; ISO 8601 with offset")] = None
    after: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


class Threads:
    """The thread verbs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list_threads(self, actor: Actor, request: ListThreads) -> Outcome:
        """One page of an inbox's threads, the one with the newest message first, without messages.

        Raises INBOX_NOT_FOUND, INVALID_REQUEST.
        """
        actor.require("message_read")
        core = self._core
        inbox = await access.inbox(core, actor, request.inbox)
        label = (request.label or "").strip().lower()
        unread = bool(request.unread) or label == "unread"
        own = "" if label == "unread" else label
        before_at, before = read_pair(request.cursor, Of.THREADS) if request.cursor else (request.before or _FOREVER, 0)
        values = {"label": own} if own else {}
        rows = await core.database.all(
            sql.threads_labelled if own else sql.threads_newest,
            slow=bool(own),
            inbox_no=inbox.no,
            before_at=before_at,
            before=before,
            updated_from=request.after or 0,
            unread=int(unread),
            limit=request.limit + 1,
            **values,
        )
        page = [threads.thread_of(row) for row in rows[: request.limit]]
        more = len(rows) > request.limit
        plain = not request.model_fields_set & {"label", "unread", "before", "after"}
        result = {
            "threads": [thread_view(each) for each in page],
            "total": inbox.thread_count if plain else None,
            "has_more": more,
            "next_cursor": cursor(Of.THREADS, page[-1].last_at, page[-1].seq) if more else None,
        }
        facts = {"shown": len(page), "more": "yes" if more else None, "inbox_id": inbox.id}
        return Outcome(key="list_threads" + ("" if page else ".none"), result=result, facts=facts)

    async def get_thread(self, actor: Actor, request: GetThread) -> Outcome:
        """A thread and one page of its messages with the new words of each. Raises THREAD_NOT_FOUND."""
        actor.require("message_read")
        core = self._core
        thread = await access.thread(core, actor, request.thread_id)
        rows = await core.database.all(
            sql.thread_messages,
            thread_seq=thread.seq,
            after=read_cursor(request.cursor, Of.THREAD) if request.cursor else 0,
            limit=request.limit + 1,
        )
        page = [messages.message_of(row) for row in rows[: request.limit]]
        more = len(rows) > request.limit
        texts: list[str] = [row[-1] for row in rows[: request.limit]]
        shown: list[dict[str, Any]] = []
        for message, text, tokens in zip(page, texts, _shares(texts, request.max_tokens), strict=True):
            reply, cut = clip(text, 0, tokens)
            view = message_view(message)
            view.pop("preview")
            shown.append({**view, "reply_body": reply, "truncated": cut is not None})
        short = [each["id"] for each in shown if each["truncated"]]
        result = {
            "thread": {**thread_view(thread), "messages": shown},
            "truncated_messages": short,
            "has_more": more,
            "next_cursor": cursor(Of.THREAD, page[-1].seq) if more else None,
        }
        facts = {
            "thread": thread.id,
            "more": "yes" if more else None,
            "last": None if more or not page else page[-1].id,
            "shown": len(page),
            "short": "yes" if short else None,
        }
        return Outcome(key="get_thread" + ("" if page else ".none"), result=result, facts=facts)


def _shares(texts: Sequence[str], tokens: int) -> list[int]:
    """How many tokens of `tokens` each text gets: short ones what they need, long ones what is left, in equal parts."""
    needs = sorted((-(-len(text) // CHARS_PER_TOKEN), index) for index, text in enumerate(texts))
    shares = [_LEAST_TOKENS] * len(texts)
    left = tokens
    for place, (need, index) in enumerate(needs):
        shares[index] = max(_LEAST_TOKENS, min(need, left // (len(needs) - place)))
        left = max(0, left - shares[index])
    return shares
