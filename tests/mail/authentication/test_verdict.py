"""All checks together."""

from __future__ import annotations

import subprocess
import sys
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mail.authentication.signing import NOW_MICROS, Records, Zone, key_records, keys, seal

from daimon_mcp.mail.authentication.lookup import LookupFailed
from daimon_mcp.mail.authentication.results import read_results
from daimon_mcp.mail.authentication.verdict import Authentication, authenticate
from daimon_mcp.mail.dkim_sign import sign

MAIL = b"From: Ann <ann@mail.x.example>\r\nTo: b@y.example\r\nSubject: s\r\n\r\n" + b"some words of a body\r\n" * 140
DMARC: Records = {("_dmarc.x.example", "TXT"): [b"v=DMARC1; p=reject; rua=mailto:a@x.example"]}
SPF: Records = {("x.example", "TXT"): [b"v=spf1 ip4:192.0.2.0/24 -all"]}


def _check(content: bytes, *records: Records, ip: str = "192.0.2.1", trusted: tuple[str, ...] = ()) -> Authentication:
    merged = {key: found for table in records for key, found in table.items()}
    return authenticate(
        content,
        ip,
        "mx.x.example",
        "bounce@x.example",
        lookup=Zone(merged),
        authserv_id="mx.y.example",
        now=NOW_MICROS,
        trusted_sealers=trusted,
    )


SIGNED = sign(MAIL, keys(), now=NOW_MICROS) + MAIL
AWAY = "203.0.113.1"


def test_pass() -> None:
    found = _check(SIGNED, DMARC, SPF, key_records())
    assert (found.verdict, found.policy, found.author_domain) == ("pass", "none", "mail.x.example")
    assert (found.spf.result, found.dmarc.result, found.arc.result, found.forwarder) == ("pass", "pass", "none", "")
    assert [one.result for one in found.dkim] == ["pass", "pass"]
    identity, statements = read_results(found.header.partition(b":")[2])
    assert identity == "mx.y.example"
    assert [(one.method, one.result) for one in statements] == [
        ("spf", "pass"),
        ("dkim", "pass"),
        ("dkim", "pass"),
        ("dmarc", "pass"),
    ]
    # One of the two is enough.
    assert _check(SIGNED, DMARC, SPF, key_records(), ip=AWAY).verdict == "pass"
    assert _check(MAIL, DMARC, SPF).verdict == "pass"


def test_fail() -> None:
    found = _check(MAIL, DMARC, SPF, ip=AWAY)
    assert (found.verdict, found.policy, found.spf.result, found.dkim) == ("fail", "reject", "fail", ())
    changed = SIGNED.replace(b"words", b"swords", 1)
    assert _check(changed, DMARC, SPF, key_records(), ip=AWAY).verdict == "fail"
    other = {("other.example", "TXT"): [b"v=spf1 +all"]}
    spoofed = authenticate(
        MAIL, AWAY, "h", "a@other.example", lookup=Zone({**DMARC, **other}), authserv_id="y", now=NOW_MICROS
    )
    assert (spoofed.spf.result, spoofed.verdict, spoofed.policy) == ("pass", "fail", "reject")


def test_without_a_policy() -> None:
    assert _check(MAIL, SPF, ip=AWAY).verdict == "none"
    assert _check(MAIL).verdict == "none"
    assert _check(SIGNED, key_records(), ip=AWAY).verdict == "pass"
    assert _check(b"words").verdict == "none"
    assert _check(b"").verdict == "none"
    broken: Records = {("_dmarc.x.example", "TXT"): [b"v=DMARC1"]}
    assert _check(MAIL, broken).verdict == "none"


def test_dns_without_an_answer() -> None:
    policy = {("_dmarc.mail.x.example", "TXT"): None}
    assert _check(SIGNED, policy, key_records()).verdict == "temperror"
    key = {("r._domainkey.x.example", "TXT"): None}
    assert _check(SIGNED, DMARC, key, ip=AWAY).verdict == "temperror"
    assert _check(SIGNED, DMARC, SPF, key).verdict == "pass"


def test_a_sender_cannot_use_up_the_lookups() -> None:
    """Signatures of slow domains do not turn a forgery into an error of DNS."""
    slow = b"".join(
        b"DKIM-Signature: v=1; a=rsa-sha256; d=d%d.example; s=s; h=from; bh=AAAA; b=AAAA\r\n" % number
        for number in range(10)
    )
    records: Records = {(f"s._domainkey.d{number}.example", "TXT"): None for number in range(10)}
    found = _check(slow + MAIL, DMARC, SPF, records, ip=AWAY)
    assert [one.result for one in found.dkim] == ["temperror"] * 10
    assert (found.verdict, found.policy) == ("fail", "reject")


@pytest.mark.parametrize("extra", [b"From: Boss <boss@y.example>\r\n", b"FROM: ann@mail.x.example\r\n"])
def test_two_authors_are_none(extra: bytes) -> None:
    found = _check(extra + SIGNED, DMARC, SPF, key_records())
    assert (found.verdict, found.dmarc.result, found.author_domain) == ("fail", "permerror", "")


def _forwarded(results: str, *, domain: str = "list.example") -> bytes:
    """A mailing list's copy, with another body than was signed."""
    return seal(SIGNED + b"list footer\r\n", f"{domain}; {results}", domain=domain)


LIST = key_records("list.example")


def test_a_trusted_forwarder() -> None:
    content = _forwarded("dmarc=pass (p=reject) header.from=mail.x.example")
    found = _check(content, DMARC, SPF, key_records(), LIST, ip=AWAY, trusted=("list.example",))
    assert (found.arc.result, found.arc.domain, found.dmarc.result) == ("pass", "list.example", "fail")
    assert (found.verdict, found.policy, found.forwarder) == ("pass", "none", "list.example")
    assert b"arc=pass" in found.header


def test_a_chain_of_forwarders() -> None:
    first = _forwarded("dmarc=pass header.from=mail.x.example")
    content = seal(first + b"more\r\n", "z.example; dmarc=fail; arc=pass", domain="z.example", instance=2, cv="pass")
    tables = (DMARC, SPF, key_records(), LIST, key_records("z.example"))
    found = _check(content, *tables, ip=AWAY, trusted=("list.example", "z.example"))
    assert (found.arc.result, found.arc.sealers) == ("pass", ("list.example", "z.example"))
    assert (found.verdict, found.forwarder) == ("pass", "z.example")
    for trusted in ((), ("z.example",), ("list.example",)):
        assert _check(content, *tables, ip=AWAY, trusted=trusted).verdict == "fail"


@pytest.mark.parametrize(
    "results",
    ["dmarc=fail header.from=mail.x.example", "dmarc=pass header.from=z.example", "dmarc=pass", "spf=pass", "none"],
)
def test_a_forwarder_that_saw_no_pass(results: str) -> None:
    found = _check(_forwarded(results), DMARC, SPF, key_records(), LIST, ip=AWAY, trusted=("list.example",))
    assert (found.arc.result, found.verdict, found.policy) == ("pass", "fail", "reject")


def test_a_seal_that_names_fields() -> None:
    for more, expected in (("; x=y", "pass"), ("; h=from", "fail"), ("; bh=AAAA", "fail")):
        content = seal(SIGNED, "x.example; dmarc=pass", more=more)
        assert _check(content, DMARC, SPF, key_records()).arc.result == expected, more


def test_a_broken_chain() -> None:
    content = _forwarded("dmarc=fail header.from=mail.x.example").replace(b"dmarc=fail", b"dmarc=pass")
    found = _check(content, DMARC, SPF, key_records(), LIST, ip=AWAY, trusted=("list.example",))
    assert (found.arc.result, found.verdict) == ("fail", "fail")
    down: Records = {("r._domainkey.list.example", "TXT"): None}
    found = _check(content, DMARC, SPF, key_records(), down, ip=AWAY, trusted=("list.example",))
    assert (found.arc.result, found.arc.reason, found.verdict) == ("fail", "the key could not be fetched", "fail")


_WORDS = [
    *("v=1", "a=rsa-sha256", "a=ed25519-sha256", "c=relaxed/relaxed", "d=x.example", "s=r", "h=from:to", "i=1"),
    *("cv=none", "bh=AAAA", "b=AAAA", "b=", "l=3", "x=1", "t=99999999999999", "i=@x.example", "=", "", "q=x"),
    "mx; dmarc=pass",
]
_NAMES = [b"DKIM-Signature", b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results", b"From", b"X", b""]
_TAGS = st.lists(st.sampled_from(_WORDS), max_size=12).map(lambda tags: "; ".join(tags).encode())
_FIELDS = st.lists(st.tuples(st.sampled_from(_NAMES), _TAGS | st.binary(max_size=60)), max_size=12).map(
    lambda fields: b"".join(name + b":" + value + b"\r\n" for name, value in fields)
)
_PEERS = st.tuples(st.text(max_size=20), st.text(max_size=20), st.text(max_size=30)) | st.just(("::1", "x.y", "a@x.y"))
_ANSWERS = (
    st.binary(max_size=80)
    | st.text(max_size=80)
    | st.sampled_from(["v=spf1 a mx ptr exists:%{p}.%{l} include:x.example redirect=%{d2r}", "v=spf1 %{", "192.0.2.1"])
    | st.sampled_from([b"v=DKIM1; p=AAAA", b"v=DMARC1; p=reject; pct=x", b"k=ed25519; p=AAAA", "::1", "x.example."])
)


@given(
    content=st.binary(max_size=400) | st.builds(bytes.__add__, _FIELDS, st.binary(max_size=60)),
    peer=_PEERS,
    answers=st.lists(st.none() | st.lists(_ANSWERS, max_size=12), min_size=1, max_size=5),
)
def test_nothing_raises(content: bytes, peer: tuple[str, str, str], answers: list[list[bytes | str] | None]) -> None:
    count = 0

    def lookup(name: str, type: str) -> list[bytes | str]:
        nonlocal count
        count += 1
        found = answers[count % len(answers)]
        if found is None:
            raise LookupFailed
        return found

    ip, helo, mail_from = peer
    found = authenticate(content, ip, helo, mail_from, lookup=lookup, authserv_id="mx.y.example", now=NOW_MICROS)
    assert found.verdict in ("pass", "fail", "none", "temperror")
    assert found.header.endswith(b"\r\n")
    assert count <= 120


@pytest.mark.parametrize("piece", [b"X: y\r\n", b"X:" + b" \t" * 99, b"ARC-Seal: i=1\r\n", b"\r\n", b" ", b"("])
def test_time_grows_with_size_only(piece: bytes) -> None:
    for head in (b"", b"DKIM-Signature: ", b"Authentication-Results: ", MAIL):
        content = head + piece * (300_000 // len(piece)) + b"\r\n" + SIGNED
        start = process_time()
        _check(content, DMARC, SPF, key_records())
        assert process_time() - start < 2


def test_an_ordinary_mail_is_quick() -> None:
    content = sign(MAIL, keys()[:1], now=NOW_MICROS) + MAIL
    start = process_time()
    for _ in range(50):
        assert _check(content, DMARC, SPF, key_records()).verdict == "pass"
    assert (process_time() - start) / 50 < 0.01  # it takes 0.3 ms; this is for a loaded machine


def test_libraries_load_when_they_are_needed() -> None:
    code = "import sys, daimon_mcp.mail.authentication.verdict, daimon_mcp.mail.dkim_sign"
    code += "; print('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
