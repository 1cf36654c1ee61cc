"""Where a fake peer stops until a test lets it go on."""

from __future__ import annotations

import asyncio

PATIENCE = 10.0
"""Seconds that tests wait for what must come: many times what it takes, also on a machine that is busy."""


class Gate:
    """A step that a peer stops at: it says when it is `reached`, and goes on when it is told to `open`."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def reached(self) -> None:
        """Return when the peer is here. Raises TimeoutError when it does not come."""
        async with asyncio.timeout(PATIENCE):
            await self._reached.wait()

    def open(self) -> None:
        """Let the peer go on, now and whenever it comes here again."""
        self._opened.set()

    async def pass_through(self) -> None:
        """The peer's side."""
        self._reached.set()
        await self._opened.wait()
