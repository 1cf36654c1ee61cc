"""The resolver for libraries that run in a thread and want an answer before they go on."""

from __future__ import annotations

import asyncio
import concurrent.futures

from daimon_mcp.resolver.answers import Answer, Kind, TemporaryFailure
from daimon_mcp.resolver.service import Resolver

_ENDED = "the event loop that asks the name servers has ended, or is stuck"
_GRACE = 1.0  # seconds beyond the resolver's own time-out: a loop that is busy, or has ended


class Threaded:
    """`resolver`, which lives on `loop`, for other threads."""

    def __init__(self, resolver: Resolver, loop: asyncio.AbstractEventLoop) -> None:
        self._resolver = resolver
        self._loop = loop

    def query(self, name: str, kind: Kind) -> Answer[object]:
        """`Resolver.query`, blocking this thread. Raises the same; RuntimeError on the loop's own thread."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            raise RuntimeError("the event loop would wait for itself")
        asking = self._resolver.query(name, kind)
        try:
            future = asyncio.run_coroutine_threadsafe(asking, self._loop)
        except RuntimeError:  # the loop is closed
            asking.close()
            raise TemporaryFailure(_ENDED) from None
        try:
            return future.result(self._resolver.timeout + _GRACE)
        except (TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            raise TemporaryFailure(_ENDED) from None
