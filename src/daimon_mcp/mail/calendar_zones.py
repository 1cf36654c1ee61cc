"""Time zones of calendars in mail: by name, by the names of Windows, by the rules a calendar brings (RFC 5545 §3.6.5).

Names come first, since what a calendar brings is often out of date. Its rules are read here and in the few shapes that
calendars have: a stranger's recurrence rule is never expanded, so none can take long.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

_NAME = re.compile(r"[A-Za-z][\w+-]{0,40}(?:/[\w+-]{1,40}){0,2}\Z", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})(\d{2})?\Z", re.ASCII)
_WALL = re.compile(r"(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})", re.ASCII)
_NTH_DAY = re.compile(r"([+-]?[1-5])?(MO|TU|WE|TH|FR|SA|SU)\Z")
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_UTC_NAMES = frozenset({"UTC", "Z", "GMT", "ETC/UTC", "ETC/GMT", "COORDINATED UNIVERSAL TIME"})


@dataclass(frozen=True, slots=True)
class Observance:
    """One STANDARD or DAYLIGHT of a VTIMEZONE: its properties by name, raw. It holds from each of its onsets on."""

    values: Mapping[str, str]

    def offset(self, name: str) -> timedelta | None:
        """TZOFFSETTO or TZOFFSETFROM, None when it cannot be read."""
        match = _OFFSET.match(self.values.get(name, ""))
        if match is None:
            return None
        hours, minutes, seconds = int(match[2]), int(match[3]), int(match[4] or 0)
        if hours > 23 or minutes > 59 or seconds > 59:
            return None
        size = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        return -size if match[1] == "-" else size

    def latest_onset(self, wall: datetime) -> datetime | None:
        """The last onset not after the local time `wall`, None when there is none."""
        start = wall_time(self.values.get("DTSTART", ""))
        if start is None or start > wall:
            return None
        parts = (part.partition("=") for part in self.values.get("RRULE", "").upper().split(";")[:20])
        rule = {name: value for name, _, value in parts}
        if rule.get("FREQ") == "YEARLY":
            until = wall_time(rule.get("UNTIL", ""))
            for year in (wall.year, wall.year - 1):
                onset = _in_year(rule, start, year)
                if onset is not None and start <= onset <= wall and (until is None or onset <= until):
                    return onset
            if until is not None and until < wall:  # the rule has ended: its last onset is that of its last year
                last = _in_year(rule, start, until.year) or start
                return last if start <= last <= wall else start
            return start
        more = (wall_time(item) for item in self.values.get("RDATE", "").split(",")[:200])
        return max([start, *(each for each in more if each is not None and each <= wall)])


def wall_time(text: str) -> datetime | None:
    """The local time that a DATE-TIME value begins with, without a zone; None when it has none."""
    match = _WALL.match(text.strip())
    if match is None:
        return None
    try:
        year, month, day, hour, minute, second = map(int, match.groups())
        return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001  local to a zone that comes later
    except ValueError:
        return None


def _in_year(rule: Mapping[str, str], start: datetime, year: int) -> datetime | None:
    """The onset of a yearly rule in `year`: by BYDAY (nth, or the first on one of BYMONTHDAY), else as DTSTART is."""
    try:
        month = int(rule.get("BYMONTH", start.month))
        first_weekday, length = calendar.monthrange(year, month)
        by_day = _NTH_DAY.match(rule.get("BYDAY", ""))
        if by_day is None:
            return start.replace(year=year, month=month, day=int(rule.get("BYMONTHDAY", start.day)))
        offset = (_DAYS.index(by_day[2]) - first_weekday) % 7
        days = list(range(1 + offset, length + 1, 7))
        if allowed := {int(day) for day in rule.get("BYMONTHDAY", "").split(",")[:31] if day}:
            days = [day for day in days if day in allowed]
        nth = int(by_day[1] or 1)
        return start.replace(year=year, month=month, day=days[nth - 1 if nth > 0 else nth])
    except (ValueError, IndexError):
        return None


def resolve(name: str, rules: Mapping[str, Sequence[Observance]], wall: datetime) -> tuple[tzinfo | None, str]:
    """The zone that a TZID means at the local time `wall`, and what to call it: the IANA name where there is one.

    `rules` are the observances a calendar brings, by TZID. A zone known by its rules alone is the fixed offset that
    holds at `wall`; None when nothing says what the name means.
    """
    name = name.strip()[:200]
    found = _named(name)
    if found is not None:
        return found, "UTC" if found is UTC else str(found)
    offset = _offset_at(rules.get(name, ()), wall)
    return (None if offset is None else timezone(offset)), name


@lru_cache(maxsize=256)
def _named(name: str) -> tzinfo | None:
    if name.upper() in _UTC_NAMES or name.lower() == "tzone://microsoft/utc":
        return UTC
    pieces = name.strip("/").split("/")
    candidates = [name] + ["/".join(pieces[-n:]) for n in (3, 2) if len(pieces) > n]  # /vendor.example/2005/Europe/Rome
    for candidate in candidates:
        if (zone := _iana(candidate)) is not None:
            return zone
    if "/" in name or not name:
        return None
    from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON  # slow to import, and only Windows names need it

    return _iana(WINDOWS_TO_OLSON.get(name, ""))


def _iana(name: str) -> tzinfo | None:
    if not _NAME.match(name):
        return None
    from zoneinfo import ZoneInfo  # slow to import, and few mails are invitations

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a name of no zone, a folder of zones
        return None


def _offset_at(observances: Sequence[Observance], wall: datetime) -> timedelta | None:
    """What the clocks of a VTIMEZONE are ahead of UTC at the local time `wall`."""
    latest: tuple[datetime, timedelta] | None = None
    for observance in observances:
        onset, offset = observance.latest_onset(wall), observance.offset("TZOFFSETTO")
        if onset is not None and offset is not None and (latest is None or onset > latest[0]):
            latest = (onset, offset)
    if latest is not None:
        return latest[1]
    before = (observance.offset("TZOFFSETFROM") or observance.offset("TZOFFSETTO") for observance in observances)
    return next((offset for offset in before if offset is not None), None)
