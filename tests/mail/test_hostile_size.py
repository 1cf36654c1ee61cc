"""Megabytes of one trick are read in seconds: nothing in reading is worse than linear."""

from __future__ import annotations

import time

import pytest

from daimon_mcp.mail.parse import parse

_MEGABYTE = 1_000_000
_REPLY = b"In-Reply-To: <a@b>\r\n\r\n"
_HTML = b"Content-Type: text/html\r\n\r\n"
_MULTIPART = b'Content-Type: multipart/mixed; boundary="a"\r\n\r\n'


@pytest.mark.parametrize("megabytes", [3, pytest.param(10, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("head", "trick"),
    [
        pytest.param(b"\r\n", b"a", id="one line"),
        pytest.param(_REPLY, b"On a b ", id="attribution without end"),
        pytest.param(_REPLY, b">\n", id="quote marks"),
        pytest.param(_REPLY, b"\n", id="blank lines"),
        pytest.param(_MULTIPART, b"\n--a", id="parts"),
        pytest.param(_MULTIPART, b"\n--x", id="delimiters of nobody"),
        pytest.param(b"", b'Content-Type: multipart/mixed; boundary="a"\r\n\r\n--a\r\n', id="nested multiparts"),
        pytest.param(b"", b"Content-Type: message/rfc822\r\n\r\n", id="nested messages"),
        pytest.param(b"Subject: ", b"=?a?q?b?= ", id="encoded words"),
        pytest.param(b"To: ", b'"\\"', id="quotes left open"),
        pytest.param(b"To: ", b"(", id="comments left open"),
        pytest.param(b"To: ", b"a@b,", id="addresses"),
        pytest.param(b"From: ", b"a:", id="colons"),
        pytest.param(b"", b"From: " + b"a:" * 45_000 + b"\r\n", id="fields of colons"),
        pytest.param(b"From: <", b"@a,", id="route without end"),
        pytest.param(b"From: " + b"a " * 25_000 + b"@", b":", id="colons after an address"),
        pytest.param(b"From: <@a:", b"@:,", id="route that has ended"),
        pytest.param(b"Content-Type: text/plain", b"; a=b", id="parameters"),
        pytest.param(_HTML, b"<", id="angle brackets"),
        pytest.param(_HTML, b"<a ", id="tags left open"),
        pytest.param(_HTML, b'<a x="', id="attributes left open"),
        pytest.param(_HTML, b"<!--", id="comments in html"),
        pytest.param(_HTML, b"<b></i>", id="end tags of nothing"),
        pytest.param(b"Content-Transfer-Encoding: base64\r\n\r\n", b"A=", id="padding"),
        pytest.param(b"\r\n", b"begin 644 a\n", id="uuencode without end"),
        pytest.param(b"\r\n", b"begin 644 a\nM\n", id="uuencode that promises more"),
        pytest.param(b"\r\n", b"=ybegin line=128 size=1 name=a\n", id="yenc"),
        pytest.param(b"", b"a: b\r", id="carriage returns alone"),
        pytest.param(b"", b"\r", id="carriage returns and nothing else"),
        pytest.param(b"Subject: ", b"=?a?q?", id="encoded words without end"),
        pytest.param(b"Subject: ", b"=?a?b?x?=", id="encoded words joined"),
        pytest.param(b"Subject: ", b" ", id="spaces in a header"),
        pytest.param(b"", b"a: =?a?q?b\r\n", id="fields of encoded words"),
        pytest.param(b"Content-Type: text/plain; name=", b'"a" "', id="quotes in a parameter"),
        pytest.param(b"Content-Type: text/plain; name=", b" name", id="names in a parameter"),
        pytest.param(b"Content-Type: multipart/mixed\r\n\r\n", b"--x\n", id="boundary not told"),
        pytest.param(
            b"Content-Type: multipart/mixed; boundary=a\r\n\r\n",
            b"--a\r\nContent-Type: multipart/mixed\r\n\r\n",
            id="many boundaries not told",
        ),
        pytest.param(b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n', b"\n--a ", id="spaces in delimiters"),
        pytest.param(b"Content-Transfer-Encoding: base64\r\n\r\n", b"aaaa ", id="base64 with spaces"),
        pytest.param(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"= ", id="soft breaks that are none"),
        pytest.param(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n \n", b" ", id="spaces in quoted-printable"),
        pytest.param(b"\r\n", b"\xe9", id="8-bit text"),
        pytest.param(b"\r\n", b"\xe9t\xe9 ", id="western text"),
        pytest.param(b"\r\n", b"\xcf\xf0 ", id="text in no known charset"),
        pytest.param(b"\r\n", b"\xc3\xa9\xc3\xa9\xe9", id="damaged utf-8"),
        pytest.param(b"Content-Type: text/plain; charset=utf-7\r\n\r\n", b"+AGE", id="utf-7"),
        pytest.param(b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n", b"\x1b$B\xff", id="broken escapes"),
        pytest.param(b"Content-Type: text/html\r\n\r\n", b"<meta \xff", id="meta elements"),
        pytest.param(b"\r\n", b"a\x00", id="utf-16"),
        pytest.param(b"", b"\n ", id="blank lines first"),
    ],
)
def test_reading_is_linear(head: bytes, trick: bytes, megabytes: int) -> None:
    content = head + trick * (megabytes * _MEGABYTE // len(trick))
    started = time.process_time()
    parse(content)
    # A tenth of it at most where it was measured; a quadratic reader takes hours. The slack is for a slow machine.
    assert time.process_time() - started < 1.5 * megabytes


_PART = b"\n--a\nContent-Type: text/html\n\n"
_BESIDE = b"Content-Type: multipart/alternative; boundary=a\r\n\r\n\n--a\nContent-Type: text/plain\n\n"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            _MULTIPART
            + b"".join(
                _PART + b"".join(b"<a href=http://a.b/%d>v</a>" % (5_000 * part + link) for link in range(5_000))
                for part in range(8)
            )
            + (_PART + b"<a href=http:/>x") * 1_500,
            id="anchors of all parts before",
        ),
        pytest.param(_MULTIPART + (_PART + b"<a href=http://a.b/>x") * 5_000, id="parts of one anchor"),
        pytest.param(_MULTIPART + (_PART + b"<b>x") * 5_000, id="parts of html"),
        pytest.param(_HTML + b"<a href=http://a.b/>v</a>" * 5_000 + b"x" * 1_000_000, id="anchors on one line"),
        pytest.param(_BESIDE + b"a" * 400_000 + _PART + b"<p>b</p>", id="one word beside html"),
        pytest.param(_BESIDE + b"a " * 200_000 + _PART + b"a " * 200_000, id="the same words beside html"),
    ],
)
def test_reading_many_parts_is_linear(content: bytes) -> None:
    started = time.process_time()
    parse(content)
    # A few tenths of a second at most where it was measured; where each part looks at all before it, it was 25.
    assert time.process_time() - started < 5
