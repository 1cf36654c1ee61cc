"""Completions of what people type for prompts' arguments and resources' ids."""

from __future__ import annotations

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CompleteRequestParams, Completion, PromptReference

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.faces.mcp.prompts import Prompts
from daimon_mcp.faces.mcp.resources import TEMPLATES
from daimon_mcp.operations import Operations
from daimon_mcp.operations.completing import Suggestions

_LONGEST = 320  # characters of a prefix; no address or id is longer
# The kind of thing that an argument names; other arguments are the user's own words.
_KINDS = {"inbox": "inbox", "thread_id": "thread"}


async def complete(operations: Operations, prompts: Prompts, actor: Actor, params: CompleteRequestParams) -> Completion:
    """Values that begin like what was typed, of what the actor may see.

    Raises MCPError (invalid params) for a prompt, a template or an argument that does not exist here.
    """
    kind = _kind(prompts, params)
    typed = params.argument.value
    found = Suggestions([], more=False)
    if len(typed) <= _LONGEST:
        if kind == "inbox":
            found = await operations.completing.inboxes(actor, typed)
        elif kind == "thread":
            found = await operations.completing.threads(actor, typed)
        elif kind == "message":
            found = await operations.completing.messages(actor, typed)
    return Completion(values=found.values, has_more=found.more)


def _kind(prompts: Prompts, params: CompleteRequestParams) -> str | None:
    name = params.argument.name
    if isinstance(params.ref, PromptReference):
        spec = prompts.specs.get(params.ref.name)
        if spec is None:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.ref.name[:64]!r}")
        if name not in spec.arguments.model_fields:
            raise MCPError(INVALID_PARAMS, f"Unknown argument: {name[:64]!r}")
        return _KINDS.get(name)
    template = next((each for each in TEMPLATES if each.uri_template == params.ref.uri), None)
    if template is None:
        raise MCPError(INVALID_PARAMS, "Unknown resource template")
    if name != "id":
        raise MCPError(INVALID_PARAMS, f"Unknown argument: {name[:64]!r}")
    return template.name
