"""Rows of whom an inbox has written to or heard from. Written in the transactions that file the mail."""

from __future__ import annotations

from collections.abc import Iterable

from daimon_mcp.store import compiled as sql
from daimon_mcp.store.compiled import Statement
from daimon_mcp.store.database import Transaction


def written(tx: Transaction, inbox_no: int, addresses: Iterable[str], *, at: int) -> None:
    """Mail to these addresses has left."""
    _put(tx, sql.contact_written, inbox_no, addresses, at)


def heard(tx: Transaction, inbox_no: int, addresses: Iterable[str], *, at: int) -> None:
    """Mail from these addresses has come."""
    _put(tx, sql.contact_heard, inbox_no, addresses, at)


def allowed(tx: Transaction, inbox_no: int, addresses: Iterable[str], *, at: int) -> None:
    """The operator lets the inbox write to these addresses."""
    _put(tx, sql.contact_allowed, inbox_no, addresses, at)


def strangers(tx: Transaction, inbox_no: int, addresses: Iterable[str]) -> list[str]:
    """Those that are none of these, in the order given."""
    return [each for each in addresses if tx.one(sql.contact_known, inbox_no=inbox_no, address=each.lower()) is None]


def _put(tx: Transaction, statement: Statement, inbox_no: int, addresses: Iterable[str], at: int) -> None:
    for address in dict.fromkeys(each.lower() for each in addresses if each):
        tx.run(statement, inbox_no=inbox_no, address=address, at=at)
