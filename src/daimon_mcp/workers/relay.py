"""The relay worker: takes what is due from the queue, hands it to a transport, and puts on record what came of it.

The core has the attempt, its lease and the next attempt's time on disk before a message gets here, and, before its
content ends, that it may have been handed over. So being killed at any line loses nothing and sends nothing twice, and
a message that crashes us cannot do so in a tight loop. Which outcome leads to a retry, a bounce or a question is the
core's to decide.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import anyio
import anyio.abc

from daimon_mcp.changes.bus import ChangeBus
from daimon_mcp.domain.changes import Change, QueueChanged
from daimon_mcp.domain.clock import Clock
from daimon_mcp.domain.queue import Attempt, ClaimedDelivery, ClaimedMessage, Handover, Outcome
from daimon_mcp.logs import new_cid
from daimon_mcp.workers.pacing import Pacing
from daimon_mcp.workers.transports import Transport

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 30.0  # a bell can be lost, and another process may have filled the queue
CLOCK_SECONDS: Final = 1.0  # how often a wait for scheduled mail looks at the clock, which may have been set
LEAST_SECONDS: Final = 0.25  # when something is due that is not to be had: it is leased, or just fell due
FAILURE_SECONDS: Final = 5.0
RECORD_SECONDS: Final = 10.0
RECORD_PAUSES: Final = (0.1, 0.5)
FRESH_SECONDS: Final = 30.0  # a lease covers a transaction begun within this time of the claim; later it is renewed
AT_HAND: Final = 262_144  # octets of a message that is read before its turn has come
AHEAD: Final = 2  # messages claimed for each that may be on its way, so that the next one is at hand
MOST_UNRECORDED: Final = 500
MOST_PARKED: Final = 200  # messages that wait for room at a busy destination while others are claimed
_STOPPED: Final = "the server was stopped during the attempt"


Handovers = list[tuple[Sequence[ClaimedDelivery], Handover]]


class Delivering(Protocol):
    """The core's side of the queue."""

    async def claim(self, limit: int, busy: Sequence[str] = ()) -> list[ClaimedMessage]:
        """Lease up to `limit` recipients that are due, none of a domain in `busy`."""
        ...

    async def next_due(self, busy: Sequence[str] = ()) -> int | None:
        """When to look again (epoch µs); None when nothing waits."""
        ...

    async def handovers(
        self, message: ClaimedMessage, deliveries: Sequence[ClaimedDelivery]
    ) -> list[tuple[Sequence[ClaimedDelivery], Handover]]:
        """The transactions that bring a message to these recipients, who have one destination."""
        ...

    async def renew(self, deliveries: Sequence[ClaimedDelivery]) -> list[ClaimedDelivery]:
        """Begin the lease anew; those that are still ours."""
        ...

    def content_begins(self, deliveries: Sequence[ClaimedDelivery]) -> Awaitable[None]:
        """Put down that from now on the message may have been handed over."""
        ...

    async def record(self, message: ClaimedMessage, results: Mapping[int, Attempt]) -> None:
        """Store what came of an attempt, by `ClaimedDelivery.no`, and end the lease."""
        ...

    async def settle_cut_off(self) -> None:
        """Settle attempts whose lease ran out while their content was under way."""
        ...


@dataclass(slots=True)
class _Claim:
    """A message in our hands. `active` is how many of its destinations do not just wait for room; `lost` are the
    deliveries whose lease ran out while they did, so that somebody else may have them.
    """

    message: ClaimedMessage
    active: int
    claimed_at: float = field(default_factory=time.monotonic)
    results: dict[int, Attempt] = field(default_factory=dict[int, Attempt])
    lost: set[int] = field(default_factory=set[int])


class _Underway:
    """One transaction in a transport's hands, and the task that it runs in."""

    __slots__ = ("_task", "broken_off", "content_begun")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self.content_begun = False
        self.broken_off = False

    def break_off(self) -> None:
        """Cancel the transaction, and nothing around it."""
        if not self.broken_off and self._task is not None:
            self.broken_off = True
            self._task.cancel()

    def stopped(self) -> None:
        """The cancellation has done its work."""
        assert self._task is not None
        self._task.uncancel()


class RelayWorker:
    """Relays up to `concurrency` messages at a time, to each destination as many as it takes well, from `first` on.

    Without a transport, everything due is DEFERRED. When it is cancelled, a message whose content is on its way has
    `grace` seconds to get its answer; then, and for all others at once, the attempt is broken off, and recorded as
    what it is.
    """

    def __init__(
        self,
        *,
        delivering: Delivering,
        transport: Transport | None,
        bus: ChangeBus,
        clock: Clock,
        concurrency: int = 5,
        first: int | None = None,
        grace: float = 10.0,
    ) -> None:
        self._delivering = delivering
        self._transport = transport
        self._bus = bus
        self._clock = clock
        self._concurrency = concurrency
        self._grace = grace
        self._pacing = Pacing(clock, most=concurrency, first=concurrency if first is None else first)
        # Plain tasks: the cancellation of the worker is for `_finish` to pass on, so that whatever came of a message is
        # put on record.
        self._tasks: set[asyncio.Task[None]] = set()
        self._underway: set[_Underway] = set()
        self._claimed = 0  # messages that are not handed over yet, without the parked ones
        self._parked = 0
        self._recording = 0
        self._stopping = False
        self._wake = anyio.Event()
        self._lines: dict[str, deque[anyio.Event]] = {}  # who waits for room, by destination

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; no message and no failure of the store ends it."""
        unsubscribe = self._bus.subscribe(self._heard)
        try:
            task_status.started()
            try:
                while True:
                    self._wake = anyio.Event()  # before we look, so that a bell from now on is not missed
                    if not await self._start_due():
                        await self._rest()
            finally:
                await self._finish()
        finally:
            unsubscribe()
            if self._transport is not None:
                with anyio.CancelScope(shield=True):
                    await self._transport.close()

    def _heard(self, change: Change) -> None:
        if isinstance(change, QueueChanged):
            if change.retry:
                self._pacing.reopen()
                for destination in list(self._lines):
                    self._next(destination)
            self._wake.set()

    async def _start_due(self) -> bool:
        """Start what is due and has a place; whether that was anything."""
        if self._is_shut():
            return False
        most = AHEAD * self._concurrency
        free = most - self._claimed
        if (self._claimed and free < self._concurrency) or self._recording >= MOST_UNRECORDED:
            return False  # several at once: claiming costs a commit
        claimed: list[ClaimedMessage] = []
        try:
            with anyio.CancelScope(shield=True):  # a lease nobody knows of would delay its messages
                claimed = await self._delivering.claim(free, self._pacing.full())
        except Exception:
            log.exception("cannot claim what is due")
            with anyio.move_on_after(FAILURE_SECONDS):
                await self._wake.wait()
            return True
        for message in claimed:
            self._claimed += 1
            task = asyncio.get_running_loop().create_task(self._deliver(message))
            self._tasks.add(task)
            task.add_done_callback(self._delivered)
        return bool(claimed)

    def _is_shut(self) -> bool:
        """Whether the place where all mail goes is to be left alone now: then claiming would only use up attempts."""
        only = None if self._transport is None else self._transport.only
        return only is not None and self._pacing.is_closed(only)

    async def _rest(self) -> None:
        """Until something falls due, a bell rings, a place becomes free, or it is time to look anyway."""
        with anyio.move_on_after(POLL_SECONDS) as nap:
            due = None
            if not self._claimed:
                try:
                    due = await self._next_due()
                except Exception:
                    log.exception("cannot tell what is due next")
            if due is None:
                return await self._wake.wait()
            while True:
                with anyio.move_on_after(min(max(self._clock.seconds_until(due), LEAST_SECONDS), CLOCK_SECONDS)):
                    return await self._wake.wait()
                if self._clock.seconds_until(due) <= 0:
                    return None
        if nap.cancelled_caught:
            try:
                await self._delivering.settle_cut_off()
            except Exception:
                log.exception("cannot settle attempts that were cut off")
        return None

    async def _next_due(self) -> int | None:
        """When there may be something to do: what is due, or a destination that may be tried again."""
        opening = self._pacing.next_opening()
        if self._is_shut():
            return opening
        due = await self._delivering.next_due(self._pacing.full())
        return min((each for each in (due, opening) if each is not None), default=None)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a message was left in the middle", exc_info=error)

    async def _deliver(self, message: ClaimedMessage) -> None:
        cid = new_cid()
        groups: dict[str, list[ClaimedDelivery]] = {}
        for delivery in message.deliveries:
            groups.setdefault(self._destination(delivery), []).append(delivery)
        claim = _Claim(message, len(groups))
        if len(groups) == 1:
            ((destination, deliveries),) = groups.items()
            await self._settle(claim, destination, deliveries, cid)
        else:
            await asyncio.gather(
                *(self._settle(claim, destination, deliveries, cid) for destination, deliveries in groups.items())
            )

    async def _settle(self, claim: _Claim, destination: str, deliveries: Sequence[ClaimedDelivery], cid: str) -> None:
        """To one destination, and on record: what another one is slow with keeps no answer from being told."""
        await self._to_one(claim, destination, deliveries, cid)
        self._recording += 1
        try:
            results = {each.no: claim.results[each.no] for each in deliveries if each.no in claim.results}
            await self._record(claim.message, results)
        finally:
            self._recording -= 1
            self._wake.set()

    def _destination(self, delivery: ClaimedDelivery) -> str:
        return "" if self._transport is None else self._transport.destination(delivery.recipient.address)

    async def _to_one(
        self,
        claim: _Claim,
        destination: str,
        deliveries: Sequence[ClaimedDelivery],
        cid: str,
    ) -> None:
        """To one destination, when it has room; each delivery that is ours has a result then, whatever happens."""
        text = "no relay is configured"
        try:
            if self._transport is not None:
                # What is small is at hand when its turn comes; what is large would be too much in memory.
                ready = None
                if claim.message.size <= AT_HAND:
                    ready = await self._delivering.handovers(claim.message, deliveries)
                if await self._room(claim, destination, deliveries):
                    return await self._paced(claim, destination, deliveries, ready)
                text = _STOPPED if self._stopping else f"{destination} did not answer shortly before"
        except Exception:
            log.exception("relaying %s failed", claim.message.message_id)
            text = f"internal error, id {cid}"
        finally:
            for delivery in deliveries:
                if delivery.no not in claim.lost:
                    claim.results.setdefault(delivery.no, Attempt(Outcome.DEFERRED, None, None, text, ""))
                    self._log(claim.message, delivery, claim.results[delivery.no])
            self._rest_of(claim)
        return None

    def _rest_of(self, claim: _Claim) -> None:
        """One destination less of a message is active; without any, another message may be claimed."""
        claim.active -= 1
        if not claim.active:
            self._claimed -= 1
            self._wake.set()

    async def _room(self, claim: _Claim, destination: str, deliveries: Sequence[ClaimedDelivery]) -> bool:
        """Wait for room there; False when the worker stops, or nobody gets through to that place just now."""
        if not self._pacing.room(destination):
            with self._waiting(claim, destination, deliveries):
                while not self._pacing.room(destination):
                    if self._stopping or self._pacing.is_closed(destination):
                        self._next(destination)  # it is of no use to us, but those behind us wait for it too
                        return False
                    turn = anyio.Event()
                    self._lines.setdefault(destination, deque()).append(turn)
                    await turn.wait()
        if self._stopping:
            return False
        self._pacing.begin(destination)
        return True

    def _next(self, destination: str) -> None:
        """Whoever has waited longest for a destination looks again; one at a time, for most would look in vain."""
        line = self._lines.get(destination)
        if line:
            line.popleft().set()
            if not line:
                del self._lines[destination]

    @contextmanager
    def _waiting(self, claim: _Claim, destination: str, deliveries: Sequence[ClaimedDelivery]) -> Generator[None]:
        """While a busy destination is waited for, mail to others goes on: no more is claimed for this one meanwhile.

        That can be said of a domain only, and not of a relay that takes all mail.
        """
        domains = {each.recipient.address.rpartition("@")[2].lower() for each in deliveries}
        if domains != {destination} or self._parked >= MOST_PARKED:
            yield
            return
        self._parked += 1
        self._rest_of(claim)
        try:
            yield
        finally:
            self._parked -= 1
            if not claim.active:
                self._claimed += 1
            claim.active += 1

    async def _paced(
        self, claim: _Claim, destination: str, deliveries: Sequence[ClaimedDelivery], ready: Handovers | None
    ) -> None:
        mine: dict[int, Attempt] = {}
        try:
            for group, handover in ready or await self._delivering.handovers(claim.message, deliveries):
                kept = await self._still_ours(claim, group)
                if kept:
                    asked = handover
                    if len(kept) < len(group):
                        asked = replace(handover, recipients=tuple(each.recipient for each in kept))
                    mine.update(await self._hand_over(destination, kept, asked))
        finally:
            claim.results.update(mine)
            self._pacing.end(destination, list(mine.values()))
            for _ in range(max(1, self._pacing.room(destination))):
                self._next(destination)

    async def _still_ours(self, claim: _Claim, deliveries: Sequence[ClaimedDelivery]) -> Sequence[ClaimedDelivery]:
        """Nothing is sent under a lease that may run out during the transaction: another would send it too."""
        if time.monotonic() - claim.claimed_at <= FRESH_SECONDS:
            return deliveries
        kept = await self._delivering.renew(deliveries)
        claim.lost.update({each.no for each in deliveries} - {each.no for each in kept})
        return kept

    async def _hand_over(
        self, destination: str, deliveries: Sequence[ClaimedDelivery], handover: Handover
    ) -> dict[int, Attempt]:
        assert self._transport is not None
        underway = _Underway()
        self._underway.add(underway)

        def begin_content() -> asyncio.Future[None]:
            underway.content_begun = True
            return asyncio.ensure_future(self._delivering.content_begins(deliveries))

        attempts: dict[str, Attempt] = {}
        text = _STOPPED
        try:
            attempts = await self._transport.relay(destination, handover, on_content=begin_content)
        except asyncio.CancelledError:
            if not underway.broken_off:
                raise
            underway.stopped()
        except Exception:
            cid = new_cid()
            log.exception("a transport failed, id %s", cid)
            text = f"internal error, id {cid}"
        finally:
            self._underway.discard(underway)
        outcome = Outcome.UNKNOWN if underway.content_begun else Outcome.DEFERRED
        missing = Attempt(outcome, None, None, text, "")
        return {each.no: attempts.get(each.recipient.address, missing) for each in deliveries}

    def _log(self, message: ClaimedMessage, delivery: ClaimedDelivery, attempt: Attempt) -> None:
        log.info(
            "relayed %s to %.200r: %s",
            message.message_id,
            delivery.recipient.address,
            attempt.outcome,
            extra={"attempt": delivery.attempt, "code": attempt.code, "remote": attempt.remote or None},
        )

    async def _record(self, message: ClaimedMessage, results: Mapping[int, Attempt]) -> None:
        """Again if the store fails: what is not recorded stays an open question."""
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                for pause in (*RECORD_PAUSES, None):
                    try:
                        return await self._delivering.record(message, results)
                    except Exception:
                        log.exception("cannot record what came of %s", message.message_id)
                    if pause is not None:
                        await asyncio.sleep(pause)
        except TimeoutError:
            log.error("recording what came of %s took too long", message.message_id)
        return None

    async def _finish(self) -> None:
        """Break off what has not begun to send content, and after a while the rest."""
        self._stopping = True
        for destination in list(self._lines):
            self._next(destination)
        with anyio.CancelScope(shield=True):
            for underway in list(self._underway):
                if not underway.content_begun:
                    underway.break_off()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._grace)
            for underway in list(self._underway):
                underway.break_off()
            if self._tasks:
                await asyncio.wait(self._tasks)
