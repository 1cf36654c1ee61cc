"""Lets mail go when its time has come, and parked mail when an upgrade allows it; ends keys when theirs is over."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc

from daimon_mcp.changes.bus import ChangeBus
from daimon_mcp.domain.changes import AccountChanged, Change, KeyChanged, QueueChanged
from daimon_mcp.domain.clock import Clock
from daimon_mcp.operations.keys import Keys
from daimon_mcp.operations.releasing import Releasing

log = logging.getLogger(__name__)

_LONGEST_NAP = 3600.0
_AFTER_TROUBLE = 5.0


class Scheduler:
    """One task: woken by the bell or the clock, it asks the core what is due."""

    def __init__(self, *, releasing: Releasing, keys: Keys, bus: ChangeBus, clock: Clock) -> None:
        self._releasing = releasing
        self._keys = keys
        self._bus = bus
        self._clock = clock
        self._accounts: set[int] = set()
        self._rung = anyio.Event()

    def _heard(self, change: Change) -> None:
        if isinstance(change, AccountChanged):
            self._accounts.add(change.account_no)
        if isinstance(change, AccountChanged | QueueChanged | KeyChanged):
            self._rung.set()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. At start, what fell due or was approved while nobody ran leaves at once."""
        unsubscribe = self._bus.subscribe(self._heard)
        try:
            task_status.started()
            await self._guarded(self._releasing.release_all_parked)
            while True:
                self._rung = anyio.Event()
                calm = await self._guarded(self._once)
                due = await self._next_due() if calm else None
                nap = _LONGEST_NAP if due is None else min(self._clock.seconds_until(due), _LONGEST_NAP)
                with anyio.move_on_after(nap if calm else _AFTER_TROUBLE):
                    await self._rung.wait()
        finally:
            unsubscribe()

    async def _once(self) -> None:
        accounts, self._accounts = self._accounts, set()
        for account_no in accounts:
            await self._releasing.release_parked(account_no)
        while await self._releasing.release_due():
            pass
        await self._keys.end_expired()

    async def _next_due(self) -> int | None:
        times = [await self._releasing.next_scheduled(), await self._keys.end_expired()]
        return min((each for each in times if each is not None), default=None)

    @staticmethod
    async def _guarded(step: Callable[[], Awaitable[None]]) -> bool:
        """One bad message or a full disk must not end the task; it is tried again soon."""
        try:
            await step()
        except Exception:
            log.exception("the scheduler stumbled and goes on")
            return False
        return True
