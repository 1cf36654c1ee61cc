"""Rows of accounts' domains, and of the keys that mail of a domain is signed with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daimon_mcp.domain.domains import DomainStatus, PublicKey
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction


@dataclass(frozen=True, slots=True)
class StoredDomain:
    """A live domain; `checks` are what the last look into the DNS found, as plain data (one object a record)."""

    no: int
    id: str
    account_no: int
    name: str
    status: DomainStatus
    token: str
    checks: tuple[dict[str, Any], ...]
    created_at: int
    checked_at: int | None
    verified_at: int | None


def domain_of(row: Row) -> StoredDomain:
    """A row of the domain statements."""
    no, id_, account_no, name, status, token, checks, created_at, checked_at, verified_at = row
    return StoredDomain(
        no, id_, account_no, name, DomainStatus(status), token, tuple(json.loads(checks)), created_at, checked_at,
        verified_at,
    )  # fmt: skip


def _one(row: Row | None) -> StoredDomain | None:
    return None if row is None else domain_of(row)


def insert_domain(tx: Transaction, *, id: str, account_no: int, name: str, token: str, now: int) -> None:
    """A new domain, pending."""
    tx.run(
        sql.domain_insert,
        id=id,
        account_no=account_no,
        name=name,
        status=DomainStatus.PENDING,
        token=token,
        checks_json="[]",
        created_at=now,
    )


def save_check(
    tx: Transaction, domain: StoredDomain, *, status: DomainStatus, checks: Sequence[dict[str, Any]], now: int
) -> None:
    """Keep what a look into the DNS found, and the status it leads to."""
    tx.run(
        sql.domain_checked,
        domain_no=domain.no,
        new_status=status,
        new_checks=json.dumps(list(checks)),
        new_verified_at=now if status is DomainStatus.VERIFIED else None,
        now=now,
    )


async def by_id(database: Database, id: str) -> StoredDomain | None:
    """A live domain by its public id."""
    return _one(await database.one(sql.domain_by_id, id=id))


def by_id_in(tx: Transaction, id: str) -> StoredDomain | None:
    """The same, inside a write."""
    return _one(tx.one(sql.domain_by_id, id=id))


async def of_account(database: Database, account_no: int, name: str) -> StoredDomain | None:
    """An account's live domain by its name."""
    return _one(await database.one(sql.domain_of_account, account_no=account_no, name=name))


def of_account_in(tx: Transaction, account_no: int, name: str) -> StoredDomain | None:
    """The same, inside a write."""
    return _one(tx.one(sql.domain_of_account, account_no=account_no, name=name))


def verified_in(tx: Transaction, name: str) -> StoredDomain | None:
    """Whoever has shown that a name is theirs, inside a write."""
    return _one(tx.one(sql.domain_verified, name=name))


def may_use(tx: Transaction, account_no: int, name: str) -> bool:
    """Whether an account has shown that a name is its own, inside a write."""
    found = verified_in(tx, name)
    return found is not None and found.account_no == account_no


def _key_of(row: Row) -> PublicKey:
    selector, algorithm, public, created_at, seen_at = row
    return PublicKey(selector, algorithm, public, created_at, seen_at is not None)


async def keys_of(database: Database, name: str) -> list[PublicKey]:
    """The keys to publish for a domain, oldest first; retired ones are left out."""
    return [_key_of(row) for row in await database.all(sql.dkim_published, domain=name)]


def keys_in(tx: Transaction, name: str) -> list[PublicKey]:
    """The same, inside a write."""
    return [_key_of(row) for row in tx.all(sql.dkim_published, domain=name)]
