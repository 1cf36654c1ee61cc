"""Whether a server's certificates are those its domain has published in TLSA records (RFC 6698, RFC 7671, RFC 7672).

For SMTP two usages count: 3 (DANE-EE) names the server's own certificate or key, and nothing else is looked at; 2
(DANE-TA) names an authority, and the certificate must come from there, be in date, and be for the host. Usages 0 and 1
are not usable (RFC 7672 §3.1.3). Name constraints of an authority are not looked at: the domain chose it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from daimon_mcp.domain.routes import Tlsa

DANE_TA: Final = 2
DANE_EE: Final = 3
MAX_CHAIN: Final = 10  # certificates looked at

_DIGESTS: Final = {1: hashlib.sha256, 2: hashlib.sha512}


def usable(tlsa: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    """Those of the records that a certificate can be held against. With none, TLS alone is owed (RFC 7672 §2.2)."""
    return tuple(
        record
        for record in tlsa
        if record.usage in (DANE_TA, DANE_EE) and record.selector in (0, 1) and record.matching in (0, 1, 2)
    )


def matches(chain_der: Sequence[bytes], host: str, tlsa: Sequence[Tlsa]) -> bool:
    """Whether the certificates a server showed, its own first, are allowed for `host`, an A-label name.

    Never raises: certificates and records are strangers' data, and what cannot be read matches nothing.
    """
    try:
        chain = [x509.load_der_x509_certificate(der) for der in chain_der[:MAX_CHAIN]]
        if not chain:
            return False
        records = usable(tlsa)
        if any(record.usage == DANE_EE and _is(chain[0], record) for record in records):
            return True
        anchors = [record for record in records if record.usage == DANE_TA]
        return bool(anchors) and _is_for(chain[0], host) and _leads_to(chain, anchors)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension):
        return False


def _is(certificate: x509.Certificate, record: Tlsa) -> bool:
    """Whether a record means this certificate, or its key."""
    if record.selector == 0:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = _DIGESTS.get(record.matching)
    return hmac.compare_digest(digest(octets).digest() if digest else octets, record.data)


def _leads_to(chain: Sequence[x509.Certificate], anchors: Sequence[Tlsa]) -> bool:
    """Whether each certificate was signed by the next on the way up to one that an anchor means.

    The order of what the server sent does not matter; an authority that a record holds whole need not be sent.
    """
    others = [*chain[1:], *_whole(anchors)]
    now = datetime.now(UTC)
    current = chain[0]
    for below in range(len(others)):
        if not current.not_valid_before_utc <= now <= current.not_valid_after_utc:
            return False
        issuer = next((other for other in others if _signed(other, current, below)), None)
        if issuer is None:
            return False
        if any(_is(issuer, anchor) for anchor in anchors):
            return issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc
        others.remove(issuer)
        current = issuer
    return False


def _whole(anchors: Sequence[Tlsa]) -> list[x509.Certificate]:
    """The certificates that stand whole in records; one that cannot be read spoils nothing for the others."""
    certificates: list[x509.Certificate] = []
    for anchor in anchors:
        if anchor.selector == 0 and anchor.matching == 0:
            with contextlib.suppress(ValueError):
                certificates.append(x509.load_der_x509_certificate(anchor.data))
    return certificates


def _signed(issuer: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
    """Whether `issuer` may sign certificates with `below` authorities beneath, and signed that one."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = next((one.value for one in issuer.extensions if isinstance(one.value, x509.KeyUsage)), None)
        if not constraints.ca or (constraints.path_length is not None and constraints.path_length < below):
            return False
        if usage is not None and not usage.key_cert_sign:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError):
        return False
    return True


def _is_for(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate names the host (RFC 6125): its DNS names, or the common name where it has none."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = alternatives.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    if not names:
        names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    host = host.rstrip(".").lower()
    parent = host.partition(".")[2]
    return any(name.lower() == host or ("." in parent and name.lower() == f"*.{parent}") for name in names)
