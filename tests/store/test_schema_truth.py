"""The tables that the migrations make are the tables that the code describes."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from sqlalchemy import create_engine
from sqlmodel import SQLModel

from daimon_mcp.store import tables
from daimon_mcp.store.migrations import migrate


def _made(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'search%'"
    ).fetchall()
    return {name: re.sub(r"\s+", " ", sql).strip() for name, sql in rows}


def _shape(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """What SQLite itself says of every table: columns, references, indexes and their columns; in no order."""
    shape: dict[str, list[str]] = {}
    for kind, name in connection.execute(
        "SELECT type, name FROM sqlite_master WHERE name NOT LIKE '%search%'"
    ).fetchall():
        pragmas = ("table_xinfo", "foreign_key_list", "index_list") if kind == "table" else ("index_xinfo",)
        for pragma in pragmas:
            rows = connection.execute(f"PRAGMA {pragma}('{name}')").fetchall()
            skip = 1 if pragma in ("foreign_key_list", "index_list") else 0  # a number by order of making
            shape[f"{pragma} {name}"] = sorted(str(row[skip:]) for row in rows)
    return shape


def test_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    migrated = sqlite3.connect(":memory:", isolation_level=None)
    migrate(migrated, backups=tmp_path)
    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine)
    raw = engine.raw_connection()
    described = raw.driver_connection
    assert isinstance(described, sqlite3.Connection)
    assert {"messages", "blobs"} <= tables.SQLModel.metadata.tables.keys() & _made(described).keys()
    assert _made(migrated) == _made(described)
    assert _shape(migrated) == _shape(described)
    raw.close()
    engine.dispose()
    migrated.close()
