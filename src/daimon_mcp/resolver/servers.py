"""Which name servers to ask, and whether to believe them about DNSSEC."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
PORT = 53
_MOST = 3  # servers of the system that are asked, as by the C library

_WITH_PORT = re.compile(r"\[(?P<six>[^\]]+)\](?::(?P<six_port>\d{1,5}))?|(?P<four>[0-9.]+)(?::(?P<four_port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Server:
    """A name server's address. `trusted`: nobody on the way to it can set the AD bit (RFC 6840 §5.7)."""

    host: str
    port: int
    trusted: bool


def parse_server(text: str, trusts_ad: bool) -> Server:
    """`9.9.9.9`, `9.9.9.9:53`, `2620:fe::fe`, `[2620:fe::fe]:53`. One on a loopback address is always trusted.

    Raises ValueError for anything else; names are not taken, because there is nobody to ask for them yet.
    """
    given = text.strip()
    found = _WITH_PORT.fullmatch(given)
    host = (found["six"] or found["four"]) if found else given
    port = int((found["six_port"] or found["four_port"]) or PORT) if found else PORT
    address = ipaddress.ip_address(host)
    if not 0 < port < 65_536:
        raise ValueError("a port is between 1 and 65535")
    return Server(host, port, trusts_ad or address.is_loopback)


def read_resolv_conf(text: str, trusts_ad: bool) -> tuple[Server, ...]:
    """The servers of a resolv.conf(5); `options trust-ad` there trusts them all. None named: this machine's."""
    named: list[str] = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", address, *_]:
                named.append(address)
            case ["options", *options] if "trust-ad" in options:
                trusts_ad = True
            case _:
                pass
    servers: list[Server] = []
    for address in named:
        try:
            servers.append(parse_server(address, trusts_ad))
        except ValueError:
            continue  # another program's file; the other lines may be good
    return tuple(servers[:_MOST]) or (Server("127.0.0.1", PORT, trusted=True),)


class NameServers:
    """The servers to ask now: those given, or else the system's, read again when its file changes."""

    def __init__(self, given: Sequence[str] | None, trusts_ad: bool, file: Path = RESOLV_CONF) -> None:
        self._given = tuple(parse_server(text, trusts_ad) for text in given or ())
        self._trusts_ad = trusts_ad
        self._file = file
        self._read: tuple[Server, ...] = ()
        self._changed: int | None = None

    def now(self) -> tuple[Server, ...]:
        """At least one server, in the order to ask them."""
        if self._given:
            return self._given
        try:
            changed = self._file.stat().st_mtime_ns  # a laptop changes networks
            if changed != self._changed:
                text = self._file.read_text("utf-8", "replace")
                self._read, self._changed = read_resolv_conf(text, self._trusts_ad), changed
        except OSError:
            self._read, self._changed = read_resolv_conf("", self._trusts_ad), None
        return self._read
