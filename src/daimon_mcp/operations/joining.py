"""The first inbox of somebody who has no key yet: an account, its inbox and both keys, where the operator allows it."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from daimon_mcp.domain.clock import HOUR, SECOND, iso
from daimon_mcp.domain.neighbours import LOOPBACK, neighbourhood
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.inboxes import CreateInbox, Inboxes

MOST = 10  # asked for from one address within an hour
_MOST_REMEMBERED = 1000  # addresses, beyond which old ones are looked for and forgotten


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody without a key: the address they come from, and whether a proxy says that they come from elsewhere."""

    address: str
    forwarded: bool = False


class Joining:
    """The verb of those who are nobody yet."""

    def __init__(self, core: Core, inboxes: Inboxes) -> None:
        self._core = core
        self._inboxes = inboxes
        self._asked: dict[str, list[int]] = {}

    async def create_first_inbox(
        self, visitor: Visitor, request: CreateInbox, *, join_code: str | None = None
    ) -> Outcome:
        """An account with its first inbox; an inbox key and an account key, shown once.

        Each try counts against its address (an IPv6 /64 is one), so that a join code cannot be guessed either; one
        that fails for what was asked for does not. The same `client_id` finds nothing: there is no account to look in.
        Raises UNAUTHORIZED where the operator does not allow it, FORBIDDEN without the join code,
        RATE_LIMIT_EXCEEDED, and what create_inbox raises.
        """
        policy = self._core.policy
        neighbours = neighbourhood(visitor.address)
        is_here = neighbours == LOOPBACK and not visitor.forwarded
        if policy.bootstrap == "off" or (policy.bootstrap == "loopback" and not is_here):
            raise Refused(RefusalCode.UNAUTHORIZED, reason="BOOTSTRAP_OFF")
        at = self._count(neighbours)
        wanted = policy.join_code
        if wanted is not None and not hmac.compare_digest(wanted.encode(), (join_code or "").strip().encode()):
            raise Refused(RefusalCode.FORBIDDEN, reason="JOIN_CODE", facts={"permission": "inbox_create"})
        try:
            return await self._inboxes.create_first(request)
        except Refused:
            tries = self._asked.get(neighbours, [])
            if at in tries:
                tries.remove(at)
            raise

    def _count(self, neighbours: str) -> int:
        """Count a try; when it was. Raises RATE_LIMIT_EXCEEDED."""
        now = self._core.clock.now()
        recent = [at for at in self._asked.get(neighbours, ()) if at > now - HOUR]
        if len(recent) >= MOST:
            free_at = recent[0] + HOUR
            raise Refused(
                RefusalCode.RATE_LIMIT_EXCEEDED,
                reason="INBOX_CREATE_RATE_LIMIT",
                facts={"limit": MOST},
                retry_after=-(-(free_at - now) // SECOND),
                current_usage={
                    "count": len(recent), "limit": MOST, "window_start": iso(now - HOUR), "window_end": iso(free_at),
                },
            )  # fmt: skip
        self._asked[neighbours] = [*recent, now]
        if len(self._asked) > _MOST_REMEMBERED:
            self._asked = {each: tries for each, tries in self._asked.items() if tries and tries[-1] > now - HOUR}
        return now
