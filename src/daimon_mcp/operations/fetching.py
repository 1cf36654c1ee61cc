"""Mail fetched from a mailbox elsewhere: taken in once, and how far that mailbox has been read."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Sequence

from daimon_mcp.domain.envelopes import ContentFile, Envelope, Peer, ReceivedContent
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.upstream import FetchedMail, Place
from daimon_mcp.logs import new_cid
from daimon_mcp.mail.trace import canonical_crlf, hop_count
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.directory import Directory
from daimon_mcp.operations.reading import on_parser
from daimon_mcp.operations.spool import Spool
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import incoming
from daimon_mcp.store.blobs import IN_DATABASE
from daimon_mcp.store.database import Transaction, is_unavailable, sync_folder
from daimon_mcp.store.incoming import NewIncoming


class Fetching:
    """What the worker that reads a mailbox elsewhere asks of the core. All has committed when a method returns."""

    def __init__(self, core: Core, spool: Spool, directory: Directory) -> None:
        self._core = core
        self._spool = spool
        self._directory = directory

    async def place(self, name: str) -> Place | None:
        """How far a mailbox has been read; None when it never was."""
        row = await self._core.database.one(sql.upstream_get, name=name)
        return None if row is None else Place(*row)

    async def begin(self, name: str, place: Place) -> None:
        """Read on from there: the first time, and when a mailbox has numbered its mail anew."""
        await self._core.database.write(
            lambda tx: tx.run(
                sql.upstream_put,
                name=name,
                uidvalidity=place.uidvalidity,
                last_uid=place.last_uid,
                since=place.since,
                old_uid=place.old_uid,
                updated_at=self._core.clock.now(),
            )
        )

    async def who(self, candidates: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        """The addresses of the first of `candidates` that has any with an inbox; only those with one."""
        for tier in candidates:
            here = [
                address
                for address in tier
                if self._core.is_local(address) and await self._directory.inbox(address) is not None
            ]
            if here:
                return tuple(here)
        return ()

    async def receive_fetched(self, mail: FetchedMail) -> bool:
        """Put a message into the spool and set the place to it, in one transaction.

        False when the same bytes have been taken from that mailbox before: it may have numbered its mail anew, or
        somebody has moved a message out and in again. Raises RECIPIENT_REFUSED (MAIL_LOOP) for mail that has been
        around too often, STORE_UNAVAILABLE.
        """
        core = self._core
        self._spool.check_room(len(mail.content))

        def read() -> tuple[str, int, bytes]:
            return hashlib.sha256(mail.content).hexdigest(), hop_count(mail.content), canonical_crlf(mail.content)

        digest, hops, content = await on_parser(read, len(mail.content))
        if hops >= core.policy.max_hops:
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="MAIL_LOOP")
        stored: ReceivedContent = content
        if len(content) > IN_DATABASE:
            stored = await asyncio.to_thread(self._into_file, content)
        size, data, file = self._spool.content_fields(stored)
        now = core.clock.now()
        cid = new_cid()
        new = NewIncoming(
            id=cid,
            origin=incoming.UPSTREAM,
            envelope=Envelope(mail.mail_from, mail.recipients),
            peer=Peer(address="", helo=mail.host, cid=cid),
            size=size,
            data=data,
            file=file,
            received_at=now,
        )
        seen = {"name": mail.name, "uidvalidity": mail.uidvalidity, "uid": mail.uid}

        def run(tx: Transaction) -> bool:
            tx.run(sql.upstream_advance, **seen, now=now)
            if not tx.run(sql.fetched_insert, **seen, digest=digest, pending=int(mail.tidy), fetched_at=now):
                tx.run(sql.fetched_again, **seen, digest=digest, pending=int(mail.tidy))
                return False
            self._spool.put(tx, new)
            return True

        is_new = False
        try:
            is_new = await core.database.write(run)
        except asyncio.CancelledError:
            is_new = True  # perhaps: a file that nobody speaks of goes at the next start
            raise
        finally:
            if file is not None and not is_new:
                await self._spool.forget(file)
        return is_new

    def _into_file(self, content: bytes) -> ContentFile:
        """Content in a file of the spool, on disk with its name. Raises STORE_UNAVAILABLE."""
        try:
            path = self._spool.folder() / f"{secrets.token_hex(16)}.eml"
            try:
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                sync_folder(path.parent)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        except OSError as error:
            if is_unavailable(error):
                raise Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=30) from error
            raise
        return ContentFile(path, len(content))

    async def skip(self, name: str, uidvalidity: int, uid: int) -> None:
        """Set the place to a message that is not taken."""
        now = self._core.clock.now()
        await self._core.database.write(
            lambda tx: tx.run(sql.upstream_advance, name=name, uidvalidity=uidvalidity, uid=uid, now=now)
        )

    async def untidied(self, name: str, uidvalidity: int) -> list[int]:
        """The UIDs of mail taken with `tidy` for which `tidied` has not been called."""
        rows = await self._core.database.all(sql.fetched_untidied, name=name, uidvalidity=uidvalidity)
        return [uid for (uid,) in rows]

    async def tidied(self, name: str, uidvalidity: int, uids: Sequence[int]) -> None:
        """What was to be done to these has been done."""

        def run(tx: Transaction) -> None:
            for uid in uids:
                tx.run(sql.fetched_tidied, name=name, uidvalidity=uidvalidity, uid=uid)

        await self._core.database.write(run)
