"""The full-text index of messages, and finding in it: SQLite FTS5 behind functions of plain data.

The index keeps no text of its own: to take a message out, what was put in must be said again, word for word.

Finding never counts on a query being cheap. The words give candidates, newest first, by the thousand; what a query asks
beside words is looked up for those alone; and after `MOST_LOOKED_AT` of them, or `LONGEST` seconds, a search says how
far it came instead of going on. Statements here are SQLite's alone: another engine has its own index, and fills `add`,
`remove`, `find` and `page`.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daimon_mcp.domain.refusals import invalid
from daimon_mcp.domain.search_text import indexed as as_indexed
from daimon_mcp.domain.search_tree import Both, Either, Fact, Node, Not, Query, Words
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.compiled import Statement
from daimon_mcp.store.database import Database, Row, Transaction

# Contentless, because bodies hold the text already. One row for each message, rowid = messages.seq, so that an inbox is
# a range of rowids.
SCHEMA = """CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5(
    subject, sender, recipients, body, files, content='', tokenize="unicode61 remove_diacritics 2"
)"""

MAX_BODY = 200_000
MAX_FILES = 200_000

MOST_LOOKED_AT = 100_000  # candidates of one search
LONGEST = 1.0  # seconds of one search, looked at between its statements
MOST_RANKED = 2_000  # hits that are put in order of relevance: the newest
_MOST_WEIGHED = 10_000  # candidates that are weighed for that
_AT_ONCE = 4_000  # candidates of one statement, so that others have their turn in between
_MOST_APART = 8  # words that have to be looked up for themselves, because they are alternatives to something else
_WEIGHTS = (8.0, 4.0, 2.0, 1.0, 1.0)  # of the columns, for relevance

_SHOWN_CHARS = 200_000  # of all texts of one page together, read for showing where the words are

_ADD = Statement(
    "INSERT INTO search(rowid, subject, sender, recipients, body, files)"
    " VALUES (:seq, :subject, :sender, :recipients, :body, :files)",
    "",
)
_REMOVE = Statement(
    "INSERT INTO search(search, rowid, subject, sender, recipients, body, files)"
    " VALUES ('delete', :seq, :subject, :sender, :recipients, :body, :files)",
    "",
)


@dataclass(frozen=True, slots=True)
class Indexed:
    """What a message is found by."""

    subject: str
    sender: str
    recipients: str
    body: str
    files: str


def _values(indexed: Indexed) -> dict[str, str]:
    return {
        "subject": as_indexed(indexed.subject),
        "sender": as_indexed(indexed.sender),
        "recipients": as_indexed(indexed.recipients),
        "body": as_indexed(indexed.body[:MAX_BODY]),
        "files": as_indexed(indexed.files[:MAX_FILES]),
    }


def add(tx: Transaction, seq: int, indexed: Indexed) -> None:
    """Find a message by this from now on."""
    tx.run(_ADD, seq=seq, **_values(indexed))


def remove(tx: Transaction, seq: int, indexed: Indexed) -> None:
    """Find it no more; `indexed` must be what was added."""
    tx.run(_REMOVE, seq=seq, **_values(indexed))


def people(*lists: list[dict[str, str]]) -> str:
    """Names and addresses as they are indexed."""
    return "\n".join(f"{person['name']} {person['email']}".strip() for each in lists for person in each)


def rebuild(connection: sqlite3.Connection) -> None:
    """Make the whole index anew from the messages, in the order of their numbers."""
    connection.execute("INSERT INTO search(search) VALUES ('delete-all')")
    rows = connection.execute(
        """SELECT m.seq, m.subject, m.from_name, m.from_address, m.to_json, m.cc_json, m.bcc_json, b.text
           FROM messages m JOIN bodies b ON b.seq = m.seq WHERE m.deleted_at IS NULL ORDER BY m.seq"""
    )
    for seq, subject, name, address, to, cc, bcc, text in rows:
        files: list[Any] = []
        for filename, content in connection.execute(
            "SELECT filename, text FROM attachments WHERE seq = ? ORDER BY no", (seq,)
        ):
            files += [filename] if content is None else [filename, content]
        indexed = Indexed(
            subject=subject,
            sender=people([{"name": name, "email": address}]),
            recipients=people(json.loads(to), json.loads(cc), json.loads(bcc)),
            body=text,
            files="\n".join(files),
        )
        connection.execute(_ADD.sqlite, {"seq": seq, **_values(indexed)})


# -- finding ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was found; the lower its score, the better (0 when nobody asked)."""

    seq: int
    received_at: int
    score: float


@dataclass(frozen=True, slots=True)
class Hits:
    """What one inbox has: newest first, or best first.

    `position` is the number below which nothing was looked at yet, None when everything was.
    """

    hits: list[Hit]
    position: int | None


@dataclass(frozen=True, slots=True)
class FoundText:
    """What of a message's text a reader is shown hits in."""

    seq: int
    row: Row  # of the message, as the message statements have it
    body: str


class _Plan:
    """A query as SQL: candidates from the index (or, without words, from the list that is shortest), and conditions."""

    def __init__(self, query: Query, *, ranked: bool) -> None:
        self.values: dict[str, Any] = {}
        self.apart = 0
        self.ranked = ranked
        parts = query.node.nodes if isinstance(query.node, Both) else (query.node,) if query.node else ()
        words = [part for part in parts if not isinstance(part, Not) and expression(part) is not None]
        if words:
            words += [part for part in parts if isinstance(part, Not) and expression(part.node) is not None]
        rest = [part for part in parts if part not in words]
        conditions = ["m.deleted_at IS NULL", *([] if query.aside else ["m.aside = 0"])]
        conditions += [self._condition(part) for part in rest]
        if self.apart > _MOST_APART:
            raise invalid(
                "query",
                f"mixes words and operators in more than {_MOST_APART} alternatives",
                "(invoice OR bill) is:unread",
            )
        # What was asked for is in the parameters; the text is ours alone.
        self.statement = Statement(
            f"WITH found(seq, score) AS MATERIALIZED ({self._candidates(words, rest)}) "  # noqa: S608
            "SELECT 0, found.seq, m.received_at, found.score FROM found CROSS JOIN messages m ON m.seq = found.seq "
            f"WHERE {' AND '.join(conditions)} "
            "UNION ALL SELECT 1, min(seq), count(*), 0 FROM found",
            "",
        )

    def _candidates(self, words: Sequence[Node], rest: Sequence[Node]) -> str:
        between = "{0} < :before AND {0} >= :bottom"
        if words:
            self.values["match"] = expression(Both(tuple(words)) if len(words) > 1 else words[0])
            score = f"bm25(search, {', '.join(map(str, _WEIGHTS))})" if self.ranked else "0"
            return (
                f"SELECT rowid, {score} FROM search WHERE search MATCH :match AND {between.format('rowid')} "  # noqa: S608
                "ORDER BY rowid DESC LIMIT :scan"
            )
        facts = {part.name: part.value for part in rest if isinstance(part, Fact)}
        source = "messages WHERE"
        if "thread" in facts:
            self.values["source"] = facts["thread"]
            source = f"messages WHERE thread_seq = {_THREAD.format('source')} AND"
        elif "label" in facts:
            self.values["source"] = facts["label"]
            source = "labels WHERE inbox_no = :inbox_no AND label = :source AND"
        elif "unread" in facts:
            source = "messages WHERE inbox_no = :inbox_no AND seen = 0 AND deleted_at IS NULL AND"
        elif "mailbox" in facts:
            self.values["source"] = facts["mailbox"]
            source = f"messages WHERE mailbox_no = {_MAILBOX.format('source')} AND"
        return f"SELECT seq, 0 FROM {source} {between.format('seq')} ORDER BY seq DESC LIMIT :scan"  # noqa: S608

    def _value(self, value: str | int) -> str:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return name

    def _condition(self, node: Node) -> str:
        match = expression(node)
        if match is not None:
            self.apart += 1
            return (
                f"m.seq IN (SELECT rowid FROM search WHERE search MATCH :{self._value(match)} "  # noqa: S608
                "AND rowid >= (SELECT min(seq) FROM found) AND rowid <= (SELECT max(seq) FROM found))"
            )
        match node:
            case Both(nodes):
                return f"({' AND '.join(map(self._condition, nodes))})"
            case Either(nodes):
                return f"({' OR '.join(map(self._condition, nodes))})"
            case Not(inner):
                return f"NOT ({self._condition(inner)})"
            case Fact(name, value):
                return _FACTS[name].format(self._value(value))
            case Words():
                raise AssertionError("words can always be asked of the index")


_THREAD = "coalesce((SELECT coalesce(merged_into, seq) FROM threads WHERE id = :{0}), 0)"
_MAILBOX = "(SELECT no FROM mailboxes WHERE inbox_no = :inbox_no AND name = :{0})"
_FACTS = {
    "attachment": "m.has_attachments = :{0}",
    "unread": "m.seen = 1 - :{0}",
    "read": "m.seen = :{0}",
    "starred": "m.flagged = :{0}",
    "answered": "m.answered = :{0}",
    "held": "(m.hold_reason IS NOT NULL) = :{0}",
    "status": "m.status = :{0}",
    "kind": "m.kind = :{0}",
    "mailbox": f"m.mailbox_no = {_MAILBOX}",
    "thread": f"m.thread_seq = {_THREAD}",
    "label": "EXISTS (SELECT 1 FROM labels WHERE inbox_no = :inbox_no AND label = :{0} AND seq = m.seq)",
    "larger": "m.size > :{0}",
    "smaller": "m.size < :{0}",
    "after": "m.received_at >= :{0}",
    "before": "m.received_at < :{0}",
    "address": "lower(m.from_address) = :{0}",
    "cc": "instr(lower(m.cc_json), :{0}) > 0",
    "bcc": "instr(lower(m.bcc_json), :{0}) > 0",
}


def expression(node: Node) -> str | None:
    """The node as an FTS5 expression with every word quoted; None if the index alone cannot answer it."""
    match node:
        case Words(text, column, prefix):
            quoted = as_indexed(text).replace('"', " ")
            return f'{f"{column} : " if column else ""}"{quoted}"{" *" if prefix else ""}'
        case Either(nodes):
            found = [expression(each) for each in nodes]
            return None if None in found else f"({' OR '.join(map(str, found))})"
        case Both(nodes):
            found = [expression(each) for each in nodes if not isinstance(each, Not)]
            without = [expression(each.node) for each in nodes if isinstance(each, Not)]
            if not found or None in found or None in without:
                return None
            both = f"({' AND '.join(map(str, found))})"
            return f"({both} NOT ({' OR '.join(map(str, without))}))" if without else both
        case _:
            return None


def planned(query: Query, *, relevance: bool) -> tuple[Statement, dict[str, Any]]:
    """The statement that looks at some candidates of an inbox, and the values the query gives it."""
    plan = _Plan(query, ranked=relevance)
    return plan.statement, plan.values


async def find(
    database: Database,
    query: Query,
    inbox_no: int,
    *,
    below: int,
    limit: int,
    relevance: bool = False,
    share: int = 1,
) -> Hits:
    """Messages of an inbox with numbers below `below` that the query means, `limit` of them or fewer.

    Newest first; or, with `relevance`, about the newest `limit` in order of relevance, which is for a `limit` in the
    hundreds. Fewer than `limit` with a position: that is how far the search came, and newest first it can go on there.
    `share` is of how many such searches this is one: each goes as far as that leaves it.
    Raises INVALID_REQUEST for a query with too many mixed alternatives.
    """
    if query.node is None:
        return Hits([], None)
    statement, values = planned(query, relevance=relevance)
    bottom = inbox_no << 40
    hits: list[Hit] = []
    looked_at, deadline = 0, time.monotonic() + LONGEST / share
    # Every statement weighs words anew over the whole index: for relevance one should do, though some hits are aside.
    scan, enough, most = limit + 1, limit + 1, MOST_LOOKED_AT // share
    if relevance:
        scan, enough, most = limit + limit // 8, limit // 2, _MOST_WEIGHED
    while True:
        scan = min(scan, _AT_ONCE)
        rows = await database.all(
            statement, slow=True, inbox_no=inbox_no, before=below, bottom=bottom, scan=scan, **values
        )
        lowest, count = next((row[1], row[2]) for row in rows if row[0])
        hits += [Hit(seq, at, score) for end, seq, at, score in rows if not end]
        looked_at += count
        if count < scan:
            position = None
            break
        position = below = lowest
        if len(hits) >= enough or looked_at >= most or time.monotonic() > deadline:
            break
        scan *= 4
    hits.sort(key=lambda hit: -hit.seq)
    if len(hits) > limit:
        hits = hits[:limit]
        position = hits[-1].seq
    if relevance:
        hits.sort(key=lambda hit: (hit.score, -hit.seq))
    return Hits(hits, position)


_MESSAGES, _, _ = sql.message_by_seq.sqlite.partition(" WHERE ")
_COLUMNS, _, _TABLES = _MESSAGES.partition(" FROM ")
_PAGE = Statement(
    f"{_COLUMNS}, substr(bodies.text, 1, :chars) FROM {_TABLES} JOIN bodies ON bodies.seq = messages.seq "  # noqa: S608
    "WHERE messages.seq IN (SELECT value FROM json_each(:seqs))",
    "",
)
_FILES = Statement(
    "SELECT seq, filename, substr(text, 1, :chars) FROM attachments "
    "WHERE seq IN (SELECT value FROM json_each(:seqs)) ORDER BY seq, no",
    "",
)


async def page(database: Database, seqs: Sequence[int]) -> list[FoundText]:
    """The messages with these numbers, in this order, each with the beginning of its text."""
    rows = await database.all(_PAGE, seqs=json.dumps(list(seqs)), chars=_SHOWN_CHARS // max(4, len(seqs)))
    found = {row[0]: FoundText(row[0], row[:-1], row[-1]) for row in rows}
    return [found[seq] for seq in seqs if seq in found]


async def files(database: Database, seqs: Sequence[int]) -> dict[int, list[str]]:
    """Names of the attachments of these messages, each with the beginning of its text as far as that is known."""
    found: dict[int, list[str]] = {}
    left = _SHOWN_CHARS
    for seq, name, text in await database.all(_FILES, seqs=json.dumps(list(seqs)), chars=left // max(4, len(seqs))):
        found.setdefault(seq, []).append(f"{name}: {text[:left]}" if text and left else name)
        left -= min(left, len(text or ""))
    return found
