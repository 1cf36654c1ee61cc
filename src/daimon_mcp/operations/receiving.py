"""Mail from other servers: who is here, taking it in, and filing it. Nothing is acknowledged before it is durable."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from daimon_mcp.domain.clock import HOUR
from daimon_mcp.domain.envelopes import ContentFile, Envelope, Peer, ReceivedContent
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.lists import Hold
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.verp import delivery_of
from daimon_mcp.logs import one_line
from daimon_mcp.mail.trace import HEADER_BYTES, hop_count, own_hop_count, prepend_trace, received_header
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.directory import Directory
from daimon_mcp.operations.dispatch import deleted_inbox, destination, is_role, receive_copy
from daimon_mcp.operations.policing import Policing
from daimon_mcp.operations.reading import on_parser, understand
from daimon_mcp.operations.spool import Spool
from daimon_mcp.store import incoming
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.incoming import NewIncoming, StoredIncoming

log = logging.getLogger(__name__)

OWN_HOPS: Final = 5  # lists and forwarders may bring mail back here, but not without end
LONGEST_TRANSACTION: Final = HOUR
"""From the answer to RCPT to the end of the content: an inbox may be deleted in between."""

_T = TypeVar("_T")


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

    def trusts(self, address: str) -> bool:
        """Whether a peer's word is taken; one without an IP address is on this machine."""
        ...

    def without_forged(self, content: bytes) -> bytes:
        """`content` without Authentication-Results fields that claim to be ours. Runs on a parser's thread."""
        ...


class Receiving:
    """What listeners for mail from outside ask of the core."""

    def __init__(
        self, core: Core, spool: Spool, directory: Directory, authenticating: Authenticating, policing: Policing
    ) -> None:
        self._core = core
        self._spool = spool
        self._directory = directory
        self._authenticating = authenticating
        self._policing = policing

    def _canonical(self, address: str) -> str:
        # RFC 5321 §4.5.1: postmaster must be taken without a domain too.
        return f"{address}@{self._core.policy.domain}" if "@" not in address else address

    def check_sender(self, mail_from: str, peer: str) -> None:
        """Whether a stranger at the address `peer` may begin a message from `mail_from` ("" for the null sender).

        Raises FORBIDDEN (OUR_DOMAIN) for a sender of our own domains, who would log in to send, and
        RATE_LIMIT_EXCEEDED (MESSAGES). Trusted networks may do both.
        """
        if self._policing.trusts(peer):
            return
        self._policing.message(peer)
        if mail_from and self._core.is_local(mail_from):
            raise Refused(RefusalCode.FORBIDDEN, reason="OUR_DOMAIN")

    async def check_recipient(self, address: str, peer: str | None = None, mail_from: str = "") -> None:
        """Raise RECIPIENT_REFUSED (RELAY_DENIED) for a foreign domain, INBOX_NOT_FOUND for an unknown inbox.

        A `peer` (its address) that is not trusted can be put off, except for role addresses (RFC 5321 §4.5.1):
        RATE_LIMIT_EXCEEDED (UNKNOWN_RECIPIENTS) where it searches for addresses, or (GREYLISTED). The null sender may
        name several recipients: no standard forbids it, and what is accepted is never bounced from here.
        """
        canonical = self._canonical(address)
        if peer is None or self._policing.trusts(peer):
            return await self._check_here(canonical)
        if self._core.is_local(canonical) and is_role(canonical):
            return None
        self._policing.check_searching(peer)
        try:
            await self._check_here(canonical)
        except Refused:
            self._policing.recipient(peer, known=False)
            raise
        self._policing.recipient(peer, known=True)
        self._policing.greylist(peer, mail_from, canonical)

    async def _check_here(self, address: str) -> None:
        if not self._core.is_local(address):
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="RELAY_DENIED")
        if not await self._directory.is_here(address):
            raise Refused(RefusalCode.INBOX_NOT_FOUND)

    async def accept(self, envelope: Envelope, peer: Peer, content: ReceivedContent) -> str:
        """Take one message in for all its recipients; the id to quote. Durable when it returns, and filed soon.

        Raises RECIPIENT_REFUSED (MAIL_LOOP) for mail that has been around too often, STORE_UNAVAILABLE when the disk
        fails or more is waiting to be filed than may.
        """
        await self.spooled(
            envelope, peer, content, origin=incoming.LMTP if peer.lmtp else incoming.MX, put=self._spool.put
        )
        return peer.cid

    async def spooled(
        self,
        envelope: Envelope,
        peer: Peer,
        content: ReceivedContent,
        *,
        origin: str,
        put: Callable[[Transaction, NewIncoming], _T],
    ) -> _T:
        """Have `put` take a message in, inside a write; what it returns, once that is committed. Raises as `accept`."""
        size, data, file = self._spool.content_fields(content)
        self._spool.check_room(size)
        policy = self._core.policy
        look = partial(_is_looping, content, policy.hostname, policy.max_hops)
        if await on_parser(look, HEADER_BYTES if isinstance(content, ContentFile) else 0):
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="MAIL_LOOP")
        self._core.mail_seen_at = self._core.clock.now()
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
        number = await self.spooled(envelope, peer, content, origin=origin, put=incoming.insert)
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
        """Place a copy in the inbox of every recipient; their ids, none for recipients that were never here.

        What was accepted for an inbox that has been deleted since lies in that inbox with its other mail. `turn` is
        awaited before. None when somebody else has filed it. Raises STORE_UNAVAILABLE.
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
                canonical = self._canonical(address)
                inbox, tag = destination(tx, canonical, domain=core.policy.domain, now=now)
                if inbox is None:
                    inbox, tag = deleted_inbox(tx, canonical, since=stored.received_at - LONGEST_TRANSACTION)
                if inbox is not None:
                    delivery_no = delivery_of(core.verp_key, inbox.address.rpartition("@")[0], tag)
                    # That of a return path is ours, and nobody's to file mail by.
                    targets.setdefault(inbox.no, (inbox, None if delivery_no is not None else tag, delivery_no))
                else:
                    log.warning("mail %s: no inbox was ever at %r", peer.cid, one_line(address))
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


def _is_looping(content: ReceivedContent, hostname: str, most: int) -> bool:
    """Whether mail has been through `most` servers, or more than OWN_HOPS times through this one."""
    if isinstance(content, ContentFile):
        with content.path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    else:
        head = content[:HEADER_BYTES]
    # Counting words is quick, and never counts too few; only mail with many gets its fields counted.
    lowered = head.lower()
    if (words := lowered.count(b"received:")) <= OWN_HOPS:
        return False
    if words >= most and hop_count(head) >= most:
        return True
    return lowered.count(hostname.lower().encode()) > OWN_HOPS and own_hop_count(head, hostname) > OWN_HOPS
