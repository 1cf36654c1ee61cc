"""Telling clients that a resource they watch has changed, or their list of resources.

Clients of 2026-07-28 open a stream with `subscriptions/listen`; older ones say `resources/subscribe` and are told on
the channel of their session. Both have a `Watcher`, which the bus marks and which one task of its own empties: many
changes while a notice is on its way are one notice more, and nothing is ever polled.

Each notice is checked against the key before it is sent, so a key that was revoked hears nothing more, and only ids of
the watcher's own account are ever looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NoReturn

import anyio
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    ResourcesListChanged,
    ResourceUpdated,
    event_to_notification,
)
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import (
    AccountChanged,
    Change,
    InboxChanged,
    KeyChanged,
    MessageAdded,
    MessageChanged,
    ThreadMerged,
)
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.mcp.resources import NOT_THERE, parsed
from daimon_mcp.operations import Operations
from daimon_mcp.operations.watching import Watchable

log = logging.getLogger(__name__)

MOST_WATCHED = 1000  # URIs of one session or one stream
MOST_STREAMS = 256  # listen streams of one account at a time
PAUSE = 0.05  # seconds between notices of one watcher, so that a burst of mail is a few notices

# Who is calling, as of now: raises UNAUTHORIZED or ACCOUNT_SUSPENDED when the key is good no more.
Who = Callable[[], Awaitable[Actor]]
Target = tuple[Watchable, str]
Event = ResourceUpdated | ResourcesListChanged

_KEY = "daimon.watcher"
_KEY_IS_BAD = (RefusalCode.UNAUTHORIZED, RefusalCode.ACCOUNT_SUSPENDED)


class Watcher:
    """What one session or stream watches, and what of it has changed since it was last told."""

    def __init__(self, operations: Operations, actor: Actor, who: Who, *, lists: bool) -> None:
        self._operations = operations
        self._actor = actor
        self._who = who
        self._lists = lists
        # As the client wrote them: a resource may be watched by several spellings, and is told by each.
        self._uris: dict[str, Target] = {}
        self._targets: dict[Target, list[str]] = {}
        self._pending: dict[Target, None] = {}
        self._list_changed = False
        self._wake = anyio.Event()
        self._leave = operations.core.bus.subscribe(self._changed)

    @property
    def watched(self) -> list[str]:
        """The URIs, in the order they were added."""
        return list(self._uris)

    async def add(self, uri: str, actor: Actor) -> bool:
        """Watch a URI; False if nothing of that URI exists for the actor. Raises MCPError when there are too many."""
        target = await self._resolved(actor, uri)
        if target is None:
            return False
        if uri not in self._uris:
            if len(self._uris) >= MOST_WATCHED:
                raise MCPError(INVALID_PARAMS, f"No more than {MOST_WATCHED} resources can be watched at once")
            self._uris[uri] = target
            self._targets.setdefault(target, []).append(uri)
        return True

    def remove(self, uri: str) -> None:
        """Watch a URI no more, if it was."""
        target = self._uris.pop(uri, None)
        if target is not None:
            self._targets[target].remove(uri)
            if not self._targets[target]:
                del self._targets[target]

    def close(self) -> None:
        """Leave the bus."""
        self._leave()

    async def next(self) -> list[Event]:
        """Wait until something has changed; what to tell, checked just now.

        What was deleted is told once more, and then watched no more. Raises UNAUTHORIZED or ACCOUNT_SUSPENDED when the
        key is good no more, and what the store raises; then what had changed waits for the next change.
        """
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            pending, self._pending = self._pending, {}
            list_changed, self._list_changed = self._list_changed, False
            try:
                actor = await self._who()
                gone = [target for target in pending if not await self._is_there(actor, target)]
            except Refused as refused:
                if refused.code not in _KEY_IS_BAD:
                    self._again(pending, list_changed)
                raise
            except BaseException:
                self._again(pending, list_changed)
                raise
            told: list[Event] = [ResourceUpdated(uri) for each in pending for uri in self._targets.get(each, ())]
            for target in gone:
                for uri in list(self._targets.get(target, ())):
                    self.remove(uri)
            if list_changed:
                told.append(ResourcesListChanged())
            if told:
                return told

    def _again(self, pending: dict[Target, None], list_changed: bool) -> None:
        self._pending = {**pending, **self._pending}
        self._list_changed |= list_changed

    async def _is_there(self, actor: Actor, target: Target) -> bool:
        try:
            await self._operations.watching.resolve(actor, *target)
        except Refused as refused:
            if refused.code in NOT_THERE:
                return False
            raise
        return True

    async def _resolved(self, actor: Actor, uri: str) -> Target | None:
        reference = parsed(uri)
        if reference is None:
            return None
        try:
            return reference.kind, await self._operations.watching.resolve(actor, reference.kind, reference.name)
        except Refused as refused:
            if refused.code in NOT_THERE:
                return None
            raise

    def _changed(self, change: Change) -> None:
        """The bus's bell: notes what to look at again."""
        if isinstance(change, KeyChanged):
            if change.key_id == self._actor.key_id:
                self._wake.set()
            return
        if isinstance(change, ThreadMerged):  # of a thread that is watched here, or nobody's business
            self._follow(("thread", change.thread_id), ("thread", change.into_id))
            return
        # The account first: another's ids are not even compared.
        if getattr(change, "account_no", None) != self._actor.account_no:
            return
        if isinstance(change, MessageAdded | MessageChanged):
            targets: list[Target] = [
                ("inbox", change.inbox_id), ("message", change.message_id), ("thread", change.thread_id),
            ]  # fmt: skip
            if isinstance(change, MessageAdded):
                if change.related_thread_id is not None:
                    targets.append(("thread", change.related_thread_id))
                mine = self._actor.inbox_no in (None, change.inbox_no)
                if change.direction == "outbound" and mine:  # it was counted
                    targets.append(("account", self._actor.account_id))
            self._mark(targets)
        elif isinstance(change, AccountChanged):
            self._mark([("account", change.account_id)])
        elif isinstance(change, InboxChanged) and self._actor.inbox_no in (None, change.inbox_no):
            self._mark([("inbox", change.inbox_id), ("account", self._actor.account_id)])
            if self._lists:
                self._list_changed = True
                self._wake.set()

    def _follow(self, was: Target, now: Target) -> None:
        """Whoever watches what became part of something else, watches that from now on."""
        uris = self._targets.pop(was, None)
        if uris:
            self._targets.setdefault(now, []).extend(uris)
            self._uris |= dict.fromkeys(uris, now)
            self._mark([now])

    def _mark(self, targets: Iterable[Target]) -> None:
        for target in targets:
            if target in self._targets:
                self._pending[target] = None
                self._wake.set()


async def _run(watcher: Watcher, send: Callable[[Event], Awaitable[None]]) -> NoReturn:
    while True:
        for event in await watcher.next():
            await send(event)
        await anyio.sleep(PAUSE)


class Notifier:
    """The watchers of one server, made by what its clients ask for."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._streams: Counter[int] = Counter()  # by account

    # -- 2026-07-28: a request whose answer is the stream ------------------------------------------------------------

    async def listen(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams, actor: Actor, who: Who
    ) -> SubscriptionsListenResult:
        """Serve one stream until its client leaves or its key is good no more.

        The acknowledgement names what is watched: a URI of which nothing exists for the actor is left out of it.
        Raises MCPError for too many URIs or too many streams.
        """
        wanted = params.notifications
        uris = list(dict.fromkeys(wanted.resource_subscriptions or ()))
        if len(uris) > MOST_WATCHED:
            raise MCPError(INVALID_PARAMS, f"No more than {MOST_WATCHED} resources can be watched at once")
        if self._streams[actor.account_no] >= MOST_STREAMS:
            raise MCPError(INTERNAL_ERROR, "Subscription limit reached")
        meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: ctx.request_id}
        lists = wanted.resources_list_changed is True
        self._streams[actor.account_no] += 1
        watcher = Watcher(self._operations, actor, who, lists=lists)
        try:
            for uri in uris:
                await watcher.add(uri, actor)
            # Tools and prompts never change: who asks to be told of that is not promised it.
            honoured = SubscriptionFilter(
                resources_list_changed=True if lists else None, resource_subscriptions=watcher.watched or None
            )
            acknowledged = SubscriptionsAcknowledgedNotificationParams(notifications=honoured, _meta=meta)
            await ctx.session.send_notification(
                SubscriptionsAcknowledgedNotification(params=acknowledged), related_request_id=ctx.request_id
            )

            async def send(event: Event) -> None:
                await ctx.session.send_notification(
                    event_to_notification(event, meta), related_request_id=ctx.request_id
                )

            await _run(watcher, send)
        except Refused as refused:
            log.info("a stream of notices ends: %s", refused)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            log.debug("the client of a stream of notices is gone")
        finally:
            watcher.close()
            self._streams[actor.account_no] -= 1
            if not self._streams[actor.account_no]:
                del self._streams[actor.account_no]
        return SubscriptionsListenResult(_meta=meta)

    # -- the handshake's revisions: notices on the session's own channel ----------------------------------------------

    def of_session(self, ctx: ServerRequestContext[Any, Any], actor: Actor, who: Who) -> Watcher:
        """The watcher of a session, made when it first lists or subscribes; it ends with the session.

        It tells of the list of resources too, which no request of these revisions asks for.
        """
        # The SDK offers neither `resources/subscribe` nor a session's end and channel to handlers in public. This is
        # the one place that reaches for them, and goes when those revisions go.
        connection = ctx.session._connection  # pyright: ignore[reportPrivateUsage]
        known = connection.state.get(_KEY)
        if isinstance(known, Watcher):
            return known
        watcher = connection.state[_KEY] = Watcher(self._operations, actor, who, lists=True)
        task = asyncio.create_task(_tell(connection, watcher), name="notices of a session")

        async def end() -> None:
            watcher.close()
            task.cancel()
            await asyncio.wait([task])

        connection.exit_stack.push_async_callback(end)
        return watcher


async def _tell(connection: Connection, watcher: Watcher) -> None:
    """Tell a session until it ends. A key that is good no more hears nothing; its session is refused by its calls."""

    async def send(event: Event) -> None:
        if isinstance(event, ResourceUpdated):
            await connection.send_resource_updated(event.uri)
        else:
            await connection.send_resource_list_changed()

    while True:
        try:
            await _run(watcher, send)
        except Refused as refused:
            log.info("a session is not told of changes: %s", refused)
        except Exception:
            log.exception("a session could not be told of changes")
