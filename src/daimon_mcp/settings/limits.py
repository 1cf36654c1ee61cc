"""What each tier may do: [limits.free], [limits.starter], [limits.pro] and [limits.enterprise]."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import model_validator

from daimon_mcp.domain.tiers import DEFAULT_LIMITS, Limits, Tier
from daimon_mcp.settings.kinds import Whole
from daimon_mcp.settings.section import Section, option
from daimon_mcp.settings.sources import UNLIMITED


class TierLimits(Section):
    """What one tier may do; -1 means no limit. One recipient counts one send."""

    sends_per_month: Whole = option(..., "Sends in a calendar month (UTC).", unit="sends", ge=UNLIMITED, example=100)
    sends_per_day: Whole = option(..., "Sends in a day (UTC).", unit="sends", ge=UNLIMITED, example=100)
    sends_per_minute: Whole = option(..., "Sends within 60 seconds.", unit="sends", ge=UNLIMITED, example=10)
    smtp: bool = option(..., "Whether mail programs may log in, by SMTP.", example=True)
    smtp_sessions: Whole = option(..., "SMTP sessions at the same time.", unit="sessions", ge=0, example=5)
    inboxes_per_hour: Whole = option(..., "Inboxes created within an hour.", unit="inboxes", ge=UNLIMITED, example=10)
    domains: Whole = option(..., "Custom domains.", unit="domains", ge=UNLIMITED, example=1)

    def limits(self) -> Limits:
        """As the rules want it: None where there is no limit."""
        return Limits(
            sends_per_month=_or_none(self.sends_per_month),
            sends_per_day=_or_none(self.sends_per_day),
            sends_per_minute=_or_none(self.sends_per_minute),
            smtp=self.smtp,
            smtp_sessions=self.smtp_sessions,
            inboxes_per_hour=_or_none(self.inboxes_per_hour),
            domains=_or_none(self.domains),
        )


def _or_none(limit: int) -> int | None:
    return None if limit == UNLIMITED else limit


def _default_limits(tier: str) -> dict[str, Any]:
    limits = DEFAULT_LIMITS[Tier(tier)]
    return {name: UNLIMITED if (value := getattr(limits, name)) is None else value for name in TierLimits.model_fields}


class LimitsByTier(Section):
    """Limits of each tier; an option left out keeps the tier's default."""

    free: TierLimits = TierLimits(**_default_limits("free"))
    starter: TierLimits = TierLimits(**_default_limits("starter"))
    pro: TierLimits = TierLimits(**_default_limits("pro"))
    enterprise: TierLimits = TierLimits(**_default_limits("enterprise"))

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        given = cast("Mapping[str, object]", value)
        return {
            tier: {**_default_limits(tier), **cast("Mapping[str, object]", part)}
            if tier in cls.model_fields and isinstance(part, Mapping)
            else part
            for tier, part in given.items()
        }
