"""The MCP server of one kind of session (a profile, or read-only): a strict layer over the SDK's MCPServer.

Stricter than the SDK: unknown tools and cursors are protocol errors, unknown arguments are refused by name, validation
errors are one line that echoes nothing, and crashes tell an id and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, GetPromptResult, InputRequiredResult
from mcp_types import Tool as WireTool

from daimon_mcp import __version__
from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.mcp import bounds, results
from daimon_mcp.faces.mcp.dialect import ToolDialect
from daimon_mcp.faces.mcp.elicitation import show_link
from daimon_mcp.faces.mcp.tool import AnyTool, Call
from daimon_mcp.logs import cid, new_cid
from daimon_mcp.operations import Operations
from daimon_mcp.operations.core import Outcome, Progress
from daimon_mcp.operations.requests import read
from daimon_mcp.texts import render_bullets

log = logging.getLogger(__name__)

ACTOR_KEY = "daimon.actor"  # where the HTTP face leaves the actor in the ASGI scope
_PAGED = {"tools/list", "resources/list", "resources/templates/list", "prompts/list"}


@dataclass(frozen=True, slots=True)
class Session:
    """Who a connection belongs to; None means this machine's own account. A key is checked again at every call."""

    actor: Actor | None
    read_only: bool = False
    api_key: str | None = field(default=None, repr=False)


session: ContextVar[Session] = ContextVar("session", default=Session(None))  # noqa: B039  immutable


class MailServer(MCPServer[Any]):
    """Our tools behind the SDK's protocol."""

    def __init__(self, operations: Operations, tools: Sequence[AnyTool], *, read_only: bool = False) -> None:
        super().__init__(
            "daimon-mcp",
            title="daimon-mcp mail",
            version=__version__,
            instructions=_instructions(operations, ToolDialect([tool.name for tool in tools])),
            website_url=None,
            # Nothing changes what a session has: no lists to watch, and no resources to subscribe to.
            subscriptions=False,
            cache_hints={"tools/list": CacheHint(ttl_ms=3_600_000, scope="public")},
            middleware=[refuse_bogus_cursors],
            log_level="WARNING",
        )
        self._operations = operations
        self._specs = {tool.name: tool for tool in tools}
        # Made before the first client is answered, not while it waits for its first list.
        self._wire = [spec.wire for spec in self._specs.values()]
        self._read_only = read_only
        self._most = operations.core.policy.max_result_tokens * bounds.BYTES_PER_TOKEN
        self._dialect = ToolDialect(self._specs)

    async def run_session(self, read_stream: Any, write_stream: Any) -> None:
        """Serve one connection, of either protocol era, until its client leaves."""
        # The SDK offers this for stdio alone (`run_stdio_async`); what it does there is these two lines.
        low = self._lowlevel_server
        await low.run(read_stream, write_stream, low.create_initialization_options())

    async def list_tools(self) -> list[WireTool]:
        """The tools, always in the same order: what a host has cached stays true."""
        return self._wire

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Run one tool. Raises MCPError for a tool that does not exist here."""
        spec = self._specs.get(name)
        if spec is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {name[:64]!r}")
        token = cid.set(new_cid())
        actor: Actor | None = None
        try:
            actor = await self._actor(context)
            request = read(spec.request, arguments)
            call = Call(self._operations, actor, request, _progress(context))
            outcome, envelope = await self._fitting(spec, call)
            if spec.shows_link and context is not None and outcome.link is not None:
                shown = await show_link(context, envelope["result"])
                if isinstance(shown, InputRequiredResult):
                    return shown
                envelope["result"] = shown
            summary = self._operations.guide.summary(outcome, self._dialect)
            return results.success(summary, envelope, reading=spec.reads)
        except Refused as refused:
            log.info("tool %s refused: %s", name, refused)
            return await self._refusal(refused, actor, arguments)
        except (asyncio.CancelledError, MCPError):
            raise
        except Exception:
            log.exception("tool %s failed", name)
            return await self._broken()
        finally:
            cid.reset(token)

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> GetPromptResult:
        """There are no prompts: any that is asked for is the host's mistake. Raises MCPError."""
        raise MCPError(INVALID_PARAMS, f"Unknown prompt: {name[:64]!r}")

    async def _fitting(self, spec: AnyTool, call: Call[Any]) -> tuple[Outcome, dict[str, Any]]:
        """Run a tool; an answer that is too long is asked for again with fewer rows or less text, at last cut."""
        while True:
            outcome = await spec.run(call)
            envelope = self._operations.guide.outcome(outcome, self._dialect)
            measured = bounds.size(envelope)
            if measured <= self._most:
                return outcome, envelope
            # Only what changes nothing can be asked twice.
            fewer = bounds.narrowed(call.request, outcome.result, measured, self._most) if spec.reads else None
            if fewer is None:
                return outcome, bounds.clipped(envelope, self._most)
            call = replace(call, request=fewer)

    async def _refusal(self, refused: Refused, actor: Actor | None, arguments: Mapping[str, Any]) -> CallToolResult:
        guide, reason = self._operations.guide, arguments.get("reason")
        try:
            try:
                envelope = await guide.refusal(
                    refused, self._dialect, actor=actor, reason=reason[:300] if isinstance(reason, str) else None
                )
            except Refused as second:  # it stands without its link, if none can be made now
                log.warning("no link for a refusal: %s", second)
                envelope = await guide.refusal(refused, self._dialect, actor=None)
        except Exception:
            log.exception("the words of a refusal failed")
            return await self._broken()
        return results.refusal(bounds.clipped(envelope, self._most))

    async def _broken(self) -> CallToolResult:
        """Something of ours failed, and the log has it under this id; nothing else is told."""
        ident = cid.get()
        try:
            refused = Refused(RefusalCode.INTERNAL, facts={"id": ident})
            return results.refusal(await self._operations.guide.refusal(refused, self._dialect, actor=None))
        except Exception:
            log.exception("the words for a failure failed")
            # All that can be said when even the words cannot be read.
            return results.refusal({"error": str(RefusalCode.INTERNAL), "message": ident, "next_steps": []})

    async def _actor(self, context: Context[Any, Any] | None) -> Actor:
        """Who is calling: the key of this very HTTP request, or the session's, or this machine's own account.

        Raises UNAUTHORIZED for a session whose key was revoked since, and for HTTP without an actor.
        """
        request = None if context is None else context.request_context.request
        known = session.get()
        actor: Actor | None = known.actor
        if request is not None:
            actor = request.scope.get(ACTOR_KEY)
            if actor is None:
                raise Refused(RefusalCode.UNAUTHORIZED)
        elif known.api_key is not None:
            actor = await self._operations.credentials.authenticate(known.api_key)
        elif actor is None:
            actor = await self._operations.accounts.local_actor()
        return replace(actor, read_only=True) if self._read_only or known.read_only else actor


_CALLS = re.compile(r"\{call:(\w+)\}")


def _instructions(operations: Operations, dialect: ToolDialect) -> str:
    """What the server says of itself: the paragraphs that name no tool this session lacks."""
    paragraphs = operations.texts.text("", "instructions").bullets("instructions")
    offered = [each for each in paragraphs if all(map(dialect.offers, _CALLS.findall(each)))]
    return "\n\n".join(render_bullets(offered, {}, dialect.call))


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
