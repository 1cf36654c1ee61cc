"""The files folder of this machine, by which files come and go without a link: each actor has a part of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused, invalid
from daimon_mcp.operations.core import Core
from daimon_mcp.store import accounts, inboxes
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import is_unavailable
from daimon_mcp.store.files_folder import FilesFolder, FolderFull, NoSuchFile, TooLarge

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Folder:
    """Saves files for actors and takes theirs."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._folder = FilesFolder(core.policy.files_folder, core.policy.files_bytes)

    async def save(self, actor: Actor, name: str, content: bytes) -> Path:
        """Write a file under a name that is safe; where it is. Raises INVALID_REQUEST and STORE_UNAVAILABLE."""
        parts = await self._parts(actor)
        try:
            others = "acc_" if not parts else None
            return await _on_disk("save", partial(self._folder.save, parts, name, content, without=others))
        except FolderFull:
            raise invalid("save", "is not possible: the files folder is full") from None

    async def take(self, actor: Actor, path: str) -> tuple[str, bytes]:
        """Name and bytes of one of the actor's files.

        Raises INVALID_REQUEST, MESSAGE_TOO_LARGE (reason `FILE`) and STORE_UNAVAILABLE.
        """
        most = self._core.policy.max_message_bytes
        parts = await self._parts(actor)
        others = "acc_" if not parts else None
        try:
            return await _on_disk("path", partial(self._folder.load, parts, path, most, without=others))
        except NoSuchFile:
            raise invalid("path", "is not a file of the files folder", '"report.pdf"') from None
        except TooLarge:
            raise Refused(RefusalCode.MESSAGE_TOO_LARGE, reason="FILE", facts={"limit": most}) from None

    async def _parts(self, actor: Actor) -> Sequence[str]:
        """Where in the folder an actor is at home: what one saved, another cannot take.

        This machine's own account has the folder itself, beside those of the others.
        """
        row = await self._core.database.one(sql.meta_get, key=accounts.LOCAL_ACCOUNT)
        if actor.inbox_no is not None:
            inbox = await inboxes.by_no(self._core.database, actor.inbox_no)
            assert inbox is not None
            return (actor.account_id, inbox.id)
        return () if row is not None and int(row[0]) == actor.account_no else (actor.account_id,)


async def _on_disk(field: str, work: Callable[[], _T]) -> _T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        log.warning("the files folder: %s", error.strerror)
        if is_unavailable(error):
            raise Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=30) from error
        raise invalid(field, "is not possible: the files folder cannot be used") from None
