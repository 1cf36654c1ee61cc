"""The relay worker: takes what is due from the queue, hands it to a transport, and puts on record what came of it.

The core has the attempt, its lease and the next attempt's time on disk before a message gets here, so being killed at
any line costs at most a repetition, and a message that crashes us cannot do so in a tight loop. Which outcome leads
to a retry, a bounce or a question is the core's to decide.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Protocol

import anyio
import anyio.abc

from daimon_mcp.changes.bus import ChangeBus
from daimon_mcp.domain.changes import Change, QueueChanged
from daimon_mcp.domain.clock import Clock
from daimon_mcp.domain.queue import Attempt, ClaimedMessage, Outcome
from daimon_mcp.logs import new_cid
from daimon_mcp.workers.transports import Transport

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 30.0  # a bell can be lost, and another process may have filled the queue
CLOCK_SECONDS: Final = 1.0  # how often a wait for scheduled mail looks at the clock, which may have been set
LEAST_SECONDS: Final = 0.25  # when something is due that is not to be had: it is leased, or just fell due
FAILURE_SECONDS: Final = 5.0
RECORD_SECONDS: Final = 10.0
RECORD_PAUSES: Final = (0.1, 0.5)


class Delivering(Protocol):
    """The core's side of the queue."""

    async def claim(self, limit: int) -> list[ClaimedMessage]:
        """Lease up to `limit` messages that are due."""
        ...

    async def next_due(self) -> int | None:
        """When to look again (epoch µs); None when nothing waits."""
        ...

    async def record(self, message: ClaimedMessage, results: Mapping[int, Attempt]) -> None:
        """Store what came of an attempt, by `ClaimedDelivery.no`, and end the lease."""
        ...


class _Underway:
    """One message in a transport's hands."""

    def __init__(self, message: ClaimedMessage) -> None:
        self.message = message
        self.scope = anyio.CancelScope(shield=True)
        self.content_begun = False

    def begin_content(self) -> None:
        """From here on the message may have been handed over."""
        self.content_begun = True


class RelayWorker:
    """Relays up to `concurrency` messages at a time. Without a transport, everything due is DEFERRED.

    When it is cancelled, a message whose content is on its way has `grace` seconds to get its answer; then, and for
    all others at once, the attempt is broken off, and recorded as what it is.
    """

    def __init__(
        self,
        *,
        delivering: Delivering,
        transport: Transport | None,
        bus: ChangeBus,
        clock: Clock,
        concurrency: int = 5,
        grace: float = 10.0,
    ) -> None:
        self._delivering = delivering
        self._transport = transport
        self._bus = bus
        self._clock = clock
        self._concurrency = concurrency
        self._grace = grace
        self._underway: set[_Underway] = set()
        self._wake = anyio.Event()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; no message and no failure of the store ends it."""
        unsubscribe = self._bus.subscribe(self._heard)
        try:
            async with anyio.create_task_group() as tasks:
                task_status.started()
                try:
                    while True:
                        self._wake = anyio.Event()  # before we look, so that a bell from now on is not missed
                        if not await self._start_due(tasks):
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
            self._wake.set()

    async def _start_due(self, tasks: anyio.abc.TaskGroup) -> bool:
        """Start what is due and has a place; whether that was anything."""
        free = self._concurrency - len(self._underway)
        if free <= 0:
            return False
        claimed: list[ClaimedMessage] = []
        try:
            with anyio.CancelScope(shield=True):  # a lease nobody knows of would delay its messages
                claimed = await self._delivering.claim(free)
        except Exception:
            log.exception("cannot claim what is due")
            with anyio.move_on_after(FAILURE_SECONDS):
                await self._wake.wait()
            return True
        for message in claimed:
            underway = _Underway(message)
            self._underway.add(underway)
            tasks.start_soon(self._deliver, underway)
        return bool(claimed)

    async def _rest(self) -> None:
        """Until something falls due, a bell rings, a place becomes free, or it is time to look anyway."""
        with anyio.move_on_after(POLL_SECONDS):
            due = None
            if len(self._underway) < self._concurrency:
                try:
                    due = await self._delivering.next_due()
                except Exception:
                    log.exception("cannot tell what is due next")
            if due is None:
                return await self._wake.wait()
            while True:
                with anyio.move_on_after(min(max(self._clock.seconds_until(due), LEAST_SECONDS), CLOCK_SECONDS)):
                    return await self._wake.wait()
                if self._clock.seconds_until(due) <= 0:
                    return None

    async def _deliver(self, underway: _Underway) -> None:
        cid = new_cid()
        try:
            results = await self._relay(underway, cid)
            await self._record(underway.message, results)
        finally:
            self._underway.discard(underway)
            self._wake.set()

    async def _relay(self, underway: _Underway, cid: str) -> dict[int, Attempt]:
        """One attempt, for each delivery by its number; whatever happens, each has a result."""
        message = underway.message
        attempts: dict[str, Attempt] = {}
        text = "no relay is configured" if self._transport is None else "the server was stopped during the attempt"
        with underway.scope:
            try:
                if self._transport is not None:
                    attempts = await self._transport.relay(
                        mail_from=message.mail_from,
                        recipients=[delivery.recipient for delivery in message.deliveries],
                        content=message.content,
                        smtputf8=message.smtputf8,
                        on_content=underway.begin_content,
                    )
            except Exception:
                log.exception("relaying %s failed", message.message_id)
                text = f"internal error, id {cid}"
        outcome = Outcome.UNKNOWN if underway.content_begun else Outcome.DEFERRED
        missing = Attempt(outcome, None, None, text, "")
        results: dict[int, Attempt] = {}
        for delivery in message.deliveries:
            attempt = results[delivery.no] = attempts.get(delivery.recipient, missing)
            log.info(
                "relayed %s to %.200r: %s",
                message.message_id,
                delivery.recipient,
                attempt.outcome,
                extra={"attempt": delivery.attempt, "code": attempt.code, "remote": attempt.remote or None},
            )
        return results

    async def _record(self, message: ClaimedMessage, results: Mapping[int, Attempt]) -> None:
        """Also while we are being stopped, and again if the store fails: what is not recorded is sent twice."""
        with anyio.move_on_after(RECORD_SECONDS, shield=True) as patience:
            for pause in (*RECORD_PAUSES, None):
                try:
                    return await self._delivering.record(message, results)
                except Exception:
                    log.exception("cannot record what came of %s", message.message_id)
                if pause is not None:
                    await anyio.sleep(pause)
        if patience.cancelled_caught:
            log.error("recording what came of %s took too long", message.message_id)
        return None

    async def _finish(self) -> None:
        """Break off what has not begun to send content, and after a while the rest."""
        with anyio.CancelScope(shield=True):
            for underway in self._underway:
                if not underway.content_begun:
                    underway.scope.cancel()
            with anyio.move_on_after(self._grace):
                while self._underway:
                    self._wake = anyio.Event()
                    await self._wake.wait()
            for underway in self._underway:
                underway.scope.cancel()
