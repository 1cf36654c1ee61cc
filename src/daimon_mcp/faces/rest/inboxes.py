"""Routes for inboxes."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import Field, model_validator

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute
from daimon_mcp.faces.rest.shapes.inboxes import CreatedInbox, DeletedInbox, Inbox, InboxList
from daimon_mcp.operations.inboxes import CreateInbox, DeleteInbox, GetInbox, ListInboxes, UpdateInbox


class MakeInbox(CreateInbox):
    """An inbox to make; `address` is `username`, or both that and `domain`."""

    join_code: Annotated[
        str | None, Field(max_length=200, description="For the first inbox without a key, where one is asked for")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _address(cls, value: object) -> object:
        given = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        address = given.get("address")
        if not isinstance(address, str) or "username" in given:
            return cast("object", value)
        local, _, domain = address.partition("@")
        rest = {name: each for name, each in given.items() if name != "address"}
        return {**rest, "username": local, **({"domain": domain} if domain else {})}


ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="POST",
        path="/v1/inboxes",
        operation="create_inbox",
        tag="Inboxes",
        summary="Make an inbox",
        description=(
            "An address that receives mail at once. Its key is shown here and never again. Without a key, where the "
            "operator allows it, this makes an account too, and shows its account key."
        ),
        request=MakeInbox,
        result=CreatedInbox,
        run=lambda call: call.operations.inboxes.create_inbox(call.actor, call.request),
        without_key=lambda visit: visit.operations.joining.create_first_inbox(
            visit.visitor, visit.request, join_code=visit.request.join_code
        ),
        headers={"join_code": "X-Join-Code"},
        refuses=(
            RefusalCode.INBOX_ADDRESS_TAKEN,
            RefusalCode.RATE_LIMIT_EXCEEDED,
            RefusalCode.IDEMPOTENCY_CONFLICT,
        ),
    ),
    RestRoute(
        method="GET",
        path="/v1/inboxes",
        operation="list_inboxes",
        tag="Inboxes",
        summary="List inboxes, newest first",
        request=ListInboxes,
        result=InboxList,
        lists="inboxes",
        run=lambda call: call.operations.inboxes.list_inboxes(call.actor, call.request),
    ),
    RestRoute(
        method="GET",
        path="/v1/inboxes/{inbox}",
        operation="get_inbox",
        tag="Inboxes",
        summary="Get an inbox by id or address",
        request=GetInbox,
        result=Inbox,
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.inboxes.get_inbox(call.actor, call.request),
    ),
    RestRoute(
        method="PATCH",
        path="/v1/inboxes/{inbox}",
        operation="update_inbox",
        tag="Inboxes",
        summary="Change an inbox's display name, or merge into its notes",
        request=UpdateInbox,
        result=Inbox,
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.inboxes.update_inbox(call.actor, call.request),
    ),
    RestRoute(
        method="DELETE",
        path="/v1/inboxes/{inbox}",
        operation="delete_inbox",
        tag="Inboxes",
        summary="Delete an inbox with its mail; what it has scheduled does not leave",
        request=DeleteInbox,
        result=DeletedInbox,
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.inboxes.delete_inbox(call.actor, call.request),
    ),
)
