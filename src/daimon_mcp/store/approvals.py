"""Rows of what operators are asked: upgrades and requests."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction


@dataclass(frozen=True, slots=True)
class StoredApproval:
    """`kind` is `upgrade`, `request` or `send`; `state` is `open`, `approved`, `declined`, `expired` or `closed`.

    Of held mail (`send`): `message_seq` is which, `details` why it is held, and `requested_by` who wanted it sent.
    """

    id: str
    account_no: int
    account_id: str
    kind: str
    state: str
    jti: str
    target_tier: str | None
    reason: str
    context: dict[str, Any]
    action_label: str
    comment: str | None
    decided_by: str | None
    created_at: int
    expires_at: int
    decided_at: int | None
    tier: str
    message_seq: int | None
    details: dict[str, Any]
    requested_by: str | None

    def status(self, now: int) -> str:
        """What callers are told: pending, approved, rejected, expired or closed."""
        if self.state == "open":
            return "pending" if self.expires_at > now else "expired"
        return {"declined": "rejected"}.get(self.state, self.state)


def approval_of(row: Row) -> StoredApproval:
    """A row of the approval statements."""
    (
        id_, account_no, account_id, kind, state, jti, target, reason, context, label, comment, by, created, expires,
        decided, tier, message_seq, details, requested_by,
    ) = row  # fmt: skip
    return StoredApproval(
        id_, account_no, account_id, kind, state, jti, target, reason, json.loads(context), label, comment, by,
        created, expires, decided, tier, message_seq, json.loads(details), requested_by,
    )  # fmt: skip


def insert(
    tx: Transaction,
    *,
    id: str,
    account_no: int,
    kind: str,
    reason: str,
    created_at: int,
    expires_at: int,
    target_tier: str | None = None,
    context: dict[str, Any] | None = None,
    action_label: str = "",
    message_seq: int | None = None,
    details: dict[str, Any] | None = None,
    requested_by: str | None = None,
) -> StoredApproval:
    """A new question, open."""
    tx.run(
        sql.approval_insert,
        id=id,
        account_no=account_no,
        kind=kind,
        state="open",
        jti=secrets.token_urlsafe(18),
        target_tier=target_tier,
        reason=reason,
        context_json=json.dumps(context or {}, ensure_ascii=False),
        action_label=action_label,
        created_at=created_at,
        expires_at=expires_at,
        message_seq=message_seq,
        details_json=json.dumps(details or {}, ensure_ascii=False),
        requested_by=requested_by,
    )
    stored = in_tx(tx, id)
    assert stored is not None
    return stored


def in_tx(tx: Transaction, id: str) -> StoredApproval | None:
    """By public id, inside a write."""
    row = tx.one(sql.approval_by_id, id=id)
    return None if row is None else approval_of(row)


async def by_id(database: Database, id: str) -> StoredApproval | None:
    """By public id."""
    row = await database.one(sql.approval_by_id, id=id)
    return None if row is None else approval_of(row)


async def by_jti(database: Database, jti: str) -> StoredApproval | None:
    """By the id its link carries."""
    row = await database.one(sql.approval_by_jti, jti=jti)
    return None if row is None else approval_of(row)


async def of_message(database: Database, seq: int) -> StoredApproval | None:
    """The newest about a held message."""
    row = await database.one(sql.approval_of_message, seq=seq)
    return None if row is None else approval_of(row)
