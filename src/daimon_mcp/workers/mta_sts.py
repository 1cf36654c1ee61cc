"""MTA-STS (RFC 8461): a domain says, over HTTPS, which mail hosts it has and that they must prove who they are.

Policies are kept for as long as they say, in a store that survives a restart: that an attacker cannot make us forget
them is what they are worth. A policy that cannot be fetched is no reason to keep mail back (§5.1).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, cast
from weakref import WeakValueDictionary

from daimon_mcp.domain.clock import DAY, MINUTE, SECOND, Clock
from daimon_mcp.logs import one_line
from daimon_mcp.resolver import BadName, Resolver, ResolverError
from daimon_mcp.resolver.cache import Cache
from daimon_mcp.resolver.names import canonical

log = logging.getLogger(__name__)

Mode = Literal["enforce", "testing", "none"]

LONGEST_AGE: Final = 31_557_600  # seconds, §3.2
REFRESH: Final = DAY  # how old a policy gets before it is fetched again, its id the same: §10.2 against its running out
RETRY: Final = 5 * MINUTE  # §3.3: no sooner after a fetch that failed
MAX_FAILURES: Final = 512 * 1024  # bytes of names remembered for that

_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*:[ \t]*(.*?)[ \t]*")


class BadPolicy(ValueError):
    """No policy, or one that cannot be read; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A policy: `mx` are host names or `*.` and one; `fetched_at` is epoch µs, `max_age` seconds, `id` its version."""

    mode: Mode
    mx: tuple[str, ...]
    max_age: int
    id: str
    fetched_at: int

    @property
    def ends_at(self) -> int:
        """Epoch µs at which it is over."""
        return self.fetched_at + self.max_age * SECOND

    def dump(self) -> dict[str, object]:
        """As plain data, which JSON can hold."""
        return {
            "mode": self.mode,
            "mx": list(self.mx),
            "max_age": self.max_age,
            "id": self.id,
            "fetched_at": self.fetched_at,
        }

    @classmethod
    def load(cls, data: Mapping[str, object]) -> StsPolicy:
        """What `dump` made."""
        return cls(
            cast("Mode", data["mode"]),
            tuple(cast("list[str]", data["mx"])),
            cast("int", data["max_age"]),
            cast("str", data["id"]),
            cast("int", data["fetched_at"]),
        )


class PolicyStore(Protocol):
    """Where policies outlive the process, as the plain data of `StsPolicy.dump`, one for each domain."""

    async def get(self, domain: str) -> Mapping[str, object] | None:
        """What was put for `domain`."""
        ...

    async def put(self, domain: str, policy: Mapping[str, object]) -> None:
        """Keep `policy` in place of the one before."""
        ...


Fetch = Callable[[str], Awaitable[str]]
"""The policy file of a domain, as text. Raises BadPolicy when there is none to be had, whatever the reason."""


class MtaSts:
    """The policies of the domains that we send to. Belongs to one event loop."""

    def __init__(self, resolver: Resolver, *, fetch: Fetch, store: PolicyStore, clock: Clock) -> None:
        self._resolver = resolver
        self._fetch = fetch
        self._store = store
        self._clock = clock
        self._failed: Cache[str, None] = Cache(MAX_FAILURES, lambda: clock.now() / SECOND)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def policy(self, domain: str) -> StsPolicy | None:
        """The policy for mail to `domain` (a `names.canonical` name); None where it has none, or none was to be had.

        Can take as long as a fetch. A policy of mode `none` is told too: it says that there is none any more.
        """
        lock = self._locks.setdefault(domain, asyncio.Lock())
        async with lock:  # equal fetches at the same time are one
            kept = await self._kept(domain)
            published = await self._published_id(domain)
            fresh = kept is not None and self._clock.now() < kept.fetched_at + REFRESH
            if published is None or (kept is not None and kept.id == published and fresh):
                return kept
            key = f"{domain} {published}"
            if self._failed.get(key) is not None:
                return kept
            try:
                policy = parse(await self._fetch(domain), id=published, now=self._clock.now())
            except BadPolicy as error:
                self._failed.put(key, None, seconds=RETRY / SECOND, size=len(key))
                log.info("MTA-STS policy of %s: %s", domain, one_line(str(error))[:300])
                return kept
            await self._store.put(domain, policy.dump())
            return policy

    async def _kept(self, domain: str) -> StsPolicy | None:
        data = await self._store.get(domain)
        if data is None:
            return None
        policy = StsPolicy.load(data)
        return policy if self._clock.now() < policy.ends_at else None

    async def _published_id(self, domain: str) -> str | None:
        """The id in the TXT record; None without a proper one or an answer: what is kept counts then (§3.3)."""
        try:
            answer = await self._resolver.txt(f"_mta-sts.{domain}")
        except ResolverError:
            return None
        return read_id(answer.records)


def read_id(texts: tuple[str, ...]) -> str | None:
    """The id of the one TXT record that is for MTA-STS (§3.1); None unless there is exactly one, and it is proper."""
    records = [text for text in texts if re.match(r"v=STSv1[ \t]*(;|\Z)", text)]
    if len(records) != 1:
        return None
    for field in records[0].split(";")[1:]:
        name, _, value = field.strip(" \t").partition("=")
        if name == "id":
            return value if _ID.fullmatch(value) else None
    return None


def parse(text: str, *, id: str, now: int) -> StsPolicy:
    """Read a policy file (§3.2): unknown fields ignored, the first of equal ones counts. Raises BadPolicy."""
    fields: dict[str, str] = {}
    mx: list[str] = []
    for line in text.split("\n"):
        found = _FIELD.fullmatch(line.removesuffix("\r"))
        if found is None:
            if line.strip():
                raise BadPolicy("a line is not of the form `name: value`")
            continue
        name, value = found.groups()
        if name == "mx":
            mx.append(_pattern(value))
        else:
            fields.setdefault(name, value)
    if fields.get("version") != "STSv1":
        raise BadPolicy("the version is not STSv1")
    mode, age = fields.get("mode"), fields.get("max_age", "")
    if mode not in ("enforce", "testing", "none"):
        raise BadPolicy("the mode is not one of enforce, testing and none")
    if not re.fullmatch(r"[0-9]{1,10}", age):
        raise BadPolicy("max_age is not a number of seconds")
    if not mx and mode != "none":
        raise BadPolicy("there is no mx")
    return StsPolicy(mode, tuple(dict.fromkeys(mx)), min(int(age), LONGEST_AGE), id, now)


def _pattern(text: str) -> str:
    wildcard = "*." if text.startswith("*.") else ""
    try:
        name = canonical(text.removeprefix("*."))
    except BadName:
        raise BadPolicy("an mx is not a host name") from None
    if "*" in name:
        raise BadPolicy("an mx has a * that is not its first label")
    return wildcard + name
