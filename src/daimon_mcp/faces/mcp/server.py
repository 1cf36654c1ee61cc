"""The MCP server of one kind of session (a profile, or read-only): a strict layer over the SDK's MCPServer.

Tools, resources, prompts and completions each are a module; here is what they have in common: who calls, and how a
refusal is said.

Stricter than the SDK: unknown tools and cursors are protocol errors, unknown arguments are refused by name, validation
errors are one line that echoes nothing, and crashes tell an id and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    CallToolResult,
    CompleteRequestParams,
    CompleteResult,
    EmptyResult,
    GetPromptResult,
    InputRequiredResult,
    ListResourcesResult,
    PaginatedRequestParams,
    Prompt,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplate,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from mcp_types import Tool as WireTool
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from daimon_mcp import __version__
from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.mcp import bounds, results
from daimon_mcp.faces.mcp.completions import complete
from daimon_mcp.faces.mcp.dialect import ToolDialect
from daimon_mcp.faces.mcp.elicitation import show_link
from daimon_mcp.faces.mcp.fitting import fitted
from daimon_mcp.faces.mcp.notifications import Notifier, Who
from daimon_mcp.faces.mcp.prompts import Prompts
from daimon_mcp.faces.mcp.resources import MIME_TYPE, TEMPLATES, Resources
from daimon_mcp.faces.mcp.tool import AnyTool, Call
from daimon_mcp.logs import cid, new_cid
from daimon_mcp.operations import Operations
from daimon_mcp.operations.core import Progress
from daimon_mcp.operations.requests import Request, read
from daimon_mcp.texts import render_bullets

log = logging.getLogger(__name__)

ACTOR_KEY = "daimon.actor"  # where the HTTP face leaves the actor in the ASGI scope
_ONE_PAGE = {"tools/list", "resources/templates/list", "prompts/list"}
_RESOURCE_NOT_FOUND = -32002  # of the handshake's revisions; since 2026-07-28 it is INVALID_PARAMS
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Session:
    """Who a connection belongs to; None means this machine's own account. A key is checked again at every call."""

    actor: Actor | None
    read_only: bool = False
    api_key: str | None = field(default=None, repr=False)


session: ContextVar[Session] = ContextVar("session", default=Session(None))  # noqa: B039  immutable


class MailServer(MCPServer[Any]):
    """Our tools, resources and prompts behind the SDK's protocol."""

    def __init__(self, operations: Operations, tools: Sequence[AnyTool], *, read_only: bool = False) -> None:
        super().__init__(
            "daimon-mcp",
            title="daimon-mcp mail",
            version=__version__,
            instructions=_instructions(operations, ToolDialect([tool.name for tool in tools])),
            website_url=None,
            subscriptions=False,  # ours are checked against the caller's key
            cache_hints=dict.fromkeys(
                ("tools/list", "prompts/list", "resources/templates/list"),
                CacheHint(ttl_ms=3_600_000, scope="public"),
            ),
            middleware=[refuse_bogus_cursors, promise_what_is_kept],
            log_level="WARNING",
        )
        self._operations = operations
        self._specs = {tool.name: tool for tool in tools}
        # Made before the first client is answered, not while it waits for its first list.
        self._wire = [spec.wire for spec in self._specs.values()]
        self._read_only = read_only
        self._most = operations.core.policy.max_result_tokens * bounds.BYTES_PER_TOKEN
        self._dialect = ToolDialect(self._specs)
        self._prompts = Prompts(operations, list(self._specs))
        self._resources = Resources(operations, self._dialect, self._most)
        self._notifier = Notifier(operations)
        self._serve_resources()

    def _serve_resources(self) -> None:
        """Take over what the SDK's class has no room for: lists that depend on the caller, pages, subscriptions."""
        low = self._lowlevel_server
        low.add_request_handler("resources/list", PaginatedRequestParams, self._list_resources)
        low.add_request_handler("resources/read", ReadResourceRequestParams, self._read_resource)
        low.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribe)
        low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)
        low.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, self._listen)
        low.add_request_handler("completion/complete", CompleteRequestParams, self._complete)

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
            actor = await self._actor(None if context is None else context.request_context.request)
            call = Call(self._operations, actor, read(spec.request, arguments), _progress(context))
            await self._operations.spool.settled()  # what was acknowledged to a mail program before is there to see
            outcome, envelope = await fitted(
                lambda request: spec.run(replace(call, request=request)),
                call.request,
                reads=spec.reads,
                guide=self._operations.guide,
                dialect=self._dialect,
                most=self._bound(call.request),
            )
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

    # -- prompts and completions -------------------------------------------------------------------------------------

    async def list_prompts(self) -> list[Prompt]:
        """The prompts that make sense with this session's tools, always in the same order."""
        return self._prompts.wire

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> GetPromptResult:
        """One prompt. Raises MCPError (invalid params) for one that does not exist here, and for wrong arguments."""
        request = None if context is None else context.request_context.request
        found = await self._plainly(self._prompt(name, arguments or {}, request))
        if found is None:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {name[:64]!r}")
        return found

    async def _prompt(self, name: str, arguments: Mapping[str, str], request: Any) -> GetPromptResult | None:
        return await self._prompts.get(await self._actor(request), name, arguments)

    async def _complete(self, ctx: ServerRequestContext[Any, Any], params: CompleteRequestParams) -> CompleteResult:
        async def work() -> CompleteResult:
            actor = await self._actor(ctx.request)
            return CompleteResult(completion=await complete(self._operations, self._prompts, actor, params))

        return await self._plainly(work())

    # -- resources ---------------------------------------------------------------------------------------------------

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """The forms of our URIs."""
        return list(TEMPLATES)

    async def _list_resources(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams
    ) -> ListResourcesResult:
        async def work() -> ListResourcesResult:
            actor = await self._actor(ctx.request)
            if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
                # Who has seen the list is told when it changes; all others have nothing to look at again.
                self._notifier.of_session(ctx, actor, self._who(ctx.request))
            return await self._resources.page(actor, params.cursor)

        return await self._plainly(work())

    async def _read_resource(
        self, ctx: ServerRequestContext[Any, Any], params: ReadResourceRequestParams
    ) -> ReadResourceResult:
        async def work() -> str | None:
            await self._operations.spool.settled()
            return await self._resources.read(await self._actor(ctx.request), params.uri)

        text = await self._plainly(work())
        if text is None:
            raise _not_found(ctx, params.uri)
        return ReadResourceResult(contents=[TextResourceContents(uri=params.uri, mime_type=MIME_TYPE, text=text)])

    async def _subscribe(self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        async def work() -> bool:
            actor = await self._actor(ctx.request)
            return await self._notifier.of_session(ctx, actor, self._who(ctx.request)).add(params.uri, actor)

        if not await self._plainly(work()):
            raise _not_found(ctx, params.uri)
        return EmptyResult()

    async def _unsubscribe(self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> EmptyResult:
        async def work() -> None:
            actor = await self._actor(ctx.request)
            self._notifier.of_session(ctx, actor, self._who(ctx.request)).remove(params.uri)

        await self._plainly(work())
        return EmptyResult()

    async def _listen(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        async def work() -> SubscriptionsListenResult:
            actor = await self._actor(ctx.request)
            return await self._notifier.listen(ctx, params, actor, self._who(ctx.request))

        return await self._plainly(work())

    # -- in common ---------------------------------------------------------------------------------------------------

    async def _plainly(self, work: Awaitable[_T]) -> _T:
        """What `work` comes to. Outside of tools a refusal is a protocol error of one line, and so is a crash."""
        token = cid.set(new_cid())
        try:
            return await work
        except Refused as refused:
            code = _ERROR_CODES.get(refused.code, INVALID_REQUEST)
            log.info("refused: %s", refused)
            words = self._operations.guide.refusal_message(refused, self._dialect)
            raise MCPError(code, f"{refused.code}: {words}") from None
        except (asyncio.CancelledError, MCPError):
            raise
        except Exception:
            log.exception("a request failed")
            raise MCPError(INTERNAL_ERROR, f"{RefusalCode.INTERNAL}: {cid.get()}") from None
        finally:
            cid.reset(token)

    def _bound(self, request: Request) -> int:
        """Bytes an answer may have: what the operator allows, and less where the call does not ask for much."""
        usual = min(self._most, bounds.USUAL_TOKENS * bounds.BYTES_PER_TOKEN)
        return self._most if request.model_fields_set & _ASKS_FOR_MORE else usual

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

    async def _actor(self, request: Any) -> Actor:
        """Who is calling: the key of this very HTTP request, or the session's, or this machine's own account.

        Raises UNAUTHORIZED for a session whose key was revoked since, and for HTTP without an actor.
        """
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
        return replace(actor, face="mcp", read_only=self._read_only or known.read_only)

    def _who(self, request: Any) -> Who:
        """Asks again who is calling, long after the request: a key is looked up each time."""
        known = session.get()
        key = known.api_key if request is None else _bearer(request)

        async def who() -> Actor:
            if key is not None:
                return await self._operations.credentials.authenticate(key)
            return known.actor or await self._operations.accounts.local_actor()

        return who


_ERROR_CODES = {
    RefusalCode.INVALID_REQUEST: INVALID_PARAMS,
    RefusalCode.STORE_UNAVAILABLE: INTERNAL_ERROR,
    RefusalCode.INTERNAL: INTERNAL_ERROR,
}


def _not_found(ctx: ServerRequestContext[Any, Any], uri: str) -> MCPError:
    """The same for what is unknown, another's, or no URI of ours."""
    code = INVALID_PARAMS if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else _RESOURCE_NOT_FOUND
    return MCPError(code, "Resource not found", {"uri": uri[:400]})


def _bearer(request: Any) -> str | None:
    """The key of an HTTP request, which was found good before it came here."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" and key.strip() else None


_ASKS_FOR_MORE = {"max_tokens", "limit", "include"}
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
    """We give out no cursors for lists of one page: any that comes is made up."""
    if ctx.method in _ONE_PAGE and ctx.params is not None and ctx.params.get("cursor") is not None:
        raise MCPError(INVALID_PARAMS, "Unknown cursor: this list has one page")
    return await call_next(ctx)


async def promise_what_is_kept(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Say which changes are announced: those of resources and of their list. Tools and prompts never change.

    The SDK derives these from which handlers there are, for every kind of list alike.
    """
    result = await call_next(ctx)
    if ctx.method in ("initialize", "server/discover") and isinstance(result, dict):
        capabilities: dict[str, Any] = result["capabilities"]
        capabilities["tools"] = {"listChanged": False}
        capabilities["prompts"] = {"listChanged": False}
        capabilities["resources"] = {"subscribe": True, "listChanged": True}
    return result
