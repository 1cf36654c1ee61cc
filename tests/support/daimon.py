"""A whole daimon in this process: real store, real operations, and as many of its listeners as a test asks for."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp_types import CallToolResult, TextContent

from daimon_mcp import app as application
from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import QueueChanged
from daimon_mcp.domain.clock import SECOND, SystemClock
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.faces.mcp.dialect import ToolDialect
from daimon_mcp.faces.mcp.tools import NAMES
from daimon_mcp.operations import Operations
from daimon_mcp.operations.core import Outcome
from daimon_mcp.settings import Settings, load
from daimon_mcp.store.consistency import findings

FREE = {
    "http": {"port": 0},
    "smtp": {"inbound_port": 0},
    "submission": {"port": 0, "tls_port": 0},
    "dns": {"nameservers": ["127.0.0.1:9"], "timeout_seconds": 1},  # nobody answers there: no test asks this machine's
}


class MovableClock:
    """A clock that stands still until it is moved; whoever sleeps by it wakes by the bell."""

    def __init__(self) -> None:
        self._now = SystemClock().now()

    def now(self) -> int:
        return self._now

    def seconds_until(self, due: int) -> float:
        return 0.0 if due <= self._now else 3600.0

    def move(self, seconds: float) -> None:
        """Let time pass. Rings nothing: `Daimon.later` does both."""
        self._now += int(seconds * SECOND)


class Answer:
    """What a tool said: the envelope and the text."""

    def __init__(self, result: CallToolResult) -> None:
        self.is_error = bool(result.is_error)
        content: Any = result.structured_content
        self.envelope: dict[str, Any] = content
        self.text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))

    @property
    def result(self) -> dict[str, Any]:
        """The result of a call that must have been done."""
        assert not self.is_error, self.text
        return self.envelope["result"]

    @property
    def error(self) -> str:
        """The code of a call that must have been refused."""
        assert self.is_error, self.text
        return self.envelope["error"]


class Agent:
    """An MCP client with a short way to call tools."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> Answer:
        return Answer(await self.client.call_tool(tool, arguments))

    async def do(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a call that must be done."""
        return (await self.call(tool, **arguments)).result


class Daimon:
    """What tests hold in their hands."""

    def __init__(self, app: application.App, clock: MovableClock | None) -> None:
        self.app = app
        self.clock = clock
        self.dialect = ToolDialect(NAMES)

    @property
    def operations(self) -> Operations:
        return self.app.operations

    @property
    def url(self) -> str:
        """Base of the HTTP listener."""
        return self.operations.core.public_url

    @property
    def inbound(self) -> tuple[str, int]:
        """Address of the inbound SMTP listener."""
        assert self.app.bound.inbound is not None
        return self.app.bound.inbound

    @property
    def submission(self) -> tuple[str, int]:
        """Address of the submission listener with STARTTLS."""
        assert self.app.bound.submission is not None
        return self.app.bound.submission

    @property
    def submission_tls(self) -> tuple[str, int]:
        """Address of the submission listener with TLS at once."""
        assert self.app.bound.submission_tls is not None
        return self.app.bound.submission_tls

    async def actor(self) -> Actor:
        """This machine's own account."""
        return await self.operations.accounts.local_actor()

    async def upgrade(self, tier: Tier = Tier.PRO, actor: Actor | None = None) -> None:
        """Put an account on a tier as the operator's command line does."""
        who = actor or await self.actor()
        await self.operations.upgrades.set_tier(who.account_id, tier)

    async def envelope(self, outcome: Outcome) -> dict[str, Any]:
        """An outcome as faces show it."""
        return self.operations.guide.outcome(outcome, self.dialect)

    async def refusal(self, refused: Refused, actor: Actor | None = None) -> dict[str, Any]:
        """A refusal as faces show it."""
        return await self.operations.guide.refusal(refused, self.dialect, actor=actor or await self.actor())

    def later(self, seconds: float) -> None:
        """Let time pass and wake whoever sleeps by the clock."""
        assert self.clock is not None
        self.clock.move(seconds)
        self.operations.core.bus.ring([QueueChanged()])

    @asynccontextmanager
    async def agent(
        self, mode: str = "auto", *, profile: str | None = "full", read_only: bool = False
    ) -> AsyncGenerator[Agent]:
        """An MCP client of this server, in memory. `mode` is `auto` (2026-07-28) or `legacy` (the handshake)."""
        server = self.app.mcp_server(profile, read_only=read_only)
        async with Client(server, mode=mode) as client:  # pyright: ignore[reportArgumentType]
            yield Agent(client)


def settings_for(folder: Path, sections: Mapping[str, Any] | None = None) -> Settings:
    """Settings of a test: nothing from this machine's environment, free ports."""
    given: dict[str, Any] = json.loads(json.dumps(FREE))
    for section, options in (sections or {}).items():
        given.setdefault(section, {}).update(options)
    return load(data_dir=folder, environ={}, **given)


@asynccontextmanager
async def running(
    folder: Path,
    sections: Mapping[str, Any] | None = None,
    *,
    workers: bool = False,
    listeners: bool = False,
    clock: MovableClock | None = None,
) -> AsyncGenerator[Daimon]:
    """A daimon on `folder`; when it ends, its store must be consistent.

    `sections` are settings (`{"relay": {"host": …}}`). `workers` runs the scheduler and, with a relay, the relay
    worker; `listeners` runs those, and HTTP, inbound SMTP and submission on free ports.
    """
    settings = settings_for(folder, sections)
    async with application.opened(settings, clock=clock, environ={}) as operations:
        app = application.App(settings, operations)
        daimon = Daimon(app, clock)
        async with anyio.create_task_group() as tasks:
            if listeners:
                await app.run_listeners(tasks, app.listening.bind_http(strict=True), strict=True)
            elif workers:
                await app.run_workers(tasks)
            try:
                yield daimon
            finally:
                tasks.cancel_scope.cancel()
        found = await findings(operations.core.database)
        assert not found, found
