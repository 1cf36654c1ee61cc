"""Verifies DKIM signatures (RFC 6376 §6, RFC 8301, RFC 8463)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

from daimon_mcp.mail.authentication.lookup import BoundedLookup
from daimon_mcp.mail.authentication.signatures import (
    PublicKey,
    SignatureError,
    check_algorithm,
    check_body,
    check_signature,
    decode_octets,
    domain_tag,
    fetch_key,
    forms_tag,
    names_tag,
    number_tag,
    read_tags,
    selector_tag,
    signed_data,
    without_space,
)
from daimon_mcp.mail.dkim_canonical import Canonicalization, Field, Parts
from daimon_mcp.mail.url_facts import registrable_domain

MAX_SIGNATURES = 10  # of one message; the rest are not looked at
DkimWord = Literal["pass", "fail", "policy", "neutral", "temperror", "permerror"]


@dataclass(frozen=True, slots=True)
class DkimResult:
    """One signature: its result (RFC 8601 §2.7.1), the `d=` and `s=` it names ("" where they cannot be read), its
    algorithm, the key's bits (0 unknown), the beginning of `b=` that tells it from others, and why it does not pass."""

    result: DkimWord
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    bits: int = 0
    tag: str = ""
    reason: str = ""


def verify_dkim(parts: Parts, lookup: BoundedLookup, *, now: int, author_domain: str = "") -> tuple[DkimResult, ...]:
    """The results of the first MAX_SIGNATURES signatures, from the top of the message down; empty for none.

    Those of `author_domain`'s organization are checked first, so that others cannot use up the lookups. `now` is in
    seconds. Never raises.
    """
    fields = [one for one in parts.fields if one.name == b"dkim-signature"][:MAX_SIGNATURES]
    results: dict[int, DkimResult] = {}
    organization = registrable_domain(author_domain)

    def foreign(number: int) -> bool:
        try:
            return registrable_domain(domain_tag(read_tags(fields[number].value))) != organization
        except SignatureError:
            return True

    for number in sorted(range(len(fields)), key=foreign):
        results[number] = _verify(fields[number], parts, lookup, now)
    return tuple(results[number] for number in range(len(fields)))


def _verify(field: Field, parts: Parts, lookup: BoundedLookup, now: int) -> DkimResult:
    found = DkimResult("neutral")
    try:
        tags = read_tags(field.value)
        found = replace(found, tag=without_space(tags.get(b"b", b""))[:12].decode("ascii", "replace"))
        found = replace(found, domain=domain_tag(tags))
        found = replace(found, selector=selector_tag(tags))
        found = replace(found, algorithm=check_algorithm(tags))
        names, (header_form, body_form), length = _read(tags, found.domain, now)
        expected, signature = decode_octets(tags[b"bh"], "bh"), decode_octets(tags[b"b"], "b")
        public = fetch_key(lookup, found.domain, found.selector, found.algorithm)
        found = replace(found, bits=public.bits)
        _check_identity(tags, found.domain, public)
        check_body(parts, body_form, expected, length)
        check_signature(public, signature, signed_data(parts.fields, names, field, header_form))
        if length is not None and length < len(parts.canonical_body(body_form)):
            raise SignatureError("policy", "part of the body is not signed")
        if names.count(b"from") < sum(1 for one in parts.fields if one.name == b"from"):
            raise SignatureError("policy", "a From field is not signed")
    except SignatureError as error:
        return replace(found, result=cast("DkimWord", error.result), reason=error.reason)
    return replace(found, result="pass")


def _read(
    tags: dict[bytes, bytes], domain: str, now: int
) -> tuple[list[bytes], tuple[Canonicalization, Canonicalization], int | None]:
    """The signed names, the canonical forms and `l=`. Raises SignatureError for what a signature may not say."""
    if tags.get(b"v") != b"1":
        raise SignatureError("permerror", "v= is not 1")
    for tag in (b"b", b"bh", b"h"):
        if not tags.get(tag):
            raise SignatureError("permerror", f"{tag.decode()}= is missing")
    names = names_tag(tags)
    if b"from" not in names:
        raise SignatureError("permerror", "From is not signed")
    if b"dns/txt" not in (item.strip() for item in tags.get(b"q", b"dns/txt").split(b":")):
        raise SignatureError("permerror", "q= is not dns/txt")
    if b"i" in tags:
        host = tags[b"i"].rpartition(b"@")[2].decode("ascii", "replace").lower()
        if b"@" not in tags[b"i"] or not (host == domain or host.endswith("." + domain)):
            raise SignatureError("permerror", "i= is not of the domain in d=")
    signed_at, expires = number_tag(tags, "t"), number_tag(tags, "x")
    if expires is not None and signed_at is not None and expires < signed_at:
        raise SignatureError("permerror", "x= is before t=")
    if expires is not None and expires < now:
        raise SignatureError("fail", "the signature has expired")
    return names, forms_tag(tags.get(b"c", b"simple/simple")), number_tag(tags, "l")


def _check_identity(tags: dict[bytes, bytes], domain: str, public: PublicKey) -> None:
    """The key's flag `s`: no identities of subdomains (RFC 6376 §3.6.1)."""
    host = tags.get(b"i", b"@" + domain.encode("ascii")).rpartition(b"@")[2]
    if public.strict and host.decode("ascii", "replace").lower() != domain:
        raise SignatureError("permerror", "i= is of a subdomain, which the key forbids")
