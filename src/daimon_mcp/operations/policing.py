"""How much one peer may hand over, and whether it comes back when it is put off.

Everything is counted in memory, within bounds: strangers choose addresses. A restart forgives who was too fast, and
puts off once more who has passed greylisting before.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from daimon_mcp.domain.clock import DAY, MINUTE, SECOND, Clock
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.abuse import network

UNKNOWN_WINDOW: Final = 10 * MINUTE
UNKNOWN_RECIPIENTS: Final = 10  # so many within the window are a search for addresses …
UNKNOWN_SHARE: Final = 10  # … when they are more than a tenth of all that the peer has named
RETRY_WINDOW: Final = 2 * DAY  # a sender that was put off may come back within this
KNOWN_FOR: Final = 36 * DAY  # since its last mail: longer than a month, for what is sent monthly
MOST_PEERS: Final = 20_000
MOST_TRIPLETS: Final = 200_000  # 16 octets each, and a number


@dataclass(slots=True)
class _Count:
    """Since a key was first seen, until `ends` (epoch µs)."""

    ends: int
    all: int = 0
    unknown: int = 0


class _Counts:
    """Counts of each key within a window that its first one begins; past MOST_PEERS keys the oldest are forgotten."""

    def __init__(self, clock: Clock, window: int) -> None:
        self._clock = clock
        self._window = window
        self._counts: dict[str, _Count] = {}

    def get(self, key: str) -> _Count | None:
        """What is counted of `key` in its window, if one is open."""
        found = self._counts.get(key)
        return found if found is not None and found.ends > self._clock.now() else None

    def of(self, key: str) -> _Count:
        """What is counted of `key`, in a new window where none is open."""
        if (found := self.get(key)) is not None:
            return found
        self._counts.pop(key, None)
        if len(self._counts) >= MOST_PEERS:
            del self._counts[next(iter(self._counts))]
        made = self._counts[key] = _Count(self._clock.now() + self._window)
        return made

    def seconds_left(self, count: _Count) -> int:
        """Whole seconds until its window ends, at least 1."""
        return max(1, -(-(count.ends - self._clock.now()) // SECOND))


class Policing:
    """Counts per address, an IPv6 /64 as one. Peers that `trusts` says yes to are not counted and never put off.

    `messages_per_minute` is what one address may hand over. With `greylist_seconds`, the first mail from a network to
    a recipient is put off for that long; 0 puts off nothing.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        trusts: Callable[[str], bool],
        messages_per_minute: int,
        greylist_seconds: int,
    ) -> None:
        self._clock = clock
        self._trusts = trusts
        self._most = messages_per_minute
        self._delay = greylist_seconds * SECOND
        self._messages = _Counts(clock, MINUTE)
        self._recipients = _Counts(clock, UNKNOWN_WINDOW)
        self._waiting: dict[bytes, int] = {}  # triplets by when they were first seen, the oldest first
        self._passed: dict[bytes, int] = {}  # and by when they last sent, the oldest first

    def trusts(self, address: str) -> bool:
        """Whether a peer is one of ours."""
        return self._trusts(address)

    def message(self, key: str) -> None:
        """Count a message of `key`: a peer's address, or any name. Raises RATE_LIMIT_EXCEEDED (MESSAGES)."""
        count = self._messages.of(network(key))
        if count.all >= self._most:
            wait = self._messages.seconds_left(count)
            raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="MESSAGES", retry_after=wait)
        count.all += 1

    def check_searching(self, address: str) -> None:
        """Raise RATE_LIMIT_EXCEEDED (UNKNOWN_RECIPIENTS) for a peer that tries out addresses, until its window ends."""
        count = self._recipients.get(network(address))
        if count and count.unknown >= UNKNOWN_RECIPIENTS and count.unknown * UNKNOWN_SHARE > count.all:
            wait = self._recipients.seconds_left(count)
            raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="UNKNOWN_RECIPIENTS", retry_after=wait)

    def recipient(self, address: str, *, known: bool) -> None:
        """Count a recipient that a peer has named."""
        count = self._recipients.of(network(address))
        count.all += 1
        count.unknown += not known

    def greylist(self, address: str, mail_from: str, recipient: str) -> None:
        """Raise RATE_LIMIT_EXCEEDED (GREYLISTED) until the same comes again after the delay.

        The same is: from the same /24 or /64, because large senders try again from a neighbour, with the same
        reverse-path and recipient. After that it is known for KNOWN_FOR since its last mail.
        """
        if not self._delay:
            return
        now = self._clock.now()
        triplet = "\0".join((_neighbourhood(address), mail_from.lower(), recipient.lower()))
        key = hashlib.blake2b(triplet.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        last = self._passed.pop(key, None)
        if last is None or last + KNOWN_FOR <= now:
            first = self._waiting.get(key)
            if first is None or first + RETRY_WINDOW <= now:
                self._waiting.pop(key, None)
                first = _keep(self._waiting, key, now)
            if (rest := first + self._delay - now) > 0:
                raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="GREYLISTED", retry_after=-(-rest // SECOND))
            del self._waiting[key]
        _keep(self._passed, key, now)


def _keep(times: dict[bytes, int], key: bytes, now: int) -> int:
    """Note `now` for `key`, last in order; past MOST_TRIPLETS the oldest is forgotten."""
    if len(times) >= MOST_TRIPLETS:
        del times[next(iter(times))]
    times[key] = now
    return now


def _neighbourhood(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 64), strict=False))
