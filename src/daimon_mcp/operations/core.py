"""What every operation stands on: the store, the clock, the bell, and the numbers of the config."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import anyio

from daimon_mcp.changes.bus import LocalBus
from daimon_mcp.domain.clock import DAY, HOUR, MINUTE, Clock
from daimon_mcp.domain.refusals import Fact
from daimon_mcp.domain.tiers import DEFAULT_LIMITS, Limits, Tier
from daimon_mcp.domain.webhooks import HookAnswer, HookRequest
from daimon_mcp.store.blobs import Blobs
from daimon_mcp.store.database import Database

LISTENERS_SECONDS = 5.0

if TYPE_CHECKING:
    from daimon_mcp.resolver import Resolver

WayOut = Literal["none", "smart_host", "direct", "sandbox"]
"""How mail to other servers leaves."""

# Told now and then by operations that wait: seconds so far, seconds in all.
Progress = Callable[[float, float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Numbers and names from the config, as plain values. Durations in µs."""

    domain: str = "agents.localhost"
    domains: frozenset[str] = frozenset({"agents.localhost"})
    hostname: str = "agents.localhost"
    limits: Mapping[Tier, Limits] = field(default_factory=lambda: DEFAULT_LIMITS)
    relay: WayOut = "none"
    max_recipients: int = 50
    max_message_bytes: int = 10 * 1024 * 1024
    max_hops: int = 50
    messages_per_minute: int = 600  # from one address
    greylist_seconds: int = 0
    address_quarantine: int = 90 * DAY
    link_lifetime: int = 7 * DAY
    duplicate_window: int = 10 * MINUTE
    idempotency_window: int = 24 * HOUR
    give_up_after: int = 5 * DAY
    secrets_masked: bool = False
    max_result_tokens: int = 20_000
    files_folder: Path = Path("files")
    files_bytes: int = 1 << 30
    verp: bool = False
    login_delay: float = 0.25  # seconds, of the first failed login that is answered slowly
    most_failed_logins: int = 50  # from one address in ten minutes
    abuse_failed_logins: int = 20  # each of one account in ten minutes
    abuse_refused_senders: int = 10
    abuse_volume: int = 200
    abuse_stops_sending: bool = False
    bootstrap: Literal["off", "loopback", "on"] = "off"  # from where a first inbox may be asked for without a key
    join_code: str | None = None  # that must be said with it
    guard: Literal["hold", "report", "off"] = "hold"  # what becomes of mail with secrets in it
    hook_retry_for: int = DAY  # how long an event is tried to be told to a webhook
    hook_log_kept: int = 30 * DAY
    hook_unhealthy_after: int = 5  # failures in a row
    hooks_on_loopback: bool = True  # webhooks may be on this machine, if their URL says so
    hooks_on_site: bool = False  # webhooks may be at addresses of a private network
    most_queued: int = 100_000  # recipients that wait for the relay, beyond which mail is put off
    most_spooled: int = 1 << 30  # octets acknowledged and not filed, beyond which mail is put off

    @property
    def relay_configured(self) -> bool:
        """Whether mail to other servers is taken at all."""
        return self.relay != "none"

    @property
    def is_sandbox(self) -> bool:
        """Whether mail to other servers is captured, and never leaves."""
        return self.relay == "sandbox"


def _no_resolver() -> Resolver:
    raise LookupError("there is no resolver here")


class Poster(Protocol):
    """Posts to webhooks."""

    async def post(self, request: HookRequest) -> HookAnswer:
        """Post it, once; whatever goes wrong is an answer too."""
        ...


def _no_poster() -> Poster:
    raise LookupError("nothing here posts to webhooks")


@dataclass(frozen=True, slots=True)
class SubmissionAt:
    """Where mail programs log in: `port` with STARTTLS, `tls_port` with TLS from the first byte."""

    host: str
    port: int
    tls_port: int
    certificate_sha256: str | None = None  # of a certificate of our own making, which programs must be told to trust
    certificate: str | None = None  # where that lies


@dataclass(slots=True, kw_only=True)
class Core:
    """Handed to every area of operations.

    `public_url` is known, and `has_http` true, once the HTTP listener is bound.
    """

    database: Database
    blobs: Blobs
    clock: Clock
    bus: LocalBus
    policy: Policy
    public_url: str = "http://127.0.0.1:8370"
    has_http: bool = False
    # Why no mail of other servers comes in, in a few words of ours for agents; None where it does.
    not_listening: str | None = None
    # Why mail programs cannot log in although they should, in a few words of ours; None where they can, or none are
    # wanted.
    no_submission: str | None = None
    # Set while the submission listener runs.
    submission: SubmissionAt | None = None
    # Set once all listeners have begun, or failed to; None where there are none to wait for.
    listening: asyncio.Event | None = None
    # When a mail program last logged in, or mail last came in: epoch µs.
    mail_seen_at: int = 0
    # What the operator should know of this run: a port that was taken, for example.
    notes: list[str] = field(default_factory=list[str])
    started_at: int = 0
    # Verified domains of accounts, beside those of the configuration.
    account_domains: set[str] = field(default_factory=set[str])
    # The process's resolver, made when first asked for.
    resolving: Callable[[], Resolver] = _no_resolver
    # What posts to webhooks, made when first asked for.
    posting: Callable[[], Poster] = _no_poster
    # When actors were last seen to read outside mail: what is on record, so that it is not written each time.
    exposed_at: dict[str, int] = field(default_factory=dict[str, int])
    # Under which return paths are signed (domain/verp.py).
    verp_key: bytes = b""

    async def listeners_begun(self) -> None:
        """Return once it is known which listeners there are: a process answers its first client before they begin."""
        if self.listening is not None:
            with anyio.move_on_after(LISTENERS_SECONDS):
                await self.listening.wait()

    def is_local(self, address: str) -> bool:
        """Whether mail to this address is delivered inside this server."""
        domain = address.rpartition("@")[2].lower()
        return domain in self.policy.domains or domain in self.account_domains


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What an operator is to be shown: a URL with its label's and script's slots."""

    url: str
    kind: str
    facts: Mapping[str, Fact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an operation came to: the result in wire names, and which text says what to do next.

    `key` names `prompts/outcomes/<key>.md`; `facts` fill its slots and are ours only. `link` is set when the operator
    is needed although nothing failed.
    """

    key: str
    result: dict[str, Any]
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Fact])
    link: Link | None = None
