"""The schema: one SQLModel class a table. The truth for migrations, statements and edge types.

Times are epoch µs in BIGINT. Booleans are SMALLINT. JSON columns hold what is only ever shown, never queried.
`messages.seq` is `inbox_no << 40 | n`: primary key, disk clustering, search scope and cursor in one value.
Importing this module loads SQLAlchemy; at run time only its compiled texts (`compiled.py`) are needed.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, SmallInteger, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

_KEY = BigInteger().with_variant(Integer, "sqlite")


def _auto_key() -> Any:
    return Field(default=None, primary_key=True, sa_type=_KEY)


def _key() -> Any:
    return Field(primary_key=True, sa_type=_KEY, sa_column_kwargs={"autoincrement": False})


def _big(default: int | None = None) -> Any:
    kwargs: dict[str, Any] = {} if default is None else {"server_default": text(str(default))}
    return Field(sa_type=BigInteger, sa_column_kwargs=kwargs)


def _small(default: int = 0) -> Any:
    return Field(sa_type=SmallInteger, sa_column_kwargs={"server_default": text(str(default))})


def _text() -> Any:
    return Field(sa_type=Text)


class Meta(SQLModel, table=True):
    """Single facts about this store: `master_key_check`, `passcode_hash`, `local_account`, …"""

    key: str = Field(primary_key=True, sa_type=Text)
    value: str = _text()


class Accounts(SQLModel, table=True):
    """Who owns inboxes. `kind` is `agent`, or `operator` for the one that postmaster@ reaches."""

    no: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    kind: str = _text()
    tier: str = _text()
    status: str = _text()
    smtp_version: int = _big(1)
    created_at: int = _big()
    smtp_rotated_at: int | None = _big()
    # Sending was stopped because of what the account's mail programs did, until the operator clears it.
    sending_stopped_at: int | None = _big()
    sending_stopped_why: str | None = _text()


class Keys(SQLModel, table=True):
    """Hashed keys; the key itself is shown once and kept nowhere."""

    __table_args__ = (Index("keys_account", "account_no"),)

    no: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    inbox_no: int | None = _big()
    sha256: str = Field(sa_type=Text, unique=True)
    hint: str = _text()
    name: str = _text()
    permissions_json: str | None = _text()
    created_at: int = _big()
    last_used_at: int | None = _big()
    expires_at: int | None = _big()
    revoked_at: int | None = _big()


class Inboxes(SQLModel, table=True):
    """Addresses agents own, with counters kept in the transaction that changes them."""

    __table_args__ = (
        Index(
            "inboxes_live_address",
            "address",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("inboxes_address_deleted", "address", "deleted_at"),
        Index("inboxes_account", "account_no", "no"),
        Index(
            "inboxes_client_id",
            "account_no",
            "client_id",
            unique=True,
            sqlite_where=text("client_id IS NOT NULL"),
            postgresql_where=text("client_id IS NOT NULL"),
        ),
    )

    no: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    address: str = _text()
    display_name: str = _text()
    status: str = _text()
    metadata_json: str = Field(sa_type=Text)
    client_id: str | None = _text()
    next_n: int = _big(1)
    change_seq: int = _big(0)
    message_count: int = _big(0)
    unread_count: int = _big(0)
    thread_count: int = _big(0)
    storage_bytes: int = _big(0)
    last_received_at: int | None = _big()
    created_at: int = _big()
    deleted_at: int | None = _big()


class Mailboxes(SQLModel, table=True):
    """IMAP mailboxes inside an inbox: INBOX, Sent, Drafts, Trash, Spam, Scheduled."""

    __table_args__ = (UniqueConstraint("inbox_no", "name", name="mailboxes_name"),)

    no: int | None = _auto_key()
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    name: str = _text()
    special_use: str | None = _text()
    uidvalidity: int = _big()
    uidnext: int = _big(1)
    highestmodseq: int = _big(0)
    total: int = _big(0)
    unseen: int = _big(0)


class Expunged(SQLModel, table=True):
    """Tombstones for QRESYNC (RFC 7162): a UID that left a mailbox, and when."""

    __table_args__ = (
        Index("expunged_modseq", "mailbox_no", "modseq"),
        {"sqlite_with_rowid": False},
    )

    mailbox_no: int = _key()
    uid: int = _key()
    modseq: int = _big()


class Messages(SQLModel, table=True):
    """Stored mail: immutable bytes (a blob) and metadata, standing in one mailbox with a UID and a MODSEQ."""

    __table_args__ = (
        Index("messages_uid", "mailbox_no", "uid", unique=True),
        Index("messages_modseq", "mailbox_no", "modseq"),
        Index("messages_mailbox", "mailbox_no", "seq"),
        Index("messages_thread", "thread_seq", "seq"),
        Index("messages_message_id", "inbox_no", "message_id"),
        Index(
            "messages_unread",
            "inbox_no",
            "seq",
            sqlite_where=text("seen = 0 AND deleted_at IS NULL"),
            postgresql_where=text("seen = 0 AND deleted_at IS NULL"),
        ),
        Index(
            "messages_purge",
            "purge_at",
            sqlite_where=text("purge_at IS NOT NULL"),
            postgresql_where=text("purge_at IS NOT NULL"),
        ),
        Index("messages_blob", "blob_hash"),
    )

    seq: int = _key()
    id: str = Field(sa_type=Text, unique=True)
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    mailbox_no: int = Field(sa_type=BigInteger, foreign_key="mailboxes.no")
    uid: int = _big()
    modseq: int = _big()
    thread_seq: int = Field(sa_type=BigInteger, foreign_key="threads.seq")
    direction: str = _text()
    status: str = _text()
    kind: str = _text()
    message_id: str | None = _text()
    in_reply_to: str | None = _text()
    references_json: str = _text()
    from_address: str = _text()
    from_name: str = _text()
    to_json: str = _text()
    cc_json: str = _text()
    bcc_json: str = _text()
    reply_to_json: str = _text()
    mail_from: str | None = _text()
    tag: str | None = _text()
    subject: str = _text()
    preview: str = _text()
    labels_json: str = _text()
    has_attachments: int = _small()
    seen: int = _small()
    answered: int = _small()
    flagged: int = _small()
    size: int = _big()
    est_tokens: int = _big()
    blob_hash: str = _text()
    draft_id: str | None = _text()
    date: int | None = _big()
    received_at: int = _big()
    sent_at: int | None = _big()
    send_at: int | None = _big()
    deleted_at: int | None = _big()
    purge_at: int | None = _big()
    # In Trash or Spam: lists, counters, threads and waits leave it out unless they are asked for it.
    aside: int = _small()
    hold_reason: str | None = _text()
    linked_by: str | None = _text()
    new_participant: int = _small()
    # Where the inbox's log of changes says that it came, or came out of quarantine.
    came_n: int = _big(0)


class Bodies(SQLModel, table=True):
    """What was read out of a message at arrival: texts for agents, ENVELOPE and structure for IMAP."""

    seq: int = _key()
    text: str = _text()
    reply_text: str = _text()
    html: bytes | None = Field(default=None, sa_type=LargeBinary)
    links_json: str = _text()
    warnings_json: str = _text()
    authentication_json: str = _text()
    header_length: int = _big()
    envelope_json: str = _text()
    structure_json: str = _text()
    # What the reading rules found (codes, reply facts, hidden text, invitation, bounce), and which rules they were.
    reading_json: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "{}"})
    rules_version: int = _big(0)


class Attachments(SQLModel, table=True):
    """Pointers into the raw message: part path, offset and length. Bytes are never copied.

    `text_status` is null when no text can be got out of it, `pending` until somebody has tried, then how that went;
    `text_tries` is counted before each try, so that a file which kills its reader is not read for ever.
    """

    __table_args__ = (
        Index("attachments_message", "seq"),
        Index(
            "attachments_pending",
            "no",
            sqlite_where=text("text_status = 'pending'"),
            postgresql_where=text("text_status = 'pending'"),
        ),
    )

    no: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    seq: int = Field(sa_type=BigInteger, foreign_key="messages.seq")
    part: str = _text()
    filename: str = _text()
    content_type: str = _text()
    content_id: str | None = _text()
    disposition: str = _text()
    size: int = _big()
    body_offset: int = _big()
    body_length: int = _big()
    sha256: str = _text()
    text: str | None = _text()
    text_status: str | None = _text()
    text_tries: int = _small()
    text_facts_json: str | None = _text()


class Uploads(SQLModel, table=True):
    """Files handed over for sending. Without a `blob_hash` one is expected at the URL whose token this hash is of."""

    __table_args__ = (Index("uploads_account", "account_no", "no"), Index("uploads_expiry", "expires_at"))

    no: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    inbox_no: int | None = _big()
    filename: str = _text()
    content_type: str = _text()
    size: int | None = _big()
    blob_hash: str | None = _text()
    token_sha256: str | None = Field(default=None, sa_type=Text, unique=True)
    created_at: int = _big()
    expires_at: int = _big()


class Lists(SQLModel, table=True):
    """Who may or may not write or be written to. `inbox_no` 0 is the whole account.

    `direction` is receive, send or reply; `kind` allow or block; `entry` an address or a domain, in lower case.
    """

    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: int = _key()
    inbox_no: int = _key()
    direction: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(primary_key=True, sa_type=Text)
    entry: str = Field(primary_key=True, sa_type=Text)
    created_at: int = _big()


class Changes(SQLModel, table=True):
    """What happened in an inbox, in the order of the commits: where cursors point to.

    `what` is new, released, read, unread, labels, moved, trashed, restored, deleted, sent, delivered, bounced, failed,
    thread or text.
    """

    __table_args__ = ({"sqlite_with_rowid": False},)

    inbox_no: int = _key()
    n: int = _key()
    message_seq: int = _big()
    message_id: str = _text()
    what: str = _text()
    at: int = _big()


class Labels(SQLModel, table=True):
    """Labels of messages, for finding; `messages.labels_json` holds the same for showing."""

    __table_args__ = (Index("labels_message", "seq"), {"sqlite_with_rowid": False})

    inbox_no: int = _key()
    label: str = Field(primary_key=True, sa_type=Text)
    seq: int = _key()


class Threads(SQLModel, table=True):
    """Conversations inside one inbox."""

    __table_args__ = (
        Index("threads_inbox", "inbox_no", "last_at", "seq"),
        Index("threads_subject", "inbox_no", "base_subject", "last_at"),
    )

    seq: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    subject: str = _text()
    base_subject: str = _text()
    participants_json: str = _text()
    labels_json: str = _text()
    message_count: int = _big(0)
    unread_count: int = _big(0)
    created_at: int = _big()
    last_at: int = _big()
    deleted_at: int | None = _big()
    # The thread this one was split from, because its subject is another and nothing is quoted.
    related_seq: int | None = _big()
    # The thread that took in this one's messages, once a late parent had shown that both are one conversation.
    merged_into: int | None = _big()


class Refs(SQLModel, table=True):
    """Every Message-ID a thread knows, its own and those it was told of, so that late parents join."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    inbox_no: int = _key()
    message_id: str = Field(primary_key=True, sa_type=Text)
    thread_seq: int = Field(sa_type=BigInteger, foreign_key="threads.seq")


class Blobs(SQLModel, table=True):
    """Raw bytes by SHA-256. `data` is null when they lie in a file of the blob folder."""

    hash: str = Field(primary_key=True, sa_type=Text)
    size: int = _big()
    encoding: str = _text()
    data: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: int = _big()


class Drafts(SQLModel, table=True):
    """Unsent mail. A sent draft keeps its row, so that sending it again can say what became of it."""

    __table_args__ = (Index("drafts_inbox", "inbox_no", "no"), Index("drafts_message", "message_no"))

    no: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    kind: str = _text()
    state: str = _text()
    source_seq: int | None = _big()
    content_json: str = _text()
    send_at: int | None = _big()
    message_no: int | None = _big()
    message_id: str | None = _text()
    client_id: str | None = _text()
    created_at: int = _big()
    updated_at: int = _big()


class Queue(SQLModel, table=True):
    """One outbound message with its envelope. `state` is `waiting`, `scheduled` or `active`."""

    __table_args__ = (
        Index("queue_message", "message_seq", unique=True),
        Index(
            "queue_scheduled",
            "send_at",
            sqlite_where=text("state = 'scheduled'"),
            postgresql_where=text("state = 'scheduled'"),
        ),
        Index("queue_fingerprint", "inbox_no", "fingerprint", "created_at"),
        Index("queue_burst", "account_no", "counted_at"),
        Index("queue_waiting", "account_no", "state"),
    )

    no: int | None = _auto_key()
    message_seq: int = Field(sa_type=BigInteger, foreign_key="messages.seq")
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    state: str = _text()
    mail_from: str = _text()
    smtputf8: int = _small()
    fingerprint: str = _text()
    recipients: int = _big()
    counted_at: int | None = _big()
    counted_day: str | None = _text()
    counted_month: str | None = _text()
    send_at: int | None = _big()
    created_at: int = _big()
    expires_at: int = _big()
    # DSN parameters of the submission (RFC 3461): RET and ENVID.
    ret: str | None = _text()
    envid: str | None = _text()
    # How it came to us: `tool` or `smtp`.
    origin: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "tool"})
    # The sender was told that it takes long.
    warned_at: int | None = _big()
    # It leaves with a return path for each recipient: only what comes back to one of them is believed.
    verp: int = _small()


class Deliveries(SQLModel, table=True):
    """One recipient of a queued message, with its lease and its last answer.

    `state` `held` is the operator's doing. `notify` and `orcpt` are DSN parameters (RFC 3461).
    """

    __table_args__ = (
        Index("deliveries_queue", "queue_no"),
        Index(
            "deliveries_due",
            "next_attempt_at",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
    )

    no: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    queue_no: int = Field(sa_type=BigInteger, foreign_key="queue.no")
    recipient: str = _text()
    domain: str = _text()
    transport: str = _text()
    state: str = _text()
    attempts: int = _big(0)
    next_attempt_at: int | None = _big()
    lease_owner: str | None = _text()
    lease_until: int | None = _big()
    last_outcome: str | None = _text()
    last_code: int | None = _big()
    last_enhanced: str | None = _text()
    last_text: str | None = _text()
    remote: str | None = _text()
    finished_at: int | None = _big()
    notify: str | None = _text()
    orcpt: str | None = _text()


class Attempts(SQLModel, table=True):
    """One SMTP try for one recipient. Written before dialling; `outcome` null means it never came back.

    `content_at` is on disk before the content ends: a try that was cut off after it may have handed the mail over, one
    without it has not.
    """

    __table_args__ = ({"sqlite_with_rowid": False},)

    delivery_no: int = _key()
    n: int = _key()
    started_at: int = _big()
    ended_at: int | None = _big()
    outcome: str | None = _text()
    code: int | None = _big()
    enhanced: str | None = _text()
    text: str | None = _text()
    remote: str | None = _text()
    tls: str | None = _text()
    content_at: int | None = _big()


class Idempotency(SQLModel, table=True):
    """What a `client_id` led to, so that a repeat gets the same answer and nothing is done twice."""

    __table_args__ = (Index("idempotency_created", "created_at"), {"sqlite_with_rowid": False})

    scope: str = Field(primary_key=True, sa_type=Text)
    client_id: str = Field(primary_key=True, sa_type=Text)
    request_sha256: str = _text()
    object_id: str = _text()
    response_json: str = _text()
    created_at: int = _big()


class Usages(SQLModel, table=True):
    """Sends counted: `d2026-11-21` and `m2026-11`."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: int = _key()
    period: str = Field(primary_key=True, sa_type=Text)
    used: int = _big(0)


class Events(SQLModel, table=True):
    """What webhooks will tell, in the order of the commits; written in the transaction it tells of."""

    __table_args__ = (Index("events_account", "account_no", "seq"),)

    seq: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    inbox_no: int | None = _big()
    type: str = _text()
    payload_json: str = _text()
    created_at: int = _big()


class Approvals(SQLModel, table=True):
    """What an operator is asked: an upgrade or a request. Decided once, by the operator's credential alone."""

    __table_args__ = (Index("approvals_open", "account_no", "state"),)

    no: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    kind: str = _text()
    state: str = _text()
    jti: str = Field(sa_type=Text, unique=True)
    target_tier: str | None = _text()
    reason: str = _text()
    context_json: str = _text()
    action_label: str = _text()
    comment: str | None = _text()
    decided_by: str | None = _text()
    created_at: int = _big()
    expires_at: int = _big()
    decided_at: int | None = _big()


class Incoming(SQLModel, table=True):
    """The spool: mail that is acknowledged and durable, and not yet filed; the row goes when it is.

    `origin` is mx, lmtp, http, upstream or smtp (a submission, whose `account_no` and `inbox_no` are known and whose
    `id` becomes the message's). Content is in `data`, or in a `file` of the spool folder. `tries` is counted before
    each try, so that mail which kills its reader is put aside (`failed`) and not read for ever. A number is never used
    again: whoever waits for one must not take later mail for it.
    """

    __table_args__ = (
        Index(
            "incoming_message_id",
            "inbox_no",
            "message_id",
            sqlite_where=text("message_id IS NOT NULL"),
            postgresql_where=text("message_id IS NOT NULL"),
        ),
        Index(
            "incoming_counted",
            "account_no",
            "counted_at",
            sqlite_where=text("account_no IS NOT NULL"),
            postgresql_where=text("account_no IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    no: int | None = _auto_key()
    id: str = _text()
    origin: str = _text()
    account_no: int | None = _big()
    inbox_no: int | None = _big()
    message_id: str | None = _text()
    fingerprint: str | None = _text()
    # Sends counted for a submission, as in `queue`.
    recipients: int = _big(0)
    counted_at: int | None = _big()
    counted_day: str | None = _text()
    counted_month: str | None = _text()
    envelope_json: str = _text()
    peer_json: str = _text()
    size: int = _big()
    data: bytes | None = Field(default=None, sa_type=LargeBinary)
    file: str | None = _text()
    received_at: int = _big()
    tries: int = _small()
    failed: int = _small()


class Suppressions(SQLModel, table=True):
    """Addresses an account no longer writes to, because mail to them bounced for good or was complained about."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: int = _key()
    address: str = Field(primary_key=True, sa_type=Text)
    why: str = _text()
    reply: str = _text()
    message_id: str | None = _text()
    created_at: int = _big()


class Domains(SQLModel, table=True):
    """Domains of accounts. Mail for one is taken, and inboxes made on it, once it is shown to be the account's."""

    __table_args__ = (
        Index(
            "domains_live_name",
            "name",
            unique=True,
            sqlite_where=text("deleted_at IS NULL AND status = 'verified'"),
            postgresql_where=text("deleted_at IS NULL AND status = 'verified'"),
        ),
        Index("domains_account", "account_no", "no"),
    )

    no: int | None = _auto_key()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    name: str = _text()
    status: str = _text()
    token: str = _text()
    checks_json: str = _text()
    created_at: int = _big()
    checked_at: int | None = _big()
    verified_at: int | None = _big()
    deleted_at: int | None = _big()


class DkimKeys(SQLModel, table=True):
    """Signing keys of a domain. `private` is encrypted under the master key, so that the store alone gives none away.

    `seen_at` is when the public half was first found in the DNS.
    """

    __table_args__ = (UniqueConstraint("domain", "selector", name="dkimkeys_selector"),)

    no: int | None = _auto_key()
    domain: str = _text()
    selector: str = _text()
    algorithm: str = _text()
    private: bytes = Field(sa_type=LargeBinary)
    public: str = _text()
    created_at: int = _big()
    seen_at: int | None = _big()
    retired_at: int | None = _big()


class StsPolicies(SQLModel, table=True):
    """MTA-STS policies as fetched (RFC 8461 §3.2), so that a restart does not forget what a domain has promised."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    domain: str = Field(primary_key=True, sa_type=Text)
    policy_json: str = _text()
    updated_at: int = _big()


class Upstreams(SQLModel, table=True):
    """How far each mailbox elsewhere has been read; moved on in the transaction that takes its mail in.

    `since` is when it was first read, or 0. Mail of before is not wanted; should the mailbox number its mail anew, that
    is mail up to `old_uid` with an older date.
    """

    name: str = Field(primary_key=True, sa_type=Text)
    uidvalidity: int = _big()
    last_uid: int = _big()
    since: int = _big()
    old_uid: int = _big(0)
    updated_at: int = _big()


class Fetched(SQLModel, table=True):
    """Mail taken from a mailbox elsewhere, by the SHA-256 of its bytes there, so that new numbers bring it only once.

    `uidvalidity` and `uid` are where it was last seen; `pending` is 1 while something is to be done to it there.
    """

    __table_args__ = (
        Index(
            "fetched_pending",
            "name",
            "uidvalidity",
            "uid",
            sqlite_where=text("pending = 1"),
            postgresql_where=text("pending = 1"),
        ),
        {"sqlite_with_rowid": False},
    )

    name: str = Field(primary_key=True, sa_type=Text)
    digest: str = Field(primary_key=True, sa_type=Text)
    uidvalidity: int = _big()
    uid: int = _big()
    pending: int = _small()
    fetched_at: int = _big()


class Ingested(SQLModel, table=True):
    """What a message handed in over HTTP was answered with, so that a repeat is answered alike and taken once.

    `name` is `key:` with the caller's own, or `sha256:` with the digest of bytes and recipients, which `fingerprint`
    is in either case.
    """

    __table_args__ = (Index("ingested_created", "created_at"), {"sqlite_with_rowid": False})

    account_no: int = _key()
    name: str = Field(primary_key=True, sa_type=Text)
    fingerprint: str = _text()
    response_json: str = _text()
    created_at: int = _big()
