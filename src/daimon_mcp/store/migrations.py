"""Numbered steps from any older store to this one; `PRAGMA user_version` says where a store stands.

Each step runs in one transaction. Before the first step on a store that holds something, a copy is made beside it.
A store newer than this program is refused, never touched.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from daimon_mcp.store.compiled import SCHEMA
from daimon_mcp.store.database import APPLICATION_ID

log = logging.getLogger(__name__)

Step = Callable[[sqlite3.Connection], None]


class SchemaTooNew(Exception):
    """The store was written by a newer version of this program."""


def _create(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA:
        connection.execute(statement.sqlite)


STEPS: Sequence[Step] = (_create,)


def migrate(connection: sqlite3.Connection, *, backups: Path, steps: Sequence[Step] = STEPS) -> None:
    """Bring the store up to date. Raises SchemaTooNew; leaves the store as it was if a step fails."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise SchemaTooNew(
            f"this data folder was written by a newer daimon-mcp (schema {version}, this program knows {len(steps)}); "
            "install that version or point to another data folder"
        )
    if version == len(steps):
        return
    if version:
        backups.mkdir(mode=0o700, exist_ok=True)
        copy = backups / f"before-schema-{len(steps)}-from-{version}.db"
        copy.unlink(missing_ok=True)  # of an attempt that did not finish: the store is still at `version`
        connection.execute("VACUUM INTO ?", (str(copy),))
        log.info("migrating the store from schema %d to %d; a copy is in backups/%s", version, len(steps), copy.name)
    connection.execute("PRAGMA foreign_keys=OFF")
    try:
        for number in range(version, len(steps)):
            connection.execute("BEGIN IMMEDIATE")
            try:
                steps[number](connection)
                broken = connection.execute("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise sqlite3.IntegrityError(f"step {number + 1} left {len(broken)} broken references")
                connection.execute(f"PRAGMA user_version={number + 1}")
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
    finally:
        connection.execute("PRAGMA foreign_keys=ON")
