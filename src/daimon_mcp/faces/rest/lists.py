"""Routes for allow and block lists, of the account and of an inbox, and for suppressed addresses."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute
from daimon_mcp.faces.rest.shapes.lists import ChangedList, Entries, RemovedSuppression, SuppressionList
from daimon_mcp.operations.lists import ChangeList, GetLists
from daimon_mcp.operations.suppressing import ListSuppressions, RemoveSuppression

_LISTS = "/v1/lists"
_OF_INBOX = "/v1/inboxes/{inbox}/lists"
_SUPPRESSIONS = "/v1/suppressions"
_NOT_FOUND = (RefusalCode.INBOX_NOT_FOUND,)


def _routes(path: str, ending: str, whose: str) -> tuple[AnyRoute, ...]:
    return (
        RestRoute(
            method="GET",
            path=path,
            operation=f"get{ending}lists",
            tag="Lists",
            summary=f"Show the allow and block lists of {whose}",
            request=GetLists,
            result=Entries,
            refuses=_NOT_FOUND,
            run=lambda call: call.operations.lists.get_lists(call.actor, call.request),
        ),
        RestRoute(
            method="POST",
            path=path,
            operation=f"add_to{ending}list",
            tag="Lists",
            summary=f"Put entries on a list of {whose}",
            request=ChangeList,
            result=ChangedList,
            refuses=_NOT_FOUND,
            run=lambda call: call.operations.lists.add_to_list(call.actor, call.request),
        ),
        RestRoute(
            method="DELETE",
            path=path,
            operation=f"remove_from{ending}list",
            tag="Lists",
            summary=f"Take entries off a list of {whose}",
            request=ChangeList,
            result=ChangedList,
            refuses=_NOT_FOUND,
            run=lambda call: call.operations.lists.remove_from_list(call.actor, call.request),
        ),
    )


ROUTES: tuple[AnyRoute, ...] = (
    *_routes(_LISTS, "_", "the account, or of the inbox that is named"),
    *_routes(_OF_INBOX, "_inbox_", "an inbox"),
    RestRoute(
        method="GET",
        path=_SUPPRESSIONS,
        operation="list_suppressions",
        tag="Lists",
        summary="List the addresses that nothing more is sent to, because mail to them bounced for good",
        request=ListSuppressions,
        result=SuppressionList,
        lists="suppressions",
        run=lambda call: call.operations.suppressing.list_suppressions(call.actor, call.request),
    ),
    RestRoute(
        method="DELETE",
        path=f"{_SUPPRESSIONS}/{{address}}",
        operation="remove_suppression",
        tag="Lists",
        summary="Write to an address again that mail bounced from",
        request=RemoveSuppression,
        result=RemovedSuppression,
        run=lambda call: call.operations.suppressing.remove_suppression(call.actor, call.request),
    ),
)
