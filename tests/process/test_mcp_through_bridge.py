"""MCP clients, of the SDK and bare, through bridges to one owner that gets killed."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from mcp.client import Client as SdkClient
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult
from tests.process.conftest import Start
from tests.process.kit import BRIDGE, TOY, Client, Folder, Message, eventually

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


@asynccontextmanager
async def connected(folder: Folder, era: str) -> AsyncGenerator[SdkClient]:
    command = StdioServerParameters(command=sys.executable, args=[BRIDGE, str(folder.path), TOY])
    async with SdkClient(stdio_client(command), mode=era) as client:
        yield client


def text(result: CallToolResult) -> object:
    assert not result.is_error
    assert result.structured_content is not None
    return result.structured_content["result"]


@pytest.mark.parametrize("era", ["legacy", "2026-07-28", "auto"])
async def test_the_sdks_client_does_not_notice_a_new_owner(folder: Folder, era: str) -> None:
    async with connected(folder, era) as client:
        assert client.protocol_version == ("2025-11-25" if era == "legacy" else "2026-07-28")
        assert {tool.name for tool in (await client.list_tools()).tools} == {"echo", "count", "slow"}
        assert text(await client.call_tool("echo", {"text": "one"})) == "one"
        folder.kill_owner()
        assert text(await client.call_tool("echo", {"text": "two"})) == "two"
        large = "x" * 1_000_000
        assert text(await client.call_tool("echo", {"text": large})) == large


async def test_eight_clients_and_an_owner_killed_under_them(bridge: Start, folder: Folder) -> None:
    """Every call is acknowledged, if need be on its second try, and was made exactly once."""
    acknowledged: list[str] = []
    answered_by: dict[int, set[int]] = {n: set() for n in range(8)}
    killed: list[int] = []
    enough = anyio.Event()

    async def one(n: int) -> None:
        client = await bridge(TOY)
        await client.call("initialize", INITIALIZE)
        await client.send({"method": "notifications/initialized"})
        call = 0
        while not enough.is_set():
            call += 1
            client_id = f"c{n}-{call}"
            result = await count(client, client_id)
            acknowledged.append(client_id)
            answered_by[n].add(result)

    async def count(client: Client, client_id: str) -> int:
        answer = await client.call("tools/call", {"name": "count", "arguments": {"client_id": client_id}})
        return answer["result"]["structuredContent"]["result"]

    def all_served_by(pid: int | None) -> bool:
        return pid is not None and all(pid in served for served in answered_by.values())

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for n in range(8):
                group.start_soon(one, n)
            for _ in range(3):
                await eventually(lambda: all_served_by(folder.owner_pid()))
                killed.append(folder.kill_owner())
                await eventually(lambda: folder.owner_pid() not in (None, killed[-1]))
            await eventually(lambda: all_served_by(folder.owner_pid()))
            enough.set()

    owners = [int(pid) for pid in (folder.path / "starts").read_text().split()]
    assert killed == owners[:-1]
    assert all(set(owners) == served for served in answered_by.values())
    made = Counter((folder.path / "counted").read_text().split())
    assert set(acknowledged) == set(made)
    assert set(made.values()) == {1}
    assert len(acknowledged) == len(set(acknowledged))


async def test_a_call_without_client_id_is_reported_lost_and_not_made_again(folder: Folder) -> None:
    async with connected(folder, "auto") as client:
        assert text(await client.call_tool("echo", {"text": "one"})) == "one"
        lost: list[MCPError] = []

        async def call() -> None:
            try:
                await client.call_tool("slow", {"name": "a"})
            except MCPError as error:
                lost.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await eventually(lambda: (folder.path / "a.started").exists())
            folder.kill_owner()
        assert lost[0].error.code == -32000
        assert "outcome is unknown" in lost[0].error.message
        assert text(await client.call_tool("echo", {"text": "two"})) == "two"
    assert (folder.path / "counted").read_text() == "slow-a\n"


async def test_an_owner_that_is_ended_politely_takes_no_repeatable_call_with_it(bridge: Start, folder: Folder) -> None:
    client = await bridge(TOY)
    await client.call("initialize", INITIALIZE)
    arguments: Message = {"name": "a", "client_id": "x"}
    asked = await client.request("tools/call", {"name": "slow", "arguments": arguments})
    await eventually(lambda: (folder.path / "a.started").exists())
    pid = folder.owner_pid()
    assert pid is not None
    os.kill(pid, signal.SIGINT)  # asyncio cancels what runs
    await eventually(lambda: folder.owner_pid() not in (None, pid))
    (folder.path / "a.go").touch()
    answer = await client.receive()
    assert answer["id"] == asked
    assert answer["result"]["structuredContent"] == {"result": "a done"}
