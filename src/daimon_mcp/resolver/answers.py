"""What the DNS says, as plain data, and the ways it can say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Kind = Literal["A", "AAAA", "CNAME", "MX", "PTR", "TLSA", "TXT"]
"""Types of record that can be asked for."""

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Answer(Generic[T_co]):
    """Records of one name and type. None at all is an answer too: the name exists, the type does not (NODATA).

    `ttl` is how many seconds this may still be used. `secure` says that a name server we trust vouches for it, and for
    every alias on the way, by DNSSEC (the AD bit, RFC 4035 §3.2.3). `name` is where the records are, after all aliases,
    in lower case without the final dot.
    """

    records: tuple[T_co, ...]
    ttl: int
    secure: bool
    name: str


@dataclass(frozen=True, slots=True)
class MxRecord:
    """A mail exchanger (RFC 5321 §5.1); `host` is "." in the record of a domain that takes no mail (RFC 7505)."""

    preference: int
    host: str


class ResolverError(Exception):
    """No answer; the message is one line about the name asked for, fit for a log and for people."""


class NoSuchName(ResolverError):
    """The name does not exist (NXDOMAIN, RFC 2308 §2.1), and will not for `ttl` seconds."""

    def __init__(self, text: str, ttl: int = 0) -> None:
        super().__init__(text)
        self.ttl = ttl


class BadName(NoSuchName):
    """No name of the DNS can look like this one, so nobody was asked."""


class TemporaryFailure(ResolverError):
    """Nobody could say: time-out, SERVFAIL, REFUSED, nonsense, no network. Later it may be different."""
