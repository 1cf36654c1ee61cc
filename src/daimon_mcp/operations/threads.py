"""Conversations: one thread with its messages, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.exposure import read_outside_mail
from daimon_mcp.operations.messages import CHARS_PER_TOKEN, Messages, clip
from daimon_mcp.operations.requests import Id, Moment, Request, alias
from daimon_mcp.operations.views import Of, cursor, message_view, read_cursor, read_pair, thread_view
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import messages, threads
from daimon_mcp.store.database import Row

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


class BrowseThreads(ListThreads):
    """For programs: any order, words of the subject, and all inboxes where none is named."""

    inbox: Annotated[Id | None, Field(validation_alias=alias("inbox_id", "inbox"), description="id or address")] = None
    search: Annotated[str | None, Field(max_length=200, description="Words or their beginnings, of the subject")] = None
    sort: Literal["updated_at", "created_at"] = "updated_at"
    order: Literal["desc", "asc"] = "desc"


class ReadThread(Request):
    """For programs, which pay for no tokens: each message whole, unless `max_tokens` bounds its texts."""

    thread_id: Annotated[Id, Field(description="thr_ id")]
    limit: Annotated[int, Field(ge=1, le=50)] = 20
    cursor: str | None = None
    max_tokens: Annotated[int | None, Field(ge=100, description="Of each text; left out, all of it")] = None


_BROWSED = {
    ("updated_at", "desc"): sql.threads_updated_newest,
    ("updated_at", "asc"): sql.threads_updated_oldest,
    ("created_at", "desc"): sql.threads_created_newest,
    ("created_at", "asc"): sql.threads_created_oldest,
}
_PLACES = {"updated_at": Of.THREADS, "created_at": Of.THREADS_MADE}
_CHUNK = 2000  # threads that are looked at in one statement of a search
_MOST_LOOKED_AT = 20_000


class Threads:
    """The thread verbs."""

    def __init__(self, core: Core, messages: Messages) -> None:
        self._core = core
        self._messages = messages

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
        if page:  # subjects and names are strangers' words too
            await read_outside_mail(core, actor)
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

    async def browse_threads(self, actor: Actor, request: BrowseThreads) -> Outcome:
        """One page of the threads of an inbox, or of all that the actor has, in the order asked for.

        A search looks at 20,000 threads at most: a page with fewer threads than `limit` and a cursor is how far one
        call goes. Raises INBOX_NOT_FOUND, INVALID_REQUEST.
        """
        if request.inbox is not None and not request.model_fields_set & {"search", "sort", "order"}:
            given = {name: getattr(request, name) for name in request.model_fields_set}
            return await self.list_threads(actor, ListThreads(**given))
        actor.require("message_read")
        only = actor.inbox_no
        if request.inbox is not None:
            only = (await access.inbox(self._core, actor, request.inbox)).no
        newest, at = request.order == "desc", 10 if request.sort == "updated_at" else 9
        words = (request.search or "").casefold().split()
        of = _PLACES[request.sort]
        place = read_pair(request.cursor, of) if request.cursor else (_FOREVER, 0) if newest else (0, 0)
        found: list[Row] = []
        looked_at, ended = 0, False
        while len(found) <= request.limit and not ended and looked_at < _MOST_LOOKED_AT:
            size = _CHUNK if words else request.limit + 1
            rows = await self._browsed(actor, request, only or 0, place, size)
            looked_at, ended = looked_at + len(rows), len(rows) < size
            found += [row for row in rows if _holds(row[4], words)]
            if rows:
                place = (rows[-1][at], rows[-1][0])
        page = found[: request.limit]
        if page:
            await read_outside_mail(self._core, actor)
        if len(found) > request.limit:
            place = (page[-1][at], page[-1][0])
        more = len(found) > request.limit or not ended
        result = {
            "threads": [thread_view(threads.thread_of(row)) for row in page],
            "total": None,
            "has_more": more,
            "next_cursor": cursor(of, *place) if more else None,
        }
        facts = {"shown": len(page), "more": "yes" if more else None}
        return Outcome(key="browse_threads" + ("" if page else ".none"), result=result, facts=facts)

    async def _browsed(
        self, actor: Actor, request: BrowseThreads, only: int, place: tuple[int, int], limit: int
    ) -> list[Row]:
        label = (request.label or "").strip().lower()
        return await self._core.database.all(
            _BROWSED[request.sort, request.order],
            slow=True,
            account_no=actor.account_no,
            only_inbox=only,
            from_at=place[0],
            from_seq=place[1],
            updated_from=request.after or 0,
            updated_to=request.before or _FOREVER,
            unread=int(bool(request.unread) or label == "unread"),
            label="" if label == "unread" else label,
            limit=limit,
        )

    async def read_thread(self, actor: Actor, request: ReadThread) -> Outcome:
        """A thread and one page of its messages, oldest first, each as `read_message` shows it without HTML.

        Raises THREAD_NOT_FOUND, INVALID_REQUEST.
        """
        actor.require("message_read")
        thread = await access.thread(self._core, actor, request.thread_id)
        page, more = await self._page(thread.seq, request.cursor, request.limit)
        await read_outside_mail(self._core, actor)
        found = [messages.message_of(row) for row in page]
        result = {
            "thread": {
                **thread_view(thread),
                "messages": [await self._messages.whole(each, set(), request.max_tokens) for each in found],
            },
            "has_more": more,
            "next_cursor": cursor(Of.THREAD, found[-1].seq) if more else None,
        }
        facts = {
            "thread": thread.id,
            "more": "yes" if more else None,
            "last": None if more or not found else found[-1].id,
            "shown": len(found),
            "short": None,
        }
        return Outcome(key="get_thread" + ("" if found else ".none"), result=result, facts=facts)

    async def _page(self, thread_seq: int, cursor: str | None, limit: int) -> tuple[list[Row], bool]:
        """Rows of a thread's messages after a cursor, and whether there are more."""
        rows = await self._core.database.all(
            sql.thread_messages,
            thread_seq=thread_seq,
            after=read_cursor(cursor, Of.THREAD) if cursor else 0,
            limit=limit + 1,
        )
        return rows[:limit], len(rows) > limit

    async def get_thread(self, actor: Actor, request: GetThread) -> Outcome:
        """A thread and one page of its messages with the new words of each. Raises THREAD_NOT_FOUND."""
        actor.require("message_read")
        thread = await access.thread(self._core, actor, request.thread_id)
        rows, more = await self._page(thread.seq, request.cursor, request.limit)
        await read_outside_mail(self._core, actor)
        page = [messages.message_of(row) for row in rows]
        texts: list[str] = [row[-1] for row in rows]
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


def _holds(subject: str, words: Sequence[str]) -> bool:
    """Whether each of these (case-folded) is in the subject."""
    folded = subject.casefold() if words else ""
    return all(word in folded for word in words)


def _shares(texts: Sequence[str], tokens: int) -> list[int]:
    """How many tokens of `tokens` each text gets: short ones what they need, long ones what is left, in equal parts."""
    needs = sorted((-(-len(text) // CHARS_PER_TOKEN), index) for index, text in enumerate(texts))
    shares = [_LEAST_TOKENS] * len(texts)
    left = tokens
    for place, (need, index) in enumerate(needs):
        shares[index] = max(_LEAST_TOKENS, min(need, left // (len(needs) - place)))
        left = max(0, left - shares[index])
    return shares
