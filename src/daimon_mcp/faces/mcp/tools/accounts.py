"""Tools about the account."""

from __future__ import annotations

from daimon_mcp.faces.mcp.schema import output_schema
from daimon_mcp.faces.mcp.tool import AnyTool, Nothing, ToolSpec

TOOLS: tuple[AnyTool, ...] = (
    ToolSpec(
        name="get_account",
        title="Get account",
        description="Show your tier, limits and how many sends are left.",
        request=Nothing,
        output=output_schema(
            id="s", tier="s", status="s", sends_today="n", daily_send_limit="n?", sends_this_month="n",
            monthly_send_limit="n?",
        ),
        run=lambda call: call.operations.accounts.get_account(call.actor),
        core=True,
        reads=True,
    ),
    ToolSpec(
        name="get_capabilities",
        title="Get capabilities",
        description="Say what this account can and cannot do now, and what would change that.",
        request=Nothing,
        output=output_schema(tier="s", can="os", cannot="os", next_tier="s?"),
        run=lambda call: call.operations.accounts.get_capabilities(call.actor),
        reads=True,
    ),
    ToolSpec(
        name="get_smtp_credentials",
        title="Get SMTP credentials",
        description="Show the account's SMTP user name and password for programs. Never put them into mail.",
        request=Nothing,
        output=output_schema(
            host="s?", port="n?", username="s", password="s?", tls="b", auth_method="s",  # noqa: S106  a type's name
        ),
        run=lambda call: call.operations.accounts.get_smtp_credentials(call.actor),
        core=True,
        reads=True,
        secret=True,
    ),
    ToolSpec(
        name="rotate_smtp_password",
        title="Rotate SMTP password",
        description="Make a new SMTP password. The old one stops working at once, in programs that use it too.",
        request=Nothing,
        output=output_schema(
            host="s?", port="n?", username="s", password="s?", rotated_at="s?",  # noqa: S106  a type's name
        ),
        run=lambda call: call.operations.accounts.rotate_smtp_password(call.actor),
        secret=True,
    ),
)  # fmt: skip
