"""Tools for keys."""

from __future__ import annotations

from daimon_mcp.faces.mcp.schema import output_schema
from daimon_mcp.faces.mcp.tool import AnyTool, Nothing, ToolSpec
from daimon_mcp.operations.keys import CreateKey, RevokeKey, RotateKey

TOOLS: tuple[AnyTool, ...] = (
    ToolSpec(
        name="create_key",
        title="Create key",
        description=(
            "Make a further API key of your account; it is shown only once. It can never do more than yours. "
            'Example: {"name": "newsletter worker", "inbox": "news@example.com", "reply_only": true}.'
        ),
        request=CreateKey,
        output=output_schema(id="s", api_key="s", name="s", inbox="s?", expires_at="s?"),
        run=lambda call: call.operations.keys.create_key(call.actor, call.request),
        secret=True,
    ),
    ToolSpec(
        name="list_keys",
        title="List keys",
        description="List your account's API keys, what they may do and when they were used, without the keys.",
        request=Nothing,
        output=output_schema(keys="os", total="n"),
        run=lambda call: call.operations.keys.list_keys(call.actor),
        reads=True,
    ),
    ToolSpec(
        name="rotate_key",
        title="Rotate key",
        description="Make a new API key in the place of an old one, which works on for overlap_seconds.",
        request=RotateKey,
        output=output_schema(id="s", api_key="s", replaces="s", old_expires_at="s"),
        run=lambda call: call.operations.keys.rotate_key(call.actor, call.request),
        secret=True,
    ),
    ToolSpec(
        name="revoke_key",
        title="Revoke key",
        description="End an API key at once, with the sessions it opened. Cannot be undone.",
        request=RevokeKey,
        output=output_schema(id="s", status="s"),
        run=lambda call: call.operations.keys.revoke_key(call.actor, call.request),
        destroys=True,
    ),
)
