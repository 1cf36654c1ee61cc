"""Looks into the DNS whether what a domain needs is published there. Decides nothing, stores nothing.

Values that are found are strangers' words: they are cut, and are data wherever they are shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from daimon_mcp.domain.domains import (
    TOKEN_PREFIX,
    Checked,
    DnsRecord,
    Purpose,
    RecordState,
    read_tags,
)

if TYPE_CHECKING:
    from daimon_mcp.mail.authentication.spf_record import Record
    from daimon_mcp.resolver import MxRecord, Resolver

MOST_FOUND: Final = 5  # values of one record that are told
LONGEST_FOUND: Final = 300
MOST_SPF_LOOKUPS: Final = 10  # RFC 7208 §4.6.4
MOST_SECONDS: Final = 25.0  # for one record: an SPF policy may lead to many slow name servers
_DEEPEST: Final = 30  # records read to count them: more than that is beyond every limit


async def check_all(resolver: Resolver, records: Sequence[DnsRecord], *, hostname: str) -> list[Checked]:
    """Each record beside what the DNS has now; asked together, past the resolver's cache. Never raises for DNS."""
    return list(await asyncio.gather(*(_check(resolver, record, hostname) for record in records)))


async def _check(resolver: Resolver, record: DnsRecord, hostname: str) -> Checked:
    from daimon_mcp.resolver import TemporaryFailure

    try:
        async with asyncio.timeout(MOST_SECONDS):
            return await _compared(resolver, record, hostname)
    except (TemporaryFailure, TimeoutError):
        return Checked(record)


async def _compared(resolver: Resolver, record: DnsRecord, hostname: str) -> Checked:
    if record.purpose is Purpose.MX:
        return _mx(record, await mail_hosts(resolver, record.name))
    texts = await texts_at(resolver, record.name)
    match record.purpose:
        case Purpose.OWNERSHIP:
            return _ownership(record, texts)
        case Purpose.DKIM:
            return _dkim(record, texts)
        case Purpose.DMARC:
            return await _dmarc(resolver, record, texts)
        case Purpose.SPF:
            return await _spf(resolver, record, texts, hostname)


async def texts_at(resolver: Resolver, name: str) -> list[str]:
    """The TXT records of a name, none where it does not exist. Raises TemporaryFailure."""
    from daimon_mcp.resolver import NoSuchName

    try:
        resolver.forget(name, "TXT")
        return list((await resolver.txt(name)).records)
    except NoSuchName:
        return []


async def mail_hosts(resolver: Resolver, name: str) -> list[MxRecord]:
    """The MX records of a name, best first, none where it does not exist. Raises TemporaryFailure."""
    from daimon_mcp.resolver import NoSuchName

    try:
        resolver.forget(name, "MX")
        return sorted((await resolver.mx(name)).records, key=lambda mx: (mx.preference, mx.host))
    except NoSuchName:
        return []


async def addresses_of(resolver: Resolver, name: str) -> list[str]:
    """The addresses of a host, none where it does not exist. Raises TemporaryFailure."""
    from daimon_mcp.resolver import NoSuchName

    try:
        for kind in ("A", "AAAA"):
            resolver.forget(name, kind)
        return list((await resolver.addresses(name)).records)
    except NoSuchName:
        return []


def _told(texts: Sequence[str]) -> tuple[str, ...]:
    """Values fit to be shown: few, short, of characters that can be printed."""
    return tuple("".join(c if c.isprintable() else "?" for c in text[:LONGEST_FOUND]) for text in texts[:MOST_FOUND])


def _ownership(record: DnsRecord, texts: Sequence[str]) -> Checked:
    tokens = [text.strip() for text in texts if text.strip().lower().startswith(TOKEN_PREFIX)]
    if record.value in tokens:
        return Checked(record, RecordState.OK, (record.value,))
    return Checked(record, RecordState.WRONG if texts else RecordState.MISSING, _told(tokens or texts))


def _mx(record: DnsRecord, found: Sequence[MxRecord]) -> Checked:
    shown = _told([f"{mx.preference} {mx.host}" for mx in found])
    if not found:
        return Checked(record, RecordState.MISSING)
    if not any(mx.host.lower().rstrip(".") == record.value for mx in found):
        return Checked(record, RecordState.WRONG, shown, "refuses" if found[0].host == "." else "elsewhere")
    best = [mx.host.lower().rstrip(".") for mx in found if mx.preference == found[0].preference]
    if record.value not in best:
        return Checked(record, RecordState.WRONG, shown, "not_first")
    return Checked(record, RecordState.OK, shown)


def _dkim(record: DnsRecord, texts: Sequence[str]) -> Checked:
    if not texts:
        return Checked(record, RecordState.MISSING)
    wanted = read_tags(record.value)
    if len(texts) > 1:
        return Checked(record, RecordState.WRONG, _told(texts), "several")
    tags = read_tags(texts[0])
    key = "".join(tags.get("p", "").split())  # RFC 6376 §3.6.1: white space in it means nothing
    if key == wanted["p"] and tags.get("k", "rsa").lower() == wanted["k"]:
        return Checked(record, RecordState.OK, _told(texts))
    return Checked(record, RecordState.WRONG, _told(texts), "" if key else "revoked")


async def _dmarc(resolver: Resolver, record: DnsRecord, texts: Sequence[str]) -> Checked:
    """A policy of the organization's domain holds too (RFC 7489 §6.6.3)."""
    from daimon_mcp.mail.url_facts import registrable_domain

    found = [text for text in texts if is_dmarc(text)]
    above = registrable_domain(record.name.removeprefix("_dmarc."))
    if not found and f"_dmarc.{above}" != record.name:
        found = [text for text in await texts_at(resolver, f"_dmarc.{above}") if is_dmarc(text)]
    if not found:
        return Checked(record, RecordState.MISSING)
    if len(found) > 1:
        return Checked(record, RecordState.WRONG, _told(found), "several")
    proper = read_tags(found[0]).get("p", "").lower() in ("none", "quarantine", "reject")
    return Checked(record, RecordState.OK if proper else RecordState.WRONG, _told(found))


def is_dmarc(text: str) -> bool:
    """Whether a TXT record claims to be a DMARC policy."""
    name, _, value = text.partition(";")[0].partition("=")
    return name.strip().lower() == "v" and value.strip() == "DMARC1"


async def _spf(resolver: Resolver, record: DnsRecord, texts: Sequence[str], hostname: str) -> Checked:
    from daimon_mcp.mail.authentication.spf_record import RecordError, is_record, read_record

    found = [text for text in texts if is_record(text.encode("utf-8", "replace"))]
    if not found:
        return Checked(record, RecordState.MISSING)
    if len(found) > 1:
        return Checked(record, RecordState.WRONG, _told(found), "several")
    try:
        policy = read_record(found[0].encode("utf-8", "replace"))
    except RecordError:
        return Checked(record, RecordState.WRONG, _told(found), "broken")
    if await spf_lookups(resolver, policy) > MOST_SPF_LOOKUPS:
        return Checked(record, RecordState.WRONG, _told(found), "lookups")
    addresses = await addresses_of(resolver, hostname)
    if not all([await spf_passes(resolver, record.name, address, hostname) for address in addresses]):
        return Checked(record, RecordState.WRONG, _told(found))
    return Checked(record, RecordState.OK, _told(found))


async def spf_lookups(resolver: Resolver, policy: Record) -> int:
    """How many of the ten lookups that SPF allows a policy may need, with all it includes. Raises TemporaryFailure."""
    from daimon_mcp.mail.authentication.spf_record import RecordError, is_record, read_record

    count, waiting, read = 0, [policy], 0
    while waiting and read < _DEEPEST:
        current, read = waiting.pop(), read + 1
        named = [each.domain for each in current.directives if each.mechanism == "include"]
        named += [current.redirect] if current.redirect else []
        count += sum(each.mechanism in ("include", "a", "mx", "ptr", "exists") for each in current.directives)
        count += bool(current.redirect)
        if count > MOST_SPF_LOOKUPS:
            break
        for name in named:
            if "%" in name:  # a macro: which domain it is depends on the mail
                continue
            texts = [text.encode("utf-8", "replace") for text in await texts_at(resolver, name)]
            for text in [each for each in texts if is_record(each)][:1]:
                try:
                    waiting.append(read_record(text))
                except RecordError:
                    continue
    return count


async def spf_passes(resolver: Resolver, domain: str, address: str, hostname: str) -> bool:
    """Whether the published policy of `domain` lets `address` send for it, under the name `hostname`."""
    from daimon_mcp.mail.authentication.lookup import BoundedLookup
    from daimon_mcp.mail.authentication.spf import check_spf
    from daimon_mcp.operations.authenticating import ResolverLookup
    from daimon_mcp.resolver import Threaded

    lookup = BoundedLookup(ResolverLookup(Threaded(resolver, asyncio.get_running_loop())))
    result = await asyncio.to_thread(check_spf, address, hostname, f"postmaster@{domain}", lookup)
    return result.result == "pass"
