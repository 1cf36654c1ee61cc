"""DMARC (RFC 7489): does what SPF and DKIM proved belong to the author's domain, and what does that domain ask for?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from daimon_mcp.mail.address_headers import read_addresses
from daimon_mcp.mail.authentication.dkim import DkimResult
from daimon_mcp.mail.authentication.lookup import BoundedLookup, LookupFailed, ascii_domain
from daimon_mcp.mail.authentication.spf import SpfResult
from daimon_mcp.mail.dkim_canonical import Parts
from daimon_mcp.mail.url_facts import registrable_domain

Policy = Literal["none", "quarantine", "reject"]
DmarcWord = Literal["none", "pass", "fail", "temperror", "permerror"]

_VERSION = re.compile(rb"\s*v\s*=\s*DMARC1\s*(?:;|\Z)")
_LOWER: dict[Policy, Policy] = {"reject": "quarantine", "quarantine": "none", "none": "none"}


@dataclass(frozen=True, slots=True)
class Author:
    """The domain of From (ASCII), or "" and why there is not just one: `missing` or `several`."""

    domain: str = ""
    problem: Literal["", "missing", "several"] = ""


@dataclass(frozen=True, slots=True)
class DmarcPolicy:
    """What the author's domain publishes. `state` is none without a record; `domain` is where it was found, `asked`
    what holds for the author's domain, `percent` for how much of its mail."""

    state: Literal["found", "none", "temperror", "permerror"]
    domain: str = ""
    asked: Policy = "none"
    percent: int = 100
    strict_spf: bool = False
    strict_dkim: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """`policy` is what the author's domain asks to be done with this message: none unless the result is fail.
    `published` is its policy before `pct=`, None without a record. `aligned`: SPF or DKIM proved the author's domain
    or its organization, with or without a record."""

    result: DmarcWord
    domain: str = ""
    policy: Policy = "none"
    published: Policy | None = None
    aligned: bool = False
    reason: str = ""


def find_author(parts: Parts) -> Author:
    """The author's domain (RFC 7489 §6.6.1). Several From fields or domains are a trick, and no author."""
    fields = [one for one in parts.fields if one.name == b"from"]
    if not fields:
        return Author(problem="missing")
    addresses = [address for one in fields for address in read_addresses(one.value)]
    domains = {ascii_domain(address.email.rpartition("@")[2]) for address in addresses if "@" in address.email}
    if len(fields) > 1 or len(domains) > 1:
        return Author(problem="several")
    domain = next(iter(domains), "")
    return Author(domain) if domain else Author(problem="missing")


def fetch_policy(domain: str, lookup: BoundedLookup) -> DmarcPolicy:
    """The record of a domain, or of its organization (RFC 7489 §6.6.3). Never raises."""
    if not domain:
        return DmarcPolicy("none")
    organization = registrable_domain(domain)
    for place in dict.fromkeys((domain, organization)):
        try:
            records = [text for text in lookup.texts(f"_dmarc.{place}") if _VERSION.match(text)]
        except LookupFailed:
            return DmarcPolicy("temperror", reason="DNS gave no answer")
        if len(records) > 1:
            return DmarcPolicy("none", reason="more than one record")
        if records:
            return _read_record(records[0], place, inherited=place != domain)
    return DmarcPolicy("none")


def _read_record(text: bytes, place: str, *, inherited: bool) -> DmarcPolicy:
    """A record (RFC 7489 §6.3). What is wrong in it counts as not written; without a policy it is a request for
    reports where it names an address for them, and else an error."""
    tags: dict[str, str] = {}
    for item in text.decode("ascii", "replace").split(";", 50):
        name, equals, value = item.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    policy, below = _policy(tags.get("p")), _policy(tags.get("sp"))
    if policy is None or (below is None and "sp" in tags):
        if "mailto:" not in tags.get("rua", "").lower():
            return DmarcPolicy("permerror", place, reason="the record has no policy")
        policy, below = "none", "none"
    percent = tags.get("pct", "100")
    return DmarcPolicy(
        "found",
        place,
        (below or policy) if inherited else policy,
        int(percent) if percent.isdecimal() and len(percent) <= 3 and int(percent) <= 100 else 100,
        strict_spf=tags.get("aspf", "r").lower() == "s",
        strict_dkim=tags.get("adkim", "r").lower() == "s",
    )


def _policy(value: str | None) -> Policy | None:
    text = (value or "").lower()
    return text if text in _LOWER else None


def is_aligned(domain: str, author: str, *, strict: bool) -> bool:
    """Whether a proven domain is the author's, or (unless strict) of the same organization (RFC 7489 §3.1)."""
    if not domain or not author:
        return False
    return domain == author or (not strict and registrable_domain(domain) == registrable_domain(author))


def evaluate_dmarc(
    author: Author, policy: DmarcPolicy, spf: SpfResult, dkim: Sequence[DkimResult], *, sample: int
) -> DmarcResult:
    """The result for a message. `sample`, 0 to 99, decides whether it is among the `pct=` that the policy is for:
    the same message must have the same one each time."""
    if author.problem:
        reason = "several domains in From" if author.problem == "several" else "no domain in From"
        return DmarcResult("permerror", reason=reason)
    domain = author.domain
    spf_counts = is_aligned(spf.domain, domain, strict=policy.strict_spf)
    words = {one.result for one in dkim if is_aligned(one.domain, domain, strict=policy.strict_dkim)}
    if spf_counts:
        words.add("pass" if spf.result == "pass" else "temperror" if spf.result == "temperror" else "fail")
    aligned = "pass" in words
    if policy.state != "found":
        return DmarcResult(policy.state, domain, aligned=aligned, reason=policy.reason)
    if aligned:
        return DmarcResult("pass", domain, published=policy.asked, aligned=True)
    if "temperror" in words:
        return DmarcResult("temperror", domain, published=policy.asked, reason="DNS gave no answer")
    asked = policy.asked if sample < policy.percent else _LOWER[policy.asked]
    return DmarcResult("fail", domain, asked, policy.asked, reason="neither SPF nor DKIM passed for the domain in From")
