"""What a server says that cannot start, and a key that is revoked while a bridge holds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.faces.mcp.kit import end_owner, environment, over_stdio


@pytest.mark.parametrize("command", [["--alone"], ["serve"]], ids=["alone", "serve"])
@pytest.mark.parametrize("option", ["TOOLS", "EXCLUDE_TOOLS"])
def test_a_tool_that_does_not_exist_is_an_error_at_start(tmp_path: Path, command: list[str], option: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daimon_mcp", *command],
        env=environment(tmp_path / "data", **{f"DAIMON_MCP__{option}": "get_message,send_emails"}),
        input="",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("daimon-mcp: mcp.tools and mcp.exclude_tools: there is no tool 'send_emails'; known are ")


async def test_a_key_that_is_revoked_ends_the_session_of_its_bridge(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    try:
        async with over_stdio(folder) as whole:
            mine = await whole.do("create_inbox", username="mine")
            async with over_stdio(folder, environ={"DAIMON_API_KEY": mine["api_key"]}) as narrow:
                assert (await narrow.do("list_inboxes"))["total"] == 1
                async with over_stdio(folder, "--profile", "full") as other:
                    await other.do("delete_inbox", inbox=mine["id"])
                assert (await narrow.call("list_inboxes")).error == "UNAUTHORIZED"
    finally:
        await end_owner(folder)
