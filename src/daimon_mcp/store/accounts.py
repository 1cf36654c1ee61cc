"""Rows of accounts and keys."""

from __future__ import annotations

import json
from dataclasses import dataclass

from daimon_mcp.domain.accounts import Account, AccountStatus
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction

LOCAL_ACCOUNT = "local_account"
OPERATOR_ACCOUNT = "operator_account"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as the store knows it: never the key itself."""

    id: str
    account_no: int
    account_id: str
    inbox_no: int | None
    permissions: frozenset[str] | None
    expires_at: int | None
    last_used_at: int | None
    account_status: AccountStatus


def account_of(row: Row) -> Account:
    """A row of the account statements as an Account."""
    no, public_id, tier, status, created_at, smtp_version, rotated_at, stopped_at, why = row
    return Account(
        no, public_id, Tier(tier), AccountStatus(status), created_at, smtp_version, rotated_at, stopped_at, why
    )


def insert_account(tx: Transaction, *, id: str, kind: str, now: int) -> int:
    """A new free account; its number."""
    return tx.scalar(sql.account_insert, id=id, kind=kind, tier="free", status="active", created_at=now)


def operator_account(tx: Transaction, now: int) -> int:
    """The number of the operator's own account, made when first needed."""
    row = tx.one(sql.meta_get, key=OPERATOR_ACCOUNT)
    if row is not None:
        return int(row[0])
    number = insert_account(tx, id=new_id("acc", now), kind="operator", now=now)
    tx.run(sql.meta_put, key=OPERATOR_ACCOUNT, value=str(number))
    return number


def account_in(tx: Transaction, account_no: int) -> Account:
    """The account, inside a write."""
    row = tx.one(sql.account_by_no, account_no=account_no)
    assert row is not None
    return account_of(row)


async def account_by_no(database: Database, account_no: int) -> Account:
    """The account that an actor names."""
    row = await database.one(sql.account_by_no, account_no=account_no)
    assert row is not None
    return account_of(row)


async def account_by_id(database: Database, id: str) -> Account | None:
    """An account by its public id."""
    row = await database.one(sql.account_by_id, id=id)
    return None if row is None else account_of(row)


def insert_key(
    tx: Transaction,
    *,
    id: str,
    account_no: int,
    inbox_no: int | None,
    sha256: str,
    hint: str,
    name: str,
    permissions: frozenset[str] | None,
    now: int,
    expires_at: int | None = None,
) -> None:
    """Keep a key's hash and what it may do."""
    tx.run(
        sql.key_insert,
        id=id,
        account_no=account_no,
        inbox_no=inbox_no,
        sha256=sha256,
        hint=hint,
        name=name,
        permissions_json=None if permissions is None else json.dumps(sorted(permissions)),
        created_at=now,
        expires_at=expires_at,
    )


async def key_by_hash(database: Database, sha256: str) -> StoredKey | None:
    """The live key with this hash."""
    row = await database.one(sql.key_by_hash, sha256=sha256)
    if row is None:
        return None
    id_, account_no, account_id, inbox_no, permissions, expires_at, last_used_at, status = row
    return StoredKey(
        id_,
        account_no,
        account_id,
        inbox_no,
        None if permissions is None else frozenset(json.loads(permissions)),
        expires_at,
        last_used_at,
        AccountStatus(status),
    )
