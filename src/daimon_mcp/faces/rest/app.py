"""`/v1`: from a path to its route without trying one after the other, and answers for paths that are none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.rest.answering import Answering
from daimon_mcp.faces.rest.dialect import RestDialect
from daimon_mcp.faces.rest.route import AnyRoute
from daimon_mcp.faces.rest.table import ROUTES
from daimon_mcp.operations import Operations

_LONGEST: Final = 2000  # octets of a path; ids and addresses are short
_MOST_NEAR: Final = 3


class _Leaf(NamedTuple):
    """A route, and the names of the places in its path."""

    route: AnyRoute
    names: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    """A step of a path: what it may go on with, and the routes that end here, by method."""

    named: dict[str, _Node] = field(default_factory=dict["str", "_Node"])
    any: _Node | None = None
    routes: dict[str, _Leaf] = field(default_factory=dict[str, "_Leaf"])


class Table:
    """The routes as a tree of path segments."""

    def __init__(self, routes: Iterable[AnyRoute]) -> None:
        self._root = _Node()
        self._paths: list[str] = []
        for route in routes:
            node, names = self._root, list[str]()
            for segment in route.path.split("/")[1:]:
                if segment.startswith("{"):
                    names.append(segment[1:-1])
                    node.any = node.any or _Node()
                    node = node.any
                else:
                    node = node.named.setdefault(segment, _Node())
            if route.method in node.routes:
                raise ValueError(f"{route.method} {route.path} is there twice")
            node.routes[route.method] = _Leaf(route, tuple(names))
            if route.path not in self._paths:
                self._paths.append(route.path)

    def find(self, method: str, raw_path: bytes) -> tuple[AnyRoute, Mapping[str, str]]:
        """The route of a request, and what stands in the places of its path, decoded.

        Raises ROUTE_NOT_FOUND with paths that are near, METHOD_NOT_ALLOWED with the methods there are.
        """
        node: _Node | None = self._root
        values: list[str] = []
        segments = raw_path[: _LONGEST + 1].decode("latin-1").split("/")[1:] if len(raw_path) <= _LONGEST else []
        for segment in segments:
            following = node.named.get(segment)
            if following is None and segment:
                following = node.any
                values.append(unquote(segment))
            node = following
            if node is None:
                break
        if node is None or not node.routes:
            raise Refused(RefusalCode.ROUTE_NOT_FOUND, suggestions=self._near(segments))
        found = node.routes.get("GET" if method == "HEAD" else method)
        if found is None:
            methods = sorted({*node.routes, "HEAD"} if "GET" in node.routes else node.routes)
            raise Refused(RefusalCode.METHOD_NOT_ALLOWED, facts={"methods": ", ".join(methods)})
        return found.route, dict(zip(found.names, values, strict=True))

    def _near(self, segments: list[str]) -> list[str]:
        """Paths of ours that look like it: nothing of what was asked for is in them."""
        return difflib.get_close_matches("/" + "/".join(segments)[:200], self._paths, _MOST_NEAR, 0.6)


class RestApp:
    """Answers everything below `/v1` (ASGI)."""

    def __init__(self, operations: Operations, routes: Iterable[AnyRoute] = ROUTES) -> None:
        routes = tuple(routes)
        self._table = Table(routes)
        self._answering = Answering(operations, RestDialect(routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        scope = request.scope
        try:
            route, places = self._table.find(scope["method"], scope["raw_path"].partition(b"?")[0])
        except Refused as refused:
            response = await self._answering.refused(refused)
            if refused.code is RefusalCode.METHOD_NOT_ALLOWED:
                response.headers["Allow"] = str(refused.facts["methods"])
            return response
        return await self._answering.answer(route, request, places)
