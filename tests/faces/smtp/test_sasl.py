"""AUTH PLAIN and LOGIN, step by step."""

from __future__ import annotations

import base64
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daimon_mcp.faces.smtp.sasl import MAX_LINE, MECHANISMS, Challenge, Credentials, Failed, Failure, respond, start

BAD_BASE64: Final = [b"!", b"YQ", b"YQ=", b"YQ==YQ==", b"=", b"====", b" YQ==", b"YQ==\n", b"Y Q==", b"YQ==*", b"\xff"]


def b64(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize("name", ["PLAIN", "plain", "Plain"])
def test_plain(name: str) -> None:
    expected = Credentials("agent@x.example", "pass word")
    assert start(name, b64("\0agent@x.example\0pass word")) == expected
    assert start(name, b64("agent@x.example\0agent@x.example\0pass word")) == expected
    challenge = start(name, None)
    assert isinstance(challenge, Challenge)
    assert challenge.text == b""
    assert respond(challenge, b64("\0agent@x.example\0pass word")) == expected


@pytest.mark.parametrize("name", ["LOGIN", "login", "LogIn"])
def test_login(name: str) -> None:
    first = start(name, None)
    assert isinstance(first, Challenge)
    assert first.text == b64("Username:")
    second = respond(first, b64("ünal@x.example"))
    assert isinstance(second, Challenge)
    assert second.text == b64("Password:")
    assert respond(second, b64("pæss")) == Credentials("ünal@x.example", "pæss")
    assert start(name, b64("ünal@x.example")) == second


def test_other_mechanisms_are_unknown() -> None:
    assert all(start(name, None) is None for name in ("", "CRAM-MD5", "PLAIN ", "XOAUTH2", "PLAİN"))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_cancelled(mechanism: str) -> None:
    challenge = start(mechanism, None)
    assert isinstance(challenge, Challenge)
    assert respond(challenge, b"*") == Failed(Failure.CANCELLED)
    assert start(mechanism, b"*") == Failed(Failure.BAD_BASE64)  # an argument cancels nothing
    second = respond(Challenge(b"", "LOGIN"), b64("agent"))
    assert isinstance(second, Challenge)
    assert respond(second, b"*") == Failed(Failure.CANCELLED)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("line", BAD_BASE64)
def test_bad_base64(mechanism: str, line: bytes) -> None:
    challenge = start(mechanism, None)
    assert isinstance(challenge, Challenge)
    assert respond(challenge, line) == Failed(Failure.BAD_BASE64)
    if line != b"=":
        assert start(mechanism, line) == Failed(Failure.BAD_BASE64)


@pytest.mark.parametrize(
    "message",
    ["", "\0", "\0\0", "u", "\0u", "\0u\0", "\0\0p", "u\0\0p", "\0u\0p\0", "\0u\0p\0q", b"\0u\0\xff", b"\xc3"],
)
def test_malformed_plain(message: str | bytes) -> None:
    assert start("PLAIN", b64(message)) == Failed(Failure.MALFORMED)


@pytest.mark.parametrize("message", ["", "\0", "a\0b", b"\xff"])
def test_malformed_login(message: str | bytes) -> None:
    assert start("LOGIN", b64(message)) == Failed(Failure.MALFORMED)
    assert respond(Challenge(b"", "LOGIN", "agent"), b64(message)) == Failed(Failure.MALFORMED)


def test_an_empty_initial_response_is_a_response() -> None:
    assert start("PLAIN", b"=") == Failed(Failure.MALFORMED)
    assert start("LOGIN", b"=") == Failed(Failure.MALFORMED)


def test_nobody_acts_as_somebody_else() -> None:
    for identity in ("Agent", "agent ", "boss"):
        assert start("PLAIN", b64(f"{identity}\0agent\0pass")) == Failed(Failure.OTHER_IDENTITY)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_longest_line(mechanism: str) -> None:
    room = MAX_LINE // 4 * 3
    fits = b64(b"\0u\0" + b"p" * (room - 3)) if mechanism == "PLAIN" else b64(b"u" * room)
    assert len(fits) == MAX_LINE
    assert not isinstance(start(mechanism, fits), Failed)
    assert start(mechanism, fits + b"AAAA") == Failed(Failure.TOO_LONG)
    assert start(mechanism, b"!" * (MAX_LINE + 1)) == Failed(Failure.TOO_LONG)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(start("PLAIN", b64("\0agent\0secret")))


@given(st.sampled_from(MECHANISMS), st.lists(st.binary(max_size=40) | st.binary(max_size=30).map(b64), max_size=4))
@example("PLAIN", [b64(b"\0u\0p")])
@example("LOGIN", [b64(b"u"), b64(b"p")])
def test_any_octets(mechanism: str, lines: list[bytes]) -> None:
    step = start(mechanism, None)
    said: list[str] = []
    for line in lines:
        if not isinstance(step, Challenge):
            break
        step = respond(step, line)
        if line != b"*" and not (isinstance(step, Failed) and step.failure != Failure.OTHER_IDENTITY):
            said += base64.b64decode(line).decode().split("\0")
    if isinstance(step, Credentials):
        assert step.username
        assert step.password
        assert "\0" not in step.username + step.password
        assert said[-2:] == [step.username, step.password]
