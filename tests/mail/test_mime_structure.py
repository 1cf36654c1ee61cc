"""The MIME tree: sections, ranges, ENVELOPE and BODYSTRUCTURE facts."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daimon_mcp.mail.address_headers import MAX_ADDRESSES
from daimon_mcp.mail.structure import MAX_NESTING, MAX_PARTS, Part, analyse, envelope_facts, structure_facts

Mail = Callable[[str], bytes]


def _outline(part: Part) -> list[tuple[str, str]]:
    return [(each.path, each.content_type) for each in part.walk()]


def test_sections_of_nested_messages_and_digests(mail: Mail) -> None:
    content = mail("nested_message")
    root = analyse(content)
    assert _outline(root) == [
        ("", "multipart/mixed"),
        ("1", "text/plain"),
        ("2", "message/rfc822"),
        ("2", "multipart/alternative"),
        ("2.1", "text/plain"),
        ("2.2", "text/html"),
        ("3", "multipart/digest"),
        ("3.1", "message/rfc822"),
        ("3.1.1", "text/plain"),
        ("3.2", "message/rfc822"),
        ("3.2.1", "text/plain"),
    ]
    nested = root.children[1]
    assert nested.envelope is not None
    assert nested.envelope["subject"] == "Inner subject"
    assert nested.envelope["from"] == [["Inner, Person", None, "inner", "x.example"]]


def test_the_line_end_before_a_boundary_belongs_to_it(mail: Mail) -> None:
    content = mail("nested_message")
    first = analyse(content).children[0]
    assert content[first.body_start : first.body_end] == b"See the attached mail."
    assert (first.size, first.lines) == (22, 0)
    assert content[first.header_start : first.body_start] == b"\r\n"
    assert first.params == {"charset": "us-ascii"}


def test_message_that_is_no_multipart() -> None:
    root = analyse(b"Content-Type: text/plain\r\n\r\none\r\ntwo\r\n")
    assert (root.path, root.size, root.lines, root.encoding) == ("1", 10, 2, "7bit")
    nested = analyse(b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx")
    assert _outline(nested) == [("1", "message/rfc822"), ("1.1", "text/plain")]


def test_fields_of_a_part() -> None:
    part = analyse(
        b"Content-Type: IMAGE/Png; Name=a.png\r\nContent-Transfer-Encoding: BASE64\r\nContent-ID: <i@x>\r\n"
        b"Content-Description: =?utf-8?q?a?=\r\nContent-Disposition: INLINE; filename=b.png\r\n"
        b"Content-Language: en, de\r\nContent-Location: here\r\nContent-MD5: Q2hlY2s=\r\n\r\nAAAA"
    )
    facts = structure_facts(part)
    assert facts == {
        "path": "1",
        "header": [0, part.body_start],
        "body": [part.body_start, part.body_start + 4],
        "type": "image",
        "subtype": "png",
        "params": {"name": "a.png"},
        "id": "<i@x>",
        "description": "=?utf-8?q?a?=",
        "encoding": "base64",
        "size": 4,
        "lines": 0,
        "disposition": "inline",
        "disposition_params": {"filename": "b.png"},
        "language": ["en", "de"],
        "location": "here",
        "md5": "Q2hlY2s=",
        "children": [],
    }


def test_an_envelope_names_no_more_than_so_many_however_they_are_spread_over_fields() -> None:
    for name in ("From", "Sender", "Reply-To", "To", "Cc", "Bcc"):
        field = f"{name}: ".encode() + b"a@x.org, " * 700 + b"\r\n"
        facts = envelope_facts(analyse(field * 3 + b"\r\n").headers)
        assert len(facts[name.lower().replace("-", "_")]) == MAX_ADDRESSES


def test_envelope_keeps_raw_words_and_fills_in_the_sender() -> None:
    content = b"From: =?utf-8?q?Zo=C3=AB?= <z@x.org>\r\nSubject: =?utf-8?q?=C3=A9?=\r\n x\r\nReply-To:\r\n\r\n"
    facts = envelope_facts(analyse(content).headers)
    zoe = [["=?utf-8?q?Zo=C3=AB?=", None, "z", "x.org"]]
    assert (facts["from"], facts["sender"], facts["reply_to"]) == (zoe, zoe, zoe)
    assert facts["subject"] == "=?utf-8?q?=C3=A9?= x"
    assert (facts["to"], facts["bcc"], facts["date"], facts["message_id"]) == ([], [], None, None)


def test_part_without_a_blank_line_ends_at_the_boundary() -> None:
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n--b--\r\nepilogue"
    [child] = analyse(content).children
    assert child.content_type == "text/html"
    assert child.size == 0


def test_outer_boundary_closes_inner_multiparts() -> None:
    content = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n"
        b"--i\r\n\r\nfirst\r\n--o\r\n\r\nsecond\r\n--o--\r\n"
    )
    root = analyse(content)
    assert _outline(root)[1:] == [("1", "multipart/mixed"), ("1.1", "text/plain"), ("2", "text/plain")]
    assert root.warnings == ()
    second = root.children[1]
    assert content[second.body_start : second.body_end] == b"second"


def test_boundaries_match_whole_lines_only() -> None:
    content = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bb\n --b\nx--b\n--b \t\n\nlast\n--b--"
    root = analyse(content)
    assert len(root.children) == 2
    first = root.children[0]
    assert content[first.body_start : first.body_end] == b"--bb\n --b\nx--b"


def test_multipart_without_parts_is_one_text() -> None:
    for head in (b"Content-Type: multipart/mixed", b"Content-Type: multipart/mixed; boundary=zz"):
        root = analyse(head + b"\r\n\r\nwords")
        assert _outline(root) == [("", "multipart/mixed"), ("1", "text/plain")]
        assert root.children[0].size == 5


def test_too_deep_and_too_many_stay_opaque() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200))
    root = analyse(deep)
    assert len(list(root.walk())) <= MAX_NESTING + 1
    assert "nested too deeply" in root.warnings
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * (MAX_PARTS + 100)
    root = analyse(many)
    assert len(list(root.walk())) == MAX_PARTS
    assert "too many parts" in root.warnings


def _contained(part: Part) -> None:
    assert part.header_start <= part.body_start <= part.body_end
    assert part.size == part.body_end - part.body_start
    end = part.body_start
    for child in part.children:
        assert child.header_start >= end
        assert child.body_end <= part.body_end
        end = child.body_end
        _contained(child)


_LINES = st.sampled_from(
    [b"", b"--a", b"--a--", b"--b", b"--b--", b"text", b" fold", b"X: y", b"Content-Type: message/rfc822"]
    + [
        b"Content-Type: multipart/%s; boundary=%s" % (kind, name)
        for kind in (b"mixed", b"digest")
        for name in (b"a", b"b")
    ]
)


@given(st.lists(_LINES, max_size=60), st.sampled_from([b"\n", b"\r\n"]))
@example(
    # The inner header has no blank line: it holds the line end before the outer boundary.
    [
        b"Content-Type: multipart/mixed; boundary=a",
        b"",
        b"--a",
        b"Content-Type: multipart/mixed; boundary=b",
        b"--b",
        b"--a",
    ],
    b"\n",
)
@settings(deadline=None)
def test_ranges_nest_whatever_the_lines(lines: list[bytes], line_end: bytes) -> None:
    content = line_end.join(lines)
    root = analyse(content)
    assert root.body_end == len(content)
    _contained(root)
    json.dumps(structure_facts(root))


def test_facts_of_the_corpus_are_json(corpus: dict[str, bytes]) -> None:
    for content in corpus.values():
        root = analyse(content)
        assert json.loads(json.dumps(structure_facts(root)))["body"] == [root.body_start, root.body_end]


@pytest.mark.parametrize(
    ("named", "used"),
    [
        (b'"a\r\n b"', b"ab"),
        (b'"a\r\n b"', b"a b"),
        (b'"a  b"', b"a  b"),
        (b"'ab'", b"ab"),
        (b"'ab'", b"'ab'"),
        (b'"a\xe9b"', b"a\xe9b"),
        ('"aéb"'.encode(), "aéb".encode()),
        (b"=?x", b"=?x"),
        (b'"a=b"', b"a=b"),
        (b'a"b', b'a"b'),
    ],
)
def test_boundaries_as_they_are_meant(named: bytes, used: bytes) -> None:
    root = analyse(
        b"Content-Type: multipart/mixed; boundary=" + named + b"\r\n\r\n--" + used + b"\r\n\r\none\r\n--" + used + b"--"
    )
    assert _outline(root) == [("", "multipart/mixed"), ("1", "text/plain")]
    assert (root.children[0].size, root.warnings) == (3, ())


def test_boundary_that_is_not_told_or_is_another() -> None:
    parts = b"--zz\r\nContent-Type: text/html\r\n\r\none\r\n--zz\r\n\r\ntwo\r\n--zz--\r\n"
    for head in (b"multipart/mixed", b'multipart/mixed; boundary="yy"', b'multipart/mixed; boundary=""'):
        root = analyse(b"Content-Type: " + head + b"\r\n\r\nA preamble.\r\n" + parts)
        assert _outline(root)[1:] == [("1", "text/html"), ("2", "text/plain")]
    nested = analyse(
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/alternative\r\n\r\n"
        + parts
        + b"--o--"
    )
    assert _outline(nested)[1:] == [("1", "multipart/alternative"), ("1.1", "text/html"), ("1.2", "text/plain")]


def test_a_boundary_may_begin_like_another_or_be_the_same() -> None:
    content = (
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=ab\n\n--ab\n\n1\n"
        b"--ab--\n--a\n\n2\n--a--\n"
    )
    assert [path for path, _ in _outline(analyse(content))] == ["", "1", "1.1", "2"]
    same = analyse(content.replace(b"ab", b"a"))
    assert [path for path, _ in _outline(same)][:3] == ["", "1", "1.1"]


def test_preamble_and_epilogue_are_no_parts() -> None:
    content = b"Content-Type: multipart/mixed; boundary=a\n\npreamble\n--a\n\none\n--a--\nepilogue\n--b\n"
    root = analyse(content)
    assert len(root.children) == 1
    assert root.warnings == ()


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_of_any_kind(line_end: bytes) -> None:
    content = line_end.join(
        [
            b"Subject: folded",
            b" subject",
            b"Content-Type: multipart/mixed; boundary=a",
            b"",
            b"--a",
            b"Content-Type: text/html",
            b"",
            b"one",
            b"--a--",
        ]
    )
    root = analyse(content)
    [child] = root.children
    assert (child.content_type, content[child.body_start : child.body_end]) == ("text/html", b"one")
    assert root.subject == "folded subject"
    mixed = analyse(content.replace(line_end + b"--a", b"\r\n--a"))
    if line_end != b"\r":
        assert [each.size for each in mixed.children] == [3]


def test_an_empty_line_before_a_nested_message_is_skipped() -> None:
    content = b"Content-Type: message/rfc822\r\n\r\n\r\nFrom: a@x.example\r\nSubject: in\r\n\r\nwords"
    root = analyse(content)
    assert root.envelope is not None
    assert root.envelope["subject"] == "in"
    assert content[root.children[0].body_start :] == b"words"


def test_an_encoded_message_stays_closed() -> None:
    for name in (b"base64", b"Base-64", b"quoted-printable"):
        root = analyse(
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: " + name + b"\r\n\r\nU3ViamVjdDogeA=="
        )
        assert not root.holds_message
        assert root.children == ()


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [(b"BASE64", "base64"), (b"8 bit", "8 bit"), (b"base64 (c); x=y", "base64"), (b"", ""), (b"\xc3\xa9", "é")],
)
def test_encodings_are_reported_as_written(raw: bytes, encoding: str) -> None:
    assert analyse(b"Content-Transfer-Encoding: " + raw + b"\r\n\r\n").encoding == encoding
