"""Our signatures, verified by dkimpy."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mail.authentication.signing import NOW_MICROS, Zone, dkimpy_verdicts, key_records, keys

from daimon_mcp.mail.dkim_sign import OVERSIGNED, sign

_ZONE = Zone(key_records())
_HEADER = b"From: Ann <a@x.example>\r\nTo: b@y.example\r\n"


def _verified(content: bytes) -> bool:
    signed = sign(content, keys(), now=NOW_MICROS) + content
    return dkimpy_verdicts(signed, _ZONE, 2) == [True, True]


def test_every_mail_of_the_corpus(corpus: dict[str, bytes]) -> None:
    for name, content in corpus.items():
        crlf = re.sub(rb"\r?\n", b"\r\n", content)
        if not re.match(rb"(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)+\r?\n", crlf):
            crlf = b"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\n\r\n" + crlf  # it has no header of its own
        crlf = crlf if re.search(rb"(?i)(?:\A|\n)from:", crlf.partition(b"\r\n\r\n")[0]) else _HEADER + crlf
        assert _verified(crlf), name


@pytest.mark.parametrize(
    "rest",
    [
        b"\r\n",
        b"",
        b"\r\n\r\n\r\n\r\n",
        b"\r\nbody",
        b"\r\nbody\r\n\r\n\r\n",
        b"\r\nbody \t \r\n \t\r\n  \r\n",
        b"\r\n \r\n",
        "\r\nžluťoučký kůň\r\n".encode(),
        b"\r\n\xff\xfe\x00\x01\r\n",
        b"Subject: trailing space \t \r\n\r\nx\r\n",
        b"Subject:  a\tb  c\r\nX-Empty:\r\n\r\nx\r\n",
        b"Subject: folded\r\n \t line\r\n\t \r\n again\r\n\r\nx\r\n",
        b"Subject: " + b"long " * 400 + b"\r\n\r\n" + b"y" * 5_000 + b"\r\n",
        b"Subject: one\r\nSubject: two\r\nTo: c@y.example\r\nReceived: x\r\n\r\nx\r\n",
        "Subject: příliš\r\n\r\nx\r\n".encode(),
    ],
)
def test_shapes_of_messages(rest: bytes) -> None:
    assert _verified(_HEADER + rest)


_LINES = st.lists(st.binary(max_size=80).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b"")), max_size=12)
_VALUES = st.text(st.sampled_from('ab,;:=  \t"<>éß\u65e5'), max_size=200).map(
    lambda text: re.sub(r"(?<=[^ \t\n]) (?=[^ \t\n])", "\r\n ", text, count=2).encode()
)
_NAMES = st.sampled_from([*OVERSIGNED[1:], "List-Id", "Sender", "X-Other", "RECEIVED"]).map(str.encode)


@given(fields=st.lists(st.tuples(_NAMES, _VALUES), max_size=12), lines=_LINES)
def test_any_message(fields: list[tuple[bytes, bytes]], lines: list[bytes]) -> None:
    header = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    assert _verified(_HEADER + header + b"\r\n" + b"".join(line + b"\r\n" for line in lines))


def test_what_a_signature_covers() -> None:
    content = _HEADER + b"Subject: s\r\nList-Id: <l>\r\n\r\nbody\r\n"
    signed = sign(content, keys(), now=NOW_MICROS)
    assert dkimpy_verdicts(signed + content, _ZONE, 2) == [True, True]
    for name in OVERSIGNED:
        added = signed + f"{name}: another\r\n".encode() + content
        assert dkimpy_verdicts(added, _ZONE, 1) == [False], name
    assert dkimpy_verdicts(signed + b"Received: a hop\r\nSender: list@z\r\n" + content, _ZONE, 2) == [True, True]
    assert dkimpy_verdicts(signed + content.replace(b"<l>", b"<m>"), _ZONE, 1) == [False]


def test_form_of_the_field() -> None:
    content = _HEADER + b"\r\nbody\r\n"
    signed = sign(content, keys(), now=NOW_MICROS + 999_999)
    assert signed == sign(content, keys(), now=NOW_MICROS)  # a retry signs the same
    assert signed.count(b"DKIM-Signature:") == 2
    assert all(len(line) <= 78 for line in signed.split(b"\r\n"))
    assert signed.endswith(b"\r\n")
    assert b"\r\n\r\n" not in signed
    assert b" l=" not in signed
    assert signed.count(b"t=1795251600;") == 2
    assert b"h=from:from:to:to:cc:reply-to:subject:" in signed
    assert sign(content, (), now=NOW_MICROS) == b""
    assert "private" not in repr(keys()[0])


def test_bare_line_feeds_are_signed_as_they_will_be_sent() -> None:
    content = _HEADER + b"Subject: x\r\n y\r\n\r\na\r\nb\r\n"
    expected = sign(content, keys()[1:], now=NOW_MICROS)
    assert sign(content.replace(b"\r\n", b"\n"), keys()[1:], now=NOW_MICROS) == expected


@pytest.mark.parametrize(
    "piece", [b"some words  of a line\tand more\r\n", b" ", b"\r\n", b"\n", b"\t \r\n", b"\r", b"x"]
)
def test_time_grows_with_size_only(piece: bytes) -> None:
    content = _HEADER + b"\r\n" + piece * (10_000_000 // len(piece))
    start = process_time()
    sign(content, keys()[1:], now=NOW_MICROS)
    assert process_time() - start < 1.5
