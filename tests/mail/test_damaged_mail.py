"""Mail made by a grammar and then damaged: it is read without an error, and what is said of it is true."""

from __future__ import annotations

import base64
import hashlib
import quopri
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail.parse import ParsedMessage, extract_attachment, parse, parse_headers
from daimon_mcp.mail.structure import Part, analyse
from daimon_mcp.mail.transfer import decode_transfer

_CHARSETS = [b"utf-8", b"us-ascii", b"iso-8859-1", b"gb2312", b"iso-2022-jp", b"utf-16", b"utf-7", b"x-unknown", b"zip"]
_WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60).map(str.encode)
_HEADERS = st.lists(
    st.sampled_from(
        [
            b"From: A <a@x.example>",
            b"To: Group: b@x.example, c@x.example;",
            b"Subject: =?utf-8?q?caf=C3=A9?= =?utf-8?b?w6k=?=",
            b"Subject: =?koi8-r?b?8NLJ18XU",
            b"Date: Mon, 2 Nov 2026 09:30:00 +0100",
            b"Message-ID: <1@x.example>",
            b"References: <0@x.example>\r\n <00@x.example>",
            b"X-Raw: \xe9\xff\x00",
            b"not a header",
        ]
    ),
    max_size=6,
)


@st.composite
def _leaf(draw: st.DrawFn) -> bytes:
    body = draw(_WORDS | st.binary(max_size=80))
    encoding = draw(st.sampled_from([b"7bit", b"8bit", b"base64", b"quoted-printable", b"x-uuencode", b"nonsense"]))
    if encoding == b"base64":
        body = base64.encodebytes(body)
    elif encoding == b"quoted-printable":
        body = quopri.encodestring(body)
    kind = draw(
        st.sampled_from([b"text/plain", b"text/html", b"image/png", b"text/calendar", b"application/ms-tnef", b"x"])
    )
    name = draw(
        st.sampled_from([b"", b'; name="a.png"', b"; name*=utf-8''%C3%A9", b"; name*0=a; name*1=b", b"; name=../x"])
    )
    charset = draw(st.sampled_from(_CHARSETS))
    disposition = draw(
        st.sampled_from([b"", b"Content-Disposition: attachment; filename=b.txt\r\n", b"Content-ID: <i>\r\n"])
    )
    head = b"Content-Type: %s; charset=%s%s\r\nContent-Transfer-Encoding: %s\r\n" % (kind, charset, name, encoding)
    return head + disposition + b"\r\n" + body


def _joined(parts: list[bytes], kind: bytes, boundary: bytes) -> bytes:
    head = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (kind, boundary)
    return head + b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary


def _nested(message: bytes) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" + message


def _around(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    kinds = st.sampled_from([b"mixed", b"alternative", b"related", b"signed", b"digest", b"report"])
    boundaries = st.sampled_from([b"a", b"aa", b"b--", b"a b"])
    return st.builds(_joined, st.lists(inner, max_size=4), kinds, boundaries) | inner.map(_nested)


def _with_headers(headers: list[bytes], part: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in headers) + part


_PARTS = st.recursive(_leaf(), _around, max_leaves=8)
_MAIL: st.SearchStrategy[bytes] = st.builds(_with_headers, _HEADERS, _PARTS)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    content = draw(_MAIL)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        damage = draw(st.sampled_from(["cut", "flip", "nul", "line", "drop", "ends", "charset", "boundary"]))
        if damage == "cut":
            content = content[:place]
        elif damage == "flip":
            content = content[:place] + draw(st.binary(min_size=1, max_size=1)) + content[place + 1 :]
        elif damage == "nul":
            content = content[:place] + b"\x00\x00" + content[place:]
        elif damage == "line":
            content = content[:place] + b"\r\n" + content[place:]
        elif damage == "drop":
            content = content[:place] + content[place + draw(st.integers(1, 20)) :]
        elif damage == "ends":
            content = content.replace(b"\r\n", draw(st.sampled_from([b"\n", b"\r", b"\r\r\n"])))
        elif damage == "charset":
            content = re.sub(rb"charset=[\w-]+", b"charset=" + draw(st.sampled_from(_CHARSETS)), content)
        else:
            content = content.replace(b"--a", draw(st.sampled_from([b"-a", b"--", b" --a", b"--a--"])))
    return content


def _true(content: bytes, message: ParsedMessage) -> None:
    assert 0 <= message.header_length <= len(content)
    root = analyse(content)
    assert message.header_length == root.body_start
    assert [name for name, _ in parse_headers(content)] == [name for name, _ in message.headers]
    parts = {part.path: part for part in root.walk() if part.type != "multipart"}
    for attachment in message.attachments:
        octets = extract_attachment(content, attachment.part)
        assert (hashlib.sha256(octets).hexdigest(), len(octets)) == (attachment.sha256, attachment.size)
        end = attachment.offset + attachment.length
        assert message.header_length <= attachment.offset <= end <= len(content)
        if attachment.part in parts:
            encoded = content[attachment.offset : end]
            assert decode_transfer(encoded, parts[attachment.part].encoding)[0] == octets
    for text in (message.text, message.subject, message.html or "", *(each.filename for each in message.attachments)):
        text.encode()
    for warning in message.warnings:
        assert re.fullmatch(r"[A-Za-z0-9 ,.()'-]{5,80}", warning)


@given(_damaged())
@settings(deadline=None, max_examples=300)
def test_damaged_mail_is_read_and_what_is_said_of_it_is_true(content: bytes) -> None:
    _true(content, parse(content))


@given(st.binary(max_size=3000))
@settings(deadline=None)
def test_any_octets_are_read(content: bytes) -> None:
    _true(content, parse(content))


@given(_HEADERS, _leaf())
def test_the_header_ends_behind_the_first_blank_line(headers: list[bytes], part: bytes) -> None:
    content = _with_headers([line for line in headers if b":" in line], part)
    assert parse(content).header_length == content.index(b"\r\n\r\n") + 4


@given(st.lists(_leaf(), min_size=1, max_size=5))
def test_undamaged_parts_are_where_they_are_said_to_be(leaves: list[bytes]) -> None:
    boundary = b"=_" + hashlib.sha256(b"".join(leaves)).hexdigest().encode()
    content = _joined(leaves, b"mixed", boundary)
    root = analyse(content)
    assert len(root.children) == len(leaves)
    for leaf, part in zip(leaves, root.children, strict=True):
        assert content[part.header_start : part.body_end] == leaf


def _steps(part: Part) -> int:
    return sum(1 for _ in part.walk())


@pytest.mark.parametrize("unit", [b"--a\r\n\r\nx\r\n", b"--a\r\nContent-Type: message/rfc822\r\n\r\n\r\n"])
def test_twice_the_octets_are_twice_the_parts(unit: bytes) -> None:
    head = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
    one, two = (_steps(analyse(head + unit * count)) - 1 for count in (500, 1000))
    assert two == 2 * one
