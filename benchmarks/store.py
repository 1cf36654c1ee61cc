"""The store beside plain sqlite3 on the same tables, with the same settings and the same file system.

`python -m benchmarks.store [--quick | --full]`; `--full` also builds a store of a million messages (1.5 GB).
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from benchmarks.floors import PRAGMAS, RawStore, SessionStore, fill
from benchmarks.folders import INBOX, settings_for
from benchmarks.loops import run
from benchmarks.mails import mail
from benchmarks.report import Report, progress
from daimon_mcp.app import opened
from daimon_mcp.domain.ids import new_id
from daimon_mcp.operations import Operations
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.messages import GetMessage, ListMessages
from daimon_mcp.operations.reading import understand
from daimon_mcp.operations.views import message_view
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes, messages
from daimon_mcp.store.database import Database, Transaction
from daimon_mcp.store.messages import Content, NewMessage
from daimon_mcp.store.migrations import migrate

SIZE = 17_000
CLIENTS = 32
LONGEST = 0.25  # seconds of one measurement in one round
FOREVER = 1 << 62


# -- ingest ----------------------------------------------------------------------------------------------------------


async def _contents(folder: Path, count: int) -> list[Content]:
    """Messages, parsed and compressed: what comes before the transaction."""
    async with opened(settings_for(folder), environ={}) as operations:
        return [(await understand(operations.core, mail(SIZE, number)))[0] for number in range(count)]


async def _our_ingest(folder: Path, contents: list[Content], clients: int) -> float:
    """Messages a second, each acknowledged when it is durable."""
    async with opened(settings_for(folder), environ={}) as operations:
        actor = await operations.accounts.local_actor()
        await operations.inboxes.create_inbox(actor, CreateInbox(username=INBOX.partition("@")[0]))
        inbox = await inboxes.by_address(operations.core.database, INBOX)
        assert inbox is not None
        inbox_no, database, clock = inbox.no, operations.core.database, operations.core.clock

        async def client(mine: list[Content]) -> None:
            for content in mine:
                new = NewMessage(
                    id=new_id("msg", clock.now()), inbox_no=inbox_no, mailbox=inboxes.INBOX, direction="inbound",
                    status="received", content=content, seen=False, received_at=clock.now(),
                    mail_from="ann@example.com",
                )  # fmt: skip

                def place(tx: Transaction, new: NewMessage = new) -> None:
                    messages.place(tx, new)

                await database.write(place)

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                tasks.create_task(client(contents[number::clients]))
        return len(contents) / (time.perf_counter() - begun)


def _raw_ingest(path: Path, contents: list[Content], group: int) -> float:
    store = RawStore(path)
    begun = time.perf_counter()
    store.ingest(contents, group)
    rate = len(contents) / (time.perf_counter() - begun)
    store.close()
    return rate


async def _session_ingest(path: Path, contents: list[Content]) -> float:
    store = SessionStore(path)
    begun = time.perf_counter()
    await store.ingest(contents)
    rate = len(contents) / (time.perf_counter() - begun)
    await store.close()
    return rate


async def _commits(path: Path, count: int) -> float:
    """Commits a second of next to nothing: what this disk's fsync allows."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE t (a)")
    begun = time.perf_counter()
    for _ in range(count):
        connection.execute("INSERT INTO t VALUES (1)")
    rate = count / (time.perf_counter() - begun)
    connection.close()
    return rate


async def ingest(base: Path, *, rounds: int, count: int) -> None:
    """T1, T2, T3."""
    progress("ingest: making mail")
    contents = await _contents(base / "made", count)
    few = contents[: max(32, count // 8)]
    found: dict[str, list[float]] = {name: [] for name in ("raw", "raw32", "one", "many", "session", "commits")}
    for number in range(rounds):
        progress(f"ingest, round {number + 1} of {rounds}")
        folder = base / f"ingest-{number}"
        folder.mkdir()
        found["commits"].append(await _commits(folder / "commits.db", count))
        found["raw"].append(_raw_ingest(folder / "raw.db", contents, 1))
        found["one"].append(await _our_ingest(folder / "one", contents, 1))
        found["raw32"].append(_raw_ingest(folder / "raw32.db", contents, CLIENTS))
        found["many"].append(await _our_ingest(folder / "many", contents, CLIENTS))
        found["session"].append(await _session_ingest(folder / "session.db", few))
    report = Report(f"Ingest of 17 kB messages, every commit durable (synchronous=FULL): {rounds} rounds of {count}")
    report.rates("empty commits: what the disk allows", found["commits"])
    report.rates("plain sqlite3, a commit for each message (floor)", found["raw"])
    report.rates("plain sqlite3, a commit for 32 messages (floor)", found["raw32"])
    report.rates("SQLModel sessions on the same tables", found["session"])
    report.rates("our store, 1 client", found["one"])
    report.rates(f"our store, {CLIENTS} clients", found["many"])
    report.at_least("T1  1 client / plain sqlite3", found["one"], found["raw"], 0.6)
    report.at_least(f"T2  {CLIENTS} clients / plain sqlite3", found["many"], found["raw"], 1.8)
    report.at_least(f"T2  {CLIENTS} clients / plain sqlite3 by 32", found["many"], found["raw32"], 0.7)
    report.at_least(f"T3  {CLIENTS} clients / SQLModel sessions", found["many"], found["session"], 8)


# -- reads -----------------------------------------------------------------------------------------------------------

RAW_MESSAGE = (
    "SELECT seq, id, inbox_no, thread_seq, direction, status, kind, message_id, in_reply_to, references_json, "
    "from_address, from_name, to_json, cc_json, reply_to_json, subject, preview, labels_json, has_attachments, seen, "
    "size, est_tokens, date, received_at, sent_at FROM messages WHERE id = ?"
)
RAW_PAGE = (
    "SELECT m.seq, m.id, m.inbox_no, t.id, b.name, m.direction, m.status, m.kind, m.message_id, m.from_address, "
    "m.from_name, m.to_json, m.subject, m.preview, m.labels_json, m.has_attachments, m.seen, m.size, m.received_at "
    "FROM messages m JOIN threads t ON t.seq = m.thread_seq JOIN mailboxes b ON b.no = m.mailbox_no "
    "WHERE +m.inbox_no = ? AND m.seq < ? AND m.seq > ? AND m.deleted_at IS NULL ORDER BY m.seq DESC LIMIT 50"
)
RAW_COUNTERS = "SELECT message_count, unread_count FROM inboxes WHERE no = ?"


def _reader(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{path}?vfs=unix-excl", uri=True, isolation_level=None)
    for pragma in ("query_only=1", "cache_size=-16384", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class Reads:
    """One store of a size, with the plain connection beside ours."""

    def __init__(self, path: Path, database: Database, size: int) -> None:
        self.database = database
        self.raw = _reader(path)
        self.size = size
        (newest,) = self.raw.execute("SELECT max(seq) FROM messages WHERE inbox_no = 1").fetchone()
        self.top = messages.last_seq(1)
        self.deep = (messages.first_seq(1) + newest) // 2  # half-way down the biggest inbox
        self._ids = [
            row[0]
            for row in self.raw.execute(
                "SELECT id FROM messages WHERE inbox_no = 1 AND (seq & 1048575) % ? = 0 LIMIT 500",
                (max(1, size // 1000),),
            )
        ]
        self._next = 0

    def id(self) -> str:
        """An id, another one each time."""
        self._next = (self._next + 1) % len(self._ids)
        return self._ids[self._next]

    def raw_message(self) -> Any:
        return self.raw.execute(RAW_MESSAGE, (self.id(),)).fetchone()

    async def message_json(self) -> bytes:
        found = await messages.by_id(self.database, self.id())
        assert found is not None
        return orjson.dumps(message_view(found))

    def raw_page(self, before: int) -> Any:
        return self.raw.execute(RAW_PAGE, (1, before, messages.first_seq(1))).fetchall()

    async def page(self, before: int, unread: int = 0) -> list[Any]:
        return await self.database.all(
            sql.unread_newest if unread else sql.messages_newest, inbox_no=1, inbox_id="inb_1", direction="",
            kind="", unread=unread,
            status="", held=0, received_from=0, received_to=FOREVER, before=before, after=messages.first_seq(1),
            limit=50,
        )  # fmt: skip

    async def look(self) -> list[Any]:
        """What `wait_for_message` does first: is there unread mail? There is none."""
        return await self.database.all(
            sql.unread_after, inbox_no=1, after=messages.first_seq(1), limit=100,
        )  # fmt: skip

    async def page_json(self, before: int) -> bytes:
        return orjson.dumps([message_view(messages.listed_of(row)) for row in await self.page(before)])

    async def counters(self) -> Any:
        return await inboxes.by_no(self.database, 1)

    async def one_row(self) -> Any:
        return await self.database.one(sql.Statement(RAW_COUNTERS.replace("?", ":no"), ""), no=1)


async def _open(folder: Path, size: int) -> Reads:
    path = folder / "mail.db"
    database = Database(path, on_commit=lambda _: None)
    await database.open(lambda connection: _filled(connection, folder, size))
    return Reads(path, database, size)


def _filled(connection: sqlite3.Connection, folder: Path, size: int) -> None:
    migrate(connection, backups=folder / "backups")
    fill(connection, messages=size, inboxes=10)


def _each(call: Callable[[], object], count: int) -> float:
    """Seconds of one call, over `count` of them or as many as fit into LONGEST."""
    begun, taken, done = time.perf_counter(), 0.0, 0
    while done < count and taken < LONGEST:
        call()
        done += 1
        taken = time.perf_counter() - begun
    return taken / done


async def _each_async(call: Callable[[], Awaitable[object]], count: int) -> float:
    begun, taken, done = time.perf_counter(), 0.0, 0
    while done < count and taken < LONGEST:
        await call()
        done += 1
        taken = time.perf_counter() - begun
    return taken / done


async def reads(base: Path, *, sizes: tuple[int, int], rounds: int, count: int) -> None:
    """T4, T5, T6."""
    small_size, large_size = sizes
    progress(f"reads: building stores of {small_size:,} and {large_size:,} messages")
    for name in ("small", "large"):
        (base / name).mkdir()
    small = await _open(base / "small", small_size)
    large = await _open(base / "large", large_size)
    measured: dict[str, tuple[Callable[[], object], int] | tuple[Callable[[], Awaitable[object]], int, bool]] = {
        "raw message": (large.raw_message, count),
        "message": (large.message_json, count, True),
        "raw page": (lambda: large.raw_page(large.top), count // 5),
        "page": (lambda: large.page(large.top), count // 5, True),
        "page json": (lambda: large.page_json(large.top), count // 5, True),
        "deep page": (lambda: large.page(large.deep), count // 5, True),
        "small page": (lambda: small.page(small.top), count // 5, True),
        "unread": (lambda: large.page(large.top, 1), count // 5, True),
        "look": (large.look, count // 5, True),
        "one row": (large.one_row, count, True),
        "counters": (large.counters, count, True),
        "small counters": (small.counters, count, True),
    }
    found: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(-1, rounds):
        progress(f"reads, round {number + 1} of {rounds}")
        for name, (call, times, *is_async) in measured.items():
            taken = await _each_async(call, times) if is_async else _each(call, times)  # type: ignore[arg-type]
            if number >= 0:  # the round before filled the caches
                found[name].append(taken)
    counted = [_each(lambda: large.raw.execute("SELECT count(*) FROM messages WHERE inbox_no = 1").fetchone(), 3)]
    for each in (small, large):
        each.raw.close()
        await each.database.close()
    report = Report(f"Reads from a store of {large_size:,} messages, warm: {rounds} rounds of {count}")
    report.times("plain sqlite3: one message by id (floor)", found["raw message"], unit="µs")
    report.times("our store: message by id, as JSON", found["message"], unit="µs")
    report.times("plain sqlite3: page of 50 (floor)", found["raw page"], unit="µs")
    report.times("our store: page of 50, rows", found["page"], unit="µs")
    report.times("our store: page of 50, as JSON", found["page json"], unit="µs")
    report.times("our store: page of 50, half-way down", found["deep page"], unit="µs")
    report.times(f"our store: page of 50 of {small_size:,} messages", found["small page"], unit="µs")
    report.times("our store: page of unread mail, none there", found["unread"], unit="µs")
    report.times("our store: first look of wait_for_message", found["look"], unit="µs")
    report.times("one short row, by the same driver (floor)", found["one row"], unit="µs")
    report.times("our store: counters of an inbox", found["counters"], unit="µs")
    report.times("plain sqlite3: the same by count(*)", counted, unit="µs")
    report.at_most("T4  message by id as JSON / plain sqlite3", found["message"], found["raw message"], 4)
    report.at_most("T5  page of 50 / plain sqlite3", found["page"], found["raw page"], 2.2)
    report.at_most("T5  page half-way down / first page", found["deep page"], found["page"], 1.5)
    report.at_most(f"T5  page of {large_size:,} / of {small_size:,}", found["page"], found["small page"], 2)
    report.at_most("T5  page of unread mail / first page", found["unread"], found["page"], 1.5)
    report.at_most("T5  first look of wait_for_message / first page", found["look"], found["page"], 1.5)
    report.at_most("T6  counters / one short row", found["counters"], found["one row"], 1.5)
    report.at_most(
        f"T6  counters of {large_size:,} / of {small_size:,}", found["counters"], found["small counters"], 1.5
    )


# -- what a tool costs the core --------------------------------------------------------------------------------------


async def tools(base: Path, *, rounds: int, count: int) -> None:
    """The operations behind two tools, in this process: what of a call's time is not the protocol's."""
    async with opened(settings_for(base / "tools"), environ={}) as operations:
        ids = await _some_mail(operations)
        actor = await operations.accounts.local_actor()
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "get_message, 2 kB": lambda: operations.messages.get_message(actor, GetMessage(message_id=ids[0])),
            "list_messages, 50": lambda: operations.messages.list_messages(actor, ListMessages(limit=50)),
            "get_account": lambda: operations.accounts.get_account(actor),
        }
        found: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(-1, rounds):
            for name, call in calls.items():
                taken = await _each_async(call, count)
                if number >= 0:
                    found[name].append(taken)
    report = Report(f"Operations alone, without the protocol: {rounds} rounds of {count}")
    for name, times in found.items():
        report.times(name, times, unit="µs")


async def _some_mail(operations: Operations) -> list[str]:
    from daimon_mcp.domain.envelopes import Envelope, Peer

    actor = await operations.accounts.local_actor()
    await operations.inboxes.create_inbox(actor, CreateInbox(username=INBOX.partition("@")[0]))
    peer = Peer(address="127.0.0.1", helo="mail.example.com")
    return [
        each
        for number in range(60)
        for each in await operations.receiving.receive(
            Envelope("ann@example.com", (INBOX,)), peer, mail(2048, number, to=INBOX)
        )
    ]


# -- durability ------------------------------------------------------------------------------------------------------


def durability() -> None:
    """T9: the tests that kill the server and cut the power, and count what was acknowledged."""
    report = Report("T9  acknowledged messages lost at kill -9 and at simulated power loss (target 0)")
    folder = Path(__file__).parent.parent / "tests" / "durability"
    if not folder.is_dir():
        report.note("not measured: tests/durability is not there; it is run with `pytest tests/durability`")
        return
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=folder.parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    report.note((done.stdout.strip().splitlines() or ["no output"])[-1])


async def _all(*, quick: bool, full: bool) -> None:
    """All of it, in one folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        base = Path(made)
        await ingest(base, rounds=5, count=256 if quick else 800)
        sizes = (2_000, 20_000) if quick else (10_000, 1_000_000 if full else 100_000)
        await reads(base, sizes=sizes, rounds=5 if quick else 9, count=300 if quick else 1000)
        await tools(base, rounds=5, count=200 if quick else 1000)


def main(*, quick: bool = False, full: bool = False) -> None:
    """Run and report."""
    run(_all(quick=quick, full=full))
    if not quick:
        durability()


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:], full="--full" in sys.argv[1:])
