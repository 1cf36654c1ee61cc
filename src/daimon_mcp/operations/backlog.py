"""Back-pressure: when too much waits to leave, more is put off instead of taken."""

from __future__ import annotations

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.core import Core
from daimon_mcp.store import compiled as sql

LOOK_EVERY = 5 * SECOND
RETRY_AFTER = 300  # seconds


class Backlog:
    """How long the outbound queue is, counted now and then: a limit that is exceeded by seconds' worth does no harm."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._looked_at = -LOOK_EVERY
        self._full = False

    async def check(self) -> None:
        """Raise RATE_LIMIT_EXCEEDED (QUEUE_FULL) while more recipients wait for the relay than may."""
        now = self._core.clock.now()
        if abs(now - self._looked_at) >= LOOK_EVERY:
            self._looked_at = now
            most = self._core.policy.most_queued
            row = await self._core.database.one(sql.deliveries_backlog, most=most)
            self._full = row is not None and row[0] >= most
        if self._full:
            raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="QUEUE_FULL", retry_after=RETRY_AFTER)
