"""Who a message was delivered to, by its header."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.delivered import MAX_FIELDS, delivery_fields


def test_trace_fields_are_grouped_by_the_received_fields_between_them() -> None:
    found = delivery_fields(
        b"Delivered-To: me+a@example.com\r\n"
        b"X-Original-To: a@team.example\r\n"
        b"Received: by mx.example.com; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        b"Received: from x by y; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        b"X-Delivered-To: <me+b@example.com>\r\n"
        b"Return-Path: <ann@sender.example>\r\n"
        b"Received: from ann by x; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        b"Envelope-To: forged@example.com\r\n"
        b"To: Me <me+c@example.com>, you@sender.example\r\n"
        b"Cc: us: d@team.example;\r\n"
        b"\r\n"
        b"Delivered-To: body@example.com\r\n"
    )
    assert found.blocks == (
        ("me+a@example.com", "a@team.example"),
        ("me+b@example.com",),
        ("forged@example.com",),
    )
    assert found.named == ("me+c@example.com", "you@sender.example", "d@team.example")
    assert found.return_path == "ann@sender.example"


def test_the_first_return_path_counts_even_the_null_one() -> None:
    assert delivery_fields(b"Return-Path: <>\r\nReturn-Path: <late@x.example>\r\n\r\n").return_path == ""
    assert delivery_fields(b"Subject: none\r\n\r\n").return_path == ""


def test_a_header_that_is_cut_off_still_tells() -> None:
    assert delivery_fields(b"Delivered-To: me+a@example.com\r\nSubject: long long").blocks == (("me+a@example.com",),)


def test_a_thousand_forged_fields_are_not_all_read() -> None:
    forged = b"".join(b"Delivered-To: a%d@example.com\r\n" % n for n in range(1000))
    assert len(delivery_fields(forged + b"\r\n").blocks[0]) == MAX_FIELDS


@given(st.binary(max_size=500))
def test_nothing_in_a_header_makes_it_raise(header: bytes) -> None:
    delivery_fields(b"Delivered-To: " + header)
