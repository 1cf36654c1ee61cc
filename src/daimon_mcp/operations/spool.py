"""The spool as a place: where large content lies, what waits, and when all that was acknowledged is filed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import anyio

from daimon_mcp.domain.changes import Change, SpoolChanged
from daimon_mcp.domain.envelopes import ContentFile, ReceivedContent
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.core import Core
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import incoming
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.incoming import NewIncoming, StoredIncoming

SUSPECTS = 64  # rows, oldest first, that may have been underway when the last process ended; also looked at at once
PATIENCE = 1.0  # seconds that a reader waits for mail acknowledged before it asked


class Spool:
    """Mail that is acknowledged and not filed. The files of large ones lie in a folder beside the database."""

    def __init__(self, core: Core, folder: Path) -> None:
        self._core = core
        self._folder = folder
        self._made = False
        self._waiting: dict[int, int] = {}  # numbers in order, and octets
        self._octets = 0
        self.left_over: set[int] = set()  # found at the start: one of them may have killed the process before us
        self._filed = asyncio.Event()
        self.wanted = asyncio.Event()  # set while somebody waits for what is not filed yet
        self._readers = 0
        self.accepted = 0  # since the start: tells whether mail is coming in just now
        core.bus.subscribe(self._heard)

    def folder(self) -> Path:
        """Where listeners write content that is too large for memory; made at the first call. Blocks."""
        if not self._made:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._made = True
        return self._folder

    async def start(self) -> None:
        """Find what an earlier process acknowledged and did not file; remove files nobody speaks of."""
        known = {row[0] for row in await self._core.database.all(sql.incoming_files)}

        def sweep() -> None:
            if self._folder.is_dir():
                for path in self._folder.iterdir():
                    if path.name not in known:
                        path.unlink(missing_ok=True)

        await asyncio.to_thread(sweep)
        after = 0
        while rows := await self._core.database.all(sql.incoming_due, after=after, limit=1000):
            for no, size in rows:
                self._add(no, size)
            if not after:  # mail is filed in order, so what was in its hands when it ended is among the first
                self.left_over.update(no for no, _ in rows[:SUSPECTS])
            after = rows[-1][0]

    def _heard(self, change: Change) -> None:
        if isinstance(change, SpoolChanged):
            self.accepted += 1
            self._add(change.no, change.size)

    def leave_to_worker(self, no: int, size: int) -> None:
        """A row whose filing was begun elsewhere, and did not come to its end."""
        self._core.bus.ring([SpoolChanged(no, size)])

    def _add(self, no: int, size: int) -> None:
        if no in self._waiting:
            return
        late = bool(self._waiting) and no < next(reversed(self._waiting))
        self._waiting[no] = size
        self._octets += size
        if late:  # it was acknowledged before others that wait, and told of after them
            self._waiting = dict(sorted(self._waiting.items()))

    async def listed(self) -> list[dict[str, Any]]:
        """What is acknowledged and not filed, oldest first; `put_aside` is what failed too often."""
        return await incoming.listed(self._core.database)

    async def refile(self, id: str = "") -> int:
        """Have mail filed that was put aside, the one with this id or all of it; how many."""

        def run(tx: Transaction) -> int:
            rows = tx.all(sql.incoming_again, id=id)
            for no, size in rows:
                tx.announce(SpoolChanged(no, size))
            return len(rows)

        return await self._core.database.write(run)

    async def settled(self, patience: float = PATIENCE) -> None:
        """Return once everything acknowledged before this call is filed, or after `patience` seconds."""
        if not self._waiting:
            return
        last = next(reversed(self._waiting))
        self._readers += 1
        self.wanted.set()
        try:
            with anyio.move_on_after(patience):
                while self._waiting and next(iter(self._waiting)) <= last:
                    await self._filed.wait()
        finally:
            self._readers -= 1
            if not self._readers:
                self.wanted.clear()

    def fullness(self) -> float:
        """How much of the room there is, is taken: 0 to 1."""
        return self._octets / self._core.policy.most_spooled

    def check_room(self, size: int) -> None:
        """Raise STORE_UNAVAILABLE when so much waits to be filed that more is put off."""
        if self._octets + size > self._core.policy.most_spooled:
            raise Refused(RefusalCode.STORE_UNAVAILABLE, reason="SPOOL_FULL", retry_after=60)

    @staticmethod
    def content_fields(content: ReceivedContent) -> tuple[int, bytes | None, str | None]:
        """Size, bytes and file name, as the spool's rows have them."""
        if isinstance(content, ContentFile):
            return content.size, None, content.path.name
        return len(content), content, None

    def put(self, tx: Transaction, new: NewIncoming) -> int:
        """Inside a write: acknowledge mail, once this is committed."""
        number = incoming.insert(tx, new)
        tx.announce(SpoolChanged(number, new.size))
        return number

    async def load(self, stored: StoredIncoming) -> bytes:
        """The content of a row. Raises OSError when its file is gone."""
        if stored.data is not None:
            return stored.data
        assert stored.file is not None
        return await asyncio.to_thread((self._folder / stored.file).read_bytes)

    def waiting(self, most: int = SUSPECTS) -> Sequence[tuple[int, int]]:
        """Number and octets of the oldest that wait, oldest first."""
        return list(islice(self._waiting.items(), most))

    async def done(self, no: int, file: str | None) -> None:
        """Row `no` is filed or put aside: nobody waits for it any more; its file may go."""
        self._octets -= self._waiting.pop(no, 0)
        self.left_over.discard(no)
        filed, self._filed = self._filed, asyncio.Event()
        filed.set()
        if file is not None:
            await self.forget(file)

    async def forget(self, file: str) -> None:
        """Remove a file of the spool; one that cannot be removed now goes at the next start."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread((self._folder / file).unlink, missing_ok=True)
