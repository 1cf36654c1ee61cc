"""Rows of inboxes and their mailboxes."""

from __future__ import annotations

import json
from typing import Any

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.oversight import AfterUntrusted, Mode
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction

INBOX, SENT, DRAFTS, TRASH, SPAM, SCHEDULED = "INBOX", "Sent", "Drafts", "Trash", "Spam", "Scheduled"
# Special-use attributes of RFC 6154; \Scheduled is RFC 9051's registry neighbour and ours to name.
MAILBOXES = (
    (INBOX, None),
    (SENT, "\\Sent"),
    (DRAFTS, "\\Drafts"),
    (TRASH, "\\Trash"),
    (SPAM, "\\Junk"),
    (SCHEDULED, None),
)


def inbox_of(row: Row) -> Inbox:
    """A row of the inbox statements as an Inbox."""
    (
        no, id_, account_no, address, name, status, metadata, messages, unread, threads, last, created, deleted,
        oversight, after_untrusted, paused,
    ) = row  # fmt: skip
    return Inbox(
        no, id_, account_no, address, name, status, json.loads(metadata), messages, unread, threads, last, created,
        deleted, Mode(oversight), AfterUntrusted(after_untrusted), bool(paused),
    )  # fmt: skip


def insert_inbox(
    tx: Transaction,
    *,
    id: str,
    account_no: int,
    address: str,
    display_name: str,
    metadata: dict[str, Any],
    client_id: str | None,
    now: int,
) -> int:
    """A new inbox with its mailboxes; its number. UIDVALIDITY is the second of its making (RFC 9051 §2.3.1.1)."""
    number: int = tx.scalar(
        sql.inbox_insert,
        id=id,
        account_no=account_no,
        address=address,
        display_name=display_name,
        status="active",
        metadata_json=json.dumps(metadata),
        client_id=client_id,
        created_at=now,
    )
    for name, special_use in MAILBOXES:
        tx.run(sql.mailbox_insert, inbox_no=number, name=name, special_use=special_use, uidvalidity=now // SECOND)
    return number


def one_in(tx: Transaction, inbox_no: int) -> Inbox:
    """The inbox, inside a write."""
    row = tx.one(sql.inbox_by_no, inbox_no=inbox_no)
    assert row is not None
    return inbox_of(row)


def by_address_in(tx: Transaction, address: str) -> Inbox | None:
    """The live inbox at an address, inside a write."""
    row = tx.one(sql.inbox_by_address, address=address)
    return None if row is None else inbox_of(row)


async def by_id(database: Database, id: str) -> Inbox | None:
    """A live inbox by its public id."""
    row = await database.one(sql.inbox_by_id, id=id)
    return None if row is None else inbox_of(row)


async def by_address(database: Database, address: str) -> Inbox | None:
    """A live inbox by its address, in lower case."""
    row = await database.one(sql.inbox_by_address, address=address)
    return None if row is None else inbox_of(row)


async def by_no(database: Database, inbox_no: int) -> Inbox | None:
    """An inbox by its number, deleted or not."""
    row = await database.one(sql.inbox_by_no, inbox_no=inbox_no)
    return None if row is None else inbox_of(row)
