"""Numbered steps: each whole or not at all, with a copy before the first, and nothing newer or foreign touched."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from daimon_mcp.store.database import APPLICATION_ID, Database
from daimon_mcp.store.migrations import STEPS, SchemaTooNew, Step, migrate


def first(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE owners (no INTEGER PRIMARY KEY, name TEXT NOT NULL)")
    connection.execute("CREATE TABLE pets (no INTEGER PRIMARY KEY, owner INTEGER NOT NULL REFERENCES owners(no))")


def second(connection: sqlite3.Connection) -> None:
    """Rebuilds a table that others point to, as ALTER TABLE cannot."""
    connection.execute("CREATE TABLE owners_new (no INTEGER PRIMARY KEY, name TEXT NOT NULL, born BIGINT)")
    connection.execute("INSERT INTO owners_new (no, name) SELECT no, name FROM owners")
    connection.execute("DROP TABLE owners")
    connection.execute("ALTER TABLE owners_new RENAME TO owners")


def third(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE pets ADD COLUMN name TEXT")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(tmp_path / "mail.db", isolation_level=None)
    opened.execute("PRAGMA journal_mode=WAL")
    opened.execute("PRAGMA foreign_keys=ON")
    yield opened
    opened.close()


def value(connection: sqlite3.Connection, query: str) -> object:
    return connection.execute(query).fetchone()[0]


def dump(connection: sqlite3.Connection) -> list[str]:
    return list(connection.iterdump())


def filled(connection: sqlite3.Connection, backups: Path) -> None:
    migrate(connection, backups=backups, steps=[first])
    connection.execute("INSERT INTO owners VALUES (1, 'Ann')")
    connection.execute("INSERT INTO pets VALUES (1, 1)")


def test_a_new_store_gets_every_step_and_no_copy(connection: sqlite3.Connection, tmp_path: Path) -> None:
    migrate(connection, backups=tmp_path / "backups", steps=[first, second, third])
    assert value(connection, "PRAGMA user_version") == 3
    assert value(connection, "PRAGMA application_id") == APPLICATION_ID
    assert value(connection, "PRAGMA foreign_keys") == 1
    assert not (tmp_path / "backups").exists()


def test_an_older_store_gets_the_missing_steps_and_a_copy_is_made_before(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    filled(connection, backups)
    before = dump(connection)
    migrate(connection, backups=backups, steps=[first, second, third])
    assert value(connection, "PRAGMA user_version") == 3
    assert connection.execute("SELECT * FROM owners").fetchall() == [(1, "Ann", None)]
    assert [path.name for path in backups.iterdir()] == ["before-schema-3-from-1.db"]
    copy = sqlite3.connect(backups / "before-schema-3-from-1.db")
    assert dump(copy) == before
    assert value(copy, "PRAGMA user_version") == 1
    assert value(copy, "PRAGMA integrity_check") == "ok"
    copy.close()

    migrate(connection, backups=backups, steps=[first, second, third])
    assert len(list(backups.iterdir())) == 1


def failing(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE half (x)")
    connection.execute("DELETE FROM pets")
    raise RuntimeError("no")


def leaves_orphans(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE half (x)")
    connection.execute("DELETE FROM owners")


def overfills(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA max_page_count={value(connection, 'PRAGMA page_count')}")
    connection.execute("CREATE TABLE half (x)")
    connection.execute("INSERT INTO half VALUES (zeroblob(100000))")


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (failing, RuntimeError),
        (leaves_orphans, sqlite3.IntegrityError),
        (overfills, sqlite3.OperationalError),
    ],
)
def test_a_step_that_fails_leaves_the_store_as_it_was(
    connection: sqlite3.Connection, tmp_path: Path, step: Step, error: type[Exception]
) -> None:
    backups = tmp_path / "backups"
    filled(connection, backups)
    before = dump(connection)
    with pytest.raises(error) as raised:
        migrate(connection, backups=backups, steps=[first, step])
    assert "transaction" not in str(raised.value)
    assert dump(connection) == before
    assert not connection.in_transaction
    assert value(connection, "PRAGMA user_version") == 1
    assert value(connection, "PRAGMA foreign_keys") == 1
    connection.execute("PRAGMA max_page_count=1000000")
    migrate(connection, backups=backups, steps=[first, second])  # as with a version in which it is mended
    assert value(connection, "PRAGMA user_version") == 2


def test_the_steps_before_the_one_that_fails_stay(connection: sqlite3.Connection, tmp_path: Path) -> None:
    filled(connection, tmp_path / "backups")
    with pytest.raises(RuntimeError):
        migrate(connection, backups=tmp_path / "backups", steps=[first, second, failing])
    assert value(connection, "PRAGMA user_version") == 2
    assert connection.execute("SELECT * FROM pets").fetchall() == [(1, 1)]


def test_no_copy_no_migration(connection: sqlite3.Connection, tmp_path: Path) -> None:
    filled(connection, tmp_path / "backups")
    (tmp_path / "backups").touch()
    with pytest.raises(FileExistsError):
        migrate(connection, backups=tmp_path / "backups", steps=[first, second])
    assert value(connection, "PRAGMA user_version") == 1


def test_a_copy_that_was_cut_off_is_no_copy(connection: sqlite3.Connection, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    filled(connection, backups)
    backups.mkdir()
    (backups / "before-schema-2-from-1.db.unfinished").write_bytes(b"half")
    migrate(connection, backups=backups, steps=[first, second])
    assert [path.name for path in backups.iterdir()] == ["before-schema-2-from-1.db"]


async def opened(path: Path) -> Database:
    database = Database(path, on_commit=lambda _: None)
    await database.open(lambda connection: migrate(connection, backups=path.parent / "backups"))
    return database


async def test_a_newer_store_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "mail.db"
    database = await opened(path)
    await database.close()
    newer = sqlite3.connect(path)
    newer.execute("CREATE TABLE from_the_future (x)")
    newer.execute(f"PRAGMA user_version={len(STEPS) + 1}")
    newer.close()
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew, match=f"schema {len(STEPS) + 1}, this program knows {len(STEPS)}"):
        await opened(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["mail.db"]


async def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mail.db"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE messages (x)")
    foreign.close()
    with pytest.raises(sqlite3.DatabaseError, match=r"mail\.db cannot be used: it is the database of another program"):
        await opened(path)
    foreign = sqlite3.connect(path)
    assert dump(foreign) == ["BEGIN TRANSACTION;", "CREATE TABLE messages (x);", "COMMIT;"]
    foreign.close()


async def test_copies_are_for_their_owner_alone(tmp_path: Path) -> None:
    """The folder keeps others out, whatever the umask was."""
    path = tmp_path / "mail.db"
    await (await opened(path)).close()
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, backups=tmp_path / "backups", steps=[*STEPS, lambda c: void(c.execute("CREATE TABLE x (y)"))])
    connection.close()
    assert stat.S_IMODE((tmp_path / "backups").stat().st_mode) == 0o700


def void(_: object) -> None:
    """Drop a value."""
