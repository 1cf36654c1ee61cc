"""Rows of messages: placing them in a mailbox, moving them, counting them, reading them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from daimon_mcp.domain.ids import new_id
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import threads
from daimon_mcp.store.blobs import Blobs, PreparedBlob
from daimon_mcp.store.database import Database, Row, Transaction

SEQ_BITS = 40
LAST_SEQ = (1 << 62) - 1

Person = dict[str, str]  # {"email": …, "name": …}


def first_seq(inbox_no: int) -> int:
    """The lowest sequence number an inbox can have."""
    return inbox_no << SEQ_BITS


def last_seq(inbox_no: int) -> int:
    """Above every sequence number an inbox can have."""
    return (inbox_no + 1) << SEQ_BITS


@dataclass(frozen=True, slots=True)
class NewAttachment:
    """Where one attachment lies in the raw bytes."""

    part: str
    filename: str
    content_type: str
    content_id: str | None
    disposition: str
    size: int
    offset: int
    length: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is known of a message from its bytes alone; shared by every copy of it."""

    blob: PreparedBlob
    message_id: str | None
    in_reply_to: str | None
    references: tuple[str, ...]
    from_: Person
    to: Sequence[Person]
    cc: Sequence[Person]
    reply_to: Sequence[Person]
    subject: str
    base_subject: str
    preview: str
    text: str
    reply_text: str
    html: bytes | None
    links: Sequence[Any]
    warnings: Sequence[str]
    header_length: int
    envelope: Any
    structure: Any
    attachments: Sequence[NewAttachment]
    est_tokens: int
    kind: str
    date: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """One copy of a message, to be placed in an inbox."""

    id: str
    inbox_no: int
    mailbox: str
    direction: str
    status: str
    content: Content
    seen: bool
    received_at: int
    bcc: Sequence[Person] = ()
    mail_from: str | None = None
    tag: str | None = None
    labels: Sequence[str] = ()
    authentication: dict[str, Any] = field(default_factory=dict[str, Any])
    draft_id: str | None = None
    sent_at: int | None = None
    send_at: int | None = None
    thread_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a message came to stand."""

    seq: int
    thread_id: str


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as lists show it."""

    seq: int
    id: str
    inbox_no: int
    inbox_id: str
    thread_id: str
    mailbox: str
    direction: str
    status: str
    kind: str
    message_id: str | None
    in_reply_to: str | None
    references: tuple[str, ...]
    from_: Person
    to: list[Person]
    cc: list[Person]
    bcc: list[Person]
    reply_to: list[Person]
    tag: str | None
    subject: str
    preview: str
    labels: list[str]
    has_attachments: bool
    seen: bool
    size: int
    est_tokens: int
    blob_hash: str
    draft_id: str | None
    date: int | None
    received_at: int
    sent_at: int | None
    send_at: int | None
    deleted_at: int | None
    thread_seq: int
    mailbox_no: int
    uid: int


def message_of(row: Row) -> StoredMessage:
    """A row of the message statements as a StoredMessage."""
    (
        seq, id_, inbox_no, inbox_id, thread_id, mailbox, direction, status, kind, message_id, in_reply_to, references,
        from_address, from_name, to, cc, bcc, reply_to, tag, subject, preview, labels, has_attachments, seen, size,
        est_tokens, blob_hash, draft_id, date, received_at, sent_at, send_at, deleted_at, thread_seq, mailbox_no, uid,
    ) = row  # fmt: skip
    return StoredMessage(
        seq, id_, inbox_no, inbox_id, thread_id, mailbox, direction, status, kind, message_id, in_reply_to,
        tuple(orjson.loads(references)), {"email": from_address, "name": from_name}, orjson.loads(to), orjson.loads(cc),
        orjson.loads(bcc), orjson.loads(reply_to), tag, subject, preview, orjson.loads(labels), bool(has_attachments),
        bool(seen), size, est_tokens, blob_hash, draft_id, date, received_at, sent_at, send_at, deleted_at,
        thread_seq, mailbox_no, uid,
    )  # fmt: skip


def _dump(value: object) -> str:
    return orjson.dumps(value, default=tuple).decode()


def place(tx: Transaction, new: NewMessage) -> Placed:
    """Insert a message with everything that belongs to it and every counter it moves."""
    content = new.content
    unseen = 0 if new.seen else 1
    n: int = tx.scalar(sql.inbox_next_n, inbox_no=new.inbox_no)
    seq = first_seq(new.inbox_no) | n
    mailbox_row = tx.one(sql.mailbox_take_uid, inbox_no=new.inbox_no, name=new.mailbox, unseen=unseen)
    assert mailbox_row is not None
    mailbox_no, uid, modseq = mailbox_row
    Blobs.put(tx, content.blob, new.received_at)
    thread_seq, thread_id, one_more = threads.join(
        tx,
        inbox_no=new.inbox_no,
        forced=new.thread_seq,
        message_id=content.message_id,
        parents=(*reversed(content.references), *((content.in_reply_to,) if content.in_reply_to else ())),
        subject=content.subject,
        base_subject=content.base_subject,
        people=[content.from_, *content.to, *content.cc],
        unread=unseen,
        at=new.received_at,
    )
    tx.run(
        sql.message_insert,
        seq=seq,
        id=new.id,
        inbox_no=new.inbox_no,
        mailbox_no=mailbox_no,
        uid=uid,
        modseq=modseq,
        thread_seq=thread_seq,
        direction=new.direction,
        status=new.status,
        kind=content.kind,
        message_id=content.message_id,
        in_reply_to=content.in_reply_to,
        references_json=_dump(content.references),
        from_address=content.from_["email"],
        from_name=content.from_["name"],
        to_json=_dump(content.to),
        cc_json=_dump(content.cc),
        bcc_json=_dump(new.bcc),
        reply_to_json=_dump(content.reply_to),
        mail_from=new.mail_from,
        tag=new.tag,
        subject=content.subject,
        preview=content.preview,
        labels_json=_dump(new.labels),
        has_attachments=1 if content.attachments else 0,
        seen=1 - unseen,
        size=content.blob.size,
        est_tokens=content.est_tokens,
        blob_hash=content.blob.hash,
        draft_id=new.draft_id,
        date=content.date,
        received_at=new.received_at,
        sent_at=new.sent_at,
        send_at=new.send_at,
    )
    tx.run(
        sql.body_insert,
        seq=seq,
        text=content.text,
        reply_text=content.reply_text,
        html=content.html,
        links_json=_dump(content.links),
        warnings_json=_dump(content.warnings),
        authentication_json=_dump(new.authentication),
        header_length=content.header_length,
        envelope_json=_dump(content.envelope),
        structure_json=_dump(content.structure),
    )
    for each in content.attachments:
        tx.run(
            sql.attachment_insert,
            id=new_id("att", new.received_at),
            seq=seq,
            part=each.part,
            filename=each.filename,
            content_type=each.content_type,
            content_id=each.content_id,
            disposition=each.disposition,
            size=each.size,
            body_offset=each.offset,
            body_length=each.length,
            sha256=each.sha256,
        )
    for label in new.labels:
        tx.run(sql.label_insert, inbox_no=new.inbox_no, label=label, seq=seq)
    tx.run(
        sql.inbox_count,
        inbox_no=new.inbox_no,
        messages=1,
        unread=unseen,
        threads=int(one_more),
        bytes=content.blob.size,
        received_at=new.received_at if new.direction == "inbound" else None,
    )
    return Placed(seq, thread_id)


def move(tx: Transaction, message: StoredMessage, mailbox: str) -> None:
    """Put a message into another mailbox of its inbox: a new UID there, a tombstone here."""
    unseen = 0 if message.seen else 1
    gone: int = tx.scalar(sql.mailbox_lose, mailbox_no=message.mailbox_no, unseen=unseen)
    tx.run(sql.expunged_insert, mailbox_no=message.mailbox_no, uid=message.uid, modseq=gone)
    row = tx.one(sql.mailbox_take_uid, inbox_no=message.inbox_no, name=mailbox, unseen=unseen)
    assert row is not None
    tx.run(sql.message_move, seq=message.seq, to_mailbox_no=row[0], to_uid=row[1], to_modseq=row[2])


def see(tx: Transaction, message: StoredMessage) -> bool:
    """Mark as read; whether it was unread."""
    row = tx.one(sql.message_unseen, seq=message.seq)
    if row is None:
        return False
    modseq = tx.scalar(sql.mailbox_touch, mailbox_no=row[0], unseen=-1)
    tx.one(sql.message_see, seq=message.seq, new_modseq=modseq)
    threads.count(tx, row[1], unread=-1)
    tx.run(sql.inbox_count, inbox_no=message.inbox_no, messages=0, unread=-1, threads=0, bytes=0, received_at=None)
    return True


def remove(tx: Transaction, message: StoredMessage, *, status: str, now: int) -> bool:
    """Soft-delete: hidden from lists and counters, out of its mailbox with a tombstone; False if it was already."""
    if tx.one(sql.message_delete, seq=message.seq, new_status=status, now=now) is None:
        return False
    unread = 0 if message.seen else 1
    gone: int = tx.scalar(sql.mailbox_lose, mailbox_no=message.mailbox_no, unseen=unread)
    tx.run(sql.expunged_insert, mailbox_no=message.mailbox_no, uid=message.uid, modseq=gone)
    left = threads.count(tx, message.thread_seq, messages=-1, unread=-unread)
    tx.run(
        sql.inbox_count,
        inbox_no=message.inbox_no,
        messages=-1,
        unread=-unread,
        threads=0 if left else -1,
        bytes=-message.size,
        received_at=None,
    )
    return True


def in_tx(tx: Transaction, seq: int) -> StoredMessage:
    """The message, inside a write."""
    row = tx.one(sql.message_by_seq, seq=seq)
    assert row is not None
    return message_of(row)


async def by_id(database: Database, id: str) -> StoredMessage | None:
    """A message by its public id, deleted or not."""
    row = await database.one(sql.message_by_id, id=id)
    return None if row is None else message_of(row)
