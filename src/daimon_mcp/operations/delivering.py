"""What the relay worker asks of the core: what is due, and what came of it.

The attempt is on record, with a lease and the time of the next one, before anybody dials, and so is, before the content
ends, that it may have been handed over. So a killed process loses nothing, cannot hot-loop, and sends nothing twice:
an attempt that was cut off behind that point is told to the sender as what it is, an unknown outcome.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from daimon_mcp.domain.changes import MessageChanged
from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.queue import (
    LEASE,
    WARN_AFTER,
    Attempt,
    ClaimedDelivery,
    ClaimedMessage,
    DeliveryState,
    Handover,
    MessageStatus,
    Outcome,
    next_attempt_at,
)
from daimon_mcp.domain.verp import return_path
from daimon_mcp.mail.dsn import Failure
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.reports import Reported, Reports, is_wanted
from daimon_mcp.operations.settling import settle_status
from daimon_mcp.operations.signing import Signing
from daimon_mcp.operations.suppressing import suppress_refused
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import events, messages, queue
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Content, StoredMessage
from daimon_mcp.store.queue import StoredQueue

_STATE = {
    Outcome.ACCEPTED: DeliveryState.SENT,
    Outcome.REFUSED: DeliveryState.BOUNCED,
    Outcome.DEFERRED: DeliveryState.QUEUED,
    Outcome.UNKNOWN: DeliveryState.UNKNOWN,
}
_CUT_OFF = "the server stopped while the message was being handed over"


class Delivering:
    """Leases and outcomes of outbound deliveries."""

    def __init__(self, core: Core, reports: Reports, signing: Signing) -> None:
        self._core = core
        self._report = reports
        self._signing = signing
        self._owner = secrets.token_hex(8)

    async def start(self) -> None:
        """Take over what an earlier process had leased: with one owner to a data folder, its leases are dead.

        What it was handing over when it ended has an unknown outcome; all else is due.
        """
        await self.settle_cut_off()
        now = self._core.clock.now()
        await self._core.database.write(lambda tx: tx.run(sql.delivery_release_leases, owner=self._owner, now=now))

    async def settle_cut_off(self) -> None:
        """Put attempts that ended without a result behind the beginning of their content on record as unknown."""
        now = self._core.clock.now()
        cut_off: dict[int, list[tuple[ClaimedDelivery, str]]] = {}
        for no, queue_no, address, notify, orcpt, n, remote in await self._core.database.all(
            sql.attempts_cut_off, owner=self._owner, now=now
        ):
            delivery = ClaimedDelivery(no, "", Recipient(address, notify, orcpt), n, 0)
            cut_off.setdefault(queue_no, []).append((delivery, remote or ""))
        for queue_no, deliveries in cut_off.items():
            row = await self._core.database.one(sql.queue_by_no, queue_no=queue_no)
            assert row is not None
            queued = queue.queue_of(row)
            stored = await self._message(queued)
            claimed = ClaimedMessage(
                stored.id, queue_no, queued.mail_from, stored.blob_hash, tuple(each for each, _ in deliveries),
                queued.smtputf8, queued.ret, queued.envid, queued.created_at, queued.warned_at,
            )  # fmt: skip
            results = {each.no: Attempt(Outcome.UNKNOWN, None, None, _CUT_OFF, remote) for each, remote in deliveries}
            await self.record(claimed, results)

    async def _message(self, queued: StoredQueue) -> StoredMessage:
        row = await self._core.database.one(sql.message_by_seq, seq=queued.message_seq)
        assert row is not None
        return messages.message_of(row)

    async def claim(self, limit: int, busy: Sequence[str] = ()) -> list[ClaimedMessage]:
        """Lease up to `limit` due recipients, grouped by message, each with its attempt already on record.

        None of a domain in `busy`, in lower case.
        """
        now = self._core.clock.now()

        def run(tx: Transaction) -> list[ClaimedMessage]:
            rows = tx.all(sql.deliveries_due, now=now, limit=limit, busy=f" {'  '.join(busy)} ")
            claimed: dict[int, tuple[tuple[Any, ...], list[ClaimedDelivery]]] = {}
            leases: list[dict[str, Any]] = []
            tries: list[dict[str, Any]] = []
            for no, id_, queue_no, recipient, attempts, notify, orcpt, *message in rows:
                attempt = attempts + 1
                leases.append(
                    {
                        "delivery_no": no,
                        "again_at": next_attempt_at(attempt, now),
                        "owner": self._owner,
                        "until": now + LEASE,
                    }
                )
                tries.append({"delivery_no": no, "n": attempt, "started_at": now})
                expires_at = message[2]
                delivery = ClaimedDelivery(no, id_, Recipient(recipient, notify, orcpt), attempt, expires_at)
                claimed.setdefault(queue_no, (tuple(message), []))[1].append(delivery)
            tx.many(sql.delivery_lease, leases)
            tx.many(sql.attempt_insert, tries)
            if self._core.policy.verp:
                tx.many(sql.queue_verp, [{"queue_no": queue_no} for queue_no in claimed])
            return [
                ClaimedMessage(
                    message_id, queue_no, mail_from, blob_hash, tuple(deliveries), bool(smtputf8), ret, envid, created,
                    warned, size,
                )
                for queue_no, (
                    (mail_from, smtputf8, _, ret, envid, created, warned, message_id, blob_hash, size), deliveries
                ) in claimed.items()
            ]  # fmt: skip

        return await self._core.database.write(run)

    async def next_due(self, busy: Sequence[str] = ()) -> int | None:
        """When the next recipient may be tried, epoch µs; those of a domain in `busy` are left out."""
        row = await self._core.database.one(sql.deliveries_next, busy=f" {'  '.join(busy)} ")
        return row[0] if row else None

    async def handovers(
        self, message: ClaimedMessage, deliveries: Sequence[ClaimedDelivery]
    ) -> list[tuple[Sequence[ClaimedDelivery], Handover]]:
        """The transactions that bring a message to these of its recipients, who are reached by one destination.

        One for all of them; with variable return paths (VERP) one for each, so that what bounces says whom it is about.
        Signed with the keys of the sender's domain (DKIM), if it has any.
        """
        content = await self._core.blobs.get(self._core.database, message.blob_hash)
        content = await self._signing.signed(content, message.mail_from, message.created_at)
        ways: list[tuple[Sequence[ClaimedDelivery], str]] = [(deliveries, message.mail_from)]
        if self._core.policy.verp and message.mail_from:
            ways = [([each], return_path(self._core.verp_key, message.mail_from, each.no)) for each in deliveries]
        return [
            (
                group,
                Handover(
                    mail_from=mail_from,
                    recipients=tuple(each.recipient for each in group),
                    content=content,
                    smtputf8=message.smtputf8,
                    ret=message.ret,
                    envid=message.envid,
                ),
            )
            for group, mail_from in ways
        ]

    async def renew(self, deliveries: Sequence[ClaimedDelivery]) -> list[ClaimedDelivery]:
        """Begin the lease of claimed recipients anew; those of them that nobody else has claimed or settled since."""
        until = self._core.clock.now() + LEASE

        def run(tx: Transaction) -> list[ClaimedDelivery]:
            def is_ours(each: ClaimedDelivery) -> bool:
                found = tx.one(sql.delivery_renew, delivery_no=each.no, n=each.attempt, owner=self._owner, until=until)
                return found is not None

            return [each for each in deliveries if is_ours(each)]

        return await self._core.database.write(run)

    async def content_begins(self, deliveries: Sequence[ClaimedDelivery]) -> None:
        """Put down that from now on a message may have been handed over. Raises STORE_UNAVAILABLE."""
        now = self._core.clock.now()
        rows = [{"delivery_no_": each.no, "n_": each.attempt, "now": now} for each in deliveries]
        await self._core.database.write(lambda tx: tx.many(sql.attempt_content, rows))

    async def record(self, message: ClaimedMessage, results: Mapping[int, Attempt]) -> None:
        """Put outcomes on record, and tell the sender's inbox of those that it should know (RFC 3464)."""
        core = self._core
        now = core.clock.now()
        states: dict[int, DeliveryState] = {}
        told: dict[str, list[tuple[ClaimedDelivery, Failure]]] = {}
        for delivery in message.deliveries:
            attempt = results.get(delivery.no)
            if attempt is None:
                continue
            state = _STATE[attempt.outcome]
            if state is DeliveryState.QUEUED and now >= delivery.expires_at:
                state = DeliveryState.FAILED
            states[delivery.no] = state
            if (text := self._text(message, delivery, state, attempt, now)) is not None:
                told.setdefault(text, []).append((delivery, _failure(delivery.recipient.address, state, attempt)))
        reports, warning = await self._reports(message, told)

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
                if state is DeliveryState.BOUNCED:
                    suppress_refused(tx, message.queue_no, delivery.recipient.address, results[delivery.no], now)
            if settled:
                self._settled(tx, message.queue_no, reports, warning if "delayed" in told else None, now)

        await core.database.write(run)

    def _text(
        self, message: ClaimedMessage, delivery: ClaimedDelivery, state: DeliveryState, attempt: Attempt, now: int
    ) -> str | None:
        """Which report an outcome belongs in, if any."""
        if state in (DeliveryState.BOUNCED, DeliveryState.FAILED):
            return "failed"
        if state is DeliveryState.UNKNOWN:
            return "unknown"
        if state is DeliveryState.QUEUED and message.warned_at is None and now >= message.created_at + WARN_AFTER:
            # It is told once: one who does not want to hear of it must not use that up for the others.
            return "delayed" if is_wanted(delivery.recipient.notify, "delayed") else None
        # A next hop that was not told what the sender asked for will not report it: then this is all there is to tell.
        asked = "SUCCESS" in (delivery.recipient.notify or "")
        return "delivered" if state is DeliveryState.SENT and asked and not attempt.dsn else None

    def _settled(
        self,
        tx: Transaction,
        queue_no: int,
        reports: Sequence[Content],
        warning: tuple[Content | None] | None,
        now: int,
    ) -> None:
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
        if warning is not None:
            self._report.place_warning(tx, message, queue_no, warning[0], now)
        tx.announce(
            MessageChanged(queued.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id)
        )

    async def _reports(
        self, claimed: ClaimedMessage, told: Mapping[str, Sequence[tuple[ClaimedDelivery, Failure]]]
    ) -> tuple[list[Content], tuple[Content | None] | None]:
        """What is lost in one report, what may have arrived in another, what is late in a third: they ask for
        different things. The last is the warning, which goes out once."""
        if not told:
            return [], None
        stored = await messages.by_id(self._core.database, claimed.message_id)
        if stored is None:
            return [], None
        about = Reported(
            message=stored,
            original=await self._core.blobs.get(self._core.database, claimed.blob_hash),
            mail_from=claimed.mail_from,
            recipients=[each.recipient for each in claimed.deliveries],
            ret=claimed.ret,
            envid=claimed.envid,
        )

        def of(text: str) -> list[Failure]:
            return [failure for _, failure in told.get(text, ())]

        written = [
            await self._report.failed(about, of("failed")),
            await self._report.unknown(about, of("unknown")),
            await self._report.delivered(about, of("delivered")),
        ]
        warning = None
        if late := told.get("delayed"):
            warning = (await self._report.delayed(about, of("delayed"), retry_until=late[0][0].expires_at),)
        return [each for each in written if each is not None], warning


def _failure(recipient: str, state: DeliveryState, attempt: Attempt) -> Failure:
    status = attempt.enhanced or {
        DeliveryState.BOUNCED: "5.0.0",
        DeliveryState.FAILED: "4.4.7",  # RFC 3463: delivery time expired
        DeliveryState.UNKNOWN: "4.4.2",  # RFC 3463: bad connection
        DeliveryState.QUEUED: "4.0.0",
        DeliveryState.SENT: "2.0.0",
    }.get(state, "5.0.0")
    diagnostic = f"{attempt.code} {attempt.text}" if attempt.code else attempt.text
    action = "relayed" if state is DeliveryState.SENT else "failed"
    return Failure(recipient=recipient, status=status, diagnostic=diagnostic, remote=attempt.remote, action=action)
