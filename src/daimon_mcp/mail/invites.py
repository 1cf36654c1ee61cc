"""What an invitation says (iCalendar, RFC 5545; its methods, RFC 5546), as plain data.

Calendars are read here, line by line, and only the few properties an invitation is about: one pass, bounded, without
state that one stranger's calendar could leave behind for the next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from daimon_mcp.mail.addresses import normalise
from daimon_mcp.mail.calendar_zones import Observance, resolve, wall_time
from daimon_mcp.mail.charsets import decode_unlabelled
from daimon_mcp.mail.sanitize import clean_line

MAX_OCTETS = 200_000
MAX_LINES = 10_000
MAX_ATTENDEES = 100
MAX_OBSERVANCES = 50

_LINE = 2000
_FOLD = re.compile(r"\n[ \t]")
_VALUE = re.compile(r"((?:[^\":]|\"[^\"]*\")*+):(.*)\Z", re.DOTALL)
_PARAMETER = re.compile(r";\s{0,5}([A-Za-z0-9-]{1,40})\s{0,5}=\s{0,5}(?:\"([^\"]*)\"|([^\";]*))")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_KEYWORD = re.compile(r"[A-Z][A-Z0-9-]{0,30}\Z")
_RULE = re.compile(r"FREQ=[A-Z0-9=;,+:-]{1,500}\Z|[A-Z0-9=;,+:-]{1,400};FREQ=[A-Z0-9=;,+:-]{1,100}\Z")
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})\Z", re.ASCII)
_DURATION = re.compile(
    r"\+?P(?:(\d{1,5})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,7})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?\Z", re.ASCII
)
_OF_EVENT = frozenset({
    "UID", "SUMMARY", "DTSTART", "DTEND", "DURATION", "LOCATION", "ORGANIZER", "ATTENDEE", "RRULE", "SEQUENCE",
    "STATUS", "RECURRENCE-ID",
})  # fmt: skip
_OF_OBSERVANCE = frozenset({"DTSTART", "RRULE", "RDATE", "TZOFFSETFROM", "TZOFFSETTO"})


@dataclass(frozen=True, slots=True)
class Attendee:
    """Somebody invited. `partstat` is what they answered: NEEDS-ACTION, ACCEPTED, DECLINED, TENTATIVE, DELEGATED."""

    address: str
    partstat: str


@dataclass(frozen=True, slots=True)
class Invite:
    """One event and what is to be done with it. Text is clean, "" or None where the calendar says nothing.

    `method` (REQUEST, CANCEL, REPLY…) and `status` (CONFIRMED, TENTATIVE, CANCELLED) are upper-case keywords. `starts`
    and `ends` are ISO 8601: with an offset, as a date for all-day events (`ends` is the day after the last one),
    without an offset where the calendar means local time wherever one is, or a zone nobody knows. `timezone` is the
    IANA name where one fits. `recurrence` is the RRULE. Of several events it is the first that stands for the series.
    """

    method: str
    uid: str
    summary: str
    starts: str | None
    ends: str | None
    timezone: str | None
    location: str
    organizer: str | None
    attendees: tuple[Attendee, ...]
    recurrence: str | None
    sequence: int
    status: str | None


@dataclass(frozen=True, slots=True)
class _Property:
    parameters: Mapping[str, str]
    value: str


@dataclass(slots=True)
class _Calendar:
    """What is kept of a calendar."""

    method: str = ""
    event: dict[str, list[_Property]] | None = None
    zones: dict[str, list[Observance]] = field(default_factory=dict[str, list[Observance]])


def read_invite(octets: bytes) -> Invite | None:
    """The event in a decoded text/calendar body, None when there is none. At most MAX_OCTETS count. Never raises."""
    octets = octets[:MAX_OCTETS]
    if b"BEGIN:VEVENT" not in octets.upper():
        return None
    found = _read(octets)
    if found.event is None:
        return None
    event = found.event
    starts, zone = _time(event.get("DTSTART"), found.zones)
    ends, _ = _time(event.get("DTEND"), found.zones)
    if ends is None and starts is not None:
        ends = _after(starts, _text(event, "DURATION"))
    organizer = event.get("ORGANIZER", ())
    sequence = _text(event, "SEQUENCE")
    rule = _text(event, "RRULE").upper()
    return Invite(
        method=_keyword(found.method),
        uid=_text(event, "UID")[:500],
        summary=_text(event, "SUMMARY")[:500],
        starts=None if starts is None else starts.isoformat(),
        ends=None if ends is None else ends.isoformat(),
        timezone=zone,
        location=_text(event, "LOCATION")[:500],
        organizer=_address(organizer[0]) if organizer else None,
        attendees=_attendees(event.get("ATTENDEE", ())),
        recurrence=rule if _RULE.match(rule) else None,
        sequence=int(sequence) if sequence.isascii() and sequence.isdigit() and len(sequence) <= 9 else 0,
        status=_keyword(_text(event, "STATUS")) or None,
    )


def _read(octets: bytes) -> _Calendar:
    """One pass over the lines. Components that are not closed end with what is around them."""
    found = _Calendar()
    stack: list[str] = []
    event: dict[str, list[_Property]] = {}
    zone, observances = "", 0
    observance: dict[str, str] = {}
    text = _FOLD.sub("", decode_unlabelled(octets).replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff"))
    for line in text.split("\n", MAX_LINES)[:MAX_LINES]:
        name = line[:60].partition(":")[0].partition(";")[0].strip().upper()
        inside = stack[-1] if stack else ""
        if name == "BEGIN":
            component = line[6:60].strip().upper()
            if len(stack) < 10:
                stack.append(component)
            if component == "VEVENT":
                event = {}
                if found.event is None or "RECURRENCE-ID" in found.event:
                    found.event = event
            elif component == "VTIMEZONE":
                zone = ""
            elif component in {"STANDARD", "DAYLIGHT"}:
                observance = {}
                observances += 1
                if zone and observances <= MAX_OBSERVANCES:
                    found.zones.setdefault(zone, []).append(Observance(observance))
        elif name == "END":
            component = line[4:60].strip().upper()
            if component in stack:
                del stack[len(stack) - 1 - stack[::-1].index(component) :]
        elif inside == "VEVENT" and name in _OF_EVENT:
            kept = event.setdefault(name, [])
            if len(kept) < (MAX_ATTENDEES if name == "ATTENDEE" else 1) and (read := _property(line)):
                kept.append(read)
        elif inside in {"STANDARD", "DAYLIGHT"} and name in _OF_OBSERVANCE:
            if read := _property(line):
                observance.setdefault(name, read.value.strip())
        elif inside == "VTIMEZONE" and name == "TZID":
            if read := _property(line):
                zone = read.value.strip()[:200]
        elif inside in {"VCALENDAR", ""} and name == "METHOD" and not found.method and (read := _property(line)):
            found.method = read.value
    return found


def _property(line: str) -> _Property | None:
    """One content line (RFC 5545 §3.1), cut at _LINE characters."""
    match = _VALUE.match(line[:_LINE])
    if match is None:
        return None
    parameters = {m[1].upper(): m[2] if m[2] is not None else m[3].strip() for m in _PARAMETER.finditer(match[1])}
    return _Property(parameters, match[2])


def _text(event: Mapping[str, Sequence[_Property]], name: str) -> str:
    """A property as one clean line, its escapes undone (RFC 5545 §3.3.11)."""
    values = event.get(name)
    if not values:
        return ""
    return clean_line(_ESCAPE.sub(lambda match: "\n" if match[1] in "nN" else match[1], values[0].value))


def _keyword(text: str) -> str:
    word = text.strip().upper()
    return word if _KEYWORD.match(word) else ""


def _address(person: _Property) -> str | None:
    """The address of a calendar user: mailto: as a rule, beside it in EMAIL where the value is another URI."""
    for text in (person.value, person.parameters.get("EMAIL", "")):
        scheme, colon, rest = text.strip().strip('"').partition(":")
        address = clean_line(rest if colon and scheme.lower() == "mailto" else text)
        if 2 < len(address) <= 320 and " " not in address and not address.lower().startswith(("http", "urn:", "/")):
            local, at, domain = address.rpartition("@")
            if local and at and domain:
                return normalise(address)
    return None


def _attendees(people: Sequence[_Property]) -> tuple[Attendee, ...]:
    """Everybody once, in order."""
    found: dict[str, Attendee] = {}
    for person in people:
        if address := _address(person):
            answer = _keyword(person.parameters.get("PARTSTAT", "")) or "NEEDS-ACTION"
            found.setdefault(address.casefold(), Attendee(address, answer))
    return tuple(found.values())


def _time(
    properties: Sequence[_Property] | None, zones: Mapping[str, Sequence[Observance]]
) -> tuple[date | datetime | None, str | None]:
    """A DTSTART or DTEND, and the name of its zone."""
    if not properties:
        return None, None
    value = properties[0].value.strip()
    if match := _DATE.match(value):
        try:
            return date(int(match[1]), int(match[2]), int(match[3])), None
        except ValueError:
            return None, None
    wall = wall_time(value)
    if wall is None:
        return None, None
    if value.upper().endswith("Z"):
        return wall.replace(tzinfo=UTC), "UTC"
    name = clean_line(properties[0].parameters.get("TZID", ""))
    if not name:
        return wall, None
    zone, called = resolve(name, zones, wall)
    moment = wall.replace(tzinfo=zone)
    try:
        moment.isoformat()
    except (ValueError, OverflowError):  # an offset at the very ends of the calendar
        return wall, called
    return moment, called


def _after(starts: date | datetime, duration: str) -> date | datetime | None:
    """When it ends, from DURATION (RFC 5545 §3.3.6): hours are exact, over a change of the clocks too."""
    match = _DURATION.match(duration.upper())
    if match is None or not any(match.groups()):
        return None
    weeks, days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    try:
        ends = starts + timedelta(weeks=weeks, days=days)
        exact = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        if not isinstance(ends, datetime) or not exact:
            return ends
        if ends.tzinfo is None:
            return ends + exact
        return (ends.astimezone(UTC) + exact).astimezone(ends.tzinfo)
    except (OverflowError, ValueError):
        return None
