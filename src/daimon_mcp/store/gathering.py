"""Small writes of one kind as one operation of the writer: what is asked for in one turn of the event loop.

An operation costs more than what such a write does (its savepoint, its way to the writer thread and back), and a busy
worker asks for many in one turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from daimon_mcp.store.database import Database, Transaction

T = TypeVar("T")


class Gathering(Generic[T]):
    """Runs `run(tx, items)` for what was put in together. Belongs to one event loop.

    If that fails, each item is tried by itself, so that none suffers for another.
    """

    def __init__(self, database: Database, run: Callable[[Transaction, Sequence[T]], None]) -> None:
        self._database = database
        self._run = run
        self._items: list[tuple[T, asyncio.Future[None]]] = []
        self._writing: set[asyncio.Task[None]] = set()

    def put(self, item: T) -> asyncio.Future[None]:
        """Write it; the future is done when that is on disk, or has what `Database.write` raises.

        Cancelling the future keeps nothing from being written.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._items:
            loop.call_soon(self._begin)
        self._items.append((item, future))
        return future

    def _begin(self) -> None:
        items, self._items = self._items, []
        task = asyncio.ensure_future(self._write(items))
        self._writing.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(self._writing.discard)

    async def _write(self, items: Sequence[tuple[T, asyncio.Future[None]]]) -> None:
        error: BaseException | None = None
        try:
            await self._database.write(lambda tx: self._run(tx, [item for item, _ in items]))
        except Exception as failure:  # noqa: BLE001  handed to those who wait
            if len(items) > 1:
                await asyncio.gather(*(self._write([each]) for each in items))
                return
            error = failure
        except BaseException:
            for _, future in items:
                future.cancel()
            raise
        for _, future in items:
            if future.done():  # cancelled
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
