"""Every tool, on both protocol eras, over every transport; and every older revision's handshake."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.faces.mcp.kit import (
    ERAS,
    FREE_SENDS,
    HANDSHAKES,
    MODERN,
    end_owner,
    every_tool,
    key,
    over_http,
    over_sse,
    over_stdio,
    wired,
)
from tests.support.daimon import Agent, Answer, Daimon, running

from daimon_mcp.faces.mcp.tools import ALL, NAMES

SCHEMAS: Mapping[str, Any] = {tool.name: tool.output for tool in ALL}
FULL: dict[str, Any] = {**FREE_SENDS, "mcp": {"profile": "full"}}


def check(said: Mapping[str, Answer]) -> None:
    """Each tool answered, in the form that its schema promises."""
    assert set(said) == set(NAMES)
    for name, answer in said.items():
        jsonschema.validate(answer.envelope, SCHEMAS[name])
        assert isinstance(answer.envelope["next_steps"], list)
        assert "null" not in answer.text, name


async def check_refusals(agent: Agent) -> None:
    """Each tool's refusals have the form that its schema promises."""
    for name in NAMES:
        answer = await agent.call(name, no_such_argument="x")
        assert answer.error == "INVALID_REQUEST"
        jsonschema.validate(answer.envelope, SCHEMAS[name])


@pytest.mark.parametrize("era", ERAS)
async def test_in_memory(tmp_path: Path, era: str) -> None:
    async with running(tmp_path / "data", FULL) as daimon, daimon.agent(era) as agent:
        check(await every_tool(agent))
        await check_refusals(agent)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", [over_http, over_sse])
async def test_over_http(tmp_path: Path, transport: Any, era: str) -> None:
    async with (
        running(tmp_path / "data", FULL, listeners=True) as daimon,
        transport(daimon.url, await key(daimon), era) as agent,
    ):
        assert agent.client.protocol_version == (MODERN if era == MODERN else HANDSHAKES[-1])
        check(await every_tool(agent))
        await check_refusals(agent)


@pytest.mark.parametrize("era", ERAS)
async def test_over_stdio_through_the_bridge(tmp_path: Path, era: str) -> None:
    try:
        async with over_stdio(tmp_path / "data", "--profile", "full", mode=era) as agent:
            check(await every_tool(agent))
            await check_refusals(agent)
    finally:
        await end_owner(tmp_path / "data")


@pytest.mark.parametrize("era", ERAS)
async def test_over_stdio_alone(tmp_path: Path, era: str) -> None:
    async with over_stdio(tmp_path / "data", "--profile", "full", "--alone", mode=era) as agent:
        check(await every_tool(agent))
        await check_refusals(agent)


@asynccontextmanager
async def full_wire(daimon: Daimon, version: str) -> AsyncGenerator[Any]:
    async with wired(daimon.app.mcp_server("full"), version) as wire:
        yield wire


@pytest.mark.parametrize("version", HANDSHAKES)
async def test_the_handshake_of_every_older_revision(daimon: Daimon, version: str) -> None:
    async with full_wire(daimon, version) as wire:
        listed = await wire.ask("tools/list")
        assert [tool["name"] for tool in listed["result"]["tools"]] == list(NAMES)
        done = (await wire.tool("create_inbox", {"username": "old"}))["result"]
        assert done["isError"] is False
        assert "old@agents.localhost" in done["content"][0]["text"]
        refused = (await wire.tool("get_message", {"message_id": "msg_none"}))["result"]
        assert refused["isError"] is True
        assert refused["content"][0]["text"].startswith("MESSAGE_NOT_FOUND: ")


async def test_a_revision_of_the_future_is_answered_with_one_that_is_known(daimon: Daimon) -> None:
    async with full_wire(daimon, MODERN) as wire:
        params = {"protocolVersion": "2099-01-01", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        await wire.say({"id": 1, "method": "initialize", "params": params})
        answer = await wire.receive()
        assert answer["result"]["protocolVersion"] in HANDSHAKES


async def test_discovery_says_who_answers(daimon: Daimon) -> None:
    async with full_wire(daimon, MODERN) as wire:
        result = (await wire.ask("server/discover"))["result"]
        assert MODERN in result["supportedVersions"]
        assert result["instructions"].startswith("daimon-mcp gives you real email inboxes")
        # What never changes is not promised to be announced.
        assert result["capabilities"]["tools"].get("listChanged", False) is False
        assert result["capabilities"]["prompts"].get("listChanged", False) is False
        assert result["capabilities"]["resources"] == {"subscribe": True, "listChanged": True}
