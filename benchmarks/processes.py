"""Servers as processes: JSON-RPC lines over pipes, measured from the outside, and nothing left running."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

PROTOCOL = "2025-11-25"
BARE = [sys.executable, str(Path(__file__).with_name("bare_server.py"))]
"""The floor: the SDK's own server with one empty tool."""


def daimon_command() -> list[str]:
    """`daimon-mcp` as a client starts it."""
    script = shutil.which("daimon-mcp", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-m", "daimon_mcp"]


def environment(folder: Path | None = None) -> dict[str, str]:
    """What clients give their servers, and little else; with `folder`, a data folder and free ports."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH", "SYSTEMROOT") if name in os.environ
    }
    if folder is None:
        return kept
    # Port 0 is any free one: a benchmark must not meet a server that is really in use.
    options = ("HTTP__PORT", "SMTP__INBOUND_PORT", "SUBMISSION__PORT", "SUBMISSION__TLS_PORT")
    return {**kept, "DAIMON_DATA_DIR": str(folder), **{f"DAIMON_{option}": "0" for option in options}}


class Server:
    """A stdio MCP server and our ends of its pipes."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environ
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._id = 0

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask, wait, and return the result. Raises RuntimeError for an error or the end of the server."""
        self._id += 1
        self._send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params or {}})
        while line := self._stdout.readline():
            answer = json.loads(line)
            if answer.get("id") == self._id:
                if "result" not in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
        self._errors.seek(0)
        raise RuntimeError(f"{method}: the server ended; it said {self._errors.read()[-500:]!r}")

    def notify(self, method: str) -> None:
        """Say something that has no answer."""
        self._send({"jsonrpc": "2.0", "method": method})

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tool that must not fail."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise RuntimeError(f"{tool}: {result['content']}")
        return result

    def initialize(self) -> None:
        """The handshake of the 2025 revision."""
        client = {"name": "benchmark", "version": "1"}
        self.request("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client})
        self.notify("notifications/initialized")

    def elapsed(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self.started

    def _send(self, message: Mapping[str, Any]) -> None:
        self._stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        self._stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()
        self._errors.close()


def end_owner(folder: Path) -> None:
    """Tell the owner of a data folder to stop, and wait until it has let go of the lock."""
    try:
        with open(folder / "daimon.lock", "r+b") as lock:
            words = lock.read().split()
            if words:
                try:
                    os.kill(int(words[0]), signal.SIGTERM)
                except ProcessLookupError:
                    return
            fcntl.flock(lock, fcntl.LOCK_EX)
    except FileNotFoundError:
        return


@contextmanager
def owned(folder: Path) -> Generator[Path]:
    """A data folder whose owner, if one was started, is gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        end_owner(folder)


def warm_bytecode() -> None:
    """Compile everything of ours, so that the first round costs what the others do."""
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", str(Path(__file__).parent), *_package_folders()],
        check=False,
        stdout=subprocess.DEVNULL,
    )


def _package_folders() -> list[str]:
    import daimon_mcp

    return list(daimon_mcp.__path__)
