"""Where mail for a domain goes, and how its connections must be protected: what routing finds out, transports obey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TlsKind = Literal["none", "opportunistic", "mta-sts", "dane"]


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One TLSA record (RFC 6698 §2.1), from an answer that DNSSEC has proved. `data` is its octets, not hex."""

    usage: int
    selector: int
    matching: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """How a connection to a host must be protected.

    `none`: in clear, STARTTLS is not even asked for. `opportunistic`: TLS where offered, without proof of who it is,
    else in clear (RFC 7435). `mta-sts`: TLS with a WebPKI certificate for the host's name, which `sts_names`, the
    `mx` patterns of the policy, must allow (RFC 8461 §4.1). `dane`: TLS with a certificate that `tlsa`, never empty,
    allows; records of unknown kinds may be among them (RFC 7672 §2.2).
    """

    kind: TlsKind = "opportunistic"
    sts_names: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] = ()

    def allows(self, name: str) -> bool:
        """Whether `name`, an A-label host name, fits one of `sts_names`; `*.` stands for one label (RFC 8461 §4.1)."""
        name = name.rstrip(".").lower()
        for pattern in self.sts_names:
            pattern = pattern.rstrip(".").lower()
            if pattern == name or (pattern.startswith("*.") and pattern[1:] == name[name.find(".") :]):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Hop:
    """One mail host: its A-label name without the last dot, and its addresses (IPv4 or IPv6 text) in trying order."""

    name: str
    addresses: tuple[str, ...]
    port: int = 25
    tls: TlsPolicy = TlsPolicy()


@dataclass(frozen=True, slots=True)
class Route:
    """The hosts that take mail for a domain, best first, at least one, never ourselves (RFC 5321 §5.1)."""

    hosts: tuple[Hop, ...]


class RoutingError(Exception):
    """There is no route now. `str(error)` says why in plain words, for the sender and the operator."""


class NoSuchDomain(RoutingError):
    """The domain does not exist, or has no mail host and no address: REFUSED, 550 5.1.2."""


class NullMx(RoutingError):
    """The domain says that it takes no mail (RFC 7505): REFUSED, 556 5.1.10."""


class TemporaryFailure(RoutingError):
    """DNS, or the host a policy comes from, did not answer: DEFERRED, 4.4.3."""


class PolicyFailed(RoutingError):
    """No host of the domain may be used under its own policy, or DNSSEC proves an answer false: DEFERRED, 4.7.5."""


class MailLoop(RoutingError):
    """The best mail host of the domain is this server, which has no inboxes there: REFUSED, 554 5.4.6."""
