"""Rows of the outbound queue: messages, their recipients, and each SMTP try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.queue import Attempt, DeliveryState
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction

WAITING, SCHEDULED, ACTIVE = "waiting", "scheduled", "active"
LOCAL, RELAY = "local", "relay"
TOOL, SMTP = "tool", "smtp"  # how a message came to us


@dataclass(frozen=True, slots=True)
class StoredQueue:
    """One outbound message in the queue."""

    no: int
    message_seq: int
    account_no: int
    inbox_no: int
    state: str
    mail_from: str
    smtputf8: bool
    recipients: int
    counted_at: int | None
    counted_day: str | None
    counted_month: str | None
    send_at: int | None
    created_at: int
    expires_at: int
    ret: str | None
    envid: str | None
    origin: str
    warned_at: int | None
    verp: bool


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """One forward-path, how it is reached, and its DSN parameters (RFC 3461)."""

    address: str
    transport: str
    notify: str | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """One recipient of a queued message."""

    no: int
    id: str
    recipient: str
    transport: str
    state: str
    attempts: int
    next_attempt_at: int | None
    last_outcome: str | None
    last_code: int | None
    last_enhanced: str | None
    last_text: str | None
    remote: str | None
    finished_at: int | None
    notify: str | None
    orcpt: str | None


class QueuedMessage(NamedTuple):
    """A message in the queue, as far as an outcome needs it: whose it is, and its `delivery_status`."""

    seq: int
    id: str
    inbox_no: int
    inbox_id: str
    thread_id: str
    status: str
    account_no: int
    sender_no: int


def settling_in(tx: Transaction, queue_no: int) -> QueuedMessage:
    """The message of a queue row, inside a write."""
    row = tx.one(sql.queue_settling, queue_no=queue_no)
    assert row is not None
    return QueuedMessage(*row)


def queue_of(row: Row) -> StoredQueue:
    """A row of the queue statements."""
    values: list[Any] = list(row)
    values[6], values[-1] = bool(values[6]), bool(values[-1])
    return StoredQueue(*values)


def insert(
    tx: Transaction,
    *,
    message_seq: int,
    account_no: int,
    inbox_no: int,
    state: str,
    mail_from: str,
    smtputf8: bool,
    fingerprint: str,
    recipients: Sequence[NewRecipient],
    counted: tuple[int, str, str] | None,
    send_at: int | None,
    now: int,
    expires_at: int,
    ret: str | None = None,
    envid: str | None = None,
    origin: str = TOOL,
) -> int:
    """A queue row with one delivery for each recipient; its number. Nothing is due yet."""
    counted_at, day, month = counted or (None, None, None)
    number: int = tx.scalar(
        sql.queue_insert,
        message_seq=message_seq,
        account_no=account_no,
        inbox_no=inbox_no,
        state=state,
        mail_from=mail_from,
        smtputf8=int(smtputf8),
        fingerprint=fingerprint,
        recipients=len(recipients),
        counted_at=counted_at,
        counted_day=day,
        counted_month=month,
        send_at=send_at,
        created_at=now,
        expires_at=expires_at,
        ret=ret,
        envid=envid,
        origin=origin,
    )
    for each in recipients:
        tx.run(
            sql.delivery_insert,
            id=new_id("dlv", now),
            queue_no=number,
            recipient=each.address,
            domain=each.address.rpartition("@")[2].lower(),
            transport=each.transport,
            state=DeliveryState.WAITING,
            next_attempt_at=None,
            finished_at=None,
            notify=each.notify,
            orcpt=each.orcpt,
        )
    return number


def by_message_in(tx: Transaction, seq: int) -> StoredQueue | None:
    """The queue row of a message, inside a write."""
    row = tx.one(sql.queue_by_message, seq=seq)
    return None if row is None else queue_of(row)


async def by_message(database: Database, seq: int) -> StoredQueue | None:
    """The queue row of a message."""
    row = await database.one(sql.queue_by_message, seq=seq)
    return None if row is None else queue_of(row)


def deliveries_in(tx: Transaction, queue_no: int) -> list[StoredDelivery]:
    """The recipients of a queued message, inside a write."""
    return [StoredDelivery(*row) for row in tx.all(sql.deliveries_of_queue, queue_no=queue_no)]


async def deliveries(database: Database, queue_no: int) -> list[StoredDelivery]:
    """The recipients of a queued message."""
    return [StoredDelivery(*row) for row in await database.all(sql.deliveries_of_queue, queue_no=queue_no)]


def finish_attempt(
    tx: Transaction, delivery_no: int, n: int, attempt: Attempt, *, state: DeliveryState, finished: bool, now: int
) -> bool:
    """Put the outcome of try `n` on record; False if the recipient was settled meanwhile."""
    tx.run(
        sql.attempt_finish,
        delivery_no_=delivery_no,
        n_=n,
        now=now,
        outcome_=attempt.outcome,
        code_=attempt.code,
        enhanced_=attempt.enhanced,
        text_=attempt.text,
        remote_=attempt.remote,
        tls_=attempt.tls,
    )
    row = tx.one(
        sql.delivery_result,
        delivery_no=delivery_no,
        new_state=state,
        outcome=attempt.outcome,
        code=attempt.code,
        enhanced=attempt.enhanced,
        reply_text=attempt.text,
        remote_=attempt.remote,
        new_finished_at=now if finished else None,
    )
    return row is not None
