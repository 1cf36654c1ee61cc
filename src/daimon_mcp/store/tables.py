"""The schema: one SQLModel class a table. The truth for migrations, statements and edge types.

Times are epoch µs in BIGINT. Booleans are SMALLINT. JSON columns hold what is only ever shown, never queried.
`messages.seq` is `inbox_no << 40 | n`: primary key, disk clustering, search scope and cursor in one value.
Importing this module loads SQLAlchemy; at run time only its compiled texts (`compiled.py`) are needed.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from daimon_mcp.store.columns import (
    auto_key_column,
    big_column,
    key_column,
    named_column,
    small_column,
    text_column,
)


class Meta(SQLModel, table=True):
    """Single facts about this store: `master_key_check`, `passcode_hash`, `local_account`, …"""

    key: str = Field(primary_key=True, sa_type=Text)
    value: str = text_column()


class Accounts(SQLModel, table=True):
    """Who owns inboxes. `kind` is `agent`, or `operator` for the one that postmaster@ reaches."""

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    kind: str = text_column()
    tier: str = text_column()
    status: str = text_column()
    smtp_version: int = big_column(1)
    created_at: int = big_column()
    smtp_rotated_at: int | None = big_column()
    # Sending was stopped because of what the account's mail programs did, until the operator clears it.
    sending_stopped_at: int | None = big_column()
    sending_stopped_why: str | None = text_column()


class Keys(SQLModel, table=True):
    """Hashed keys; the key itself is shown once and kept nowhere."""

    __table_args__ = (
        Index("keys_account", "account_no"),
        Index(
            "keys_expiring",
            "expires_at",
            sqlite_where=text("expires_at IS NOT NULL AND revoked_at IS NULL"),
            postgresql_where=text("expires_at IS NOT NULL AND revoked_at IS NULL"),
        ),
    )

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    inbox_no: int | None = big_column()
    sha256: str = Field(sa_type=Text, unique=True)
    hint: str = text_column()
    name: str = text_column()
    permissions_json: str | None = text_column()
    created_at: int = big_column()
    last_used_at: int | None = big_column()
    expires_at: int | None = big_column()
    revoked_at: int | None = big_column()
    untrusted_at: int | None = big_column()  # when its holder last read what a stranger wrote


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

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    address: str = text_column()
    display_name: str = text_column()
    status: str = text_column()
    metadata_json: str = Field(sa_type=Text)
    client_id: str | None = text_column()
    next_n: int = big_column(1)
    change_seq: int = big_column(0)
    message_count: int = big_column(0)
    unread_count: int = big_column(0)
    thread_count: int = big_column(0)
    storage_bytes: int = big_column(0)
    last_received_at: int | None = big_column()
    created_at: int = big_column()
    deleted_at: int | None = big_column()
    # What the operator lets the inbox do by itself (domain/oversight.py).
    oversight: str = named_column("autonomous")
    after_untrusted: str = named_column("allow")
    paused: int = small_column()


class Mailboxes(SQLModel, table=True):
    """IMAP mailboxes inside an inbox: INBOX, Sent, Drafts, Trash, Spam, Scheduled."""

    __table_args__ = (UniqueConstraint("inbox_no", "name", name="mailboxes_name"),)

    no: int | None = auto_key_column()
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    name: str = text_column()
    special_use: str | None = text_column()
    uidvalidity: int = big_column()
    uidnext: int = big_column(1)
    highestmodseq: int = big_column(0)
    total: int = big_column(0)
    unseen: int = big_column(0)


class Expunged(SQLModel, table=True):
    """Tombstones for QRESYNC (RFC 7162): a UID that left a mailbox, and when."""

    __table_args__ = (
        Index("expunged_modseq", "mailbox_no", "modseq"),
        {"sqlite_with_rowid": False},
    )

    mailbox_no: int = key_column()
    uid: int = key_column()
    modseq: int = big_column()


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

    seq: int = key_column()
    id: str = Field(sa_type=Text, unique=True)
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    mailbox_no: int = Field(sa_type=BigInteger, foreign_key="mailboxes.no")
    uid: int = big_column()
    modseq: int = big_column()
    thread_seq: int = Field(sa_type=BigInteger, foreign_key="threads.seq")
    direction: str = text_column()
    status: str = text_column()
    kind: str = text_column()
    message_id: str | None = text_column()
    in_reply_to: str | None = text_column()
    references_json: str = text_column()
    from_address: str = text_column()
    from_name: str = text_column()
    to_json: str = text_column()
    cc_json: str = text_column()
    bcc_json: str = text_column()
    reply_to_json: str = text_column()
    mail_from: str | None = text_column()
    tag: str | None = text_column()
    subject: str = text_column()
    preview: str = text_column()
    labels_json: str = text_column()
    has_attachments: int = small_column()
    seen: int = small_column()
    answered: int = small_column()
    flagged: int = small_column()
    size: int = big_column()
    est_tokens: int = big_column()
    blob_hash: str = text_column()
    draft_id: str | None = text_column()
    date: int | None = big_column()
    received_at: int = big_column()
    sent_at: int | None = big_column()
    send_at: int | None = big_column()
    deleted_at: int | None = big_column()
    purge_at: int | None = big_column()
    # In Trash or Spam: lists, counters, threads and waits leave it out unless they are asked for it.
    aside: int = small_column()
    hold_reason: str | None = text_column()
    linked_by: str | None = text_column()
    new_participant: int = small_column()
    # Where the inbox's log of changes says that it came, or came out of quarantine.
    came_n: int = big_column(0)


class Bodies(SQLModel, table=True):
    """What was read out of a message at arrival: texts for agents, ENVELOPE and structure for IMAP."""

    seq: int = key_column()
    text: str = text_column()
    reply_text: str = text_column()
    html: bytes | None = Field(default=None, sa_type=LargeBinary)
    links_json: str = text_column()
    warnings_json: str = text_column()
    authentication_json: str = text_column()
    header_length: int = big_column()
    envelope_json: str = text_column()
    structure_json: str = text_column()
    # What the reading rules found (codes, reply facts, hidden text, invitation, bounce), and which rules they were.
    reading_json: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "{}"})
    rules_version: int = big_column(0)


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

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    seq: int = Field(sa_type=BigInteger, foreign_key="messages.seq")
    part: str = text_column()
    filename: str = text_column()
    content_type: str = text_column()
    content_id: str | None = text_column()
    disposition: str = text_column()
    size: int = big_column()
    body_offset: int = big_column()
    body_length: int = big_column()
    sha256: str = text_column()
    text: str | None = text_column()
    text_status: str | None = text_column()
    text_tries: int = small_column()
    text_facts_json: str | None = text_column()


class Uploads(SQLModel, table=True):
    """Files handed over for sending. Without a `blob_hash` one is expected at the URL whose token this hash is of."""

    __table_args__ = (Index("uploads_account", "account_no", "no"), Index("uploads_expiry", "expires_at"))

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    inbox_no: int | None = big_column()
    filename: str = text_column()
    content_type: str = text_column()
    size: int | None = big_column()
    blob_hash: str | None = text_column()
    token_sha256: str | None = Field(default=None, sa_type=Text, unique=True)
    created_at: int = big_column()
    expires_at: int = big_column()


class Lists(SQLModel, table=True):
    """Who may or may not write or be written to. `inbox_no` 0 is the whole account.

    `direction` is receive, send or reply; `kind` allow or block; `entry` an address or a domain, in lower case.
    """

    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: int = key_column()
    inbox_no: int = key_column()
    direction: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(primary_key=True, sa_type=Text)
    entry: str = Field(primary_key=True, sa_type=Text)
    created_at: int = big_column()


class Changes(SQLModel, table=True):
    """What happened in an inbox, in the order of the commits: where cursors point to.

    `what` is new, released, read, unread, labels, moved, trashed, restored, deleted, sent, delivered, bounced, failed,
    thread or text.
    """

    __table_args__ = ({"sqlite_with_rowid": False},)

    inbox_no: int = key_column()
    n: int = key_column()
    message_seq: int = big_column()
    message_id: str = text_column()
    what: str = text_column()
    at: int = big_column()


class Labels(SQLModel, table=True):
    """Labels of messages, for finding; `messages.labels_json` holds the same for showing."""

    __table_args__ = (Index("labels_message", "seq"), {"sqlite_with_rowid": False})

    inbox_no: int = key_column()
    label: str = Field(primary_key=True, sa_type=Text)
    seq: int = key_column()


class Threads(SQLModel, table=True):
    """Conversations inside one inbox."""

    __table_args__ = (
        Index("threads_inbox", "inbox_no", "last_at", "seq"),
        Index("threads_subject", "inbox_no", "base_subject", "last_at"),
    )

    seq: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    subject: str = text_column()
    base_subject: str = text_column()
    participants_json: str = text_column()
    labels_json: str = text_column()
    message_count: int = big_column(0)
    unread_count: int = big_column(0)
    created_at: int = big_column()
    last_at: int = big_column()
    deleted_at: int | None = big_column()
    # The thread this one was split from, because its subject is another and nothing is quoted.
    related_seq: int | None = big_column()
    # The thread that took in this one's messages, once a late parent had shown that both are one conversation.
    merged_into: int | None = big_column()


class Refs(SQLModel, table=True):
    """Every Message-ID a thread knows, its own and those it was told of, so that late parents join."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    inbox_no: int = key_column()
    message_id: str = Field(primary_key=True, sa_type=Text)
    thread_seq: int = Field(sa_type=BigInteger, foreign_key="threads.seq")


class Blobs(SQLModel, table=True):
    """Raw bytes by SHA-256. `data` is null when they lie in a file of the blob folder."""

    hash: str = Field(primary_key=True, sa_type=Text)
    size: int = big_column()
    encoding: str = text_column()
    data: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: int = big_column()


class Drafts(SQLModel, table=True):
    """Unsent mail. A sent draft keeps its row, so that sending it again can say what became of it."""

    __table_args__ = (Index("drafts_inbox", "inbox_no", "no"), Index("drafts_message", "message_no"))

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    kind: str = text_column()
    state: str = text_column()
    source_seq: int | None = big_column()
    content_json: str = text_column()
    send_at: int | None = big_column()
    message_no: int | None = big_column()
    message_id: str | None = text_column()
    client_id: str | None = text_column()
    created_at: int = big_column()
    updated_at: int = big_column()


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

    no: int | None = auto_key_column()
    message_seq: int = Field(sa_type=BigInteger, foreign_key="messages.seq")
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    inbox_no: int = Field(sa_type=BigInteger, foreign_key="inboxes.no")
    state: str = text_column()
    mail_from: str = text_column()
    smtputf8: int = small_column()
    fingerprint: str = text_column()
    recipients: int = big_column()
    counted_at: int | None = big_column()
    counted_day: str | None = text_column()
    counted_month: str | None = text_column()
    send_at: int | None = big_column()
    created_at: int = big_column()
    expires_at: int = big_column()
    # DSN parameters of the submission (RFC 3461): RET and ENVID.
    ret: str | None = text_column()
    envid: str | None = text_column()
    # How it came to us: `tool` or `smtp`.
    origin: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "tool"})
    # The sender was told that it takes long.
    warned_at: int | None = big_column()
    # It leaves with a return path for each recipient: only what comes back to one of them is believed.
    verp: int = small_column()


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

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    queue_no: int = Field(sa_type=BigInteger, foreign_key="queue.no")
    recipient: str = text_column()
    domain: str = text_column()
    transport: str = text_column()
    state: str = text_column()
    attempts: int = big_column(0)
    next_attempt_at: int | None = big_column()
    lease_owner: str | None = text_column()
    lease_until: int | None = big_column()
    last_outcome: str | None = text_column()
    last_code: int | None = big_column()
    last_enhanced: str | None = text_column()
    last_text: str | None = text_column()
    remote: str | None = text_column()
    finished_at: int | None = big_column()
    notify: str | None = text_column()
    orcpt: str | None = text_column()


class Attempts(SQLModel, table=True):
    """One SMTP try for one recipient. Written before dialling; `outcome` null means it never came back.

    `content_at` is on disk before the content ends: a try that was cut off after it may have handed the mail over, one
    without it has not.
    """

    __table_args__ = ({"sqlite_with_rowid": False},)

    delivery_no: int = key_column()
    n: int = key_column()
    started_at: int = big_column()
    ended_at: int | None = big_column()
    outcome: str | None = text_column()
    code: int | None = big_column()
    enhanced: str | None = text_column()
    text: str | None = text_column()
    remote: str | None = text_column()
    tls: str | None = text_column()
    content_at: int | None = big_column()


class Idempotency(SQLModel, table=True):
    """What a `client_id` led to, so that a repeat gets the same answer and nothing is done twice."""

    __table_args__ = (Index("idempotency_created", "created_at"), {"sqlite_with_rowid": False})

    scope: str = Field(primary_key=True, sa_type=Text)
    client_id: str = Field(primary_key=True, sa_type=Text)
    request_sha256: str = text_column()
    object_id: str = text_column()
    response_json: str = text_column()
    created_at: int = big_column()


class Usages(SQLModel, table=True):
    """Sends counted: `d2026-11-21` and `m2026-11`."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: int = key_column()
    period: str = Field(primary_key=True, sa_type=Text)
    used: int = big_column(0)


class Events(SQLModel, table=True):
    """What webhooks will tell, in the order of the commits; written in the transaction it tells of."""

    __table_args__ = (Index("events_account", "account_no", "seq"),)

    seq: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    inbox_no: int | None = big_column()
    type: str = text_column()
    payload_json: str = text_column()
    created_at: int = big_column()


class Approvals(SQLModel, table=True):
    """What an operator is asked: an upgrade or a request. Decided once, by the operator's credential alone."""

    __table_args__ = (
        Index("approvals_open", "account_no", "state"),
        Index(
            "approvals_message",
            "message_seq",
            sqlite_where=text("message_seq IS NOT NULL"),
            postgresql_where=text("message_seq IS NOT NULL"),
        ),
        Index(
            "approvals_held",
            "expires_at",
            sqlite_where=text("kind = 'send' AND state = 'open'"),
            postgresql_where=text("kind = 'send' AND state = 'open'"),
        ),
    )

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    kind: str = text_column()
    state: str = text_column()
    jti: str = Field(sa_type=Text, unique=True)
    target_tier: str | None = text_column()
    reason: str = text_column()
    context_json: str = text_column()
    action_label: str = text_column()
    comment: str | None = text_column()
    decided_by: str | None = text_column()
    created_at: int = big_column()
    expires_at: int = big_column()
    decided_at: int | None = big_column()
    # Of held mail: which, and why it was held.
    message_seq: int | None = big_column()
    details_json: str = named_column("{}")
    requested_by: str | None = text_column()


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

    no: int | None = auto_key_column()
    id: str = text_column()
    origin: str = text_column()
    account_no: int | None = big_column()
    inbox_no: int | None = big_column()
    message_id: str | None = text_column()
    fingerprint: str | None = text_column()
    # Sends counted for a submission, as in `queue`.
    recipients: int = big_column(0)
    counted_at: int | None = big_column()
    counted_day: str | None = text_column()
    counted_month: str | None = text_column()
    envelope_json: str = text_column()
    peer_json: str = text_column()
    size: int = big_column()
    data: bytes | None = Field(default=None, sa_type=LargeBinary)
    file: str | None = text_column()
    received_at: int = big_column()
    tries: int = small_column()
    failed: int = small_column()


class Suppressions(SQLModel, table=True):
    """Addresses an account no longer writes to, because mail to them bounced for good or was complained about."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    account_no: int = key_column()
    address: str = Field(primary_key=True, sa_type=Text)
    why: str = text_column()
    reply: str = text_column()
    message_id: str | None = text_column()
    created_at: int = big_column()


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

    no: int | None = auto_key_column()
    id: str = Field(sa_type=Text, unique=True)
    account_no: int = Field(sa_type=BigInteger, foreign_key="accounts.no")
    name: str = text_column()
    status: str = text_column()
    token: str = text_column()
    checks_json: str = text_column()
    created_at: int = big_column()
    checked_at: int | None = big_column()
    verified_at: int | None = big_column()
    deleted_at: int | None = big_column()


class DkimKeys(SQLModel, table=True):
    """Signing keys of a domain. `private` is encrypted under the master key, so that the store alone gives none away.

    `seen_at` is when the public half was first found in the DNS.
    """

    __table_args__ = (UniqueConstraint("domain", "selector", name="dkimkeys_selector"),)

    no: int | None = auto_key_column()
    domain: str = text_column()
    selector: str = text_column()
    algorithm: str = text_column()
    private: bytes = Field(sa_type=LargeBinary)
    public: str = text_column()
    created_at: int = big_column()
    seen_at: int | None = big_column()
    retired_at: int | None = big_column()


class StsPolicies(SQLModel, table=True):
    """MTA-STS policies as fetched (RFC 8461 §3.2), so that a restart does not forget what a domain has promised."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    domain: str = Field(primary_key=True, sa_type=Text)
    policy_json: str = text_column()
    updated_at: int = big_column()


class Upstreams(SQLModel, table=True):
    """How far each mailbox elsewhere has been read; moved on in the transaction that takes its mail in.

    `since` is when it was first read, or 0. Mail of before is not wanted; should the mailbox number its mail anew, that
    is mail up to `old_uid` with an older date.
    """

    name: str = Field(primary_key=True, sa_type=Text)
    uidvalidity: int = big_column()
    last_uid: int = big_column()
    since: int = big_column()
    old_uid: int = big_column(0)
    updated_at: int = big_column()


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
    uidvalidity: int = big_column()
    uid: int = big_column()
    pending: int = small_column()
    fetched_at: int = big_column()


class Ingested(SQLModel, table=True):
    """What a message handed in over HTTP was answered with, so that a repeat is answered alike and taken once.

    `name` is `key:` with the caller's own, or `sha256:` with the digest of bytes and recipients, which `fingerprint`
    is in either case.
    """

    __table_args__ = (Index("ingested_created", "created_at"), {"sqlite_with_rowid": False})

    account_no: int = key_column()
    name: str = Field(primary_key=True, sa_type=Text)
    fingerprint: str = text_column()
    response_json: str = text_column()
    created_at: int = big_column()
