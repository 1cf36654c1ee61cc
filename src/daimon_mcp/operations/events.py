"""The log of events for those who ask: by pull, with acknowledgement, and as a live stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import AccountStatus, Actor
from daimon_mcp.domain.changes import AccountChanged, Change, EventRecorded, InboxChanged, KeyChanged
from daimon_mcp.domain.events import packed_names
from daimon_mcp.domain.refusals import Fact, RefusalCode, Refused, invalid
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.event_payloads import EventPayloads
from daimon_mcp.operations.exposure import read_outside_mail
from daimon_mcp.operations.requests import Id, Request, alias
from daimon_mcp.operations.views import Of, cursor, read_cursor
from daimon_mcp.operations.webhooks import event_names
from daimon_mcp.store import accounts, events
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.events import StoredEvent

MOST_CONSUMERS = 100  # of one account
MOST_WAITS = 1000  # of one account at once, streams too
_OUTSIDE_MAIL = ("message.received", "message.reply")
_PAGE = 50
_NAME = r"^[A-Za-z0-9._-]+$"
_Consumer = Annotated[str, Field(min_length=1, max_length=64, pattern=_NAME, description="A name of your choosing")]
_Types = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=60)]] | None,
    Field(max_length=50, description="Names of events; left out, all"),
]
_ForInbox = Annotated[
    Id | None,
    Field(validation_alias=alias("inbox", "inbox_id"), description="id or address; left out, all you see"),
]


class ListEvents(Request):
    after: Annotated[str | None, Field(description="cursor of an earlier result")] = None
    consumer: Annotated[_Consumer | None, Field(description="Go on where this name has acknowledged")] = None
    types: _Types = None
    inbox: _ForInbox = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    wait_seconds: Annotated[int, Field(ge=0, le=60, description="How long to wait when there is nothing new")] = 0


class AcknowledgeEvents(Request):
    consumer: _Consumer
    cursor: Annotated[str, Field(description="cursor of the result that was worked on")]


class StreamEvents(Request):
    """What a stream is of."""

    after: Annotated[str | None, Field(description="cursor of the last event seen; left out, from now on")] = None
    types: _Types = None
    inbox: _ForInbox = None


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a stream, and the cursor that goes on after it."""

    cursor: str
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Filter:
    account_no: int
    inbox_no: int  # 0 for all
    types: str  # packed
    mail: int  # whether those of mail are seen


class _Ear:
    """Rung for each event of an account, and when it may be that the listener has no right to it any more."""

    def __init__(self, core: Core, actor: Actor) -> None:
        self._actor = actor
        self._rung = asyncio.Event()
        self.is_doubtful = True
        self.ends_at: int | None = None  # when the key expires, epoch µs
        self.close = core.bus.subscribe(self._heard)

    def _heard(self, change: Change) -> None:
        match change:
            case EventRecorded(account_no=no):
                if no == self._actor.account_no:
                    self._rung.set()
            case KeyChanged(key_id=key_id):
                if key_id == self._actor.key_id:
                    self._doubt()
            case AccountChanged(account_no=no) | InboxChanged(account_no=no):
                if no == self._actor.account_no:
                    self._doubt()
            case _:
                pass

    def _doubt(self) -> None:
        self.is_doubtful = True
        self._rung.set()

    def listen(self) -> None:
        """From now on, what comes is news."""
        self._rung.clear()

    async def wait(self, seconds: float | None) -> None:
        """Until it is rung, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            pass


class Events:
    """The verbs of the log. Whoever may not read mail is not told of mail; inbox keys hear of their inbox alone."""

    def __init__(self, core: Core, payloads: EventPayloads) -> None:
        self._core = core
        self._payloads = payloads
        self._waiting: dict[int, int] = {}

    async def list_events(self, actor: Actor, request: ListEvents) -> Outcome:
        """Events after a cursor, or after what a consumer has acknowledged, in the order of the commits.

        A consumer that has acknowledged nothing begins with the oldest there is; with neither, the newest ones are
        shown. The same events come again until the cursor moves on, or is acknowledged. Raises INVALID_REQUEST,
        INBOX_NOT_FOUND, RATE_LIMIT_EXCEEDED.
        """
        actor.require("event_read")
        if request.after is not None and request.consumer is not None:
            raise invalid("after", "or consumer can be given, not both")
        wanted = await self._filter(actor, request.types, request.inbox)
        after = await self._start(actor, request)
        ear = self._listening(actor) if request.wait_seconds else None
        loop = asyncio.get_running_loop()
        until_at = loop.time() + request.wait_seconds
        try:
            while True:
                if ear is not None:
                    ear.listen()
                page, place, more = await self._page(wanted, after, request.limit)
                left = until_at - loop.time()
                if page or ear is None or left <= 0 or after is None:
                    break
                after = place
                await ear.wait(left)
                if not await self._may_listen(actor, ear):
                    raise Refused(RefusalCode.UNAUTHORIZED)
        finally:
            if ear is not None:
                self._stop(actor, ear)
        if any(event.type in _OUTSIDE_MAIL for event in page):
            await read_outside_mail(self._core, actor)
        result = {
            "events": [await self._payloads.wire(event) for event in page],
            "has_more": more,
            "cursor": cursor(Of.EVENTS, place),
        }
        facts: dict[str, Fact] = {
            "shown": len(page),
            "consumer": request.consumer,
            "more": "yes" if more else None,
        }
        return Outcome(key="list_events" + ("" if page else ".none"), result=result, facts=facts)

    async def _start(self, actor: Actor, request: ListEvents) -> int | None:
        """The place to begin after; None for the newest."""
        if request.after is not None:
            return read_cursor(request.after, Of.EVENTS, "after")
        if request.consumer is None:
            return None
        row = await self._core.database.one(
            sql.consumer_acked,
            account_no=actor.account_no,
            inbox_no=actor.inbox_no or 0,
            name=request.consumer,
        )
        return int(row[0]) if row else 0

    async def _filter(self, actor: Actor, types: Sequence[str] | None, inbox: str | None) -> _Filter:
        packed = packed_names(event_names(types, "types")) if types else ""
        found = await access.inbox(self._core, actor, inbox) if inbox or actor.inbox_no else None
        return _Filter(actor.account_no, found.no if found else 0, packed, int(actor.holds("message_read")))

    async def _page(self, wanted: _Filter, after: int | None, limit: int) -> tuple[list[StoredEvent], int, bool]:
        """Events that fit, the place that they end at, and whether there are more."""
        database = self._core.database
        row = await database.one(sql.events_end, account_no=wanted.account_no)
        end = int(row[0]) if row else 0
        values: dict[str, Any] = {
            "account_no": wanted.account_no,
            "inbox_no": wanted.inbox_no,
            "types": wanted.types,
            "mail": wanted.mail,
            "until": end,
        }
        if after is None:
            found = await database.all(sql.events_latest, **values, limit=limit)
            return [events.event_of(each) for each in reversed(found)], end, False
        found = await database.all(sql.events_after, **values, after=after, limit=limit + 1)
        page = [events.event_of(each) for each in found[:limit]]
        more = len(found) > limit
        return page, page[-1].seq if more else max(end, after), more

    async def acknowledge(self, actor: Actor, request: AcknowledgeEvents) -> Outcome:
        """Put down that a consumer is done with all up to a cursor; an older cursor changes nothing.

        Raises INVALID_REQUEST.
        """
        actor.require("event_read")
        place, now = read_cursor(request.cursor, Of.EVENTS), self._core.clock.now()
        whose = {"account_no": actor.account_no, "inbox_no": actor.inbox_no or 0, "name": request.consumer}

        def run(tx: Transaction) -> int:
            is_new = tx.one(sql.consumer_acked, **whose) is None
            if is_new and tx.scalar(sql.consumers_count, account_no=actor.account_no) >= MOST_CONSUMERS:
                raise invalid("consumer", f"an account has at most {MOST_CONSUMERS} of them; use one that there is")
            end: int = tx.scalar(sql.events_end, account_no=actor.account_no)
            tx.run(sql.consumer_acknowledge, **whose, seq=min(place, end), now=now)
            return tx.scalar(sql.consumer_acked, **whose)

        acked = await self._core.database.write(run)
        result = {"consumer": request.consumer, "cursor": cursor(Of.EVENTS, acked)}
        return Outcome(key="acknowledge_events", result=result, facts={"consumer": request.consumer})

    async def subscribe(self, actor: Actor, request: StreamEvents) -> AsyncGenerator[Told]:
        """Events as they are recorded, after a cursor or from now on; ends when the key stops being good for them.

        Raises as `list_events`, at the first event that is asked for.
        """
        actor.require("event_read")
        wanted = await self._filter(actor, request.types, request.inbox)
        ear = self._listening(actor)
        try:
            if request.after is not None:
                after = read_cursor(request.after, Of.EVENTS, "after")
            else:
                row = await self._core.database.one(sql.events_end, account_no=actor.account_no)
                after = int(row[0]) if row else 0
            while True:
                ear.listen()  # before we look, so that nothing slips between look and wait
                if not await self._may_listen(actor, ear):
                    return
                page, after, more = await self._page(wanted, after, _PAGE)
                for event in page:
                    if event.type in _OUTSIDE_MAIL:
                        await read_outside_mail(self._core, actor)
                    told = await self._payloads.wire(event)
                    if not await self._may_listen(actor, ear):  # whoever takes events takes its time
                        return
                    yield Told(cursor(Of.EVENTS, event.seq), told)
                if not more:
                    await ear.wait(None if ear.ends_at is None else self._core.clock.seconds_until(ear.ends_at))
        finally:
            self._stop(actor, ear)

    async def _may_listen(self, actor: Actor, ear: _Ear) -> bool:
        """Whether the account is active and the key is good; looked up again only where something of them changed."""
        if ear.is_doubtful:
            ear.is_doubtful = False  # before we look
            if actor.key_id is None:
                account = await accounts.account_by_no(self._core.database, actor.account_no)
                ear.is_doubtful = account.status is not AccountStatus.ACTIVE
                return not ear.is_doubtful
            row = await self._core.database.one(sql.key_state, id=actor.key_id)
            if row is None or row[0] is not None or row[2] != AccountStatus.ACTIVE:
                ear.is_doubtful = True  # it stays so for whoever asks again
                return False
            ear.ends_at = row[1]
        return ear.ends_at is None or self._core.clock.now() < ear.ends_at

    def _listening(self, actor: Actor) -> _Ear:
        count = self._waiting.get(actor.account_no, 0)
        if count >= MOST_WAITS:
            raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="WAITS", facts={"limit": MOST_WAITS}, retry_after=10)
        self._waiting[actor.account_no] = count + 1
        return _Ear(self._core, actor)

    def _stop(self, actor: Actor, ear: _Ear) -> None:
        ear.close()
        self._waiting[actor.account_no] -= 1
        if not self._waiting[actor.account_no]:
            del self._waiting[actor.account_no]
