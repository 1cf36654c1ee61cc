"""Received and Return-Path."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daimon_mcp.domain.envelopes import Peer
from daimon_mcp.mail.trace import HEADER_BYTES, canonical_crlf, hop_count, prepend_trace, received_header

PEER = Peer("192.0.2.7", "mx.far.example", tls=True)
NOW = 1_795_251_600_123_456


def _received(peer: Peer = PEER, rcpt: str | None = "a@x.example", id: str = "c1") -> str:
    field = received_header(by="mx.x.example", peer=peer, rcpt=rcpt, now=NOW, id=id).decode()
    assert field.endswith("\r\n")
    assert all(len(line) <= 78 for line in field.split("\r\n"))
    return field.replace("\r\n ", " ").rstrip("\r\n")


def test_received() -> None:
    assert _received() == (
        "Received: from mx.far.example ([192.0.2.7]) by mx.x.example with ESMTPS id c1"
        " for <a@x.example>; Sat, 21 Nov 2026 09:00:00 +0000"
    )


@pytest.mark.parametrize(
    ("peer", "part"),
    [
        (replace(PEER, tls=False), "with ESMTP id"),
        (replace(PEER, tls=False, esmtp=False), "with SMTP id"),
        (replace(PEER, smtputf8=True), "with UTF8SMTPS id"),
        (replace(PEER, tls=False, smtputf8=True), "with UTF8SMTP id"),
        (replace(PEER, address="2001:db8::1"), "([IPv6:2001:db8::1])"),
        (replace(PEER, address="fe80::1%eth0"), "([IPv6:fe80::1])"),
        (replace(PEER, address="/run/socket"), "(unknown)"),
        (replace(PEER, helo="evil\r\nX: y (c) <a>"), "from evil??X:?y??c???a? ("),
        (replace(PEER, helo=""), "from unknown ("),
    ],
)
def test_what_the_peer_says_is_escaped(peer: Peer, part: str) -> None:
    assert part in _received(peer)


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("authenticated", [False, True])
@pytest.mark.parametrize("lmtp", [False, True])
def test_the_protocol_says_how_the_peer_came(utf8: bool, tls: bool, authenticated: bool, lmtp: bool) -> None:
    registered = {
        *("ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA", "LMTP", "LMTPA", "LMTPS", "LMTPSA"),
        *("UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA", "UTF8LMTP", "UTF8LMTPA", "UTF8LMTPS", "UTF8LMTPSA"),
    }
    peer = replace(PEER, smtputf8=utf8, tls=tls, authenticated=authenticated, lmtp=lmtp)
    keyword = _received(peer).partition(" with ")[2].partition(" ")[0]
    assert keyword in registered
    assert ("UTF8" in keyword, "LMTP" in keyword) == (utf8, lmtp)
    assert keyword.endswith({(0, 0): "MTP", (0, 1): "MTPA", (1, 0): "MTPS", (1, 1): "MTPSA"}[tls, authenticated])


def test_for_only_when_it_can_be_written() -> None:
    for rcpt in (None, "用户@x.example", "a@x.example\r\nX: y", "a>@x"):
        assert " for <" not in _received(rcpt=rcpt)
    assert " for <用户@x.example>;" in _received(replace(PEER, smtputf8=True), rcpt="用户@x.example")
    assert " id c1X-y for" in _received(id="c1\r\nX-:y")


def test_prepend_removes_a_foreign_return_path() -> None:
    content = (
        b"Received: one\r\nReturn-Path: <forged@z>\r\nSubject: t\r\nreturn-path:\r\n <b@z>\r\n\r\nReturn-Path: body\r\n"
    )
    traced = prepend_trace(content, received=b"Received: two\r\n", return_path="a@BÜCHER.example")
    assert traced == (
        b"Return-Path: <a@xn--bcher-kva.example>\r\nReceived: two\r\nReceived: one\r\nSubject: t\r\n\r\n"
        b"Return-Path: body\r\n"
    )
    assert hop_count(traced) == 2


@pytest.mark.parametrize("path", ["", "a@x\r\nX: y", "no address"])
def test_null_return_path(path: str) -> None:
    assert prepend_trace(b"A: b\r\n\r\n", received=b"", return_path=path) == b"Return-Path: <>\r\nA: b\r\n\r\n"


def test_a_body_without_headers_stays_a_body() -> None:
    assert prepend_trace(b"words\r\n", received=b"", return_path="") == b"Return-Path: <>\r\n\r\nwords\r\n"
    assert prepend_trace(b"\r\nwords", received=b"", return_path="") == b"Return-Path: <>\r\n\r\nwords"
    mbox = b"From a@x Mon\r\nA: b\r\n\r\n"
    assert prepend_trace(mbox, received=b"", return_path="") == b"Return-Path: <>\r\nA: b\r\n\r\n"


def test_hops_are_counted_in_the_header_only() -> None:
    assert hop_count(b"Received: 1\r\nreceived: 2\r\n fold\r\nX-Received: 3\r\n\r\nReceived: 4\r\n") == 2
    assert hop_count(b"") == 0


def test_only_the_beginning_of_an_endless_header_is_looked_at() -> None:
    filler = b"X-Filler: " + b"x" * 990 + b"\r\n"
    hop = b"Received: hop\r\n"
    content = hop * 3 + filler * (HEADER_BYTES // len(filler) + 1) + hop * 5 + b"Return-Path: <far@down>\r\n\r\nbody"
    assert hop_count(content) == 3
    traced = prepend_trace(b"return-path: <z@z>\r\n" + content, received=b"", return_path="")
    assert traced == b"Return-Path: <>\r\n" + content


def test_a_field_that_runs_past_the_beginning_is_not_taken_apart() -> None:
    content = b"Return-Path: <a@z>\r\nReturn-Path: <b@z>" + b"\r\n fold" * HEADER_BYTES + b"\r\n\r\nbody"
    traced = prepend_trace(content, received=b"", return_path="")
    assert traced == b"Return-Path: <>\r\n" + content.removeprefix(b"Return-Path: <a@z>\r\n")


def test_canonical_line_ends() -> None:
    assert canonical_crlf(b"a\nb\rc\r\nd\r\r\ne") == b"a\r\nb\r\nc\r\nd\r\n\r\ne"
    content = b"a\r\nb\r\n"
    assert canonical_crlf(content) is content
