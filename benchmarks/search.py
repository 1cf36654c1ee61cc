"""A store of a million messages: its lists beside plain sqlite3, its search, and what it takes of memory.

`python -m benchmarks.search [--messages N] [--folder F] [--quick]`. The store (about 2.5 GB, two minutes) is made once
and kept in the folder, which is one for all runs in the system's place for temporary files if none is named.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from mcp import Client

from benchmarks.floors import BODY_COLUMNS, MESSAGE_COLUMNS, insert_text
from benchmarks.folders import settings_for
from benchmarks.loops import run
from benchmarks.report import Report, progress
from benchmarks.store import FOREVER, RAW_COUNTERS, RAW_MESSAGE, RAW_PAGE
from daimon_mcp import app as application
from daimon_mcp.app import opened
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.search_query import parse
from daimon_mcp.operations import Operations
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes, messages, search
from daimon_mcp.store.database import Database

INBOXES = 20
LONG_THREAD = 1000
AT = 1_700_000_000_000_000
BATCH = 20_000
USUAL = (
    "rare word", "medium word", "common word", "medium medium", "common medium", "common common", "phrase",
    "medium OR rare, -common", "from: and a word",
)  # fmt: skip
"""Queries of words and phrases, without prefixes, and without other conditions that few of the hits meet."""
SEED = 7
MADE = 1  # higher when other rows are made: older stores are made anew


# -- the store -------------------------------------------------------------------------------------------------------


def sizes(total: int) -> list[int]:
    """Messages of each inbox: every one has four fifths of the one before."""
    shares = [0.8**number for number in range(INBOXES)]
    return [max(10, int(total * share / sum(shares))) for share in shares]


class Vocabulary:
    """Made-up words as a language has them: few that are everywhere, many that are rare (Zipf)."""

    def __init__(self, seed: int = SEED) -> None:
        chance = random.Random(seed)
        syllables = [a + b for a in "bcdfghklmnprstvz" for b in ("a", "e", "i", "o", "u", "ar", "en", "il", "ou")]
        found: set[str] = set()
        while len(found) < 60_000:
            found.add("".join(chance.choices(syllables, k=chance.choice((2, 2, 3, 3, 4)))))
        self.words = sorted(found)
        chance.shuffle(self.words)
        weights = [1 / (rank + 3) for rank in range(len(self.words))]
        picks = chance.choices(self.words, weights, k=60_000 * 14)
        self.sentences = [" ".join(picks[at : at + 14]).capitalize() + "." for at in range(0, len(picks), 14)]


async def build(folder: Path, total: int) -> None:
    """Account and inboxes by the product's own means, then the messages straight into its tables."""
    async with opened(settings_for(folder), environ={}) as operations:
        actor = await operations.accounts.local_actor()

        def make(tx: Any) -> None:
            for number in range(INBOXES):
                inboxes.insert_inbox(
                    tx, id=new_id("inb", AT + number), account_no=actor.account_no,
                    address=f"bench{number}@agents.localhost", display_name="", metadata={}, client_id=None, now=AT,
                )  # fmt: skip

        await operations.core.database.write(make)
    connection = sqlite3.connect(f"file:{folder / 'mail.db'}?vfs=unix-excl", uri=True, isolation_level=None)
    for pragma in (
        "journal_mode=OFF",
        "synchronous=OFF",
        "cache_size=-400000",
        "temp_store=MEMORY",
        "foreign_keys=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")
    vocabulary, chance, thread = Vocabulary(), random.Random(SEED), 0
    connection.execute("INSERT INTO blobs VALUES ('0', 2000, 'raw', zeroblob(0), 0)")
    boxes = {
        (inbox, name): number for number, inbox, name in connection.execute("SELECT no, inbox_no, name FROM mailboxes")
    }
    for inbox, count in enumerate(sizes(total), 1):
        progress(f"making {count:,} messages of inbox {inbox} of {INBOXES}")
        rows = _rows(inbox, count, boxes, vocabulary, chance, thread)
        thread += count
        while True:
            connection.execute("BEGIN")
            batch = [row for _, row in zip(range(BATCH), rows, strict=False)]
            for table, columns in _TABLES.items():
                values = [row for each in batch for row in each[table]]
                connection.executemany(insert_text(table, columns), values)
            connection.execute("COMMIT")
            if len(batch) < BATCH:
                break
    connection.execute(
        """UPDATE mailboxes SET uidnext = coalesce((SELECT max(uid) FROM messages WHERE mailbox_no = no), 0) + 1,
           highestmodseq = coalesce((SELECT max(modseq) FROM messages WHERE mailbox_no = no), 0),
           total = (SELECT count(*) FROM messages WHERE mailbox_no = no),
           unseen = (SELECT count(*) FROM messages WHERE mailbox_no = no AND seen = 0)"""
    )
    for inbox, count in enumerate(sizes(total), 1):
        connection.execute(
            """UPDATE inboxes SET next_n = ? + 1, change_seq = ?, (message_count, unread_count, storage_bytes) =
               (SELECT count(*), sum(1 - seen), sum(size) FROM messages WHERE inbox_no = ? AND aside = 0),
               thread_count = (SELECT count(*) FROM threads WHERE inbox_no = ? AND message_count > 0) WHERE no = ?""",
            (count, count, inbox, inbox, inbox),
        )
    connection.close()


_THREADS = (
    "seq", "id", "inbox_no", "subject", "base_subject", "participants_json", "labels_json", "message_count",
    "unread_count", "created_at", "last_at",
)  # fmt: skip
_TABLES: dict[str, tuple[str, ...]] = {
    "threads": _THREADS,
    "messages": MESSAGE_COLUMNS,
    "bodies": BODY_COLUMNS,
    "refs": ("inbox_no", "message_id", "thread_seq"),
    "labels": ("inbox_no", "label", "seq"),
    "changes": ("inbox_no", "n", "message_seq", "message_id", "what", "at"),
    "search": ("rowid", "subject", "sender", "recipients", "body", "files"),
}


def _rows(
    inbox: int,
    count: int,
    boxes: dict[tuple[int, str], int],
    vocabulary: Vocabulary,
    chance: random.Random,
    thread: int,
) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
    """What each message is in each table: threads of three, after one of a thousand; 2 % unread, 1 % spam."""
    message = dict.fromkeys(MESSAGE_COLUMNS, None) | {
        "inbox_no": inbox, "direction": "inbound", "status": "received", "kind": "human", "references_json": "[]",
        "to_json": f'[{{"email":"bench{inbox - 1}@agents.localhost","name":"Agent"}}]', "cc_json": "[]",
        "bcc_json": "[]", "reply_to_json": "[]", "mail_from": "ann@example.com", "labels_json": "[]",
        "has_attachments": 0, "answered": 0, "flagged": 0, "size": 2000, "est_tokens": 250, "blob_hash": "0",
        "new_participant": 0,
    }  # fmt: skip
    body = dict.fromkeys(BODY_COLUMNS, None) | {
        "links_json": "[]", "warnings_json": "[]", "authentication_json": "{}", "header_length": 500,
        "envelope_json": "[]", "structure_json": "[]", "reading_json": "{}", "rules_version": 1, "reply_text": "",
    }  # fmt: skip
    words, sentences = vocabulary.words, vocabulary.sentences
    long = min(LONG_THREAD, count // 2)
    step = 63_000_000_000_000 // count  # two years, whatever the size
    for n in range(1, count + 1):
        seq, at = inbox << 40 | n, AT + n * step + inbox
        first = n == 1 or (n > long and (n - long) % 3 == 1)
        within = 1 if n <= long else 2 + (n - long - 1) // 3
        spam = n % 100 == 99
        seen = 0 if n % 50 == 7 else 1
        picked = chance.choices(sentences, k=11)
        name = words[chance.randrange(4000)]
        subject = " ".join(chance.choices(words[:9000], k=4))
        text = "\n".join(picked)
        identity, message_id = new_id("msg", at), f"<{n:09}.{inbox}@example.com>"
        labels = ["invoice"] if n % 20 == 3 else ["rare"] if n % 5000 == 4 else []
        mailbox = boxes[inbox, "Spam" if spam else "INBOX"]
        row = message | {
            "seq": seq, "id": identity, "mailbox_no": mailbox, "uid": n, "modseq": n, "thread_seq": thread + within,
            "message_id": message_id, "from_address": f"{name}@example.com", "from_name": name.capitalize(),
            "subject": subject, "preview": text[:200], "seen": seen, "date": at, "received_at": at,
            "aside": int(spam), "came_n": n, "labels_json": f'["{labels[0]}"]' if labels else "[]",
        }  # fmt: skip
        length = long if within == 1 else 3
        new = (
            thread + within, new_id("thr", at), inbox, subject, subject, "[]", "[]", length, 0, at, at + length * step
        )  # fmt: skip
        sender = f"{name.capitalize()} {name}@example.com"
        yield {
            "threads": [new] if first else [],
            "messages": [tuple(row.values())],
            "bodies": [tuple((body | {"seq": seq, "text": text}).values())],
            "refs": [(inbox, message_id, thread + within)],
            "labels": [(inbox, label, seq) for label in labels],
            "changes": [(inbox, n, seq, identity, "new", at)],
            "search": [(seq, subject, sender, f"Agent bench{inbox - 1}@agents.localhost", text, "")],
        }


async def ready(base: Path, total: int) -> Path:
    """The folder of a store of this size, made if it is not there or was made for other tables."""
    made_of = hashlib.sha256(repr((sql.SCHEMA, search.SCHEMA, MADE)).encode()).hexdigest()
    folder = base / f"search-{total}"
    done = folder.with_suffix(".done")
    if not _is_made(folder, done, made_of):
        begun = time.perf_counter()
        await build(folder, total)
        progress(
            f"made {total:,} messages in {time.perf_counter() - begun:.0f} s: {_finish(folder, done, made_of):.1f} GB"
        )
    return folder


def _is_made(folder: Path, done: Path, made_of: str) -> bool:
    if done.exists() and done.read_text() == made_of:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return False


def _finish(folder: Path, done: Path, made_of: str) -> float:
    done.write_text(made_of)
    return (folder / "mail.db").stat().st_size / 1e9


# -- measuring -------------------------------------------------------------------------------------------------------


def resident() -> float:
    """MB of memory this process has now, or where that is not told, the most it had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


async def _times(call: Callable[[], Awaitable[object]], count: int) -> list[float]:
    taken: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - begun)
    return taken


def _raw_times(call: Callable[[], object], count: int) -> list[float]:
    taken: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return taken


def p99(times: list[float]) -> float:
    """The hundredth slowest is quicker than this."""
    return sorted(times)[max(0, len(times) * 99 // 100 - (len(times) % 100 == 0))]


class Lists:
    """Pages of one store, and the same rows by plain sqlite3."""

    def __init__(self, folder: Path, database: Database, total: int, chance: random.Random) -> None:
        self.database, self.chance = database, chance
        self.raw = sqlite3.connect(f"file:{folder / 'mail.db'}?vfs=unix-excl", uri=True, isolation_level=None)
        for pragma in ("query_only=1", "cache_size=-16384", "temp_store=MEMORY"):
            self.raw.execute(f"PRAGMA {pragma}")
        self.count = sizes(total)[0]
        self.bottom, self.top = messages.first_seq(1), messages.last_seq(1)
        (self.mailbox,) = self.raw.execute("SELECT no FROM mailboxes WHERE inbox_no = 1 AND name = 'INBOX'").fetchone()
        self.ids = [
            row[0]
            for row in self.raw.execute(
                "SELECT id FROM messages WHERE inbox_no + 0 = 1 AND seq IN (SELECT value FROM json_each(?))",
                (str([self.bottom + self.chance.randrange(1, self.count) for _ in range(500)]),),
            )
        ]

    def id(self) -> str:
        return self.chance.choice(self.ids)

    def raw_page(self, before: int) -> object:
        return self.raw.execute(RAW_PAGE, (1, before, self.bottom)).fetchall()

    def raw_message(self) -> object:
        return self.raw.execute(RAW_MESSAGE, (self.id(),)).fetchone()

    async def page(self, statement: sql.Statement, before: int, **more: Any) -> list[Any]:
        values: dict[str, Any] = {
            "inbox_no": 1, "inbox_id": "inb_1", "direction": "", "kind": "", "status": "", "held": 0, "unread": 0,
            "received_from": 0,
            "received_to": FOREVER, "before": before, "after": self.bottom, "limit": 50, "mailbox_no": 0, "label": "",
            "thread_seq": 0,
        } | more  # fmt: skip
        return await self.database.all(statement, slow=False, **values)

    async def threads(self, statement: sql.Statement, before_at: int = FOREVER, **more: Any) -> list[Any]:
        return await self.database.all(
            statement, slow=False, inbox_no=1, before_at=before_at, before=FOREVER, updated_from=0, unread=0, limit=50,
            **more,
        )  # fmt: skip


async def lists(large: Lists, small: Lists, *, rounds: int, count: int) -> None:
    """T4, T5, T6 and their neighbours."""
    deepest = large.bottom + 60
    middle = large.bottom + large.count // 2
    counters = sql.Statement(RAW_COUNTERS.replace("?", ":no"), "")
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "page": lambda: large.page(sql.messages_newest, large.top),
        "middle": lambda: large.page(sql.messages_newest, middle),
        "deepest": lambda: large.page(sql.messages_newest, deepest),
        "oldest first": lambda: large.page(sql.messages_oldest, large.top),
        "small": lambda: small.page(sql.messages_newest, small.top),
        "unread": lambda: large.page(sql.unread_newest, large.top),
        "mailbox": lambda: large.page(sql.mailbox_newest, large.top, mailbox_no=large.mailbox),
        "label": lambda: large.page(sql.label_newest, large.top, label="invoice"),
        "rare label": lambda: large.page(sql.label_newest, large.top, label="rare"),
        "thread": lambda: large.page(sql.thread_page_newest, large.top, thread_seq=1),
        "threads": lambda: large.threads(sql.threads_newest),
        "threads of a label": lambda: large.threads(sql.threads_labelled, label="invoice"),
        "threads of a rare label": lambda: large.threads(sql.threads_labelled, label="rare"),
        "changes": lambda: large.database.all(sql.changes_after, inbox_no=1, after=large.count // 2, limit=50),
        "message": lambda: messages.by_id(large.database, large.id()),
        "counters": lambda: inboxes.by_no(large.database, 1),
        "one row": lambda: large.database.one(counters, no=1),
    }
    found: dict[str, list[float]] = {name: [] for name in [*calls, "raw page", "raw deepest", "raw message"]}
    for number in range(-1, rounds):
        progress(f"lists, round {number + 1} of {rounds}")
        taken = {name: statistics.median(await _times(call, count)) for name, call in calls.items()}
        taken["raw page"] = statistics.median(_raw_times(lambda: large.raw_page(large.top), count))
        taken["raw deepest"] = statistics.median(_raw_times(lambda: large.raw_page(deepest), count))
        taken["raw message"] = statistics.median(_raw_times(large.raw_message, count))
        if number >= 0:
            for name, value in taken.items():
                found[name].append(value)
    report = Report(f"Lists of an inbox of {large.count:,} messages, 50 a page, warm: {rounds} rounds of {count}")
    report.times("plain sqlite3: page (floor)", found["raw page"], unit="µs")
    for name in calls:
        report.times(f"our store: {name}", found[name], unit="µs")
    report.at_most("T4  message by id / plain sqlite3", found["message"], found["raw message"], 4)
    report.at_most("T5  page / plain sqlite3", found["page"], found["raw page"], 2.2)
    report.at_most("T5  deepest page / plain sqlite3", found["deepest"], found["raw deepest"], 2.2)
    report.at_most("T5  deepest page / first page", found["deepest"], found["page"], 1.5)
    report.at_most("T5  page / page of the small store", found["page"], found["small"], 2)
    for name in ("unread", "mailbox", "label", "rare label", "thread"):
        report.at_most(f"T5  page of {name} / first page", found[name], found["page"], 1.5)
    report.at_most("T6  counters / one short row", found["counters"], found["one row"], 1.5)


def queries(raw: sqlite3.Connection, chance: random.Random, count: int) -> dict[str, list[tuple[int, str]]]:
    """For each sort of query, inboxes and texts. Words are picked by how many messages have them."""
    raw.execute("PRAGMA query_only=0")  # for a table of its own
    raw.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.words USING fts5vocab('main', 'search', 'row')")
    picked: dict[str, list[str]] = {}
    (total,) = raw.execute("SELECT count(*) FROM messages").fetchone()
    wanted = {"rare": (2, 400), "medium": (total // 1000, total // 100), "common": (total // 4, total)}
    everything = raw.execute("SELECT term, doc FROM temp.words").fetchall()
    for name, (least, most) in wanted.items():
        picked[name] = [term for term, doc in everything if least <= doc <= most and term.isalpha()]
    rare, medium, common = picked["rare"], picked["medium"], picked["common"]
    one = chance.choice
    made: dict[str, Callable[[], str]] = {
        "rare word": lambda: one(rare),
        "medium word": lambda: one(medium),
        "common word": lambda: one(common),
        "medium medium": lambda: f"{one(medium)} {one(medium)}",
        "common medium": lambda: f"{one(common)} {one(medium)}",
        "common common": lambda: f"{one(common)} {one(common)}",
        "phrase": lambda: f'"{one(common)} {one(medium)}"',
        "medium OR rare, -common": lambda: f"{one(medium)} OR {one(rare)} -{one(common)}",
        "from: and a word": lambda: f"from:{one(medium)} {one(common)}",
        "common, is:unread": lambda: f"{one(common)} is:unread",
        "label:, before:": lambda: "label:invoice before:2025-01-01",
        "prefix of 4": lambda: f"{one(medium)[:4]}*",
        "prefix of 3": lambda: f"{one(medium)[:3]}*",
        "nothing like it": lambda: f"{one(common)} kind:bounce",
        "words and operators mixed": lambda: f"({one(medium)} OR is:starred) {one(common)}",
    }
    numbers = list(range(1, INBOXES + 1))
    shares = sizes(100_000)
    return {name: [(chance.choices(numbers, shares)[0], make()) for _ in range(count)] for name, make in made.items()}


async def finding(large: Lists, *, count: int) -> None:
    """T7, by kinds of queries; newest first and by relevance. Showing reads the rows and texts of what was found."""
    asked = queries(large.raw, large.chance, count)
    for relevance in (False, True):
        order = "best first" if relevance else "newest first"
        report = Report(f"Search in one inbox, 20 hits, {order}: {count} queries each; p50 and p99")
        usual: list[float] = []
        showing: list[float] = []
        for name, pairs in asked.items():
            taken: list[float] = []
            for inbox, text in pairs[: count // 5] if relevance else pairs:
                query = parse(text, AT)
                begun = time.perf_counter()
                found = await search.find(
                    large.database, query, inbox, below=messages.last_seq(inbox),
                    limit=search.MOST_RANKED if relevance else 20, relevance=relevance,
                )  # fmt: skip
                ended = time.perf_counter()
                taken.append(ended - begun)
                await search.page(large.database, [hit.seq for hit in found.hits[:20]])
                showing.append(time.perf_counter() - ended)
            report.percentiles(name, statistics.median(taken), p99(taken), max(taken))
            if name in USUAL:
                usual += taken
        report.percentiles("showing what was found", statistics.median(showing), p99(showing), max(showing))
        if not relevance:
            report.limit("T7  newest first, words and phrases: p50", statistics.median(usual) * 1e3, 1, "ms")
            report.limit("T7  newest first, words and phrases: p99", p99(usual) * 1e3, 10, "ms")


async def calling(folder: Path, operations: Operations, large: Lists, *, count: int) -> None:
    """Search as a tool call: in one inbox, in all, and reading a message."""
    server: Any = application.App(settings_for(folder), operations).mcp_server("full")
    asked = queries(large.raw, large.chance, count)
    usual = [pair for name in USUAL for pair in asked[name]]
    large.chance.shuffle(usual)
    async with Client(server, mode="auto") as client:

        async def call(tool: str, **arguments: Any) -> None:
            answer = await client.call_tool(tool, arguments)
            assert not answer.is_error, answer.content

        texts = iter(usual * 4)

        async def one() -> None:
            inbox, text = next(texts)
            await call("search_messages", query=text, inbox=f"bench{inbox - 1}@agents.localhost")

        async def everywhere() -> None:
            await call("search_messages", query=next(texts)[1])

        async def read() -> None:
            await call("get_message", message_id=large.id(), mark_read=False)

        report = Report(f"Calls of tools by a client in this process: {count} each")
        for name, tool in (
            ("search, one inbox", one),
            (f"search, {INBOXES} inboxes", everywhere),
            ("get_message", read),
        ):
            await _times(tool, 5)
            taken = await _times(tool, count)
            report.percentiles(f"{name}: p50 and p99", statistics.median(taken), p99(taken), max(taken))
            if tool is not everywhere:  # which goes through them one after the other, and may have to read them all
                report.limit(f"{name}: p99", p99(taken) * 1e3, 50, "ms")


async def measure(base: Path, *, total: int, quick: bool) -> None:
    """All of it."""
    folders = [await ready(base, total), await ready(base, min(10_000, total))]
    async with (
        opened(settings_for(folders[0]), environ={}) as operations,
        opened(settings_for(folders[1]), environ={}) as few,
    ):
        begun = resident()
        large = Lists(folders[0], operations.core.database, total, random.Random(SEED))
        small = Lists(folders[1], few.core.database, min(10_000, total), random.Random(SEED))
        await lists(large, small, rounds=3 if quick else 7, count=50 if quick else 200)
        await finding(large, count=50 if quick else 300)
        await calling(folders[0], operations, large, count=50 if quick else 300)
        large.raw.close()
        small.raw.close()
        report = Report("Memory of the process, the benchmark's own words included")
        report.note(f"before reading {begun:.0f} MB, at the end {resident():.0f} MB")
        # Page caches of three readers and the writer for each store, and what Python keeps for itself.
        report.limit("grown by", resident() - begun, 160, "MB")


def main(*, quick: bool = False) -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    parser.add_argument("--messages", type=int, default=20_000 if quick else 1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "daimon-mcp-benchmarks")
    parser.add_argument("--quick", action="store_true", default=quick)
    given = parser.parse_args([] if quick else None)
    run(measure(given.folder, total=given.messages, quick=given.quick))


if __name__ == "__main__":
    main()
