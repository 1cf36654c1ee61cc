"""Raw messages: small ones in the database, large ones as files that are on disk before their row is."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from daimon_mcp.store.blobs import IN_DATABASE, Blobs
from daimon_mcp.store.database import Database
from daimon_mcp.store.migrations import migrate

LARGE = random.Random(1).randbytes(IN_DATABASE + 1)
"""Bytes that no compression makes smaller."""


class Store:
    """A store with nothing but blobs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(folder / "mail.db", on_commit=lambda _: None)
        self.blobs = Blobs(folder / "blobs")

    async def put(self, content: bytes) -> str:
        blob = await self.blobs.prepare(content)
        await self.database.write(lambda tx: Blobs.put(tx, blob, 1))
        return blob.hash

    async def get(self, digest: str) -> bytes:
        return await self.blobs.get(self.database, digest)

    def files(self) -> list[Path]:
        return [path for path in (self.folder / "blobs").rglob("*") if path.is_file()]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    made = Store(tmp_path)
    await made.database.open(lambda connection: migrate(connection, backups=tmp_path / "backups"))
    yield made
    await made.database.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a",
        b"\0\r\n" * 1000,
        LARGE[:4096],
        LARGE[:4097],
        LARGE[:IN_DATABASE],
        LARGE,
        b"text that compresses well\r\n" * 400_000,
        LARGE + bytes(1 << 20),
    ],
    ids=["empty", "one", "zeros", "4096", "4097", "limit", "above", "compressible", "compressible file"],
)
async def test_the_exact_bytes_come_back(store: Store, content: bytes) -> None:
    digest = await store.put(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert await store.get(digest) == content
    assert bool(store.files()) == (len(content) > IN_DATABASE and not content.startswith(b"text"))


async def test_what_is_unknown_is_said(store: Store) -> None:
    with pytest.raises(LookupError):
        await store.get("0" * 64)


async def test_the_same_bytes_are_stored_once(store: Store) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(store.put, LARGE)
            tasks.start_soon(store.put, b"small")
    assert len(store.files()) == 1
    assert await store.database.fetch("SELECT count(*) FROM blobs") == [(2,)]
    assert await store.get(hashlib.sha256(LARGE).hexdigest()) == LARGE


async def test_only_their_owner_reads_the_files(store: Store) -> None:
    await store.put(LARGE)
    for path in (store.folder / "blobs").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


async def test_a_large_blob_is_on_disk_before_it_is_prepared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content, then name, then the names of the folders above it."""
    happened: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        happened.append(("sync", os.fstat(descriptor).st_ino))

    def noted_replace(source: Path, target: Path) -> None:
        replace(source, target)
        happened.append(("name", os.stat(target).st_ino))

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    blob = await store.blobs.prepare(LARGE)
    (file,) = store.files()
    assert blob.data is None
    inode = {name: os.stat(path).st_ino for name, path in (("file", file), ("folder", file.parent))}
    blobs, data = (store.folder / "blobs").stat().st_ino, store.folder.stat().st_ino
    assert happened == [
        ("sync", data),
        ("sync", inode["file"]),
        ("name", inode["file"]),
        ("sync", inode["folder"]),
        ("sync", blobs),
    ]


async def test_what_a_killed_process_left_half_written_goes(store: Store) -> None:
    incoming = store.folder / "blobs" / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "half").write_bytes(b"x")
    await store.put(LARGE)
    assert len(store.files()) == 1
    second = LARGE[::-1]
    await store.put(second)  # the same process again: what it writes itself is not taken for a left-over
    assert await store.get(hashlib.sha256(second).hexdigest()) == second


async def test_another_encoding_of_the_same_bytes_does_not_take_the_place_of_the_one_on_record(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a later compressor finds the same bytes not worth compressing."""
    content = LARGE + bytes(IN_DATABASE)
    digest = await store.put(content)
    import zstandard

    class Worse:
        """Packs nothing."""

        def __init__(self, level: int) -> None:
            assert level

        def compress(self, data: bytes) -> bytes:
            return data

    monkeypatch.setattr(zstandard, "ZstdCompressor", Worse)
    again = await store.blobs.prepare(content)
    assert (again.hash, again.encoding) == (digest, "raw")
    await store.database.write(lambda tx: Blobs.put(tx, again, 2))
    assert await store.get(digest) == content
