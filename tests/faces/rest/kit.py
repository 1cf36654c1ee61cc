"""What the tests of REST share: a program with a key over a socket, whose every answer is held against its shape."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx2
import orjson
from pydantic import TypeAdapter
from tests.support.daimon import Daimon

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.faces.rest.app import Table
from daimon_mcp.faces.rest.route import AnyRoute
from daimon_mcp.faces.rest.shapes.errors import Refusal
from daimon_mcp.faces.rest.statuses import STATUSES, USUAL
from daimon_mcp.faces.rest.table import ROUTES
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.store import accounts

SENDS: dict[str, Any] = {
    "limits": {
        "free": {"sends_per_month": 9000, "sends_per_day": 9000, "sends_per_minute": 9000, "smtp": True, "domains": 1}
    },
    "dns": {"nameservers": ["127.0.0.1:1"]},
}
"""Settings by which everybody may send, and ask for a domain; there is no DNS."""
TABLE = Table(ROUTES)
_REFUSAL = TypeAdapter(Refusal)


@cache
def shape_of(route: AnyRoute) -> TypeAdapter[Any]:
    """What a route's results are held against."""
    shape: Any = route.result
    return TypeAdapter(shape)


def name_of(route: AnyRoute) -> str:
    return f"{route.method} {route.path}"


class Answer:
    """A response, known to have its route's form."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.content = response.content
        self.envelope: dict[str, Any] = {}
        is_json = response.headers.get("content-type") == "application/json"
        if is_json and response.request.method != "HEAD":
            self.envelope = response.json()

    @property
    def result(self) -> dict[str, Any]:
        """The result of a request that must have been done."""
        assert self.status == 200, self.content
        return self.envelope["result"]

    @property
    def error(self) -> tuple[int, str]:
        """The status and code of a request that must have been refused."""
        assert self.status >= 400, self.content
        return self.status, self.envelope["error"]


class Program:
    """Sends requests with a key. `done` are the routes that did what was asked."""

    def __init__(self, http: httpx2.AsyncClient, key: str | None) -> None:
        self._http = http
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.done: set[str] = set()

    async def ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> Answer:
        """What a request is answered with; its form is checked."""
        response = await self._http.request(method, path, headers={**self._headers, **(headers or {})}, **more)
        answer = Answer(response)
        try:
            route, _ = TABLE.find(method, response.request.url.raw_path.partition(b"?")[0])
        except Refused:
            route = None
        check_answer(route, answer)
        if route is not None and answer.status < 300:
            self.done.add(name_of(route))
        return answer

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The result of a GET that must be done."""
        return (await self.ask("GET", path, params=params or None)).result

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        """The result of a POST that must be done."""
        return (await self.ask("POST", path, json=body)).result

    async def patch(self, path: str, **body: Any) -> dict[str, Any]:
        """The result of a PATCH that must be done."""
        return (await self.ask("PATCH", path, json=body)).result

    async def delete(self, path: str, **params: Any) -> dict[str, Any]:
        """The result of a DELETE that must be done."""
        return (await self.ask("DELETE", path, params=params or None)).result


def check_answer(route: AnyRoute | None, answer: Answer) -> None:
    """Assert that an answer has the form that is promised for its route."""
    assert answer.headers["x-content-type-options"] == "nosniff"
    if not answer.envelope:
        return
    assert answer.headers["cache-control"] == "no-store"
    if answer.status == 200:
        assert route is not None
        assert set(answer.envelope) == {"result", "next_steps"}
        assert all(isinstance(step, str) and step for step in answer.envelope["next_steps"])
        shape_of(route).validate_json(orjson.dumps(answer.envelope["result"]))
        return
    refusal = _REFUSAL.validate_json(answer.content)
    code = RefusalCode(refusal.error)
    assert answer.status == STATUSES[code]
    assert (answer.headers.get("retry-after") is not None) == ("retry_after" in answer.envelope)
    assert (answer.headers.get("www-authenticate") is not None) == (answer.status == 401)
    if route is not None:
        assert code in USUAL or code in route.refuses, f"{name_of(route)} does not say that it may refuse with {code}"


@asynccontextmanager
async def program(daimon: Daimon, key: str | None) -> AsyncGenerator[Program]:
    """A program that holds `key`."""
    async with httpx2.AsyncClient(base_url=daimon.url, timeout=30) as http:
        yield Program(http, key)


async def new_account(daimon: Daimon, username: str, tier: Tier = Tier.FREE) -> tuple[str, dict[str, Any]]:
    """An account of its own: its account key, and its first inbox with the inbox's key."""
    core = daimon.operations.core
    public_id = f"acc_{username}"
    number = await core.database.write(
        lambda tx: accounts.insert_account(tx, id=public_id, kind="agent", now=core.clock.now())
    )
    made = await daimon.operations.inboxes.create_inbox(Actor(number, public_id), CreateInbox(username=username))
    if tier is not Tier.FREE:
        await daimon.operations.upgrades.set_tier(public_id, tier)
    return made.result["account_api_key"], made.result
