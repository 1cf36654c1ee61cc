"""Filing what was acknowledged: from the spool into inboxes, each exactly once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import anyio

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.receiving import Receiving
from daimon_mcp.operations.spool import Spool
from daimon_mcp.operations.submitted import Submitted
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import incoming

log = logging.getLogger(__name__)

MOST_TRIES = 3
MOST_DEATHS = 10  # of processes with a mail in their hands: most die for other reasons, and mail is kept out for none

Turn = Callable[[], Awaitable[None]]


class Intake:
    """What the filing worker asks of the core."""

    def __init__(self, core: Core, spool: Spool, receiving: Receiving, submitted: Submitted) -> None:
        self._core = core
        self.spool = spool
        self._receiving = receiving
        self._submitted = submitted
        self._counted: set[int] = set()

    async def file(self, no: int, turn: Turn) -> None:
        """File one row of the spool; `turn` is awaited before it is placed. Raises when it is to be tried again.

        One that fails too often is put aside, with its content kept, and the operator finds it in `doctor`. Only
        rows found at the start are counted before they are tried: one of them may have killed the last process.
        """
        if no in self.spool.left_over and no not in self._counted:
            await self._core.database.write(lambda tx: tx.run(sql.incoming_try, no=no))
            self._counted.add(no)
        stored = await incoming.get(self._core.database, no)
        if stored is None:
            await self._done(no, None)
            return
        try:
            if no in self.spool.left_over and stored.tries > MOST_DEATHS:
                raise RuntimeError("it ended the process each time it was read")
            await (self._submitted if stored.origin == incoming.SUBMISSION else self._receiving).file(stored, turn)
        except asyncio.CancelledError:
            if no in self._counted:  # we are being stopped, and that is nothing the mail did
                with anyio.CancelScope(shield=True):
                    await self._core.database.write(lambda tx: tx.run(sql.incoming_untry, no=no))
            raise
        except Exception as error:
            if isinstance(error, Refused) and error.code is RefusalCode.STORE_UNAVAILABLE:
                raise  # the disk's fault, and not the mail's: it waits until there is room again
            if not await self._failed(no, stored.tries):
                raise
            log.exception("mail %s cannot be filed and is put aside", stored.id)
            await self._done(no, None)
            return
        await self._done(no, stored.file)

    async def _done(self, no: int, file: str | None) -> None:
        self._counted.discard(no)
        await self.spool.done(no, file)

    async def _failed(self, no: int, tries: int) -> bool:
        """Count a failure; whether it was the last."""
        last = tries + 1 >= (MOST_DEATHS if no in self.spool.left_over else MOST_TRIES)  # deaths are among them
        statement = sql.incoming_failed if last else sql.incoming_try
        await self._core.database.write(lambda tx: tx.run(statement, no=no))
        return last
