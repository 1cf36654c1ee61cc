"""Rows of drafts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction


@dataclass(frozen=True, slots=True)
class StoredDraft:
    """Unsent mail: `state` is `draft`, `scheduled`, `pending_upgrade`, or `sent`."""

    no: int
    id: str
    inbox_no: int
    inbox_id: str
    kind: str
    state: str
    source_seq: int | None
    content: dict[str, Any]
    send_at: int | None
    message_no: int | None
    message_id: str | None
    created_at: int
    updated_at: int


def draft_of(row: Row) -> StoredDraft:
    """A row of the draft statements."""
    no, id_, inbox_no, inbox_id, kind, state, source, content, send_at, message_no, message_id, created, updated = row
    return StoredDraft(
        no, id_, inbox_no, inbox_id, kind, state, source, json.loads(content), send_at, message_no, message_id, created,
        updated,
    )  # fmt: skip


def in_tx(tx: Transaction, id: str) -> StoredDraft | None:
    """A draft by its public id, inside a write."""
    row = tx.one(sql.draft_by_id, id=id)
    return None if row is None else draft_of(row)


async def by_id(database: Database, id: str) -> StoredDraft | None:
    """A draft by its public id."""
    row = await database.one(sql.draft_by_id, id=id)
    return None if row is None else draft_of(row)
