"""Tables of oversight: who was written to, what was done by whom, and how the operator gets in."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from daimon_mcp.store.columns import auto_key_column, big_column, key_column, text_column


class Contacts(SQLModel, table=True):
    """Addresses that an inbox has written to or heard from, or may write to because the operator said so."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    inbox_no: int = key_column()
    address: str = Field(primary_key=True, sa_type=Text)
    written_at: int | None = big_column()
    heard_at: int | None = big_column()
    allowed_at: int | None = big_column()


class Audit(SQLModel, table=True):
    """Every write, in order, each row with the hash of the one before it.

    `who` is a key's id, `local`, `operator`, `operator-cli` or `server`. `hash` is the SHA-256 of the row's other
    columns and of `before`, which is the hash of the row before.
    """

    __table_args__ = (Index("audit_account", "account_no", "no"), Index("audit_at", "at"))

    no: int | None = auto_key_column()
    at: int = big_column()
    account_no: int | None = big_column()
    who: str = text_column()
    face: str = text_column()
    operation: str = text_column()
    target: str | None = text_column()
    reason: str | None = text_column()
    details_json: str = text_column()
    before: str = text_column()
    hash: str = text_column()


class OperatorSessions(SQLModel, table=True):
    """Logins to the console, by the SHA-256 of what the browser holds."""

    id: str = Field(primary_key=True, sa_type=Text)
    token_sha256: str = Field(sa_type=Text, unique=True)
    created_at: int = big_column()
    last_seen_at: int = big_column()
    expires_at: int = big_column()
    address: str = text_column()
    program: str = text_column()
    revoked_at: int | None = big_column()


class OperatorFactors(SQLModel, table=True):
    """What the operator proves besides the passcode, or in its place: `totp` and `passkey`; `data` is sealed."""

    id: str = Field(primary_key=True, sa_type=Text)
    kind: str = text_column()
    name: str = text_column()
    data: bytes = Field(sa_type=LargeBinary)
    counter: int = big_column(0)
    created_at: int = big_column()
    last_used_at: int | None = big_column()


class Billing(SQLModel, table=True):
    """What an account pays with, where upgrades are bought: the payment service's ids and states."""

    __table_args__ = (Index("billing_customer", "customer_id"),)

    account_no: int = Field(primary_key=True, sa_type=BigInteger, foreign_key="accounts.no")
    customer_id: str | None = text_column()
    subscription_id: str | None = text_column()
    status: str | None = text_column()
    target_tier: str | None = text_column()
    updated_at: int = big_column()


class BillingEvents(SQLModel, table=True):
    """Events of the payment service that were acted on, so that each is once."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    id: str = Field(primary_key=True, sa_type=Text)
    received_at: int = big_column()
