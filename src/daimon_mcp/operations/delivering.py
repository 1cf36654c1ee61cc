"""What the relay worker asks of the core: what is due, and what came of it.

The attempt is on record, with a lease and the time of the next one, before anybody dials: a killed process loses
nothing and cannot hot-loop, and two workers never try the same recipient at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from daimon_mcp.domain.changes import MessageChanged
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
from daimon_mcp.mail.dsn import Failure
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.reports import Reports
from daimon_mcp.operations.settling import settle_status
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import events, messages, queue
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Content

_STATE = {
    Outcome.ACCEPTED: DeliveryState.SENT,
    Outcome.REFUSED: DeliveryState.BOUNCED,
    Outcome.DEFERRED: DeliveryState.QUEUED,
    Outcome.UNKNOWN: DeliveryState.UNKNOWN,
}


class Delivering:
    """Leases and outcomes of outbound deliveries."""

    def __init__(self, core: Core, reports: Reports) -> None:
        self._core = core
        self._report = reports
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
        failed: dict[DeliveryState, list[Failure]] = {}
        for delivery in message.deliveries:
            attempt = results.get(delivery.no)
            if attempt is None:
                continue
            state = _STATE[attempt.outcome]
            if state is DeliveryState.QUEUED and now >= delivery.expires_at:
                state = DeliveryState.FAILED
            states[delivery.no] = state
            if state in (DeliveryState.BOUNCED, DeliveryState.FAILED, DeliveryState.UNKNOWN):
                failed.setdefault(state, []).append(_failure(delivery.recipient, state, attempt))
        reports = await self._reports(message, failed)

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
                self._settled(tx, message.queue_no, reports, now)

        await core.database.write(run)

    def _settled(self, tx: Transaction, queue_no: int, reports: Sequence[Content], now: int) -> None:
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
        for report in reports:
            self._report.place(tx, message, report, now)
        tx.announce(
            MessageChanged(queued.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id)
        )

    async def _reports(
        self, claimed: ClaimedMessage, failed: Mapping[DeliveryState, Sequence[Failure]]
    ) -> list[Content]:
        """What is lost for good in one report, what may have arrived in another: they ask for different things."""
        stored = await messages.by_id(self._core.database, claimed.message_id)
        if stored is None or not claimed.mail_from:  # never a report to the null sender (RFC 5321 §6.1)
            return []
        lost = [*failed.get(DeliveryState.BOUNCED, ()), *failed.get(DeliveryState.FAILED, ())]
        unknown = failed.get(DeliveryState.UNKNOWN, ())
        return [
            await self._report.write(stored, claimed.content, claimed.mail_from, failures, text=text)
            for text, failures in (("failed", lost), ("unknown", unknown))
            if failures
        ]


def _failure(recipient: str, state: DeliveryState, attempt: Attempt) -> Failure:
    status = attempt.enhanced or {
        DeliveryState.BOUNCED: "5.0.0",
        DeliveryState.FAILED: "4.4.7",  # RFC 3463: delivery time expired
        DeliveryState.UNKNOWN: "4.4.2",  # RFC 3463: bad connection
    }.get(state, "5.0.0")
    diagnostic = f"{attempt.code} {attempt.text}" if attempt.code else attempt.text
    return Failure(recipient=recipient, status=status, diagnostic=diagnostic, remote=attempt.remote, action="failed")
