"""The MCP server of one kind of session (a profile, or read-only): a strict layer over the SDK's MCPServer.

Stricter than the SDK: unknown tools and cursors are protocol errors, unknown arguments are refused by name, validation
errors are one line that echoes nothing, and crashes tell an id and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, InputRequiredResult
from mcp_types import Tool as WireTool

from daimon_mcp import __version__
from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.mcp import results
from daimon_mcp.faces.mcp.dialect import ToolDialect
from daimon_mcp.faces.mcp.elicitation import show_link
from daimon_mcp.faces.mcp.tool import AnyTool, Call
from daimon_mcp.logs import cid, new_cid
from daimon_mcp.operations import Operations
from daimon_mcp.operations.core import Progress
from daimon_mcp.operations.requests import read

log = logging.getLogger(__name__)

ACTOR_KEY = "daimon.actor"  # where the HTTP face leaves the actor in the ASGI scope
_PAGED = {"tools/list", "resources/list", "resources/templates/list", "prompts/list"}


@dataclass(frozen=True, slots=True)
class Session:
    """Who a connection belongs to; None means this machine's own account."""

    actor: Actor | None
    read_only: bool = False


session: ContextVar[Session] = ContextVar("session", default=Session(None))  # noqa: B039  immutable


class MailServer(MCPServer[Any]):
    """Our tools behind the SDK's protocol."""

    def __init__(self, operations: Operations, tools: Sequence[AnyTool], *, read_only: bool = False) -> None:
        super().__init__(
            "daimon-mcp",
            title="daimon-mcp mail",
            version=__version__,
            instructions=operations.texts.text("", "instructions").prose("instructions"),
            website_url=None,
            cache_hints={"tools/list": CacheHint(ttl_ms=3_600_000, scope="public")},
            middleware=[refuse_bogus_cursors],
            log_level="WARNING",
        )
        self._operations = operations
        self._specs = {tool.name: tool for tool in tools}
        self._wire: list[WireTool] | None = None
        self._read_only = read_only
        self._dialect = ToolDialect(self._specs)

    async def run_session(self, read_stream: Any, write_stream: Any) -> None:
        """Serve one connection, of either protocol era, until its client leaves."""
        # The SDK offers this for stdio alone (`run_stdio_async`); what it does there is these two lines.
        low = self._lowlevel_server
        await low.run(read_stream, write_stream, low.create_initialization_options())

    async def list_tools(self) -> list[WireTool]:
        """The tools, always in the same order: what a host has cached stays true."""
        if self._wire is None:
            self._wire = [spec.wire for spec in self._specs.values()]
        return self._wire

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Run one tool. Raises MCPError for a tool that does not exist here."""
        spec = self._specs.get(name)
        if spec is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {name[:64]!r}")
        operations = self._operations
        token = cid.set(new_cid())
        actor: Actor | None = None
        try:
            actor = await self._actor(context)
            request = read(spec.request, arguments)
            outcome = await spec.run(Call(operations, actor, request, _progress(context)))
            envelope = operations.guide.outcome(outcome, self._dialect)
            if spec.shows_link and context is not None and outcome.link is not None:
                shown = await show_link(context, envelope["result"])
                if isinstance(shown, InputRequiredResult):
                    return shown
                envelope["result"] = shown
            return results.success(operations.guide.summary(outcome, self._dialect), envelope)
        except Refused as refused:
            log.info("tool %s refused: %s", name, refused)
            return results.refusal(await self._refusal(refused, actor, arguments))
        except (asyncio.CancelledError, MCPError):
            raise
        except Exception:
            log.exception("tool %s failed", name)
            refused = Refused(RefusalCode.INTERNAL, facts={"id": cid.get()})
            return results.refusal(await self._refusal(refused, None, {}))
        finally:
            cid.reset(token)

    async def _refusal(self, refused: Refused, actor: Actor | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
        reason = arguments.get("reason")
        return await self._operations.guide.refusal(
            refused, self._dialect, actor=actor, reason=reason[:300] if isinstance(reason, str) else None
        )

    async def _actor(self, context: Context[Any, Any] | None) -> Actor:
        """Who is calling: the key of this very HTTP request, or the session's, or this machine's own account."""
        request = None if context is None else context.request_context.request
        scope: Mapping[str, Any] = getattr(request, "scope", {})
        known = session.get()
        actor: Actor | None = scope.get(ACTOR_KEY) or known.actor
        if actor is None:
            actor = await self._operations.accounts.local_actor()
        return replace(actor, read_only=True) if self._read_only or known.read_only else actor


def _progress(context: Context[Any, Any] | None) -> Progress | None:
    if context is None:
        return None

    async def report(done: float, total: float) -> None:
        await context.report_progress(done, total)

    return report


async def refuse_bogus_cursors(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """We give out no cursors for lists of tools, resources and prompts: any that comes is made up."""
    if ctx.method in _PAGED and ctx.params is not None and ctx.params.get("cursor") is not None:
        raise MCPError(INVALID_PARAMS, "Unknown cursor: this list has one page")
    return await call_next(ctx)
