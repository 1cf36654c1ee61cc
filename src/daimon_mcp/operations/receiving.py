"""Mail from other servers: who is here, and taking it in. Nothing is acknowledged before it is durable."""

from __future__ import annotations

from collections.abc import Sequence

from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.mail.trace import hop_count, prepend_trace, received_header
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.dispatch import destination, is_here, receive_copy
from daimon_mcp.operations.reading import on_parser, understand
from daimon_mcp.store.database import Transaction


class Receiving:
    """What the inbound listener asks of the core."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def _canonical(self, address: str) -> str:
        # RFC 5321 §4.5.1: postmaster must be taken without a domain too.
        return f"{address}@{self._core.policy.domain}" if "@" not in address else address

    async def check_recipient(self, address: str) -> None:
        """Raise RECIPIENT_REFUSED (RELAY_DENIED) for a foreign domain, INBOX_NOT_FOUND for an unknown inbox."""
        canonical = self._canonical(address)
        if not self._core.policy.is_local(canonical):
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="RELAY_DENIED")
        if not await is_here(self._core.database, canonical):
            raise Refused(RefusalCode.INBOX_NOT_FOUND)

    async def receive(self, envelope: Envelope, peer: Peer, content: bytes) -> Sequence[str]:
        """Store one message for every recipient; the ids of the copies. Durable when it returns.

        Raises RECIPIENT_REFUSED (MAIL_LOOP) for mail that has been around too often, INBOX_NOT_FOUND when every
        recipient is gone by now, STORE_UNAVAILABLE.
        """
        core = self._core
        now = core.clock.now()
        received = received_header(
            by=core.policy.hostname,
            peer=peer,
            rcpt=envelope.rcpt_to[0] if len(envelope.rcpt_to) == 1 else None,
            now=now,
            id=peer.cid,
        )

        def trace() -> bytes | None:
            """The message with its trace fields; None if it has been around too often."""
            if hop_count(content) >= core.policy.max_hops:
                return None
            return prepend_trace(content, received=received, return_path=envelope.mail_from)

        traced = await on_parser(trace, len(content))
        if traced is None:
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="MAIL_LOOP")
        understood, _ = await understand(core, traced)

        def run(tx: Transaction) -> list[str]:
            targets: dict[int, tuple[Inbox, str | None]] = {}
            for address in envelope.rcpt_to:
                inbox, tag = destination(tx, self._canonical(address), domain=core.policy.domain, now=now)
                if inbox is not None:
                    targets.setdefault(inbox.no, (inbox, tag))
            if not targets:
                raise Refused(RefusalCode.INBOX_NOT_FOUND)
            return [
                receive_copy(tx, inbox, understood, mail_from=envelope.mail_from, tag=tag, now=now)
                for inbox, tag in targets.values()
            ]

        return await core.database.write(run)
