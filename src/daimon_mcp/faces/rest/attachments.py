"""Routes for files: what they are, the text in them, and links by which they are fetched and sent here."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.messages import IN_INBOX, MESSAGE
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute, Result
from daimon_mcp.faces.rest.shapes.attachments import FileToRead, FileToSend
from daimon_mcp.faces.rest.threads import THREAD
from daimon_mcp.operations.attachments import GetAttachment
from daimon_mcp.operations.uploading import UploadAttachment

_HIDDEN = frozenset({"save"})  # a GET changes nothing, nor does a program need the server's folder
_SUMMARY = "What a file is, the text in it, and a link that fetches it for 15 minutes"
_UPLOAD = "Get a handle for a file to send, and a link to PUT its bytes to"


def _linked(result: Result) -> Result:
    return {"url" if name == "download_url" else name: value for name, value in result.items()}


ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="GET",
        path=f"{MESSAGE}/attachments/{{attachment_id}}",
        operation="get_attachment",
        tag="Attachments",
        summary=_SUMMARY,
        request=GetAttachment,
        result=FileToRead,
        within=IN_INBOX | {"message_id"},
        hidden=_HIDDEN,
        shape=_linked,
        refuses=(RefusalCode.INBOX_NOT_FOUND, RefusalCode.ATTACHMENT_NOT_FOUND),
        run=lambda call: call.operations.attachments.get_attachment(
            call.actor, call.request, of_message=call.within["message_id"]
        ),
    ),
    RestRoute(
        method="GET",
        path=f"{THREAD}/messages/{{message_id}}/attachments/{{attachment_id}}",
        operation="get_attachment_in_thread",
        tag="Attachments",
        summary=_SUMMARY,
        request=GetAttachment,
        result=FileToRead,
        within=IN_INBOX | {"thread_id", "message_id"},
        hidden=_HIDDEN,
        shape=_linked,
        refuses=(RefusalCode.INBOX_NOT_FOUND, RefusalCode.THREAD_NOT_FOUND, RefusalCode.ATTACHMENT_NOT_FOUND),
        run=lambda call: call.operations.attachments.get_attachment(
            call.actor, call.request, of_message=call.within["message_id"], of_thread=call.within["thread_id"]
        ),
    ),
    RestRoute(
        method="GET",
        path="/v1/attachments/{attachment_id}",
        operation="get_attachment_by_handle",
        tag="Attachments",
        summary=_SUMMARY,
        request=GetAttachment,
        result=FileToRead,
        hidden=_HIDDEN,
        shape=_linked,
        refuses=(RefusalCode.ATTACHMENT_NOT_FOUND,),
        run=lambda call: call.operations.attachments.get_attachment(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path="/v1/attachments",
        operation="upload_attachment",
        tag="Attachments",
        summary=_UPLOAD,
        request=UploadAttachment,
        result=FileToSend,
        refuses=(RefusalCode.INBOX_NOT_FOUND, RefusalCode.RATE_LIMIT_EXCEEDED, RefusalCode.MESSAGE_TOO_LARGE),
        run=lambda call: call.operations.uploading.upload_attachment(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path="/v1/inboxes/{inbox}/attachments",
        operation="upload_attachment_to_inbox",
        tag="Attachments",
        summary=f"{_UPLOAD}, for that inbox alone",
        request=UploadAttachment,
        result=FileToSend,
        refuses=(RefusalCode.INBOX_NOT_FOUND, RefusalCode.RATE_LIMIT_EXCEEDED, RefusalCode.MESSAGE_TOO_LARGE),
        run=lambda call: call.operations.uploading.upload_attachment(call.actor, call.request),
    ),
)
