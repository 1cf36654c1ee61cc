"""iCalendar (RFC 5545): each event, to-do and busy time in readable lines."""

from __future__ import annotations

import re

from daimon_mcp.extraction.formats.contentlines import ContentLine, content_lines
from daimon_mcp.extraction.formats.text import decode, reject_binary
from daimon_mcp.extraction.sink import Sink, Unreadable

_COMPONENTS = {"VEVENT": "Event", "VTODO": "To-do", "VJOURNAL": "Journal", "VFREEBUSY": "Busy times"}
_LABELS = {
    "SUMMARY": "Summary", "DTSTART": "Start", "DTEND": "End", "DUE": "Due", "DURATION": "Duration", "RRULE": "Repeats",
    "EXDATE": "Not on", "RDATE": "Also on", "RECURRENCE-ID": "Instead of", "LOCATION": "Where",
    "ORGANIZER": "Organizer", "ATTENDEE": "Attendee", "STATUS": "Status", "URL": "URL", "FREEBUSY": "Busy",
    "DESCRIPTION": "Description", "COMMENT": "Comment",
}  # fmt: skip
_TIMES = frozenset({"DTSTART", "DTEND", "DUE", "RECURRENCE-ID", "EXDATE", "RDATE", "FREEBUSY"})
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?")


def _moment(line: ContentLine) -> str:
    """`20261121T090000Z` as `2026-11-21 09:00 UTC`, with the time zone's name when it has one."""

    def readable(match: re.Match[str]) -> str:
        day = f"{match[1]}-{match[2]}-{match[3]}"
        if match[4] is None:
            return day
        seconds = "" if match[6] == "00" else f":{match[6]}"
        return f"{day} {match[4]}:{match[5]}{seconds}{' UTC' if match[7] else ''}"

    zone = line.params.get("TZID", "")
    return _TIME.sub(readable, line.value) + (f" ({zone})" if zone else "")


def _person(line: ContentLine) -> str:
    address = line.value[7:] if line.value[:7].lower() == "mailto:" else line.value
    name = line.params.get("CN", "")
    answer = line.params.get("PARTSTAT", "").lower().replace("-", " ")
    written = f"{name} <{address}>" if name and name != address else address
    return f"{written} ({answer})" if answer else written


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write every component that a person would see in a calendar."""
    text = decode(content, charset)
    reject_binary(text)
    inside: list[str] = []
    calendars = entries = 0
    for line in content_lines(text):
        sink.check()
        if line.name == "BEGIN":
            inside.append(line.value.strip().upper())
            calendars += inside[-1] == "VCALENDAR"
            if inside[-1] in _COMPONENTS:
                entries += 1
                sink.line(f"\n{_COMPONENTS[inside[-1]]}")
        elif line.name == "END":
            if inside:
                inside.pop()
        elif line.name == "METHOD" and inside == ["VCALENDAR"]:
            sink.line(f"Method: {line.text}")
        elif line.name in _LABELS and inside and inside[-1] in _COMPONENTS:
            if line.name in _TIMES:
                value = _moment(line)
            elif line.name in {"ORGANIZER", "ATTENDEE"}:
                value = _person(line)
            else:
                value = line.text
            if value.strip():
                sink.line(f"{_LABELS[line.name]}: {value}")
    if not calendars:
        raise Unreadable("damaged")
    sink.facts["entries"] = entries
