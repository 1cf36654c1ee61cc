"""What a reference that is being typed may become: addresses and ids the actor may see, and no stranger's words."""

from __future__ import annotations

from dataclasses import dataclass

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.messages import ListMessages, Messages
from daimon_mcp.operations.threads import ListThreads, Threads
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes
from daimon_mcp.store.messages import LAST_SEQ

MOST = 100  # values of one completion, by the protocol
_INBOXES = 10  # newest inboxes whose recent threads and messages are looked through
_RECENT = 50  # threads or messages of one inbox


@dataclass(frozen=True, slots=True)
class Suggestions:
    """At most `MOST` values, best first; `more` when others begin alike."""

    values: list[str]
    more: bool


class Completing:
    """Suggestions by prefix. Whoever may not read the things gets none."""

    def __init__(self, core: Core, messages: Messages, threads: Threads) -> None:
        self._core = core
        self._messages = messages
        self._threads = threads

    async def inboxes(self, actor: Actor, prefix: str) -> Suggestions:
        """Addresses of the actor's inboxes, newest first; their ids for a prefix that only ids have."""
        if not actor.holds("inbox_read"):
            return Suggestions([], more=False)
        start = prefix.strip().lower()
        rows = await self._core.database.all(
            sql.inboxes_starting,
            account_no=actor.account_no,
            only_inbox=actor.inbox_no or 0,
            prefix=start,
            length=len(start),
            limit=MOST + 1,
        )
        return _cut([address if address.startswith(start) else id_ for id_, address in rows])

    async def threads(self, actor: Actor, prefix: str) -> Suggestions:
        """Ids of recent threads, the one with the newest mail first."""
        if not actor.holds("message_read"):
            return Suggestions([], more=False)
        found: list[tuple[str, str]] = []
        for inbox in await self._newest(actor):
            page = await self._threads.list_threads(actor, ListThreads(inbox=inbox.id, limit=_RECENT))
            found += [(each["updated_at"], each["id"]) for each in page.result["threads"]]
        return _cut([id_ for _, id_ in sorted(found, reverse=True) if id_.startswith(prefix.strip())])

    async def messages(self, actor: Actor, prefix: str) -> Suggestions:
        """Ids of recent messages, newest first."""
        if not actor.holds("message_read"):
            return Suggestions([], more=False)
        found: list[str] = []
        for inbox in await self._newest(actor):
            page = await self._messages.list_messages(actor, ListMessages(inbox=inbox.id, limit=_RECENT))
            found += [each["id"] for each in page.result["messages"]]
        # Ids sort by time of creation.
        return _cut([id_ for id_ in sorted(found, reverse=True) if id_.startswith(prefix.strip())])

    async def _newest(self, actor: Actor) -> list[Inbox]:
        rows = await self._core.database.all(
            sql.inboxes_page,
            account_no=actor.account_no,
            before=LAST_SEQ,
            only_inbox=actor.inbox_no or 0,
            limit=_INBOXES,
        )
        return [inboxes.inbox_of(row) for row in rows]


def _cut(values: list[str]) -> Suggestions:
    return Suggestions(values[:MOST], more=len(values) > MOST)
