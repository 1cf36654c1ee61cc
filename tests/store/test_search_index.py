"""The search index through the store: what is found, in what order, how far one search goes; which index lists use."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.search_query import parse
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import search
from daimon_mcp.store.database import Database, Transaction
from daimon_mcp.store.migrations import migrate
from daimon_mcp.store.search import Hits, Indexed

NOW = 1_790_000_000_000_000
LETTER = Indexed(subject="", sender="", recipients="", body="", files="")


class Index:
    """A store whose messages have nothing but what search looks at."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.added: dict[int, Indexed] = {}

    async def add(self, inbox_no: int, n: int, indexed: Indexed | str, **columns: object) -> int:
        """A message of an inbox; its columns as the table has them."""
        seq = inbox_no << 40 | n
        what = indexed if isinstance(indexed, Indexed) else Indexed("", "", "", indexed, "")
        values = {
            "seq": seq, "id": f"msg_{seq}", "inbox_no": inbox_no, "mailbox_no": inbox_no, "uid": n, "modseq": n,
            "thread_seq": inbox_no, "direction": "inbound", "status": "received", "kind": "human",
            "references_json": "[]", "from_address": "ann@example.com", "from_name": "", "to_json": "[]",
            "cc_json": "[]", "bcc_json": "[]", "reply_to_json": "[]", "subject": what.subject, "preview": "",
            "labels_json": "[]", "size": 100, "est_tokens": 1, "blob_hash": "0", "received_at": NOW + n,
        } | columns  # fmt: skip
        insert = f"INSERT INTO messages ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})"

        def run(tx: Transaction) -> None:
            tx.run(sql.Statement(insert, ""), **values)
            body = "INSERT INTO bodies VALUES (:seq, :text, '', NULL, '[]', '[]', '{}', 0, '', '', '{}', 1)"
            tx.run(sql.Statement(body, ""), seq=seq, text=what.body)
            search.add(tx, seq, what)

        await self.database.write(run)
        self.added[seq] = what
        return seq

    async def replace(self, seq: int, indexed: Indexed) -> None:
        """Index it anew."""

        def run(tx: Transaction) -> None:
            search.remove(tx, seq, self.added[seq])
            search.add(tx, seq, indexed)

        await self.database.write(run)
        self.added[seq] = indexed

    async def remove(self, seq: int) -> None:
        """Take it out."""
        await self.database.write(lambda tx: search.remove(tx, seq, self.added.pop(seq)))

    async def run(self, text: str, *values: object) -> None:
        """Any statement, values in the order :a, :b."""
        names = dict(zip("abcdef", values, strict=False))
        await self.database.write(lambda tx: tx.run(sql.Statement(text, ""), **names))

    async def find(
        self, text: str, inbox_no: int = 1, *, below: int | None = None, limit: int = 50, relevance: bool = False
    ) -> Hits:
        """A search."""
        top = (inbox_no + 1) << 40 if below is None else below
        query = parse(text, NOW)
        return await search.find(self.database, query, inbox_no, below=top, limit=limit, relevance=relevance)

    async def ns(self, text: str, inbox_no: int = 1, *, relevance: bool = False) -> list[int]:
        """The numbers within the inbox of what is found."""
        return numbers(await self.find(text, inbox_no, relevance=relevance))


def numbers(hits: Hits) -> list[int]:
    """The numbers within the inbox."""
    return [hit.seq & ((1 << 40) - 1) for hit in hits.hits]


@pytest.fixture
async def index(tmp_path: Path) -> AsyncGenerator[Index]:
    """Two inboxes with a mailbox INBOX and a thread each; foreign keys are not what is looked at here."""

    def prepare(connection: sqlite3.Connection) -> None:
        migrate(connection, backups=tmp_path / "backups")
        connection.execute("PRAGMA foreign_keys=OFF")

    database = Database(tmp_path / "mail.db", on_commit=lambda _: None)
    await database.open(prepare)
    made = Index(database)
    await made.run(
        "INSERT INTO accounts (no, id, kind, tier, status, created_at) "
        "VALUES (1, 'acc_1', 'agent', 'free', 'active', 0)"
    )
    for no in (1, 2):
        await made.run(
            "INSERT INTO inboxes (no, id, account_no, address, display_name, status, metadata_json, created_at) "
            "VALUES (:a, :b, 1, :b, '', 'active', '{}', 0)", no, f"inb_{no}",
        )  # fmt: skip
        for number, name in ((no, "INBOX"), (no + 10, "Trash")):
            await made.run(
                "INSERT INTO mailboxes (no, inbox_no, name, uidvalidity) VALUES (:a, :b, :c, 1)", number, no, name
            )
        await made.run(
            "INSERT INTO threads (seq, id, inbox_no, subject, base_subject, participants_json, labels_json, "
            "message_count, unread_count, created_at, last_at) VALUES (:a, :b, :a, '', '', '[]', '[]', 1, 0, 0, 0)",
            no, f"thr_{no}",
        )  # fmt: skip
    yield made
    await database.close()


async def test_newest_first_within_one_inbox(index: Index) -> None:
    for n in (1, 2, 3):
        await index.add(1, n, "an invoice")
    await index.add(2, 1, "an invoice")
    assert await index.ns("invoice") == [3, 2, 1]
    assert await index.ns("invoice", 2) == [1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("apple", [5, 4, 2, 1]),
        ("apple pear", [4, 1]),
        ('"apple pear"', [1]),
        ("pear OR plum", [4, 3, 1]),
        ("apple -pear", [5, 2]),
        ("apple -(pear OR fig)", [5]),
        ("-apple", [3]),
        ("app*", [5, 4, 2, 1]),
        ("subject:apple", [5]),
        ("from:apple", []),
        ("from:zoe", [5]),
        ("to:zoe", []),
        ("filename:report", [2]),
        ("report", [2]),
        ("is:unread", [3, 1]),
        ("apple is:unread", [1]),
        ("-is:unread apple", [5, 4, 2]),
        ("pear OR is:unread", [4, 3, 1]),
        ("(plum is:unread) OR subject:apple", [5, 3]),
        ("(fig OR is:unread) apple -pear", [2]),
        ("has:attachment", [2]),
        ("larger:500", [4]),
        ("smaller:500 apple", [5, 2, 1]),
        ("label:x", [4, 1]),
        ("label:x pear -\"apple pear\"", [4]),
        ("-label:x apple", [5, 2]),
        ("label:nothing", []),
        ("kind:bounce", [3]),
        ("thread:thr_1", [5, 4, 3, 2, 1]),
        ("thread:thr_2", []),
        ("-thread:thr_9 plum", [3]),
        ("from:zoe@example.org", [5]),
        ("from:zoe@example", [5]),
        ("from:zoe@example.org.evil", []),
        ("cc:bob", [1]),
        ("bcc:bob", []),
        ("in:inbox plum", [3]),
        ("in:sent", []),
        ("!!!", []),
        ("nothing", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("relevance", [False, True])
async def test_what_a_query_finds(index: Index, text: str, found: list[int], *, relevance: bool) -> None:
    await index.add(
        1,
        1,
        Indexed("", "", "Bob bob@example.com", "apple pear", ""),
        cc_json='[{"email":"Bob@example.com","name":""}]',
    )
    await index.add(1, 2, Indexed("", "", "", "apple fig", "report.pdf"), has_attachments=1, seen=1)
    await index.add(1, 3, "plum", kind="bounce")
    await index.add(1, 4, "apple and a pear", size=1000, seen=1)
    await index.add(1, 5, Indexed("Apple", "Zoe zoe@example.org", "", "", ""), from_address="Zoe@example.org", seen=1)
    for n in (1, 4):
        await index.run("INSERT INTO labels VALUES (1, 'x', :a)", 1 << 40 | n)
    assert sorted(await index.ns(text, relevance=relevance), reverse=True) == found
    if not relevance:
        assert await index.ns(text) == found


async def test_case_diacritics_and_compatible_forms_are_one(index: Index) -> None:
    await index.add(1, 1, "Ärger mit der Größe, ＦＵＬＬ ｶﾞｽ, re\u0301sume\u0301 И́ван")
    for text in ("arger", "ÄRGER", "a\u0308rger", "größe", "full", "ガス", "ｶﾞｽ", "resume", "résumé"):
        assert await index.ns(text) == [1], text


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("会議は明日の午後三時からです。", ["会議", "明日", "午後三時", "三", "議は明"]),
        ("请查收附件发票", ["发票", "附件", "收附"]),
        ("ขอบคุณสำหรับใบแจ้งหนี้", ["ใบแจ้งหนี้", "ขอบคุณ"]),
        ("오늘 회의록을 보냅니다", ["회의", "회의록", "보냅"]),
        ("ຂອບໃຈ", ["ໃຈ"]),
        ("счёт-фактура № 7", ["счёт", "фактура", "СЧЁТ"]),
        ("الفاتورة مرفقة", ["الفاتورة"]),
        ("धन्यवाद मित्र", ["धन्यवाद"]),
        ("注文番号ABC123です", ["注文番号ABC123", "ABC123", "番号", "abc*"]),
        ("𠮷野家", ["𠮷野", "野家"]),
    ],
)
async def test_any_part_is_found_where_words_have_no_spaces(index: Index, body: str, parts: Sequence[str]) -> None:
    await index.add(1, 1, body)
    await index.add(1, 2, "something else 会 発 ข 오")
    for part in parts:
        assert await index.ns(part) == [1], part
        assert await index.ns(f'"{part}"') == [1], part


async def test_what_is_taken_out_or_altered_is_found_so(index: Index) -> None:
    seq = await index.add(1, 1, "old 電話 Größe")
    await index.add(1, 2, "old too")
    await index.replace(seq, Indexed("", "", "", "old 電話 Größe", "contract.pdf\nsigned by Zoe"))
    assert await index.ns("filename:zoe") == [1]
    await index.remove(seq)
    for text in ("電話", "größe", "zoe", "contract"):
        assert await index.ns(text) == []
    await index.run("UPDATE messages SET deleted_at = 1 WHERE seq = :a", seq)
    assert await index.ns("old") == [2]
    assert await index.ns("-nothing") == [2]
    # An index that was told something else than it holds says so.
    await index.run("INSERT INTO search(search) VALUES ('integrity-check')")


async def test_rebuilding_finds_the_same(index: Index, tmp_path: Path) -> None:
    await index.add(1, 1, Indexed("件名 Größe", "", "", "電話番号", ""))
    await index.database.close()
    connection = sqlite3.connect(tmp_path / "mail.db")
    search.rebuild(connection)
    connection.commit()
    for text in ("電話", "件名", "GROSSE OR größe"):
        expression = search.expression(parse(text, NOW).node)  # pyright: ignore[reportArgumentType]
        found = connection.execute("SELECT rowid FROM search WHERE search MATCH ?", (expression,)).fetchall()
        assert found == [(1 << 40 | 1,)], text
    connection.close()


async def test_trash_and_spam_are_left_out_unless_asked_for(index: Index) -> None:
    await index.add(1, 1, "plum")
    await index.add(1, 2, "plum", mailbox_no=11, aside=1)
    assert await index.ns("plum") == [1]
    assert await index.ns("is:unread") == [1]
    assert await index.ns("plum in:trash") == [2]
    assert await index.ns("in:trash") == [2]
    assert await index.ns("in:anywhere plum") == [2, 1]
    assert await index.ns("plum -in:trash") == [1]


async def test_pages_go_on_where_the_last_ended_whatever_arrives(index: Index) -> None:
    for n in range(1, 31):
        await index.add(1, n, "plum" if n % 3 else "fig", seen=n % 2)
    newer = 1000
    for text, all_ in (("plum", 20), ("is:unread", 15), ("plum is:unread", 10), ("plum OR is:unread", 25)):
        seen: list[int] = []
        below: int | None = None
        while True:
            page = await index.find(text, below=below, limit=7)
            seen += numbers(page)
            newer += 1
            await index.add(1, newer, "plum")
            if page.position is None:
                break
            below = page.position
        assert len(seen) == len(set(seen)) == all_, text
        assert seen == sorted(seen, reverse=True)
        for seq in [seq for seq in index.added if seq > (1 << 40 | 1000)]:
            await index.remove(seq)
            await index.run("UPDATE messages SET deleted_at = 1 WHERE seq = :a", seq)


async def test_a_full_last_page_says_that_it_is_the_last(index: Index) -> None:
    for n in range(1, 6):
        await index.add(1, n, "plum")
    assert (await index.find("plum", limit=5)).position is None
    assert (await index.find("plum", limit=4)).position == 1 << 40 | 2


async def test_a_search_ends_and_says_how_far_it_came(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(1, 101):
        await index.add(1, n, "plum", seen=1)
    await index.run("UPDATE messages SET seen = 0 WHERE seq = :a", 1 << 40 | 1)
    monkeypatch.setattr(search, "MOST_LOOKED_AT", 30)
    monkeypatch.setattr(search, "_AT_ONCE", 10)
    found: list[int] = []
    searches, below = 0, None
    while True:
        page = await index.find("plum is:unread", below=below, limit=5)
        found += numbers(page)
        searches += 1
        if page.position is None:
            break
        assert below is None or page.position < below
        below = page.position
    assert found == [1]
    assert searches == 3
    monkeypatch.setattr(search, "LONGEST", -1.0)
    assert (await index.find("plum is:unread", limit=5)).position == 1 << 40 | 95


async def test_relevance_puts_the_better_first(index: Index) -> None:
    await index.add(1, 1, Indexed("Plum", "", "", "about plums and the plum", ""))
    await index.add(1, 2, "plum in a longer text about many other things that are not fruit at all")
    await index.add(1, 3, "nothing")
    assert await index.ns("plum", relevance=True) == [1, 2]
    assert await index.ns("plum") == [2, 1]
    # Of more hits than are wanted, the newest are put in order.
    ranked = await index.find("plum", limit=1, relevance=True)
    assert numbers(ranked) == [2]


async def test_too_many_mixed_alternatives_are_refused(index: Index) -> None:
    text = " ".join(f"(a{n} OR is:unread)" for n in range(9))
    with pytest.raises(Refused) as refused:
        await index.find(text)
    assert refused.value.code == RefusalCode.INVALID_REQUEST
    assert await index.ns(" ".join(f"(a{n} OR is:unread)" for n in range(8))) == []


# -- how lists are found ---------------------------------------------------------------------------------------------

_BY = {
    "messages_newest": "messages USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    "messages_oldest": "messages USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    "unread_newest": "messages USING INDEX messages_unread (inbox_no=? AND seq>? AND seq<?)",
    "unread_oldest": "messages USING INDEX messages_unread (inbox_no=? AND seq>? AND seq<?)",
    "unread_after": "messages USING INDEX messages_unread (inbox_no=? AND seq>?)",
    "mailbox_newest": "messages USING INDEX messages_mailbox (mailbox_no=? AND seq>? AND seq<?)",
    "mailbox_oldest": "messages USING INDEX messages_mailbox (mailbox_no=? AND seq>? AND seq<?)",
    "thread_page_newest": "messages USING INDEX messages_thread (thread_seq=? AND seq>? AND seq<?)",
    "thread_page_oldest": "messages USING INDEX messages_thread (thread_seq=? AND seq>? AND seq<?)",
    "thread_messages": "messages USING INDEX messages_thread (thread_seq=? AND seq>?)",
    "thread_newest": "messages USING INDEX messages_thread (thread_seq=? AND seq<?)",
    "label_newest": "labels USING PRIMARY KEY (inbox_no=? AND label=? AND seq>? AND seq<?)",
    "label_oldest": "labels USING PRIMARY KEY (inbox_no=? AND label=? AND seq>? AND seq<?)",
    "arrived_after": "changes USING PRIMARY KEY (inbox_no=? AND n>? AND n<?)",
    "changes_after": "changes USING PRIMARY KEY (inbox_no=? AND n>?)",
    "threads_newest": "threads USING INDEX threads_inbox (inbox_no=? AND last_at>? AND last_at<?)",
    "message_by_message_id": "messages USING INDEX messages_message_id (inbox_no=? AND message_id=?)",
}


@pytest.mark.parametrize("name", _BY)
async def test_a_list_goes_down_its_index_in_order(index: Index, name: str) -> None:
    statement: sql.Statement = getattr(sql, name)
    values = dict.fromkeys(re.findall(r":(\w+)", statement.sqlite), 1)
    plan = [row[3] for row in await index.database.all(_explained(statement), slow=False, **values)]
    assert any(line.endswith(_BY[name]) for line in plan), plan
    assert not any(line.startswith("SCAN") or "TEMP B-TREE" in line for line in plan), plan


async def test_threads_with_a_label_cost_what_is_labelled(index: Index) -> None:
    values = dict.fromkeys(re.findall(r":(\w+)", sql.threads_labelled.sqlite), 1)
    plan = [row[3] for row in await index.database.all(_explained(sql.threads_labelled), slow=False, **values)]
    assert "SEARCH labels USING PRIMARY KEY (inbox_no=? AND label=?)" in plan
    assert "SEARCH threads USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert not any("CORRELATED" in line for line in plan), plan


def _explained(statement: sql.Statement) -> sql.Statement:
    return sql.Statement(f"EXPLAIN QUERY PLAN {statement.sqlite}", "")


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("plum is:unread", "search VIRTUAL TABLE INDEX"),
        ("kind:bounce", "messages USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        ("is:unread", "messages USING INDEX messages_unread (inbox_no=? AND seq>? AND seq<?)"),
        ("label:x is:unread", "labels USING PRIMARY KEY (inbox_no=? AND label=? AND seq>? AND seq<?)"),
        ("thread:thr_1", "messages USING COVERING INDEX messages_thread (thread_seq=? AND seq>? AND seq<?)"),
        ("in:sent", "messages USING COVERING INDEX messages_mailbox (mailbox_no=? AND seq>? AND seq<?)"),
    ],
)
async def test_a_search_starts_from_the_shortest_list(index: Index, text: str, by: str) -> None:
    statement, values = search.planned(parse(text, NOW), relevance=False)
    common = {"inbox_no": 1, "before": 2 << 40, "bottom": 1 << 40, "scan": 10}
    plan = [row[3] for row in await index.database.all(_explained(statement), slow=False, **common, **values)]
    found = next(number for number, line in enumerate(plan) if line.startswith("MATERIALIZE found"))
    assert by in plan[found + 1], plan
    assert "SEARCH m USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert not any("TEMP B-TREE" in line for line in plan), plan
