"""Tools for inboxes."""

from __future__ import annotations

from daimon_mcp.faces.mcp.schema import output_schema
from daimon_mcp.faces.mcp.tool import AnyTool, ToolSpec
from daimon_mcp.operations.inboxes import CreateInbox, DeleteInbox, GetInbox, ListInboxes, UpdateInbox

TOOLS: tuple[AnyTool, ...] = (
    ToolSpec(
        name="create_inbox",
        title="Create inbox",
        description=(
            "Make an email address that receives mail at once. Keys in the answer are shown only once. "
            'Example: {"username": "support-bot", "client_id": "setup-1"}.'
        ),
        request=CreateInbox,
        output=output_schema(
            id="s", address="s", status="s", tier="s", api_key="s", account_api_key="s",
        ),
        run=lambda call: call.operations.inboxes.create_inbox(call.actor, call.request),
        core=True,
    ),
    ToolSpec(
        name="list_inboxes",
        title="List inboxes",
        description="List your inboxes with counts, newest first.",
        request=ListInboxes,
        output=output_schema(inboxes="os", total="n", next_cursor="s?"),
        run=lambda call: call.operations.inboxes.list_inboxes(call.actor, call.request),
        core=True,
        reads=True,
    ),
    ToolSpec(
        name="get_inbox",
        title="Get inbox",
        description="Show one inbox by id or address.",
        request=GetInbox,
        output=output_schema(id="s", address="s", status="s", message_count="n", unread_count="n"),
        run=lambda call: call.operations.inboxes.get_inbox(call.actor, call.request),
        reads=True,
    ),
    ToolSpec(
        name="update_inbox",
        title="Update inbox",
        description="Change an inbox's display name, or your notes on it.",
        request=UpdateInbox,
        output=output_schema(id="s", display_name="s", metadata="o"),
        run=lambda call: call.operations.inboxes.update_inbox(call.actor, call.request),
        repeats=True,
    ),
    ToolSpec(
        name="delete_inbox",
        title="Delete inbox",
        description="Delete an inbox with all its mail; scheduled mail of it will not leave. Cannot be undone.",
        request=DeleteInbox,
        output=output_schema(id="s", status="s", deleted_at="s"),
        run=lambda call: call.operations.inboxes.delete_inbox(call.actor, call.request),
        destroys=True,
    ),
)  # fmt: skip
