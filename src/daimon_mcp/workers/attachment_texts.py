"""Reads the text out of attachments after they arrived: one at a time, beside everything else."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import anyio.abc

from daimon_mcp.changes.bus import ChangeBus
from daimon_mcp.domain.changes import Change, MessageAdded
from daimon_mcp.operations.extracting import Extracting, NotRead, Reader
from daimon_mcp.operations.uploading import SWEEP_EVERY, Uploading

log = logging.getLogger(__name__)

_AFTER_TROUBLE = 5.0


class ClosableReader(Reader, Protocol):
    """A reader with processes of its own."""

    async def aclose(self) -> None: ...


class AttachmentTexts:
    """One task: woken by mail that comes, it has every file read that waits. It ends old uploads too.

    Without an `extraction` nothing is read.
    """

    def __init__(
        self, *, extracting: Extracting, uploading: Uploading, extraction: ClosableReader | None, bus: ChangeBus
    ) -> None:
        self._extracting = extracting
        self._uploading = uploading
        self._extraction = extraction
        self._bus = bus
        self._rung = anyio.Event()

    def _heard(self, change: Change) -> None:
        if isinstance(change, MessageAdded):
            self._rung.set()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. At start, what was left by an earlier process is read."""
        unsubscribe = self._bus.subscribe(self._heard)
        self._extracting.is_reading = self._extraction is not None
        try:
            task_status.started()
            next_sweep = anyio.current_time()
            while True:
                self._rung = anyio.Event()
                if anyio.current_time() >= next_sweep:
                    await self._guarded(self._uploading.sweep)
                    next_sweep = anyio.current_time() + SWEEP_EVERY
                calm = await self._guarded(self._read_all)
                with anyio.move_on_after(SWEEP_EVERY if calm else _AFTER_TROUBLE):
                    await self._rung.wait()
        finally:
            self._extracting.is_reading = False
            unsubscribe()
            if self._extraction is not None:
                with anyio.CancelScope(shield=True):
                    await self._extraction.aclose()

    async def _read_all(self) -> None:
        while self._extraction is not None and await self._extracting.read_next(self._extraction):
            pass

    @staticmethod
    async def _guarded(step: Callable[[], Awaitable[None]]) -> bool:
        """One bad file or a full disk must not end the task; it is tried again soon."""
        try:
            await step()
        except NotRead:
            return False
        except Exception:
            log.exception("reading attachments stumbled and goes on")
            return False
        return True
