"""The route that tells what is new or altered."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute
from daimon_mcp.faces.rest.shapes.changes import ChangeLog
from daimon_mcp.operations.changelog import ListChanges

ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="GET",
        path="/v1/inboxes/{inbox}/changes",
        operation="changes",
        tag="Messages",
        summary="All that is new or altered in an inbox since a cursor",
        request=ListChanges,
        result=ChangeLog,
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.changelog.list_changes(call.actor, call.request),
    ),
)
