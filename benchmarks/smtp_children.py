"""Servers as processes of a benchmark: started, waited for, looked at, and gone at the end, whatever the end is."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import end_group

# The server is told to stop when our end of the pipe is closed, which the system does should we be killed.
_KEEPER = '"$@" </dev/null & server=$!; cat >/dev/null; kill $server 2>/dev/null; wait $server'
_READY_SECONDS = 30.0


@dataclass(frozen=True)
class Child:
    """A running server: the process that keeps it, and where its words go."""

    keeper: int
    log: Path

    @property
    def pid(self) -> int:
        """The server's own first process."""
        words = Path(f"/proc/{self.keeper}/task/{self.keeper}/children").read_text().split()
        commands = {int(word): Path(f"/proc/{word}/comm").read_text().strip() for word in words}
        return next(pid for pid, command in commands.items() if command != "cat")

    def tail(self) -> str:
        """The last it said."""
        return self.log.read_text(errors="replace")[-2000:]


@asynccontextmanager
async def child(
    command: Sequence[str | Path],
    *,
    port: int,
    log: Path,
    environ: Mapping[str, str] | None = None,
    greeting: bytes = b"220",
    patience: float = _READY_SECONDS,
    kill: bool = False,
) -> AsyncGenerator[Child]:
    """Run a server that stays in the foreground, from when `port` of 127.0.0.1 greets.

    At the end it is told to stop, and what is left of its process group after ten seconds is killed; `kill` does not
    wait for it to finish what it has taken. Raises RuntimeError with its last words where it does not come to greet.
    """
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", _KEEPER, "sh", *command),
            env=dict(environ or {"PATH": os.environ["PATH"]}),
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    running = Child(process.pid, log)
    try:
        try:
            async with asyncio.timeout(patience):
                while not await _greets(port, greeting):  # noqa: ASYNC110  nothing tells when a program begins to listen
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise RuntimeError(f"{Path(str(command[0])).name} does not listen: {running.tail()}") from None
        yield running
    finally:
        assert process.stdin is not None
        process.stdin.close()
        if kill:
            end_group(process.pid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await process.wait()
        end_group(process.pid)
        await process.wait()


async def _greets(port: int, greeting: bytes) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        return (await reader.readline()).startswith(greeting)
    except OSError:
        return False
    finally:
        writer.close()


def resident(pid: int, *, most: bool = False) -> int:
    """Octets of memory that a process has now, or the most it ever had."""
    wanted = "VmHWM:" if most else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the system does not say how much memory process {pid} has")


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used, its children's not counted."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def settled(pid: int, *, seconds: float, share: float = 0.05) -> bool:
    """Wait until a process does next to nothing for a second, at most `seconds`; whether it came to that."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while loop.time() < ends:
        before = processor_seconds(pid)
        await asyncio.sleep(1.0)
        if processor_seconds(pid) - before <= share:
            return True
    return False
