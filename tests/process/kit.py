"""What the tests of the process model share: a data folder with an owner, and clients that talk to a bridge."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from daimon_mcp.shim import LOCK_NAME, LineSplitter, lines_of, socket_path

HERE = Path(__file__).parent
BRIDGE = str(HERE / "toy_bridge.py")
LINES = str(HERE / "line_owner.py")
TOY = str(HERE / "toy_owner.py")

PATIENCE = 20.0
"""Seconds after which a test gives up; nothing here should take more than one of them."""

Message = dict[str, Any]


async def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return when `condition` holds. Raises TimeoutError."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it is about other processes
            await anyio.sleep(0.005)


class Folder:
    """A data folder, and whoever owns it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def owner_pid(self) -> int | None:
        """The process that holds the lock, as the lock file says."""
        try:
            words = (self.path / LOCK_NAME).read_text().split()
        except FileNotFoundError:
            return None
        return int(words[0]) if words else None

    def kill_owner(self) -> int:
        """SIGKILL the owner; its process id."""
        pid = self.owner_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    def received(self, pid: int | None = None) -> list[Message]:
        """What line owners got, or one of them."""
        file = self.path / "received"
        if not file.exists():
            return []
        noted: list[Message] = [json.loads(line) for line in file.read_text().splitlines()]
        return [note["message"] for note in noted if pid in (None, note["pid"])]

    def go(self) -> None:
        """Let held requests end."""
        (self.path / "go").touch()

    def clean_up(self) -> None:
        """Leave no process and no socket behind."""
        with contextlib.suppress(OSError, AssertionError):
            self.kill_owner()
        with contextlib.suppress(OSError):
            os.unlink(socket_path(str(self.path)))


class Client:
    """A bridge's client, which reads only when told to, and so can be slow."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._splitter = LineSplitter(None)
        self._lines: list[bytes] = []
        self._next_id = 0

    @property
    def stdin(self) -> asyncio.StreamWriter:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        assert self.process.stdout is not None
        return self.process.stdout

    async def send(self, *messages: Message) -> None:
        """Write messages; waits while the bridge is not reading."""
        for message in messages:
            self.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        await self.stdin.drain()

    async def request(self, method: str, params: Message | None = None) -> int:
        """Write a request; its id."""
        self._next_id += 1
        await self.send({"id": self._next_id, "method": method, "params": params or {}})
        return self._next_id

    async def receive(self) -> Message:
        """The next message. Raises EOFError at the end, TimeoutError when there is none."""
        with anyio.fail_after(PATIENCE):
            while not self._lines:
                data = await self.stdout.read(1 << 16)
                if not data:
                    raise EOFError
                self._lines += lines_of(self._splitter.feed(data))
        return json.loads(self._lines.pop(0))

    async def call(self, method: str, params: Message | None = None) -> Message:
        """A request and the very next message, which has to be its answer."""
        request_id = await self.request(method, params)
        answer = await self.receive()
        assert answer["id"] == request_id
        return answer

    async def handshake(self) -> None:
        """`initialize` and `notifications/initialized`, as clients before 2026 begin."""
        await self.call("initialize", {"protocolVersion": "2025-11-25"})
        await self.send({"method": "notifications/initialized"})

    async def exit_code(self, seconds: float = PATIENCE) -> int:
        """Wait for the bridge's end."""
        with anyio.fail_after(seconds):
            return await self.process.wait()

    async def close(self) -> int:
        """Close stdin, as clients end a server, and wait for the bridge's end."""
        self.stdin.close()
        return await self.exit_code()

    async def complaints(self) -> str:
        """All that was on stderr; after the end."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def kill(self) -> None:
        """End it whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.stdin.close()
        await self.process.wait()
        # The transport lives until its pipes end.
        await self.stdout.read()


async def start(
    folder: Folder,
    owner_script: str,
    *arguments: str,
    environment: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Client:
    """A bridge to `folder`, which may start owners by `owner_script`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, BRIDGE, str(folder.path), owner_script, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
        pass_fds=pass_fds,
        limit=1 << 16,
    )
    return Client(process)
