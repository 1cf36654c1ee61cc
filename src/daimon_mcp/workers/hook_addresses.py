"""To which addresses calls of webhooks go: looked up by ourselves, judged, and then dialled as they are.

Whoever sets up a webhook chooses its name, and what the DNS says of it at each moment. So the address that was judged
is the one that is dialled: a name is never looked up a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from daimon_mcp.domain.webhooks import literal, may_call, names_loopback
from daimon_mcp.resolver import Resolver, ResolverError

MOST_ADDRESSES: Final = 4
_LOOPBACK: Final = ("127.0.0.1", "::1")


class NotAllowed(Exception):
    """Nobody may call what is there; the text says why, in our words."""


class NotFound(Exception):
    """A name has no address, now or at all; the text says so, in our words."""


class HookAddresses:
    """Addresses of hosts in webhooks' URLs.

    `loopback` allows those that name this machine themselves, `private` those in networks of a site.
    """

    def __init__(self, resolving: Callable[[], Resolver], *, loopback: bool, private: bool) -> None:
        self._resolving = resolving
        self._loopback = loopback
        self._private = private

    async def of(self, host: str) -> Sequence[str]:
        """Addresses to dial, in order. Raises NotAllowed, NotFound.

        All that the DNS gives must be allowed: a name with a forbidden one among them is not called at all.
        """
        address = literal(host)
        if names_loopback(host):
            if not self._loopback:
                raise NotAllowed("is on this machine, which is not allowed")
            return _LOOPBACK if address is None else (str(address),)
        if address is not None:
            found = [str(address)]
        else:
            try:
                found = list((await self._resolving().addresses(host)).records)
            except ResolverError as error:
                raise NotFound(f"its name was not resolved: {error}") from error
            if not found:
                raise NotFound("its name has no address")
        for each in found:
            judged = literal(each)
            if judged is None or not may_call(judged, private=self._private):
                raise NotAllowed("is at an address of a private or special network")
        return found[:MOST_ADDRESSES]
