"""Domains of accounts: which names can be one, and what is to be published in the DNS for it.

What is published and what was found there is plain data; words about it are in `prompts/domains`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import idna

MAX_NAME = 253 - len("_daimon.")  # the longest name we publish below it has to be one too
TOKEN_PREFIX = "daimon-verification="  # noqa: S105  published for all to see
DMARC_VALUE = "v=DMARC1; p=none"

# Names that no resolver outside ever finds: RFC 6761, RFC 6762, RFC 8375, RFC 9476, and what home routers make up.
_LOCAL_ENDS = (
    "localhost", "local", "test", "invalid", "example", "internal", "lan", "home", "home.arpa", "alt", "onion",
)  # fmt: skip
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?!\d+\Z){_LABEL}")


class DomainStatus(StrEnum):
    """`pending`: no proof was found yet. `failed`: another value stands in its place. `verified` lasts."""

    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"


class Purpose(StrEnum):
    """What a record is for; names a text in `prompts/domains`."""

    OWNERSHIP = "ownership"
    MX = "mx"
    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"


class RecordState(StrEnum):
    """What a look into the DNS found. `unknown`: nobody looked, or nobody answered."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half of a DKIM key that is published; `seen` once it was found in the DNS."""

    selector: str
    algorithm: str
    public: str
    created_at: int
    seen: bool = False


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A record to publish at `name`, which is whole and without a final dot. `priority` is an MX record's.

    `required`: mail does not get through properly without it.
    """

    purpose: Purpose
    type: Literal["TXT", "MX"]
    name: str
    value: str
    required: bool
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A record beside what the DNS has: `found` are values as published, strangers' words; `detail` narrows `state`
    (`several`, `key`, …) to a field of the purpose's text."""

    record: DnsRecord
    state: RecordState = RecordState.UNKNOWN
    found: tuple[str, ...] = ()
    detail: str = ""


def clean_name(text: str) -> str | None:
    """A domain name in lower case as A-labels, without the final dot; None for what is none with two labels or more."""
    name = text.strip().lower().removesuffix(".")
    if not name.isascii():
        if len(name) > MAX_NAME:
            return None
        try:
            name = idna.encode(name, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    return name if len(name) <= MAX_NAME and _NAME.fullmatch(name) else None


def is_local_name(name: str) -> bool:
    """Whether a domain is one of a machine or a home network, which nobody outside can look up."""
    return "." not in name or any(name == end or name.endswith("." + end) for end in _LOCAL_ENDS)


def ownership_record(domain: str, token: str) -> DnsRecord:
    """The proof that whoever asks for a domain can write into its zone."""
    return DnsRecord(Purpose.OWNERSHIP, "TXT", f"_daimon.{domain}", TOKEN_PREFIX + token, required=True)


def mail_records(domain: str, *, hostname: str, keys: Iterable[PublicKey]) -> list[DnsRecord]:
    """What mail of a domain needs: MX to `hostname`, SPF for its addresses, the DKIM keys, DMARC."""
    return [
        DnsRecord(Purpose.MX, "MX", domain, hostname, required=True, priority=10),
        DnsRecord(Purpose.SPF, "TXT", domain, f"v=spf1 a:{hostname} ~all", required=True),
        *(
            # RFC 8463 §5: not everybody can check Ed25519, everybody can check RSA.
            DnsRecord(
                Purpose.DKIM, "TXT", dkim_name(key.selector, domain), key.public, required=key.algorithm == "rsa-sha256"
            )
            for key in keys
        ),
        DnsRecord(Purpose.DMARC, "TXT", f"_dmarc.{domain}", DMARC_VALUE, required=False),
    ]


def dkim_name(selector: str, domain: str) -> str:
    """Where a key is published (RFC 6376 §3.6.2.1)."""
    return f"{selector}._domainkey.{domain}"


def read_tags(text: str) -> dict[str, str]:
    """A `name=value; …` record (RFC 6376 §3.2) without the space around things; the first of equal names counts."""
    tags: dict[str, str] = {}
    for item in text.split(";"):
        name, equals, value = item.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags


def retirable(keys: Iterable[PublicKey]) -> list[PublicKey]:
    """The keys that newer ones stand in for: all older ones, once every key of the newest making was seen."""
    known = list(keys)
    newest = max((key.created_at for key in known), default=0)
    if not all(key.seen for key in known if key.created_at == newest):
        return []
    return [key for key in known if key.created_at < newest]
