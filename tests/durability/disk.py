"""A disk that forgets whatever was not synced: what this process syncs is kept apart, and `restore` gives just that.

SQLite syncs inside its own library, so its file system layer is wrapped there: a VFS of the same name as the one that
the product opens, registered before it, which copies a file (read through the library's own descriptor: opening it a
second time would cancel its locks) when the library has synced it. `os.fsync` is wrapped for files of our own. A name
is kept when its folder was synced; a file whose name was kept and whose content was not comes back empty.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import json
import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
OK = 0


class Vfs(ctypes.Structure):
    """`sqlite3_vfs`, version 3 (sqlite3.h). Members that stay as they are, are plain pointers."""


# Paths go through as the pointers they are: the library keeps them, and reads on behind their end.
Opening = CFUNCTYPE(c_int, POINTER(Vfs), c_void_p, c_void_p, c_int, POINTER(c_int))
Deleting = CFUNCTYPE(c_int, POINTER(Vfs), c_char_p, c_int)
FolderOpening = CFUNCTYPE(c_int, c_char_p, POINTER(c_int))
SettingCall = CFUNCTYPE(c_int, POINTER(Vfs), c_char_p, c_void_p)
GettingCall = CFUNCTYPE(c_void_p, POINTER(Vfs), c_char_p)

Vfs._fields_ = [
    ("version", c_int),
    ("file_size", c_int),
    ("longest_path", c_int),
    ("next", c_void_p),
    ("name", c_char_p),
    ("data", c_void_p),
    ("open", Opening),
    ("delete", Deleting),
    *((name, c_void_p) for name in ("access", "full_path", "dl_open", "dl_error", "dl_sym", "dl_close")),
    *((name, c_void_p) for name in ("randomness", "sleep", "current_time", "last_error", "current_time_int64")),
    ("set_call", SettingCall),
    ("get_call", GettingCall),
    ("next_call", c_void_p),
]

Reading = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
Syncing = CFUNCTYPE(c_int, c_void_p, c_int)
Sizing = CFUNCTYPE(c_int, c_void_p, POINTER(c_int64))


class Methods(ctypes.Structure):
    """`sqlite3_io_methods`, version 3."""

    _fields_ = [
        ("version", c_int),
        ("close", c_void_p),
        ("read", Reading),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", Syncing),
        ("size", Sizing),
        *((name, c_void_p) for name in ("lock", "unlock", "check_lock", "control", "sector_size", "characteristics")),
        *((name, c_void_p) for name in ("shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch")),
    ]


class File(ctypes.Structure):
    """The head of every `sqlite3_file`."""

    _fields_ = [("methods", POINTER(Methods))]


class CannotHook(Exception):
    """This Python's SQLite cannot be wrapped; the text says why."""


def _library() -> ctypes.CDLL:
    """The very library that the sqlite3 module runs on."""
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    if not hasattr(library, "sqlite3_vfs_find"):
        raise CannotHook("SQLite is linked into this Python in a way that hides its functions (sqlite3_vfs_find)")
    library.sqlite3_libversion.restype = c_char_p
    version: bytes = library.sqlite3_libversion()
    if version.decode() != sqlite3.sqlite_version:
        raise CannotHook(f"found SQLite {version.decode()}, but the sqlite3 module runs {sqlite3.sqlite_version}")
    library.sqlite3_vfs_find.restype = POINTER(Vfs)
    return library


class Disk:
    """Keeps in the folder `record` what is synced from now on. One for each process.

    `before_sync` is called with the number of every sync before it is made, to cut the power there. With
    `ignore`, syncs of our own files (not SQLite's, not folders) below folders of that name count for nothing.
    """

    def __init__(
        self, record: Path, *, vfs: str = "unix-excl", ignore: str | None = None, before_sync: Callable[[int], None]
    ) -> None:
        self.syncs = 0
        self._record = record
        self._ignore = ignore
        self._before = before_sync
        self._paths: dict[int, str] = {}
        self._turn = threading.RLock()
        self._local = threading.local()
        self._kept: list[Any] = []  # what the library points to
        self._wrapped: dict[int, Methods] = {}
        record.mkdir()
        self._wrap_os()
        self._wrap_sqlite(_library(), vfs.encode())
        self._prove(vfs)

    # -- what is kept ----------------------------------------------------------------------------------------------

    def _keep(self, name: str, content: bytes) -> None:
        unfinished = self._record / f"{name}.unfinished"
        with open(unfinished, "wb") as file:
            file.write(content)
        os.rename(unfinished, self._record / name)

    def _keep_folder(self, path: str) -> None:
        names = {entry.name: [entry.is_dir(), entry.inode()] for entry in os.scandir(path)}
        self._keep(f"folder-{os.stat(path).st_ino}", json.dumps(names).encode())

    def _count(self) -> None:
        with self._turn:
            self.syncs += 1
            self._before(self.syncs)

    # -- our own files -----------------------------------------------------------------------------------------------

    def _wrap_os(self) -> None:
        real_open, real_sync = os.open, os.fsync

        def opening(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            descriptor = real_open(path, flags, mode, dir_fd=dir_fd)
            self._paths[descriptor] = os.path.abspath(os.fsdecode(path))
            return descriptor

        def sync(descriptor: int) -> None:
            self._count()
            real_sync(descriptor)
            path, found = self._paths[descriptor], os.fstat(descriptor)
            with self._turn:
                if stat.S_ISDIR(found.st_mode):
                    self._keep_folder(path)
                elif self._ignore not in Path(path).parts:
                    self._keep(f"file-{found.st_ino}", Path(path).read_bytes())

        os.open, os.fsync = opening, sync

    # -- SQLite's ------------------------------------------------------------------------------------------------------

    def _wrap_sqlite(self, library: ctypes.CDLL, name: bytes) -> None:
        found = library.sqlite3_vfs_find(name)
        if not found:
            raise CannotHook(f"this SQLite has no VFS {name.decode()}")
        original: Vfs = found.contents
        if original.version < 3:
            raise CannotHook("this SQLite's VFS is older than version 3")
        ours = Vfs()
        ctypes.pointer(ours)[0] = original
        real_open, real_delete = original.open, original.delete

        @Opening
        def opening(_vfs: Any, path: int | None, file: int, flags: int, out: Any) -> int:
            status: int = real_open(found, path, file, flags, out)
            head = ctypes.cast(file, POINTER(File)).contents
            if status == OK and head.methods and path is not None:
                head.methods = ctypes.pointer(self._methods(head.methods, os.fsdecode(ctypes.string_at(path))))
            return status

        @Deleting
        def delete(_vfs: Any, path: bytes, sync: int) -> int:
            with self._turn:
                try:
                    inode = os.stat(path).st_ino
                except FileNotFoundError:
                    inode = None
                status: int = real_delete(found, path, sync)
                if status == OK and inode is not None:  # its number may be given to another file
                    (self._record / f"file-{inode}").unlink(missing_ok=True)
                    if sync:
                        self._keep_folder(os.path.dirname(os.fsdecode(path)))
            return status

        real_folder = FolderOpening(original.get_call(found, b"openDirectory"))

        @FolderOpening
        def folder_opening(path: bytes, out: Any) -> int:
            """The library opens a folder only to sync it; it is noted here and kept when the sync is done."""
            self._local.folder = os.path.dirname(os.fsdecode(path))
            return real_folder(path, out)

        ours.open, ours.delete = opening, delete
        original.set_call(found, b"openDirectory", ctypes.cast(folder_opening, c_void_p))
        self._kept += [ours, opening, delete, folder_opening]
        if library.sqlite3_vfs_register(byref(ours), 0) != OK:
            raise CannotHook("SQLite took no second VFS")
        if ctypes.addressof(library.sqlite3_vfs_find(name).contents) != ctypes.addressof(ours):
            raise CannotHook("SQLite goes on using its own VFS")

    def _methods(self, original: Any, path: str) -> Methods:
        """The methods of a file, with a sync that keeps what it synced."""
        methods = Methods()
        ctypes.pointer(methods)[0] = original.contents
        real: Methods = original.contents
        real_sync, real_read, real_size = real.sync, real.read, real.size

        @Syncing
        def sync(file: int, flags: int) -> int:
            self._count()
            self._local.folder = None
            status: int = real_sync(file, flags)
            if status == OK:
                with self._turn:
                    self._keep(f"file-{os.stat(path).st_ino}", content(file))
                    if self._local.folder is not None:
                        self._keep_folder(self._local.folder)
            return status

        def content(file: int) -> bytes:
            size = c_int64()
            assert real_size(file, byref(size)) == OK
            parts: list[bytes] = []
            at = 0
            while at < size.value:
                length = min(CHUNK, size.value - at)
                buffer = ctypes.create_string_buffer(length)
                assert real_read(file, ctypes.addressof(buffer), length, at) == OK
                parts.append(buffer.raw)
                at += length
            return b"".join(parts)

        methods.sync = sync
        self._kept += [methods, sync]
        return methods

    def _prove(self, vfs: str) -> None:
        """One commit, which must pass through the hooks."""
        path = self._record / "proof.db"
        before = self.syncs
        connection = sqlite3.connect(f"{path.as_uri()}?vfs={vfs}", uri=True)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE proof (x)")
        inode = path.stat().st_ino
        seen = self.syncs > before and (self._record / f"file-{inode}").exists()
        connection.close()
        path.unlink()
        (self._record / f"file-{inode}").unlink(missing_ok=True)
        self.syncs = 0
        if not seen:
            raise CannotHook("SQLite's syncs do not pass through the wrapped VFS")


def restore(record: Path, root: Path, target: Path) -> None:
    """Make `target` what the disk has of `root` after the power went: a folder that was never synced is empty."""
    target.mkdir()
    names = record / f"folder-{root.stat().st_ino}"
    if not names.exists():
        return
    _restore(record, names, target)


def _restore(record: Path, names: Path, target: Path) -> None:
    entries: dict[str, tuple[bool, int]] = json.loads(names.read_bytes())
    for name, (is_folder, inode) in entries.items():
        if is_folder:
            (target / name).mkdir(mode=0o700)
            below = record / f"folder-{inode}"
            if below.exists():
                _restore(record, below, target / name)
        else:
            content = record / f"file-{inode}"
            (target / name).write_bytes(content.read_bytes() if content.exists() else b"")
