"""The resolver: cache, questions in flight shared, servers tried in turn within one total time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import zip_longest
from typing import Final, cast

from daimon_mcp.domain.routes import Tlsa
from daimon_mcp.resolver.answers import (
    Answer,
    Kind,
    MxRecord,
    NoSuchName,
    ResolverError,
    TemporaryFailure,
)
from daimon_mcp.resolver.cache import Cache
from daimon_mcp.resolver.names import canonical, reverse
from daimon_mcp.resolver.servers import NameServers

CACHE_BYTES: Final = 8 * 1024 * 1024
IN_FLIGHT: Final = 64
LEAST_TTL: Final = 1  # seconds: what may not be kept at all still answers the questions of this moment
LONGEST_TTL: Final = 86_400
LONGEST_NEGATIVE_TTL: Final = 3_600  # RFC 2308 §5 finds one to three hours right

_Key = tuple[str, Kind]
_Kept = Answer[object] | NoSuchName


@dataclass
class _Flight:
    """A question that is being asked, and how many wait for the answer."""

    task: asyncio.Task[Answer[object]]
    waiting: int = 0


class Resolver:
    """Asks `nameservers` (`host` or `host:port`, IP addresses), or the system's when that is None or empty.

    One question takes at most `timeout` seconds, whoever does not answer. Answers are `secure` from servers on a
    loopback address, and with `trusts_ad` from all. `monotonic` is seconds. Belongs to one loop; needs no closing.

    Every method raises NoSuchName or TemporaryFailure; a name without records of that type is an empty answer.
    """

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        *,
        timeout: float = 5.0,
        trusts_ad: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        in_flight: int = IN_FLIGHT,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.timeout = timeout
        self._servers = NameServers(nameservers, trusts_ad)
        self._cache: Cache[_Key, _Kept] = Cache(cache_bytes, monotonic)
        self._flights: dict[_Key, _Flight] = {}
        self._loaded = False
        self._slots = asyncio.Semaphore(in_flight)

    async def a(self, name: str) -> Answer[str]:
        """IPv4 addresses."""
        return cast("Answer[str]", await self.query(name, "A"))

    async def aaaa(self, name: str) -> Answer[str]:
        """IPv6 addresses."""
        return cast("Answer[str]", await self.query(name, "AAAA"))

    async def addresses(self, name: str) -> Answer[str]:
        """IPv6 and IPv4 addresses, asked for together; each kind in the order it came, first one of each and so on.

        What one of the two questions brought is enough. With nothing, and one of them failed, TemporaryFailure.
        """
        outcomes = await asyncio.gather(self.aaaa(name), self.a(name), return_exceptions=True)
        answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for error in errors:
            if not isinstance(error, ResolverError):
                raise error
        records = _interleaved([answer.records for answer in answers])
        failures = [error for error in errors if isinstance(error, TemporaryFailure)]
        if not answers or (not records and failures):
            raise (failures or errors)[0]
        return Answer(
            records,
            min(answer.ttl for answer in answers),
            all(answer.secure for answer in answers),
            answers[-1].name,
        )

    async def cname(self, name: str) -> Answer[str]:
        """The alias itself, not followed."""
        return cast("Answer[str]", await self.query(name, "CNAME"))

    async def mx(self, name: str) -> Answer[MxRecord]:
        """Mail exchangers, in no order."""
        return cast("Answer[MxRecord]", await self.query(name, "MX"))

    async def ptr(self, address: str) -> Answer[str]:
        """Names of an IP address, as it claims them."""
        return cast("Answer[str]", await self.query(reverse(address), "PTR"))

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records of `_port._proto.host`."""
        return cast("Answer[Tlsa]", await self.query(name, "TLSA"))

    async def txt(self, name: str) -> Answer[str]:
        """Texts, the strings of each record joined; what is not UTF-8 has U+FFFD in it."""
        answer = await self.txt_bytes(name)
        return replace(
            cast("Answer[str]", answer), records=tuple(text.decode("utf-8", "replace") for text in answer.records)
        )

    async def txt_bytes(self, name: str) -> Answer[bytes]:
        """Texts as bytes, the strings of each record joined (RFC 7208 §3.3, RFC 6376 §3.6.2.2)."""
        return cast("Answer[bytes]", await self.query(name, "TXT"))

    async def query(self, name: str, kind: Kind) -> Answer[object]:
        """Records of any kind: text (A, AAAA, CNAME, PTR), bytes (TXT), MxRecord, Tlsa.

        Equal questions at the same time are asked once; the asking ends when nobody waits any more.
        """
        key = (canonical(name), kind)
        if (kept := self._cache.get(key)) is not None:
            value, left = kept
            if isinstance(value, NoSuchName):
                raise NoSuchName(str(value))
            return replace(value, ttl=max(1, int(left)))
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.create_task(self._ask(key), name=f"dns {key[0]} {kind}"))
            self._flights[key] = flight
            flight.task.add_done_callback(lambda _: self._landed(key, flight))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._landed(key, flight)  # who asks next starts anew, and is not cancelled with this one
                flight.task.cancel()

    def forget(self, name: str, kind: Kind) -> None:
        """Ask anew next time: for those who wait for a record to appear. Raises BadName."""
        self._cache.drop((canonical(name), kind))

    def _landed(self, key: _Key, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _ask(self, key: _Key) -> Answer[object]:
        if not self._loaded:  # dnspython takes a fifth of a second: not at start, nor on the loop
            await asyncio.to_thread(import_module, "daimon_mcp.resolver.asking")
            self._loaded = True
        from daimon_mcp.resolver import asking

        try:
            async with asyncio.timeout(self.timeout), self._slots:
                answer, size = await asking.ask(self._servers.now(), *key, timeout=self.timeout)
        except TimeoutError:
            raise TemporaryFailure(f"{key[0]} {key[1]}: no name server answered within {self.timeout:g} s") from None
        known = isinstance(answer, Answer) and answer.records
        seconds = max(LEAST_TTL, min(answer.ttl, LONGEST_TTL if known else LONGEST_NEGATIVE_TTL))
        if isinstance(answer, NoSuchName):
            self._cache.put(key, answer, seconds=seconds, size=size)
            raise answer
        answer = replace(answer, ttl=seconds)
        self._cache.put(key, answer, seconds=seconds, size=size)
        return answer


def _interleaved(lists: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(one for row in zip_longest(*lists) for one in row if one is not None)
