"""What the durability tests share: a data folder with real processes on it, which may be killed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TextIO

import anyio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult
from tests.support.daimon import Answer, Daimon, running

from daimon_mcp import owner
from daimon_mcp.faces.cli import client as channel
from daimon_mcp.runner import holder
from daimon_mcp.settings import Settings, load
from daimon_mcp.shim import LOCK_NAME

DAIMON = str(Path(sys.executable).with_name("daimon-mcp"))

PATIENCE = 60.0
"""Seconds after which a test gives up waiting for something that takes one or two."""


async def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return when `condition` holds. Raises TimeoutError."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it is about other processes
            await anyio.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether a process is there, and not merely unburied."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Agent:
    """A client of a bridge; its calls outlive owners."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.unknown = 0
        """Calls whose outcome the bridge could not tell."""

    async def call(self, tool: str, **arguments: Any) -> Answer:
        """One call. Raises MCPError when the bridge lost it."""
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        return Answer(result)

    async def do(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """One call that has to be done."""
        return (await self.call(tool, **arguments)).result

    async def until_done(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The same call, which has to be one that may be repeated, until it is acknowledged."""
        while True:
            try:
                return await self.do(tool, **arguments)
            except MCPError as error:
                if "outcome is unknown" not in str(error):
                    raise
                self.unknown += 1


class Folder:
    """A data folder, the environment of the programs that use it, and what they do there."""

    def __init__(self, path: Path, options: dict[str, str]) -> None:
        self.path = path
        self.killed: list[int] = []
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DAIMON_")}
        self.environment = {
            **inherited,
            "DAIMON_DATA_DIR": str(path),
            "DAIMON_HTTP__PORT": "0",
            "DAIMON_SMTP__INBOUND_PORT": "0",
            "DAIMON_SUBMISSION__PORT": "0",
            "DAIMON_SUBMISSION__TLS_PORT": "0",
            "DAIMON_LIMITS__ENTERPRISE__SENDS_PER_MINUTE": "-1",
            **options,
        }

    # -- clients -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def agent(self) -> AsyncGenerator[Agent]:
        """The SDK's client with a real `daimon-mcp` behind it."""
        command = StdioServerParameters(command=DAIMON, args=["--profile", "full"], env=self.environment)
        with self._log() as log:
            async with Client(stdio_client(command, errlog=log)) as client:
                yield Agent(client)

    def _log(self) -> TextIO:
        return open(self.path.parent / "bridges.log", "a")

    async def run(self, *arguments: str, errors: Path | None = None) -> asyncio.subprocess.Process:
        """`daimon-mcp` with arguments, and pipes; its log to the end of the file `errors`, if there is one."""
        pipe = asyncio.subprocess.PIPE
        if errors is None:
            return await asyncio.create_subprocess_exec(
                DAIMON, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment
            )
        with errors.open("ab") as file:
            return await asyncio.create_subprocess_exec(
                DAIMON, *arguments, stdin=pipe, stdout=pipe, stderr=file, env=self.environment
            )

    async def command(self, method: str, **params: Any) -> Any:
        """What the operator's command line asks of the running owner."""
        return await anyio.to_thread.run_sync(lambda: channel.ask(self.settings, method, **params))

    @property
    def settings(self) -> Settings:
        """As the programs read them."""
        return load(environ=self.environment)

    async def unlimited(self) -> None:
        """Let every account send as much as it likes."""
        for account in await self.command("operator.accounts"):
            await self.command("operator.tier", account=account["id"], tier="enterprise")

    async def settled(self) -> None:
        """Return when all that was accepted is filed, and nothing waits to be relayed. Raises TimeoutError."""
        with anyio.fail_after(2 * PATIENCE):  # what many kills left is filed one by one
            while (  # noqa: ASYNC110 - it is about another process
                await self.command("queue.spool") or await self.command("queue.list", everything=True, limit=1)
            ):
                await anyio.sleep(0.2)

    # -- owners --------------------------------------------------------------------------------------------------------

    def owner_pid(self) -> int | None:
        """The living holder of the lock, once it has signed."""
        _, pid = holder(self.path)
        return pid if pid and pid not in self.killed and alive(pid) else None

    async def owner(self) -> int:
        """The owner, once there is one."""
        await eventually(lambda: self.owner_pid() is not None)
        pid = self.owner_pid()
        assert pid is not None
        return pid

    async def kill_owner(self) -> int:
        """SIGKILL; the process id."""
        pid = await self.owner()
        os.kill(pid, signal.SIGKILL)
        self.killed.append(pid)
        return pid

    async def end_owner(self) -> None:
        """SIGTERM, and wait until the folder is free."""
        os.kill(await self.owner(), signal.SIGTERM)
        await eventually(self.is_free)

    def is_free(self) -> bool:
        """Whether nobody has the lock."""
        held = owner.lock(str(self.path), "test")
        if held is None:
            return False
        held.release()
        return True

    def lock_holders(self) -> int:
        """How many processes the kernel says have the lock file locked (waiting ones not counted)."""
        inode = (self.path / LOCK_NAME).stat().st_ino
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return sum(row[1] == "FLOCK" and row[5].endswith(f":{inode}") for row in rows)

    def processes(self) -> set[int]:
        """Every process that was started for this folder."""
        mine = f"DAIMON_DATA_DIR={self.path}".encode()
        found: set[int] = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mine in (entry / "environ").read_bytes().split(b"\0") and alive(int(entry.name)):
                        found.add(int(entry.name))
        return found

    @contextmanager
    def held(self) -> Generator[None]:
        """The folder to ourselves, as a program of the product would have it."""
        held = owner.lock(str(self.path), "test")
        assert held is not None
        try:
            yield
        finally:
            held.release()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Daimon]:
        """The store in this process, when no owner is left; it has to be consistent."""
        with self.held():
            async with running(self.path) as daimon:
                yield daimon

    def clean_up(self) -> None:
        """Leave no process behind."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def kill_often(
    folder: Folder, times: int, chance: random.Random, progress: Callable[[], int], *, within: float = 0.3
) -> None:
    """SIGKILL owners one after the other, at any moment of their work and sometimes of their start.

    `progress` counts what was acknowledged. Never two owners in a row die before they have served: a bridge takes
    three of these for a server that does not start, and says so.
    """
    early = False
    for _ in range(times):
        await folder.owner()
        early = not early and chance.random() < 0.3
        if early:
            await anyio.sleep(chance.random())
        else:
            before = progress()
            await eventually(lambda before=before: progress() > before)
            await anyio.sleep(chance.random() * within)
        await folder.kill_owner()
    before = progress()
    await eventually(lambda: progress() > before)
