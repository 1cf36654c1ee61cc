"""Reading mail: list, get, wait, search. Lists carry no bodies; reads are bounded and say how to get the rest."""

from __future__ import annotations

import asyncio
import json
import string
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import Change, MessageAdded, MessageChanged
from daimon_mcp.domain.clock import iso_or_none
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.mail.parse import parse_headers
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome, Progress
from daimon_mcp.operations.reading import unpacked
from daimon_mcp.operations.requests import Id, Moment, Request
from daimon_mcp.operations.views import cursor, delivery_view, message_view, read_cursor
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes, messages, queue
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import StoredMessage

CHARS_PER_TOKEN = 4
MOST_WAITS = 200  # of one account at once: each looks at the store whenever mail comes
_FOREVER = 1 << 62
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SYSTEM = {
    "inbox": inboxes.INBOX,
    "sent": inboxes.SENT,
    "trash": inboxes.TRASH,
    "spam": inboxes.SPAM,
    "scheduled": inboxes.SCHEDULED,
}


class ListMessages(Request):
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    label: Annotated[str | None, Field(max_length=64, description="inbox, sent, scheduled, unread or your own")] = None
    thread_id: Id | None = None
    unread: Annotated[bool | None, Field(description="true: only unread")] = None
    direction: Literal["inbound", "outbound"] | None = None
    before: Annotated[Moment | None, Field(description="ISO 8601 with offset")] = None
    after: Moment | None = None
    sort: Literal["desc", "asc"] = "desc"
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


class GetMessage(Request):
    message_id: Annotated[Id, Field(description="msg_ id")]
    include: list[Literal["body_html", "headers"]] | None = None
    max_tokens: Annotated[int, Field(ge=100, le=25_000)] = 4000
    offset: Annotated[int, Field(ge=0, description="Characters to skip")] = 0
    mark_read: bool = True


class WaitForMessage(Request):
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    from_: Annotated[
        str | None, Field(alias="from", max_length=320, description="Part of the sender's address or name")
    ] = None
    subject: Annotated[str | None, Field(max_length=300, description="Part of the subject")] = None
    thread_id: Id | None = None
    after: Annotated[str | None, Field(description="Cursor of an earlier result")] = None
    timeout_seconds: Annotated[int, Field(ge=0, le=300)] = 60
    mark_read: bool = True


class SearchMessages(Request):
    query: Annotated[str, Field(min_length=1, max_length=200, description="Words; all must occur")]
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


def clip(text: str, offset: int, max_tokens: int) -> tuple[str, int | None]:
    """A window of a text, cut at a line or word end; and where to go on, or None at the end."""
    most = max_tokens * CHARS_PER_TOKEN
    rest = text[offset:]
    if len(rest) <= most:
        return rest, None
    cut = max(rest.rfind("\n", most // 2, most), rest.rfind(" ", most - 200, most))
    end = cut + 1 if cut > 0 else most
    return rest[:end], offset + end


class Messages:
    """The reading verbs."""

    progress_seconds = 10.0  # how often a wait says that it still waits

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: Counter[int] = Counter()

    async def list_messages(self, actor: Actor, request: ListMessages) -> Outcome:
        """One page of an inbox, without bodies. Raises INBOX_NOT_FOUND, THREAD_NOT_FOUND, INVALID_REQUEST."""
        actor.require("message_read")
        core = self._core
        inbox = await access.inbox(core, actor, request.inbox)
        thread = await access.thread(core, actor, request.thread_id, inbox) if request.thread_id else None
        newest = request.sort == "desc"
        place = read_cursor(request.cursor) if request.cursor else None
        label = (request.label or "").strip().lower()
        bottom, top = messages.first_seq(inbox.no), messages.last_seq(inbox.no)
        rows = await core.database.all(
            (sql.unread_newest if newest else sql.unread_oldest)
            if request.unread or label == "unread"
            else (sql.messages_newest if newest else sql.messages_oldest),
            inbox_no=inbox.no,
            thread_seq=thread.seq if thread else 0,
            direction=request.direction or "",
            mailbox=_SYSTEM.get(label, ""),
            label="" if label in _SYSTEM or label == "unread" else label,
            received_from=request.after or 0,
            received_to=request.before or _FOREVER,
            before=min(place, top) if place is not None and newest else top,
            after=max(place, bottom) if place is not None and not newest else bottom,
            limit=request.limit + 1,
        )
        page = [messages.message_of(row) for row in rows[: request.limit]]
        more = len(rows) > request.limit
        plain = not (thread or label or request.direction or request.unread or request.before or request.after)
        result = {
            "messages": [message_view(each) for each in page],
            "total": inbox.message_count if plain else None,
            "unread_count": inbox.unread_count,
            "has_more": more,
            "next_cursor": cursor(page[-1].seq) if more else None,
            "cursor": cursor(await self._latest(inbox.no)),
        }
        return Outcome(
            key="list_messages" + ("" if page else ".none"),
            result=result,
            facts={"shown": len(page), "inbox_id": inbox.id, "more": "yes" if more else None},
        )

    async def _latest(self, inbox_no: int) -> int:
        row = await self._core.database.one(sql.inbox_latest_n, inbox_no=inbox_no)
        return messages.first_seq(inbox_no) | (row[0] if row else 0)

    async def get_message(self, actor: Actor, request: GetMessage) -> Outcome:
        """One message with its text. Raises MESSAGE_NOT_FOUND."""
        actor.require("message_read")
        message = await access.message(self._core, actor, request.message_id)
        result = await self.full(message, set(request.include or ()), request.max_tokens, request.offset)
        await self._mark(actor, message, request.mark_read, result)
        facts = {
            "message": message.id,
            "next_offset": result.get("next_offset"),
            "inbound": "yes" if message.direction == "inbound" else None,
        }
        return Outcome(key="get_message", result=result, facts=facts)

    async def full(self, message: StoredMessage, include: set[str], max_tokens: int, offset: int = 0) -> dict[str, Any]:
        """A message as `get_message` shows it."""
        core = self._core
        row = await core.database.one(sql.body_by_seq, seq=message.seq)
        assert row is not None
        text, reply_text, html, links, warnings, authentication = row
        body, next_offset = clip(text, offset, max_tokens)
        # The new words are for the first page; further pages go on with the whole text.
        reply, reply_cut = clip(reply_text, 0, max_tokens) if offset == 0 else ("", None)
        attachments: list[dict[str, Any]] = []
        if message.has_attachments:
            for public_id, _, filename, content_type, content_id, disposition, size in await core.database.all(
                sql.attachments_of, seq=message.seq
            ):
                attachments.append(
                    {
                        "id": public_id,
                        "filename": filename,
                        "content_type": content_type,
                        "content_id": content_id,
                        "disposition": disposition,
                        "size": size,
                    }
                )
        all_links: list[dict[str, Any]] = json.loads(links)
        result = {
            **message_view(message),
            "in_reply_to": message.in_reply_to,
            "references": list(message.references),
            "body_text": body,
            "reply_body": reply,
            "truncated": next_offset is not None or reply_cut is not None,
            "next_offset": next_offset,
            "links": all_links[:50],
            "cta_links": [link["url"] for link in all_links if link.get("is_cta")][:10],
            "attachments": attachments,
            "authentication": json.loads(authentication),
            "parse_warnings": json.loads(warnings),
            "date": iso_or_none(message.date),
            "untrusted": message.direction == "inbound",
        }
        if "body_html" in include:
            markup = unpacked(html)
            result["body_html"] = clip(markup, 0, max_tokens)[0] if markup else None
        if "headers" in include:
            raw = await core.blobs.get(core.database, message.blob_hash)
            result["headers"] = _first_of_each(parse_headers(raw[: 256 * 1024]))
        if message.direction == "outbound":
            queued = await queue.by_message(core.database, message.seq)
            found = await queue.deliveries(core.database, queued.no) if queued else []
            result["deliveries"] = [delivery_view(each) for each in found]
        return result

    async def _mark(self, actor: Actor, message: StoredMessage, wanted: bool, result: dict[str, Any]) -> None:
        if not wanted or message.seen or actor.read_only:
            return

        def run(tx: Transaction) -> None:
            if messages.see(tx, message):
                tx.announce(
                    MessageChanged(actor.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id)
                )

        await self._core.database.write(run)
        result["read"] = True
        result["labels"] = [label for label in result["labels"] if label != "unread"]

    async def wait_for_message(
        self, actor: Actor, request: WaitForMessage, progress: Progress | None = None
    ) -> Outcome:
        """The next matching inbound message: at once if it is there, else when it comes, or a time-out.

        With a cursor, nothing that came after it is missed; without one, unread mail counts as new, oldest first.
        Bounces and auto-replies count too. Raises INBOX_NOT_FOUND, THREAD_NOT_FOUND, INVALID_REQUEST.
        """
        actor.require("message_read")
        core = self._core
        inbox = await access.inbox(core, actor, request.inbox)
        thread = await access.thread(core, actor, request.thread_id, inbox) if request.thread_id else None
        after = read_cursor(request.after, "after") if request.after else messages.first_seq(inbox.no)
        if request.after and not messages.first_seq(inbox.no) <= after < messages.last_seq(inbox.no):
            raise Refused(RefusalCode.INBOX_NOT_FOUND, reason="CURSOR_OF_ANOTHER_INBOX")
        rung = asyncio.Event()

        def heard(change: Change) -> None:
            if isinstance(change, MessageAdded) and change.inbox_no == inbox.no:
                rung.set()

        if self._waiting[actor.account_no] >= MOST_WAITS:
            raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="WAITS", facts={"limit": MOST_WAITS}, retry_after=10)
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._waiting[actor.account_no] += 1
        unsubscribe = core.bus.subscribe(heard)  # before looking, so that nothing slips between look and wait
        try:
            while True:
                rung.clear()
                latest = await self._latest(inbox.no)
                found, after = await self._next(
                    inbox.no, after, latest, request, thread.seq if thread else 0, unread=request.after is None
                )
                if found is not None:
                    return await self._found(actor, request, found)
                waited = loop.time() - started
                left = request.timeout_seconds - waited
                if left <= 0:
                    result = {"message": None, "timed_out": True, "cursor": cursor(latest)}
                    return Outcome(
                        key="wait_for_message.timeout",
                        result=result,
                        facts={"seconds": request.timeout_seconds, "inbox_id": inbox.id},
                    )
                try:
                    async with asyncio.timeout(min(left, self.progress_seconds)):
                        await rung.wait()
                except TimeoutError:
                    if progress is not None:
                        await progress(loop.time() - started, float(request.timeout_seconds))
        finally:
            unsubscribe()
            self._waiting[actor.account_no] -= 1

    async def _found(self, actor: Actor, request: WaitForMessage, found: StoredMessage) -> Outcome:
        result = await self.full(found, set(), 4000)
        await self._mark(actor, found, request.mark_read, result)
        facts = {"message": found.id, "thread": found.thread_id, "next_offset": result["next_offset"]}
        return Outcome(
            key="wait_for_message.found",
            result={"message": result, "timed_out": False, "cursor": cursor(found.seq)},
            facts=facts,
        )

    async def _next(
        self, inbox_no: int, after: int, latest: int, request: WaitForMessage, thread_seq: int, *, unread: bool
    ) -> tuple[StoredMessage | None, int]:
        sender = (request.from_ or "").strip().lower()
        subject = (request.subject or "").strip().lower()
        while True:
            rows = await self._core.database.all(
                sql.unread_after if unread else sql.messages_after,
                inbox_no=inbox_no,
                after=after,
                until=latest,
                thread_seq=thread_seq,
                limit=100,
            )
            for row in rows:
                message = messages.message_of(row)
                who = f"{message.from_['name']} <{message.from_['email']}>".lower()
                if sender in who and subject in message.subject.lower():
                    return message, after
            if len(rows) < 100:
                # What did not match now never will: a message does not change its sender or subject.
                return None, after if unread else latest
            after = messages.message_of(rows[-1]).seq

    async def search_messages(self, actor: Actor, request: SearchMessages) -> Outcome:
        """Messages of one inbox that hold every word, newest first. Raises INBOX_NOT_FOUND."""
        actor.require("message_read")
        inbox = await access.inbox(self._core, actor, request.inbox)
        # The store compares with ASCII letters in lower case: other letters stay as they were typed.
        words = request.query.translate(_ASCII_LOWER).split()[:8]
        top = messages.last_seq(inbox.no)
        rows = await self._core.database.all(
            sql.messages_find,
            slow=True,
            inbox_no=inbox.no,
            before=min(read_cursor(request.cursor), top) if request.cursor else top,
            after=messages.first_seq(inbox.no),
            limit=request.limit + 1,
            **{f"word{n}": words[n] if n < len(words) else "" for n in range(8)},
        )
        page = [messages.message_of(row) for row in rows[: request.limit]]
        more = len(rows) > request.limit
        result = {
            "messages": [message_view(each) for each in page],
            "has_more": more,
            "next_cursor": cursor(page[-1].seq) if more else None,
        }
        return Outcome(
            key="search_messages" + ("" if page else ".none"),
            result=result,
            facts={"shown": len(page), "more": "yes" if more else None},
        )


def _first_of_each(headers: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Headers by lower-case name; a name that occurs several times has a list."""
    found: dict[str, Any] = {}
    for name, value in headers[:200]:
        key = name.lower()
        if key in found:
            found[key] = [*found[key], value] if isinstance(found[key], list) else [found[key], value]
        else:
            found[key] = value
    return found
