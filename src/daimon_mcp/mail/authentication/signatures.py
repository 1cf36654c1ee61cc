"""What DKIM and ARC signatures have in common: tag lists, public keys, the check itself (RFC 6376 §3.2, §3.6.1, §6.1).

Verified with `cryptography`, imported when a first signature is met.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daimon_mcp.mail.authentication.lookup import BoundedLookup, LookupFailed
from daimon_mcp.mail.dkim_canonical import Canonicalization, Field, Parts, canonical_field, select_fields

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MIN_RSA_BITS = 1024  # RFC 8301 §3.2
_MAX_RSA_BITS = 4096  # more only costs time
_MAX_TAGS = 50
_MAX_NAMES = 1_000

_FOLDS = re.compile(rb"[ \t\r\n]+")
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]{0,50}")
_VALUE = re.compile(rb"[\t\r\n !-:<-~]*")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_B_TAG = re.compile(rb"((?:\A|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
_DOMAIN = re.compile(rb"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})+")
_SELECTOR = re.compile(rb"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_FIELD_NAME = re.compile(rb"[!-9<-~]{1,200}")  # no colon, no semicolon
_TEMPORARY = "the key could not be fetched"


class SignatureError(Exception):
    """Why a signature does not count: `result` is permerror, temperror, policy or fail (RFC 8601 §2.7.1), `reason` our
    own words."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key from DNS. `strict`: `i=` must be at `d=` itself (flag `s`)."""

    key: Ed25519PublicKey | RSAPublicKey
    bits: int
    strict: bool


def read_tags(value: bytes) -> dict[bytes, bytes]:
    """A tag list, values without white space at their ends. Raises SignatureError (permerror) for what is none."""
    tags: dict[bytes, bytes] = {}
    items = value.split(b";", _MAX_TAGS)
    if not items[-1].strip():
        items.pop()
    for item in items:
        name, equals, text = item.partition(b"=")
        name, text = name.strip(b" \t\r\n"), text.strip(b" \t\r\n")
        if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(text):
            raise SignatureError("permerror", "not a list of tags")
        if name in tags:
            raise SignatureError("permerror", "a tag stands twice")
        tags[name] = text
    return tags


def without_space(value: bytes) -> bytes:
    """A value without any white space in it."""
    return _FOLDS.sub(b"", value)


def decode_octets(value: bytes, tag: str) -> bytes:
    """base64 with folds. Raises SignatureError (permerror) for anything else, naming the tag."""
    text = without_space(value)
    if not _BASE64.fullmatch(text) or len(text) % 4:
        raise SignatureError("permerror", f"{tag}= is no base64")
    try:
        return base64.b64decode(text)
    except binascii.Error as error:
        raise SignatureError("permerror", f"{tag}= is no base64") from error


def domain_tag(tags: dict[bytes, bytes]) -> str:
    """`d=` in lower case. Raises SignatureError (permerror) when it is no host name."""
    value = tags.get(b"d", b"")
    if len(value) > 253 or not _DOMAIN.fullmatch(value):
        raise SignatureError("permerror", "d= is no domain")
    return value.decode("ascii").lower()


def selector_tag(tags: dict[bytes, bytes]) -> str:
    """`s=` in lower case. Raises SignatureError (permerror) when it cannot be part of a name."""
    value = tags.get(b"s", b"")
    if len(value) > 200 or not _SELECTOR.fullmatch(value):
        raise SignatureError("permerror", "s= is no selector")
    return value.decode("ascii").lower()


def number_tag(tags: dict[bytes, bytes], tag: str) -> int | None:
    """A decimal number, None where the tag is missing. Raises SignatureError (permerror)."""
    value = tags.get(tag.encode("ascii"))
    if value is None:
        return None
    if not value.isdigit() or len(value) > 12:
        raise SignatureError("permerror", f"{tag}= is no number")
    return int(value)


def names_tag(tags: dict[bytes, bytes]) -> list[bytes]:
    """`h=` in lower case; empty names are left out. Raises SignatureError (permerror) for what is no field name."""
    names = [name.strip(b" \t\r\n").lower() for name in tags.get(b"h", b"").split(b":", _MAX_NAMES)]
    names = [name for name in names if name]
    if not all(_FIELD_NAME.fullmatch(name) for name in names):
        raise SignatureError("permerror", "h= is no list of header fields")
    return names


def forms_tag(value: bytes) -> tuple[Canonicalization, Canonicalization]:
    """`c=` as the forms of header and body; that of the body is simple where it is not named. Raises SignatureError."""
    header, _, body = without_space(value).decode("latin-1").partition("/")
    body = body or "simple"
    if header not in ("simple", "relaxed") or body not in ("simple", "relaxed"):
        raise SignatureError("permerror", "c= is unknown")
    return header, body


def check_algorithm(tags: dict[bytes, bytes]) -> str:
    """`a=`, one of those we verify. Raises SignatureError: fail for SHA-1 (RFC 8301 §3.1), permerror for others."""
    algorithm = tags.get(b"a", b"")
    if algorithm == b"rsa-sha1":
        raise SignatureError("fail", "signed with SHA-1")
    if algorithm not in (b"rsa-sha256", b"ed25519-sha256"):
        raise SignatureError("permerror", "an unknown algorithm")
    return algorithm.decode("ascii")


def fetch_key(lookup: BoundedLookup, domain: str, selector: str, algorithm: str) -> PublicKey:
    """The public key of a signature. Raises SignatureError; of several TXT records the first usable one counts."""
    try:
        records = lookup.texts(f"{selector}._domainkey.{domain}")
    except LookupFailed as error:
        raise SignatureError("temperror", _TEMPORARY) from error
    problem = SignatureError("permerror", "no key in DNS")
    for record in records[:5]:
        try:
            return read_key(record, algorithm)
        except SignatureError as error:
            problem = error
    raise problem


def read_key(record: bytes, algorithm: str) -> PublicKey:
    """A key record (RFC 6376 §3.6.1, RFC 8463 §4). Raises SignatureError (permerror) when it is none for this use."""
    tags = read_tags(record)
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or (b"v" in tags and next(iter(tags)) != b"v"):
        raise SignatureError("permerror", "the key record has another version")
    kind = algorithm.partition("-")[0]
    if tags.get(b"k", b"rsa").decode("latin-1") != kind:
        raise SignatureError("permerror", "the key is of another kind than the signature")
    if b"h" in tags and b"sha256" not in (item.strip() for item in tags[b"h"].split(b":")):
        raise SignatureError("permerror", "the key is not for SHA-256")
    services = [item.strip() for item in tags.get(b"s", b"*").split(b":")]
    if b"*" not in services and b"email" not in services:
        raise SignatureError("permerror", "the key is not for mail")
    if b"p" not in tags:
        raise SignatureError("permerror", "the key record has no key")
    if not tags[b"p"]:
        raise SignatureError("permerror", "the key was revoked")
    flags = [item.strip() for item in tags.get(b"t", b"").split(b":")]
    key = _load(decode_octets(tags[b"p"], "p"), kind)
    bits = 256 if kind == "ed25519" else getattr(key, "key_size", 0)
    if bits > _MAX_RSA_BITS:
        raise SignatureError("permerror", "the key is too long")
    return PublicKey(key, bits, strict=b"s" in flags)


def _load(octets: bytes, kind: str) -> Ed25519PublicKey | RSAPublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        if kind == "ed25519":
            return Ed25519PublicKey.from_public_bytes(octets)
        key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError("permerror", "the key cannot be read") from error
    if not isinstance(key, RSAPublicKey):
        raise SignatureError("permerror", "the key is of another kind than the signature")
    return key


def signed_data(fields: Sequence[Field], names: Sequence[bytes], own: Field, form: Canonicalization) -> bytes:
    """What a signature was made over: the named fields, then its own with an empty `b=` (RFC 6376 §3.7)."""
    chosen = [canonical_field(one, form) for one in select_fields(fields, names)]
    head, _, value = own.raw.partition(b":")
    emptied = Field(own.name, head + b":" + _B_TAG.sub(rb"\1", value))
    return b"\r\n".join([*chosen, canonical_field(emptied, form)])


def check_signature(public: PublicKey, signature: bytes, data: bytes) -> None:
    """Raises SignatureError: fail when the signature is not the key's over `data`, policy for a short key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        if isinstance(public.key, rsa.RSAPublicKey):
            public.key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        else:
            public.key.verify(signature, hashlib.sha256(data).digest())
    except (InvalidSignature, ValueError) as error:
        raise SignatureError("fail", "the signature is not of these headers") from error
    if public.bits < MIN_RSA_BITS and isinstance(public.key, rsa.RSAPublicKey):
        raise SignatureError("policy", f"a key of {public.bits} bits")


def check_body(parts: Parts, form: Canonicalization, expected: bytes, length: int | None) -> None:
    """Raises SignatureError (fail) when the body, or its first `length` octets, is not the one that was signed."""
    if length is not None and length > len(parts.canonical_body(form)):
        raise SignatureError("fail", "the body is shorter than when it was signed")
    if parts.body_hash(form, length) != expected:
        raise SignatureError("fail", "the body is not the one that was signed")
