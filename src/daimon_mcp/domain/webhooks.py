"""Webhooks: addresses that may be called, signatures, the retry schedule, and what one call came to."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, urlsplit

from daimon_mcp.domain.clock import HOUR, MINUTE, SECOND

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  a prefix, as Standard Webhooks has it
_SECRET_BYTES = 32  # Standard Webhooks: 24 to 64

MOST_WEBHOOKS: Final = 1000  # of one account
MOST_URL: Final = 2000  # characters
REPLAYS: Final = -1
"""The lane of what is sent again on demand: in order among itself, waiting for nothing else."""

CIRCUIT_AFTER: Final = 3
"""So many failures in a row are about the receiver, not about one event: then it is tried at one event at a time."""
BLOCKS_FOR: Final = 5
"""Attempts for which an event keeps the later ones of its lane waiting, so that they come in order; later it steps
aside, for what fails so often may be about that event alone."""
LONGEST_RETRY_AFTER: Final = HOUR

_BACK_OFF = (5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR)
_JITTER = 0.2
_LOOPBACK_NAMES = ("localhost", "localhost.localdomain")

# Public by number, but private to a cloud: Azure's host, which hands out settings of its machines.
_NEVER = frozenset({ipaddress.ip_address("168.63.129.16")})
_SITE = tuple(
    ipaddress.ip_network(each)
    for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_METADATA = frozenset({ipaddress.ip_address("100.100.100.200"), ipaddress.ip_address("fd00:ec2::254")})


class HookStatus(StrEnum):
    """How a webhook is doing. A disabled one is told nothing until somebody sets it active."""

    ACTIVE = "active"
    UNHEALTHY = "unhealthy"
    DISABLED = "disabled"


class HookState(StrEnum):
    """One event for one webhook."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"  # given up
    DROPPED = "dropped"  # its webhook was deleted


@dataclass(frozen=True, slots=True)
class HookCall:
    """One POST to make. The attempt is already on record when this is handed out.

    `sealed` are the secrets that sign it: the current one and, while they overlap, the one before. `failures` is how
    many the webhook has had in a row.
    """

    delivery_no: int
    webhook_no: int
    webhook_id: str
    lane: int
    attempt: int
    created_at: int
    event_seq: int
    url: str
    sealed: tuple[bytes, ...]
    failures: int


@dataclass(frozen=True, slots=True)
class HookPause:
    """Nothing is due now in a lane of a webhook; look again at `until` (epoch µs).

    `whole` when that is so for all of its lanes, whatever comes; `blocked` when it is so for this one, because one that
    failed keeps those behind it waiting. Else what comes can be told at once.
    """

    until: int
    whole: bool = False
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class HookRequest:
    """What is posted: `body` as it is signed, and the headers that go with it."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """What a POST came to: `status` None and `error` in our words when nothing came back. `retry_after` in µs."""

    status: int | None
    error: str | None = None
    retry_after: int | None = None
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    took: int = 0  # µs

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants nothing any more (RFC 9110 §15.5.11)."""
        return self.status == 410

    @property
    def problem(self) -> str:
        """What was wrong, in a few words of ours."""
        if self.error is not None:
            return self.error
        if self.status is not None and 300 <= self.status < 400:
            return f"answered {self.status}; redirects are not followed"
        return f"answered {self.status}"


# -- signatures --------------------------------------------------------------------------------------------------------


def new_secret() -> str:
    """A fresh signing secret: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def body_signature(secret: str, body: bytes) -> str:
    """`sha256=` and the hexadecimal HMAC-SHA256 of the raw body, under the secret as it is shown."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard_signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body` (Standard Webhooks 1.0, symmetric); `timestamp` in s."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("not a signing secret") from None
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signature_headers(secrets: Sequence[str], id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove where a body comes from; `timestamp` in s.

    `secrets` are the current one, and the one before it while both count: Standard Webhooks has room for two signatures
    in its header, ours has a second header for the older.
    """
    headers = {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(standard_signature(secret, id, timestamp, body) for secret in secrets),
        "X-Daimon-Signature": body_signature(secrets[0], body),
    }
    if len(secrets) > 1:
        headers["X-Daimon-Signature-Previous"] = body_signature(secrets[1], body)
    return headers


# -- when to try again -------------------------------------------------------------------------------------------------


def back_off(failed: int, *, jitter: float | None = None) -> int:
    """µs to wait after the `failed`th failure in a row. `jitter` is 0 to 1; random unless given."""
    step = _BACK_OFF[min(max(failed, 1), len(_BACK_OFF)) - 1]
    share = random.random() if jitter is None else jitter  # noqa: S311  spreads load, guards nothing
    return int(step * (1 + _JITTER * share))


def pause_after(failures: int, retry_after: int | None) -> int:
    """µs to leave a receiver alone that failed `failures` times in a row, and asked for `retry_after` µs."""
    pause = back_off(failures - CIRCUIT_AFTER + 1) if failures >= CIRCUIT_AFTER else 0
    return max(pause, min(retry_after or 0, LONGEST_RETRY_AFTER))


# -- where calls may go ------------------------------------------------------------------------------------------------


def names_loopback(host: str) -> bool:
    """Whether a URL's host says itself that it is this machine: no name that the DNS leads here does."""
    host = host.strip("[]").rstrip(".").lower()
    if host in _LOOPBACK_NAMES or host.endswith(".localhost"):  # RFC 6761 §6.3
        return True
    address = literal(host)
    return address is not None and address.is_loopback


def literal(host: str) -> Address | None:
    """The address a URL's host is; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def may_call(address: Address, *, private: bool) -> bool:
    """Whether events may be sent to an address found in the DNS, or standing in a URL that does not name loopback.

    `private` lets networks of a site be called, which are still not loopback, link-local (where clouds hand out
    credentials), multicast or nobody's. An IPv4 address inside an IPv6 one counts as what it is.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and any(address in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return may_call(inner, private=private)
        if address.scope_id is not None:
            return False
    if address in _NEVER or address in _METADATA:
        return False
    if any(address.version == network.version and address in network for network in _SITE):
        return private
    return address.is_global and not address.is_multicast


def bad_url(url: str, *, loopback: bool, private: bool) -> str | None:
    """What keeps a URL from being called, in words that follow its field's name; None for a good one.

    https only, but for http to a host that names loopback. Names are resolved, and judged, at each connection.
    """
    if len(url) > MOST_URL:
        return f"must be at most {MOST_URL} characters"
    if not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        return "must be one URL without spaces, in ASCII"
    parts = _split(url)
    if parts is None or not parts.hostname:
        return "must be a URL with a host"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password"
    if parts.fragment:
        return "must not have a fragment"
    if names_loopback(parts.hostname):
        if not loopback:
            return "must not be on this machine; the operator can allow it ([webhooks] loopback)"
        return None if parts.scheme in ("http", "https") else "must begin with https:// or http://"
    if parts.scheme != "https":
        return "must begin with https://; plain http is for this machine alone"
    address = literal(parts.hostname)
    if address is None:
        return None if _is_name(parts.hostname) else "must have a host name"
    if not may_call(address, private=private):
        return "must not be at an address of a private or special network"
    return None


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a wrong one raises
    except ValueError:
        return None
    return parts


def _is_name(host: str) -> bool:
    labels = host.rstrip(".").split(".")
    # A last label of digits makes other programs read the whole as an address (WHATWG URL §3.5).
    return not labels[-1].isdigit() and not labels[-1].lower().startswith("0x") and all(map(_is_label, labels))


def _is_label(label: str) -> bool:
    return 0 < len(label) <= 63 and all(c.isalnum() or c in "-_" for c in label)
