"""Sessions by destination: no more than allowed at a time, and kept for a while for the next message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from daimon_mcp.workers.smtp_client import Client

MESSAGES_PER_CONNECTION: Final = 100
SECONDS_PER_CONNECTION: Final = 300.0


@dataclass(slots=True)
class _Kept:
    """A session that waits for a message, until loop time `until`."""

    client: Client
    until: float


@dataclass(slots=True)
class _Destination:
    """What is open towards one place. `users` have a place, or wait for one."""

    places: asyncio.Semaphore
    kept: list[_Kept] = field(default_factory=list[_Kept])
    users: int = 0


class Pool:
    """Belongs to one event loop. A session serves 100 messages and 300 s at most, and waits `idle_seconds` at most.

    `max_connections` is for each destination, a name of the caller's choice.
    """

    def __init__(self, *, max_connections: int, idle_seconds: float) -> None:
        self._max_connections = max_connections
        self._idle_seconds = idle_seconds
        self._destinations: dict[str, _Destination] = {}
        self._sweep: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def place(self, destination: str) -> AsyncGenerator[None]:
        """Wait until a connection to `destination` may be used; it may until the block is left."""
        entry = self._destinations.get(destination)
        if entry is None:
            entry = self._destinations[destination] = _Destination(asyncio.Semaphore(self._max_connections))
        entry.users += 1
        try:
            async with entry.places:
                yield
        finally:
            entry.users -= 1
            self._forget(destination, entry)

    def take(self, destination: str) -> Client | None:
        """A kept session; None when there is none that seems alive. To be called, as `give_back`, in a `place`.

        The last one kept comes first, so that the others grow old when there is little to do.
        """
        kept = self._destinations[destination].kept
        while kept:
            client = kept.pop().client
            if client.usable:
                return client
            client.abort()
        return None

    def give_back(self, destination: str, client: Client) -> None:
        """Keep `client` for the next message, if it is still good for one; else end it."""
        now = asyncio.get_running_loop().time()
        expires_at = client.made_at + SECONDS_PER_CONNECTION
        if not client.usable:
            client.abort()
        elif client.messages >= MESSAGES_PER_CONNECTION or now >= expires_at:
            client.leave()
        else:
            kept = _Kept(client, min(expires_at, now + self._idle_seconds))
            self._destinations[destination].kept.append(kept)
            self._sweep_at(kept.until)

    async def close(self) -> None:
        """Say QUIT on all kept sessions and end them, within a few seconds."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        clients: list[Client] = []
        for destination, entry in list(self._destinations.items()):
            clients += [kept.client for kept in entry.kept]
            entry.kept.clear()
            self._forget(destination, entry)
        await asyncio.gather(*(client.quit() for client in clients))

    def _sweep_at(self, when: float) -> None:
        """One timer for all, left as it is when a session is taken: a busy one would set a timer for each message."""
        if self._sweep is not None:
            if self._sweep.when() <= when:
                return
            self._sweep.cancel()
        self._sweep = asyncio.get_running_loop().call_at(when, self._expire)

    def _expire(self) -> None:
        """End the sessions that have waited long enough, and look again when the next will have."""
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for destination, entry in list(self._destinations.items()):
            waiting, entry.kept = entry.kept, []
            for kept in waiting:
                if kept.until <= now:
                    kept.client.leave()
                else:
                    entry.kept.append(kept)
            self._forget(destination, entry)
        if left := [kept.until for entry in self._destinations.values() for kept in entry.kept]:
            self._sweep_at(min(left))

    def _forget(self, destination: str, entry: _Destination) -> None:
        if not entry.users and not entry.kept:
            self._destinations.pop(destination, None)
