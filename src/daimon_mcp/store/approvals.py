"""Rows of what operators are asked: upgrades and requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction


@dataclass(frozen=True, slots=True)
class StoredApproval:
    """`kind` is `upgrade` or `request`; `state` is `open`, `approved`, `declined` or `closed`."""

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


def approval_of(row: Row) -> StoredApproval:
    """A row of the approval statements."""
    (
        id_, account_no, account_id, kind, state, jti, target, reason, context, label, comment, by, created, expires,
        decided, tier,
    ) = row  # fmt: skip
    return StoredApproval(
        id_, account_no, account_id, kind, state, jti, target, reason, json.loads(context), label, comment, by,
        created, expires, decided, tier,
    )  # fmt: skip


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
