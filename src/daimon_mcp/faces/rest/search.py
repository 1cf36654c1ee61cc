"""Routes that find mail."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute
from daimon_mcp.faces.rest.shapes.messages import SearchResult
from daimon_mcp.operations.searching import SearchMessages

ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="GET",
        path="/v1/search",
        operation="search_messages",
        tag="Messages",
        summary="Find messages by words and operators, in all inboxes or the one that is named",
        request=SearchMessages,
        result=SearchResult,
        lists="messages",
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.searching.search_messages(call.actor, call.request),
    ),
    RestRoute(
        method="GET",
        path="/v1/inboxes/{inbox}/search",
        operation="search_inbox",
        tag="Messages",
        summary="Find messages of an inbox by words and operators",
        request=SearchMessages,
        result=SearchResult,
        lists="messages",
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.searching.search_messages(call.actor, call.request),
    ),
)
