"""All checks of one message, and what they come to."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.mail.authentication.arc import ArcResult, verify_arc
from daimon_mcp.mail.authentication.dkim import DkimResult, verify_dkim
from daimon_mcp.mail.authentication.dmarc import DmarcResult, Policy, evaluate_dmarc, fetch_policy, find_author
from daimon_mcp.mail.authentication.lookup import BoundedLookup, Lookup
from daimon_mcp.mail.authentication.results import read_results, results_header
from daimon_mcp.mail.authentication.spf import SpfResult, check_spf
from daimon_mcp.mail.dkim_canonical import take_apart

Verdict = Literal["pass", "fail", "none", "temperror"]


@dataclass(frozen=True, slots=True)
class Authentication:
    """What is known of where a message comes from.

    `verdict`: pass when the domain in From is proven, fail when it is forged as far as its owner says (or From names
    several), none when nobody can say, temperror when DNS did not answer. `policy` is what the owner asks to be done
    with a forged one. `author_domain` is "" where From has none. `forwarder` is the trusted server on whose word a
    message passes that DMARC alone would fail. `header` is our Authentication-Results field with its CRLF.
    """

    verdict: Verdict
    policy: Policy
    author_domain: str
    spf: SpfResult
    dkim: tuple[DkimResult, ...]
    dmarc: DmarcResult
    arc: ArcResult
    forwarder: str
    header: bytes


def authenticate(
    content: bytes,
    peer_ip: str,
    helo: str,
    mail_from: str,
    *,
    lookup: Lookup,
    authserv_id: str,
    now: int,
    trusted_sealers: Collection[str] = (),
) -> Authentication:
    """Check a message as it came in, from `peer_ip` with this HELO and reverse-path ("" for the null sender).

    `now` is epoch µs; `trusted_sealers` are domains whose ARC chains may outweigh a DMARC fail. For a worker thread:
    it waits for DNS, MAX_SECONDS and one lookup at most. Never raises for anything in the message or in DNS.
    """
    parts = take_apart(content)
    bounded = BoundedLookup(lookup)
    author = find_author(parts)
    # What a sender can make slow is asked last, so that it cannot keep the owner's policy from being found.
    policy = fetch_policy(author.domain, bounded)
    dkim = verify_dkim(parts, bounded, now=now // SECOND, author_domain=author.domain)
    spf = check_spf(peer_ip, helo, mail_from, bounded)
    arc = verify_arc(parts, bounded)
    dmarc = evaluate_dmarc(author, policy, spf, dkim, sample=zlib.crc32(content) % 100)
    forwarder = arc.domain if dmarc.result == "fail" and _vouched(arc, author.domain, trusted_sealers) else ""
    verdict: Verdict
    if dmarc.result == "fail" or author.problem == "several":
        verdict = "pass" if forwarder else "fail"
    elif dmarc.result == "temperror":
        verdict = "temperror"
    else:
        verdict = "pass" if dmarc.aligned else "none"
    return Authentication(
        verdict=verdict,
        policy="none" if forwarder else dmarc.policy,
        author_domain=author.domain,
        spf=spf,
        dkim=dkim,
        dmarc=dmarc,
        arc=arc,
        forwarder=forwarder,
        header=results_header(authserv_id, spf, dkim, dmarc, arc),
    )


def _vouched(arc: ArcResult, author_domain: str, trusted: Collection[str]) -> bool:
    """Whether every server of an intact chain is trusted, and the first of them saw DMARC pass for this author."""
    if arc.result != "pass" or not all(sealer in trusted for sealer in arc.sealers):
        return False
    _, statements = read_results(arc.first_results)
    return any(
        one.method == "dmarc"
        and one.result == "pass"
        and one.properties.get("header.from", "").lower() == author_domain
        for one in statements
    )
