"""Mail servers as real processes in a root folder of their own: `.tools/debs/mail`, some of Debian's packages unpacked.

A server that is run in it by chroot finds every path and user that is built into it, wherever the repository is and
whatever the machine has installed. That takes root, as such servers do anyway: they give their rights up one by one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from tests.support.programs import end_group, tool

# The server is told to stop when the pipe from us is closed, which it also is should the tests be killed.
_KEEPER = 'chroot "$@" </dev/null & server=$!; cat >/dev/null; kill $server 2>/dev/null; wait $server'
_DEVICES = {"null": (1, 3), "urandom": (1, 9)}


def mail_root() -> Path:
    """The root folder. Raises RuntimeError that says what to do where it is missing or cannot be used."""
    if os.geteuid() != 0:
        raise RuntimeError("Postfix and Dovecot run in a root folder of their own (chroot): run these tests as root.")
    root = tool("debs/mail")
    for name, (major, minor) in _DEVICES.items():
        device = root / "dev" / name
        if not device.exists():
            made = device.with_name(f"{name}.{os.getpid()}")  # others may be at the same
            os.mknod(made, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            made.chmod(0o666)
            made.replace(device)
    return root


def inside(path: Path) -> str:
    """What a server calls a path below the root folder."""
    return "/" + str(path.relative_to(tool("debs/mail")))


def number_of(name: str) -> int:
    """The number of a user inside the root folder, which is that of the group of the same name."""
    users = (line.split(":") for line in (mail_root() / "etc/passwd").read_text().splitlines())
    return next(int(number) for user, _, number, *_ in users if user == name)


class Log:
    """What a server says, line by line, and waiting for it."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=5000)
        self._more = asyncio.Event()

    def add(self, line: str) -> None:
        """Take a line and wake who waits."""
        self.lines.append(line)
        self._more.set()

    async def says(self, text: str, *, times: int = 1, seconds: float = 20) -> str:
        """The line that holds `text` for the nth time. Raises AssertionError when none comes in `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while len(found := [line for line in self.lines if text in line]) < times:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"it never said {text!r}\n{self.tail()}") from None
        return found[times - 1]

    def tail(self) -> str:
        """The last lines."""
        return "\n".join([*self.lines][-60:])


@contextmanager
def instance_folder(name: str) -> Generator[Path]:
    """A folder below the root folder, for one server, and gone after it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=mail_root() / "run"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def server_process(folder: Path, *command: str, ready: str) -> AsyncGenerator[Log]:
    """Run a server that stays in the foreground, from when it says `ready`.

    It logs to its standard output, or to the pipe that is `log` in `folder`: a root folder has no /dev/stdout. At the
    end it is told to stop, and what is left after that is killed. An exception out of the body carries the log's last
    lines. Raises TimeoutError where something of it cannot be ended.
    """
    output, pipe = _log_pipe(folder / "log")
    log = Log()
    try:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", _KEEPER, "sh", str(mail_root()), *command),
            env={"PATH": "/usr/sbin:/usr/bin"},
            stdin=asyncio.subprocess.PIPE,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )
    finally:
        pipe.close()
    reading = asyncio.create_task(_read(output, log))
    try:
        await log.says(ready)
        yield log
    except BaseException as error:
        error.add_note(log.tail())
        raise
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        finally:
            end_group(process.pid)
            await process.wait()
            async with asyncio.timeout(10):
                await reading  # the end of the log is the end of the last process that could write to it


def _log_pipe(path: Path) -> tuple[BinaryIO, BinaryIO]:
    """A named pipe, open to read and to write."""
    os.mkfifo(path)
    output = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)
    return cast("BinaryIO", output), cast("BinaryIO", path.open("wb", buffering=0))


async def _read(output: BinaryIO, log: Log) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), output)
    async for line in reader:
        log.add(line.decode(errors="replace").rstrip())
    transport.close()
