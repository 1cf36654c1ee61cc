"""One HTTP server: REST at /v1, MCP at /mcp and /sse, mail at /inbound, the operator's pages, /healthz; all behind a
host check."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Collection, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import cast

import anyio
import anyio.to_thread
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
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
            _Lazy(_described, "/openapi.json", "/v1/openapi.json", "/docs", "/llms.txt", "/llms-full.txt"),
            _Lazy(partial(_rest, operations), "/v1/"),
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


class _Lazy(BaseRoute):
    """An application with paths of its own, loaded at its first request: who never asks pays for none of it.

    It has all of `paths`, and what is below those that end in a slash. (Starlette's own patterns stop at a line end.)
    """

    def __init__(self, load: Callable[[], ASGIApp], *paths: str) -> None:
        self._load = load
        self._paths = paths
        self._loading = anyio.Lock()
        self._app: ASGIApp | None = None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        here = scope["type"] == "http" and any(
            scope["path"] == each.rstrip("/") or (each.endswith("/") and scope["path"].startswith(each))
            for each in self._paths
        )
        return (Match.FULL, {}) if here else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if app is None:
            async with self._loading:
                app = self._app = self._app or await anyio.to_thread.run_sync(self._load)
        await app(scope, receive, send)


def _described() -> ASGIApp:
    from daimon_mcp.faces.rest.described import described

    return described()


def _rest(operations: Operations) -> ASGIApp:
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
