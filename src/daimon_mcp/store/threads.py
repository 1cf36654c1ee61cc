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

from daimon_mcp.domain.changes import ThreadMerged
from daimon_mcp.domain.ids import new_id
from daimon_mcp.mail.subjects import is_reply_subject
from daimon_mcp.mail.threading import SUBJECT_WINDOW, is_copy, may_join_by_subject, normal_id, parents_of, splits_off
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes
from daimon_mcp.store.database import Database, Row, Transaction

MOST_PARTICIPANTS = 100


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What decides about a message's thread. `text` is its whole body; `sender` is set for mail from outside."""

    inbox_no: int
    message_id: str | None
    references: Sequence[str]
    in_reply_to: str | None
    kind: str
    subject: str
    base_subject: str
    text: str
    sender: str | None
    people: Sequence[dict[str, str]]
    at: int


def join(tx: Transaction, arrival: Arrival, *, forced: int | None, counted: bool, unread: int) -> Joined:
    """Find or make the thread of a message that is being placed, and count it there if it is `counted`."""
    inbox_no, at = arrival.inbox_no, arrival.at
    named = (arrival.in_reply_to,) if arrival.in_reply_to else ()
    parents = parents_of(arrival.references, named, [person["email"] for person in arrival.people])
    own_id = normal_id(arrival.message_id or "")
    found: list[int] = [] if forced is None else [forced]
    nearest = ""
    own: int | None = None
    if forced is None:
        for reference in parents:
            row = tx.one(sql.ref_find, inbox_no=inbox_no, message_id=reference)
            if row is not None and row[0] not in found:
                nearest = nearest or reference
                found.append(row[0])
        own = _own(tx, arrival, own_id)
    linked_by: str | None = None
    related: int | None = None
    one_less = 0
    moved: list[tuple[int, str]] = []
    target: _Known | None = None
    if found:
        target = _known(tx, found[0])
        if forced is None and _begins_anew(tx, arrival, target, nearest):
            related, target = target.seq, None
            if own is not None and own != related:  # its answers came before it
                target = _known(tx, own)
                if target.related_seq is None:
                    tx.run(sql.thread_relate, thread_seq=own, related=related)
        elif forced is None and counted:  # what is held joins, and alters nothing
            rest = [seq for seq in (*found[1:], *((own,) if own is not None else ())) if seq != target.seq]
            for seq in dict.fromkeys(rest):
                other = _known(tx, seq)
                if other.related_seq is None and target.related_seq is None and _may_merge(arrival, other, target):
                    smaller, larger = (target, other) if other.messages > target.messages else (other, target)
                    moved += _merge(tx, inbox_no, smaller, larger)
                    one_less += int(smaller.messages > 0)
                    target = _known(tx, larger.seq)
    elif own is not None:
        target = None if _child_began_anew(tx, arrival, own) else _known(tx, own)
    elif arrival.sender is not None and not parents:
        target = _by_subject(tx, arrival)
        linked_by = None if target is None else "subject"
    if target is None:
        thread_id = new_id("thr", at)
        seq: int = tx.scalar(
            sql.thread_insert,
            id=thread_id,
            inbox_no=inbox_no,
            subject=arrival.subject,
            base_subject=arrival.base_subject,
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
    stranger = arrival.sender is not None and bool(known) and arrival.sender.lower() not in _emails(known)
    count_: int = tx.scalar(
        sql.thread_add,
        thread_seq=seq,
        messages=int(counted),
        unread=unread if counted else 0,
        at=at if counted else 0,
        participants_json=orjson.dumps(_merged(known, arrival.people) if counted else known).decode(),
    )
    there = seq
    for reference in parents:
        if reference == nearest:  # what is nearer than the mail it left is of the new thread
            there = related or seq
        tx.run(sql.ref_insert, inbox_no=inbox_no, message_id=reference, thread_seq=there)
    if own_id:
        tx.run(sql.ref_insert, inbox_no=inbox_no, message_id=own_id, thread_seq=seq)
        if own is not None and own != seq:
            tx.run(sql.ref_point, inbox_no=inbox_no, message_id=own_id, to_seq=seq)
    one_more = int(counted and count_ == 1)
    split_from = related if related is not None or target is None else target.related_seq
    related_id = None if split_from is None else _known(tx, split_from).id
    return Joined(seq, thread_id, one_more - one_less, linked_by, stranger, related_id, moved)


def _own(tx: Transaction, arrival: Arrival, own_id: str) -> int | None:
    """The thread that was told of this message before it came, or that has a copy of it.

    An id that another mail has already is no reason to join that one.
    """
    row = tx.one(sql.ref_find, inbox_no=arrival.inbox_no, message_id=own_id) if own_id else None
    if row is None:
        return None
    same = tx.all(sql.messages_of_id, inbox_no=arrival.inbox_no, message_id=arrival.message_id)
    copies = [thread_seq for subject, thread_seq in same if is_copy(arrival.subject, subject)]
    return copies[0] if copies else None if same else row[0]


def _begins_anew(tx: Transaction, arrival: Arrival, thread: _Known, parent: str) -> bool:
    """Whether mail from outside answers nothing that was said there, and only began in that thread.

    Where the parent is not there (yet), the thread's oldest mail speaks for it, unless a program wrote that.
    """
    if arrival.sender is None:
        return False
    row = tx.one(sql.thread_parent, thread_seq=thread.seq, message_id=parent)
    if row is None:
        oldest = tx.one(sql.thread_oldest, thread_seq=thread.seq)
        if oldest is None or oldest[0] != "human":
            return False
        row = oldest[1:]
    subject, text = row
    return splits_off(
        kind=arrival.kind, subject=arrival.subject, text=arrival.text, parent_subject=subject, parent_text=text
    )


def _child_began_anew(tx: Transaction, arrival: Arrival, thread_seq: int) -> bool:
    """The same, when the parent comes after its child: then the child's thread is the one that split off."""
    row = tx.one(sql.thread_oldest, thread_seq=thread_seq)
    if row is None or arrival.sender is None:
        return False
    kind, subject, text = row
    return splits_off(kind=kind, subject=subject, text=text, parent_subject=arrival.subject, parent_text=arrival.text)


def _may_merge(arrival: Arrival, one: _Known, other: _Known) -> bool:
    """Whether a message may make two conversations one: our own may, and mail of somebody who takes part in both.

    Ids can be guessed; who was in neither cannot pull other people's threads together.
    """
    if arrival.sender is None:
        return True
    sender = arrival.sender.lower()
    return all(sender in _emails(each.participants) or not each.messages for each in (one, other))


def _by_subject(tx: Transaction, arrival: Arrival) -> _Known | None:
    """The newest thread of this subject that an answer without references may join."""
    if not arrival.base_subject.strip() or not is_reply_subject(arrival.subject):
        return None
    for seq, subject, participants, last_at in tx.all(
        sql.threads_by_subject,
        inbox_no=arrival.inbox_no,
        base_subject=arrival.base_subject,
        since=arrival.at - SUBJECT_WINDOW,
    ):
        if may_join_by_subject(
            subject=arrival.subject,
            parents=(),
            people=(arrival.sender or "",),  # who is only named in it, may not know of it
            at=arrival.at,
            thread_subject=subject,
            thread_people=_emails(orjson.loads(participants)),
            thread_last_at=last_at,
            own=(inboxes.one_in(tx, arrival.inbox_no).address,),
        ):
            return _known(tx, seq)
    return None


def _merge(tx: Transaction, inbox_no: int, source: _Known, into: _Known) -> list[tuple[int, str]]:
    """Put all of one thread into another; the messages that moved. The old id leads to the new thread from now on."""
    moved = [(row[0], row[1]) for row in tx.all(sql.thread_message_ids, thread_seq=source.seq, after=0, limit=1 << 40)]
    for statement in (sql.thread_move_messages, sql.thread_move_related, sql.thread_move_merged):
        tx.run(statement, from_seq=source.seq, to_seq=into.seq)
    tx.run(sql.thread_move_refs, inbox_no=inbox_no, from_seq=source.seq, to_seq=into.seq)
    tx.run(sql.thread_merge, from_seq=source.seq, to_seq=into.seq)
    tx.announce(ThreadMerged(inbox_no, source.id, into.id))
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


def welcome(tx: Transaction, thread_seq: int, people: Iterable[dict[str, str]], *, at: int) -> None:
    """Take the people on a message that was let out of quarantine among the thread's, and its coming for news."""
    known = _known(tx, thread_seq)
    merged = orjson.dumps(_merged(known.participants, people)).decode()
    tx.run(sql.thread_add, thread_seq=thread_seq, messages=0, unread=0, at=at, participants_json=merged)


def add_labels(tx: Transaction, thread_seq: int, labels: Iterable[str]) -> None:
    """Show labels that a message of the thread has got, beside those it shows."""
    known = _known(tx, thread_seq).labels
    if more := sorted({*known, *labels}):
        tx.run(sql.thread_set_labels, thread_seq=thread_seq, labels_json_=orjson.dumps(more).decode())


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
