"""Time, passed in: epoch microseconds everywhere inside, ISO 8601 UTC with Z outside."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_OFFSET = re.compile(r"(?:[zZ]|[+-]\d{2}:?\d{2})$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR = 9000  # so that the day, month and retry after any time we take can be written too


class Clock(Protocol):
    """Where everybody gets the time, so that tests can move it."""

    def now(self) -> int:
        """Epoch microseconds."""
        ...

    def seconds_until(self, due: int) -> float:
        """How long to sleep, in real seconds, until `due` (epoch µs); 0 when it has passed."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def seconds_until(self, due: int) -> float:
        return max(0.0, (due - self.now()) / SECOND)


class BadTime(ValueError):
    """A time that cannot be read; the message shows one that can."""


def iso(microseconds: int) -> str:
    """Epoch µs as `2026-11-21T09:00:00Z`; fractions are dropped."""
    return to_datetime(microseconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_or_none(microseconds: int | None) -> str | None:
    """`iso`, for a time that may be missing."""
    return None if microseconds is None else iso(microseconds)


def to_datetime(microseconds: int) -> datetime:
    """Epoch µs as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=microseconds)


def from_datetime(moment: datetime) -> int:
    """An aware datetime as epoch µs."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def parse_time(text: str) -> int:
    """Read an ISO 8601 time with an offset into epoch µs.

    Raises BadTime with a message that shows the same time written properly when there is no offset.
    """
    stripped = text.strip()
    if not _OFFSET.search(stripped):
        try:
            example = datetime.fromisoformat(stripped).strftime("%Y-%m-%dT%H:%M:%SZ")
        except ValueError:
            raise BadTime("is not an ISO 8601 time; write it like 2026-11-21T09:00:00Z") from None
        raise BadTime(f"has no UTC offset; write it like {example} or {example[:-1]}+02:00")
    try:
        moment = datetime.fromisoformat(stripped.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadTime("is not an ISO 8601 time; write it like 2026-11-21T09:00:00Z") from None
    if not 1970 <= moment.year <= _LAST_YEAR:
        raise BadTime(f"must be of the years 1970 to {_LAST_YEAR}")
    return from_datetime(moment)


def day_period(now: int) -> str:
    """The usage period of a UTC day: `d2026-11-21`."""
    return to_datetime(now).strftime("d%Y-%m-%d")


def month_period(now: int) -> str:
    """The usage period of a UTC month: `m2026-11`."""
    return to_datetime(now).strftime("m%Y-%m")


def next_day(now: int) -> int:
    """The next 00:00 UTC after `now`."""
    return (now // DAY + 1) * DAY


def next_month(now: int) -> int:
    """00:00 UTC of the 1st after `now`."""
    moment = to_datetime(now)
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return from_datetime(datetime(year, month, 1, tzinfo=UTC))
