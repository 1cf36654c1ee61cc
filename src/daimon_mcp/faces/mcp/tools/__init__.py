"""All tools, in the order clients see them. Features are file names."""

from __future__ import annotations

from collections.abc import Collection

from daimon_mcp.faces.mcp.tool import AnyTool
from daimon_mcp.faces.mcp.tools import (
    accounts,
    attachments,
    domains,
    drafts,
    inboxes,
    keys,
    lists,
    messages,
    sending,
    threads,
    upgrades,
    webhooks,
)

ALL: tuple[AnyTool, ...] = (
    *inboxes.TOOLS,
    *sending.TOOLS,
    *messages.TOOLS,
    *threads.TOOLS,
    *attachments.TOOLS,
    *drafts.TOOLS,
    *lists.TOOLS,
    *domains.TOOLS,
    *accounts.TOOLS,
    *upgrades.TOOLS,
    *keys.TOOLS,
    *webhooks.TOOLS,
)

NAMES = tuple(tool.name for tool in ALL)


def chosen(
    *, profile: str, only: Collection[str] = (), without: Collection[str] = (), read_only: bool = False
) -> tuple[AnyTool, ...]:
    """The tools of a session: a profile or an explicit list, less exclusions; read-only overrides everything.

    Raises ValueError for a name that no tool has.
    """
    unknown = sorted((set(only) | set(without)) - set(NAMES))
    if unknown:
        raise ValueError(f"there is no tool {unknown[0]!r}; known are {', '.join(NAMES)}")
    picked = [
        tool
        for tool in ALL
        if (tool.name in only if only else profile == "full" or tool.core)
        and tool.name not in without
        and (not read_only or (tool.reads and not tool.secret))
    ]
    return tuple(picked)
