"""One request to one route: who asks, what, the operation, and the answer in its envelope; whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from daimon_mcp import logs
from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.ids import canonical_id
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.rest.reading import offset_of, values_of
from daimon_mcp.faces.rest.route import AnyRoute, Call, Visit
from daimon_mcp.faces.rest.statuses import STATUSES
from daimon_mcp.faces.web.bodies import TooSlow
from daimon_mcp.faces.web.files import part
from daimon_mcp.operations import Operations
from daimon_mcp.operations.core import Outcome
from daimon_mcp.operations.guidance import Dialect
from daimon_mcp.operations.joining import Visitor
from daimon_mcp.operations.messages import Raw
from daimon_mcp.operations.requests import read

log = logging.getLogger(__name__)

HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_RAW: Final = {**HEADERS, "Content-Security-Policy": "default-src 'none'; sandbox", "Accept-Ranges": "bytes"}
_PAGE: Final = 100  # entries that are passed over at a time
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_REPEATS: Final = (".repeated", ".existing")


class Answering:
    """Answers in JSON, in the words of `dialect`."""

    def __init__(self, operations: Operations, dialect: Dialect) -> None:
        self._operations = operations
        self._dialect = dialect

    async def answer(self, route: AnyRoute, request: Request, places: Mapping[str, str]) -> Response:
        """The response to a request for `route`; `places` are what stands in its path."""
        actor: Actor | None = None
        values: Mapping[str, Any] = {}
        cid = logs.new_cid()
        logs.cid.set(cid)
        try:
            if route.without_key is None or "authorization" in request.headers:
                actor = await self._actor(request)
            if "inbox" in route.within and actor is not None:
                actor = replace(actor, here=await self._here(actor, places["inbox"]))
            values = await values_of(route, request, places, self._operations.core.policy.max_message_bytes)
            skipped = offset_of(route, request)
            asked = read(route.request, values)
            if actor is None:
                assert route.without_key is not None
                outcome = await route.without_key(Visit(self._operations, _visitor(request), asked))
            else:
                call = Call(self._operations, actor, asked, places)
                outcome = await (self._later(route, call, skipped) if skipped else _run(route, call, request))
            return self._done(route, request, outcome)
        except Refused as refused:
            return await self.refused(await self._nearer(refused, actor), actor, values.get("reason"))
        except TooSlow:
            return Response(status_code=408, headers={**HEADERS, "Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception:
            log.exception("a request failed, id %s", cid)
            return await self.broken(cid)

    def _done(self, route: AnyRoute, request: Request, outcome: Outcome | Raw) -> Response:
        if isinstance(outcome, Raw):
            return _raw(request, outcome)
        envelope = self._operations.guide.outcome(outcome, self._dialect)
        if route.lists and "has_more" not in envelope["result"]:
            envelope["result"] = {**envelope["result"], "has_more": envelope["result"]["next_cursor"] is not None}
        if route.shape is not None:
            envelope["result"] = route.shape(envelope["result"])
        return self._json(envelope, 200, _REPLAYED if outcome.key.endswith(_REPEATS) else None)

    async def _actor(self, request: Request) -> Actor:
        """Whose key a request carries. Raises UNAUTHORIZED, ACCOUNT_SUSPENDED."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Refused(RefusalCode.UNAUTHORIZED)
        return await self._operations.credentials.authenticate(key.strip(), "rest")

    async def _here(self, actor: Actor, reference: str) -> str:
        """The id of the inbox that a path names; an id is believed, since what is in it is looked for there."""
        return await self._operations.inboxes.id_of(actor, reference) if "@" in reference else canonical_id(reference)

    async def _nearer(self, refused: Refused, actor: Actor | None) -> Refused:
        """INBOX_NOT_FOUND where something is not found because the inbox of the path is none of the actor's."""
        if actor is None or actor.here is None or STATUSES[refused.code] != 404:
            return refused
        try:
            await self._operations.inboxes.id_of(replace(actor, here=None), actor.here)
        except Refused as nearer:
            return nearer
        return refused

    async def _later(self, route: AnyRoute, call: Call[Any], skipped: int) -> Outcome | Raw:
        """The page behind so many entries. Operations know cursors alone: what is passed over is read."""
        cursor: str | None = None
        left = skipped
        while left:
            size = min(left, _PAGE)
            page = await route.run(replace(call, request=_from(call, cursor, size)))
            assert isinstance(page, Outcome)
            left -= len(page.result[route.lists])
            cursor = page.result["next_cursor"]
            if cursor is None:  # the list ends before
                return replace(page, result={**page.result, route.lists: []})
        return await route.run(replace(call, request=_from(call, cursor, call.request.limit)))

    async def refused(self, refused: Refused, actor: Actor | None = None, reason: object = None) -> Response:
        """The refusal's envelope, with the link that lifts it where there is one."""
        log.info("refused: %s", refused)
        guide = self._operations.guide
        words = reason[:300] if isinstance(reason, str) else None
        try:
            envelope = await guide.refusal(refused, self._dialect, actor=actor, reason=words)
        except Refused as second:  # the store fails: the refusal is told without a link
            log.warning("no link for a refusal: %s", second)
            envelope = await guide.refusal(refused, self._dialect, actor=None)
        except Exception:
            cid = logs.cid.get() or logs.new_cid()
            log.exception("no words for a refusal, id %s", cid)
            return await self.broken(cid)
        status = STATUSES[refused.code]
        headers = {"WWW-Authenticate": 'Bearer realm="daimon-mcp"'} if status == 401 else {}
        if refused.retry_after is not None:
            headers["Retry-After"] = str(refused.retry_after)
        return self._json(envelope, status, headers)

    async def broken(self, cid: str) -> Response:
        """A mistake of ours: INTERNAL, and an id to look up in the log."""
        refused = Refused(RefusalCode.INTERNAL, facts={"id": cid})
        return self._json(await self._operations.guide.refusal(refused, self._dialect, actor=None), 500)

    @staticmethod
    def _json(envelope: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
        return Response(orjson.dumps(envelope), status, {**HEADERS, **(headers or {})}, media_type="application/json")


_REPLAYED: Final = {"Idempotent-Replayed": "true"}


def _from(call: Call[Any], cursor: str | None, limit: int) -> Any:
    return call.request.model_copy(update={"cursor": cursor, "limit": limit})


def _visitor(request: Request) -> Visitor:
    address = request.client.host if request.client else ""
    return Visitor(address, forwarded=any(name in request.headers for name in _FORWARDED))


async def _run(route: AnyRoute, call: Call[Any], request: Request) -> Outcome | Raw:
    """What the operation comes to. Raises ClientDisconnect when nobody is there any more to hear the end of a wait."""
    if not route.waits:
        return await route.run(call)

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    async def done() -> Outcome | Raw:
        return await route.run(call)

    waiting, watching = asyncio.create_task(done()), asyncio.create_task(gone())
    try:
        await asyncio.wait((waiting, watching), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientDisconnect
        return waiting.result()
    finally:
        waiting.cancel()
        watching.cancel()
        await asyncio.gather(waiting, watching, return_exceptions=True)


def _raw(request: Request, raw: Raw) -> Response:
    tag = f'"{raw.sha256}"'
    name = f'attachment; filename="{raw.id}.eml"'
    headers = {**_RAW, "ETag": tag, "Content-Type": "message/rfc822", "Content-Disposition": name}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return part(request, tag, raw.content, headers)
