"""The event log: what webhooks, streams and pulls tell, written in the transaction it tells of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from daimon_mcp.domain.changes import EventRecorded
from daimon_mcp.domain.events import pattern_of
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.webhooks import HookState
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Row, Transaction

ACCOUNT_LANE = 0


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as the store has it: ids and our own words, no text of mail."""

    seq: int
    id: str
    type: str
    payload: dict[str, Any]
    created_at: int
    inbox_no: int | None
    account_id: str
    inbox_id: str | None
    inbox_deleted: bool


def event_of(row: Row) -> StoredEvent:
    """A row of the event statements."""
    seq, public_id, type_, payload, created_at, inbox_no, account_id, inbox_id, deleted_at = row
    return StoredEvent(
        seq,
        public_id,
        type_,
        json.loads(payload),
        created_at,
        inbox_no,
        account_id,
        inbox_id,
        deleted_at is not None,
    )


def record(
    tx: Transaction,
    type: str,
    *,
    account_no: int,
    now: int,
    inbox_no: int | None = None,
    payload: dict[str, Any],
    except_hook: int = 0,
) -> None:
    """Append one event, with a delivery for each webhook that wants it but `except_hook`, and ring for it.

    `payload` holds ids and our own words; texts of mail are looked up when it is told.
    """
    seq: int = tx.scalar(
        sql.event_add,
        id=new_id("evt", now),
        account_no=account_no,
        inbox_no=inbox_no,
        type=type,
        payload_json=json.dumps(payload, ensure_ascii=False),
        created_at=now,
    )
    hooks = [
        no
        for (no,) in tx.all(
            sql.hooks_matching,
            account_no=account_no,
            inbox_no=inbox_no,
            pattern=pattern_of(type),
            except_no=except_hook,
        )
    ]
    if hooks:
        queue_for(tx, hooks, [seq], lane=inbox_no or ACCOUNT_LANE, now=now)
    tx.announce(EventRecorded(account_no, inbox_no, seq, tuple(hooks)))


def queue_for(tx: Transaction, hooks: list[int], events: list[int], *, lane: int, now: int) -> None:
    """Have these webhooks told these events, in this order."""
    tx.many(
        sql.hook_delivery_insert,
        [
            {
                "id": new_id("whd", now),
                "webhook_no": hook,
                "event_seq": seq,
                "lane": lane,
                "state": HookState.WAITING,
                "next_attempt_at": now,
                "created_at": now,
            }
            for seq in events
            for hook in hooks
        ],
    )
