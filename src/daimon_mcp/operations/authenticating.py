"""Who really sent a mail: SPF, DKIM, DMARC and ARC of mail from other servers, on threads of their own."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from daimon_mcp.domain.clock import Clock
from daimon_mcp.domain.envelopes import Peer

if TYPE_CHECKING:
    from daimon_mcp.mail.authentication.verdict import Authentication
    from daimon_mcp.resolver import MxRecord, Resolver, Threaded

_THREADS = 8  # each waits for DNS most of the time; a slow domain holds up an eighth of this work and no other


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a message's sender: facts for the message, our header line, whether it is to be held."""

    facts: dict[str, Any]
    header: bytes
    quarantine: bool


class Authenticator:
    """Evaluates mail from outside. Mail of `trusted_networks` is taken at its word."""

    def __init__(
        self,
        resolving: Callable[[], Resolver],
        *,
        authserv_id: str,
        trusted_networks: Sequence[str],
        trusted_sealers: Collection[str],
        quarantines: bool,
        clock: Clock,
    ) -> None:
        self._resolving = resolving
        self._authserv_id = authserv_id
        self._trusted = [ipaddress.ip_network(each) for each in trusted_networks]
        self._sealers = frozenset(trusted_sealers)
        self._quarantines = quarantines
        self._clock = clock
        self._threads: ThreadPoolExecutor | None = None

    def trusts(self, address: str) -> bool:
        """Whether a peer's mail is not evaluated; one without an IP address is on this machine."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return True
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._trusted)

    async def authenticate(self, content: bytes, peer: Peer, mail_from: str) -> Known | None:
        """What is known; None for a peer whose word is taken. Takes 20 seconds at most, and never raises for DNS."""
        if self.trusts(peer.address):
            return None
        from daimon_mcp.mail.authentication.verdict import authenticate
        from daimon_mcp.resolver import Threaded

        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="authentication")
        loop = asyncio.get_running_loop()
        work = partial(
            authenticate,
            content,
            peer.address.partition("%")[0],
            peer.helo,
            mail_from,
            lookup=ResolverLookup(Threaded(self._resolving(), loop)),
            authserv_id=self._authserv_id,
            now=self._clock.now(),
            trusted_sealers=self._sealers,
        )
        found = await loop.run_in_executor(self._threads, work)
        forged = found.verdict == "fail" and found.policy in ("quarantine", "reject")
        return Known(_facts(found), found.header, forged and self._quarantines)

    def without_forged(self, content: bytes) -> bytes:
        """`content` without Authentication-Results fields that claim to be ours (RFC 8601 §5)."""
        if b"authentication-results" not in content[:_LOOKED_AT].lower():
            return content
        from daimon_mcp.mail.authentication.results import remove_forged

        return remove_forged(content, self._authserv_id)


_LOOKED_AT = 262_144


class ResolverLookup:
    """Our resolver, as the checks ask it from their threads."""

    def __init__(self, resolver: Threaded) -> None:
        self._resolver = resolver

    def __call__(self, name: str, type: str) -> Sequence[bytes | str]:
        from daimon_mcp.mail.authentication.lookup import LookupFailed
        from daimon_mcp.resolver import NoSuchName, ResolverError

        try:
            records = self._resolver.query(name, cast("Any", type)).records
        except NoSuchName:
            return []
        except ResolverError as error:
            raise LookupFailed(str(error)) from None
        if type == "MX":
            found = sorted(cast("Sequence[MxRecord]", records), key=lambda record: record.preference)
            return [record.host for record in found]
        return cast("Sequence[bytes | str]", records)


def _facts(found: Authentication) -> dict[str, Any]:
    """As messages show it. Domains are the sender's words, checked to be names."""
    good = list(dict.fromkeys(one.domain for one in found.dkim if one.result == "pass"))
    return {
        "spf": found.spf.result,
        "spf_domain": found.spf.domain or None,
        "dkim": "pass" if good else found.dkim[0].result if found.dkim else "none",
        "dkim_domains": good,
        "dmarc": found.dmarc.result,
        "policy": found.policy,
        "arc": found.arc.result,
        "forwarder": found.forwarder or None,
        "verdict": found.verdict,
    }
