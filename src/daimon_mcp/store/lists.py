"""Rows of allow and block lists."""

from __future__ import annotations

from daimon_mcp.domain.lists import Direction, Entry
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Row, Transaction


def entry_of(row: Row) -> Entry:
    """A row of the list statements as an Entry."""
    return Entry(row[0], row[1], row[2], row[3])


def for_inbox(tx: Transaction, account_no: int, inbox_no: int, *directions: Direction) -> list[Entry]:
    """What the inbox's own lists and its account's say about these directions."""
    found: list[Entry] = []
    for direction in directions:
        rows = tx.all(sql.lists_for, account_no=account_no, inbox_no=inbox_no, direction=direction)
        found += [entry_of(row) for row in rows]
    return found
