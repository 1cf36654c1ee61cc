"""Which hosts take mail for a domain, in which order, and how connections to them must be protected.

RFC 5321 §5.1 (MX), RFC 7505 (null MX), RFC 7672 (DANE), RFC 8461 (MTA-STS). Nothing is connected to here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Final

from daimon_mcp.domain.routes import (
    Hop,
    MailLoop,
    NoSuchDomain,
    NullMx,
    PolicyFailed,
    Route,
    TemporaryFailure,
    Tlsa,
    TlsPolicy,
)
from daimon_mcp.resolver import Answer, MxRecord, NoSuchName, Resolver, ResolverError
from daimon_mcp.resolver import TemporaryFailure as NoAnswer
from daimon_mcp.resolver.names import canonical
from daimon_mcp.workers.mta_sts import MtaSts, StsPolicy

log = logging.getLogger(__name__)

MAX_HOSTS: Final = 10  # of one domain, the best ones: a stranger's list costs us look-ups for each
MAX_ADDRESSES: Final = 4  # of one host, so that the others get their turn

_HOST: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")  # RFC 1123 §2.1; it goes into TLS and logs


class Routing:
    """Finds routes. `hostname` is what this server is called, `own_addresses` where others reach it.

    `own_addresses` are IP addresses or networks; a host there is this server, and never a hop. `sts` None leaves
    MTA-STS out. `port` is where the hosts listen; its TLSA records are looked for at `_port._tcp`. `random` shuffles
    hosts of equal preference.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        hostname: str,
        own_addresses: Collection[str],
        sts: MtaSts | None,
        random: Random,
        port: int = 25,
    ) -> None:
        self._resolver = resolver
        self._hostname = hostname.rstrip(".").lower()
        self._own = tuple(ipaddress.ip_network(text, strict=False) for text in own_addresses)
        self._sts = sts
        self._random = random
        self._port = port

    async def route(self, domain: str) -> Route:
        """The hosts for `domain`, a name (U-labels too) or an address literal, best first.

        Raises NoSuchDomain, NullMx, MailLoop, TemporaryFailure or PolicyFailed.
        """
        if domain.startswith("["):
            return self._literal(domain)
        try:
            name = canonical(domain)
            mx = await self._resolver.mx(name)
        except NoSuchName as error:
            raise NoSuchDomain(str(error)) from error
        except NoAnswer as error:
            raise TemporaryFailure(str(error)) from error
        hosts = [record for record in mx.records if record.host != "."]
        if mx.records and not hosts:
            raise NullMx(f"{name} takes no mail: its MX record says so")
        # A domain without MX records is its own mail host.
        records = self._before_us(name, self._in_order(hosts) if hosts else [MxRecord(0, name)])
        policy = None if self._sts is None else await self._sts.policy(name)
        allowed = _allowed(name, records, policy)[:MAX_HOSTS]
        found = await asyncio.gather(*(self._hop(record.host, mx.secure, policy) for record in allowed))
        return Route(self._usable(name, list(zip(allowed, found, strict=True))))

    def _literal(self, literal: str) -> Route:
        """RFC 5321 §4.1.3."""
        inside = literal[1:-1] if literal.endswith("]") else ""
        six = inside[:5].lower() == "ipv6:"
        try:
            address = ipaddress.IPv6Address(inside[5:]) if six else ipaddress.IPv4Address(inside)
        except ValueError:
            raise NoSuchDomain(f"{literal[:100]!a} is no address literal") from None
        if self._is_own(str(address)):
            raise MailLoop(f"[{inside}] is this server, which has no inbox there")
        return Route((Hop(f"[{inside}]", (str(address),), self._port),))

    def _in_order(self, records: Iterable[MxRecord]) -> list[MxRecord]:
        """By preference, equal ones shuffled to spread the load, each host once."""
        shuffled = sorted(records, key=lambda record: record.host)  # so that one seed is one order
        self._random.shuffle(shuffled)
        shuffled.sort(key=lambda record: record.preference)
        best = {record.host: record for record in reversed(shuffled)}
        return [record for record in shuffled if best[record.host] is record]

    def _before_us(self, domain: str, records: Sequence[MxRecord]) -> list[MxRecord]:
        """Those preferred to this server, where it is one of them: mail to the others could come back to us."""
        limit = min((record.preference for record in records if record.host == self._hostname), default=None)
        better = [record for record in records if limit is None or record.preference < limit]
        if not better:
            raise _loop(domain)
        return better

    async def _hop(self, host: str, secure: bool, policy: StsPolicy | None) -> Hop | ResolverError:
        """A host with its addresses, or why it cannot be used, or not now."""
        try:
            return await self._find(host, secure, policy)
        except ResolverError as error:
            return error

    async def _find(self, host: str, secure: bool, policy: StsPolicy | None) -> Hop:
        if not _HOST.fullmatch(host) or _is_address(host):
            raise NoSuchName(f"{host[:100]!a} is not the name of a host")
        found = await self._resolver.addresses(host)
        if not found.records:
            raise NoSuchName(f"{host} has no address")
        name, tls = host, TlsPolicy()
        if policy is not None and policy.mode == "enforce":
            tls = TlsPolicy("mta-sts", policy.mx)
        if secure and (dane := await self._dane(host, found)) is not None:
            name, tls = dane[0], TlsPolicy("dane", tlsa=dane[1])  # before MTA-STS: RFC 8461 §2
        return Hop(name, found.records, self._port, tls)

    async def _dane(self, host: str, found: Answer[str]) -> tuple[str, tuple[Tlsa, ...]] | None:
        """The TLSA base domain and its records, as RFC 7672 §2.2 finds them; None where DANE does not apply.

        The base domain is the host after its aliases where they are all secure, else the host itself; it is also the
        name for SNI and for the certificate. Raises ResolverError when nobody could say: without an answer the host
        must not be used, because an attacker may have kept it back.
        """
        if found.secure:
            bases = tuple(dict.fromkeys((found.name, host)))
        elif found.name != host and (await self._resolver.cname(host)).secure:
            bases = (host,)
        else:
            return None  # nor is anything asked: servers of unsigned zones may choke on TLSA
        for base in bases:
            try:
                answer = await self._resolver.tlsa(f"_{self._port}._tcp.{base}")
            except NoSuchName:
                continue
            if answer.secure and answer.records:
                return base, answer.records
        return None

    def _usable(self, domain: str, found: Sequence[tuple[MxRecord, Hop | ResolverError]]) -> tuple[Hop, ...]:
        """The hops, up to the first that turns out to be this server under another name."""
        ours = [record.preference for record, hop in found if isinstance(hop, Hop) and self._is_us(hop)]
        better = [hop for record, hop in found if not ours or record.preference < min(ours)]
        if usable := [hop for hop in better if isinstance(hop, Hop)]:
            return tuple(replace(hop, addresses=hop.addresses[:MAX_ADDRESSES]) for hop in usable)
        for hop in better:
            if isinstance(hop, NoAnswer):
                raise TemporaryFailure(f"no mail host of {domain} could be found: {hop}")
        if ours:
            raise _loop(domain)
        raise NoSuchDomain(f"{domain} has no mail host (MX) with an address, nor one of its own")

    def _is_us(self, hop: Hop) -> bool:
        return any(self._is_own(address) for address in hop.addresses)

    def _is_own(self, address: str) -> bool:
        ip = ipaddress.ip_address(address)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._own)


def _allowed(domain: str, records: Sequence[MxRecord], policy: StsPolicy | None) -> list[MxRecord]:
    """The hosts that the domain's policy allows; all where it only tests (RFC 8461 §5)."""
    if policy is None or policy.mode == "none":
        return list(records)
    rule = TlsPolicy("mta-sts", policy.mx)
    allowed = [record for record in records if rule.allows(record.host)]
    if len(allowed) < len(records):
        others = ", ".join(ascii(record.host) for record in records if record not in allowed)[:300]
        log.warning("MX of %s not in its MTA-STS policy (mode %s): %s", domain, policy.mode, others)
    if policy.mode == "testing":
        return list(records)
    if not allowed:
        raise PolicyFailed(f"the MTA-STS policy that {domain} published allows none of its mail hosts (MX)")
    return allowed


def _loop(domain: str) -> MailLoop:
    return MailLoop(f"the mail host of {domain} is this server, which has no inboxes there")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
