"""Routes that let mail out."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from daimon_mcp.domain.refusals import RefusalCode, invalid
from daimon_mcp.faces.rest.messages import IN_INBOX, MESSAGE
from daimon_mcp.faces.rest.route import AnyRoute, Call, RestRoute
from daimon_mcp.faces.rest.shapes.sending import Sent, SentOrChecked
from daimon_mcp.operations.core import Outcome
from daimon_mcp.operations.drafts import SendDraft
from daimon_mcp.operations.replying import ForwardMessage, ReplyToMessage
from daimon_mcp.operations.requests import Id
from daimon_mcp.operations.sending import SendEmail

REFUSALS = (
    RefusalCode.INBOX_NOT_FOUND,
    RefusalCode.SEND_REQUIRES_PAID,
    RefusalCode.SEND_LIMIT_EXCEEDED,
    RefusalCode.RATE_LIMIT_EXCEEDED,
    RefusalCode.RECIPIENT_REFUSED,
    RefusalCode.RELAY_NOT_CONFIGURED,
    RefusalCode.IDEMPOTENCY_CONFLICT,
    RefusalCode.MESSAGE_TOO_LARGE,
    RefusalCode.ATTACHMENT_NOT_FOUND,
)
_ANSWERS = (*REFUSALS, RefusalCode.MESSAGE_NOT_FOUND)


class Send(SendEmail):
    """A mail, or in its place a draft."""

    draft_id: Annotated[Id | None, Field(description="Send this draft; goes alone, or with reason")] = None


async def _send(call: Call[Send]) -> Outcome:
    request, operations = call.request, call.operations
    if request.draft_id is None:
        return await operations.sending.send_email(call.actor, request)
    if request.model_fields_set - {"inbox", "draft_id", "reason", "client_id"}:
        raise invalid("draft_id", "goes alone: change the draft before it is sent")
    assert request.inbox is not None
    here = replace(call.actor, here=await operations.inboxes.id_of(call.actor, request.inbox))
    return await operations.drafts.send_draft(here, SendDraft(draft_id=request.draft_id, reason=request.reason))


ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="POST",
        path="/v1/inboxes/{inbox}/send",
        operation="send_email",
        tag="Sending",
        summary="Send a mail, now or at send_at",
        description=(
            "to, subject and body are required. Repeat a request with the same client_id, or Idempotency-Key field, "
            "and it is not sent again. dry_run says what would happen."
        ),
        request=Send,
        result=SentOrChecked,
        refuses=(
            *REFUSALS,
            RefusalCode.THREAD_NOT_FOUND,
            RefusalCode.MESSAGE_NOT_FOUND,
            RefusalCode.DRAFT_NOT_FOUND,
            RefusalCode.DRAFT_ALREADY_SENT,
        ),
        run=_send,
    ),
    RestRoute(
        method="POST",
        path=f"{MESSAGE}/reply",
        operation="reply_to_message",
        tag="Sending",
        summary="Answer a message in its thread",
        request=ReplyToMessage,
        result=Sent,
        within=IN_INBOX,
        refuses=_ANSWERS,
        run=lambda call: call.operations.replying.reply_to_message(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path=f"{MESSAGE}/reply-all",
        operation="reply_all_to_message",
        tag="Sending",
        summary="Answer a message to everybody it went to",
        request=ReplyToMessage,
        result=Sent,
        within=IN_INBOX,
        fixed={"reply_all": True},
        hidden=frozenset({"to", "cc"}),
        refuses=_ANSWERS,
        run=lambda call: call.operations.replying.reply_to_message(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path=f"{MESSAGE}/forward",
        operation="forward_message",
        tag="Sending",
        summary="Pass a message on, with its attachments unless told otherwise",
        request=ForwardMessage,
        result=Sent,
        within=IN_INBOX,
        refuses=_ANSWERS,
        run=lambda call: call.operations.replying.forward_message(call.actor, call.request),
    ),
)
