"""Header fields as they come: folds, encoded words, parameters, dates, ids, charsets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.charsets import decode_text
from daimon_mcp.mail.encode import encoded_words, fold, unstructured
from daimon_mcp.mail.headers import (
    decode_header,
    first_word_charset,
    message_ids,
    parse_date,
    parse_parameters,
    scan_headers,
)
from daimon_mcp.mail.sanitize import clean_line


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?Q?a=20b?= c", "a b c"),
        (b"=?UTF-8?B?w6k=?=\r\n =?UTF-8?B?w6k=?=", "éé"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),
        (b"x =?utf-8?q?a?= y =?utf-8?q?b?=", "x a y b"),
        (b"=?iso-8859-1*en?q?=E9?=", "é"),
        (b"=?gb2312?B?xOO6ww==?=", "你好"),
        (b"=?nonsense?q?a=E9?=", "aé"),
        (b"=?utf-8?b?!!!?=", ""),
        (b"=?utf-8?q?unfinished", "unfinished"),
        (b"=?utf-8?q?unfinished= or not", "unfinished or not"),
        (b"=?utf-8?B?w6k", "é"),
        (b"=?utf-8?Q?no_end =?utf-8?Q?here?= x", "no endhere x"),
        (b"=?utf-8?Q?What? That=3F?= x", "What? That? x"),
        (b"=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"),
        (b"=?utf-8?B?4py?= =?utf-8?B?T?=", "✓"),
        (b"=?iso-2022-jp?B?GyRCJDM=?= =?iso-2022-jp?B?JDMbKEI=?=", "ここ"),
        (b"=?utf-8?Q?=?iso-8859-1?Q?=E9?=?= x", "é x"),
        (b'=?"utf-8"?Q?=C3=A9?=', "é"),
        (b"=? utf-8 ?Q?=C3=A9?=", "é"),
        (b"=?koi8-r?Q?\xf0\xd2?= x", "Пр x"),
        (b"=?utf-8?B?w6kg\r\n w6k=?=", "é é"),
        (b"=?us-ascii?Q?=C3=A9?=", "é"),
        (b"=?utf-8?X?a?=", "=?utf-8?X?a?="),
        (b"a =?b c =? d", "a =?b c =? d"),
        ("Grüße".encode(), "Grüße"),
        (b"Gr\xfc\xdfe", "Grüße"),
        (b"two\r\n\tlines", "two lines"),
        (b"=?utf-8?q?a=0D=0ABcc:_x?=", "a Bcc: x"),
    ],
)
def test_encoded_words(raw: bytes, text: str) -> None:
    assert decode_header(raw) == text


@pytest.mark.parametrize(
    ("raw", "value", "params"),
    [
        (b'Text/Plain; Charset="utf-8"', "text/plain", {"charset": "utf-8"}),
        (b"text/plain; charset=utf-8 (a comment)", "text/plain", {"charset": "utf-8"}),
        (b'a/b; name="a\\"b\\\\c;d"', "a/b", {"name": 'a"b\\c;d'}),
        (b"a/b; filename=two words.pdf", "a/b", {"filename": "two words.pdf"}),
        (b"a/b; filename*=utf-8'en'na%C3%AFve.txt", "a/b", {"filename": "naïve.txt"}),
        (b"a/b; n*0*=utf-8''%C3; n*1*=%A9; n*2=\" x%20\"", "a/b", {"n": "é x%20"}),
        (b'a/b; name="=?utf-8?q?=C3=A9?="', "a/b", {"name": "é"}),
        (b'a/b; name="left open', "a/b", {"name": "left open"}),
        (b'application/pdf name="x.pdf"', "application/pdf", {"name": "x.pdf"}),
        (b"text/plain charset=utf-8 name=x.txt", "text/plain", {"charset": "utf-8", "name": "x.txt"}),
        (b'text/plain; name="a" filename="b"', "text/plain", {"name": "a", "filename": "b"}),
        (b'attachment; filename="a "b" c.pdf"; size=3', "attachment", {"filename": 'a "b" c.pdf', "size": "3"}),
        (b"attachment; filename=\"utf-8''%C3%A9.txt\"", "attachment", {"filename": "é.txt"}),
        (b"attachment; filename*=utf-8'%C3%A9.txt", "attachment", {"filename": "é.txt"}),
        (b"attachment; filename*=%C3%A9.txt", "attachment", {"filename": "é.txt"}),
        (b'a; filename*0="=?utf-8?B?w6k="; filename*1="?= x.pdf"', "a", {"filename": "é x.pdf"}),
        (b"a; filename*=utf-8''=?utf-8?Q?=C3=A9?=.pdf; filename=e.pdf", "a", {"filename": "é.pdf"}),
        (b"a; filename*1*=b%20; filename*0*=us-ascii'en'a%20; filename*2=c", "a", {"filename": "a b c"}),
        (b"attachment; filename==?utf-8?B?w6k=?=.txt", "attachment", {"filename": "é.txt"}),
        (b'attachment; filename="=?utf-8?Q?a;_b?="', "attachment", {"filename": "a; b"}),
        (b'attachment; filename="C:\\temp\\new.txt"', "attachment", {"filename": "C:\\temp\\new.txt"}),
        (b"filename=x.pdf", "", {"filename": "x.pdf"}),
        (b"(c) text / HTML ; charset=x", "text/html", {"charset": "x"}),
        (b"a/b;;; =x; charset", "a/b", {}),
        (b"", "", {}),
    ],
)
def test_parameters(raw: bytes, value: str, params: dict[str, str]) -> None:
    assert parse_parameters(raw) == (value, params)


def test_header_block_with_junk_and_without_an_end() -> None:
    content = b"From x Mon\r\nA: 1\r\nthis is no header\r\nB : 2\r\n folded\r\n\r\nbody"
    fields, body, warning = scan_headers(content, 0)
    assert [(field.name, field.raw) for field in fields] == [("A", b"1"), ("B", b"2\r\n folded")]
    assert content[body:] == b"body"
    assert warning == "a line among the headers is no header"
    assert scan_headers(b"A: 1\r\nB: 2", 0)[1] == len(b"A: 1\r\nB: 2")
    assert scan_headers(b"A: 1\nbody text\nmore", 0)[1] == len(b"A: 1\n")


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", 880_127_706),
        (b"21 Nov 97 09:55 GMT (morning)", 880_106_100),
        (b"Thu, 1 Jan 1970 00:00:00 -0000", 0),
        (b"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", 880_127_706),
        (b"(c) Fri, 21 Nov 1997 15:55:06 UT", 880_127_706),
        (b"Fri Nov 21 15:55:06 1997", 880_127_706),
        (b"1997-11-21T09:55:06-06:00", 880_127_706),
        (b"1997-11-21 15:55:06.123 Z", 880_127_706),
        (b"Fri, 21 Nov 1997 03:55:06 PM", 880_127_706),
        (b"Fri, 21 Nov 1997 12:55:06 AM +0000", 880_073_706),
        (b"Fri, 21 Nov 1997 17:55:06 GMT+02:00", 880_127_706),
        (b"1997-13-41T99:55:06Z", None),
        (b"yesterday", None),
        (b"Mon, 99 Foo 99999 99:99:99 +9999", None),
        (b"Fri, 21 Nov 1900 09:55:06 +0000", None),
        (None, None),
    ],
)
def test_dates(raw: bytes | None, seconds: int | None) -> None:
    assert parse_date(raw) == (None if seconds is None else seconds * 1_000_000)


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        (b"<a@x>", ("<a@x>",)),
        (b"<a@x>\r\n <b@x><a@x>", ("<a@x>", "<b@x>")),
        (b"<a\r\n b@x>", ("<ab@x>",)),
        (b"a@x", ("<a@x>",)),
        (b"Your message of Monday", ()),
        (b"", ()),
        (None, ()),
    ],
)
def test_message_ids(raw: bytes | None, ids: tuple[str, ...]) -> None:
    assert message_ids(raw) == ids


def test_many_ids_keep_the_first_and_the_latest() -> None:
    raw = b" ".join(b"<%d@x>" % number for number in range(1000))
    ids = message_ids(raw, limit=5)
    assert ids == ("<0@x>", "<996@x>", "<997@x>", "<998@x>", "<999@x>")


@pytest.mark.parametrize(
    ("octets", "label", "text"),
    [
        (b"\x93q\x94", "iso-8859-1", "“q”"),
        ("é".encode(), "us-ascii", "é"),
        (b"\xe9t\xe9", "utf-8", "été"),
        (b"\x1b$B0l\x1b(B", "ISO-2022-JP", "一"),
        (b"+AGE-", "utf-7", "a"),
        (b"a\x00b\x00", "utf-16le", "ab"),
        (b"abc", "zip", "abc"),
        (b"abc\xe9", "punycode", "abcé"),
        (b"\xb0\xa1", "euc-kr", "가"),
    ],
)
def test_charsets(octets: bytes, label: str, text: str) -> None:
    assert decode_text(octets, label)[0] == text


def test_the_first_charset_that_is_named() -> None:
    fields, _, _ = scan_headers(b"A: =?utf-8?q?a?= =?koi8-r?q?b?=\r\nB: =?big5?q?c?=\r\n\r\n", 0)
    assert first_word_charset(fields) == "koi8-r"
    assert first_word_charset(fields[:0]) is None


@pytest.mark.parametrize(
    ("content", "names", "body"),
    [
        (b"A: 1\r\r\nB: 2\r\r\n\r\r\nbody", ["A", "B"], b"body"),
        (b"A: 1\nB: 2\r\n\nbody", ["A", "B"], b"body"),
        (b"\r\n\r\nFrom: 1\r\nTo: 2\r\n\r\nbody", ["From", "To"], b"body"),
        (
            b"\r\nFrom: one line that only looks like a header\r\nbody",
            [],
            b"From: one line that only looks like a header\r\nbody",
        ),
        (b">From x\nA: 1\n\nbody", ["A"], b"body"),
        (b"no headers at all\n\nbody", [], b"no headers at all\n\nbody"),
        (b"A: 1\nA: 2\n\n", ["A", "A"], b""),
    ],
)
def test_where_headers_begin_and_end(content: bytes, names: list[str], body: bytes) -> None:
    fields, start, _ = scan_headers(content, 0)
    assert [field.name for field in fields] == names
    assert content[start:] == body


@given(st.binary(max_size=60), st.text(max_size=20))
def test_any_label_decodes_any_octets(octets: bytes, label: str) -> None:
    assert isinstance(decode_text(octets, label)[0], str)


@given(st.text(max_size=300))
def test_encoded_words_read_back(text: str) -> None:
    words = encoded_words(text)
    assert all(len(word) <= 75 for word in words.split(" "))
    assert decode_header(words.encode("ascii")) == clean_line(text.encode("utf-8", "replace").decode())


@given(st.text(max_size=400))
def test_a_field_is_safe_folded_and_reads_back(text: str) -> None:
    field = unstructured("Subject", text)
    assert field.endswith("\r\n")
    lines = field[:-2].split("\r\n")
    assert all(len(line) <= 998 and "\r" not in line and "\n" not in line for line in lines)
    assert all(line.startswith(" ") and line.strip() for line in lines[1:])
    assert field.isascii()
    [header], _, _ = scan_headers(field.encode() + b"\r\n", 0)
    assert decode_header(header.raw) == clean_line(re.sub("[\x00-\x1f\x7f-\x9f]", " ", text))


def test_folding_keeps_words_whole() -> None:
    folded = fold("References", " ".join(f"<{number:030}@x.example>" for number in range(5)))
    assert all(len(line) <= 78 for line in folded.split("\r\n"))
    assert folded.replace("\r\n ", " ").count("<") == 5
