"""One port: who may connect, who has been silent for too long, and the end of it all."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from daimon_mcp.faces.smtp.service import Service
from daimon_mcp.faces.smtp.session import Session


class Early(Enum):
    """What it means when a peer speaks before it was greeted."""

    NOTHING = "nothing"
    INTRUDER = "intruder"  # a program that does not listen: refused
    TLS = "tls"  # if it is a ClientHello: the peer takes this port for one with implicit TLS, and gets it


TlsContext = ssl.SSLContext | Callable[[], ssl.SSLContext]
"""A context, or what gives the one for a connection that begins now."""


class Member(Protocol):
    """A connection, as the listener sees it."""

    address: str

    def check(self, now: int) -> None:
        """End it if its time is up; `now` in epoch µs."""
        ...

    def wake(self) -> None:
        """Look around: the listener is closing, or a session is to end."""
        ...

    def cut_off(self) -> None:
        """End it now, whatever is under way, with 421."""
        ...

    def abort(self) -> None:
        """Drop it with everything unsent."""
        ...


class Listener:
    """What the connections of one port share. `start` makes the session of a peer, from its address and cid.

    `tls` is offered by STARTTLS, or with `implicit_tls` begun before the greeting.
    """

    def __init__(
        self,
        service: Service,
        start: Callable[[str, str], Session],
        *,
        tls: TlsContext | None = None,
        implicit_tls: bool = False,
        early: Early = Early.NOTHING,
    ) -> None:
        self.service = service
        self.start = start
        self._tls = tls
        self.implicit_tls = implicit_tls
        self.early = early
        self.closing = False
        self._limits = service.limits
        self._members: set[Member] = set()
        self._addresses: Counter[str] = Counter()
        self._none_left = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._interval = min(1.0, self._limits.command_seconds / 4, self._limits.close_seconds / 4)
        self._next_sweep()

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context for a connection that begins TLS now."""
        return self._tls() if callable(self._tls) else self._tls

    @property
    def members(self) -> frozenset[Member]:
        """Who is connected."""
        return frozenset(self._members)

    def admit(self, member: Member) -> bool:
        """Whether there is a place for `member`; then it is taken until `left`."""
        key = _address_key(member.address)
        if (
            self.closing
            or len(self._members) >= self._limits.max_connections
            or self._addresses[key] >= self._limits.max_connections_per_address
        ):
            return False
        self._members.add(member)
        if key:
            self._addresses[key] += 1
        return True

    def left(self, member: Member) -> None:
        """Free the place of `member`, if it has one."""
        if member not in self._members:
            return
        self._members.remove(member)
        if key := _address_key(member.address):
            self._addresses[key] -= 1
            if not self._addresses[key]:
                del self._addresses[key]
        if self.closing and not self._members:
            self._none_left.set()

    def sweep(self) -> None:
        """Look at every connection's time. Done once a second, for all of them."""
        now = self.service.clock.now()
        for member in self.members:
            member.check(now)

    async def close(self) -> None:
        """End all sessions: with 421, the idle ones at once, those with content under way when it is answered.

        After `close_seconds` the rest are cut off, so it never takes much longer; what was not acknowledged stays with
        the peer.
        """
        self.closing = True
        if not self._members:
            self._none_left.set()
        for member in self.members:
            member.wake()
        if not await self._emptied(self._limits.close_seconds):
            for member in self.members:
                member.cut_off()
            if not await self._emptied(1):
                for member in self.members:
                    member.abort()
                await self._emptied(1)
        if self._timer is not None:
            self._timer.cancel()
        await self.service.spool.close()

    async def _emptied(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._none_left.wait()
        except TimeoutError:
            return False
        return True

    def _next_sweep(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._sweep_again)

    def _sweep_again(self) -> None:
        self._next_sweep()
        self.sweep()


def plain_address(host: str) -> str:
    """`host` without a zone, and as IPv4 where it is IPv4 mapped into IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(getattr(address, "ipv4_mapped", None) or address)


def _address_key(address: str) -> str:
    """What one peer can have many of counts as one: the /64 of an IPv6 address. "" is not counted: no network."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False))
