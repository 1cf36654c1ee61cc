"""Tools for allow and block lists."""

from __future__ import annotations

from daimon_mcp.faces.mcp.schema import output_schema
from daimon_mcp.faces.mcp.tool import AnyTool, ToolSpec
from daimon_mcp.operations.lists import ChangeList, GetLists
from daimon_mcp.operations.suppressing import ListSuppressions, RemoveSuppression

TOOLS: tuple[AnyTool, ...] = (
    ToolSpec(
        name="get_lists",
        title="Show lists",
        description="Show who may and may not write to an inbox, and whom it may write to.",
        request=GetLists,
        output=output_schema(entries="os"),
        run=lambda call: call.operations.lists.get_lists(call.actor, call.request),
        reads=True,
    ),
    ToolSpec(
        name="add_to_list",
        title="Add to list",
        description=(
            "Block senders or recipients, or allow only those listed: an empty allow list allows everybody. "
            "Incoming mail that a list refuses is put in spam with the label blocked, and can be released."
        ),
        request=ChangeList,
        output=output_schema(entries="ss"),
        run=lambda call: call.operations.lists.add_to_list(call.actor, call.request),
        repeats=True,
    ),
    ToolSpec(
        name="remove_from_list",
        title="Remove from list",
        description="Take entries off a list.",
        request=ChangeList,
        output=output_schema(entries="ss"),
        run=lambda call: call.operations.lists.remove_from_list(call.actor, call.request),
        repeats=True,
    ),
    ToolSpec(
        name="list_suppressions",
        title="List suppressions",
        description="Show the addresses that mail bounced from for good: nothing more is sent to them.",
        request=ListSuppressions,
        output=output_schema(suppressions="os", next_cursor="s?"),
        run=lambda call: call.operations.suppressing.list_suppressions(call.actor, call.request),
        reads=True,
    ),
    ToolSpec(
        name="remove_suppression",
        title="Remove suppression",
        description="Write to an address again that mail bounced from.",
        request=RemoveSuppression,
        output=output_schema(address="s", status="s"),
        run=lambda call: call.operations.suppressing.remove_suppression(call.actor, call.request),
    ),
)
