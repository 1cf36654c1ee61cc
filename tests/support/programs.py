"""Other people's programs that tests talk to or let talk: where they are, and how one is run to its end.

`scripts/ensure-mail-tools` puts them there; `make test` calls it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools"


def tool(path: str) -> Path:
    """A file or folder of .tools. Raises RuntimeError that says what to do where it is missing."""
    found = TOOLS / path
    if not found.exists():
        raise RuntimeError(f"There is no .tools/{path}. Run scripts/ensure-mail-tools, as make test does.")
    return found


@dataclass(frozen=True)
class Finished:
    """How a program ended: its exit code, and what it wrote."""

    code: int
    output: str
    errors: str

    def succeeded(self) -> str:
        """The output of a program that must have succeeded; fails the test with all it wrote where it did not."""
        assert self.code == 0, f"exit code {self.code}\n{self.output}\n{self.errors}"
        return self.output


async def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    seconds: float = 60,
) -> Finished:
    """Run a program to its end with nothing in its environment but PATH, HOME and `env`.

    What it started is ended with it. Raises TimeoutError after `seconds`, with nothing of it left.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(env or {})},
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate(stdin)
    finally:
        end_group(process.pid)
        await process.wait()
    assert process.returncode is not None
    return Finished(process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


def end_group(pid: int) -> None:
    """Kill what is left of a process group that a test started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


async def run_python(source: Path, *, env: Mapping[str, str]) -> Finished:
    """Run a Python program with the interpreter of the tests, in isolation from the tests' packages."""
    return await run(sys.executable, "-I", source, env=env)


async def run_node(source: Path, *, env: Mapping[str, str], folder: Path) -> Finished:
    """Run a module of Node with nodemailer at hand, from a copy in `folder`: Node looks for packages beside it."""
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(tool("node/node_modules"), target_is_directory=True)
    copy = shutil.copy(source, folder)
    return await run(tool("node/node"), copy, env=env, cwd=folder)


async def build_go(source: Path, program: Path) -> Path:
    """Compile the Go module in the folder `source` into `program`. The first time compiles the standard library too."""
    settings = {
        "GOCACHE": str(TOOLS / "go-cache"),
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "CGO_ENABLED": "0",
    }
    built = await run(tool("go/go/bin/go"), "build", "-o", program, ".", cwd=source, env=settings, seconds=300)
    built.succeeded()
    return program


async def swaks(*arguments: str, env: Mapping[str, str] | None = None, seconds: float = 60) -> Finished:
    """Run swaks. Exit codes: 23 MAIL, 24 RCPT, 25 DATA, 26 the mail was refused, 28 AUTH, 29 TLS failed."""
    root = tool("debs/swaks")
    folders = [*root.glob("usr/lib/*/perl5/*"), root / "usr/share/perl5"]
    settings = {"PERL5LIB": ":".join(map(str, folders)), **(env or {})}
    return await run("perl", root / "usr/bin/swaks", *arguments, env=settings, seconds=seconds)


async def curl(*arguments: str) -> Finished:
    """Run curl, this machine's or the one that was put into .tools."""
    own = shutil.which("curl")
    words = ("--silent", "--show-error", "--max-time", "20", "--noproxy", "*", *arguments)
    if own is not None:
        return await run(own, *words)
    root = tool("debs/curl")
    return await run(root / "usr/bin/curl", *words, env={"LD_LIBRARY_PATH": ":".join(map(str, root.glob("usr/lib/*")))})
