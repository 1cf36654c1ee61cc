"""Commands as a person types them: in a process of their own, or in this one, which takes a tenth of the time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from daimon_mcp.faces.cli import app

PROGRAM = (sys.executable, "-m", "daimon_mcp")


@dataclass(frozen=True)
class Printed:
    """What a command wrote."""

    stdout: str
    stderr: str


def environ(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command on a data folder: free ports, nothing of this machine's own configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAIMON_")}
    options = ("HTTP__PORT", "SMTP__INBOUND_PORT", "SUBMISSION__PORT", "SUBMISSION__TLS_PORT")
    ports = {f"DAIMON_{option}": "0" for option in options}
    return {**kept, "DAIMON_DATA_DIR": str(folder), **ports, **more}


def command(folder: Path, *arguments: str, status: int = 0, **more: str) -> Printed:
    """Run one command in this process, in a thread where no event loop runs. `more`: variables of its environment."""
    none_of_ours: dict[str, str | None] = {name: None for name in os.environ if name.startswith("DAIMON_")}
    done = CliRunner().invoke(app, list(arguments), env={**none_of_ours, **environ(folder, **more)})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return _checked(Printed(done.stdout, done.stderr), done.exit_code, status)


def program(folder: Path, *arguments: str, status: int = 0, **more: str) -> Printed:
    """Run one command to its end as a process."""
    done = subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=60, env=environ(folder, **more)
    )
    return _checked(Printed(done.stdout, done.stderr), done.returncode, status)


def _checked(printed: Printed, code: int, status: int) -> Printed:
    assert code == status, printed
    return printed


@contextmanager
def serving(folder: Path, **more: str) -> Generator[str]:
    """`daimon-mcp serve`; what it printed until it was ready."""
    with subprocess.Popen(
        [*PROGRAM, "serve"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ(folder, **more)
    ) as server:
        # A process that nobody waits for stays after its end, and `stop` would wait for it.
        threading.Thread(target=server.wait, daemon=True).start()
        assert server.stdout is not None
        printed = ""
        for line in server.stdout:
            printed += line
            if line.startswith("Approve what agents ask"):
                break
        try:
            yield printed
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=20)
        assert server.returncode == 0
