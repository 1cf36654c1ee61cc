"""Certificates against TLSA records, with chains made for the purpose."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from daimon_mcp.domain.routes import Tlsa
from daimon_mcp.workers.dane import matches, usable

HOST = "mx1.b.example"
DAY = timedelta(days=1)


@dataclass
class Signed:
    """A certificate with the key to sign others."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """As it goes over the wire."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        """The public key as TLSA selector 1 means it."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def make(
    name: str,
    issuer: Signed | None = None,
    *,
    authority: bool = False,
    path_length: int | None = None,
    names: tuple[str, ...] = (),
    may_sign: bool = True,
    days: tuple[int, int] = (-1, 1),
) -> Signed:
    """A certificate for `name`, signed by `issuer` or itself, valid for those days from today."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        usage = x509.KeyUsage(True, False, False, False, False, may_sign, False, False, False)
        builder = builder.add_extension(usage, critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    return Signed(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def record(usage: int, signed: Signed, selector: int = 1, matching: int = 1) -> Tlsa:
    octets = signed.spki if selector else signed.der
    data = {0: octets, 1: hashlib.sha256(octets).digest(), 2: hashlib.sha512(octets).digest()}[matching]
    return Tlsa(usage, selector, matching, data)


ROOT = make("Root", authority=True)
MIDDLE = make("Middle", ROOT, authority=True)
LEAF = make("leaf", MIDDLE, names=(HOST,))
CHAIN = [LEAF.der, MIDDLE.der, ROOT.der]


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_every_selector_and_matching_type(usage: int, selector: int, matching: int) -> None:
    meant, another = (LEAF, MIDDLE) if usage == 3 else (ROOT, LEAF)
    assert matches(CHAIN, HOST, [record(usage, meant, selector, matching)])
    assert not matches(CHAIN, HOST, [record(usage, another, selector, matching)])
    assert matches(CHAIN, HOST, [record(usage, another, selector, matching), record(usage, meant, selector, matching)])


def test_the_servers_own_certificate_may_be_old_and_for_another_name() -> None:
    old = make("other.example", names=("other.example",), days=(-9, -8))
    assert matches([old.der], HOST, [record(3, old)])


def test_an_authority_may_stand_anywhere_above_and_the_order_does_not_matter() -> None:
    for anchor in (ROOT, MIDDLE):
        assert matches(CHAIN, HOST, [record(2, anchor)])
        assert matches([LEAF.der, ROOT.der, MIDDLE.der], HOST, [record(2, anchor)])


def test_an_authority_that_was_not_sent_counts_only_if_a_record_holds_it() -> None:
    sent = [LEAF.der, MIDDLE.der]
    assert not matches(sent, HOST, [record(2, ROOT, 0, 1)])
    assert matches(sent, HOST, [record(2, ROOT, 0, 0)])
    assert matches(sent, HOST, [Tlsa(2, 0, 0, b"not a certificate"), record(2, ROOT, 0, 0)])


@pytest.mark.parametrize(
    ("names", "right"),
    [
        ((HOST,), True),
        (("MX1.B.Example",), True),
        (("*.b.example",), True),
        (("other.example", HOST), True),
        (("b.example",), False),
        (("*.example",), False),
        (("*.mx1.b.example",), False),
        (("mx1.*.example",), False),
        ((), False),
    ],
)
def test_under_an_authority_the_name_counts(names: tuple[str, ...], right: bool) -> None:
    leaf = make("leaf", ROOT, names=names)
    assert matches([leaf.der, ROOT.der], HOST, [record(2, ROOT)]) is right


def test_a_common_name_counts_where_there_are_no_others() -> None:
    assert matches([make(HOST, ROOT).der, ROOT.der], HOST, [record(2, ROOT)])
    assert not matches([make(HOST, ROOT, names=("other.example",)).der, ROOT.der], HOST, [record(2, ROOT)])


@pytest.mark.parametrize("days", [(-9, -8), (8, 9)])
@pytest.mark.parametrize("which", ["leaf", "middle", "root"])
def test_under_an_authority_the_dates_count(which: str, days: tuple[int, int]) -> None:
    def dates(one: str) -> tuple[int, int]:
        return days if one == which else (-1, 1)

    root = make("Root", authority=True, days=dates("root"))
    middle = make("Middle", root, authority=True, days=dates("middle"))
    leaf = make("leaf", middle, names=(HOST,), days=dates("leaf"))
    assert not matches([leaf.der, middle.der, root.der], HOST, [record(2, root)])


def test_only_an_authority_can_vouch() -> None:
    anybody = make("Anybody", ROOT, names=("anybody.example",))
    pretender = make("Root", authority=True)
    no_signing = make("Middle", ROOT, authority=True, may_sign=False)
    short = make("Root", authority=True, path_length=0)
    middle = make("Middle", short, authority=True)
    for chain in (
        [make("leaf", anybody, names=(HOST,)), anybody, ROOT],
        [make("leaf", pretender, names=(HOST,)), ROOT],
        [make("leaf", no_signing, names=(HOST,)), no_signing, ROOT],
        [make("leaf", middle, names=(HOST,)), middle, short],
    ):
        assert not matches([one.der for one in chain], HOST, [record(2, chain[-1])])


def test_a_certificate_beside_the_chain_does_not_vouch() -> None:
    other = make("Other", authority=True)
    assert not matches([LEAF.der, other.der], HOST, [record(2, other)])


@pytest.mark.parametrize(
    "tlsa", [Tlsa(0, 1, 1, b""), Tlsa(1, 1, 1, b""), Tlsa(3, 2, 1, b""), Tlsa(3, 1, 3, b""), Tlsa(255, 0, 0, b"")]
)
def test_records_that_are_not_for_mail_are_not_usable(tlsa: Tlsa) -> None:
    right = record(3, LEAF)
    assert usable([tlsa, right]) == (right,)
    assert not matches(CHAIN, HOST, [tlsa])
    assert matches(CHAIN, HOST, [tlsa, right])


@pytest.mark.parametrize("chain", [[], [b""], [b"\x30\x82"], [LEAF.der[:-9]], [b"x" * 5000]])
def test_octets_that_are_no_certificate_match_nothing(chain: list[bytes]) -> None:
    assert not matches(chain, HOST, [Tlsa(3, 0, 0, chain[0] if chain else b""), record(3, LEAF)])


def test_no_records_match_nothing() -> None:
    assert not matches(CHAIN, HOST, [])
