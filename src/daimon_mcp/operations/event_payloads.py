"""Events as they are told: looked up when that happens, so that the log itself holds no text of mail."""

from __future__ import annotations

from typing import Any

from daimon_mcp.domain.events import fitted, wire_event
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.messages import Messages
from daimon_mcp.operations.views import inbox_view
from daimon_mcp.store import inboxes, messages
from daimon_mcp.store.events import StoredEvent

_IN_MESSAGE = ("inbox_id", "message_id", "thread_id")
_OF_INBOXES = ("inbox.created", "inbox.deleted")


class EventPayloads:
    """What every way of telling shows of an event."""

    def __init__(self, core: Core, messages: Messages) -> None:
        self._core = core
        self._messages = messages

    async def wire(self, event: StoredEvent) -> dict[str, Any]:
        """An event with what it is about as that is now, in at most 64 kB of JSON.

        A message comes whole but for its HTML; of one that is deleted, or whose inbox is, only ids.
        """
        data = {name: value for name, value in event.payload.items() if name not in _IN_MESSAGE}
        if "message_id" in event.payload:
            data["message"] = await self._message(event)
        elif event.type in _OF_INBOXES and event.inbox_no is not None:
            inbox = await inboxes.by_no(self._core.database, event.inbox_no)
            if inbox is not None:
                data["inbox"] = inbox_view(inbox)
        payload = wire_event(
            id=event.id,
            type=event.type,
            at=event.created_at,
            account_id=event.account_id,
            inbox_id=event.inbox_id,
            data=data,
        )
        return fitted(payload)

    async def _message(self, event: StoredEvent) -> dict[str, Any]:
        ids = {name: event.payload.get(name) for name in ("inbox_id", "thread_id")}
        gone = {"id": event.payload["message_id"], **ids, "deleted": True}
        if event.inbox_deleted:
            return gone
        stored = await messages.by_id(self._core.database, event.payload["message_id"])
        if stored is None or stored.deleted_at is not None:
            return gone
        view = await self._messages.whole(stored, set())
        return {**view, "from": view["from_address"], "to": view["to_addresses"], "cc": view["cc_addresses"]}
