"""A small database of the tests' own, so that the writer can be tried without any mail."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from daimon_mcp.domain.changes import AccountChanged, Change
from daimon_mcp.store.compiled import Statement
from daimon_mcp.store.database import Database, Transaction

ADD = Statement("INSERT INTO notes (text) VALUES (:text)", "")
TEXTS = Statement("SELECT text FROM notes ORDER BY no", "")
COUNT = Statement("SELECT count(*) FROM notes", "")


def create(connection: sqlite3.Connection) -> None:
    """The one table."""
    connection.execute("CREATE TABLE IF NOT EXISTS notes (no INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)")


def adding(text: str, rings: int | None = None) -> Callable[[Transaction], str]:
    """A write that adds a note, and announces a change with the number `rings`."""

    def run(tx: Transaction) -> str:
        tx.run(ADD, text=text)
        if rings is not None:
            tx.announce(AccountChanged(rings, ""))
        return text

    return run


class Notes:
    """The database, and what its bell rang."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rung: list[int] = []
        self.database = Database(path, on_commit=self.ring)

    def ring(self, changes: Sequence[Change]) -> None:
        self.rung += [change.account_no for change in changes if isinstance(change, AccountChanged)]

    async def texts(self) -> list[str]:
        return [row[0] for row in await self.database.all(TEXTS)]
