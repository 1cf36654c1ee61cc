"""What invitations say: times and zones of many makers, people, and calendars that are none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daimon_mcp.mail.invites import MAX_ATTENDEES, MAX_OCTETS, Attendee, Invite, read_invite

BERLIN_RULES = """BEGIN:VTIMEZONE
TZID:{tzid}
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
"""


def _calendar(event: str, *, before: str = "", method: str = "REQUEST") -> bytes:
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:{method}\n{before}BEGIN:VEVENT\n{event}\nEND:VEVENT\nEND:VCALENDAR\n"
    return text.replace("\n", "\r\n").encode()


def _event(event: str, *, before: str = "") -> Invite:
    invite = read_invite(_calendar(event, before=before))
    assert invite is not None
    return invite


def test_a_whole_invitation() -> None:
    octets = _calendar(
        "UID:1@cal.example\nSUMMARY:Planning\\, part 2\\; with\n  tea\nLOCATION;LANGUAGE=en:Room \\\\7\\nfirst floor\n"
        "DTSTART;TZID=Europe/Berlin:20261120T150000\nDTEND;TZID=Europe/Berlin:20261120T163000\n"
        'ORGANIZER;CN="Cruz: Dana, boss":mailto:dana@CAL.example\nSEQUENCE:2\nSTATUS:confirmed\n'
        "RRULE:FREQ=WEEKLY;COUNT=4;BYDAY=FR\n"
        "ATTENDEE;ROLE=REQ-PARTICIPANT;PARTSTAT=ACCEPTED;RSVP=TRUE\n ;CN=Ann:MAILTO:ann@x.example\n"
        "ATTENDEE;RSVP=TRUE:mailto:scout@agents.example\nATTENDEE:mailto:ANN@x.example\n"
        "BEGIN:VALARM\nSUMMARY:Alarm\nATTENDEE:mailto:eve@x.example\nTRIGGER:-PT10M\nEND:VALARM"
    )
    assert read_invite(octets) == Invite(
        method="REQUEST",
        uid="1@cal.example",
        summary="Planning, part 2; with tea",
        starts="2026-11-20T15:00:00+01:00",
        ends="2026-11-20T16:30:00+01:00",
        timezone="Europe/Berlin",
        location="Room \\7 first floor",
        organizer="dana@cal.example",
        attendees=(Attendee("ann@x.example", "ACCEPTED"), Attendee("scout@agents.example", "NEEDS-ACTION")),
        recurrence="FREQ=WEEKLY;COUNT=4;BYDAY=FR",
        sequence=2,
        status="CONFIRMED",
    )


@pytest.mark.parametrize(
    ("event", "starts", "ends", "zone"),
    [
        ("DTSTART:20261120T150000Z\nDTEND:20261120T160000Z", "2026-11-20T15:00:00+00:00",
         "2026-11-20T16:00:00+00:00", "UTC"),
        ("DTSTART;VALUE=DATE:20261120\nDTEND;VALUE=DATE:20261122", "2026-11-20", "2026-11-22", None),
        ("DTSTART;VALUE=DATE:20261120\nDURATION:P1W2D", "2026-11-20", "2026-11-29", None),
        ("DTSTART:20261120T150000", "2026-11-20T15:00:00", None, None),
        ("DTSTART:20261120T150000\nDURATION:PT1H30M", "2026-11-20T15:00:00", "2026-11-20T16:30:00", None),
        # Hours are exact over a change of the clocks.
        ("DTSTART;TZID=Europe/Berlin:20261025T010000\nDURATION:PT4H", "2026-10-25T01:00:00+02:00",
         "2026-10-25T04:00:00+01:00", "Europe/Berlin"),
        # A name with a maker's path, a name of Windows, names of UTC, a quoted parameter.
        ("DTSTART;TZID=/cal.example/2005/America/Argentina/Ushuaia:20261120T150000",
         "2026-11-20T15:00:00-03:00", None, "America/Argentina/Ushuaia"),
        ("DTSTART;TZID=/cal.example/2005/Europe/Rome:20260720T150000",
         "2026-07-20T15:00:00+02:00", None, "Europe/Rome"),
        ("DTSTART;TZID=Tokyo Standard Time:20261120T150000", "2026-11-20T15:00:00+09:00", None, "Asia/Tokyo"),
        ('DTSTART;TZID="tzone://Microsoft/Utc":20261120T150000', "2026-11-20T15:00:00+00:00", None, "UTC"),
        ('DTSTART;TZID="Etc/UTC":20261120T150000', "2026-11-20T15:00:00+00:00", None, "UTC"),
        # Nobody knows the zone; it is no zone at all.
        ("DTSTART;TZID=Nowhere:20261120T150000", "2026-11-20T15:00:00", None, "Nowhere"),
        ("DTSTART;TZID=../../etc/passwd:20261120T150000", "2026-11-20T15:00:00", None, "../../etc/passwd"),
        ("DTSTART;TZID=Europe:20261120T150000", "2026-11-20T15:00:00", None, "Europe"),
        # Not to be read.
        ("DTSTART:20261320T150000Z", None, None, None),
        ("DTSTART:20261131\nDURATION:P1D", None, None, None),
        ("DTSTART:soon\nDTEND:later", None, None, None),
        ("DTSTART:20261120T150000Z\nDURATION:forever", "2026-11-20T15:00:00+00:00", None, "UTC"),
        ("DTSTART:99991231T235959Z\nDURATION:P9D", "9999-12-31T23:59:59+00:00", None, "UTC"),
        ("DTSTART;TZID=Asia/Tokyo:00010101T000000\nDURATION:PT1H", "0001-01-01T00:00:00+09:18:59", None, "Asia/Tokyo"),
    ],
)  # fmt: skip
def test_times(event: str, starts: str | None, ends: str | None, zone: str | None) -> None:
    invite = _event(event)
    assert (invite.starts, invite.ends, invite.timezone) == (starts, ends, zone)


@pytest.mark.parametrize(
    ("rules", "local", "offset"),
    [
        (BERLIN_RULES, "20261120T150000", "+01:00"),
        (BERLIN_RULES, "20260720T150000", "+02:00"),
        (BERLIN_RULES, "20260105T150000", "+01:00"),
        (BERLIN_RULES, "20260329T030000", "+02:00"),
        (BERLIN_RULES.replace("BYDAY=-1SU;BYMONTH=3", "BYMONTH=3;BYDAY=SU;BYMONTHDAY=8,9,10,11,12,13,14"),
         "20260310T120000", "+02:00"),
        (BERLIN_RULES.replace("BYDAY=-1SU;BYMONTH=3", "BYMONTH=3;BYMONTHDAY=20"), "20260319T120000", "+01:00"),
        # One change that was the last, a rule that has ended, onsets by date.
        ("BEGIN:VTIMEZONE\nTZID:{tzid}\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0530\n"
         "TZOFFSETTO:+0530\nEND:STANDARD\nEND:VTIMEZONE\n", "20261120T150000", "+05:30"),
        (BERLIN_RULES.replace("BYMONTH=3", "BYMONTH=3;UNTIL=20150101T000000Z"), "20260720T150000", "+01:00"),
        (BERLIN_RULES.replace("RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3",
                              "RDATE:20260329T020000,20270328T020000"), "20260720T150000", "+02:00"),
        # Before all onsets.
        (BERLIN_RULES.replace("1601", "2027"), "20260720T150000", "+02:00"),
        # A rule that would take for ever if it were expanded is not.
        (BERLIN_RULES.replace("FREQ=YEARLY", "FREQ=SECONDLY"), "20260720T150000", "+01:00"),
    ],
)  # fmt: skip
def test_zones_that_the_calendar_brings(rules: str, local: str, offset: str) -> None:
    invite = _event(f"DTSTART;TZID=Our Time:{local}", before=rules.replace("{tzid}", "Our Time"))
    assert invite.starts is not None
    assert invite.starts.endswith(offset)
    assert invite.timezone == "Our Time"


def test_a_known_name_is_stronger_than_the_rules_beside_it() -> None:
    wrong = BERLIN_RULES.replace("{tzid}", "Europe/Berlin").replace("+0100", "+0900")
    assert _event("DTSTART;TZID=Europe/Berlin:20261120T150000", before=wrong).starts == "2026-11-20T15:00:00+01:00"
    assert _event("DTSTART;TZID=Europe/Berlin:20261120T150000").starts == "2026-11-20T15:00:00+01:00"


def test_of_several_events_the_series() -> None:
    one = "BEGIN:VEVENT\nUID:1\nRECURRENCE-ID:20261127T150000Z\nSUMMARY:Moved\nEND:VEVENT\n"
    assert _event("UID:1\nSUMMARY:Series", before=one).summary == "Series"
    two = read_invite(_calendar("UID:1\nSUMMARY:Series\nEND:VEVENT\nBEGIN:VEVENT\nUID:2\nSUMMARY:Other"))
    assert two is not None
    assert two.summary == "Series"
    assert _event("UID:1\nRECURRENCE-ID:20261127T150000Z\nSUMMARY:Moved").summary == "Moved"


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("ORGANIZER:mailto:dana@cal.example", "dana@cal.example"),
        ("ORGANIZER:dana@cal.example", "dana@cal.example"),
        ("ORGANIZER;EMAIL=dana@cal.example:urn:uuid:7", "dana@cal.example"),
        ("ORGANIZER:urn:uuid:7", None),
        ("ORGANIZER:invalid:nomail", None),
        ("ORGANIZER:https://x@cal.example/", None),
        ("ORGANIZER:mailto:two words@x.example", None),
        ("ORGANIZER:mailto:", None),
    ],
)
def test_addresses(line: str, address: str | None) -> None:
    assert _event(line).organizer == address


def test_text_is_clean_and_keywords_are_keywords() -> None:
    invite = _event("SUMMARY:Tea\u202e\x07 now\nSTATUS:<b>\nRRULE:FREQ=DAILY\\nEVIL: x\nSEQUENCE:-1\nUID:\u200bx")
    assert (invite.summary, invite.status, invite.recurrence) == ("Tea now", None, None)
    assert (invite.sequence, invite.uid) == (0, "x")
    assert _event("RRULE:BYDAY=MO;FREQ=WEEKLY").recurrence == "BYDAY=MO;FREQ=WEEKLY"


def test_latin_octets_a_mark_at_the_start_and_bare_line_ends() -> None:
    octets = "\ufeffBEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Größe\n".encode() + b"LOCATION:K\xf6ln\nEND:VEVENT\n"
    invite = read_invite(octets)
    assert invite is not None
    assert (invite.location, invite.method) == ("Köln", "")


@pytest.mark.parametrize(
    "octets",
    [b"", b"hello", b"BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nEND:VTODO\r\nEND:VCALENDAR\r\n", b"SUMMARY:BEGIN:VEVENT\r\n"],
)
def test_no_event(octets: bytes) -> None:
    assert read_invite(octets) is None


def test_limits() -> None:
    people = "\n".join(f"ATTENDEE:mailto:p{n}@x.example" for n in range(300))
    assert len(_event(people).attendees) == MAX_ATTENDEES
    late = _event("SUMMARY:" + "x" * 3000 + "\nDESCRIPTION:" + "y" * MAX_OCTETS + "\nLOCATION:late")
    assert (len(late.summary), late.location) == (500, "")


@given(st.text(max_size=500), st.binary(max_size=500))
@settings(deadline=None)
def test_any_text_in_a_calendar(text: str, octets: bytes) -> None:
    read_invite(octets)
    read_invite(b"BEGIN:VEVENT\n" + octets)
    for name in ("DTSTART;TZID=", "DTSTART:", "RRULE:", "DURATION:", "ATTENDEE;", "SEQUENCE:"):
        assert read_invite(_calendar(f"DTSTART:20261120T150000\n{name}{text}".replace("\n", "\n "))) is not None


RULE_LINES = [*BERLIN_RULES.split("\n"), "RRULE:FREQ=YEARLY;BYMONTH=13", "TZOFFSETTO:+2459", "DTSTART:99990101T000000"]


@given(st.lists(st.sampled_from(RULE_LINES), max_size=30))
@settings(deadline=None)
def test_any_rules_of_a_zone(lines: list[str]) -> None:
    rules = "\n".join(["BEGIN:VTIMEZONE", "TZID:Our Time", *lines, ""])
    read_invite(_calendar("DTSTART;TZID=Our Time:20261120T150000", before=rules))


@pytest.mark.parametrize(
    "piece",
    [
        "BEGIN:VEVENT\n", "BEGIN:VTIMEZONE\nTZID:{n}\nBEGIN:STANDARD\nDTSTART:19700101T000000\n", "END:VEVENT\n", "\n ",
        "ATTENDEE:mailto:a@b.example\n", "ATTENDEE;A=", ';A="', '"', ";a=b", "\\", "\n", "DTSTART:",
        "RDATE:19700101T000000,",
        "BEGIN:STANDARD\nRDATE:19700101T000000,19700101T000000\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("inside", ["DTSTART;TZID=Our Time:20261120T150000\n", "ATTENDEE", "SUMMARY:", "RRULE:"])
def test_200_kilobytes_of_one_trick_take_no_time(piece: str, inside: str) -> None:
    octets = _calendar(inside + piece * (MAX_OCTETS // len(piece)), before=piece * 5000)
    started = time.process_time()
    read_invite(octets)
    read_invite(_calendar(inside + piece * (MAX_OCTETS // len(piece))))
    # Milliseconds where it was measured; the slack is for a slow machine.
    assert time.process_time() - started < 2
