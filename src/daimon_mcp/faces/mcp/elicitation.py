"""Showing the operator a link by the client's own dialog, where it has one; every other client has the text.

Before 2026-07-28 the server asks in the middle of the call; since then the call is answered with what is needed, and
the client calls again. Making the same upgrade link twice gives the same link, so the second call changes nothing.
"""

from __future__ import annotations

import logging
from typing import Any

import anyio
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestURLParams, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

log = logging.getLogger(__name__)

_KEY = "operator_link"
_PATIENCE = 120


def _can_show(context: Context[Any, Any]) -> bool:
    capabilities = context.client_capabilities
    return (
        capabilities is not None and capabilities.elicitation is not None and capabilities.elicitation.url is not None
    )


async def show_link(context: Context[Any, Any], result: dict[str, Any]) -> dict[str, Any] | InputRequiredResult:
    """The result with `operator_dialog` (accept, decline or cancel) if the client showed the link."""
    if not _can_show(context):
        return result
    message, url, ident = result["operator_action_label"], result["operator_action_url"], result["approval_id"]
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        answers = context.input_responses
        if answers is None:
            request = ElicitRequest(params=ElicitRequestURLParams(message=message, url=url))
            return InputRequiredResult(input_requests={_KEY: request})
        answer = answers.get(_KEY)
        return {**result, "operator_dialog": str(getattr(answer, "action", "cancel"))}
    try:
        with anyio.move_on_after(_PATIENCE):
            shown = await context.elicit_url(message=message, url=url, elicitation_id=ident)
            return {**result, "operator_dialog": shown.action}
    except MCPError as error:
        log.info("the client did not show the link: %s", error.error.code)
    return result
