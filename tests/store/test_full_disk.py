"""A disk that fills up under a running server, and is given room again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
from tests.support.contracts import ROOT
from tests.support.daimon import running

from daimon_mcp.store.consistency import findings


async def test_a_full_disk_costs_nothing_that_was_acknowledged_and_ends_when_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    command = [sys.executable, "-m", "tests.store.full_disk_child", str(folder)]
    process = await anyio.run_process(command, cwd=ROOT, check=False)
    assert process.returncode == 0, process.stderr.decode()
    outcomes: dict[str, list[str]] = json.loads(process.stdout)
    refused = [line.split(" STORE_UNAVAILABLE ")[0] for line in outcomes["refused"]]
    assert refused == ["large", f"full {len(outcomes['taken']) - 3}"]
    assert outcomes["sends"] == ["STORE_UNAVAILABLE", "done", "done"]
    async with running(folder) as daimon:
        assert not await findings(daimon.operations.core.database, deep=True)
        async with daimon.agent() as agent:
            page = await agent.do("list_messages", label="inbox", limit=100)
    assert sorted(each["subject"] for each in page["messages"]) == sorted([*outcomes["taken"], "to myself"])
