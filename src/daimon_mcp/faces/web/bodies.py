"""Bodies on their way in and out: bounded, and not for ever."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import anyio
from starlette.requests import Request

from daimon_mcp.domain.refusals import Refused

PATIENCE = 600.0
"""Seconds that one body may take."""
GRACE = 10.0
"""Seconds after which a body must have come or gone at `SLOWEST`."""
SLOWEST = 10_000
"""Octets per second."""


class Pace:
    """How long somebody may let us wait for the next octets, by how many there were."""

    def __init__(self) -> None:
        self._start = anyio.current_time()
        self._octets = 0

    def more(self, octets: int) -> None:
        """So many octets went over."""
        self._octets += octets

    def limit(self) -> anyio.CancelScope:
        """What is done inside ends by then, without an error: see `cancelled_caught`."""
        return anyio.CancelScope(deadline=self._start + min(PATIENCE, GRACE + self._octets / SLOWEST))


class TooSlow(Exception):
    """A body came at less than the pace that it must have."""


async def bounded(request: Request, most: int, too_large: Callable[[int], Refused]) -> AsyncGenerator[bytes]:
    """The body as it comes. Raises TooSlow, and what `too_large(most)` makes at the first octet beyond `most`."""
    size, pace = 0, Pace()
    stream = request.stream()
    while True:
        chunk: bytes | None = None
        with pace.limit() as limit:
            chunk = await anext(stream, None)
        if limit.cancelled_caught:
            raise TooSlow
        if chunk is None:
            return
        size += len(chunk)
        if size > most:
            raise too_large(most)
        pace.more(len(chunk))
        yield chunk
