"""The log of what happened in each inbox, in commit order: what `changes` tells and what every cursor points into."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction


class What(StrEnum):
    """What happened to a message."""

    NEW = "new"
    RELEASED = "released"
    READ = "read"
    UNREAD = "unread"
    LABELS = "labels"
    MOVED = "moved"
    TRASHED = "trashed"
    RESTORED = "restored"
    DELETED = "deleted"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    FAILED = "failed"
    THREAD = "thread"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """One entry; `n` is its place in the inbox's log."""

    n: int
    message_seq: int
    message_id: str
    what: str
    at: int


def record(tx: Transaction, *, inbox_no: int, seq: int, message_id: str, what: str, at: int) -> int:
    """Write an entry in the transaction of the change itself; its place in the inbox's log."""
    n: int = tx.scalar(sql.inbox_next_change, inbox_no=inbox_no)
    write(tx, inbox_no=inbox_no, n=n, seq=seq, message_id=message_id, what=what, at=at)
    return n


def write(tx: Transaction, *, inbox_no: int, n: int, seq: int, message_id: str, what: str, at: int) -> None:
    """Write an entry at a place that was taken in the same transaction."""
    tx.run(sql.change_insert, inbox_no=inbox_no, n=n, message_seq=seq, message_id=message_id, what=what, at=at)


def change_of(row: Row) -> LoggedChange:
    """A row of `changes_after`."""
    return LoggedChange(*row)


async def latest(database: Database, inbox_no: int) -> int:
    """The place of the last change of an inbox, 0 when there is none."""
    row = await database.one(sql.inbox_latest_change, inbox_no=inbox_no)
    return 0 if row is None else row[0]


async def after(database: Database, inbox_no: int, place: int, limit: int) -> list[LoggedChange]:
    """Up to `limit` changes after a place, oldest first."""
    rows = await database.all(sql.changes_after, inbox_no=inbox_no, after=place, limit=limit)
    return [change_of(row) for row in rows]
