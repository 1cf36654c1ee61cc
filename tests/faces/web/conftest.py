"""The operator's pages over a real store: an agent that asks, a passcode, a clock that tests move."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette

from daimon_mcp.changes.bus import LocalBus
from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import SystemClock
from daimon_mcp.faces.web.upgrade import routes
from daimon_mcp.operations import Operations
from daimon_mcp.operations.authenticating import Authenticator
from daimon_mcp.operations.core import Core, Policy
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.sending import SendEmail
from daimon_mcp.operations.upgrades import CreateUpgradeLink, GetApproval, NotifyOperator
from daimon_mcp.store.blobs import Blobs
from daimon_mcp.store.database import Database
from daimon_mcp.store.migrations import migrate


class MovableClock(SystemClock):
    """The machine's clock, and how far it is put forward (µs)."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


@dataclass
class Office:
    """An agent's account, and what its operator has in hand."""

    operations: Operations
    clock: MovableClock
    actor: Actor
    passcode: str = ""
    address: str = "quiet-heron@agents.localhost"

    @property
    def app(self) -> Starlette:
        return Starlette(routes=routes(self.operations))

    @staticmethod
    def token_of(url: str) -> str:
        """The token of a magic link."""
        return parse_qs(urlsplit(url).query)["token"][0]

    @staticmethod
    def path_of(url: str) -> str:
        """A magic link without the server's own address."""
        parts = urlsplit(url)
        return f"{parts.path}?{parts.query}"

    async def upgrade_link(self, *, tier: str | None = None, reason: str | None = None) -> str:
        """The link of an agent that asks for a higher tier."""
        request = CreateUpgradeLink(target_tier=tier, reason=reason)
        outcome = await self.operations.upgrades.create_upgrade_link(self.actor, request)
        assert outcome.link is not None
        return outcome.link.url

    async def request_link(
        self, issue: str, *, context: dict[str, Any] | None = None, action_label: str | None = None
    ) -> str:
        """The link of an agent that asks something else."""
        request = NotifyOperator(issue=issue, context=context, action_label=action_label)
        outcome = await self.operations.upgrades.notify_operator(self.actor, request)
        assert outcome.link is not None
        return outcome.link.url

    async def park(self, subject: str) -> None:
        """The agent sends mail that it may not send yet."""
        mail = SendEmail(inbox=self.address, to=self.address, subject=subject, body="Hello", park=True)
        outcome = await self.operations.sending.send_email(self.actor, mail)
        assert outcome.result["status"] == "pending_upgrade"

    async def tier(self) -> str:
        return str((await self.operations.accounts.get_account(self.actor)).result["tier"])

    async def told(self, url: str) -> tuple[str, str | None]:
        """What the agent hears about its request: status and comment."""
        approval_id = await self.approval_id(url)
        outcome = await self.operations.upgrades.get_approval(self.actor, GetApproval(approval_id=approval_id))
        return outcome.result["status"], outcome.result["comment"]

    async def approval_id(self, url: str) -> str:
        claims = self.operations.credentials.verified(self.token_of(url))
        rows = await self.operations.core.database.fetch("SELECT id FROM approvals WHERE jti = ?", [claims["jti"]])
        return str(rows[0][0])


@pytest.fixture
async def new_office(tmp_path: Path) -> AsyncGenerator[Office]:
    """A server just installed: nobody has set a passcode."""
    bus = LocalBus()
    clock = MovableClock()
    database = Database(tmp_path / "daimon.db", on_commit=bus.ring)
    await database.open(lambda connection: migrate(connection, backups=tmp_path / "backups"))
    core = Core(database=database, blobs=Blobs(tmp_path / "blobs"), clock=clock, bus=bus, policy=Policy())
    authenticating = Authenticator(
        core.resolving,
        authserv_id="localhost",
        trusted_networks=(),
        trusted_sealers=(),
        quarantines=True,
        clock=clock,
    )
    operations = Operations(core, bytes(32), spool_folder=tmp_path / "spool", authenticating=authenticating)
    actor = await operations.accounts.local_actor()
    yield Office(operations, clock, actor)
    await database.close()


@pytest.fixture
async def office(new_office: Office) -> Office:
    """One with a passcode, and an agent that has an inbox."""
    new_office.passcode = await new_office.operations.credentials.set_passcode()
    await new_office.operations.inboxes.create_inbox(new_office.actor, CreateInbox(username="quiet-heron"))
    return new_office


@pytest.fixture
async def base_url(office: Office) -> AsyncGenerator[str]:
    """The pages on a loopback port, over real sockets."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(office.app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    host, port = listener.getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    await serving
    listener.close()
