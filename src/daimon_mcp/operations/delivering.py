"""What the relay worker asks of the core: what is due, and what came of it.

The attempt is on record, with a lease and the time of the next one, before anybody dials, and so is, before the content
ends, that it may have been handed over. So a killed process loses nothing, cannot hot-loop, and sends nothing twice:
an attempt that was cut off behind that point is told to the sender as what it is, an unknown outcome.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple

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
from daimon_mcp.store.gathering import Gathering
from daimon_mcp.store.messages import Content, StoredMessage
from daimon_mcp.store.queue import StoredQueue

_STATE = {
    Outcome.ACCEPTED: DeliveryState.SENT,
    Outcome.REFUSED: DeliveryState.BOUNCED,
    Outcome.DEFERRED: DeliveryState.QUEUED,
    Outcome.UNKNOWN: DeliveryState.UNKNOWN,
}
_SMALL = 16_384  # octets of content
_CUT_OFF = "the server stopped while the message was being handed over"


class _Finished(NamedTuple):
    """What came of one recipient's attempt."""

    delivery: ClaimedDelivery
    attempt: Attempt
    state: DeliveryState


class _Outcomes(NamedTuple):
    """What came of one message, for some of its recipients. `warning` goes out once; None in it is one nobody wants."""

    queue_no: int
    finished: Sequence[_Finished]
    reports: Sequence[Content]
    warning: tuple[Content | None] | None
    now: int


class Delivering:
    """Leases and outcomes of outbound deliveries."""

    def __init__(self, core: Core, reports: Reports, signing: Signing) -> None:
        self._core = core
        self._report = reports
        self._signing = signing
        self._owner = secrets.token_hex(8)
        self._content = Gathering(core.database, _begin_content)
        self._outcomes = Gathering(core.database, self._settle)

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
            found: list[ClaimedMessage] = []
            for queue_no, (row, deliveries) in claimed.items():
                mail_from, smtputf8, _, ret, envid, created, warned, message_id, blob_hash, size = row
                # A small one is read at once: a way to a reader and back costs more than that.
                packed = self._core.blobs.packed_in(tx, blob_hash) if size <= _SMALL else None
                found.append(
                    ClaimedMessage(
                        message_id, queue_no, mail_from, blob_hash, tuple(deliveries), bool(smtputf8), ret, envid,
                        created, warned, size, packed,
                    )
                )  # fmt: skip
            return found

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
        blobs = self._core.blobs
        if message.packed is not None:
            content = await blobs.unpacked(message.blob_hash, message.packed)
        else:
            content = await blobs.get(self._core.database, message.blob_hash)
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

    def content_begins(self, deliveries: Sequence[ClaimedDelivery]) -> Awaitable[None]:
        """Put down that from now on a message may have been handed over. To be awaited; raises STORE_UNAVAILABLE."""
        return self._content.put([(each.no, each.attempt, self._core.clock.now()) for each in deliveries])

    async def record(self, message: ClaimedMessage, results: Mapping[int, Attempt]) -> None:
        """Put outcomes on record, and tell the sender's inbox of those that it should know (RFC 3464)."""
        now = self._core.clock.now()
        finished: list[_Finished] = []
        told: dict[str, list[tuple[ClaimedDelivery, Failure]]] = {}
        for delivery in message.deliveries:
            attempt = results.get(delivery.no)
            if attempt is None:
                continue
            state = _STATE[attempt.outcome]
            if state is DeliveryState.QUEUED and now >= delivery.expires_at:
                state = DeliveryState.FAILED
            finished.append(_Finished(delivery, attempt, state))
            if (text := self._text(message, delivery, state, attempt, now)) is not None:
                told.setdefault(text, []).append((delivery, _failure(delivery.recipient.address, state, attempt)))
        reports, warning = await self._reports(message, told) if told else ([], None)
        await self._outcomes.put(_Outcomes(message.queue_no, finished, reports, warning, now))

    def _settle(self, tx: Transaction, outcomes: Sequence[_Outcomes]) -> None:
        for each in outcomes:
            settled = False
            for delivery, attempt, state in each.finished:
                settled |= queue.finish_attempt(
                    tx,
                    delivery.no,
                    delivery.attempt,
                    attempt,
                    state=state,
                    finished=state is not DeliveryState.QUEUED,
                    now=each.now,
                )
                if state is DeliveryState.BOUNCED:
                    suppress_refused(tx, each.queue_no, delivery.recipient.address, attempt, each.now)
            if settled:
                self._settled(tx, each)

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

    def _settled(self, tx: Transaction, outcomes: _Outcomes) -> None:
        now = outcomes.now
        queued = queue.settling_in(tx, outcomes.queue_no)
        status = settle_status(tx, queued, outcomes.queue_no, now, before=queued.status)
        if status != MessageStatus.QUEUED and str(status) != queued.status:
            kind = "message.failed" if status is MessageStatus.OUTCOME_UNKNOWN else f"message.{status}"
            payload = {
                "inbox_id": queued.inbox_id,
                "message_id": queued.id,
                "thread_id": queued.thread_id,
                "status": str(status),
            }
            events.record(tx, kind, account_no=queued.account_no, inbox_no=queued.sender_no, now=now, payload=payload)
        if outcomes.reports or outcomes.warning is not None:
            message = messages.in_tx(tx, queued.seq)
            for report in outcomes.reports:
                self._report.place(tx, message, report, now)
            if outcomes.warning is not None:
                self._report.place_warning(tx, message, outcomes.queue_no, outcomes.warning[0], now)
        tx.announce(MessageChanged(queued.account_no, queued.inbox_no, queued.inbox_id, queued.id, queued.thread_id))

    async def _reports(
        self, claimed: ClaimedMessage, told: Mapping[str, Sequence[tuple[ClaimedDelivery, Failure]]]
    ) -> tuple[list[Content], tuple[Content | None] | None]:
        """What is lost in one report, what may have arrived in another, what is late in a third: they ask for
        different things. The last is the warning, which goes out once."""
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


def _begin_content(tx: Transaction, begun: Sequence[Sequence[tuple[int, int, int]]]) -> None:
    rows = [{"delivery_no_": no, "n_": n, "now": now} for deliveries in begun for no, n, now in deliveries]
    tx.many(sql.attempt_content, rows)


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
