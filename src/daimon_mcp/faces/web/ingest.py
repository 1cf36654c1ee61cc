"""`POST /inbound`: the raw bytes of a mail, for inboxes of the account whose key the request carries.

The envelope is in the query (`from=`, `to=` again and again) or in the fields X-Envelope-From and X-Envelope-To. 202 is
said when the mail is durable; an equal request is answered as the first one was.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

import anyio
import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from daimon_mcp import logs
from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused, invalid
from daimon_mcp.faces.web.bodies import PATIENCE, TooSlow, bounded
from daimon_mcp.operations import Operations
from daimon_mcp.operations.arrivals import too_large
from daimon_mcp.operations.guidance import Dialect
from daimon_mcp.operations.ingesting import Ingest

log = logging.getLogger(__name__)

PATH = "/inbound"
AT_ONCE = 32
"""Messages on their way in at the same time, of all accounts."""
OF_ACCOUNT = 8

_STATUS = {
    RefusalCode.FORBIDDEN: 403,
    RefusalCode.INBOX_NOT_FOUND: 404,
    RefusalCode.IDEMPOTENCY_CONFLICT: 409,
    RefusalCode.MESSAGE_TOO_LARGE: 413,
    RefusalCode.INVALID_REQUEST: 422,
    RefusalCode.RECIPIENT_REFUSED: 422,
    RefusalCode.RATE_LIMIT_EXCEEDED: 429,
    RefusalCode.STORE_UNAVAILABLE: 503,
}
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
# What a mail is called, and what curl and other programs say of any bytes unless they are told.
_TYPES = frozenset(
    ("", "message/rfc822", "message/global", "text/plain", "application/octet-stream",
     "application/x-www-form-urlencoded")
)  # fmt: skip


def routes(operations: Operations, dialect: Dialect, *, actor: Callable[[Request], Actor]) -> list[Route]:
    """The one route; `actor` tells whose key a request carries, and refusals speak `dialect`."""
    return [Route(PATH, _Door(operations, dialect, actor).answer, methods=["POST"])]


class _Door:
    def __init__(self, operations: Operations, dialect: Dialect, actor: Callable[[Request], Actor]) -> None:
        self._operations = operations
        self._ingesting = operations.ingesting
        self._dialect = dialect
        self._actor = actor
        self._under_way: Counter[int] = Counter()

    async def answer(self, request: Request) -> Response:
        """The response to a request, whatever happens."""
        try:
            with anyio.move_on_after(PATIENCE):
                return await self._take_turn(request, self._actor(request))
        except Refused as refused:
            return await self._refused(refused)
        except TooSlow:
            pass
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception:
            cid = logs.cid.get() or logs.new_cid()
            log.exception("mail over HTTP could not be taken, id %s", cid)
            return await self._refused(Refused(RefusalCode.INTERNAL, facts={"id": cid}))
        return Response(status_code=408, headers={**_HEADERS, "Connection": "close"})

    async def _take_turn(self, request: Request, actor: Actor) -> Response:
        account = actor.account_no
        if self._under_way.total() >= AT_ONCE or self._under_way[account] >= OF_ACCOUNT:
            raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="MESSAGES", retry_after=1)
        self._under_way[account] += 1
        try:
            return await self._take(request, actor)
        finally:
            self._under_way[account] -= 1
            self._under_way += Counter()  # forgets accounts that have none

    async def _take(self, request: Request, actor: Actor) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _TYPES:
            raise invalid("Content-Type", "must be that of one raw message, which is the whole body", "message/rfc822")
        announced = request.headers.get("content-length", "")
        admitted = await self._ingesting.admit(
            actor, _asked(request), announced=int(announced) if announced.isdecimal() else None
        )
        most = self._operations.core.policy.max_message_bytes
        arrival = self._ingesting.arrival()
        try:
            async for piece in bounded(request, most, too_large):
                await arrival.write(piece)
            outcome, repeated = await self._ingesting.ingest(admitted, arrival)
        finally:
            with anyio.CancelScope(shield=True):
                await arrival.discard()
        envelope = self._operations.guide.outcome(outcome, self._dialect)
        headers = {**_HEADERS, **({"Idempotent-Replayed": "true"} if repeated else {})}
        return Response(orjson.dumps(envelope), 202, headers, media_type="application/json")

    async def _refused(self, refused: Refused) -> Response:
        envelope = await self._operations.guide.refusal(refused, self._dialect, actor=None)
        headers = {**_HEADERS, **({"Retry-After": str(refused.retry_after)} if refused.retry_after else {})}
        status = _STATUS.get(refused.code, 500)
        return Response(orjson.dumps(envelope), status, headers, media_type="application/json")


def _asked(request: Request) -> Ingest:
    """The envelope and the key of a request; the query counts before the fields. Raises INVALID_REQUEST."""
    query, headers = request.query_params, request.headers
    if unknown := sorted(set(query) - {"from", "to"}):
        # Its name may be anything: it is told by what it could have been.
        raise invalid("query", f"may hold from and to alone; {len(unknown)} of its parameters are others", "to=name@…")
    senders = query.getlist("from") or headers.getlist("x-envelope-from")
    if len(senders) > 1:
        raise invalid("from", "may be given once")
    recipients = query.getlist("to") or [
        each for value in headers.getlist("x-envelope-to") for each in value.split(",") if each.strip()
    ]
    return Ingest(
        mail_from=senders[0].strip() if senders else None,
        recipients=tuple(each.strip() for each in recipients),
        idempotency_key=headers.get("idempotency-key"),
        peer=request.client.host if request.client else "",
    )
