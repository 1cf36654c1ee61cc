"""SASL for AUTH, the server's side without sockets: PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login).

A step takes what the client said and gives what comes next as plain data: a challenge to send, the credentials to
check, or why there is nothing to check. Whether a name and a password are right is not asked here, and neither are
normalised: they are compared exactly as they came (SASLprep would make different passwords equal).
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MECHANISMS: Final = ("PLAIN", "LOGIN")
MAX_LINE: Final = 12_288  # octets of base64 in one line, its CRLF not counted (RFC 4954 §4)

_ASK_USERNAME: Final = b"VXNlcm5hbWU6"  # Username:
_ASK_PASSWORD: Final = b"UGFzc3dvcmQ6"  # Password:


class Failure(StrEnum):
    """Why an exchange ended without credentials, with the reply that RFC 4954 §4 and §6 give it."""

    CANCELLED = "cancelled"
    """The client sent `*`: 501 5.7.0."""
    BAD_BASE64 = "bad_base64"
    """Not base64, RFC 4648 §4 to the letter: 501 5.5.2."""
    MALFORMED = "malformed"
    """Base64 of what the mechanism does not allow (NULs, emptiness, not UTF-8): 501 5.5.2."""
    TOO_LONG = "too_long"
    """Longer than MAX_LINE: 500 5.5.6."""
    OTHER_IDENTITY = "other_identity"
    """The client wants to act as somebody else than the one it logs in as: 535 5.7.8."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send `334 `, `text` (base64, may be empty) and CRLF; the next line goes to `respond` together with this."""

    text: bytes
    mechanism: str
    username: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the client says it is, and its proof. Neither is empty or holds a NUL. The password is not in the repr."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The exchange is over; the session goes on unauthenticated."""

    failure: Failure


Step = Challenge | Credentials | Failed


def start(mechanism: str, initial: bytes | None) -> Step | None:
    """The first step of `AUTH mechanism [initial]`; None for a mechanism we have not (504 5.5.4).

    `mechanism` in any case. `initial` is the argument as it stands in the line: base64, or `=` for an empty response
    (RFC 4954 §4), None when there is none.
    """
    name = mechanism.upper()
    if name not in MECHANISMS:
        return None
    first = Challenge(b"" if name == "PLAIN" else _ASK_USERNAME, name)
    if initial is None:
        return first
    return _step(first, b"" if initial == b"=" else initial)


def respond(challenge: Challenge, line: bytes) -> Step:
    """What follows from the client's answer to `challenge`: `line` without its CRLF."""
    return Failed(Failure.CANCELLED) if line == b"*" else _step(challenge, line)


def _step(challenge: Challenge, encoded: bytes) -> Step:
    if len(encoded) > MAX_LINE:
        return Failed(Failure.TOO_LONG)
    try:
        message = binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        return Failed(Failure.BAD_BASE64)
    try:
        text = message.decode("utf-8")
    except UnicodeDecodeError:
        return Failed(Failure.MALFORMED)
    return _plain(text) if challenge.mechanism == "PLAIN" else _login(challenge, text)


def _plain(text: str) -> Step:
    """`[authzid] NUL authcid NUL passwd`, the last two not empty (RFC 4616 §2)."""
    parts = text.split("\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        return Failed(Failure.MALFORMED)
    identity, username, password = parts
    if identity not in ("", username):
        return Failed(Failure.OTHER_IDENTITY)
    return Credentials(username, password)


def _login(challenge: Challenge, text: str) -> Step:
    if not text or "\0" in text:
        return Failed(Failure.MALFORMED)
    if challenge.username is None:
        return Challenge(_ASK_PASSWORD, challenge.mechanism, text)
    return Credentials(challenge.username, text)
