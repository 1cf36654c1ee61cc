"""Routes for unsent mail."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.messages import IN_INBOX
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute
from daimon_mcp.faces.rest.sending import REFUSALS
from daimon_mcp.faces.rest.shapes.drafts import DeletedDraft, Draft, DraftList
from daimon_mcp.faces.rest.shapes.sending import Sent
from daimon_mcp.operations.drafts import BrowseDrafts, CreateDraft, DeleteDraft, GetDraft, SendDraft, UpdateDraft

_DRAFTS = "/v1/inboxes/{inbox}/drafts"
_DRAFT = f"{_DRAFTS}/{{draft_id}}"
_NOT_FOUND = (RefusalCode.INBOX_NOT_FOUND, RefusalCode.DRAFT_NOT_FOUND)
_UNSENT = (*_NOT_FOUND, RefusalCode.DRAFT_ALREADY_SENT)

ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="POST",
        path=_DRAFTS,
        operation="create_draft",
        tag="Drafts",
        summary="Keep a mail without sending it; with send_at it leaves then",
        request=CreateDraft,
        result=Draft,
        refuses=(*REFUSALS, RefusalCode.MESSAGE_NOT_FOUND, RefusalCode.THREAD_NOT_FOUND),
        run=lambda call: call.operations.drafts.create_draft(call.actor, call.request),
    ),
    RestRoute(
        method="GET",
        path=_DRAFTS,
        operation="list_drafts",
        tag="Drafts",
        summary="List unsent mail of an inbox, scheduled too, newest first",
        request=BrowseDrafts,
        result=DraftList,
        lists="drafts",
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.drafts.browse_drafts(call.actor, call.request),
    ),
    RestRoute(
        method="GET",
        path=_DRAFT,
        operation="get_draft",
        tag="Drafts",
        summary="Get a draft with its content",
        request=GetDraft,
        result=Draft,
        within=IN_INBOX,
        refuses=_UNSENT,
        run=lambda call: call.operations.drafts.get_draft(call.actor, call.request),
    ),
    RestRoute(
        method="PATCH",
        path=_DRAFT,
        operation="update_draft",
        tag="Drafts",
        summary="Change what is given; what is left out stays, null clears; send_at null holds it back",
        request=UpdateDraft,
        result=Draft,
        within=IN_INBOX,
        refuses=(*REFUSALS, *_UNSENT[1:], RefusalCode.MESSAGE_NOT_FOUND, RefusalCode.THREAD_NOT_FOUND),
        run=lambda call: call.operations.drafts.update_draft(call.actor, call.request),
    ),
    RestRoute(
        method="DELETE",
        path=_DRAFT,
        operation="delete_draft",
        tag="Drafts",
        summary="Delete a draft for good; a scheduled send of it is cancelled",
        request=DeleteDraft,
        result=DeletedDraft,
        within=IN_INBOX,
        refuses=_UNSENT,
        run=lambda call: call.operations.drafts.delete_draft(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path=f"{_DRAFT}/send",
        operation="send_draft",
        tag="Drafts",
        summary="Send a draft now, or leave it to its send_at",
        request=SendDraft,
        result=Sent,
        within=IN_INBOX,
        refuses=(*REFUSALS, *_UNSENT[1:]),
        run=lambda call: call.operations.drafts.send_draft(call.actor, call.request),
    ),
)
