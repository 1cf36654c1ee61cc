"""Raw messages by the SHA-256 of their exact bytes: zstd in the database, large ones as fsynced files.

`prepare` does the costly part (hash, compress, write and fsync a large one) on a thread and before the transaction;
`put` only inserts the row. One copy serves any number of messages.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Row, Transaction, is_unavailable, sync_folder

IN_DATABASE = 1 << 20  # larger than this (after compression) would hold up the writer
_SMALL = 4096  # compressing this on the event loop costs less than a thread hop


@dataclass(frozen=True, slots=True)
class PreparedBlob:
    """Bytes ready to be put: large ones are already on disk."""

    hash: str
    size: int
    encoding: str
    data: bytes | None


def _compressed(content: bytes) -> tuple[str, bytes]:
    import zstandard

    packed = zstandard.ZstdCompressor(level=3).compress(content)
    return ("zstd", packed) if len(packed) <= len(content) * 0.9 else ("raw", content)


_of_thread = threading.local()  # a decompressor may not be shared, and making one costs as much as using it


def _decompressed(encoding: str, data: bytes, size: int) -> bytes:
    if encoding == "raw":
        return data
    decompressor = getattr(_of_thread, "decompressor", None)
    if decompressor is None:
        import zstandard

        decompressor = _of_thread.decompressor = zstandard.ZstdDecompressor()
    return decompressor.decompress(data, max_output_size=size)


class Blobs:
    """The blob folder and the blobs table. One process at a time has the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starting = threading.Lock()
        self._started = False

    def _path(self, digest: str, encoding: str) -> Path:
        # The encoding is part of the name: another version of the library may find another one better for the same
        # bytes, and must not put its file in place of the one that a row already speaks of.
        return self._folder / digest[:2] / (f"{digest}.zst" if encoding == "zstd" else digest)

    def _prepare(self, content: bytes) -> PreparedBlob:
        digest = hashlib.sha256(content).hexdigest()
        encoding, data = _compressed(content)
        if len(data) <= IN_DATABASE:
            return PreparedBlob(digest, len(content), encoding, data)
        try:
            self._write_file(self._path(digest, encoding), data)
        except OSError as error:
            if is_unavailable(error):
                raise Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=30) from error
            raise
        return PreparedBlob(digest, len(content), encoding, None)

    def _incoming(self) -> Path:
        """Where files are written; what an earlier process left there half written is gone."""
        incoming = self._folder / "incoming"
        with self._starting:
            if not self._started:
                incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
                for left in incoming.iterdir():
                    left.unlink()
                sync_folder(self._folder.parent)
                self._started = True
        return incoming

    def _write_file(self, path: Path, data: bytes) -> None:
        """Bytes, then their name, then the name of their folder: each on disk before anything relies on it."""
        temporary = self._incoming() / f"{path.name}.{secrets.token_hex(4)}"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
        sync_folder(self._folder)

    async def prepare(self, content: bytes) -> PreparedBlob:
        """Hash, compress, and write and fsync to a file if large. Raises Refused(STORE_UNAVAILABLE)."""
        if len(content) <= _SMALL:
            return self._prepare(content)
        return await asyncio.to_thread(self._prepare, content)

    @staticmethod
    def put(tx: Transaction, blob: PreparedBlob, now: int) -> None:
        """Insert the row, unless these bytes are there already."""
        tx.run(sql.blob_insert, hash=blob.hash, size=blob.size, encoding=blob.encoding, data=blob.data, created_at=now)

    def scratch(self) -> Path:
        """A folder on the same disk for files that come in; what an earlier process left there is gone. Blocks."""
        return self._incoming()

    async def missing(self, database: Database) -> list[str]:
        """The hashes of large blobs whose file is gone; for `doctor`."""
        rows = await database.all(sql.blobs_in_files)

        def gone() -> list[str]:
            return [digest for digest, encoding in rows if not self._path(digest, encoding).is_file()]

        return await asyncio.to_thread(gone)

    async def get(self, database: Database, digest: str) -> bytes:
        """The exact bytes. Raises LookupError when there are none under this hash."""
        row = await database.one(sql.blob_get, hash=digest)
        if row is None:
            raise LookupError(f"no blob {digest}")
        return await self.unpacked(digest, row)

    @staticmethod
    def packed_in(tx: Transaction, digest: str) -> Row | None:
        """A blob as it is stored, inside a write: for `unpacked`."""
        return tx.one(sql.blob_get, hash=digest)

    async def unpacked(self, digest: str, packed: Row) -> bytes:
        """The exact bytes of a stored blob."""
        size, encoding, data = packed
        if data is None or size > _SMALL:
            return await asyncio.to_thread(self._load, digest, size, encoding, data)
        return _decompressed(encoding, data, size)

    def _load(self, digest: str, size: int, encoding: str, data: Any) -> bytes:
        packed = data if data is not None else self._path(digest, encoding).read_bytes()
        return _decompressed(encoding, packed, size)
