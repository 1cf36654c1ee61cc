"""The owner's side: hands files to child processes and waits for their text, inside the owner's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import Any, cast

from daimon_mcp.extraction.frames import LENGTHS, MAX_HEADER, lead
from daimon_mcp.extraction.kinds import supported
from daimon_mcp.mail.headers import parse_parameters

__all__ = ["Extracted", "Extraction", "supported"]

log = logging.getLogger(__name__)

MIB = 1024 * 1024
IDLE_SECONDS = 120.0
START_SECONDS = 30.0
LAST_WORDS_SECONDS = 1.0

_STATUSES = frozenset(
    {"ok", "empty", "unsupported", "too_large", "timed_out", "out_of_memory", "damaged", "encrypted", "failed"}
)
# What a child died of, by exit status. PDFium aborts when it gets no memory.
_BY_SIGNAL = {-signal.SIGXCPU: "timed_out", -signal.SIGALRM: "timed_out", -signal.SIGABRT: "out_of_memory"}
_CHUNK = 256 * 1024
_MAX_FACTS = 20


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of an attachment, clean (sanitize.py).

    `status` is one of: ok; empty (read, and there are no words in it: a scan, say); unsupported; too_large;
    timed_out; out_of_memory; damaged (also when reading it took the process down); encrypted; failed (no process could
    be had: it is worth asking again). `text` is empty unless the status is ok. `truncated` says that there is more
    text than was wanted or could be read. `facts` are of the file, such as `pages`, `sheets`, `attachments`.
    """

    status: str
    text: str = ""
    truncated: bool = False
    facts: dict[str, int | str] = field(default_factory=dict[str, int | str])


class _Gone(Exception):
    """The child ended, or said what cannot be."""


class _Child:
    """A process that is ready for one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader) -> None:
        assert process.stdin
        self._process = process
        self._reader = reader
        self._writer = process.stdin
        self.has_job = False
        """Between the last octet of a job and its answer."""

    @property
    def pid(self) -> int:
        """The process id, which is its process group's too."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """False once the loop has seen it end."""
        return self._process.returncode is None and not self._reader.at_eof()

    async def offer(self, header: dict[str, Any], size: int) -> None:
        """Announce a job of `size` octets, and wait until it is taken. Raises _Gone."""
        await self._hand(lead(header, size))
        await self.receive(0)

    async def send(self, content: bytes) -> None:
        """Hand over the content of the job. Raises _Gone."""
        view = memoryview(content)
        for start in range(0, len(content), _CHUNK):
            await self._hand(view[start : start + _CHUNK])
        self.has_job = True

    async def _hand(self, octets: bytes | memoryview) -> None:
        try:
            self._writer.write(octets)
            await self._writer.drain()
        except (OSError, RuntimeError) as error:  # the latter is how uvloop says that a pipe is closed
            raise _Gone from error

    async def receive(self, most: int) -> tuple[dict[str, Any], bytes]:
        """The next frame, whose content has at most `most` octets. Raises _Gone."""
        try:
            header_size, size = LENGTHS.unpack(await self._reader.readexactly(LENGTHS.size))
            if header_size > MAX_HEADER or size > most:
                raise _Gone
            header: object = json.loads(await self._reader.readexactly(header_size))
            content = await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError, ValueError, RecursionError) as error:
            raise _Gone from error
        if not isinstance(header, dict):
            raise _Gone
        return cast("dict[str, Any]", header), content

    def kill(self) -> None:
        """End it, with whatever it started. Harmless when it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._writer.close()

    async def ended(self) -> int:
        """Its exit status (negative: the signal), once it has ended. Everything it had is given back then."""
        status = await self._process.wait()
        # What is left in the pipe keeps our end of it open. One that got away from its group could keep the other end.
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                while await self._reader.read(_CHUNK):
                    pass
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        return status


class Extraction:
    """Reads attachments in child processes, at most `processes` at a time; further callers wait their turn.

    A job may take `seconds` (waiting for its turn is not counted) and its process `memory` octets of address space.
    Content over `max_input` octets is not looked at; text ends after `max_text` characters. A process starts with the
    first job and ends after `idle` seconds without one. Belongs to one event loop.
    """

    def __init__(
        self,
        *,
        processes: int = 1,
        seconds: float = 10.0,
        memory: int = 512 * MIB,
        max_input: int = 25 * MIB,
        max_text: int = 200_000,
        idle: float = IDLE_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._memory = memory
        self._max_input = max_input
        self._max_text = max_text
        self._idle_seconds = idle
        self._processes = processes
        self._turns = asyncio.Semaphore(processes)
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._idle_timer: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the children there are."""
        return [child.pid for child in (*self._idle, *self._busy)]

    @property
    def working(self) -> list[int]:
        """Process ids of the children that have a job, whole."""
        return [child.pid for child in self._busy if child.has_job]

    async def extract(self, content: bytes, content_type: str, filename: str) -> Extracted:
        """The text of an attachment. Raises nothing but CancelledError."""
        kind = supported(content_type, filename)
        if kind is None:
            return Extracted("unsupported")
        if len(content) > self._max_input:
            return Extracted("too_large")
        if not content:
            return Extracted("empty")
        charset = parse_parameters(content_type.encode("utf-8", "replace"))[1].get("charset")
        header = {"format": kind, "charset": charset, "max_text": self._max_text, "seconds": self._seconds}
        async with self._turns:
            # A child that was killed while it was idle is not this file's fault: the next one is asked.
            for _ in range(self._processes + 1):
                try:
                    child = await self._child()
                except (OSError, _Gone, TimeoutError) as error:
                    log.warning("no process to read attachments in: %r", error)
                    break
                if child is None:
                    break
                if result := await self._job(child, header, content):
                    return result
        return Extracted("failed")

    async def aclose(self) -> None:
        """End every child. Jobs under way answer `failed`, as later ones do."""
        self._closed = True
        self._stop_timer()
        for child in self._busy:
            child.kill()
        self._drop_idle()
        # Whoever has a turn now is about to give it back, with a child that just started too.
        for _ in range(self._processes):
            await self._turns.acquire()
        for _ in range(self._processes):
            self._turns.release()
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    async def _job(self, child: _Child, header: dict[str, Any], content: bytes) -> Extracted | None:
        """One job in a child of ours, which is idle afterwards, or dead unless it answered in full and in time.

        None when the child was dead before it took the job.
        """
        self._busy.add(child)
        taken = finished = False
        try:
            async with asyncio.timeout(self._seconds):
                await child.offer(header, len(content))
                taken = True
                # One that does not want all of it says why, or falls silent, which is heard next.
                with contextlib.suppress(_Gone):
                    await child.send(content)
                answer, octets = await child.receive(4 * self._max_text)
            result = _result(answer, octets, self._max_text)
            finished = not answer.get("last")
            if result.status == "failed":
                log.warning("no attachment of the format %s can be read: %r", header["format"], result.facts.get("why"))
                return Extracted("failed")
            return result
        except TimeoutError:
            return Extracted("timed_out")
        except _Gone:
            if self._closed:
                return Extracted("failed")
            child.kill()
            status = await child.ended()
            return Extracted(_BY_SIGNAL.get(status, "damaged")) if taken else None
        finally:
            child.has_job = False
            self._busy.discard(child)
            if finished and not self._closed:
                self._idle.append(child)
                self._restart_timer()
            else:
                self._bury(child)

    async def _child(self) -> _Child | None:
        """A child that is ready: an idle one, or a new one. None when closed.

        Raises OSError, TimeoutError or _Gone when there is none to be had.
        """
        while self._idle and not self._closed:
            child = self._idle.pop()
            if child.is_alive:
                return child
            self._bury(child)
        if self._closed:
            return None
        child = await self._start()
        if self._closed:
            self._bury(child)
            return None
        return child

    async def _start(self) -> _Child:
        # Its environment has nothing of ours: no key, no path to the data.
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "daimon_mcp.extraction.child",
            str(os.getpid()),
            str(self._memory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        assert process.stdout
        child = _Child(process, process.stdout)
        try:
            async with asyncio.timeout(START_SECONDS):
                await child.receive(0)
        except BaseException:
            self._bury(child)
            raise
        return child

    def _bury(self, child: _Child) -> None:
        child.kill()
        task = asyncio.ensure_future(child.ended())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _drop_idle(self) -> None:
        while self._idle:
            self._bury(self._idle.pop())

    def _restart_timer(self) -> None:
        self._stop_timer()
        self._idle_timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._drop_idle)

    def _stop_timer(self) -> None:
        if self._idle_timer:
            self._idle_timer.cancel()
            self._idle_timer = None


def _result(answer: dict[str, Any], octets: bytes, max_text: int) -> Extracted:
    """What a child answered, as plain data; it has read a stranger's file and may say anything. Raises _Gone."""
    status, facts = answer.get("status"), answer.get("facts")
    if status not in _STATUSES or not isinstance(facts, dict):
        raise _Gone
    plain: dict[str, int | str] = {}
    for name, value in list(cast("dict[str, object]", facts).items())[:_MAX_FACTS]:
        if isinstance(value, (int, str)):
            plain[name[:40]] = value[:200] if isinstance(value, str) else value
    text = octets.decode("utf-8", "replace")[:max_text]
    return Extracted(str(status), text, bool(answer.get("truncated")), plain)
