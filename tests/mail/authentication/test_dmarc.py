"""DMARC: the author's domain, its record, alignment and policy (RFC 7489)."""

from __future__ import annotations

import pytest
from tests.mail.authentication.signing import Records, Zone

from daimon_mcp.mail.authentication.dkim import DkimResult
from daimon_mcp.mail.authentication.dmarc import (
    Author,
    DmarcPolicy,
    evaluate_dmarc,
    fetch_policy,
    find_author,
    is_aligned,
)
from daimon_mcp.mail.authentication.spf import SpfResult
from daimon_mcp.mail.dkim_canonical import take_apart

NO_SPF = SpfResult("none")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"From: Ann <a@X.Example>", Author("x.example")),
        (b"From: a@x.example, b@x.example", Author("x.example")),
        (b"from : =?utf-8?q?a=40z?= <a@mail.x.example> (b@y.example)", Author("mail.x.example")),
        (b'From: "boss@y.example" <a@x.example>', Author("x.example")),
        ("From: a@bücher.example".encode(), Author("xn--bcher-kva.example")),
        (b"From: a@x.example, b@y.example", Author(problem="several")),
        (b"From: a@x.example\r\nFrom: a@x.example", Author(problem="several")),
        (b"From: a@x.example\r\nFROM:\r\n", Author(problem="several")),
        (b"From: Ann", Author(problem="missing")),
        (b"From:", Author(problem="missing")),
        (b"From: root@localhost", Author(problem="missing")),
        (b"To: a@x.example", Author(problem="missing")),
        (b"", Author(problem="missing")),
    ],
)
def test_author(header: bytes, expected: Author) -> None:
    assert find_author(take_apart(header + b"\r\n\r\nFrom: body@z.example\r\n")) == expected


# RFC 7489, appendix B.1: what is aligned. SPF by MAIL FROM, DKIM by d=; strict only where they are equal.
@pytest.mark.parametrize(
    ("proven", "author", "relaxed", "strict"),
    [
        ("example.com", "example.com", True, True),
        ("child.example.com", "example.com", True, False),
        ("example.com", "child.example.com", True, False),
        ("a.example.com", "b.example.com", True, False),
        ("example.net", "example.com", False, False),
        ("sample.net", "child.example.com", False, False),
        ("notexample.com", "example.com", False, False),
        ("a.example.co.uk", "example.co.uk", True, False),
        ("other.co.uk", "example.co.uk", False, False),
        ("co.uk", "example.co.uk", False, False),
        ("ann.github.io", "bob.github.io", False, False),
        ("", "example.com", False, False),
        ("", "", False, False),
    ],
)
def test_alignment(proven: str, author: str, relaxed: bool, strict: bool) -> None:
    assert is_aligned(proven, author, strict=False) == relaxed
    assert is_aligned(proven, author, strict=True) == strict


def _policy(record: str, domain: str = "x.example", at: str = "_dmarc.x.example") -> DmarcPolicy:
    return fetch_policy(domain, Zone({(at, "TXT"): [record.encode()]}).bounded())


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=DMARC1; p=none; rua=mailto:a@x.example", DmarcPolicy("found", "x.example")),
        ("v=DMARC1;p=reject", DmarcPolicy("found", "x.example", "reject")),
        ("v = DMARC1 ; p = Quarantine ; sp=none", DmarcPolicy("found", "x.example", "quarantine")),
        (
            "v=DMARC1; p=reject; aspf=s; adkim=s; pct=7",
            DmarcPolicy("found", "x.example", "reject", 7, strict_spf=True, strict_dkim=True),
        ),
        ("v=DMARC1; aspf=x; p=reject; pct=900; adkim; fo=1:d:s", DmarcPolicy("found", "x.example", "reject")),
        ("v=DMARC1; p=reject; p=none", DmarcPolicy("found", "x.example", "reject")),
        ("v=DMARC1; p=rejct; rua=mailto:a@x.example", DmarcPolicy("found", "x.example")),
        ("v=DMARC1; p=reject; sp=bad; rua=mailto:a@x.example", DmarcPolicy("found", "x.example")),
        ("v=DMARC1", DmarcPolicy("permerror", "x.example", reason="the record has no policy")),
        ("v=DMARC1; p=rejct", DmarcPolicy("permerror", "x.example", reason="the record has no policy")),
        ("v=DMARC1; p=reject\xff; pct=\xff", DmarcPolicy("permerror", "x.example", reason="the record has no policy")),
        ("v=dmarc1; p=reject", DmarcPolicy("none")),
        ("v=DMARC12; p=reject", DmarcPolicy("none")),
        ("p=reject; v=DMARC1", DmarcPolicy("none")),
        ("v=spf1 -all", DmarcPolicy("none")),
    ],
)
def test_records(record: str, expected: DmarcPolicy) -> None:
    assert _policy(record) == expected


def test_discovery() -> None:
    above = _policy("v=DMARC1; p=reject; sp=quarantine", "a.b.x.example")
    assert (above.domain, above.asked) == ("x.example", "quarantine")
    assert _policy("v=DMARC1; p=reject", "a.b.x.example").asked == "reject"
    assert _policy("v=DMARC1; p=reject", "a.x.co.uk", "_dmarc.x.co.uk").asked == "reject"
    assert _policy("v=DMARC1; p=reject", "x.co.uk", "_dmarc.co.uk").state == "none"
    # Two questions, however long the name: the levels between are not asked.
    zone = Zone({("_dmarc.b.x.example", "TXT"): [b"v=DMARC1; p=reject"]})
    assert fetch_policy("a.b.x.example", zone.bounded()).state == "none"
    assert zone.asked == [("_dmarc.a.b.x.example", "TXT"), ("_dmarc.x.example", "TXT")]
    records: Records = {
        ("_dmarc.x.example", "TXT"): [b"v=DMARC1; p=reject", b"v=DMARC1; p=none"],
        ("_dmarc.y.example", "TXT"): [b"other", b"v=DMARC1; p=reject"],
        ("_dmarc.z.example", "TXT"): None,
    }
    found = {
        name: fetch_policy(name, Zone(records).bounded()).state for name in ("x.example", "y.example", "z.example")
    }
    assert found == {"x.example": "none", "y.example": "found", "z.example": "temperror"}
    assert fetch_policy("", Zone({}).bounded()).state == "none"


# RFC 7489, appendix B.1.1 (SPF) and B.1.2 (DKIM), with a policy of reject.
@pytest.mark.parametrize(
    ("spf", "dkim", "author", "result"),
    [
        (SpfResult("pass", "example.com"), [], "example.com", "pass"),
        (SpfResult("pass", "child.example.com"), [], "example.com", "pass"),
        (SpfResult("pass", "example.com"), [], "child.example.com", "pass"),
        (SpfResult("pass", "example.net"), [], "example.com", "fail"),
        (NO_SPF, [DkimResult("pass", "example.com")], "example.com", "pass"),
        (NO_SPF, [DkimResult("pass", "example.com")], "child.example.com", "pass"),
        (NO_SPF, [DkimResult("pass", "sample.net")], "child.example.com", "fail"),
        (NO_SPF, [DkimResult("fail", "example.com"), DkimResult("pass", "example.com")], "example.com", "pass"),
        (NO_SPF, [DkimResult("policy", "example.com")], "example.com", "fail"),
        (SpfResult("softfail", "example.com"), [], "example.com", "fail"),
        (SpfResult("temperror", "example.com"), [], "example.com", "temperror"),
        (SpfResult("temperror", "example.net"), [], "example.com", "fail"),
        (NO_SPF, [DkimResult("temperror", "example.com")], "example.com", "temperror"),
        (NO_SPF, [DkimResult("temperror", "z.example")], "example.com", "fail"),
        (SpfResult("pass", "example.com"), [DkimResult("temperror", "example.com")], "example.com", "pass"),
        (NO_SPF, [], "example.com", "fail"),
    ],
)
def test_results(spf: SpfResult, dkim: list[DkimResult], author: str, result: str) -> None:
    found = evaluate_dmarc(Author(author), DmarcPolicy("found", "example.com", "reject"), spf, dkim, sample=0)
    assert (found.result, found.policy) == (result, "reject" if result == "fail" else "none")
    assert found.published == "reject"


def test_strict_alignment() -> None:
    strict = DmarcPolicy("found", "x.example", "reject", strict_spf=True, strict_dkim=True)
    below = SpfResult("pass", "a.x.example"), [DkimResult("pass", "b.x.example")]
    assert evaluate_dmarc(Author("x.example"), strict, *below, sample=0).result == "fail"
    equal = SpfResult("none"), [DkimResult("pass", "x.example")]
    assert evaluate_dmarc(Author("x.example"), strict, *equal, sample=0).result == "pass"


@pytest.mark.parametrize(
    ("asked", "sample", "policy"),
    [
        ("reject", 29, "reject"),
        ("reject", 30, "quarantine"),
        ("quarantine", 29, "quarantine"),
        ("quarantine", 30, "none"),
        ("none", 30, "none"),
    ],
)
def test_percentage(asked: str, sample: int, policy: str) -> None:
    """What is not in the sample gets the next milder policy (RFC 7489 §6.6.4)."""
    published = _policy(f"v=DMARC1; p={asked}; pct=30")
    found = evaluate_dmarc(Author("x.example"), published, NO_SPF, [], sample=sample)
    assert (found.result, found.policy, found.published) == ("fail", policy, asked)


def test_without_a_record() -> None:
    for state in ("none", "permerror", "temperror"):
        found = evaluate_dmarc(
            Author("x.example"), DmarcPolicy(state), NO_SPF, [DkimResult("pass", "mail.x.example")], sample=0
        )
        assert (found.result, found.policy, found.published, found.aligned) == (state, "none", None, True)
    for problem in ("several", "missing"):
        found = evaluate_dmarc(Author(problem=problem), DmarcPolicy("none"), NO_SPF, [], sample=0)
        assert (found.result, found.aligned) == ("permerror", False)
