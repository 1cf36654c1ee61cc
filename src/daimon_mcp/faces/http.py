"""One HTTP server: REST at /v1, MCP at /mcp and /sse, mail at /inbound, the operator's pages, /healthz; all behind a
host check."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Collection, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import anyio
import anyio.to_thread
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from daimon_mcp import __version__
from daimon_mcp.domain.accounts import Actor
from daimon_mcp.faces.bearer import Bearer, KnownHosts
from daimon_mcp.faces.mcp.dialect import ToolDialect
from daimon_mcp.faces.mcp.server import ACTOR_KEY, MailServer
from daimon_mcp.faces.mcp.tools import NAMES
from daimon_mcp.faces.web.dialect import HttpDialect
from daimon_mcp.faces.web.files import routes as file_links
from daimon_mcp.faces.web.ingest import PATH
from daimon_mcp.faces.web.ingest import routes as mail_door
from daimon_mcp.faces.web.upgrade import routes as operator_pages
from daimon_mcp.operations import Operations

_WITH_KEY = ("/mcp", "/sse", "/messages", PATH)


def build_http_app(
    operations: Operations, server: MailServer, *, hosts: Collection[str], require_key: bool
) -> Starlette:
    """The ASGI application; its lifespan runs the MCP session manager."""
    # Hosts are checked by KnownHosts, on these routes and on all the others.
    unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    streamable = server.streamable_http_app(transport_security=unchecked)
    sse = server.sse_app(transport_security=unchecked)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with server.session_manager.run():
            yield

    return Starlette(
        routes=[
            *_Rest(operations).routes,
            Route("/healthz", healthz),
            *operator_pages(operations),
            *file_links(operations, ToolDialect(NAMES)),
            *mail_door(operations, HttpDialect(), actor=_actor),
            *streamable.routes,
            *sse.routes,
        ],
        middleware=[
            Middleware(KnownHosts, hosts=hosts),
            Middleware(Bearer, operations=operations, required=require_key, paths=_WITH_KEY),
        ],
        lifespan=lifespan,
    )


class _Rest:
    """REST, loaded at its first request: who never asks pays for none of it."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._loading = anyio.Lock()
        self._app: ASGIApp | None = None

    @property
    def routes(self) -> list[Route]:
        """All paths below /v1, whatever the method."""
        return [Route("/v1", self), Route("/v1/{path:path}", self)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if app is None:
            async with self._loading:
                app = self._app = self._app or await anyio.to_thread.run_sync(_load_rest, self._operations)
        await app(scope, receive, send)


def _load_rest(operations: Operations) -> ASGIApp:
    from daimon_mcp.faces.rest.app import RestApp

    return RestApp(operations)


def _actor(request: Request) -> Actor:
    """Whose key a request carries, as Bearer has found out."""
    return cast("Actor", request.scope[ACTOR_KEY])


class HttpServer(uvicorn.Server):
    """uvicorn inside our task group: the process's signals belong to the application."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    @property
    def busy(self) -> bool:
        """Whether somebody is connected."""
        return bool(self.server_state.connections)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, so that the port is known before anything is served. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is: without it, 40 ms an answer.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(128)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


def http_server(app: Starlette) -> HttpServer:
    """A server for `app`, to be run with `serve(sockets=[…])`."""
    return HttpServer(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever connects from loopback could otherwise say it is somebody else, and guess passcodes for ever.
            proxy_headers=False,
            lifespan="on",
            timeout_graceful_shutdown=2,
            ws="none",
        )
    )
