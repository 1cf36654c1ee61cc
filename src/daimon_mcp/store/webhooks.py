"""Rows of webhooks and of the log of what they were sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from daimon_mcp.domain.accounts import AccountStatus
from daimon_mcp.domain.webhooks import HookState, HookStatus
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction


@dataclass(frozen=True, slots=True)
class StoredWebhook:
    """A webhook. Secrets are sealed; `events` are packed names."""

    no: int
    id: str
    account_no: int
    account_id: str
    inbox_no: int | None
    inbox_id: str | None
    client_id: str | None
    url: str
    description: str
    events: str
    secret: bytes
    old_secret: bytes | None
    old_secret_until: int | None
    status: HookStatus
    disabled_why: str | None
    failures: int
    failing_since: int | None
    retry_at: int
    last_delivered_at: int | None
    last_error: str | None
    created_at: int
    updated_at: int
    deleted_at: int | None
    account_status: AccountStatus


@dataclass(frozen=True, slots=True)
class StoredHookDelivery:
    """One event for one webhook."""

    no: int
    id: str
    webhook_no: int
    event_seq: int
    lane: int
    state: HookState
    attempts: int
    next_attempt_at: int
    created_at: int
    finished_at: int | None
    event_id: str
    type: str


@dataclass(frozen=True, slots=True)
class StoredHookAttempt:
    """One POST of a delivery; `ended_at` None while it is under way, or when it was cut off."""

    delivery_no: int
    n: int
    started_at: int
    ended_at: int | None
    status: int | None
    error: str | None
    request: dict[str, Any]
    response: dict[str, Any] | None


def webhook_of(row: Row) -> StoredWebhook:
    """A row of the webhook statements."""
    values = list(row)
    values[13], values[-1] = HookStatus(values[13]), AccountStatus(values[-1])
    return StoredWebhook(*values)


def delivery_of(row: Row) -> StoredHookDelivery:
    """A row of the delivery statements."""
    values = list(row)
    values[5] = HookState(values[5])
    return StoredHookDelivery(*values)


def attempt_of(row: Row) -> StoredHookAttempt:
    """A row of `hook_attempts_between`."""
    no, n, started_at, ended_at, status, error, request, response = row
    return StoredHookAttempt(
        no, n, started_at, ended_at, status, error, json.loads(request), json.loads(response) if response else None
    )


def in_tx(tx: Transaction, webhook_no: int) -> StoredWebhook | None:
    """A webhook inside a write, deleted or not."""
    row = tx.one(sql.webhook_by_no, webhook_no=webhook_no)
    return None if row is None else webhook_of(row)


async def by_id(database: Database, id: str) -> StoredWebhook | None:
    """A webhook that is not deleted."""
    row = await database.one(sql.webhook_by_id, id=id)
    return None if row is None else webhook_of(row)
