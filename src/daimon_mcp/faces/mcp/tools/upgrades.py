"""Tools that ask the operator."""

from __future__ import annotations

from daimon_mcp.faces.mcp.schema import output_schema
from daimon_mcp.faces.mcp.tool import AnyTool, ToolSpec
from daimon_mcp.operations.upgrades import (
    CreateUpgradeLink,
    GetApproval,
    NotifyOperator,
    WaitForApproval,
    WaitForUpgrade,
)

TOOLS: tuple[AnyTool, ...] = (
    ToolSpec(
        name="create_upgrade_link",
        title="Upgrade link",
        description=(
            "Make a link by which your operator can approve a higher tier. You cannot approve it yourself. "
            'Example: {"reason": "to answer the customers"}.'
        ),
        request=CreateUpgradeLink,
        output=output_schema(url="s", target_tier="s", approval_id="s", expires_at="s", agent_script="s"),
        run=lambda call: call.operations.upgrades.create_upgrade_link(call.actor, call.request),
        core=True,
        repeats=True,
        shows_link=True,
    ),
    ToolSpec(
        name="wait_for_upgrade",
        title="Wait for upgrade",
        description="Wait until the operator has decided about the tier, instead of polling.",
        request=WaitForUpgrade,
        output=output_schema(status="s", tier="s", comment="s?"),
        run=lambda call: call.operations.upgrades.wait_for_upgrade(call.actor, call.request, call.progress),
        reads=True,
    ),
    ToolSpec(
        name="notify_operator",
        title="Ask operator",
        description="Ask your operator a question that needs a decision; they approve or reject with a comment.",
        request=NotifyOperator,
        output=output_schema(approval_id="s", status="s", url="s", expires_at="s", agent_script="s"),
        run=lambda call: call.operations.upgrades.notify_operator(call.actor, call.request),
    ),
    ToolSpec(
        name="wait_for_approval",
        title="Wait for decision",
        description="Wait until the operator has decided about held email or a question, instead of polling.",
        request=WaitForApproval,
        output=output_schema(id="s", kind="s", status="s", message_id="s?", comment="s?", decided_at="s?"),
        run=lambda call: call.operations.upgrades.wait_for_approval(call.actor, call.request, call.progress),
        reads=True,
    ),
    ToolSpec(
        name="get_approval",
        title="Get approval",
        description="Show what the operator decided about held email, a question or an upgrade.",
        request=GetApproval,
        output=output_schema(id="s", kind="s", status="s", message_id="s?", comment="s?", decided_at="s?"),
        run=lambda call: call.operations.upgrades.get_approval(call.actor, call.request),
        reads=True,
    ),
)
