"""Who an HTTP request is from: `Authorization: Bearer <key>`; and which hosts and origins may ask at all."""

from __future__ import annotations

import logging
from collections.abc import Collection

import orjson
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.mcp.dialect import ToolDialect
from daimon_mcp.faces.mcp.server import ACTOR_KEY
from daimon_mcp.logs import new_cid
from daimon_mcp.operations import Operations

log = logging.getLogger(__name__)


class KnownHosts:
    """Refuses requests that name a host that is not ours (DNS rebinding): 421; or come from a foreign page: 403."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    def _known(self, authority: str) -> bool:
        name = authority.strip().lower()
        host = name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
        return host in self._hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            if not self._known(headers.get("host", "")):
                await _plain(421, "This server does not answer to that host name.")(scope, receive, send)
                return
            origin = headers.get("origin")
            scheme, separator, authority = (origin or "").partition("://")
            foreign = origin is not None and not (separator and scheme in ("http", "https") and self._known(authority))
            # A form on our own page sends "null" where the referrer policy hides the origin; that page checks itself.
            if foreign and not (origin == "null" and headers.get("sec-fetch-site") == "same-origin"):
                await _plain(403, "Requests from other sites are not answered.")(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _plain(status: int, text: str) -> Response:
    return Response(text + "\n", status, media_type="text/plain")


_STATUS = {RefusalCode.ACCOUNT_SUSPENDED: 403, RefusalCode.STORE_UNAVAILABLE: 503, RefusalCode.INTERNAL: 500}


class Bearer:
    """Puts the actor of the key into the scope; without a valid key, 401 with the refusal's envelope."""

    def __init__(self, app: ASGIApp, *, operations: Operations, required: bool, paths: Collection[str]) -> None:
        self._app = app
        self._operations = operations
        self._required = required
        self._paths = tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(self._paths):
            try:
                await self._authenticate(scope)
            except Refused as refused:
                await (await self._answer(refused))(scope, receive, send)
                return
            except Exception:
                ident = new_cid()
                log.exception("a key could not be checked")
                failed = Refused(RefusalCode.INTERNAL, facts={"id": ident})
                await (await self._answer(failed))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _answer(self, refused: Refused) -> Response:
        envelope = await self._operations.guide.refusal(refused, ToolDialect(()), actor=None)
        status = _STATUS.get(refused.code, 401)
        headers = {"WWW-Authenticate": 'Bearer realm="daimon-mcp"'} if status == 401 else {}
        if refused.retry_after is not None:
            headers["Retry-After"] = str(refused.retry_after)
        return Response(orjson.dumps(envelope), status, headers, media_type="application/json")

    async def _authenticate(self, scope: Scope) -> None:
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            actor: Actor = await self._operations.credentials.authenticate(key.strip())
        elif self._required:
            raise Refused(RefusalCode.UNAUTHORIZED)
        else:
            actor = await self._operations.accounts.local_actor()
        scope[ACTOR_KEY] = actor
        # The SDK ties a session to this: another key that presents its id finds no session.
        token = AccessToken(token="", client_id=actor.key_id or actor.account_id, scopes=[])
        scope["user"] = AuthenticatedUser(token)
