"""The commands that the documents of the field show, run by curl, with host and key changed."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.faces.rest.kit import new_account
from tests.support.daimon import Daimon, running
from tests.support.programs import curl

from daimon_mcp.domain.tiers import Tier

DOCUMENTED = "https://api.daimon.email"


@dataclass
class Shell:
    """A server, and a shell that runs commands against it."""

    daimon: Daimon
    key: str
    inbox: dict[str, Any]

    async def run(self, command: str, **changed: str) -> dict[str, Any]:
        """What a documented command prints."""
        for documented, ours in {DOCUMENTED: self.daimon.url, **changed}.items():
            assert documented in command
            command = command.replace(documented, ours)
        words = shlex.split(command.replace("\\\n", " "))
        assert words[0] == "curl"
        finished = await curl(*words[1:])
        return json.loads(finished.succeeded())


async def shell_on(folder: Path, tier: Tier) -> AsyncGenerator[Shell]:
    sections = {"relay": {"mode": "sandbox"}}
    async with running(folder / "data", sections, listeners=True) as daimon:
        key, inbox = await new_account(daimon, "my-agent", tier)
        yield Shell(daimon, key, inbox)


@pytest.fixture
async def paid(tmp_path: Path) -> AsyncGenerator[Shell]:
    async for shell in shell_on(tmp_path, Tier.STARTER):
        yield shell


@pytest.fixture
async def free(tmp_path: Path) -> AsyncGenerator[Shell]:
    async for shell in shell_on(tmp_path, Tier.FREE):
        yield shell


SEND = """curl -X POST "https://api.daimon.email/v1/inboxes/inb_abc123/send" \\
  -H "Authorization: Bearer dm_live_7d8a9b0c1d2e3f4g5h6i7j8k9l0m1n2o" \\
  -H "Content-Type: application/json" \\
  -d '{
    "to": "user@example.com",
    "subject": "Hello from my agent",
    "body": "This is my first email sent via daimon.email!",
    "client_id": "send-001"
  }'"""
SEND_KEY = "dm_live_7d8a9b0c1d2e3f4g5h6i7j8k9l0m1n2o"
SEND_DRAFT = """curl -X POST https://api.daimon.email/v1/inboxes/inb_abc123/drafts/dft_abc123/send \\
  -H "Authorization: Bearer dm_free_7d8a9b0c1d2e3f4g5h6i7j8k9l0m1n2o\""""
DRAFT_KEY = "dm_free_7d8a9b0c1d2e3f4g5h6i7j8k9l0m1n2o"
SMTP = """curl https://api.daimon.email/v1/account/smtp \\
-H "Authorization: Bearer dm_live_...\""""
ROTATE = """curl -X POST https://api.daimon.email/v1/account/smtp/rotate \\
-H "Authorization: Bearer dm_live_...\""""


async def test_send(paid: Shell) -> None:
    changed = {"inb_abc123": paid.inbox["id"], SEND_KEY: paid.inbox["api_key"]}
    first = await paid.run(SEND, **changed)
    assert set(first) == {"result", "next_steps"}
    assert first["result"]["status"] in ("queued", "sent", "delivered")
    assert first["result"]["id"].startswith("msg_")
    assert first["result"]["message_id"].startswith("<")
    assert first["result"]["scheduled_at"] is None
    assert (await paid.run(SEND, **changed))["result"]["id"] == first["result"]["id"]
    by_address = {"inb_abc123": paid.inbox["address"], SEND_KEY: paid.key}
    assert (await paid.run(SEND, **by_address))["result"]["id"] == first["result"]["id"]


async def test_send_that_needs_a_paid_tier(free: Shell) -> None:
    refused = await free.run(SEND, inb_abc123=free.inbox["id"], **{SEND_KEY: free.inbox["api_key"]})
    assert refused["error"] == "SEND_REQUIRES_PAID"
    context = refused["upgrade_context"]
    assert context["operator_action_url"].startswith(f"{free.daimon.url}/upgrade?token=eyJ")
    assert context["operator_action_url"] in context["agent_script"]
    assert context["operator_action_label"]
    assert refused["next_steps"]


async def test_send_draft(paid: Shell) -> None:
    draft = await drafted(paid)
    sent = await paid.run(
        SEND_DRAFT, inb_abc123=paid.inbox["id"], dft_abc123=draft, **{DRAFT_KEY: paid.inbox["api_key"]}
    )
    assert sent["result"]["status"] in ("queued", "sent", "delivered")
    assert sent["result"]["scheduled_at"] is None
    assert sent["result"]["note"]


async def test_send_draft_that_needs_a_paid_tier(free: Shell) -> None:
    draft = await drafted(free)
    refused = await free.run(
        SEND_DRAFT, inb_abc123=free.inbox["id"], dft_abc123=draft, **{DRAFT_KEY: free.inbox["api_key"]}
    )
    assert refused["error"] == "SEND_REQUIRES_PAID"
    assert refused["upgrade_context"]["agent_script"]


async def drafted(shell: Shell) -> str:
    """The id of a draft, made by curl too."""
    made = await shell.run(
        f"""curl {DOCUMENTED}/v1/inboxes/inb_abc123/drafts -H "Authorization: Bearer KEY"
        -H "Content-Type: application/json" -d '{{"to": "user@example.com", "subject": "Hello", "body": "Words."}}'""",
        inb_abc123=shell.inbox["id"],
        KEY=shell.inbox["api_key"],
    )
    return made["result"]["id"]


async def test_smtp_credentials_and_a_new_password(paid: Shell) -> None:
    first = (await paid.run(SMTP, **{"dm_live_...": paid.key}))["result"]
    assert {"host", "port", "username", "password", "tls", "auth_method"} <= set(first)
    assert (first["tls"], first["auth_method"]) == (True, "PLAIN")
    assert first["port"] == paid.daimon.submission[1]
    second = (await paid.run(ROTATE, **{"dm_live_...": paid.key}))["result"]
    assert second["password"].startswith("smtp_secret_")
    assert second["password"] != first["password"]
    assert second["rotated_at"].endswith("Z")


async def test_the_first_inbox_without_a_key(free: Shell) -> None:
    made = await free.run(
        f"""curl -X POST {DOCUMENTED}/v1/inboxes -H "Content-Type: application/json" -d '{{"username": "first-one"}}'"""
    )
    assert made["result"]["address"] == "first-one@agents.localhost"
    assert made["result"]["account_api_key"].startswith("dm_free_")
