"""Tiers, their limits, and what an account may do now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from daimon_mcp.domain.clock import MINUTE, SECOND, iso, next_day, next_month
from daimon_mcp.domain.refusals import Fact, RefusalCode, Refused


class Tier(StrEnum):
    FREE = "free"
    STARTER = "starter"
    PRO = "pro"
    ENTERPRISE = "enterprise"


_ORDER = (Tier.FREE, Tier.STARTER, Tier.PRO, Tier.ENTERPRISE)
TIER_ALIASES = {"developer": Tier.STARTER, "growth": Tier.PRO}


def parse_tier(text: str) -> Tier:
    """A tier by its name or its alias in the field's documents. Raises ValueError."""
    lowered = text.strip().lower()
    return TIER_ALIASES.get(lowered) or Tier(lowered)


def next_tier(tier: Tier) -> Tier:
    """The tier an upgrade leads to when none is named; the highest leads to itself."""
    return _ORDER[min(_ORDER.index(tier) + 1, len(_ORDER) - 1)]


def is_higher(tier: Tier, than: Tier) -> bool:
    """Whether `tier` grants more than `than`."""
    return _ORDER.index(tier) > _ORDER.index(than)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tier may do. None means no limit."""

    sends_per_month: int | None
    sends_per_day: int | None
    sends_per_minute: int | None
    smtp: bool
    smtp_sessions: int
    inboxes_per_hour: int | None
    domains: int | None

    @property
    def may_send(self) -> bool:
        return self.sends_per_month != 0


DEFAULT_LIMITS: dict[Tier, Limits] = {
    Tier.FREE: Limits(0, 0, None, False, 0, 10, 0),
    Tier.STARTER: Limits(100, 100, 10, True, 5, None, 1),
    Tier.PRO: Limits(10_000, 1_000, 100, True, 20, None, 3),
    Tier.ENTERPRISE: Limits(None, 100_000, 1_000, True, 100, None, None),
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Recipients sent to so far: one recipient counts one send, on every face."""

    today: int
    this_month: int
    last_minute: int


def usage_facts(limits: Limits, usage: Usage, now: int) -> dict[str, Fact]:
    """The `usage` object of a send's result, so that an agent can plan."""
    return {
        "sends_today": usage.today,
        "daily_send_limit": limits.sends_per_day,
        "sends_this_month": usage.this_month,
        "monthly_send_limit": limits.sends_per_month,
        "resets_at": iso(next_day(now)),
    }


def check_send(tier: Tier, limits: Limits, usage: Usage, recipients: int, now: int, *, at: int | None = None) -> None:
    """Raise Refused unless `recipients` more sends are allowed `at` a time, which is `now` unless it is later.

    `usage` is of the day and month of `at`. The limit of a minute is asked of what leaves now; of the rest, when its
    time has come.
    SEND_REQUIRES_PAID on a tier that cannot send; SEND_LIMIT_EXCEEDED for the month, then the day;
    RATE_LIMIT_EXCEEDED for the last 60 seconds.
    """
    leaves = now if at is None else max(now, at)
    higher = next_tier(tier)
    upgrade = str(higher) if higher != tier else None
    if not limits.may_send:
        raise Refused(RefusalCode.SEND_REQUIRES_PAID, facts={"tier": str(tier)}, target_tier=upgrade)

    def over(reason: str, used: int, limit: int, reset: int) -> Refused:
        return Refused(
            RefusalCode.SEND_LIMIT_EXCEEDED,
            reason=reason,
            facts={"used": used, "limit": limit, "wanted": recipients, "reset_at": iso(reset), "tier": str(tier)},
            retry_after=-(-(reset - now) // SECOND),
            current_usage={"sent": used, "limit": limit, "reset_at": iso(reset)},
            target_tier=upgrade,
        )

    if limits.sends_per_month is not None and usage.this_month + recipients > limits.sends_per_month:
        raise over("MONTHLY_SEND_QUOTA", usage.this_month, limits.sends_per_month, next_month(leaves))
    if limits.sends_per_day is not None and usage.today + recipients > limits.sends_per_day:
        raise over("DAILY_SEND_QUOTA", usage.today, limits.sends_per_day, next_day(leaves))
    if leaves > now:
        return
    if limits.sends_per_minute is not None and usage.last_minute + recipients > limits.sends_per_minute:
        raise Refused(
            RefusalCode.RATE_LIMIT_EXCEEDED,
            reason="SEND_BURST_LIMIT",
            facts={"used": usage.last_minute, "limit": limits.sends_per_minute, "wanted": recipients},
            retry_after=MINUTE // SECOND,
            current_usage={"sent": usage.last_minute, "limit": limits.sends_per_minute, "window_seconds": 60},
            target_tier=upgrade,
        )
