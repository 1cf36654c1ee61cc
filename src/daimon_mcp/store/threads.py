"""Rows of threads: which one a message joins.

A message joins the thread of the nearest ancestor known in its own inbox, or the thread that was told of its Message-ID
before it came. Ids it names that nobody knows are kept, so that late parents join too. Never across inboxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from daimon_mcp.domain.ids import new_id
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction

MOST_PARTICIPANTS = 100


@dataclass(frozen=True, slots=True)
class StoredThread:
    """A thread as lists show it."""

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


def thread_of(row: Row) -> StoredThread:
    """A row of the thread statements as a StoredThread."""
    seq, id_, inbox_no, inbox_id, subject, participants, labels, messages, unread, created_at, last_at = row
    return StoredThread(
        seq, id_, inbox_no, inbox_id, subject, orjson.loads(participants), orjson.loads(labels), messages, unread,
        created_at, last_at,
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


def join(
    tx: Transaction,
    *,
    inbox_no: int,
    forced: int | None,
    message_id: str | None,
    parents: Sequence[str],
    subject: str,
    base_subject: str,
    people: Sequence[dict[str, str]],
    unread: int,
    at: int,
) -> tuple[int, str, bool]:
    """Find or make the thread of a message that is being placed, and count it there.

    `parents` are the ids it names, nearest first. The thread's number, its public id, and whether the inbox has one
    thread more by it: it is new, or all its messages had gone.
    """
    found = forced
    for reference in (*parents, *((message_id,) if message_id else ())):
        if found is not None:
            break
        row = tx.one(sql.ref_find, inbox_no=inbox_no, message_id=reference)
        found = None if row is None else row[0]
    if found is None:
        thread_id = new_id("thr", at)
        thread_seq: int = tx.scalar(
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
        known: list[dict[str, str]] = []
    else:
        thread_seq = found
        head = tx.one(sql.thread_head, thread_seq=thread_seq)
        assert head is not None
        thread_id, known = head[0], orjson.loads(head[1])
    count: int = tx.scalar(
        sql.thread_add,
        thread_seq=thread_seq,
        messages=1,
        unread=unread,
        at=at,
        participants_json=orjson.dumps(_merged(known, people)).decode(),
    )
    for reference in (*parents, *((message_id,) if message_id else ())):
        tx.run(sql.ref_insert, inbox_no=inbox_no, message_id=reference, thread_seq=thread_seq)
    return thread_seq, thread_id, count == 1


def count(tx: Transaction, thread_seq: int, *, messages: int = 0, unread: int = 0) -> int:
    """Move a thread's counters; how many messages it has then."""
    left: int = tx.scalar(sql.thread_count, thread_seq=thread_seq, messages=messages, unread=unread)
    return left


async def by_id(database: Database, id: str, account_no: int) -> StoredThread | None:
    """A thread of this account by its public id."""
    row = await database.one(sql.thread_by_id, id=id, account_no=account_no)
    return None if row is None else thread_of(row)
