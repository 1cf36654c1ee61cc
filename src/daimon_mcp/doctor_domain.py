"""`daimon-mcp doctor --domain NAME`: a domain as the rest of the world sees it, and what to do about what is not right.

Asks the DNS by the name servers of the configuration, and fetches the MTA-STS policy. All that it may change is that
the server makes keys for a domain of its configuration that has none.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from daimon_mcp.doctor import Finding
from daimon_mcp.domain.domains import (
    TOKEN_PREFIX,
    Checked,
    DnsRecord,
    PublicKey,
    Purpose,
    RecordState,
    clean_name,
    is_local_name,
    mail_records,
    ownership_record,
    read_tags,
)
from daimon_mcp.faces.cli.client import CommandFailed, ask
from daimon_mcp.operations import domain_checks
from daimon_mcp.operations.credentials import WrongMasterKey
from daimon_mcp.operations.domain_views import explanation
from daimon_mcp.settings import Settings
from daimon_mcp.store.migrations import SchemaTooNew
from daimon_mcp.texts import Texts

if TYPE_CHECKING:
    from daimon_mcp.resolver import Resolver

_TITLES = {
    Purpose.OWNERSHIP: "ownership record",
    Purpose.MX: "MX",
    Purpose.SPF: "SPF",
    Purpose.DKIM: "DKIM key",
    Purpose.DMARC: "DMARC",
}


def examine_domain(settings: Settings, text: str) -> list[Finding]:
    """Look at one domain. A record that is only recommended is no failure when it is missing."""
    name = clean_name(text)
    if name is None or is_local_name(name):
        advice = "Name a domain that others can look up, such as agents.example.com."
        return [Finding(False, "that is no domain that others can look up", advice)]
    found, ownership, keys = _known(settings, name)
    return [*found, *asyncio.run(_examine(settings, name, ownership, keys))]


def examine_name(settings: Settings) -> list[Finding]:
    """Look at this server's own name: its addresses, and what they are called."""

    async def look() -> list[Finding]:
        return [finding async for finding in _guarded(_own_name(_resolver(settings), settings))]

    return asyncio.run(look())


def _resolver(settings: Settings) -> Resolver:
    from daimon_mcp.resolver import Resolver

    dns = settings.dns
    return Resolver(dns.nameservers, timeout=float(dns.timeout_seconds), trusts_ad=dns.trusts_ad)


def _known(settings: Settings, name: str) -> tuple[list[Finding], list[DnsRecord], list[PublicKey]]:
    """What the server itself has for the domain: the proof it waits for, and the keys it signs with."""
    if not (settings.data_dir / "master.key").exists():
        return [Finding(True, "no server was started yet: nothing is known of keys")], [], []
    try:
        view: dict[str, Any] = ask(settings, "domain.show", domain=name)
    except (CommandFailed, SchemaTooNew, WrongMasterKey, sqlite3.Error, OSError) as error:
        advice = f"To use it: daimon-mcp domain add {name}"
        return [Finding(False, f"the server: {error}", advice)], [], []
    ownership: list[DnsRecord] = []
    keys: list[PublicKey] = []
    for record in view["dns_records"]:
        if record["purpose"] == Purpose.OWNERSHIP:
            ownership.append(ownership_record(name, record["value"].removeprefix(TOKEN_PREFIX)))
        elif record["purpose"] == Purpose.DKIM:
            kind = read_tags(record["value"])["k"]
            selector = record["name"].removesuffix(f"._domainkey.{name}")
            keys.append(PublicKey(selector, f"{kind}-sha256", record["value"], 0))
    return [Finding(True, f"{name} is known to this server: {view['status']}")], ownership, keys


async def _examine(
    settings: Settings, name: str, ownership: Sequence[DnsRecord], keys: Sequence[PublicKey]
) -> list[Finding]:
    resolver = _resolver(settings)
    hostname = settings.smtp_hostname
    records = [*ownership, *mail_records(name, hostname=hostname, keys=keys)]
    texts = Texts(settings.operator.prompts_dir)
    checked = await domain_checks.check_all(resolver, records, hostname=hostname)
    found = [_record(each, texts, hostname) for each in checked]
    for more in (_spf_lookups(resolver, name), _policies(resolver, name), _own_name(resolver, settings)):
        found += [finding async for finding in _guarded(more)]
    return [*found, _port(settings)]


def _record(checked: Checked, texts: Texts, hostname: str) -> Finding:
    record = checked.record
    title = f"{_TITLES[record.purpose]} {record.name}: {checked.state}"
    if checked.state is RecordState.OK:
        return Finding(True, title)
    seen = "".join(f'; found "{each}"' for each in checked.found)
    priority = f"{record.priority} " if record.priority is not None else ""
    advice = f"{explanation(checked, texts, hostname)} Wanted: {record.type} {priority}{record.value}"
    return Finding(not record.required and checked.state is not RecordState.WRONG, title + seen, advice)


async def _guarded(findings: AsyncGenerator[Finding]) -> AsyncGenerator[Finding]:
    """What a look finds until the DNS fails it."""
    from daimon_mcp.resolver import ResolverError

    try:
        async for finding in findings:
            yield finding
    except ResolverError as error:
        yield Finding(False, f"the DNS gave no answer: {error}", "Try again, and check [dns] nameservers.")


async def _spf_lookups(resolver: Resolver, name: str) -> AsyncGenerator[Finding]:
    from daimon_mcp.mail.authentication.spf_record import RecordError, is_record, read_record

    texts = [text.encode("utf-8", "replace") for text in await domain_checks.texts_at(resolver, name)]
    policies = [text for text in texts if is_record(text)]
    if len(policies) != 1:
        return
    try:
        count = await domain_checks.spf_lookups(resolver, read_record(policies[0]))
    except RecordError:
        return
    fine = count <= domain_checks.MOST_SPF_LOOKUPS
    yield Finding(fine, f"SPF needs {count if fine else 'more than 10'} of the 10 DNS lookups that are allowed")


async def _policies(resolver: Resolver, name: str) -> AsyncGenerator[Finding]:
    """MTA-STS and TLS reports: none is no failure, one that does not work is."""
    from daimon_mcp.workers.mta_sts import BadPolicy, parse, read_id
    from daimon_mcp.workers.sts_fetch import HttpsFetch

    version = read_id(tuple(await domain_checks.texts_at(resolver, f"_mta-sts.{name}")))
    if version is None:
        yield Finding(True, "MTA-STS: none", "It makes other servers insist on TLS; see RFC 8461 if you want that.")
    else:
        try:
            policy = parse(await HttpsFetch(resolver, seconds=15)(name), id=version, now=0)
        except BadPolicy as error:
            advice = f"Serve https://mta-sts.{name}/.well-known/mta-sts.txt, or take out the record _mta-sts.{name}."
            yield Finding(False, f"MTA-STS: the policy cannot be used: {error}", advice)
        else:
            hosts = [mx.host.lower().rstrip(".") for mx in await domain_checks.mail_hosts(resolver, name)]
            missing = [host for host in hosts if not any(_matches(host, pattern) for pattern in policy.mx)]
            advice = "Add them to the policy, and change the id in the record." if missing else ""
            listed = f", does not list {', '.join(missing)}" if missing else ""
            yield Finding(not missing or policy.mode == "none", f"MTA-STS: mode {policy.mode}{listed}", advice)
    reports = [text for text in await domain_checks.texts_at(resolver, f"_smtp._tls.{name}") if "TLSRPTv1" in text]
    yield Finding(True, f"TLS reports: {'asked for' if reports else 'none'}")


def _matches(host: str, pattern: str) -> bool:
    """RFC 8461 §4.1: a wildcard stands for one label."""
    return host.partition(".")[2] == pattern[2:] if pattern.startswith("*.") else host == pattern


async def _own_name(resolver: Resolver, settings: Settings) -> AsyncGenerator[Finding]:
    """This server's name: its addresses, and whether they lead back to it (RFC 5321 §4.1.4, RFC 1912 §2.1)."""
    from daimon_mcp.resolver import NoSuchName

    hostname = settings.smtp_hostname
    if is_local_name(hostname):
        advice = "Set [smtp] hostname to a name that leads to this machine's public address."
        yield Finding(False, f"this server calls itself {hostname}, which others cannot look up", advice)
        return
    addresses = await domain_checks.addresses_of(resolver, hostname)
    if not addresses:
        yield Finding(
            False, f"{hostname} has no address", "Publish an A record (and AAAA) for it, or no mail comes in."
        )
        return
    yield Finding(True, f"{hostname} is at {', '.join(addresses)}")
    for address in addresses:
        try:
            names = [each.lower().rstrip(".") for each in (await resolver.ptr(address)).records]
        except NoSuchName:
            names = []
        back = [each for each in names[:5] if address in await domain_checks.addresses_of(resolver, each)]
        advice = f"Have the provider of {address} set its PTR record to {hostname}; many refuse mail without one."
        if not names:
            yield Finding(False, f"{address} has no name (PTR)", advice)
        elif not back:
            yield Finding(False, f"{address} is called {names[0]}, which does not lead back to it", advice)
        else:
            same = hostname in back
            yield Finding(True, f"{address} is called {back[0] if not same else hostname}", "" if same else advice)


def _port(settings: Settings) -> Finding:
    smtp = settings.smtp
    hostname = settings.smtp_hostname
    if not smtp.inbound:
        return Finding(True, "inbound SMTP is off: mail has to come in by another way", "Set [smtp] inbound = true.")
    where = f"this server listens on {smtp.inbound_host}:{smtp.inbound_port}"
    forward = "" if smtp.inbound_port == 25 else f" Port 25 of {hostname} has to be led to it."
    advice = f"Others come to port 25.{forward} Try it from another network: nc -v {hostname} 25"
    return Finding(True, where, advice)
