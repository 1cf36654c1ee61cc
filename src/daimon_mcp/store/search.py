"""The full-text index of messages: SQLite FTS5 behind four functions that another engine can fill.

The index keeps no text of its own: to take a message out, what was put in must be said again, word for word.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from daimon_mcp.store.compiled import Statement
from daimon_mcp.store.database import Transaction

# Contentless, because bodies hold the text already. One row for each message, rowid = messages.seq, so that an inbox is
# a range of rowids.
SCHEMA = """CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5(
    subject, sender, recipients, body, files, content='', tokenize="unicode61 remove_diacritics 2"
)"""

MAX_BODY = 200_000
MAX_FILES = 200_000

_ADD = Statement(
    "INSERT INTO search(rowid, subject, sender, recipients, body, files)"
    " VALUES (:seq, :subject, :sender, :recipients, :body, :files)",
    "",
)
_REMOVE = Statement(
    "INSERT INTO search(search, rowid, subject, sender, recipients, body, files)"
    " VALUES ('delete', :seq, :subject, :sender, :recipients, :body, :files)",
    "",
)


@dataclass(frozen=True, slots=True)
class Indexed:
    """What a message is found by."""

    subject: str
    sender: str
    recipients: str
    body: str
    files: str


def _values(indexed: Indexed) -> dict[str, str]:
    return {
        "subject": indexed.subject,
        "sender": indexed.sender,
        "recipients": indexed.recipients,
        "body": indexed.body[:MAX_BODY],
        "files": indexed.files[:MAX_FILES],
    }


def add(tx: Transaction, seq: int, indexed: Indexed) -> None:
    """Find a message by this from now on."""
    tx.run(_ADD, seq=seq, **_values(indexed))


def remove(tx: Transaction, seq: int, indexed: Indexed) -> None:
    """Find it no more; `indexed` must be what was added."""
    tx.run(_REMOVE, seq=seq, **_values(indexed))


def people(*lists: list[dict[str, str]]) -> str:
    """Names and addresses as they are indexed."""
    return "\n".join(f"{person['name']} {person['email']}".strip() for each in lists for person in each)


def rebuild(connection: sqlite3.Connection) -> None:
    """Make the whole index anew from the messages, in the order of their numbers."""
    connection.execute("INSERT INTO search(search) VALUES ('delete-all')")
    rows = connection.execute(
        """SELECT m.seq, m.subject, m.from_name, m.from_address, m.to_json, m.cc_json, m.bcc_json, b.text
           FROM messages m JOIN bodies b ON b.seq = m.seq WHERE m.deleted_at IS NULL ORDER BY m.seq"""
    )
    for seq, subject, name, address, to, cc, bcc, text in rows:
        files: list[Any] = []
        for filename, content in connection.execute(
            "SELECT filename, text FROM attachments WHERE seq = ? ORDER BY no", (seq,)
        ):
            files += [filename] if content is None else [filename, content]
        indexed = Indexed(
            subject=subject,
            sender=people([{"name": name, "email": address}]),
            recipients=people(json.loads(to), json.loads(cc), json.loads(bcc)),
            body=text,
            files="\n".join(files),
        )
        connection.execute(_ADD.sqlite, {"seq": seq, **_values(indexed)})
