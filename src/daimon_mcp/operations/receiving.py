"""Mail from other servers: who is here, and taking it in. Nothing is acknowledged before it is durable."""

from __future__ import annotations

from collections.abc import Sequence

from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.inboxes import ROLE_LOCAL_PARTS, Inbox, split_subaddress
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.mail.trace import hop_count, prepend_trace, received_header
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.dispatch import local_inbox, receive_copy
from daimon_mcp.operations.reading import understand
from daimon_mcp.store import accounts, inboxes
from daimon_mcp.store import compiled as sql
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
        local, _, domain = canonical.lower().rpartition("@")
        database = self._core.database
        if await inboxes.by_address(database, f"{local}@{domain}") is not None:
            return
        base, tag = split_subaddress(local)
        if tag is not None and await inboxes.by_address(database, f"{base}@{domain}") is not None:
            return
        if base in ROLE_LOCAL_PARTS:
            return
        raise Refused(RefusalCode.INBOX_NOT_FOUND)

    async def receive(self, envelope: Envelope, peer: Peer, content: bytes) -> Sequence[str]:
        """Store one message for every recipient; the ids of the copies. Durable when it returns.

        Raises RECIPIENT_REFUSED (LOOP) for mail that has been around too often, INBOX_NOT_FOUND when every recipient is
        gone by now, STORE_UNAVAILABLE.
        """
        core = self._core
        if hop_count(content) >= core.policy.max_hops:
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="LOOP")
        now = core.clock.now()
        received = received_header(
            by=core.policy.hostname,
            peer=peer,
            rcpt=envelope.rcpt_to[0] if len(envelope.rcpt_to) == 1 else None,
            now=now,
            id=peer.cid,
        )
        traced = prepend_trace(content, received=received, return_path=envelope.mail_from)
        understood, _ = await understand(core, traced)

        def run(tx: Transaction) -> list[str]:
            targets: dict[int, tuple[Inbox, str | None]] = {}
            for address in envelope.rcpt_to:
                inbox, tag = self._target(tx, self._canonical(address), now)
                if inbox is not None:
                    targets.setdefault(inbox.no, (inbox, tag))
            if not targets:
                raise Refused(RefusalCode.INBOX_NOT_FOUND)
            return [
                receive_copy(tx, inbox, understood, mail_from=envelope.mail_from, tag=tag, now=now)
                for inbox, tag in targets.values()
            ]

        return await core.database.write(run)

    def _target(self, tx: Transaction, address: str, now: int) -> tuple[Inbox | None, str | None]:
        inbox, tag = local_inbox(tx, address)
        if inbox is None and split_subaddress(address.lower().partition("@")[0])[0] in ROLE_LOCAL_PARTS:
            return self.operator_inbox(tx, now), None
        return inbox, tag

    def operator_inbox(self, tx: Transaction, now: int) -> Inbox:
        """Where postmaster@ and abuse@ go (RFC 2142): the operator's own inbox, made when first needed."""
        address = f"postmaster@{self._core.policy.domain}"
        found = inboxes.by_address_in(tx, address)
        if found is not None:
            return found
        row = tx.one(sql.meta_get, key=accounts.OPERATOR_ACCOUNT)
        if row is None:
            account_no = accounts.insert_account(tx, id=new_id("acc", now), kind="operator", now=now)
            tx.run(sql.meta_put, key=accounts.OPERATOR_ACCOUNT, value=str(account_no))
        else:
            account_no = int(row[0])
        number = inboxes.insert_inbox(
            tx,
            id=new_id("inb", now),
            account_no=account_no,
            address=address,
            display_name="Postmaster",
            metadata={},
            client_id=None,
            now=now,
        )
        return inboxes.one_in(tx, number)
