"""Mail from other servers: who is here, taking it in, and filing it. Nothing is acknowledged before it is durable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from daimon_mcp.domain.envelopes import ContentFile, Envelope, Peer, ReceivedContent
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.lists import Hold
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.verp import delivery_of
from daimon_mcp.mail.trace import HEADER_BYTES, hop_count, prepend_trace, received_header
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.directory import Directory
from daimon_mcp.operations.dispatch import destination, receive_copy
from daimon_mcp.operations.reading import on_parser, understand
from daimon_mcp.operations.spool import Spool
from daimon_mcp.store import incoming
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.incoming import NewIncoming, StoredIncoming


class Authenticated(Protocol):
    """What is known of a message's sender: facts for the message, our header line, whether it is to be held."""

    @property
    def facts(self) -> dict[str, Any]: ...

    @property
    def header(self) -> bytes: ...

    @property
    def quarantine(self) -> bool: ...


class Authenticating(Protocol):
    """Looks at SPF, DKIM, DMARC and ARC of mail from outside."""

    async def authenticate(self, content: bytes, peer: Peer, mail_from: str) -> Authenticated | None:
        """What is known; None for a peer whose word is taken, such as this machine."""
        ...

    def without_forged(self, content: bytes) -> bytes:
        """`content` without Authentication-Results fields that claim to be ours. Runs on a parser's thread."""
        ...


class Receiving:
    """What listeners for mail from outside ask of the core."""

    def __init__(self, core: Core, spool: Spool, directory: Directory, authenticating: Authenticating) -> None:
        self._core = core
        self._spool = spool
        self._directory = directory
        self._authenticating = authenticating

    def _canonical(self, address: str) -> str:
        # RFC 5321 §4.5.1: postmaster must be taken without a domain too.
        return f"{address}@{self._core.policy.domain}" if "@" not in address else address

    async def check_recipient(self, address: str) -> None:
        """Raise RECIPIENT_REFUSED (RELAY_DENIED) for a foreign domain, INBOX_NOT_FOUND for an unknown inbox."""
        canonical = self._canonical(address)
        if not self._core.is_local(canonical):
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="RELAY_DENIED")
        if not await self._directory.is_here(canonical):
            raise Refused(RefusalCode.INBOX_NOT_FOUND)

    async def accept(
        self, envelope: Envelope, peer: Peer, content: ReceivedContent, *, origin: str = incoming.MX
    ) -> str:
        """Take one message in for all its recipients; the id to quote. Durable when it returns, and filed soon.

        Raises RECIPIENT_REFUSED (MAIL_LOOP) for mail that has been around too often, STORE_UNAVAILABLE when the disk
        fails or more is waiting to be filed than may.
        """
        await self._spooled(envelope, peer, content, origin, self._spool.put)
        return peer.cid

    async def _spooled(
        self,
        envelope: Envelope,
        peer: Peer,
        content: ReceivedContent,
        origin: str,
        put: Callable[[Transaction, NewIncoming], int],
    ) -> int:
        size, data, file = self._spool.content_fields(content)
        self._spool.check_room(size)
        hops = await on_parser(partial(_hops, content), HEADER_BYTES if isinstance(content, ContentFile) else 0)
        if hops >= self._core.policy.max_hops:
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="MAIL_LOOP")
        new = NewIncoming(
            id=peer.cid,
            origin=origin,
            envelope=envelope,
            peer=peer,
            size=size,
            data=data,
            file=file,
            received_at=self._core.clock.now(),
        )
        return await self._core.database.write(lambda tx: put(tx, new))

    async def receive(
        self, envelope: Envelope, peer: Peer, content: bytes, *, origin: str = incoming.MX
    ) -> Sequence[str]:
        """Take one message in and file it; the ids of the copies. Raises as `accept`, and INBOX_NOT_FOUND."""
        number = await self._spooled(envelope, peer, content, origin, incoming.insert)
        try:
            stored = await incoming.get(self._core.database, number)
            filed = None if stored is None else await self.file(stored)
        except BaseException:
            self._spool.leave_to_worker(number, len(content))  # it is acknowledged, whatever becomes of this call
            raise
        if not filed:
            raise Refused(RefusalCode.INBOX_NOT_FOUND)
        return filed

    async def file(self, stored: StoredIncoming, turn: Callable[[], Awaitable[None]] | None = None) -> list[str] | None:
        """Place a copy in the inbox of every recipient; their ids, none for recipients that are gone by now.

        `turn` is awaited before. None when somebody else has filed it. Raises STORE_UNAVAILABLE.
        """
        core = self._core
        envelope, peer = stored.envelope, stored.peer
        content = await self._spool.load(stored)
        known = None
        if stored.origin == incoming.MX:
            known = await self._authenticating.authenticate(content, peer, envelope.mail_from)
        received = received_header(
            by=core.policy.hostname,
            peer=peer,
            rcpt=envelope.rcpt_to[0] if len(envelope.rcpt_to) == 1 else None,
            now=stored.received_at,
            id=peer.cid,
        )

        def trace() -> bytes:
            ours = self._authenticating.without_forged(content)
            results = known.header if known is not None else b""
            return prepend_trace(ours, received=results + received, return_path=envelope.mail_from)

        understood, _ = await understand(core, await on_parser(trace, len(content)))

        def run(tx: Transaction) -> list[str] | None:
            if not incoming.take(tx, stored.no):
                return None
            now = core.clock.now()
            targets: dict[int, tuple[Inbox, str | None, int | None]] = {}
            for address in envelope.rcpt_to:
                inbox, tag = destination(tx, self._canonical(address), domain=core.policy.domain, now=now)
                if inbox is not None:
                    local = inbox.address.rpartition("@")[0]
                    targets.setdefault(inbox.no, (inbox, tag, delivery_of(core.verp_key, local, tag)))
            return [
                receive_copy(
                    tx,
                    inbox,
                    understood,
                    mail_from=envelope.mail_from,
                    tag=tag,
                    now=now,
                    delivery_no=delivery_no,
                    authentication=known.facts if known is not None else None,
                    hold=Hold.FAILED_DMARC if known is not None and known.quarantine else None,
                )
                for inbox, tag, delivery_no in targets.values()
            ]

        if turn is not None:
            await turn()
        return await core.database.write(run)


def _hops(content: ReceivedContent) -> int:
    if isinstance(content, ContentFile):
        with content.path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    else:
        head = content[:HEADER_BYTES]
    # Counting words is quick, and never counts too few; only mail with many gets its fields counted.
    return hop_count(head) if head.lower().count(b"received:") >= _SUSPICIOUS else 0


_SUSPICIOUS = 20
