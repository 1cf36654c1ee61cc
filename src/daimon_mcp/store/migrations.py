"""Numbered steps from any older store to this one; `PRAGMA user_version` says where a store stands.

Each step runs in one transaction. Before the first step on a store that holds something, a copy is made beside it.
A store newer than this program is refused, never touched, and so is a database that some other program made.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from daimon_mcp.mail.threading import comparable, normal_id
from daimon_mcp.store import search
from daimon_mcp.store.compiled import SCHEMA
from daimon_mcp.store.database import APPLICATION_ID, sync_folder

log = logging.getLogger(__name__)

Step = Callable[[sqlite3.Connection], None]


class SchemaTooNew(Exception):
    """The store was written by a newer version of this program."""


def _create(connection: sqlite3.Connection) -> None:
    """Today's tables: a new store needs nothing else, so every later step finds its work done there."""
    for statement in SCHEMA:
        connection.execute(statement.sqlite)


def _reading(connection: sqlite3.Connection) -> None:
    """Room for what is read out of mail; the log of changes, lists, uploads; mail can be found by its words."""
    _add_columns(
        connection,
        {
            "messages": (
                "aside SMALLINT DEFAULT 0 NOT NULL",
                "hold_reason TEXT",
                "linked_by TEXT",
                "new_participant SMALLINT DEFAULT 0 NOT NULL",
                "came_n BIGINT DEFAULT 0 NOT NULL",
            ),
            "bodies": ("reading_json TEXT DEFAULT '{}' NOT NULL", "rules_version BIGINT DEFAULT 0 NOT NULL"),
            "attachments": (
                "text TEXT",
                "text_status TEXT",
                "text_tries SMALLINT DEFAULT 0 NOT NULL",
                "text_facts_json TEXT",
            ),
            "threads": ("related_seq BIGINT", "merged_into BIGINT"),
        },
    )
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'changes'").fetchone():
        connection.execute("DROP INDEX threads_inbox")  # it has one more column now
    _create_missing(connection)
    connection.execute(search.SCHEMA)
    search.rebuild(connection)
    for inbox_no, message_id in connection.execute("SELECT inbox_no, message_id FROM refs").fetchall():
        if (normal := normal_id(message_id)) != message_id:
            connection.execute(
                "UPDATE OR IGNORE refs SET message_id = ? WHERE inbox_no = ? AND message_id = ?",
                (normal, inbox_no, message_id),
            )
    for seq, subject in connection.execute("SELECT seq, base_subject FROM threads").fetchall():
        if (base := comparable(subject)) != subject:
            connection.execute("UPDATE threads SET base_subject = ? WHERE seq = ?", (base, seq))
    connection.execute("UPDATE attachments SET text_status = 'pending' WHERE text_status IS NULL")
    connection.execute(
        """INSERT INTO changes (inbox_no, n, message_seq, message_id, what, at)
           SELECT inbox_no, row_number() OVER (PARTITION BY inbox_no ORDER BY seq), seq, id, 'new', received_at
           FROM messages WHERE deleted_at IS NULL"""
    )
    connection.execute("UPDATE messages SET came_n = c.n FROM changes AS c WHERE c.message_seq = messages.seq")
    connection.execute(
        "UPDATE inboxes SET change_seq = coalesce((SELECT max(n) FROM changes WHERE inbox_no = inboxes.no), 0)"
    )


def _smtp(connection: sqlite3.Connection) -> None:
    """Room for mail by SMTP in both directions: the spool, DSN parameters, domains and their keys, suppressions."""
    _add_columns(
        connection,
        {
            "accounts": ("smtp_rotated_at BIGINT", "sending_stopped_at BIGINT", "sending_stopped_why TEXT"),
            "queue": (
                "ret TEXT",
                "envid TEXT",
                "origin TEXT DEFAULT 'tool' NOT NULL",
                "warned_at BIGINT",
                "verp SMALLINT DEFAULT 0 NOT NULL",
            ),
            "deliveries": ("notify TEXT", "orcpt TEXT"),
            "attempts": ("tls TEXT", "content_at BIGINT"),
        },
    )
    _create_missing(connection)


def _programs(connection: sqlite3.Connection) -> None:
    """Room for programs and people: webhooks, oversight, the audit log, the operator's logins."""
    _add_columns(
        connection,
        {
            "keys": ("untrusted_at BIGINT",),
            "inboxes": (
                "oversight TEXT DEFAULT 'autonomous' NOT NULL",
                "after_untrusted TEXT DEFAULT 'allow' NOT NULL",
                "paused SMALLINT DEFAULT 0 NOT NULL",
            ),
            "approvals": (
                "message_seq BIGINT",
                "details_json TEXT DEFAULT '{}' NOT NULL",
                "requested_by TEXT",
            ),
        },
    )
    _create_missing(connection)
    connection.execute(
        """INSERT INTO contacts (inbox_no, address, heard_at)
           SELECT inbox_no, lower(from_address), max(received_at) FROM messages
           WHERE direction = 'inbound' AND hold_reason IS NULL AND from_address <> ''
           GROUP BY inbox_no, lower(from_address) ON CONFLICT DO NOTHING"""
    )
    connection.execute(
        """INSERT INTO contacts (inbox_no, address, written_at)
           SELECT q.inbox_no, lower(d.recipient), max(q.created_at)
           FROM queue q JOIN deliveries d ON d.queue_no = q.no WHERE q.state = 'active'
           GROUP BY q.inbox_no, lower(d.recipient)
           ON CONFLICT (inbox_no, address) DO UPDATE SET written_at = excluded.written_at"""
    )


def _create_missing(connection: sqlite3.Connection) -> None:
    """Today's tables and indexes that are not there, whichever step is under way."""
    _add_columns(connection, {"approvals": ("message_seq BIGINT",)})  # an index of today is over it
    for statement in SCHEMA:
        connection.execute(re.sub(r"^CREATE (UNIQUE )?(TABLE|INDEX) ", r"CREATE \1\2 IF NOT EXISTS ", statement.sqlite))


def _add_columns(connection: sqlite3.Connection, columns: Mapping[str, Sequence[str]]) -> None:
    for table, wanted in columns.items():
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for column in wanted:
            if column.split()[0] not in known:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


STEPS: Sequence[Step] = (_create, _reading, _smtp, _programs)


def migrate(connection: sqlite3.Connection, *, backups: Path, steps: Sequence[Step] = STEPS) -> None:
    """Bring the store up to date; `backups` is a folder beside it, made when needed.

    Raises SchemaTooNew, sqlite3.DatabaseError for somebody else's database, and what a step raises: the store then is
    as it was before that step.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (version or objects) and application != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is the database of another program")
    if version > len(steps):
        raise SchemaTooNew(
            f"this data folder was written by a newer daimon-mcp (schema {version}, this program knows {len(steps)}); "
            "install that version or point to another data folder"
        )
    if version == len(steps):
        return
    if version:
        copy = _back_up(connection, backups, f"before-schema-{len(steps)}-from-{version}.db")
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
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has rolled back already
                    connection.execute("ROLLBACK")
                raise
    finally:
        connection.execute("PRAGMA foreign_keys=ON")


def _back_up(connection: sqlite3.Connection, backups: Path, name: str) -> Path:
    """A copy of the store, on disk when this returns; a copy that was not finished never has the name."""
    backups.mkdir(mode=0o700, exist_ok=True)
    copy, unfinished = backups / name, backups / f"{name}.unfinished"
    unfinished.unlink(missing_ok=True)
    try:
        connection.execute("VACUUM INTO ?", (str(unfinished),))
        descriptor = os.open(unfinished, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.replace(copy)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(backups)
    sync_folder(backups.parent)
    return copy
