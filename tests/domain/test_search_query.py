"""The language of searches: what each form means, what no value can mean, and that any text is a query."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daimon_mcp.domain.clock import DAY, parse_time
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.search_query import parse
from daimon_mcp.domain.search_text import Marker, Wanted, folded, indexed, pieces
from daimon_mcp.domain.search_tree import Both, Either, Fact, Node, Not, Words
from daimon_mcp.store.search import SCHEMA, expression

NOW = parse_time("2026-11-21T12:00:00Z")


def node(text: str) -> Node | None:
    return parse(text, NOW).node


A, B, C = Words("a"), Words("b"), Words("c")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a b", Both((A, B))),
        ("a AND b", Both((A, B))),
        ('"a b"', Words("a b")),
        ("“a b”", Words("a b")),
        ('"a b', Words("a b")),
        ("a OR b", Either((A, B))),
        ("a | b OR c", Either((A, B, C))),
        ("a OR b c", Both((Either((A, B)), C))),
        ("(a b) OR c", Either((Both((A, B)), C))),
        ("a (b OR c)", Both((A, Either((B, C))))),
        ("a -b", Both((A, Not(B)))),
        ("a NOT b", Both((A, Not(B)))),
        ('a -"b c"', Both((A, Not(Words("b c"))))),
        ("-(a OR b)", Not(Either((A, B)))),
        ("NOT -a", A),
        ("a-b", Words("a-b")),
        ("a - b", Both((A, B))),
        ("inv*", Words("inv", prefix=True)),
        ('"q4 pla"*', Words("q4 pla", prefix=True)),
        ("in*", Words("in")),
        ("from:ann", Words("ann", "sender")),
        ("FROM:ann", Words("ann", "sender")),
        ("from: ann", Words("ann", "sender")),
        ("from:ann@Example.com", Both((Words("ann@Example.com", "sender"), Fact("address", "ann@example.com")))),
        ("from:(a OR b)", Either((Words("a", "sender"), Words("b", "sender")))),
        ('subject:"a b"', Words("a b", "subject")),
        ("to:a filename:b body:c", Both((Words("a", "recipients"), Words("b", "files"), Words("c", "body")))),
        ("cc:Ann", Both((Words("Ann", "recipients"), Fact("cc", "ann")))),
        ("has:attachment", Fact("attachment")),
        ("is:unread is:read", Both((Fact("unread"), Fact("read")))),
        ("label:Invoice", Fact("label", "invoice")),
        ('label:"two words"', Fact("label", "two words")),
        ("label:unread", Fact("unread")),
        ("in:sent", Fact("mailbox", "Sent")),
        ("-in:sent a", Both((Not(Fact("mailbox", "Sent")), A))),
        ("kind:auto-reply", Fact("kind", "auto_reply")),
        ("thread:thread_x1", Fact("thread", "thr_x1")),
        ("larger:20k smaller:1.5M", Both((Fact("larger", 20 << 10), Fact("smaller", 3 << 19)))),
        ("larger:100", Fact("larger", 100)),
        ("after:2026-11-01", Fact("after", parse_time("2026-11-01T00:00:00Z"))),
        ("before:2026/11/1", Fact("before", parse_time("2026-11-01T00:00:00Z"))),
        ("before:2026-11-01T09:00:00+02:00", Fact("before", parse_time("2026-11-01T07:00:00Z"))),
        ("newer_than:7d", Fact("after", NOW - 7 * DAY)),
        ("older_than:2w", Fact("before", NOW - 14 * DAY)),
        ("re:a", Words("re:a")),
        ("https://a.example/b", Words("https://a.example/b")),
        ("subject: OR", Words("subject:")),
        ("", None),
        ("  ", None),
        ("OR AND NOT - ()", None),
        ("!!! %", None),
        ('""', None),
        ("in:anywhere", None),
    ],
)
def test_what_a_text_means(text: str, meant: Node | None) -> None:
    assert node(text) == meant


@pytest.mark.parametrize(
    ("text", "empty", "near"),
    [
        ("from:", ("from",), ()),
        ("a subject: -(to: OR b) subject:", ("subject", "to"), ()),
        ("label: is:unread", ("label",), ()),
        ("form:ann Subjct:x OR frm:y", (), ("from", "subject")),
        ("from:ann subject: invoice has:attachment", (), ()),
        ("re:a https://a.example/b note:x 10:30 a:b", (), ()),
        ("from:form:x", (), ()),
        ('"from:" "form:x"', (), ()),
    ],
)
def test_what_looks_like_an_operator_and_is_none_is_noted(
    text: str, empty: tuple[str, ...], near: tuple[str, ...]
) -> None:
    query = parse(text, NOW)
    assert (query.empty, query.near) == (empty, near)


@pytest.mark.parametrize(
    ("text", "aside"),
    [
        ("a", False), ("in:trash a", True), ("label:spam", True), ("a OR in:spam", True), ("in:anywhere a", True),
        ("-in:trash a", False), ("-(in:trash a)", False), ("in:sent", False), ("in:inbox OR (a in:trash)", True),
    ],
)  # fmt: skip
def test_trash_and_spam_are_asked_for_by_name(text: str, *, aside: bool) -> None:
    assert parse(text, NOW).aside is aside


@pytest.mark.parametrize(
    "text",
    [
        "before:notadate", "after:2026-02-30", "before:2026-11-01T09:00:00", "older_than:soon", "newer_than:7",
        "larger:big", "has:money", "is:nice", "in:nowhere", "kind:odd", "a OR (b before:never)",
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_meant_is_refused_with_one_that_can(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(text, NOW)
    assert refused.value.code == RefusalCode.INVALID_REQUEST
    (problem,) = refused.value.fields
    assert problem.field == "query"
    assert problem.example is not None
    parse(problem.example, NOW)
    value = text.rpartition(":")[2].rstrip(")")
    assert value not in problem.problem.split(" ")


_ATOMS = [
    "a", "OR", "AND", "NOT", "-", "(", ")", '"', "*", "|", "from:", "subject:", "to:", "cc:", "label:", "is:unread",
    "in:trash", "inv*", " ", "\x00", "電話", "é", "^", "NEAR(", "+", "{subject}", ":", "'", "--", ";",
    "after:2026-01-01", "\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def index() -> Iterator[sqlite3.Connection]:
    """An empty index."""
    connection = sqlite3.connect(":memory:")
    connection.execute(SCHEMA)
    yield connection
    connection.close()


def _expressions(tree: Node | None) -> list[str]:
    """Every part of the tree that is asked of the index."""
    if tree is None:
        return []
    found = expression(tree)
    if found is not None:
        return [found]
    if isinstance(tree, Not):
        return _expressions(tree.node)
    return [each for part in tree.nodes for each in _expressions(part)] if isinstance(tree, (Both, Either)) else []


@given(st.one_of(st.text(max_size=500), st.lists(st.sampled_from(_ATOMS), max_size=200).map("".join)))
@example('"' * 500)
@example("(" * 500)
@example("-" * 500)
@example("from:" * 100)
@example("from: " * 80 + "a")
@example(" ".join("a" * 250))
@example(" OR ".join("ab" * 60))
@example("-(a " * 120)
@example("\u0e01" * 500)
def test_any_text_is_a_query_that_the_index_takes(index: sqlite3.Connection, text: str) -> None:
    begun = time.process_time()
    try:
        query = parse(text, NOW)
    except Refused as refused:
        if refused.code != RefusalCode.INVALID_REQUEST:
            raise
        return
    Marker([Wanted(each.text, each.prefix) for each in query.wanted()]).window(text)
    for each in _expressions(query.node):
        index.execute("SELECT rowid FROM search WHERE search MATCH ?", (each,)).fetchall()
    assert time.process_time() - begun < 2


def test_long_texts_are_read_in_linear_time() -> None:
    for atom in ("(", "-", '"a" ', "from: ", "a OR ", "in:spam ", "a*"):
        begun = time.process_time()
        parse(atom * 20_000, NOW)
        assert time.process_time() - begun < 5


@given(st.text(max_size=80))
def test_folding_keeps_places(text: str) -> None:
    assert len(folded(text)) == len(text)


def test_characters_of_unspaced_scripts_are_words() -> None:
    assert indexed("iPhone手机") == "iPhone 手  机 "
    assert pieces("Müller 電話ABC") == ["muller", "電", "話", "abc"]
    assert indexed("plain text") == "plain text"
    assert pieces("ＡＢＣ ｶﾞ") == ["abc", "ガ"]


@pytest.mark.parametrize(
    ("wanted", "text", "shown"),
    [
        ("invoice", "Your Invoice is here", "Your **Invoice** is here"),
        ("muller", "Herr Müller kam", "Herr **Müller** kam"),
        ("q4 plan", "the q4-plan and the plan of q4", "the **q4-plan** and the plan of q4"),
        ("番号", "電話番号です", "電話**番号**です"),
        ("strasse", "Lange Straße 7", "Lange **Straße** 7"),
        ("Straße", "STRASSE und STRAẞE", "**STRASSE** und **STRAẞE**"),
        ("lodz oesterbro", "Łódź, Œsterbro", "**Łódź, Œsterbro**"),
        ("kobenhavn", "København", "**København**"),
        ("voice", "Your invoice", None),
        ("now", "pay **now** or *now*", "pay **now** or **now**"),
        ("xa", "x\u202ea\u200b  \r\n b\x07", "**xa** b"),
        ("b", "a\r\n\r\n  b", "a **b**"),
    ],
)
def test_windows_mark_what_was_asked_for_and_nothing_else(wanted: str, text: str, shown: str | None) -> None:
    assert Marker([Wanted(wanted)]).window(text) == shown


def test_a_window_is_short_and_where_most_hits_are() -> None:
    text = (
        "filler words " * 300
        + "the first hit alone "
        + "more filler " * 300
        + "first and second together "
        + "end " * 99
    )
    window = Marker([Wanted("first"), Wanted("second")]).window(text)
    assert window is not None
    assert "**first** and **second**" in window
    assert window.startswith("…")
    assert window.endswith("…")
    assert len(window) < 190
    assert Marker([Wanted("secon", prefix=True)]).window("a seconds b") == "a **seconds** b"
