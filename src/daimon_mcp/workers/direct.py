"""Straight to the mail hosts of a domain (RFC 5321 §5), as well protected as the domain asks for."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from daimon_mcp.domain.queue import Attempt, Handover
from daimon_mcp.domain.routes import Hop, MailLoop, NoSuchDomain, NullMx, PolicyFailed, Route, RoutingError, Tlsa
from daimon_mcp.mail.addresses import normalise
from daimon_mcp.workers import dane
from daimon_mcp.workers.delivery import ANSWER_SECONDS, Courier
from daimon_mcp.workers.pool import Pool
from daimon_mcp.workers.smtp_client import Way
from daimon_mcp.workers.smtp_reply import Answerer
from daimon_mcp.workers.smtp_transaction import Ended, OnContent

CONNECT_SECONDS: Final = 20.0  # for each address: a dead one must not use up the time of the others
IDLE_SECONDS: Final = 5.0  # a stranger's server is not kept busy with nothing
MAX_ADDRESSES: Final = 10  # tried for one message: a domain may name any number of addresses, and anybody's

_REFUSALS: Final[Mapping[type[RoutingError], tuple[int, str]]] = {
    NoSuchDomain: (550, "5.1.2"),
    NullMx: (556, "5.1.10"),  # RFC 7505 §4.2, RFC 7504
    MailLoop: (554, "5.4.6"),
}


class Routing(Protocol):
    """Finds the mail hosts of a domain."""

    async def route(self, domain: str) -> Route:
        """Where mail for a domain (A-labels, lower case) or an address literal goes. Raises RoutingError."""
        ...


class Direct:
    """Mail for a domain goes to its MX hosts, best first, address by address. Belongs to one event loop.

    A host that cannot be reached, does not let us in or says 421 passes the message to the next, until content was
    written. `hostname` is what we call ourselves. At most `max_connections` are open for each domain; each is kept 5 s
    for the next message. `tls_context` verifies certificates for MTA-STS; without it the system's count.
    """

    def __init__(
        self,
        *,
        routing: Routing,
        hostname: str,
        timeout: float = 60.0,
        answer_timeout: float = ANSWER_SECONDS,
        connect_timeout: float = CONNECT_SECONDS,
        max_connections: int = 5,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self._routing = routing
        self._verifying = tls_context or ssl.create_default_context()
        self._trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._trusting.check_hostname = False
        self._trusting.verify_mode = ssl.CERT_NONE
        self._pool = Pool(max_connections=max_connections, idle_seconds=IDLE_SECONDS)
        self._courier = Courier(
            self._pool,
            hostname=hostname,
            timeout=timeout,
            answer_timeout=answer_timeout,
            connect_timeout=connect_timeout,
            ours=False,
        )

    @property
    def only(self) -> None:
        """Mail goes to many places."""
        return

    def destination(self, recipient: str) -> str:
        """The domain of an address, A-labels in lower case; `[192.0.2.1]` for a literal."""
        return normalise(recipient).rpartition("@")[2]

    async def relay(
        self, destination: str, handover: Handover, *, on_content: OnContent | None = None
    ) -> dict[str, Attempt]:
        """As `Transport.relay`; takes 240 s and the time of the last answer at most."""
        return await self._courier.carry(
            handover,
            destination=destination,
            remote=destination,
            ways=partial(self._ways, destination),
            on_content=on_content,
        )

    async def close(self) -> None:
        """Say QUIT on kept connections and end them, within a few seconds."""
        await self._pool.close()

    async def _ways(self, domain: str) -> Sequence[Way]:
        """Every address there is to try, in order. Raises Ended where there is none to try."""
        nobody = Answerer(domain)
        try:
            route = await self._routing.route(domain)
        except (NoSuchDomain, NullMx, MailLoop) as error:
            raise Ended(nobody.refused(*_REFUSALS[type(error)], str(error))) from None
        except RoutingError as error:
            enhanced = "4.7.5" if isinstance(error, PolicyFailed) else "4.4.3"
            raise Ended(nobody.deferred(str(error), enhanced)) from None
        ways = [self._way(host, address) for host in route.hosts for address in host.addresses]
        return ways[:MAX_ADDRESSES]

    def _way(self, host: Hop, address: str) -> Way:
        name = host.name.rstrip(".")
        literal = name.startswith("[")
        way = Way(
            host=address,
            port=host.port,
            name=address if literal else name,
            remote=f"[{address}]:{host.port}" if literal else f"{name}[{address}]:{host.port}",
            security="opportunistic",
            context=self._trusting,
            trust="unverified",
        )
        match host.tls.kind:
            case "none":
                return replace(way, security="none")
            case "opportunistic":
                return way
            case "mta-sts":
                return replace(way, security="starttls", context=self._verifying, trust="mta-sts")
            case "dane" if not dane.usable(host.tls.tlsa):
                return replace(way, security="starttls")
            case "dane":
                verify = partial(_verify, name, host.tls.tlsa)
                return replace(way, security="starttls", trust="dane", verify=verify)


def _verify(name: str, tlsa: Sequence[Tlsa], chain: Sequence[bytes]) -> bool:
    return dane.matches(chain, name, tlsa)
