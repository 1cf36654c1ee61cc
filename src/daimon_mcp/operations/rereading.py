"""Reading stored mail again with today's rules: their results get better, the raw bytes stay."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from daimon_mcp.mail.parse import RULES_VERSION
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.reading import understand
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import messages
from daimon_mcp.store.database import Transaction

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """One page of work: where to go on (None at the end), how many were read again, how many have lost their bytes."""

    next_after: int | None
    read: int
    missing: int


class Rereading:
    """The operator's command `reparse`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def reparse(self, after: int, *, everything: bool, limit: int = 100) -> Progress:
        """Read up to `limit` messages again, after a number: those that older rules read, or all.

        Each is one write; stopping in between loses nothing. Place, flags, labels, thread and attachment handles stay.
        """
        core = self._core
        version = RULES_VERSION + 1 if everything else RULES_VERSION
        rows = await core.database.all(sql.messages_to_reparse, slow=True, after=after, version=version, limit=limit)
        read = missing = 0
        for seq, public_id, blob_hash in rows:
            try:
                raw = await core.blobs.get(core.database, blob_hash)
            except (LookupError, OSError) as error:
                log.warning("the bytes of %s cannot be read: %r", public_id, error)
                missing += 1
                continue
            content, _ = await understand(core, raw)

            def run(tx: Transaction, seq: int = seq) -> None:
                messages.reread(tx, messages.in_tx(tx, seq), content)  # noqa: B023  run before the next turn

            await core.database.write(run)
            read += 1
        return Progress(rows[-1][0] if len(rows) == limit else None, read, missing)
