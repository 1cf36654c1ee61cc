"""Routes for mail that has not left."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.messages import IN_INBOX
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute, Result
from daimon_mcp.faces.rest.shapes.messages import ScheduledList
from daimon_mcp.faces.rest.shapes.sending import Cancelled
from daimon_mcp.operations.messages import ListMessages
from daimon_mcp.operations.releasing import CancelScheduled

_PATH = "/v1/inboxes/{inbox}/scheduled"
_OTHERS = {"thread_id", "unread", "direction", "kind", "before", "after"}


def _scheduled(result: Result) -> Result:
    return {"scheduled": result["messages"], "has_more": result["has_more"], "next_cursor": result["next_cursor"]}


ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="GET",
        path=_PATH,
        operation="list_scheduled",
        tag="Sending",
        summary="List mail that is scheduled, or waits for an upgrade",
        request=ListMessages,
        result=ScheduledList,
        fixed={"label": "scheduled"},
        hidden=frozenset(_OTHERS),
        lists="messages",
        shape=_scheduled,
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.messages.list_messages(call.actor, call.request),
    ),
    RestRoute(
        method="DELETE",
        path=f"{_PATH}/{{message_id}}",
        operation="cancel_scheduled",
        tag="Sending",
        summary="Take back mail that is scheduled, or waits for an upgrade",
        request=CancelScheduled,
        result=Cancelled,
        within=IN_INBOX,
        refuses=(RefusalCode.INBOX_NOT_FOUND, RefusalCode.SCHEDULED_NOT_FOUND),
        run=lambda call: call.operations.releasing.cancel_scheduled(call.actor, call.request),
    ),
)
