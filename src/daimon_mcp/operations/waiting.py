"""Waiting for mail: without polling, without missing what came between two calls, and for a code or a link alone."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import Change, KeyChanged, MessageAdded, ThreadMerged
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome, Progress
from daimon_mcp.operations.exposure import read_outside_mail
from daimon_mcp.operations.messages import Kind, Messages, reading_facts
from daimon_mcp.operations.places import inbox_for, place_number, read_place
from daimon_mcp.operations.requests import Id, Request
from daimon_mcp.operations.views import Of, cursor, message_view
from daimon_mcp.store import changes, messages, threads
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.messages import StoredMessage

MOST_WAITS = 5000  # of one account at once
_PAGE = 100
_SHOWN_OF_SOURCE = ("id", "thread_id", "from_address", "from_name", "subject", "received_at")


class WaitForMessage(Request):
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    from_: Annotated[str | None, Field(alias="from", max_length=320, description="Part of address or name")] = None
    subject: Annotated[str | None, Field(max_length=300, description="Part of the subject")] = None
    thread_id: Id | None = None
    kind: Kind | None = None
    want: Annotated[Literal["message", "code", "link"], Field(description="code, link: that alone")] = "message"
    after: Annotated[str | None, Field(description="A result's cursor")] = None
    timeout_seconds: Annotated[int, Field(ge=0, le=300)] = 60
    mark_read: bool = True


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a wait is for, in lower case; decided from the facts of the bell and of the row alike."""

    inbox_no: int
    sender: str
    subject: str
    thread_id: str
    kind: str

    def fits(self, sender: str, subject: str, kind: str) -> bool:
        return self.sender in sender.lower() and self.subject in subject.lower() and self.kind in ("", kind)

    def rings(self, change: Change) -> bool:
        """Whether a change may be what is waited for: all other waits sleep on."""
        return (
            isinstance(change, MessageAdded)
            and change.inbox_no == self.inbox_no
            and change.direction == "inbound"
            and self.thread_id in ("", change.thread_id, change.related_thread_id)
            and self.fits(change.sender, change.subject, change.kind)
        )


@dataclass(frozen=True, slots=True)
class _Found:
    message: StoredMessage
    place: int  # in the log of changes: what came after it is still to come
    wanted: dict[str, Any] | None = None  # the code or the link


class Waiting:
    """The verb that waits."""

    progress_seconds = 10.0  # how often a wait says that it still waits

    def __init__(self, core: Core, messages: Messages) -> None:
        self._core = core
        self._messages = messages
        self._waiting: Counter[int] = Counter()

    async def wait_for_message(
        self, actor: Actor, request: WaitForMessage, progress: Progress | None = None, *, whole: bool = False
    ) -> Outcome:
        """The next matching inbound message: at once if it is there, else when it comes, or a time-out.

        With a cursor, nothing that came after it is missed; without one, unread mail counts as new, oldest first.
        Bounces and auto-replies count too. `want` skips mail that holds no such thing, and answers with the code or the
        link and where it came from, never with the text. `whole` messages are shown as `read_message` does, not as
        `get_message`. Raises INBOX_NOT_FOUND, THREAD_NOT_FOUND, INVALID_REQUEST,
        RATE_LIMIT_EXCEEDED, UNAUTHORIZED when the key is revoked meanwhile.
        """
        actor.require("message_read")
        core = self._core
        inbox = await inbox_for(core, actor, request.inbox, request.after, "after")
        thread = await access.thread(core, actor, request.thread_id, inbox) if request.thread_id else None
        after = (await read_place(core, actor, inbox, request.after, "after"))[1] if request.after else None
        wanted = _Wanted(
            inbox.no,
            (request.from_ or "").strip().lower(),
            (request.subject or "").strip().lower(),
            thread.id if thread else "",
            request.kind or "",
        )
        if self._waiting[actor.account_no] >= MOST_WAITS:
            raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="WAITS", facts={"limit": MOST_WAITS}, retry_after=10)
        rung = asyncio.Event()
        shut_out = False

        def heard(change: Change) -> None:
            nonlocal wanted, shut_out
            if isinstance(change, KeyChanged):
                if change.key_id == actor.key_id:
                    shut_out = True
                    rung.set()
            elif isinstance(change, ThreadMerged):
                if change.inbox_no == wanted.inbox_no and change.thread_id == wanted.thread_id:
                    wanted = replace(wanted, thread_id=change.into_id)
            elif wanted.rings(change):
                rung.set()

        loop = asyncio.get_running_loop()
        started = loop.time()
        self._waiting[actor.account_no] += 1
        unsubscribe = core.bus.subscribe(heard)  # before looking, so that nothing slips between look and wait
        try:
            if thread is not None:  # it may have been merged before we listened
                wanted = replace(wanted, thread_id=(await access.thread(core, actor, thread.id, inbox)).id)
            if actor.key_id is not None and await self._is_revoked(actor.key_id):  # that too
                shut_out = True
            while True:
                rung.clear()
                if shut_out:
                    raise Refused(RefusalCode.UNAUTHORIZED)
                until = await changes.latest(core.database, inbox.no)
                if after is None:
                    found = await self._unread(wanted, request.want)
                else:
                    found = await self._arrived(wanted, request.want, after, until)
                after = until
                if found is not None:
                    return await self._answer(actor, request, found, whole=whole)
                left = request.timeout_seconds - (loop.time() - started)
                if left <= 0:
                    return _nothing(core, inbox.id, request, cursor(Of.PLACE, place_number(inbox.no, until)))
                try:
                    async with asyncio.timeout(min(left, self.progress_seconds)):
                        await rung.wait()
                except TimeoutError:
                    if progress is not None:
                        await progress(loop.time() - started, float(request.timeout_seconds))
        finally:
            unsubscribe()
            self._waiting[actor.account_no] -= 1
            if not self._waiting[actor.account_no]:
                del self._waiting[actor.account_no]

    async def _is_revoked(self, key_id: str) -> bool:
        row = await self._core.database.one(sql.key_state, id=key_id)
        return row is not None and row[0] is not None

    async def _unread(self, wanted: _Wanted, want: str) -> _Found | None:
        """The oldest unread message that fits."""
        seen = messages.first_seq(wanted.inbox_no)
        while True:
            rows = await self._core.database.all(sql.unread_after, inbox_no=wanted.inbox_no, after=seen, limit=_PAGE)
            for at, row in enumerate(rows):
                message = messages.message_of(row)
                found = await self._fitting(wanted, want, message, message.came_n)
                if found is not None:
                    # One that was released came late and is shown early: what came between has still to be found.
                    following = rows[at + 1 :] or await self._core.database.all(
                        sql.unread_after, inbox_no=wanted.inbox_no, after=message.seq, limit=_PAGE
                    )
                    came = [messages.message_of(each).came_n - 1 for each in following]
                    return replace(found, place=min([message.came_n, *came]))
            if len(rows) < _PAGE:
                return None
            seen = messages.message_of(rows[-1]).seq

    async def _arrived(self, wanted: _Wanted, want: str, after: int, until: int) -> _Found | None:
        """The first message that fits among those that came after a place."""
        while True:
            rows = await self._core.database.all(
                sql.arrived_after, inbox_no=wanted.inbox_no, after=after, until=until, limit=_PAGE
            )
            for row in rows:
                found = await self._fitting(wanted, want, messages.message_of(row), row[-1])
                if found is not None:
                    return found
            if len(rows) < _PAGE:
                return None
            after = rows[-1][-1]

    async def _fitting(self, wanted: _Wanted, want: str, message: StoredMessage, place: int) -> _Found | None:
        sender = f"{message.from_['name']} <{message.from_['email']}>"
        if not wanted.fits(sender, message.subject, message.kind):
            return None
        if wanted.thread_id not in ("", message.thread_id):
            # An answer under another subject has a thread of its own, and is still an answer.
            row = await self._core.database.one(sql.thread_by_seq, thread_seq=message.thread_seq)
            if row is None or threads.thread_of(row).related_id != wanted.thread_id:
                return None
        if want == "message":
            return _Found(message, place)
        row = await self._core.database.one(sql.body_by_seq, seq=message.seq)
        assert row is not None
        if want == "code":
            codes: list[dict[str, Any]] = json.loads(row[6]).get("codes", [])
            return _Found(message, place, codes[0]) if codes else None
        links: list[dict[str, Any]] = json.loads(row[3])
        best = max((link for link in links if link.get("is_cta")), key=lambda link: link.get("score", 0), default=None)
        return None if best is None else _Found(message, place, best)

    async def _answer(self, actor: Actor, request: WaitForMessage, found: _Found, *, whole: bool) -> Outcome:
        message = found.message
        place = cursor(Of.PLACE, place_number(message.inbox_no, found.place))
        await read_outside_mail(self._core, actor)
        facts = {"message": message.id, "thread": message.thread_id}
        if found.wanted is not None:
            view = message_view(message)
            await self._messages.mark_read(actor, message, request.mark_read, view)
            source = {name: view[name] for name in _SHOWN_OF_SOURCE}
            result = {request.want: found.wanted, "source": source, "timed_out": False, "cursor": place}
            return Outcome(key=f"wait_for_message.{request.want}", result=result, facts=facts)
        read = self._messages
        shown = await read.whole(message, set()) if whole else await read.full(message, set(), 3000)
        await self._messages.mark_read(actor, message, request.mark_read, shown)
        return Outcome(
            key="wait_for_message.found",
            result={"message": shown, "timed_out": False, "cursor": place},
            facts={**reading_facts(message, shown), "next_offset": shown["next_offset"]},
        )


def _nothing(core: Core, inbox_id: str, request: WaitForMessage, place: str) -> Outcome:
    facts = {"seconds": request.timeout_seconds, "inbox_id": inbox_id, "not_listening": core.not_listening}
    result = {request.want: None, "timed_out": True, "cursor": place}
    return Outcome(key="wait_for_message.timeout", result=result, facts=facts)
