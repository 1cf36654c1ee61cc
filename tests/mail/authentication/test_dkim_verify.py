"""Verifying DKIM signatures, made by dkimpy or by hand."""

from __future__ import annotations

import base64
import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.mail.authentication.signing import (
    NOW,
    NOW_MICROS,
    Records,
    Zone,
    body_hash,
    dkimpy_sign,
    field,
    fields_of,
    key_records,
    keys,
)

from daimon_mcp.mail.authentication.dkim import MAX_SIGNATURES, DkimResult, verify_dkim
from daimon_mcp.mail.dkim_canonical import take_apart
from daimon_mcp.mail.dkim_keys import public_value
from daimon_mcp.mail.dkim_sign import sign

MAIL = b"From: Ann <a@x.example>\r\nTo:  b@y.example \r\nSubject: a \t b\r\n folded\r\n\r\nbody  text \r\n\r\n\r\n"
SHORT = rsa.generate_private_key(65537, 1024)
# 512 bits: it protects nothing, which is the point.
TOO_SHORT = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBOQIBAAJBAKpyd0qpodtWwdXH11vai1WFrgqwf1rixVtYp8+mBvo1+eZe9XNj
cKKyxZGNAOE2/HEofEal1mEe9chr6Is81IECAwEAAQJAbIvI/Hta4Fw3xPUnaQ+c
fDJNy/Dqqe6Q0MN82vhYqS58YKnZzWjGDclsqC7/9xhkMJalpH8bb17MNLJ9kYDV
gQIhANjYMILddqaSJtRwhQcdnT0Xbth3klB0bVw4y9+n0C79AiEAyTmFe7ee2Cga
hn1Cz2EEHKCQud8LR51VU1528u3vbNUCIB3RfLpCIfK93kEQR/q2g8zG0CNMLf6K
RA+Ob9qNhP8xAiAax67+IhffyKaPE4iatNypOq1IL2j+5O+AIuhNuGDO6QIgIp0N
GhM2YUTo+yJWQR+Z2fsIaSXidrLMksPAlQfzK6I=
-----END RSA PRIVATE KEY-----
"""
TOO_SHORT_PUBLIC = (
    b"MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKpyd0qpodtWwdXH11vai1WFrgqwf1rixVtYp8+mBvo1"
    b"+eZe9XNjcKKyxZGNAOE2/HEofEal1mEe9chr6Is81IECAwEAAQ=="
)
_STRIPPED = MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def _verify(content: bytes, records: Records | None = None) -> tuple[DkimResult, ...]:
    zone = Zone(key_records() if records is None else records)
    return verify_dkim(take_apart(content), zone.bounded(), now=NOW)


def _one(content: bytes, records: Records | None = None) -> tuple[str, str]:
    [result] = _verify(content, records)
    return result.result, result.reason


def _by_hand(tags: str, covered: str = "from", content: bytes = MAIL) -> bytes:
    """A message signed with these tags besides the usual ones."""
    chosen = [one for one in fields_of(content) if one[0].lower().decode() in covered.split(":")]
    base = f"a=rsa-sha256; c=relaxed/relaxed; s=r; h={covered}; bh={body_hash(content)}; {tags}"
    return field("DKIM-Signature", base, chosen) + content


@pytest.mark.parametrize("forms", list(itertools.product([b"simple", b"relaxed"], repeat=2)))
@pytest.mark.parametrize("rest", [b"", b"body", b"body \t x\r\n \r\n\r\n", b"\r\n\r\n", b"\xff\x00\r\n"])
def test_signatures_of_dkimpy(forms: tuple[bytes, bytes], rest: bytes) -> None:
    content = _STRIPPED + rest
    own = dkimpy_sign(content, forms=forms)
    assert _one(own + content) == ("pass", "")
    assert _one(own + content + b"more\r\n") == ("fail", "the body is not the one that was signed")
    assert _one(own + content.replace(b"Ann", b"Eve")) == ("fail", "the signature is not of these headers")


@given(
    values=st.lists(st.text(st.sampled_from("ab \t;:="), max_size=30), min_size=1, max_size=6),
    body=st.lists(st.text(st.sampled_from("ab \t"), max_size=20).map(str.strip), max_size=6),
    forms=st.tuples(st.sampled_from([b"simple", b"relaxed"]), st.sampled_from([b"simple", b"relaxed"])),
)
def test_any_signature_of_dkimpy(values: list[str], body: list[str], forms: tuple[bytes, bytes]) -> None:
    header = "From: a@x.example\r\n" + "".join(f"Subject: {value}x\r\n" for value in values)
    content = (header + "\r\n" + "".join(line + "\r\n" for line in body)).encode()
    assert _one(dkimpy_sign(content, forms=forms) + content) == ("pass", "")


def test_length() -> None:
    own = dkimpy_sign(MAIL, length=True)
    assert _one(own + MAIL) == ("pass", "")
    assert _one(own + MAIL.removesuffix(b"\r\n\r\n") + b"added\r\n") == ("policy", "part of the body is not signed")
    assert _one(own + _STRIPPED + b"b\r\n") == ("fail", "the body is shorter than when it was signed")


def test_what_must_not_count() -> None:
    sha1 = dkimpy_sign(MAIL, algorithm=b"rsa-sha1")
    assert _one(sha1 + MAIL) == ("fail", "signed with SHA-1")
    twice = _by_hand("v=1; d=x.example")
    assert _one(twice) == ("pass", "")
    assert _one(twice.replace(b"To:", b"From: boss@x.example\r\nTo:"))[0] == "fail"
    above = twice.replace(b"From: Ann", b"From: boss@x.example\r\nFrom: Ann")
    assert _one(above) == ("policy", "a From field is not signed")


def test_short_and_long_keys() -> None:
    pem = SHORT.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    own = dkimpy_sign(MAIL, pem=pem) + MAIL
    assert _one(own, _published(SHORT.public_key())) == ("pass", "")
    shorter = dkimpy_sign(MAIL, pem=TOO_SHORT) + MAIL
    assert _one(shorter, {("r._domainkey.x.example", "TXT"): [b"p=" + TOO_SHORT_PUBLIC]}) == (
        "policy",
        "a key of 512 bits",
    )
    assert _one(shorter.replace(b"Ann", b"Eve"), {("r._domainkey.x.example", "TXT"): [b"p=" + TOO_SHORT_PUBLIC]}) == (
        "fail",
        "the signature is not of these headers",
    )
    longest = rsa.RSAPublicNumbers(65537, (1 << 8191) + 1).public_key()
    assert _one(own, _published(longest)) == ("permerror", "the key is too long")


def _published(public: rsa.RSAPublicKey) -> Records:
    octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {("r._domainkey.x.example", "TXT"): [b"p=" + base64.b64encode(octets)]}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("v=1; d=x.example; i=@x.example", ("pass", "")),
        ("v=1; d=X.Example; i=ann@sub.x.EXAMPLE", ("pass", "")),
        ("v=1; d=x.example; t=1; x=9999999999; z=From:a|To:b", ("pass", "")),
        ("v=1; d=x.example; q=http:dns/txt", ("pass", "")),
        ("v=2; d=x.example", ("permerror", "v= is not 1")),
        ("d=x.example", ("permerror", "v= is not 1")),
        ("v=1", ("permerror", "d= is no domain")),
        ("v=1; d=x", ("permerror", "d= is no domain")),
        ("v=1; d=x.example; d=x.example", ("permerror", "a tag stands twice")),
        ("v=1; d=x.example; words", ("permerror", "not a list of tags")),
        ("v=1; d=x.example; i=@other.example", ("permerror", "i= is not of the domain in d=")),
        ("v=1; d=x.example; i=@notx.example", ("permerror", "i= is not of the domain in d=")),
        ("v=1; d=x.example; i=x.example", ("permerror", "i= is not of the domain in d=")),
        ("v=1; d=x.example; t=1; x=2", ("fail", "the signature has expired")),
        ("v=1; d=x.example; t=9999999999; x=9999999998", ("permerror", "x= is before t=")),
        ("v=1; d=x.example; t=soon", ("permerror", "t= is no number")),
        ("v=1; d=x.example; l=-1", ("permerror", "l= is no number")),
        ("v=1; d=x.example; q=carrier/pigeon", ("permerror", "q= is not dns/txt")),
        ("v=1; d=y.example", ("permerror", "no key in DNS")),
    ],
)
def test_tags(tags: str, expected: tuple[str, str]) -> None:
    assert _one(_by_hand(tags)) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"h=from;", b"h=to;", ("permerror", "From is not signed")),
        (b"h=from;", b"h=;", ("permerror", "h= is missing")),
        (b"h=from;", b"h=fr om;", ("permerror", "h= is no list of header fields")),
        (b"a=rsa-sha256", b"a=rsa-md5", ("permerror", "an unknown algorithm")),
        (b"a=rsa-sha256", b"a=ed25519-sha256", ("permerror", "the key is of another kind than the signature")),
        (b"c=relaxed/relaxed", b"c=tidy", ("permerror", "c= is unknown")),
        (b"s=r;", b"s=r r;", ("permerror", "s= is no selector")),
        (b"bh=", b"bh=*", ("permerror", "bh= is no base64")),
        (b"; b=", b"; b=A", ("permerror", "b= is no base64")),
        (b"; b=", b"; c2=", ("permerror", "b= is missing")),
        (b"; b=", b"; b=AAAA", ("fail", "the signature is not of these headers")),
        (b"; b=", b"; \r\n b  = \t", ("fail", "the signature is not of these headers")),
    ],
)
def test_broken_fields(old: bytes, new: bytes, expected: tuple[str, str]) -> None:
    assert _one(_by_hand("v=1; d=x.example").replace(old, new, 1)) == expected


def _record(value: str) -> Records:
    key = public_value(keys()[0].private, "rsa-sha256").partition("p=")[2]
    return {("r._domainkey.x.example", "TXT"): [value.replace("KEY", key).encode()]}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("p=KEY", ("pass", "")),
        ("v=DKIM1; h=sha1:sha256; k=rsa; n=note; s=email; t=y; p=KEY;", ("pass", "")),
        ("k=rsa; p=KEY; t=s", ("pass", "")),
        ("v=DKIM2; p=KEY", ("permerror", "the key record has another version")),
        ("p=KEY; v=DKIM1", ("permerror", "the key record has another version")),
        ("v=DKIM1; p=", ("permerror", "the key was revoked")),
        ("v=DKIM1", ("permerror", "the key record has no key")),
        ("v=DKIM1; h=sha1; p=KEY", ("permerror", "the key is not for SHA-256")),
        ("v=DKIM1; s=tlsrpt; p=KEY", ("permerror", "the key is not for mail")),
        ("v=DKIM1; k=ed25519; p=KEY", ("permerror", "the key is of another kind than the signature")),
        ("v=DKIM1; p=AAAA", ("permerror", "the key cannot be read")),
        ("v=DKIM1; p=?", ("permerror", "p= is no base64")),
        ("google-site-verification", ("permerror", "not a list of tags")),
    ],
)
def test_key_records(record: str, expected: tuple[str, str]) -> None:
    assert _one(_by_hand("v=1; d=x.example"), _record(record)) == expected


def test_a_key_that_forbids_subdomains() -> None:
    mail = _by_hand("v=1; d=x.example; i=@sub.x.example")
    assert _one(mail, _record("p=KEY; t=s")) == ("permerror", "i= is of a subdomain, which the key forbids")
    assert _one(mail, _record("p=KEY")) == ("pass", "")


def test_dns_without_an_answer_and_stray_records() -> None:
    mail = _by_hand("v=1; d=x.example")
    assert _one(mail, {("r._domainkey.x.example", "TXT"): None}) == ("temperror", "the key could not be fetched")
    stray = {name: [b"stray", *(found or ())] for name, found in key_records().items()}
    assert _one(mail, stray) == ("pass", "")


def test_several_signatures() -> None:
    assert _verify(MAIL) == ()
    signed = sign(MAIL, keys(), now=NOW_MICROS) + MAIL
    rsa_result, ed_result = _verify(signed)
    assert (rsa_result.result, rsa_result.bits, rsa_result.selector) == ("pass", 2048, "r")
    assert (ed_result.result, ed_result.bits, ed_result.selector) == ("pass", 256, "e")
    assert len(rsa_result.tag) == 12
    many = b"DKIM-Signature: v=1; a=rsa-sha256; d=z.example; s=r; h=from; bh=AAAA; b=AAAA\r\n" * 50 + signed
    results = _verify(many)
    assert len(results) == MAX_SIGNATURES
    assert {one.domain for one in results} == {"z.example"}


def test_the_authors_signatures_are_checked_first() -> None:
    other = b"DKIM-Signature: v=1; a=rsa-sha256; d=slow.example; s=s; h=from; bh=AAAA; b=AAAA\r\n"
    zone = Zone(key_records())
    content = other + sign(MAIL, keys()[:1], now=NOW_MICROS) + MAIL
    results = verify_dkim(take_apart(content), zone.bounded(), now=NOW, author_domain="mail.x.example")
    assert [one.result for one in results] == ["permerror", "pass"]
    assert [name for name, _ in zone.asked] == ["r._domainkey.x.example", "s._domainkey.slow.example"]
