"""What one message may ask of DNS."""

from __future__ import annotations

from time import process_time

import pytest
from tests.mail.authentication.signing import Zone

from daimon_mcp.mail.authentication.lookup import BoundedLookup, LookupFailed, ascii_domain, is_name
from daimon_mcp.mail.authentication.spf import check_spf
from daimon_mcp.mail.authentication.spf_record import MAX_RECORD


def test_a_question_is_asked_once() -> None:
    zone = Zone({("a.example", "TXT"): [b"x", "ž"], ("b.example", "A"): None, ("c.example", "MX"): ["MX.c.example."]})
    lookup = zone.bounded()
    assert lookup.texts("A.example.") == lookup.texts("a.example") == [b"x", "ž".encode()]
    assert lookup.values("c.example", "MX") == ["mx.c.example"]
    for _ in range(2):
        with pytest.raises(LookupFailed):
            lookup.values("b.example", "A")
    assert zone.asked == [("a.example", "TXT"), ("c.example", "MX"), ("b.example", "A")]


@pytest.mark.parametrize("name", ["", ".", "a..example", "a" * 64 + ".example", "é.example", "a." * 127 + "com"])
def test_what_is_no_name_is_not_asked(name: str) -> None:
    zone = Zone({})
    assert zone.bounded().texts(name) == []
    assert zone.asked == []
    assert not is_name(name)


def test_number_and_time() -> None:
    zone = Zone({})
    lookup = BoundedLookup(zone, most=2)
    lookup.texts("a.example")
    lookup.texts("b.example")
    with pytest.raises(LookupFailed):
        lookup.texts("c.example")
    assert lookup.texts("a.example") == []
    elapsed = iter([100.0, 119.9, 120.0])
    lookup = BoundedLookup(zone, seconds=20, elapsed=lambda: next(elapsed))
    lookup.texts("a.example")
    with pytest.raises(LookupFailed):
        lookup.texts("b.example")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("X.Example.", "x.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("localhost", ""),
        ("[192.0.2.1]", ""),
        ("", ""),
        ("a..b", ""),
        ("é" * 300 + ".example", ""),
        ("\ud800.example", ""),
    ],
)
def test_domains(written: str, expected: str) -> None:
    assert ascii_domain(written) == expected


def _spf(record: str, records: dict[str, list[str]] | None = None, ip: str = "192.0.2.1") -> tuple[str, str]:
    zone = Zone(
        {("x.example", "TXT"): [record.encode()]}
        | {(name, "TXT"): [text.encode() for text in texts] for name, texts in (records or {}).items()}
    )
    result = check_spf(ip, "mx.x.example", "a@x.example", zone.bounded())
    return result.result, result.reason


def test_spf_reasons() -> None:
    assert _spf("v=spf1 ip4:192.0.2.0/24 -all") == ("pass", "")
    assert _spf("v=spf1 -all") == ("fail", "")
    assert _spf("v=spf1 ip4:192.0.2.0/33 -all") == ("permerror", "an address that is none")
    assert _spf("v=spf1 include:x.example -all") == ("permerror", "more than 10 terms that ask DNS")
    assert _spf("v=spf1 a:a.example a:b.example a:c.example -all") == (
        "permerror",
        "more than 2 lookups without an answer",
    )
    assert _spf("v=spf1 include:none.example -all") == ("permerror", "include: leads to no policy")
    assert _spf("v=spf1 " + "ip4:192.0.2.9 " * 400) == ("permerror", "the record is too long")
    assert _spf("v=spf1 ip4:192.0.2.0/24", ip="/run/socket") == ("none", "the client has no address")
    assert _spf("v=spf1 ip4:192.0.2.0/24 -all", ip="::ffff:192.0.2.7") == ("pass", "")


def test_the_null_sender_is_checked_by_helo() -> None:
    zone = Zone({("mx.x.example", "TXT"): [b"v=spf1 ip4:192.0.2.1 -all"]})
    result = check_spf("192.0.2.1", "mx.x.example", "", zone.bounded())
    assert (result.result, result.domain, result.scope) == ("pass", "mx.x.example", "helo")
    assert check_spf("192.0.2.1", "[192.0.2.1]", "", zone.bounded()).result == "none"


@pytest.mark.parametrize(("place", "expected"), [(9, "pass"), (10, "fail")])
def test_only_ten_names_of_a_client_are_looked_at(place: int, expected: str) -> None:
    names = [f"h{number}.x.example" for number in range(11)]
    records: dict[tuple[str, str], list[bytes | str]] = {(name, "A"): ["192.0.2.2"] for name in names}
    records[names[place], "A"] = ["192.0.2.1"]
    records["x.example", "TXT"] = [b"v=spf1 ptr -all"]
    records["1.2.0.192.in-addr.arpa", "PTR"] = [*names]
    assert check_spf("192.0.2.1", "mx.x.example", "a@x.example", Zone(records).bounded()).result == expected


@pytest.mark.parametrize(
    "piece", ["a", "a.", "%{d}", "%{l1r-.+,/_=}.", "-", "a-", "1", "/", "//", "%%", ".a-", "=", "a=", ":", "%"]
)
def test_a_hostile_record_costs_no_time(piece: str) -> None:
    for head in ("a:", "x=", "", "ip4:", "exists:%{i}."):
        text = ("v=spf1 " + head + piece * MAX_RECORD)[:MAX_RECORD]
        start = process_time()
        assert _spf(text)[0] in ("permerror", "neutral"), head
        assert process_time() - start < 0.5, head
