"""What an actor may watch: the canonical id of a thing it names, or the same refusal as for reading it."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core

Watchable = Literal["account", "inbox", "message", "thread"]


class Watching:
    """The check before, and with, each notice of a change."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def resolve(self, actor: Actor, kind: Watchable, reference: str) -> str:
        """The id of what `reference` (an id, or for inboxes an address) names, as changes on the bus name it.

        The account is the actor's own, whatever the reference. Raises FORBIDDEN, INBOX_NOT_FOUND, MESSAGE_NOT_FOUND,
        THREAD_NOT_FOUND; what is deleted is not found.
        """
        core = self._core
        if kind == "account":
            actor.require("account_read")
            return actor.account_id
        actor.require("message_read")
        if kind == "inbox":
            actor.require("inbox_read")
            return (await access.inbox(core, actor, reference)).id
        if kind == "message":
            message = await access.message(core, actor, reference)
            if message.deleted_at is not None:
                raise Refused(RefusalCode.MESSAGE_NOT_FOUND)
            return message.id
        return (await access.thread(core, actor, reference)).id
