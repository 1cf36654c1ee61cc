"""Files what was acknowledged: the worker behind the spool.

Accepting comes first: while mail keeps coming in, filing takes a part of the time alone, so that nobody who hands over
mail waits for another's mail to be read.
"""

from __future__ import annotations

import logging
import time

import anyio
import anyio.abc

from daimon_mcp.changes.bus import ChangeBus
from daimon_mcp.domain.changes import Change, SpoolChanged
from daimon_mcp.operations.intake import Intake

log = logging.getLogger(__name__)

AT_ONCE = 16  # mails
OCTETS_AT_ONCE = 16 << 20  # or one, however large
SHARE = 9.0  # how many times as long as it worked it rests, while mail keeps coming in
LONGEST_BATCH = 0.25  # seconds
LONGEST_REST = 2.0
AFTER_TROUBLE = 5.0
PATIENCE = 2.0  # seconds that a mail waits for its turn


class IntakeWorker:
    """Takes rows of the spool, oldest first, several at a time; one that fails is tried again after a while."""

    def __init__(self, *, intake: Intake, bus: ChangeBus) -> None:
        self._intake = intake
        self._bus = bus
        self._rung = anyio.Event()
        self._ended = anyio.Event()
        self._underway: dict[int, int] = {}
        self._troubled: set[int] = set()
        self._last = anyio.Event()
        self._last.set()

    def _heard(self, change: Change) -> None:
        if isinstance(change, SpoolChanged):
            self._rung.set()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. What an earlier process left is filed first, one by one."""
        unsubscribe = self._bus.subscribe(self._heard)
        try:
            await self._intake.spool.start()
            async with anyio.create_task_group() as tasks:
                task_status.started()
                while True:
                    self._rung = anyio.Event()
                    began, accepted = time.monotonic(), self._intake.spool.accepted
                    self._start_some(tasks)
                    if not self._underway:
                        await self._rung.wait()
                        continue
                    await self._batch()
                    if self._intake.spool.accepted > accepted:
                        await self._rest(time.monotonic() - began)
        finally:
            unsubscribe()

    async def _batch(self) -> None:
        """Until what is under way is done; not long, if it waits for a name server."""
        with anyio.move_on_after(LONGEST_BATCH):
            while self._underway:
                await self._ended.wait()

    async def _rest(self, worked: float) -> None:
        """Mail came in meanwhile: leave the time to those who hand it over, less of it the more waits, and none if
        somebody wants to read."""
        spool = self._intake.spool
        with anyio.move_on_after(min(LONGEST_REST, SHARE * worked * max(0.0, 1 - 2 * spool.fullness()))):
            await spool.wanted.wait()

    def _start_some(self, tasks: anyio.abc.TaskGroup) -> None:
        for no, size in self._intake.spool.waiting():
            if no in self._underway or no in self._troubled:
                continue
            alone = no in self._intake.spool.left_over
            busy = sum(self._underway.values())
            if self._underway and (alone or len(self._underway) >= AT_ONCE):
                return
            if self._underway and busy + size > OCTETS_AT_ONCE:
                continue  # small mail behind it need not wait
            self._underway[no] = size
            before, self._last = self._last, anyio.Event()
            tasks.start_soon(self._file, no, before, self._last)
            if alone:
                return

    async def _file(self, no: int, before: anyio.Event, done: anyio.Event) -> None:
        async def turn() -> None:
            """Mail is placed in the order it came in, unless what came before takes long to look up."""
            with anyio.move_on_after(PATIENCE):
                await before.wait()

        try:
            await self._intake.file(no, turn)
        except Exception:
            log.exception("mail in the spool cannot be filed now")
            self._troubled.add(no)
        finally:
            self._underway.pop(no, None)
            done.set()
            self._rung.set()
            ended, self._ended = self._ended, anyio.Event()
            ended.set()
        if no in self._troubled:
            await anyio.sleep(AFTER_TROUBLE)
            self._troubled.discard(no)
            self._rung.set()
