"""The operator's page: look at what an agent asks, approve it, decline it.

Looking changes nothing. Deciding takes the link, the form that the page carried and the operator's passcode. The link's
token stands in the form and nowhere else: not in a log, not in a Referer, not in a cache.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from daimon_mcp import logs
from daimon_mcp.domain.clock import MINUTE, SECOND
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.web.dialect import PageDialect
from daimon_mcp.faces.web.forms import MAX_BODY, FormRefused, read_answer
from daimon_mcp.faces.web.pages import Pages, look
from daimon_mcp.operations import Operations
from daimon_mcp.operations.approving import preview

log = logging.getLogger(__name__)

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}


@dataclass(frozen=True, slots=True)
class _Problem:
    """How a refusal is shown: the status, and the fields of `page.problem` for its heading and what to do next."""

    status: int
    heading: str
    next_step: str


_FAILED = _Problem(500, "failed", "next_later")
# Mail that is approved and could not leave: nothing is decided.
_STAYS = _Problem(409, "cannot_leave", "next_still_open")
_KEPT_BACK = frozenset(
    {
        RefusalCode.RECIPIENT_REFUSED,
        RefusalCode.RELAY_NOT_CONFIGURED,
        RefusalCode.ACCOUNT_SUSPENDED,
        RefusalCode.FORBIDDEN,
    }
)
_PROBLEMS = {
    (RefusalCode.LINK_NOT_VALID, "EXPIRED"): _Problem(410, "expired", "next_ask"),
    (RefusalCode.LINK_NOT_VALID, "USED"): _Problem(410, "used", "next_see"),
    (RefusalCode.LINK_NOT_VALID, "CLOSED"): _Problem(410, "closed", "next_see"),
    (RefusalCode.LINK_NOT_VALID, "FORGED"): _Problem(404, "forged", "next_whole"),
    (RefusalCode.RATE_LIMIT_EXCEEDED, "PASSCODE_TRIES"): _Problem(429, "locked", "next_later"),
    (RefusalCode.STORE_UNAVAILABLE, None): _Problem(503, "unavailable", "next_later"),
}


def routes(operations: Operations) -> list[Route]:
    """`/upgrade` and `/approve`: one page, GET to look and POST to decide."""
    page = _Page(operations)
    return [Route(path, page.answer, methods=["GET", "POST"]) for path in ("/upgrade", "/approve")]


class _Page:
    def __init__(self, operations: Operations) -> None:
        self._core = operations.core
        self._upgrades = operations.upgrades
        self._guide = operations.guide
        self._pages = Pages(operations.texts)
        self._dialect = PageDialect()

    async def answer(self, request: Request) -> Response:
        """The page that a request gets, whatever happens."""
        try:
            return await (self._decide(request) if request.method == "POST" else self._show(request))
        except FormRefused as refused:
            return await self._not_accepted(refused)
        except Refused as refused:
            return await self._refused(refused)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except Exception:
            cid = logs.cid.get() or logs.new_cid()
            log.exception("the operator's page failed, id %s", cid)
            return await self._refused(Refused(RefusalCode.INTERNAL, facts={"id": cid}))

    async def _show(self, request: Request) -> Response:
        token = request.query_params.get("token", "")
        opened = await self._upgrades.open(token)
        held = await preview(self._core, opened.approval)
        return await _html(await self._pages.ask(opened, token=token, held=held))

    async def _decide(self, request: Request) -> Response:
        answer = await read_answer(request)
        opened = await self._upgrades.open(answer.token)
        held = await preview(self._core, opened.approval)
        try:
            decided = await self._upgrades.decide_by_link(
                answer.token,
                form_token=answer.form_token,
                passcode=answer.passcode,
                approve=answer.approve,
                comment=answer.comment,
                remote=request.client.host if request.client else "",
                always=answer.always,
            )
        except Refused as refused:
            if refused.code is not RefusalCode.PASSCODE_WRONG:
                raise
            why = self._guide.refusal_message(refused, self._dialect)
            page = await self._pages.ask(opened, token=answer.token, held=held, comment=answer.comment, error=why)
            return await _html(page, 403)
        return await _html(await self._pages.done(opened, decided, always=answer.always))

    async def _not_accepted(self, refused: FormRefused) -> Response:
        say = self._pages.say
        page = await self._pages.problem(
            say("problem", "not_accepted"),
            say("problem", refused.words, limit=f"{MAX_BODY:,}"),
            say("problem", "next_again"),
        )
        return await _html(page, refused.status)

    async def _refused(self, refused: Refused) -> Response:
        shown = _PROBLEMS.get((refused.code, refused.reason), _STAYS if refused.code in _KEPT_BACK else _FAILED)
        say = self._pages.say
        wait = refused.retry_after or 0
        # Rounded up: who comes back when a page says must not be sent away again.
        duration = self._pages.duration(-(-wait * SECOND // MINUTE) * MINUTE)
        page = await self._pages.problem(
            say("problem", shown.heading, duration=duration),
            self._guide.refusal_message(refused, self._dialect),
            say("problem", shown.next_step),
        )
        response = await _html(page, shown.status)
        if wait:
            response.headers["Retry-After"] = str(wait)
        return response


async def _html(page: str, status: int = 200) -> Response:
    policy = (await look()).policy
    return HTMLResponse(page, status, {**_HEADERS, "Content-Security-Policy": policy})
