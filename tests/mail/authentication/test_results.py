"""Authentication-Results: written, read, and removed where forged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.authentication.arc import ArcResult
from daimon_mcp.mail.authentication.dkim import DkimResult
from daimon_mcp.mail.authentication.dmarc import DmarcResult
from daimon_mcp.mail.authentication.results import Statement, read_results, remove_forged, results_header
from daimon_mcp.mail.authentication.spf import SpfResult

OURS = "mx.y.example"


def test_header() -> None:
    header = results_header(
        OURS,
        SpfResult("pass", "x.example"),
        [
            DkimResult("pass", "x.example", "r", "rsa-sha256", 2048, "AbC/d+e="),
            DkimResult("permerror", reason="no, no"),
        ],
        DmarcResult("fail", "x.example", "quarantine", "reject", reason="why"),
        ArcResult("fail", reason="broken"),
    )
    assert header == (
        b"Authentication-Results: mx.y.example; spf=pass smtp.mailfrom=x.example;\r\n"
        b" dkim=pass header.d=x.example header.s=r header.a=rsa-sha256\r\n"
        b' header.b="AbC/d+e="; dkim=permerror reason="no, no"; dmarc=fail reason="why"\r\n'
        b' header.from=x.example policy.dmarc=quarantine; arc=fail reason="broken"\r\n'
    )
    identity, statements = read_results(header.partition(b":")[2])
    assert identity == OURS
    assert [(one.method, one.result) for one in statements] == [
        ("spf", "pass"),
        ("dkim", "pass"),
        ("dkim", "permerror"),
        ("dmarc", "fail"),
        ("arc", "fail"),
    ]
    assert statements[1].properties["header.b"] == "AbC/d+e="


def test_header_without_anything() -> None:
    header = results_header(OURS, SpfResult("none", scope="helo"), [], DmarcResult("none"), ArcResult("none"))
    assert header == b"Authentication-Results: mx.y.example; spf=none; dkim=none; dmarc=none\r\n"


@given(text=st.text(max_size=300))
def test_nothing_breaks_out_of_the_header(text: str) -> None:
    header = results_header(
        text,
        SpfResult("pass", text, "helo", text),
        [DkimResult("fail", text, text, text, 0, text, text)],
        DmarcResult("fail", text, "none", "none", reason=text),
        ArcResult("fail", reason=text),
    )
    assert header.endswith(b"\r\n")
    assert header.isascii()
    assert all(line.startswith(b" ") for line in header.split(b"\r\n")[1:-1])
    assert b"\r" not in header.replace(b"\r\n", b"")
    assert b"\n" not in header.replace(b"\r\n", b"")
    _, statements = read_results(header.partition(b":")[2])
    assert [(one.method, one.result) for one in statements] == [
        ("spf", "pass"),
        ("dkim", "fail"),
        ("dmarc", "fail"),
        ("arc", "fail"),
    ]


_READ: list[tuple[bytes, tuple[str, list[Statement] | None]]] = [
    # RFC 8601, appendix B.
    (b" example.org 1; none", ("example.org", [])),
    (
        b" example.com;\r\n spf=pass smtp.mailfrom=example.net",
        ("example.com", [Statement("spf", "pass", {"smtp.mailfrom": "example.net"})]),
    ),
    (
        b" foo.example.net (foobar) 1 (baz);\r\n"
        b"    dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n"
        b"      policy (A dot can go here) . (like that) expired\r\n"
        b"      (this surprised me) = (as I wasn't expecting it) 1362471462",
        ("foo.example.net", [Statement("dkim", "fail", {"expired": "1362471462"})]),
    ),
    (
        b' "a b" ; dkim=fail reason="bad; (really) \\"so\\"" header.d=x.example',
        (
            "a b",
            [Statement("dkim", "fail", {"reason": 'bad; (really) "so"', "header.d": "x.example"})],
        ),
    ),
    (b" MX.Y.Example.; DMARC = PASS (p=reject) header.from=X", ("mx.y.example", None)),
    (b'(a (nested \\) ") one) mx.y.example; x=y', ("mx.y.example", [Statement("x", "y", {})])),
    (b"(never closed mx.y.example; x=y", ("", [])),
    (b"", ("", [])),
    (b";;;", ("", [])),
    (b'a; =; b=; =c; b=""; ""=c; d e; f/1; g=h i=', ("a", [Statement("g", "h", {})])),
]


@pytest.mark.parametrize(("value", "expected"), _READ)
def test_reading(value: bytes, expected: tuple[str, list[Statement] | None]) -> None:
    identity, statements = read_results(value)
    assert identity == expected[0]
    if expected[1] is None:
        assert statements == [Statement("dmarc", "pass", {"header.from": "X"})]
    else:
        assert statements == expected[1]


@given(value=st.binary(max_size=300) | st.text(st.sampled_from('()";=/\\ a.\r\n')).map(str.encode))
def test_reading_anything(value: bytes) -> None:
    identity, statements = read_results(value)
    assert identity == identity.lower()
    assert all(one.method and one.result for one in statements)


@pytest.mark.parametrize(
    "forged",
    [
        b"Authentication-Results: mx.y.example; dmarc=pass\r\n",
        b"AUTHENTICATION-results : MX.Y.EXAMPLE;\r\n dmarc=pass\r\n",
        b"Authentication-Results:\r\n (x) mx.y.example (y) 1; dmarc=pass\r\n",
        b'Authentication-Results: (a (b) \\) ") mx.y.example; dmarc=pass\r\n',
        b'Authentication-Results: "mx.y.example"; dmarc=pass\r\n',
        b'Authentication-Results: "mx.y\\.example" ; dmarc=pass\r\n',
        b"Authentication-Results: mx.y.example.; dmarc=pass\r\n",
        b"Authentication-Results: mx.y.example/1; dmarc=pass\r\n",
        b"Authentication-Results: mx.y.example\r\n",
        b"Authentication-Results:\r\n",
        b"Authentication-Results: (no end mx.y.example; dmarc=pass\r\n",
        b"Authentication-Results: ; dmarc=pass\r\n",
    ],
)
def test_forged_fields_go(forged: bytes) -> None:
    rest = b"From: a@x.example\r\n"
    body = b"\r\nAuthentication-Results: mx.y.example; dmarc=pass\r\n"
    assert remove_forged(forged + rest + forged + body, OURS) == rest + body
    assert remove_forged(rest + forged + rest + body, OURS) == rest + rest + body


def test_forged_fields_in_other_scripts() -> None:
    forged = "Authentication-Results: BÜCHER.example; dmarc=pass\r\n".encode()
    assert remove_forged(forged + b"A: b\r\n\r\n", "xn--bcher-kva.example") == b"A: b\r\n\r\n"


def test_an_identity_of_one_word() -> None:
    forged, other = b"Authentication-Results: MAIL; dmarc=pass\r\n", b"Authentication-Results: localhost; none\r\n"
    assert remove_forged(forged + other + b"\r\n", "mail") == other + b"\r\n"


@pytest.mark.parametrize(
    "other",
    [
        b"Authentication-Results: mx.z.example; dmarc=pass\r\n",
        b"Authentication-Results: a.mx.y.example; mx.y.example=pass\r\n",
        b"X-Authentication-Results: mx.y.example; dmarc=pass\r\n",
        b"ARC-Authentication-Results: i=1; mx.y.example; dmarc=pass\r\n",
    ],
)
def test_other_servers_fields_stay(other: bytes) -> None:
    content = other + b"From: a@x.example\r\n\r\nbody"
    assert remove_forged(content, OURS) is content
