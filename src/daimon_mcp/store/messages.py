"""Rows of messages: placing them in a mailbox, moving them, counting them, reading them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from daimon_mcp.domain.ids import new_id
from daimon_mcp.store import changes, inboxes, search, threads
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.blobs import Blobs, PreparedBlob
from daimon_mcp.store.changes import What
from daimon_mcp.store.database import Database, Row, Transaction

SEQ_BITS = 40
LAST_SEQ = (1 << 62) - 1

MOST_READ = 50  # attachments of one message whose text is read; the others are `skipped`
_AT_ONCE = 50  # attachments whose texts are in memory together

ASIDE = (inboxes.TRASH, inboxes.SPAM)  # mailboxes that lists, counters and waits leave out unless asked for them

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
    has_text: bool = False


@dataclass(frozen=True, slots=True)
class AttachmentText:
    """What came of reading one attachment."""

    no: int
    text: str | None
    status: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is known of a message from its bytes alone; shared by every copy of it.

    `reading` is what the reading rules of `rules_version` found, ready for JSON.
    """

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
    reading: Any
    rules_version: int


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
    hold_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a message came to stand."""

    seq: int
    thread_id: str
    related_thread_id: str | None


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """A message as lists show it. A page of them is read often: it has what is shown and nothing else."""

    seq: int
    id: str
    inbox_id: str
    thread_id: str
    mailbox: str
    direction: str
    status: str
    kind: str
    message_id: str | None
    from_: Person
    to: list[Person]
    cc: list[Person]
    bcc: list[Person]
    tag: str | None
    subject: str
    preview: str
    labels: list[str]
    has_attachments: bool
    seen: bool
    size: int
    est_tokens: int
    received_at: int
    sent_at: int | None
    send_at: int | None
    hold_reason: str | None
    linked_by: str | None
    new_participant: bool


@dataclass(frozen=True, slots=True)
class StoredMessage(ListedMessage):
    """A message with what answering, moving and sending it need to know too."""

    inbox_no: int
    in_reply_to: str | None
    references: tuple[str, ...]
    reply_to: list[Person]
    blob_hash: str
    draft_id: str | None
    date: int | None
    deleted_at: int | None
    thread_seq: int
    mailbox_no: int
    uid: int
    flagged: bool
    answered: bool
    came_n: int


_LISTED = 28  # columns that a row of either kind begins with


def _listed(row: Row) -> tuple[Any, ...]:
    (
        seq, id_, inbox_id, thread_id, mailbox, direction, status, kind, message_id, from_address, from_name, to, cc,
        bcc, tag, subject, preview, labels, has_attachments, seen, size, est_tokens, received_at, sent_at, send_at,
        hold_reason, linked_by, new_participant,
    ) = row[:_LISTED]  # fmt: skip
    return (
        seq, id_, inbox_id, thread_id, mailbox, direction, status, kind, message_id,
        {"email": from_address, "name": from_name}, orjson.loads(to), orjson.loads(cc), orjson.loads(bcc), tag, subject,
        preview, orjson.loads(labels), bool(has_attachments), bool(seen), size, est_tokens, received_at, sent_at,
        send_at, hold_reason, linked_by, bool(new_participant),
    )  # fmt: skip


def listed_of(row: Row) -> ListedMessage:
    """A row of a page of messages."""
    return ListedMessage(*_listed(row))


def message_of(row: Row) -> StoredMessage:
    """A row of the message statements as a StoredMessage."""
    (
        inbox_no, in_reply_to, references, reply_to, blob_hash, draft_id, date, deleted_at, thread_seq, mailbox_no, uid,
        flagged, answered, came_n,
    ) = row[_LISTED : _LISTED + 14]  # fmt: skip
    rest = (
        inbox_no, in_reply_to, tuple(orjson.loads(references)), orjson.loads(reply_to), blob_hash, draft_id, date,
        deleted_at, thread_seq, mailbox_no, uid, bool(flagged), bool(answered), came_n,
    )  # fmt: skip
    values: tuple[Any, ...] = (*_listed(row), *rest)
    return StoredMessage(*values)


def _dump(value: object) -> str:
    return orjson.dumps(value, default=tuple).decode()


def place(tx: Transaction, new: NewMessage) -> Placed:
    """Insert a message with everything that belongs to it and every counter it moves."""
    content = new.content
    unseen = 0 if new.seen else 1
    aside = new.mailbox in ASIDE
    mailbox_row = tx.one(sql.mailbox_take_uid, inbox_no=new.inbox_no, name=new.mailbox, unseen=unseen)
    assert mailbox_row is not None
    mailbox_no, uid, modseq = mailbox_row
    Blobs.put(tx, content.blob, new.received_at)
    joined = threads.join(
        tx,
        threads.Arrival(
            inbox_no=new.inbox_no,
            message_id=content.message_id,
            references=content.references,
            in_reply_to=content.in_reply_to,
            kind=content.kind,
            subject=content.subject,
            base_subject=content.base_subject,
            text=content.text,
            sender=content.from_["email"] if new.direction == "inbound" else None,
            people=[content.from_, *content.to, *content.cc],
            at=new.received_at,
        ),
        forced=new.thread_seq,
        counted=not aside,
        unread=unseen,
    )
    taken = tx.one(
        sql.inbox_take,
        inbox_no=new.inbox_no,
        messages=0 if aside else 1,
        unread=0 if aside else unseen,
        threads=joined.threads,
        bytes=0 if aside else content.blob.size,
        received_at=new.received_at if new.direction == "inbound" and not aside else None,
    )
    assert taken is not None
    seq, came_n = first_seq(new.inbox_no) | taken[0], taken[1]
    changes.write(tx, inbox_no=new.inbox_no, n=came_n, seq=seq, message_id=new.id, what=What.NEW, at=new.received_at)
    tx.run(
        sql.message_insert,
        seq=seq,
        id=new.id,
        inbox_no=new.inbox_no,
        mailbox_no=mailbox_no,
        uid=uid,
        modseq=modseq,
        thread_seq=joined.seq,
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
        aside=int(aside),
        hold_reason=new.hold_reason,
        linked_by=joined.linked_by,
        new_participant=int(joined.new_participant),
        came_n=came_n,
    )
    tx.run(sql.body_insert, seq=seq, authentication_json=_dump(new.authentication), **_body(content))
    _insert_attachments(tx, seq, content.attachments, new.received_at)
    for label in new.labels:
        tx.run(sql.label_insert, inbox_no=new.inbox_no, label=label, seq=seq)
    if new.labels:
        threads.add_labels(tx, joined.seq, new.labels)
    search.add(tx, seq, _searchable(content, new.bcc))
    for moved_seq, moved_id in joined.moved:
        changes.record(
            tx, inbox_no=new.inbox_no, seq=moved_seq, message_id=moved_id, what=What.THREAD, at=new.received_at
        )
    return Placed(seq, joined.id, joined.related_id)


def _body(content: Content) -> dict[str, Any]:
    return {
        "text": content.text,
        "reply_text": content.reply_text,
        "html": content.html,
        "links_json": _dump(content.links),
        "warnings_json": _dump(content.warnings),
        "header_length": content.header_length,
        "envelope_json": _dump(content.envelope),
        "structure_json": _dump(content.structure),
        "reading_json": _dump(content.reading),
        "rules_version": content.rules_version,
    }


def _insert_attachments(tx: Transaction, seq: int, attachments: Sequence[NewAttachment], at: int) -> None:
    readable = 0
    for each in attachments:
        readable += each.has_text
        tx.run(
            sql.attachment_insert,
            id=new_id("att", at),
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
            text_status=None if not each.has_text else "pending" if readable <= MOST_READ else "skipped",
        )


def _searchable(content: Content, bcc: Sequence[Person]) -> search.Indexed:
    return search.Indexed(
        subject=content.subject,
        sender=search.people([content.from_]),
        recipients=search.people([*content.to, *content.cc, *bcc]),
        body=content.text,
        files="\n".join(each.filename for each in content.attachments),
    )


def move(tx: Transaction, message: StoredMessage, mailbox: str, *, what: str, at: int, refresh: bool = True) -> bool:
    """Put a message into another mailbox of its inbox: a new UID there, a tombstone here.

    False if it stands there already or is deleted. Counters follow when it goes to Trash or Spam, or comes back, and so
    do the labels of its thread, unless the caller will `refresh` them for many messages at once.
    """
    row = tx.one(sql.message_now, seq=message.seq)
    assert row is not None
    mailbox_no, uid, thread_seq, seen, was_aside, labels, deleted_at, _ = row
    target = tx.one(sql.mailbox_by_name, inbox_no=message.inbox_no, name=mailbox)
    assert target is not None
    if deleted_at is not None or target[0] == mailbox_no:
        return False
    unseen = 0 if seen else 1
    gone: int = tx.scalar(sql.mailbox_lose, mailbox_no=mailbox_no, unseen=unseen)
    tx.run(sql.expunged_insert, mailbox_no=mailbox_no, uid=uid, modseq=gone)
    taken = tx.one(sql.mailbox_take_uid, inbox_no=message.inbox_no, name=mailbox, unseen=unseen)
    assert taken is not None
    aside = int(mailbox in ASIDE)
    tx.run(
        sql.message_move, seq=message.seq, to_mailbox_no=taken[0], to_uid=taken[1], to_modseq=taken[2], to_aside=aside
    )
    if aside != was_aside:
        _count(tx, message, thread_seq, -1 if aside else 1, unseen)
        if refresh and labels != "[]":
            threads.refresh_labels(tx, thread_seq)
    changes.record(tx, inbox_no=message.inbox_no, seq=message.seq, message_id=message.id, what=what, at=at)
    return True


def release(tx: Transaction, message: StoredMessage, *, at: int) -> bool:
    """Take a held message out of quarantine into INBOX, as if it came now; False if it is not held."""
    if message.hold_reason is None or not move(tx, message, inboxes.INBOX, what=What.MOVED, at=at):
        return False
    n = changes.record(tx, inbox_no=message.inbox_no, seq=message.seq, message_id=message.id, what=What.RELEASED, at=at)
    tx.run(sql.message_release, seq=message.seq, new_came_n=n)
    threads.welcome(tx, message.thread_seq, [message.from_, *message.to, *message.cc], at=at)
    tx.run(sql.inbox_count, inbox_no=message.inbox_no, messages=0, unread=0, threads=0, bytes=0, received_at=at)
    return True


def _count(tx: Transaction, message: StoredMessage, thread_seq: int, sign: int, unseen: int) -> None:
    """Count a message out of its inbox and thread, or in again."""
    left = threads.count(tx, thread_seq, messages=sign, unread=sign * unseen)
    threads_moved = -1 if sign < 0 and not left else 1 if sign > 0 and left == 1 else 0
    tx.run(
        sql.inbox_count,
        inbox_no=message.inbox_no,
        messages=sign,
        unread=sign * unseen,
        threads=threads_moved,
        bytes=sign * message.size,
        received_at=None,
    )


def set_seen(tx: Transaction, message: StoredMessage, seen: bool, *, at: int) -> bool:
    """Mark as read or unread; whether that changed anything."""
    row = tx.one(sql.message_now, seq=message.seq)
    assert row is not None
    mailbox_no, _, thread_seq, was_seen, aside, _, deleted_at, _ = row
    if deleted_at is not None or bool(was_seen) == seen:
        return False
    unread = -1 if seen else 1
    modseq = tx.scalar(sql.mailbox_touch, mailbox_no=mailbox_no, unseen=unread)
    tx.run(sql.message_set_seen, seq=message.seq, new_seen=int(seen), new_modseq=modseq)
    if not aside:
        threads.count(tx, thread_seq, unread=unread)
        tx.run(
            sql.inbox_count, inbox_no=message.inbox_no, messages=0, unread=unread, threads=0, bytes=0, received_at=None
        )
    what = What.READ if seen else What.UNREAD
    changes.record(tx, inbox_no=message.inbox_no, seq=message.seq, message_id=message.id, what=what, at=at)
    return True


def set_labels(
    tx: Transaction, message: StoredMessage, labels: Sequence[str], *, at: int, refresh: bool = True
) -> bool:
    """Give a message exactly these labels; whether that changed anything.

    Its thread's follow, unless the caller will `refresh` them for many messages at once.
    """
    row = tx.one(sql.message_now, seq=message.seq)
    assert row is not None
    wanted = list(dict.fromkeys(labels))
    if row[6] is not None or set(orjson.loads(row[5])) == set(wanted):
        return False
    modseq = tx.scalar(sql.mailbox_touch, mailbox_no=row[0], unseen=0)
    tx.run(sql.message_set_labels, seq=message.seq, new_labels=_dump(wanted), new_modseq=modseq)
    tx.run(sql.labels_delete, seq=message.seq)
    for label in wanted:
        tx.run(sql.label_insert, inbox_no=message.inbox_no, label=label, seq=message.seq)
    if refresh:
        threads.refresh_labels(tx, row[2])
    changes.record(tx, inbox_no=message.inbox_no, seq=message.seq, message_id=message.id, what=What.LABELS, at=at)
    return True


_TOLD = {"sent": What.SENT, "delivered": What.DELIVERED, "bounced": What.BOUNCED, "failed": What.FAILED}


class Settled(Protocol):
    """A message whose status changes."""

    @property
    def seq(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def inbox_no(self) -> int: ...


def set_status(
    tx: Transaction, message: Settled, status: str, *, sent_at: int | None, at: int, before: str | None = None
) -> None:
    """Set the delivery status; `sent_at` is kept if it was set before. A status that tells something is logged.

    `before` is the status in this transaction, for those who know it.
    """
    if before is None:
        row = tx.one(sql.message_now, seq=message.seq)
        assert row is not None
        before = row[7]
    tx.run(sql.message_set_status, seq=message.seq, new_status=status, new_sent_at=sent_at)
    if status in _TOLD and before != status:
        what = _TOLD[status]
        changes.record(tx, inbox_no=message.inbox_no, seq=message.seq, message_id=message.id, what=what, at=at)


def remove(tx: Transaction, message: StoredMessage, *, status: str, now: int) -> bool:
    """Delete for good: hidden from everything, out of its mailbox with a tombstone; False if it was already."""
    row = tx.one(sql.message_now, seq=message.seq)
    assert row is not None
    mailbox_no, uid, thread_seq, seen, aside, _, _, _ = row
    if tx.one(sql.message_delete, seq=message.seq, new_status=status, now=now) is None:
        return False
    unread = 0 if seen else 1
    gone: int = tx.scalar(sql.mailbox_lose, mailbox_no=mailbox_no, unseen=unread)
    tx.run(sql.expunged_insert, mailbox_no=mailbox_no, uid=uid, modseq=gone)
    if not aside:
        _count(tx, message, thread_seq, -1, unread)
    tx.run(sql.labels_delete, seq=message.seq)
    threads.refresh_labels(tx, thread_seq)
    search.remove(tx, message.seq, searchable_in(tx, message))
    changes.record(tx, inbox_no=message.inbox_no, seq=message.seq, message_id=message.id, what=What.DELETED, at=now)
    return True


def searchable_in(tx: Transaction, message: StoredMessage) -> search.Indexed:
    """What is indexed of a message now, as it must be said again to take it out of the index."""
    body = tx.one(sql.body_by_seq, seq=message.seq)
    assert body is not None
    files = _files_in(tx, message.seq)
    return search.Indexed(
        subject=message.subject,
        sender=search.people([message.from_]),
        recipients=search.people(message.to, message.cc, message.bcc),
        body=body[0],
        files=files,
    )


def _files_in(tx: Transaction, seq: int) -> str:
    """Names and texts of the attachments, as far as they are indexed."""
    files: list[str] = []
    size, after = 0, 0
    while size <= search.MAX_FILES and (rows := tx.all(sql.attachment_texts, seq=seq, after=after, limit=_AT_ONCE)):
        for after, filename, text in rows:  # noqa: B007 - the last one is where the next page begins
            files += [filename] if text is None else [filename, text]
            size += len(filename) + len(text or "") + 1
    return "\n".join(files)[: search.MAX_FILES]


def set_attachment_texts(tx: Transaction, message: StoredMessage, texts: Sequence[AttachmentText], *, at: int) -> bool:
    """Keep what was read out of attachments of a message, and find it by that; False if somebody did it already."""
    before = searchable_in(tx, message)
    kept = [
        tx.one(
            sql.attachment_set_text,
            attachment_no=each.no,
            new_text=each.text,
            new_status=each.status,
            new_facts=_dump(each.facts),
        )
        for each in texts
    ]
    if not any(kept):
        return False
    after = searchable_in(tx, message)
    if message.deleted_at is None and after != before:
        search.remove(tx, message.seq, before)
        search.add(tx, message.seq, after)
    changes.record(tx, inbox_no=message.inbox_no, seq=message.seq, message_id=message.id, what=What.TEXT, at=at)
    return True


def reread(tx: Transaction, message: StoredMessage, content: Content) -> None:
    """Put what today's rules read out of a message in the place of what earlier ones did.

    Its place, flags, labels, thread and the handles of its attachments stay; a list of attachments that is not the
    same any more is kept as it was.
    """
    before = searchable_in(tx, message)
    tx.run(
        sql.message_set_kind,
        seq=message.seq,
        new_kind=content.kind,
        new_preview=content.preview,
        new_subject=content.subject,
        new_est_tokens=content.est_tokens,
        new_has_attachments=1 if message.has_attachments or content.attachments else 0,
    )
    row = tx.one(sql.body_by_seq, seq=message.seq)
    assert row is not None
    values = _body(content) | {"authentication_json": row[5]}
    tx.run(sql.body_replace, seq=message.seq, **{f"{name}_": value for name, value in values.items()})
    known = [each[1] for each in tx.all(sql.attachments_of, seq=message.seq)]
    if not known and content.attachments:
        _insert_attachments(tx, message.seq, content.attachments, message.received_at)
    if message.deleted_at is None:
        search.remove(tx, message.seq, before)
        search.add(tx, message.seq, searchable_in(tx, in_tx(tx, message.seq)))


def in_tx(tx: Transaction, seq: int) -> StoredMessage:
    """The message, inside a write."""
    row = tx.one(sql.message_by_seq, seq=seq)
    assert row is not None
    return message_of(row)


async def by_id(database: Database, id: str) -> StoredMessage | None:
    """A message by its public id, deleted or not."""
    row = await database.one(sql.message_by_id, id=id)
    return None if row is None else message_of(row)
