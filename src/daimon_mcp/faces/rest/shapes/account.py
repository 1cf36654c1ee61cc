"""The account as it is answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import Shape, Tier, Time, Usage, absent


class SendLimits(Shape):
    """Null is no limit."""

    daily: int | None
    monthly: int | None


class Account(Usage):
    """The account, what it may do, and what it has done."""

    id: str
    tier: Tier
    status: Literal["active", "suspended"]
    inbox_count: int
    send_limits: SendLimits
    smtp_enabled: bool
    relay: Literal["none", "smart_host", "direct", "sandbox"]
    relay_configured: bool
    receives_from_other_servers: bool
    domains: list[str]
    created_at: Time
    api_key: str | None
    total_sent: int
    total_bounced: int
    total_complaints: int
    bounce_rate: float
    complaint_rate: float


class Can(Shape):
    """Something the account can do."""

    action: str


class Cannot(Shape):
    """Something it cannot, and why; `unlock` is what would change that, where an upgrade does."""

    action: str
    reason: str
    unlock: str = absent()


class Capabilities(Shape):
    """What the account can and cannot do now."""

    tier: Tier
    can: list[Can]
    cannot: list[Cannot]
    next_tier: Tier | None


class SmtpCredentials(Shape):
    """Where mail programs log in; null where no listener runs, or where secrets are shown to the operator alone."""

    host: str | None
    port: int | None
    tls_port: int | None
    username: str
    password: str | None
    tls: Literal[True]
    auth_method: Literal["PLAIN"]
    rotated_at: Time | None
    certificate_sha256: str | None
    certificate: str | None
    listening: bool
    problem: str | None


class Upgrade(Shape):
    """What became of an upgrade."""

    status: Literal["upgraded", "declined", "pending", "none"]
    tier: Tier
    comment: str | None = absent()
