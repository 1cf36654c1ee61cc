"""Tools that let mail out."""

from __future__ import annotations

from daimon_mcp.faces.mcp.schema import output_schema
from daimon_mcp.faces.mcp.tool import AnyTool, ToolSpec
from daimon_mcp.operations.releasing import CancelScheduled
from daimon_mcp.operations.replying import ForwardMessage, ReplyToMessage
from daimon_mcp.operations.sending import SendEmail

_SENT = output_schema(id="s", status="s", message_id="s", thread_id="s", sent_at="s?", scheduled_at="s?")

TOOLS: tuple[AnyTool, ...] = (
    ToolSpec(
        name="send_email",
        title="Send email",
        description=(
            "Send an email from your inbox; to, subject and body are required. It cannot be taken back once it left. "
            "Repeat the client_id when you retry. "
            'Example: {"to": ["ann@example.com"], "subject": "Hello", "body": "Hi Ann", "client_id": "hello-1"}.'
        ),
        request=SendEmail,
        output=_SENT,
        run=lambda call: call.operations.sending.send_email(call.actor, call.request),
        core=True,
        destroys=True,
        outside=True,
    ),
    ToolSpec(
        name="reply_to_message",
        title="Reply",
        description=(
            "Answer a message in its thread; recipients, subject and quoting are set for you. "
            'Example: {"message_id": "msg_…", "body": "Thank you", "client_id": "re-1"}.'
        ),
        request=ReplyToMessage,
        output=_SENT,
        run=lambda call: call.operations.replying.reply_to_message(call.actor, call.request),
        core=True,
        destroys=True,
        outside=True,
    ),
    ToolSpec(
        name="forward_message",
        title="Forward",
        description="Pass a message on to somebody else, with its attachments; body is your introduction.",
        request=ForwardMessage,
        output=_SENT,
        run=lambda call: call.operations.replying.forward_message(call.actor, call.request),
        destroys=True,
        outside=True,
    ),
    ToolSpec(
        name="cancel_scheduled",
        title="Cancel scheduled mail",
        description="Take back mail that is scheduled or waits for an upgrade. Fails once it has left.",
        request=CancelScheduled,
        output=output_schema(id="s", status="s"),
        run=lambda call: call.operations.releasing.cancel_scheduled(call.actor, call.request),
        destroys=True,
    ),
)
