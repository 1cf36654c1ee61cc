"""Validates an ARC chain: what the servers that passed a message on saw when it came to them (RFC 8617 §5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from daimon_mcp.mail.authentication.lookup import BoundedLookup
from daimon_mcp.mail.authentication.signatures import (
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
)
from daimon_mcp.mail.dkim_canonical import Field, Parts

MAX_INSTANCES = 50  # RFC 8617 §4.2.1
_RESULTS, _SIGNATURE, _SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"


@dataclass(frozen=True, slots=True)
class ArcResult:
    """The chain: its result, the domain that sealed it last, all of them from the first on, what the first of them
    recorded (the field's value behind `i=1;`), and why it does not pass."""

    result: Literal["none", "pass", "fail"]
    domain: str = ""
    sealers: tuple[str, ...] = ()
    first_results: bytes = field(default=b"", repr=False)
    reason: str = ""


@dataclass(slots=True)
class _Set:
    """The fields of one instance."""

    fields: dict[bytes, Field]
    tags: dict[bytes, dict[bytes, bytes]]
    results: bytes = b""


def verify_arc(parts: Parts, lookup: BoundedLookup) -> ArcResult:
    """The state of the chain. Never raises."""
    fields = [one for one in parts.fields if one.name in (_RESULTS, _SIGNATURE, _SEAL)]
    if not fields:
        return ArcResult("none")
    sealers: tuple[str, ...] = ()
    try:
        sets = _collect(fields)
        sealers = tuple(domain_tag(one.tags[_SEAL]) for one in sets)
        _check_seal_state(sets)
        _check_message(sets[-1], parts, lookup)
        for number in range(len(sets), 0, -1):
            _check_seal(sets[:number], lookup)
    except SignatureError as error:
        return ArcResult("fail", sealers[-1] if sealers else "", sealers, reason=error.reason)
    return ArcResult("pass", sealers[-1], sealers, sets[0].results)


def _collect(fields: Sequence[Field]) -> list[_Set]:
    """The sets in order. Raises SignatureError unless there are 1 to n, each with its three fields once."""
    if len(fields) > 3 * MAX_INSTANCES:
        raise SignatureError("permerror", "too many ARC sets")
    sets: dict[int, _Set] = {}
    for one in fields:
        if one.name == _RESULTS:
            first, _, results = one.value.partition(b";")
            tags = read_tags(first)
            if list(tags) != [b"i"]:
                raise SignatureError("permerror", "ARC-Authentication-Results without an instance")
        else:
            results, tags = b"", read_tags(one.value)
        instance = number_tag(tags, "i")
        if instance is None or not 1 <= instance <= MAX_INSTANCES:
            raise SignatureError("permerror", "i= is no instance")
        known = sets.setdefault(instance, _Set({}, {}))
        if one.name in known.fields:
            raise SignatureError("permerror", "an ARC field stands twice")
        known.fields[one.name] = one
        known.tags[one.name] = tags
        known.results = known.results or results
    ordered = [sets[number] for number in sorted(sets)]
    if sorted(sets) != list(range(1, len(sets) + 1)) or any(len(one.fields) != 3 for one in ordered):
        raise SignatureError("permerror", "an ARC set is not complete")
    return ordered


def _check_seal_state(sets: Sequence[_Set]) -> None:
    """`cv=` of every seal: none for the first, pass for the others."""
    for number, one in enumerate(sets):
        if one.tags[_SEAL].get(b"cv") != (b"pass" if number else b"none"):
            raise SignatureError("fail", "a seal says that the chain was broken")


def _check_message(last: _Set, parts: Parts, lookup: BoundedLookup) -> None:
    """The ARC-Message-Signature of the last set: a DKIM signature without `v=` (RFC 8617 §4.1.2)."""
    own, tags = last.fields[_SIGNATURE], last.tags[_SIGNATURE]
    algorithm = check_algorithm(tags)
    names = names_tag(tags)
    if _SEAL in names:
        raise SignatureError("permerror", "the ARC signature covers a seal")
    header_form, body_form = forms_tag(tags.get(b"c", b"simple/simple"))
    length = number_tag(tags, "l")
    number_tag(tags, "t")
    expected, signature = decode_octets(tags.get(b"bh", b""), "bh"), decode_octets(tags.get(b"b", b""), "b")
    public = fetch_key(lookup, domain_tag(tags), selector_tag(tags), algorithm)
    check_body(parts, body_form, expected, length)
    if length is not None and length < len(parts.canonical_body(body_form)):
        raise SignatureError("policy", "part of the body is not signed")
    check_signature(public, signature, signed_data(parts.fields, names, own, header_form))


def _check_seal(sets: Sequence[_Set], lookup: BoundedLookup) -> None:
    """The ARC-Seal of the last of these sets, which covers all of them (RFC 8617 §5.1.1)."""
    tags = sets[-1].tags[_SEAL]
    if b"h" in tags or b"bh" in tags:
        raise SignatureError("permerror", "a seal names fields")
    algorithm = check_algorithm(tags)
    number_tag(tags, "t")
    signature = decode_octets(tags.get(b"b", b""), "b")
    public = fetch_key(lookup, domain_tag(tags), selector_tag(tags), algorithm)
    covered: list[Field] = []
    for one in sets:
        covered += [one.fields[_RESULTS], one.fields[_SIGNATURE]]
        if one is not sets[-1]:
            covered.append(one.fields[_SEAL])
    names = [one.name for one in covered]
    # `signed_data` takes equal names from the bottom up: the sets are given with the oldest last.
    data = signed_data(covered[::-1], names, sets[-1].fields[_SEAL], "relaxed")
    check_signature(public, signature, data)
