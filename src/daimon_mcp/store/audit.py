"""The audit log: one row for each write, chained by hashes, in the transaction of what it tells."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Row, Transaction

FIRST = "0" * 64
"""What the first row has for the hash of the row before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One write. `at` in epoch µs; `details` are facts of ours, small and without secrets.

    `who` is a key's id, `local` for this machine's own agent, `smtp-password`, `operator` or `server`; `face` is the
    way it came: mcp, rest, smtp, cli, page, console.
    """

    at: int
    account_no: int | None
    who: str
    face: str
    operation: str
    target: str | None = None
    reason: str | None = None
    details_json: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry(Entry):
    """A row of the log. `account_id` is looked up, and no part of what is hashed."""

    no: int
    before: str
    hash: str
    account_id: str | None

    @property
    def is_whole(self) -> bool:
        """Whether the row is what its hash was made of."""
        return self.hash == digest(self, self.before)


def digest(entry: Entry, before: str) -> str:
    """SHA-256 of a row and of the hash before it, in hexadecimal digits: of the JSON array of both."""
    values = [
        before, entry.at, entry.account_no, entry.who, entry.face, entry.operation, entry.target, entry.reason,
        entry.details_json,
    ]  # fmt: skip
    return hashlib.sha256(orjson.dumps(values)).hexdigest()


def details_json(details: Mapping[str, Any]) -> str:
    """Details as they are kept: one form for one meaning."""
    return orjson.dumps(dict(details), option=orjson.OPT_SORT_KEYS).decode()


def append(tx: Transaction, entry: Entry) -> None:
    """Inside a write: add a row behind the last."""
    row = tx.one(sql.audit_last)
    before = FIRST if row is None else str(row[0])
    tx.run(sql.audit_insert, **asdict(entry), before=before, hash=digest(entry, before))


def entry_of(row: Row) -> StoredEntry:
    """A row of the audit statements."""
    no, at, account_no, who, face, operation, target, reason, details, before, hash_, account_id = row
    return StoredEntry(
        no=no,
        at=at,
        account_no=account_no,
        who=who,
        face=face,
        operation=operation,
        target=target,
        reason=reason,
        details_json=details,
        before=before,
        hash=hash_,
        account_id=account_id,
    )
