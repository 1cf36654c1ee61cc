"""Tables of what is told to programs: webhooks with their deliveries, and how far readers of the event log are."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

from daimon_mcp.store.columns import auto_key_column, big_column, key_column, text_column


class Webhooks(SQLModel, table=True):
    """Where events of an account, or of one of its inboxes, are posted to.

    `events` are the names, each between two spaces, or "" for all. `secret` is sealed under a key derived from the
    master key; `old_secret` signs beside it until `old_secret_until`. `status` is active, unhealthy or disabled;
    `failures` counts in a row, since `failing_since`; nothing is sent before `retry_at`.
    """

    __table_args__ = (
        Index("webhooks_account", "account_no", "inbox_no", "no"),
        Index(
            "webhooks_client_id",
            "account_no",
            "client_id",
            unique=True,
            sqlite_where=text("client_id IS NOT NULL"),
            postgresql_where=text("client_id IS NOT NULL"),
        ),
    )

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    inbox_no: int | None = big_column()
    client_id: str | None = text_column()
    url: str = text_column()
    description: str = text_column()
    events: str = text_column()
    secret: bytes = Field(sa_type=LargeBinary)
    old_secret: bytes | None = Field(sa_type=LargeBinary)
    old_secret_until: int | None = big_column()
    status: str = text_column()
    disabled_why: str | None = text_column()
    failures: int = big_column(0)
    failing_since: int | None = big_column()
    retry_at: int = big_column(0)
    last_delivered_at: int | None = big_column()
    last_error: str | None = text_column()
    created_at: int = big_column()
    updated_at: int = big_column()
    deleted_at: int | None = big_column()


class HookDeliveries(SQLModel, table=True):
    """One event for one webhook, made in the transaction that the event tells of.

    `lane` is what order is kept within: the inbox, 0 for what is about the whole account, -1 for what somebody asked to
    be sent again. `state` is waiting, delivered, failed (given up) or dropped (the webhook was deleted). `attempts` and
    `next_attempt_at` are on record before an attempt begins.
    """

    __table_args__ = (
        Index("hookdeliveries_webhook", "webhook_no", "no"),
        Index(
            "hookdeliveries_lane",
            "webhook_no",
            "lane",
            "no",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("hookdeliveries_finished", "finished_at"),
    )

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    webhook_no: int = Field(sa_type=BigInteger, foreign_key="webhooks.no")
    event_seq: int = Field(sa_type=BigInteger, foreign_key="events.seq")
    lane: int = big_column(0)
    state: str = text_column()
    attempts: int = big_column(0)
    next_attempt_at: int = big_column()
    created_at: int = big_column()
    finished_at: int | None = big_column()


class HookAttempts(SQLModel, table=True):
    """One POST of a delivery: what was answered, as far as it is kept. `status` is None when nothing came back."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    delivery_no: int = key_column()
    n: int = key_column()
    started_at: int = big_column()
    ended_at: int | None = big_column()
    status: int | None = big_column()
    error: str | None = text_column()
    request_json: str = text_column()
    response_json: str | None = text_column()


class Consumers(SQLModel, table=True):
    """How far a named reader of an account's events has acknowledged them; `inbox_no` 0 is for the whole account."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: int = key_column()
    inbox_no: int = key_column()
    name: str = Field(primary_key=True, sa_type=Text)
    acked_seq: int = big_column(0)
    updated_at: int = big_column()
