"""What has happened in an inbox since a cursor: for programs and agents that keep up instead of listing again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import iso
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.exposure import read_outside_mail
from daimon_mcp.operations.places import inbox_for, place_number, read_place
from daimon_mcp.operations.requests import Id, Request
from daimon_mcp.operations.views import Of, cursor, message_view
from daimon_mcp.store import changes, messages
from daimon_mcp.store import compiled as sql


class ListChanges(Request):
    since: Annotated[
        str | None, Field(description="cursor of an earlier result; left out, the place where the inbox stands now")
    ] = None
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Changelog:
    """The verb that tells what changed."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list_changes(self, actor: Actor, request: ListChanges) -> Outcome:
        """Changes after a cursor, oldest first, each message once with all that happened to it, as it is now.

        At least once, across restarts: the cursor moves only as far as what was answered. Raises INBOX_NOT_FOUND
        (INBOX_DELETED for a cursor of an inbox that is gone), INVALID_REQUEST.
        """
        actor.require("message_read")
        core = self._core
        if request.since is None:
            inbox = await access.inbox(core, actor, request.inbox)
            inbox_no, place = inbox.no, await changes.latest(core.database, inbox.no)
        else:
            named = await inbox_for(core, actor, request.inbox, request.since, "since") if request.inbox else None
            inbox_no, place = await read_place(core, actor, named, request.since, "since")
        rows = await changes.after(core.database, inbox_no, place, request.limit + 1)
        page, more = rows[: request.limit], len(rows) > request.limit
        happened: dict[str, list[changes.LoggedChange]] = {}
        for change in page:
            happened.setdefault(change.message_id, []).append(change)
        until = page[-1].n if page else place
        found = await core.database.all(sql.changed_messages, inbox_no=inbox_no, after=place, until=until)
        if found:
            await read_outside_mail(core, actor)
        views = {listed.id: message_view(listed) for listed in map(messages.listed_of, found)}
        told: list[dict[str, Any]] = [
            {
                "what": list(dict.fromkeys(change.what for change in each)),
                "message_id": message_id,
                "at": iso(each[-1].at),
                "message": views.get(message_id),  # none for one that is deleted
            }
            for message_id, each in happened.items()
        ]
        result = {
            "changes": told,
            "has_more": more,
            "cursor": cursor(Of.PLACE, place_number(inbox_no, until)),
        }
        facts = {"shown": len(told), "more": "yes" if more else None}
        return Outcome(
            key="changes" + ("" if told else ".start" if request.since is None else ".none"), result=result, facts=facts
        )
