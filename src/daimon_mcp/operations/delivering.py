"""What the relay worker asks of the core: what is due, and what came of it.

The attempt is on record, with a lease and the time of the next one, before anybody dials: a killed process loses
nothing and cannot hot-loop, and two workers never try the same recipient at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from daimon_mcp.domain.changes import MessageAdded, MessageChanged
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.queue import (
    LEASE,
    Attempt,
    ClaimedDelivery,
    ClaimedMessage,
    DeliveryState,
    MessageStatus,
    Outcome,
    next_attempt_at,
)
from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.compose import new_message_id
from daimon_mcp.mail.dsn import Failure, build_dsn
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.dispatch import settle_status
from daimon_mcp.operations.reading import understand
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import events, inboxes, messages, queue
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Content, NewMessage, StoredMessage
from daimon_mcp.texts import Texts

_STATE = {
    Outcome.ACCEPTED: DeliveryState.SENT,
    Outcome.REFUSED: DeliveryState.BOUNCED,
    Outcome.DEFERRED: DeliveryState.QUEUED,
    Outcome.UNKNOWN: DeliveryState.UNKNOWN,
}


class Delivering:
    """Leases and outcomes of outbound deliveries."""

    def __init__(self, core: Core, texts: Texts) -> None:
        self._core = core
        self._texts = texts
        self._owner = secrets.token_hex(8)

    async def start(self) -> None:
        """Take over what an earlier process had leased: with one owner to a data folder, its leases are dead."""
        now = self._core.clock.now()
        await self._core.database.write(lambda tx: tx.run(sql.delivery_release_leases, owner=self._owner, now=now))

    async def claim(self, limit: int) -> list[ClaimedMessage]:
        """Lease up to `limit` due recipients, grouped by message, each with its attempt already on record."""
        core = self._core
        now = core.clock.now()

        def run(tx: Transaction) -> dict[int, list[ClaimedDelivery]]:
            claimed: dict[int, list[ClaimedDelivery]] = {}
            for number, public_id, queue_no, recipient, attempts in tx.all(sql.deliveries_due, now=now, limit=limit):
                attempt = attempts + 1
                queued_row = tx.one(sql.queue_by_no, queue_no=queue_no)
                assert queued_row is not None
                queued = queue.queue_of(queued_row)
                tx.run(
                    sql.delivery_lease,
                    delivery_no=number,
                    again_at=next_attempt_at(attempt, now),
                    owner=self._owner,
                    until=now + LEASE,
                )
                tx.run(sql.attempt_insert, delivery_no=number, n=attempt, started_at=now)
                claimed.setdefault(queue_no, []).append(
                    ClaimedDelivery(number, public_id, recipient, attempt, queued.expires_at)
                )
            return claimed

        ready: list[ClaimedMessage] = []
        for queue_no, deliveries in (await core.database.write(run)).items():
            row = await core.database.one(sql.queue_by_no, queue_no=queue_no)
            assert row is not None
            queued = queue.queue_of(row)
            message_row = await core.database.one(sql.message_by_seq, seq=queued.message_seq)
            assert message_row is not None
            message = messages.message_of(message_row)
            content = await core.blobs.get(core.database, message.blob_hash)
            ready.append(
                ClaimedMessage(
                    message.id, queue_no, queued.mail_from, content, tuple(deliveries), smtputf8=queued.smtputf8
                )
            )
        return ready

    async def next_due(self) -> int | None:
        """When the next recipient may be tried, epoch µs."""
        row = await self._core.database.one(sql.deliveries_next)
        return row[0] if row else None

    async def record(self, message: ClaimedMessage, results: Mapping[int, Attempt]) -> None:
        """Put outcomes on record, and tell the sender's inbox of those that are final and bad (RFC 3464)."""
        core = self._core
        now = core.clock.now()
        states: dict[int, DeliveryState] = {}
        failures: list[Failure] = []
        for delivery in message.deliveries:
            attempt = results.get(delivery.no)
            if attempt is None:
                continue
            state = _STATE[attempt.outcome]
            if state is DeliveryState.QUEUED and now >= delivery.expires_at:
                state = DeliveryState.FAILED
            states[delivery.no] = state
            if state in (DeliveryState.BOUNCED, DeliveryState.FAILED, DeliveryState.UNKNOWN):
                failures.append(_failure(delivery.recipient, state, attempt))
        report = await self._report(message, failures, now) if failures and message.mail_from else None

        def run(tx: Transaction) -> None:
            settled = False
            for delivery in message.deliveries:
                if delivery.no not in states:
                    continue
                state = states[delivery.no]
                settled |= queue.finish_attempt(
                    tx,
                    delivery.no,
                    delivery.attempt,
                    results[delivery.no],
                    state=state,
                    finished=state is not DeliveryState.QUEUED,
                    now=now,
                )
            if settled:
                self._settled(tx, message.queue_no, report, now)

        await core.database.write(run)

    def _settled(self, tx: Transaction, queue_no: int, report: Content | None, now: int) -> None:
        row = tx.one(sql.queue_by_no, queue_no=queue_no)
        assert row is not None
        queued = queue.queue_of(row)
        message = messages.in_tx(tx, queued.message_seq)
        status = settle_status(tx, message, queue_no, now)
        ids = {"inbox_id": message.inbox_id, "message_id": message.id, "thread_id": message.thread_id}
        if status != MessageStatus.QUEUED and str(status) != message.status:
            kind = "message.failed" if status is MessageStatus.OUTCOME_UNKNOWN else f"message.{status}"
            events.record(
                tx, kind, account_no=queued.account_no, inbox_no=queued.inbox_no, now=now,
                payload={**ids, "status": str(status)},
            )  # fmt: skip
        if report is not None:
            self._place_report(tx, message, report, now)
        tx.announce(
            MessageChanged(queued.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id)
        )

    def _place_report(self, tx: Transaction, message: StoredMessage, report: Content, now: int) -> None:
        inbox = inboxes.one_in(tx, message.inbox_no)
        if inbox.deleted_at is not None:
            return
        public_id = new_id("msg", now)
        placed = messages.place(
            tx,
            NewMessage(
                id=public_id,
                inbox_no=inbox.no,
                mailbox=inboxes.INBOX,
                direction="inbound",
                status=MessageStatus.RECEIVED,
                content=report,
                seen=False,
                received_at=now,
                mail_from="",
                thread_seq=message.thread_seq,
            ),
        )
        events.record(
            tx,
            "message.received",
            account_no=inbox.account_no,
            inbox_no=inbox.no,
            now=now,
            payload={"inbox_id": inbox.id, "message_id": public_id, "thread_id": placed.thread_id},
        )
        tx.announce(
            MessageAdded(inbox.account_no, inbox.no, inbox.id, public_id, placed.thread_id, inboxes.INBOX, placed.seq)
        )

    async def _report(self, claimed: ClaimedMessage, failures: Sequence[Failure], now: int) -> Content:
        core = self._core
        stored = await messages.by_id(core.database, claimed.message_id)
        domain = claimed.mail_from.rpartition("@")[2]
        kind = "unknown" if all(each.status == "4.4.2" for each in failures) else "failed"
        explanation = self._texts.text("mail", f"dsn.{kind}").prose("body")
        content = build_dsn(
            reporting_mta=core.policy.hostname,
            original=claimed.content,
            original_message_id=stored.message_id if stored else None,
            from_=Address(f"mailer-daemon@{domain}", "Mail Delivery System"),
            to=Address(claimed.mail_from),
            failures=failures,
            arrival=stored.received_at if stored else now,
            date=now,
            message_id=new_message_id(domain),
            explanation=explanation,
        )
        understood, _ = await understand(core, content)
        return understood


def _failure(recipient: str, state: DeliveryState, attempt: Attempt) -> Failure:
    status = attempt.enhanced or {
        DeliveryState.BOUNCED: "5.0.0",
        DeliveryState.FAILED: "4.4.7",  # RFC 3463: delivery time expired
        DeliveryState.UNKNOWN: "4.4.2",  # RFC 3463: bad connection
    }.get(state, "5.0.0")
    diagnostic = f"{attempt.code} {attempt.text}" if attempt.code else attempt.text
    return Failure(recipient=recipient, status=status, diagnostic=diagnostic, remote=attempt.remote, action="failed")
