"""Keys, zones and signatures for the tests. Canonical forms here are dkimpy's, so that ours are not checked by ours."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from daimon_mcp.mail.authentication.lookup import BoundedLookup, LookupFailed
from daimon_mcp.mail.dkim_keys import make_key, public_value
from daimon_mcp.mail.dkim_sign import SigningKey

# Without types.
dkim: Any = import_module("dkim")
_Relaxed: Any = import_module("dkim.canonicalization").Relaxed

NOW = 1_795_251_600
NOW_MICROS = NOW * 1_000_000
Records = Mapping[tuple[str, str], Sequence[bytes | str] | None]


class Zone:
    """DNS as a table: (name, type) to records, None where DNS gives no answer. `asked` is every question, in order."""

    def __init__(self, records: Records) -> None:
        self.records = dict(records)
        self.asked: list[tuple[str, str]] = []

    def __call__(self, name: str, type: str) -> Sequence[bytes | str]:
        self.asked.append((name, type))
        found = self.records.get((name, type), ())
        if found is None:
            raise LookupFailed
        return found

    def bounded(self) -> BoundedLookup:
        return BoundedLookup(self)


@lru_cache(maxsize=1)
def keys() -> tuple[SigningKey, SigningKey]:
    """RSA at `r`, Ed25519 at `e`, of x.example."""
    return (
        SigningKey("x.example", "r", "rsa-sha256", make_key("rsa-sha256")),
        SigningKey("x.example", "e", "ed25519-sha256", make_key("ed25519-sha256")),
    )


def key_records(domain: str = "x.example") -> dict[tuple[str, str], Sequence[bytes | str] | None]:
    """The public halves of `keys`, at a domain."""
    return {
        (f"{key.selector}._domainkey.{domain}", "TXT"): [public_value(key.private, key.algorithm).encode()]
        for key in keys()
    }


@lru_cache(maxsize=1)
def rsa_pem() -> bytes:
    """The RSA key as dkimpy takes it."""
    key = load_der_private_key(keys()[0].private, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _relaxed(name: bytes, value: bytes) -> bytes:
    [(lower, text)] = _Relaxed.canonicalize_headers([(name, value)])
    return lower + b":" + text


def field(name: str, tags: str, covered: Sequence[tuple[bytes, bytes]], private: bytes | None = None) -> bytes:
    """A signature field with these tags and the `b=` that they need over the covered fields (relaxed)."""
    value = f" {tags}; b=".encode()
    data = b"".join(_relaxed(*one) for one in covered) + _relaxed(name.encode(), value).removesuffix(b"\r\n")
    key = load_der_private_key(private or keys()[0].private, None)
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ed25519.Ed25519PrivateKey)
        signature = key.sign(hashlib.sha256(data).digest())
    return name.encode() + b":" + value + base64.b64encode(signature) + b"\r\n"


def body_hash(content: bytes) -> str:
    """`bh=` of the relaxed body."""
    body = _Relaxed.canonicalize_body(content.partition(b"\r\n\r\n")[2])
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def fields_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """The header fields as (name, value), in order."""
    return [(name, value) for name, value in dkim.rfc822_parse(content)[0]]


def seal(
    content: bytes, results: str, *, domain: str = "x.example", instance: int = 1, cv: str = "none", more: str = ""
) -> bytes:
    """`content` under one more ARC set by the RSA key at `r` of a domain. `results` follows the instance, `more`
    the tags of the seal."""
    own = f"i={instance}; a=rsa-sha256; d={domain}; s=r; t={NOW}"
    aar = f"ARC-Authentication-Results: i={instance}; {results}\r\n".encode()
    covered = [one for one in fields_of(content) if one[0].lower() == b"from"]
    ams = field("ARC-Message-Signature", f"{own}; c=relaxed/relaxed; h=from; bh={body_hash(content)}", covered)
    sets = [one for one in fields_of(content) if one[0].startswith(b"ARC-")]
    # The seal covers set after set, each as results, signature, seal; at the top of a message they stand reversed.
    seal_field = field("ARC-Seal", f"{own}; cv={cv}{more}", [*sets[::-1], *fields_of(aar), *fields_of(ams)])
    return seal_field + ams + aar + content


def dkimpy_sign(
    content: bytes,
    *,
    forms: tuple[bytes, bytes] = (b"relaxed", b"simple"),
    pem: bytes | None = None,
    algorithm: bytes = b"rsa-sha256",
    length: bool = False,
) -> bytes:
    """A DKIM-Signature of x.example at `r`, made by dkimpy."""
    key = pem or rsa_pem()
    return dkim.sign(content, b"r", b"x.example", key, canonicalize=forms, signature_algorithm=algorithm, length=length)


class _VerifyKey:
    """As PyNaCl's, which dkimpy needs for Ed25519."""

    def __init__(self, key: bytes, encoder: object) -> None:
        self._key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(key))

    def verify(self, message: bytes, signature: bytes) -> None:
        self._key.verify(signature, message)


def dkimpy_verdicts(content: bytes, zone: Zone, count: int) -> list[bool]:
    """What dkimpy says of the first signatures of a message."""
    dkim.nacl = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=_VerifyKey),
        encoding=SimpleNamespace(Base64Encoder=None),
        exceptions=SimpleNamespace(ValueError=ValueError, BadSignatureError=InvalidSignature),
    )

    def txt(name: bytes, timeout: int = 5) -> bytes:
        found = zone(name.decode().removesuffix("."), "TXT")
        return b"".join(one if isinstance(one, bytes) else one.encode() for one in found)

    verify: Callable[..., bool] = dkim.DKIM(content).verify
    return [verify(idx=number, dnsfunc=txt) for number in range(count)]
