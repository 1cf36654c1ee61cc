"""Tools for unsent mail."""

from __future__ import annotations

from daimon_mcp.faces.mcp.schema import output_schema
from daimon_mcp.faces.mcp.tool import AnyTool, ToolSpec
from daimon_mcp.operations.drafts import CreateDraft, DeleteDraft, GetDraft, ListDrafts, SendDraft, UpdateDraft

_DRAFT = output_schema(
    id="s", status="s", to="os", subject="s?", body_text="s?", send_at="s?", message_id="s",
)  # fmt: skip

TOOLS: tuple[AnyTool, ...] = (
    ToolSpec(
        name="create_draft",
        title="Create draft",
        description=(
            "Keep mail without sending it, on every tier. With send_at it leaves then; reply_to_message or "
            "forward_of prepare an answer or forward."
        ),
        request=CreateDraft,
        output=_DRAFT,
        run=lambda call: call.operations.drafts.create_draft(call.actor, call.request),
        core=True,
    ),
    ToolSpec(
        name="list_drafts",
        title="List drafts",
        description="List unsent mail of an inbox, scheduled too, newest first.",
        request=ListDrafts,
        output=output_schema(drafts="os", next_cursor="s?"),
        run=lambda call: call.operations.drafts.list_drafts(call.actor, call.request),
        reads=True,
    ),
    ToolSpec(
        name="get_draft",
        title="Read draft",
        description="Show one draft with its content.",
        request=GetDraft,
        output=_DRAFT,
        run=lambda call: call.operations.drafts.get_draft(call.actor, call.request),
        reads=True,
    ),
    ToolSpec(
        name="update_draft",
        title="Change draft",
        description="Change what you pass; what is left out stays, null clears. send_at moves or, as null, stops it.",
        request=UpdateDraft,
        output=_DRAFT,
        run=lambda call: call.operations.drafts.update_draft(call.actor, call.request),
        repeats=True,
        nullable=True,
    ),
    ToolSpec(
        name="delete_draft",
        title="Delete draft",
        description="Delete a draft for good; a scheduled send of it is cancelled.",
        request=DeleteDraft,
        output=output_schema(id="s", deleted="b"),
        run=lambda call: call.operations.drafts.delete_draft(call.actor, call.request),
        destroys=True,
    ),
    ToolSpec(
        name="send_draft",
        title="Send draft",
        description="Send a draft now, or leave it to its send_at. It becomes a message and cannot be taken back.",
        request=SendDraft,
        output=output_schema(id="s", status="s", message_id="s", sent_at="s?", scheduled_at="s?", note="s?"),
        run=lambda call: call.operations.drafts.send_draft(call.actor, call.request),
        core=True,
        destroys=True,
        outside=True,
    ),
)
