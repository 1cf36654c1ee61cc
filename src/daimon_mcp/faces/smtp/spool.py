"""Content on its way into a file: written, synced and removed in threads, never by the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from daimon_mcp.domain.envelopes import ContentFile

log = logging.getLogger(__name__)

THREADS: Final = 4


class Spool:
    """Makes files in the folder that `folder` returns, which must exist and is asked for each file anew."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="smtp-spool")

    def begin(self) -> SpoolFile:
        """A file for one message; nothing is on disk before its first `write` or `finish`."""
        return SpoolFile(self._folder, self._threads)

    async def close(self) -> None:
        """Wait until what was asked for is done; nothing can be asked for afterwards."""
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)


class SpoolFile:
    """One message being written. One call at a time, but `discard` at any time."""

    def __init__(self, folder: Callable[[], Path], threads: ThreadPoolExecutor) -> None:
        self._folder = folder
        self._threads = threads
        self._path: Path | None = None
        self._fd = -1
        self._size = 0
        self._dropped = False
        self._lock = threading.Lock()  # an abandoned write goes on in its thread while `discard` is called

    async def write(self, piece: bytes) -> None:
        """Append `piece`. Raises OSError when there is no space."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._append, piece)

    async def finish(self, piece: bytes) -> ContentFile:
        """Append the last `piece`; file and name are on disk when this returns. Raises OSError."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._complete, piece)

    def discard(self) -> None:
        """Remove what was written; returns at once."""
        self._dropped = True
        try:
            self._threads.submit(self._remove)
        except RuntimeError:  # the spool is closed; the process is about to end
            self._remove()

    def _append(self, piece: bytes) -> None:
        with self._lock:
            if self._dropped:
                raise FileNotFoundError("content was discarded")
            if self._path is None:
                path = self._folder() / f"{secrets.token_hex(16)}.eml"
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                self._path = path
            self._size += len(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def _complete(self, piece: bytes) -> ContentFile:
        self._append(piece)
        with self._lock:
            if self._dropped or self._path is None:
                raise FileNotFoundError("content was discarded")
            os.fsync(self._fd)
            self._close()
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return ContentFile(self._path, self._size)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _remove(self) -> None:
        with self._lock:
            self._close()
            if self._path is None:
                return
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("cannot remove %s: %s", self._path, error)
