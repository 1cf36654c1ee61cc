"""DKIM signatures for mail on its way out (RFC 6376, RFC 8463)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.mail.dkim_canonical import Field, Parts, relaxed_field, select_fields, take_apart
from daimon_mcp.mail.dkim_keys import Algorithm, load_key
from daimon_mcp.mail.encode import FOLD_AT

# Listed once more than they are there, so that nobody can add another one (RFC 6376 §8.15).
OVERSIGNED = (
    "from",
    "to",
    "cc",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
)
# Listed as often as they are there: a mailing list may well add its own.
SIGNED = (
    "sender",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "auto-submitted",
    "content-disposition",
    "content-language",
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key and where its public half is published: `<selector>._domainkey.<domain>`, both ASCII."""

    domain: str
    selector: str
    algorithm: Algorithm
    private: bytes = field(repr=False)  # PKCS #8 DER


def sign(content: bytes, keys: Sequence[SigningKey], *, now: int) -> bytes:
    """The DKIM-Signature fields to put before `content`, one for each key in that order, each with its CRLF.

    relaxed/relaxed, the whole body. `now` (epoch µs) becomes `t=`: given the time at which a message was accepted, the
    same bytes come out of every attempt to deliver it. Bare line feeds are signed as the CRLF that they are sent as.
    Takes about 10 ms for every megabyte: not for the event loop. Raises BadKey for a key that is none.
    """
    if not keys:
        return b""
    parts = take_apart(content)
    names = _signed_names(parts)
    signed = b"".join(relaxed_field(one) + b"\r\n" for one in select_fields(parts.fields, names))
    body_hash = base64.b64encode(parts.body_hash("relaxed")).decode("ascii")
    return b"".join(_signature(key, names, signed, body_hash, now // SECOND) for key in keys)


def _signed_names(parts: Parts) -> list[bytes]:
    present: dict[bytes, int] = {}
    for one in parts.fields:
        present[one.name] = present.get(one.name, 0) + 1
    names: list[bytes] = []
    for extra, group in ((1, OVERSIGNED), (0, SIGNED)):
        for name in group:
            encoded = name.encode("ascii")
            names.extend([encoded] * (present.get(encoded, 0) + extra))
    return names


def _signature(key: SigningKey, names: list[bytes], signed: bytes, body_hash: str, timestamp: int) -> bytes:
    """One field. Its hash is over itself with an empty `b=`, which therefore stands last."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    unsigned = (
        f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/relaxed;\r\n"
        f" d={key.domain}; s={key.selector};\r\n"
        f" t={timestamp}; h={_folded_names(names)};\r\n"
        f" bh={body_hash};\r\n"
        " b="
    ).encode("ascii")
    data = signed + relaxed_field(Field(b"dkim-signature", unsigned))
    private = load_key(key.private, key.algorithm)
    if isinstance(private, rsa.RSAPrivateKey):
        signature = private.sign(data, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = private.sign(hashlib.sha256(data).digest())  # RFC 8463 §3: over the hash
    text = base64.b64encode(signature)
    return unsigned + b"\r\n  ".join(text[start : start + 72] for start in range(0, len(text), 72)) + b"\r\n"


def _folded_names(names: list[bytes]) -> str:
    """The list of names, folded behind its colons."""
    lines = [""]
    room = FOLD_AT - len(" t=4294967295; h=")
    for number, name in enumerate(names):
        word = name.decode("ascii") + (":" if number + 1 < len(names) else "")
        if len(lines[-1]) + len(word) > room:
            lines.append("  ")
            room = FOLD_AT - 1
        lines[-1] += word
    return "\r\n".join(lines)
