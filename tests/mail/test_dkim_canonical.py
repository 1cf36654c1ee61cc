"""Canonical forms of header and body."""

from __future__ import annotations

import pytest

from daimon_mcp.mail.dkim_canonical import (
    Field,
    canonical_field,
    relaxed_body,
    select_fields,
    simple_body,
    take_apart,
)

# RFC 6376 §3.4.5.
_EXAMPLE = b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n"


def test_the_published_example() -> None:
    parts = take_apart(_EXAMPLE)
    assert [canonical_field(one, "relaxed") for one in parts.fields] == [b"a:X", b"b:Y Z"]
    assert [canonical_field(one, "simple") for one in parts.fields] == [b"A: X", b"B : Y\t\r\n\tZ  "]
    assert parts.canonical_body("relaxed") == b" C\r\nD E\r\n"
    assert parts.canonical_body("simple") == b" C \r\nD \t E\r\n"


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n", b"\r\n", b""),
        (b"\r\n\r\n", b"\r\n", b""),
        (b" \r\n\t\r\n", b" \r\n\t\r\n", b""),
        (b" ", b" \r\n", b""),
        (b"a", b"a\r\n", b"a\r\n"),
        (b"a\r\n", b"a\r\n", b"a\r\n"),
        (b"a \t ", b"a \t \r\n", b"a\r\n"),
        (b"a\r\n \t", b"a\r\n \t\r\n", b"a\r\n"),
        (b"a\r\n\r\nb\r\n\r\n\r\n", b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
        (b"\r\n\r\na\r\n", b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        # A carriage return without its line feed is text.
        (b"a\r", b"a\r\r\n", b"a\r\r\n"),
        (b"a\r\n\r", b"a\r\n\r\r\n", b"a\r\n\r\r\n"),
        (b"a\r\r\n", b"a\r\r\n", b"a\r\r\n"),
        (b"a\r\n\r\r\n\r\n", b"a\r\n\r\r\n", b"a\r\n\r\r\n"),
        (b"a \rb\r\n", b"a \rb\r\n", b"a \rb\r\n"),
        (b"a\x00\x0b \xa0\r\n", b"a\x00\x0b \xa0\r\n", b"a\x00\x0b \xa0\r\n"),
    ],
)
def test_bodies(body: bytes, simple: bytes, relaxed: bytes) -> None:
    assert simple_body(body) == simple
    assert relaxed_body(body) == relaxed


@pytest.mark.parametrize(
    ("content", "names", "body"),
    [
        (b"", [], b""),
        (b"\r\nbody", [], b"body"),
        (b"A: b", [b"a"], b""),
        (b"A: b\r\n", [b"a"], b""),
        (b"A: b\r\n\r\nC: d", [b"a"], b"C: d"),
        (b"A: b\n c\nB: d\n\nbody\n", [b"a", b"b"], b"body\r\n"),
        (b"A: b\r\nno field\r\nC:\r\n\r\n", [b"a", b"c"], b""),
        (b" folded: first\r\nA: b\r\n\r\n", [b"a"], b""),
        (b": no name\r\nFROM \t: b\r\n\r\n", [b"from"], b""),
        (b"From\r\n : b\r\n\r\n", [], b""),
    ],
)
def test_taking_apart(content: bytes, names: list[bytes], body: bytes) -> None:
    parts = take_apart(content)
    assert [one.name for one in parts.fields] == names
    assert parts.body == body


def test_fields_are_chosen_from_the_bottom() -> None:
    fields = [Field(b"a", b"A: 1"), Field(b"b", b"B: 2"), Field(b"a", b"A: 3")]
    assert [one.raw for one in select_fields(fields, [b"a", b"c", b"a", b"a"])] == [b"A: 3", b"A: 1"]
