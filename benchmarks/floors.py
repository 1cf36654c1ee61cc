"""What the store is measured against, on its own tables: plain sqlite3 for the rows alone, and SQLModel's sessions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from daimon_mcp.domain.ids import new_id
from daimon_mcp.store import search
from daimon_mcp.store import tables as t
from daimon_mcp.store.compiled import SCHEMA
from daimon_mcp.store.messages import Content

PRAGMAS = (
    "auto_vacuum=INCREMENTAL",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-65536",
    "temp_store=MEMORY",
    "wal_autocheckpoint=1000",
    "journal_size_limit=67108864",
    "cell_size_check=ON",
)
"""As the store's writer has them."""

MESSAGE_COLUMNS = tuple(t.Messages.model_fields)
BODY_COLUMNS = tuple(t.Bodies.model_fields)


@cache
def insert_text(table: str, columns: tuple[str, ...]) -> str:
    """An INSERT of these columns, values by place."""
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def dump(value: object) -> str:
    """JSON as the store keeps it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def message_values(content: Content, *, id: str, seq: int, n: int, thread_seq: int, mailbox_no: int, at: int) -> Any:
    """The row of `messages` for an inbound message that nobody read yet."""
    return {
        "seq": seq, "id": id, "inbox_no": seq >> 40, "mailbox_no": mailbox_no, "uid": n, "modseq": n,
        "thread_seq": thread_seq, "direction": "inbound", "status": "received", "kind": content.kind,
        "message_id": content.message_id, "in_reply_to": content.in_reply_to,
        "references_json": dump(content.references), "from_address": content.from_["email"],
        "from_name": content.from_["name"], "to_json": dump(content.to), "cc_json": dump(content.cc), "bcc_json": "[]",
        "reply_to_json": dump(content.reply_to), "mail_from": "ann@example.com", "tag": None,
        "subject": content.subject, "preview": content.preview, "labels_json": "[]",
        "has_attachments": int(bool(content.attachments)), "seen": 0, "answered": 0, "flagged": 0,
        "size": content.blob.size, "est_tokens": content.est_tokens, "blob_hash": content.blob.hash, "draft_id": None,
        "date": content.date, "received_at": at, "sent_at": None, "send_at": None, "deleted_at": None, "purge_at": None,
        "aside": 0, "hold_reason": None, "linked_by": None, "new_participant": 0, "came_n": n,
    }  # fmt: skip


def body_values(content: Content, seq: int) -> Any:
    """The row of `bodies`."""
    return {
        "seq": seq, "text": content.text, "reply_text": content.reply_text, "html": content.html,
        "links_json": dump(content.links), "warnings_json": dump(content.warnings), "authentication_json": "{}",
        "header_length": content.header_length, "envelope_json": dump(content.envelope),
        "structure_json": dump(content.structure), "reading_json": dump(content.reading),
        "rules_version": content.rules_version,
    }  # fmt: skip


SEARCH_TEXT = "INSERT INTO search (rowid, subject, sender, recipients, body, files) VALUES "


def search_values(content: Content, seq: int) -> tuple[Any, ...]:
    """The row of the search index."""
    sender = f"{content.from_['name']} {content.from_['email']}"
    to = "\n".join(f"{person['name']} {person['email']}" for person in [*content.to, *content.cc])
    files = "\n".join(each.filename for each in content.attachments)
    return seq, content.subject, sender, to, content.text, files


def _people(content: Content) -> str:
    return dump([content.from_, *content.to, *content.cc])


class RawStore:
    """The least that gives the same rows: nine statements for a message, everything else known beforehand."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?vfs=unix-excl", uri=True, isolation_level=None)
        for pragma in PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")
        for statement in SCHEMA:
            self._connection.execute(statement.sqlite)
        self._connection.execute(search.SCHEMA)
        self._connection.execute(
            "INSERT INTO accounts (no, id, kind, tier, status, created_at) "
            "VALUES (1, 'acc_1', 'agent', 'free', 'active', 0)"
        )
        self._connection.execute(
            "INSERT INTO inboxes (no, id, account_no, address, display_name, status, metadata_json, created_at, "
            "next_n, change_seq, message_count, unread_count, thread_count, storage_bytes) "
            "VALUES (1, 'inb_1', 1, 'bench@agents.localhost', '', 'active', '{}', 0, 1, 0, 0, 0, 0, 0)"
        )
        self._connection.execute(
            "INSERT INTO mailboxes (no, inbox_no, name, uidvalidity, uidnext, highestmodseq, total, unseen) "
            "VALUES (1, 1, 'INBOX', 1, 1, 0, 0, 0)"
        )
        self._n = 0

    def ingest(self, contents: Sequence[Content], group: int) -> None:
        """Store every message, `group` to a commit."""
        execute = self._connection.execute
        for start in range(0, len(contents), group):
            execute("BEGIN IMMEDIATE")
            for content in contents[start : start + group]:
                self._one(content)
            execute("COMMIT")

    def _one(self, content: Content) -> None:
        execute = self._connection.execute
        self._n = n = self._n + 1
        at = 1_790_000_000_000_000 + n
        seq, blob = 1 << 40 | n, content.blob
        execute("INSERT INTO blobs VALUES (?, ?, ?, ?, ?)", (blob.hash, blob.size, blob.encoding, blob.data, at))
        execute(
            "INSERT INTO threads VALUES (?, ?, 1, ?, ?, ?, '[]', 1, 1, ?, ?, NULL, NULL, NULL)",
            (n, new_id("thr", at), content.subject, content.base_subject, _people(content), at, at),
        )
        execute("INSERT INTO refs VALUES (1, ?, ?)", (content.message_id, n))
        identity = new_id("msg", at)
        row = message_values(content, id=identity, seq=seq, n=n, thread_seq=n, mailbox_no=1, at=at)
        execute(insert_text("messages", tuple(row)), tuple(row.values()))
        row = body_values(content, seq)
        execute(insert_text("bodies", tuple(row)), tuple(row.values()))
        execute(f"{SEARCH_TEXT} (?, ?, ?, ?, ?, ?)", search_values(content, seq))
        execute("INSERT INTO changes VALUES (1, ?, ?, ?, 'new', ?)", (n, seq, identity, at))
        execute(
            "UPDATE mailboxes SET uidnext = ?, highestmodseq = ?, total = ?, unseen = ? WHERE no = 1", (n + 1, n, n, n)
        )
        execute(
            "UPDATE inboxes SET next_n = ?, change_seq = ?, message_count = ?, unread_count = ?, thread_count = ?, "
            "storage_bytes = storage_bytes + ?, last_received_at = ? WHERE no = 1",
            (n + 1, n, n, n, n, blob.size, at),
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class SessionStore:
    """The same rows by SQLModel's own means: one session and one transaction a message."""

    def __init__(self, path: Path) -> None:
        RawStore(path).close()  # tables, account, inbox and mailbox
        self._engine = create_async_engine(f"sqlite+aiosqlite:///{path}", connect_args={"isolation_level": None})

        @event.listens_for(self._engine.sync_engine, "connect")
        def settings(connection: Any, _: Any) -> None:
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(self._engine.sync_engine, "begin")
        def immediate(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    async def ingest(self, contents: Sequence[Content]) -> None:
        """Store every message, one after the other."""
        for content in contents:
            await self._one(content)

    async def _one(self, content: Content) -> None:
        async with AsyncSession(self._engine, expire_on_commit=False) as session, session.begin():
            inbox = (await session.exec(select(t.Inboxes).where(col(t.Inboxes.no) == 1))).one()
            mailbox = (await session.exec(select(t.Mailboxes).where(col(t.Mailboxes.no) == 1))).one()
            n, at = inbox.next_n, 1_790_000_000_000_000 + inbox.next_n
            inbox.next_n, inbox.change_seq, inbox.last_received_at = n + 1, n, at
            inbox.message_count += 1
            inbox.unread_count += 1
            inbox.thread_count += 1
            inbox.storage_bytes += content.blob.size
            mailbox.uidnext, mailbox.highestmodseq = n + 1, n
            mailbox.total += 1
            mailbox.unseen += 1
            seq, blob = 1 << 40 | n, content.blob
            session.add(t.Blobs(hash=blob.hash, size=blob.size, encoding=blob.encoding, data=blob.data, created_at=at))
            thread = t.Threads(
                id=new_id("thr", at), inbox_no=1, subject=content.subject, base_subject=content.base_subject,
                participants_json=_people(content), labels_json="[]", message_count=1, unread_count=1, created_at=at,
                last_at=at,
            )  # fmt: skip
            session.add(thread)
            await session.flush()
            thread_seq = thread.seq
            assert thread_seq is not None
            session.add(t.Refs(inbox_no=1, message_id=content.message_id or "", thread_seq=thread_seq))
            identity = new_id("msg", at)
            row = message_values(content, id=identity, seq=seq, n=n, thread_seq=thread_seq, mailbox_no=1, at=at)
            session.add(t.Messages(**row))
            session.add(t.Bodies(**body_values(content, seq)))
            session.add(t.Changes(inbox_no=1, n=n, message_seq=seq, message_id=identity, what="new", at=at))
            names: list[str] = ["seq", "subject", "sender", "recipients", "body", "files"]
            values = dict(zip(names, search_values(content, seq), strict=True))
            connection = await session.connection()
            await connection.execute(text(f"{SEARCH_TEXT} ({', '.join(f':{name}' for name in names)})"), values)

    async def close(self) -> None:
        """Close the file."""
        await self._engine.dispose()


def fill(connection: sqlite3.Connection, *, messages: int, inboxes: int) -> None:
    """Rows of a store of this size, with short texts: half of the messages in the first inbox, in threads of three.

    `connection` has the tables. Mail alternates between the inboxes, as it would have come.
    """
    execute = connection.execute
    execute("BEGIN")
    execute(
        "INSERT INTO accounts (no, id, kind, tier, status, created_at) "
        "VALUES (1, 'acc_1', 'agent', 'free', 'active', 0)"
    )
    execute("INSERT INTO blobs VALUES ('0', 2000, 'raw', zeroblob(0), 0)")
    words = "Thank you for your order. It will be with you on Friday. " * 10
    ns = [0] * (inboxes + 1)
    threads = 0
    message_rows: list[tuple[Any, ...]] = []
    body_rows: list[tuple[Any, ...]] = []
    change_rows: list[tuple[Any, ...]] = []
    thread_rows: list[tuple[Any, ...]] = []
    template = dict.fromkeys(MESSAGE_COLUMNS, None) | {
        "direction": "inbound", "status": "received", "kind": "human", "references_json": "[]", "from_name": "Ann",
        "to_json": '[{"email":"bench@agents.localhost","name":""}]', "cc_json": "[]", "bcc_json": "[]",
        "reply_to_json": "[]", "mail_from": "ann@example.com", "preview": words[:200], "labels_json": "[]",
        "has_attachments": 0, "seen": 1, "answered": 0, "flagged": 0, "size": 2000, "est_tokens": 150, "blob_hash": "0",
        "aside": 0, "new_participant": 0,
    }  # fmt: skip
    body = dict.fromkeys(BODY_COLUMNS, None) | {
        "text": words, "reply_text": words, "links_json": "[]", "warnings_json": "[]", "authentication_json": "{}",
        "header_length": 500, "envelope_json": "[]", "structure_json": "[]", "reading_json": "{}", "rules_version": 1,
    }  # fmt: skip
    for inbox in range(1, inboxes + 1):
        execute(
            "INSERT INTO inboxes (no, id, account_no, address, display_name, status, metadata_json, created_at, "
            "next_n, change_seq, message_count, unread_count, thread_count, storage_bytes) "
            "VALUES (?, ?, 1, ?, '', 'active', '{}', 0, 1, 0, 0, 0, 0, 0)",
            (inbox, f"inb_{inbox}", f"bench{inbox}@agents.localhost"),
        )
        execute(
            "INSERT INTO mailboxes (no, inbox_no, name, uidvalidity, uidnext, highestmodseq, total, unseen) "
            "VALUES (?, ?, 'INBOX', 1, 1, 0, 0, 0)",
            (inbox, inbox),
        )

    def flush() -> None:
        execute_many = connection.executemany
        execute_many(
            "INSERT INTO threads VALUES (?, ?, ?, 'Order', 'order', '[]', '[]', ?, 0, 0, 0, NULL, NULL, NULL)",
            thread_rows,
        )
        execute_many(insert_text("messages", MESSAGE_COLUMNS), message_rows)
        execute_many(insert_text("bodies", BODY_COLUMNS), body_rows)
        execute_many("INSERT INTO changes VALUES (?, ?, ?, ?, 'new', ?)", change_rows)
        for rows in (thread_rows, message_rows, body_rows, change_rows):
            rows.clear()

    at = 1_790_000_000_000_000
    for number in range(messages):
        inbox = 1 if number % 2 == 0 or inboxes == 1 else 2 + number // 2 % (inboxes - 1)
        ns[inbox] = n = ns[inbox] + 1
        if n % 3 == 1:
            threads += 1
            thread_rows.append((inbox << 32 | n // 3, new_id("thr", at), inbox, 3))
        seq = inbox << 40 | n
        thread = inbox << 32 | (n - 1) // 3
        row = template | {
            "seq": seq, "id": f"msg_{number}", "inbox_no": inbox, "mailbox_no": inbox, "uid": n, "modseq": n,
            "thread_seq": thread, "message_id": f"<{number}@example.com>", "subject": f"Order {number}",
            "from_address": f"ann{number % 97}@example.com", "date": at + number, "received_at": at + number,
            "came_n": n,
        }  # fmt: skip
        message_rows.append(tuple(row.values()))
        body_rows.append(tuple((body | {"seq": seq}).values()))
        change_rows.append((inbox, n, seq, f"msg_{number}", at + number))
        if len(message_rows) == 5000:
            flush()
    flush()
    connection.executemany(
        "UPDATE inboxes SET next_n = ?, change_seq = ?, message_count = ?, thread_count = ? WHERE no = ?",
        [(ns[no] + 1, ns[no], ns[no], (ns[no] + 2) // 3, no) for no in range(1, inboxes + 1)],
    )
    connection.executemany(
        "UPDATE mailboxes SET uidnext = ?, highestmodseq = ?, total = ? WHERE no = ?",
        [(ns[no] + 1, ns[no], ns[no], no) for no in range(1, inboxes + 1)],
    )
    execute("COMMIT")
