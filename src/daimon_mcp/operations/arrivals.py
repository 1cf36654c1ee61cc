"""One message arriving piece by piece from a program that is not a mail server: its lines may end in anything."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from daimon_mcp.domain.envelopes import ContentFile, ReceivedContent
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.mail.trace import canonical_crlf
from daimon_mcp.operations.reading import on_parser
from daimon_mcp.store.database import is_unavailable, sync_folder

IN_MEMORY: Final = 262_144
"""Octets that are held; what is larger goes to a file as it comes."""


class Arrival:
    """Content that is written, then finished, with every line end made CRLF. At most `most` octets of it.

    One call at a time, and `discard` at the end whatever has happened: it removes what was not `taken`.
    """

    def __init__(self, folder: Callable[[], Path], most: int) -> None:
        self.head = b""  # its beginning, with the header or much of it, once it is finished
        self._folder = folder
        self._most = most
        self._came = 0
        self._held = bytearray()
        self._ends_in_cr = False  # held back: whether it is a line end of its own, the next octet tells
        self._size = 0
        self._digest = hashlib.sha256()
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._dropped = False
        self._lock = threading.Lock()  # when a call is cancelled its thread goes on

    async def write(self, piece: bytes) -> None:
        """Append `piece`. Raises MESSAGE_TOO_LARGE, STORE_UNAVAILABLE."""
        self._came += len(piece)
        if self._came > self._most:
            raise too_large(self._most)
        self._held += piece
        if len(self._held) > IN_MEMORY:
            await asyncio.to_thread(self._pass_on)

    async def finish(self) -> ReceivedContent:
        """All of it; a file is on disk, with its name. Raises as `write`."""
        if self._path is not None:
            return await asyncio.to_thread(self._complete)

        def whole() -> bytes:
            return self._canonical(last=True)

        self.head = await on_parser(whole, len(self._held))
        return self.head

    def digest(self) -> str:
        """SHA-256 of the finished content, in hexadecimal."""
        return self._digest.hexdigest()

    def taken(self) -> None:
        """The file, if there is one, belongs to the spool."""
        self._path = None

    async def discard(self) -> None:
        """Remove what was written, unless it was taken."""
        self._dropped = True
        if self._path is not None:
            await asyncio.to_thread(self._remove)

    def _canonical(self, *, last: bool) -> bytes:
        piece = b"\r" + self._held if self._ends_in_cr else bytes(self._held)
        self._held.clear()
        self._ends_in_cr = not last and piece.endswith(b"\r")
        plain = canonical_crlf(piece.removesuffix(b"\r") if self._ends_in_cr else piece)
        self._size += len(plain)
        if self._size > self._most:
            raise too_large(self._most)
        self._digest.update(plain)
        return plain

    def _pass_on(self, *, last: bool = False) -> None:
        with self._lock:
            if self._dropped:
                return
            plain = self._canonical(last=last)
            try:
                if self._file is None:
                    self.head = plain
                    path = self._folder() / f"{secrets.token_hex(16)}.eml"
                    self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
                    self._path = path
                self._file.write(plain)
            except OSError as error:
                raise _unavailable(error) from error

    def _complete(self) -> ContentFile:
        self._pass_on(last=True)
        with self._lock:
            if self._dropped or self._file is None or self._path is None:
                raise FileNotFoundError("content was discarded")
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                sync_folder(self._path.parent)
            except OSError as error:
                raise _unavailable(error) from error
            return ContentFile(self._path, self._size)

    def _remove(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
            if self._path is not None:
                self._path.unlink(missing_ok=True)
                self._path = None


def too_large(most: int) -> Refused:
    """MESSAGE_TOO_LARGE for content whose whole size is not known."""
    return Refused(RefusalCode.MESSAGE_TOO_LARGE, reason="RAW", facts={"limit": most})


def _unavailable(error: OSError) -> Exception:
    return Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=30) if is_unavailable(error) else error
