"""Who may have a data folder, who makes way for whom, and who may look into it."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from pathlib import Path

import anyio
import pytest
from tests.durability.conftest import Make
from tests.durability.kit import PATIENCE, Folder, eventually

from daimon_mcp import owner
from daimon_mcp.runner import holder


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process that ends by itself."""
    with anyio.fail_after(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def stopped(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """The same of one that is told to end."""
    process.send_signal(signal.SIGTERM)
    return await ended(process)


async def says(stream: asyncio.StreamReader | None, words: str) -> None:
    """Read up to the line with these words."""
    assert stream is not None
    with anyio.fail_after(PATIENCE):
        while words not in (line := (await stream.readline()).decode()):
            assert line, "it ended before it said so"


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (folder, *folder.iterdir())}


async def test_only_their_user_can_look_into_the_files(make_folder: Make) -> None:
    before = os.umask(0)
    try:
        folder = make_folder()
        async with folder.agent() as agent:
            await agent.do("create_inbox", username="reader")
            await eventually((folder.path / "tls" / "self-signed.pem").exists)  # made when the listeners are
            found = modes(folder.path)
    finally:
        os.umask(before)
    assert found == {
        "data": 0o700,
        "daimon.lock": 0o600,
        "daimon.sock": 0o600,
        "mail.db": 0o600,
        "mail.db-wal": 0o600,
        "master.key": 0o600,
        "owner.log": 0o600,
        "tls": 0o700,
    }


async def test_serve_takes_over_from_an_owner_that_a_bridge_started(make_folder: Make) -> None:
    folder = make_folder()
    async with folder.agent() as agent:
        inbox = await agent.do("create_inbox", username="reader")
        auto = await folder.owner()
        server = await folder.run("serve")
        await says(server.stdout, "daimon-mcp runs")
        assert holder(folder.path) == ("serve", server.pid)
        await eventually(lambda: folder.processes().isdisjoint({auto}))
        # The client goes on with the new one.
        assert (await agent.do("get_inbox", inbox=inbox["id"]))["address"] == inbox["address"]

        second = await folder.run("serve")
        code, _, complaint = await ended(second)
        assert code == 1
        assert f"another daimon-mcp (process {server.pid}) has this data folder: {folder.path}" in complaint

        alone = await folder.run("--alone")
        code, out, complaint = await ended(alone)
        assert (code, out) == (1, "")
        assert f"another daimon-mcp (process {server.pid}) has this data folder" in complaint
        assert "--alone" in complaint

        assert (await stopped(server))[0] == 0
        assert (await agent.do("get_inbox", inbox=inbox["id"]))["address"] == inbox["address"]
        kind, pid = holder(folder.path)
        assert kind == "auto"
        assert pid not in (auto, server.pid)


async def test_alone_is_refused_while_a_bridges_owner_runs(make_folder: Make) -> None:
    folder = make_folder()
    async with folder.agent() as agent:
        await agent.do("list_inboxes")
        code, _, complaint = await ended(await folder.run("--alone"))
    assert code == 1
    assert f"another daimon-mcp (process {await folder.owner()}) has this data folder" in complaint


@pytest.mark.parametrize("arguments", [("serve",), ("--alone",)])
async def test_a_command_at_work_on_the_folder_is_waited_for(make_folder: Make, arguments: tuple[str, ...]) -> None:
    folder = make_folder()
    held = owner.lock(str(folder.path), "command")
    assert held is not None
    server = await folder.run(*arguments)
    assert server.stdin is not None
    assert server.stderr is not None
    try:
        await says(server.stderr, f"waiting for process {os.getpid()}")
    finally:
        held.release()
    await eventually(lambda: holder(folder.path)[1] == server.pid)
    if "--alone" in arguments:
        server.stdin.close()
        code, _, complaint = await ended(server)
    else:
        await says(server.stdout, "daimon-mcp runs")
        code, _, complaint = await stopped(server)
    assert code == 0, complaint


async def broken_start(folder: Folder) -> str:
    code, out, complaint = await ended(await folder.run())
    assert (code, out) == (1, "")
    assert folder.is_free()
    assert "Traceback" not in complaint
    return complaint


async def test_a_bridge_says_what_is_wrong_with_the_configuration(make_folder: Make) -> None:
    folder = make_folder()
    folder.path.mkdir()
    (folder.path / "config.toml").write_text('[mail]\ndomian = "example.org"\n')
    complaint = await broken_start(folder)
    assert "config.toml" in complaint
    assert "domian" in complaint


async def test_a_bridge_says_that_the_store_is_none(make_folder: Make) -> None:
    folder = make_folder()
    folder.path.mkdir()
    (folder.path / "mail.db").write_text("something else\n" * 1000)
    assert "mail.db cannot be used: file is not a database" in await broken_start(folder)


async def test_a_bridge_says_that_the_master_key_is_damaged(make_folder: Make) -> None:
    folder = make_folder()
    folder.path.mkdir()
    (folder.path / "master.key").write_text("short\n")
    assert "master.key" in await broken_start(folder)


async def test_two_serves_started_at_once_are_one(make_folder: Make) -> None:
    folder = make_folder()
    servers = [await folder.run("serve") for _ in range(3)]
    await eventually(lambda: sum(server.returncode is None for server in servers) == 1)
    (winner,) = [server for server in servers if server.returncode is None]
    await says(winner.stdout, "daimon-mcp runs")
    for server in servers:
        if server is not winner:
            code, _, complaint = await ended(server)
            assert code == 1
            assert "has this data folder" in complaint
    assert (await stopped(winner))[0] == 0
    assert folder.is_free()
