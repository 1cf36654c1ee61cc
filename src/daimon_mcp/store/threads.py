"""Rows of threads: which one a message joins, in whatever order mail arrives, and never across inboxes.

A message joins the thread of the nearest ancestor that its inbox knows, or the thread that was told of its Message-ID
before it came. Ids it names that nobody knows are kept, so that late parents join; when a message shows that two
threads are one conversation, the smaller is merged into the larger. A message whose subject is another and that quotes
nothing starts a thread of its own, which remembers the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from daimon_mcp.domain.clock import DAY
from daimon_mcp.domain.ids import new_id
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction

MOST_PARTICIPANTS = 100
MOST_PARENTS = 100
SUBJECT_WINDOW = 30 * DAY


@dataclass(frozen=True, slots=True)
class StoredThread:
    """A thread as lists show it. `related_id` is the thread it was split from."""

    seq: int
    id: str
    inbox_no: int
    inbox_id: str
    subject: str
    participants: list[dict[str, str]]
    labels: list[str]
    message_count: int
    unread_count: int
    created_at: int
    last_at: int
    related_id: str | None
    merged_into: int | None


@dataclass(frozen=True, slots=True)
class Joined:
    """Where a message went: `threads` is how many the inbox has more by it (it may be fewer), `moved` who moved too."""

    seq: int
    id: str
    threads: int
    linked_by: str | None
    new_participant: bool
    related_id: str | None
    moved: Sequence[tuple[int, str]] = ()


def thread_of(row: Row) -> StoredThread:
    """A row of the thread statements as a StoredThread."""
    seq, id_, inbox_no, inbox_id, subject, participants, labels, messages, unread, created, last, related, merged = row
    return StoredThread(
        seq, id_, inbox_no, inbox_id, subject, orjson.loads(participants), orjson.loads(labels), messages, unread,
        created, last, related, merged,
    )  # fmt: skip


def parents_of(references: Sequence[str], in_reply_to: str | None) -> tuple[str, ...]:
    """The ids a message names, nearest first, each once (RFC 5256 §3): References from the end, then In-Reply-To."""
    named = [*reversed(references), *((in_reply_to,) if in_reply_to else ())]
    return tuple(dict.fromkeys(named))[:MOST_PARENTS]


def _merged(known: list[dict[str, str]], people: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    by_email = {person["email"].lower(): person for person in known}
    for person in people:
        key = person["email"].lower()
        if not key or (key not in by_email and len(by_email) >= MOST_PARTICIPANTS):
            continue
        if key not in by_email or person["name"]:
            by_email[key] = {"email": person["email"], "name": person["name"]}
    return list(by_email.values())


def _emails(people: Iterable[dict[str, str]]) -> set[str]:
    return {person["email"].lower() for person in people if person["email"]}


@dataclass(slots=True)
class _Known:
    """A thread row while a message is placed."""

    seq: int
    id: str
    messages: int
    unread: int
    participants: list[dict[str, str]]
    labels: list[str]
    subject: str
    base_subject: str
    created_at: int
    last_at: int
    related_seq: int | None


def _known(tx: Transaction, seq: int) -> _Known:
    row = tx.one(sql.thread_counts, thread_seq=seq)
    assert row is not None
    id_, count_, unread, participants, labels, subject, base, created, last, related = row
    people, names = orjson.loads(participants), orjson.loads(labels)
    return _Known(seq, id_, count_, unread, people, names, subject, base, created, last, related)


def join(
    tx: Transaction,
    *,
    inbox_no: int,
    forced: int | None,
    message_id: str | None,
    parents: Sequence[str],
    subject: str,
    base_subject: str,
    is_reply: bool,
    quotes: bool,
    sender: str | None,
    people: Sequence[dict[str, str]],
    counted: bool,
    unread: int,
    at: int,
) -> Joined:
    """Find or make the thread of a message that is being placed, and count it there if it is `counted`.

    `parents` are the ids it names, nearest first; `sender` is set for mail that came from outside.
    """
    found: list[int] = [] if forced is None else [forced]
    own: int | None = None
    if forced is None:
        for reference in parents:
            row = tx.one(sql.ref_find, inbox_no=inbox_no, message_id=reference)
            if row is not None and row[0] not in found:
                found.append(row[0])
        row = None if message_id is None else tx.one(sql.ref_find, inbox_no=inbox_no, message_id=message_id)
        own = None if row is None else row[0]
    linked_by: str | None = None
    related: int | None = None
    one_less = 0
    moved: list[tuple[int, str]] = []
    target: _Known | None = None
    if found:
        target = _known(tx, found[0])
        if forced is None and sender is not None and not quotes and _another_subject(target.base_subject, base_subject):
            # It answers nothing that was said there: a conversation of its own that began in that thread.
            related, target = target.seq, None
        elif forced is None:
            rest = [seq for seq in (*found[1:], *((own,) if own is not None else ())) if seq != target.seq]
            for seq in dict.fromkeys(rest):
                other = _known(tx, seq)
                if other.related_seq is None and target.related_seq is None:
                    smaller, larger = (target, other) if other.messages > target.messages else (other, target)
                    moved += _merge(tx, inbox_no, smaller, larger)
                    one_less += int(smaller.messages > 0)
                    target = _known(tx, larger.seq)
    elif own is not None:
        target = _known(tx, own)
        if sender is not None and _another_subject(target.base_subject, base_subject) and not _oldest_quotes(tx, own):
            # The parent came after its child, which had left its subject: the child's thread was a split.
            target = None
    elif is_reply and not parents and sender is not None:
        target = _by_subject(tx, inbox_no, base_subject, people, at)
        linked_by = None if target is None else "subject"
    if target is None:
        thread_id = new_id("thr", at)
        seq: int = tx.scalar(
            sql.thread_insert,
            id=thread_id,
            inbox_no=inbox_no,
            subject=subject,
            base_subject=base_subject,
            participants_json="[]",
            labels_json="[]",
            created_at=at,
            last_at=at,
        )
        if related is not None:
            tx.run(sql.thread_relate, thread_seq=seq, related=related)
        elif own is not None:
            tx.run(sql.thread_relate, thread_seq=own, related=seq)
        known: list[dict[str, str]] = []
    else:
        seq, thread_id, known = target.seq, target.id, target.participants
    stranger = sender is not None and bool(known) and sender.lower() not in _emails(known)
    count_: int = tx.scalar(
        sql.thread_add,
        thread_seq=seq,
        messages=int(counted),
        unread=unread if counted else 0,
        at=at if counted else 0,
        participants_json=orjson.dumps(_merged(known, people) if counted else known).decode(),
    )
    for reference in parents:
        tx.run(sql.ref_insert, inbox_no=inbox_no, message_id=reference, thread_seq=related or seq)
    if message_id is not None:
        tx.run(sql.ref_insert, inbox_no=inbox_no, message_id=message_id, thread_seq=seq)
        if own is not None and own != seq:
            tx.run(sql.ref_point, inbox_no=inbox_no, message_id=message_id, to_seq=seq)
    one_more = int(counted and count_ == 1)
    split_from = related if target is None else target.related_seq
    related_id = None if split_from is None else _known(tx, split_from).id
    return Joined(seq, thread_id, one_more - one_less, linked_by, stranger, related_id, moved)


def _another_subject(known: str, new: str) -> bool:
    """Whether two base subjects have nothing to do with each other: neither holds the other, and both say something."""
    first, second = known.casefold().strip(), new.casefold().strip()
    return bool(first and second) and first not in second and second not in first


def _oldest_quotes(tx: Transaction, seq: int) -> bool:
    row = tx.one(sql.thread_oldest_reading, thread_seq=seq)
    return row is not None and bool(orjson.loads(row[0]).get("quotes"))


def _by_subject(
    tx: Transaction, inbox_no: int, base_subject: str, people: Sequence[dict[str, str]], at: int
) -> _Known | None:
    """The newest thread of this subject, not older than SUBJECT_WINDOW, with somebody else of these in it.

    One in common is not enough: the inbox itself is in all its threads.
    """
    if not base_subject.strip():
        return None
    emails = _emails(people)
    for seq, participants in tx.all(
        sql.threads_by_subject, inbox_no=inbox_no, base_subject=base_subject, since=at - SUBJECT_WINDOW
    ):
        if len(emails & _emails(orjson.loads(participants))) >= 2:
            return _known(tx, seq)
    return None


def _merge(tx: Transaction, inbox_no: int, source: _Known, into: _Known) -> list[tuple[int, str]]:
    """Put all of one thread into another; the messages that moved. The old id leads to the new thread from now on."""
    moved = [(row[0], row[1]) for row in tx.all(sql.thread_message_ids, thread_seq=source.seq, limit=100_000)]
    for statement in (sql.thread_move_messages, sql.thread_move_related, sql.thread_move_merged):
        tx.run(statement, from_seq=source.seq, to_seq=into.seq)
    tx.run(sql.thread_move_refs, inbox_no=inbox_no, from_seq=source.seq, to_seq=into.seq)
    tx.run(sql.thread_merge, from_seq=source.seq, to_seq=into.seq)
    older = source if source.created_at < into.created_at else into
    tx.run(
        sql.thread_absorb,
        thread_seq=into.seq,
        messages=into.messages + source.messages,
        unread=into.unread + source.unread,
        participants_json_=orjson.dumps(_merged(into.participants, source.participants)).decode(),
        labels_json_=orjson.dumps(sorted({*into.labels, *source.labels})).decode(),
        subject_=older.subject,
        base_subject_=older.base_subject,
        created_at_=older.created_at,
        last_at_=max(into.last_at, source.last_at),
    )
    return moved


def count(tx: Transaction, thread_seq: int, *, messages: int = 0, unread: int = 0) -> int:
    """Move a thread's counters; how many messages it has then."""
    left: int = tx.scalar(sql.thread_count, thread_seq=thread_seq, messages=messages, unread=unread)
    return left


def refresh_labels(tx: Transaction, thread_seq: int) -> None:
    """Bring the labels a thread shows in line with its messages'."""
    found = [row[0] for row in tx.all(sql.thread_label_union, thread_seq=thread_seq)]
    tx.run(sql.thread_set_labels, thread_seq=thread_seq, labels_json_=orjson.dumps(found).decode())


async def by_id(database: Database, id: str, account_no: int) -> StoredThread | None:
    """A thread of this account by its public id; one that was merged leads to where it is now."""
    row = await database.one(sql.thread_by_id, id=id, account_no=account_no)
    found = None if row is None else thread_of(row)
    if found is not None and found.merged_into is not None:
        row = await database.one(sql.thread_by_seq, thread_seq=found.merged_into)
        found = None if row is None else thread_of(row)
    return found
