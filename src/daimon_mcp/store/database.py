"""SQLite behind one door: one writer thread with group commit, readers apart

`write(fn)` runs a short synchronous function on the writer thread, inside a savepoint of a transaction that it may
share with other writers, and returns when that transaction is on disk (`synchronous=FULL`). Changes announced in it are
rung on the event loop, in commit order, before the caller resumes. Waiting for our turn may be cancelled; the
transaction may not. A full or failing disk fails the transaction it struck, and nothing else: the next one tries again.

Nobody else may open the database file in this process: closing any descriptor of it cancels SQLite's locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import queue
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import aiosqlite
import anyio

from daimon_mcp.domain.changes import Change
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.store.compiled import Statement

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = tuple[Any, ...]

APPLICATION_ID = 0x444D4350  # "DMCP"
_GROUP = 64
_READERS = 2
_SEARCH_CACHE = 49_152  # kB at most, of the slow lane: a search goes to many pages of the index again and again

_WRITER_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    "cache_size=-65536",
    "temp_store=MEMORY",
    "wal_autocheckpoint=1000",
    "journal_size_limit=67108864",
    "mmap_size=0",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    *(("fullfsync=1", "checkpoint_fullfsync=1") if sys.platform == "darwin" else ()),
)
_READER_PRAGMAS = (
    "query_only=1",
    "busy_timeout=5000",
    "cache_size=-16384",
    "temp_store=MEMORY",
    "wal_autocheckpoint=0",
    "mmap_size=0",
    "trusted_schema=OFF",
)
_NO_SPACE_OR_IO = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}
_NO_SPACE_OR_ACCESS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
}


class Transaction:
    """What a write function gets: statements to run, and the bell to ask for."""

    __slots__ = ("_connection", "changes")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changes: list[Change] = []

    def run(self, statement: Statement, **values: Any) -> int:
        """Execute; the number of rows changed."""
        return self._connection.execute(statement.sqlite, values).rowcount

    def one(self, statement: Statement, **values: Any) -> Row | None:
        """The first row, or None."""
        cursor = self._connection.execute(statement.sqlite, values)
        row = cursor.fetchone()
        cursor.close()
        return row

    def scalar(self, statement: Statement, **values: Any) -> Any:
        """The first column of a row that must be there."""
        row = self.one(statement, **values)
        if row is None:
            raise LookupError("a row that must exist does not")
        return row[0]

    def all(self, statement: Statement, **values: Any) -> list[Row]:
        """All rows."""
        return self._connection.execute(statement.sqlite, values).fetchall()

    def many(self, statement: Statement, rows: Sequence[dict[str, Any]]) -> None:
        """Execute once for each row of values."""
        self._connection.executemany(statement.sqlite, rows)

    def announce(self, change: Change) -> None:
        """Ring this after the commit; a rolled-back change is never announced."""
        self.changes.append(change)


class _Operation(NamedTuple):
    run: Callable[[Transaction], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class _Done(Generic[T]):
    __slots__ = ("changes", "error", "operation", "value")

    def __init__(self, operation: _Operation) -> None:
        self.operation = operation
        self.value: Any = None
        self.error: BaseException | None = None
        self.changes: list[Change] = []


def is_unavailable(error: BaseException) -> bool:
    """Whether this is the machine's doing (disk full, failing or closed to us), not a mistake in a statement."""
    if isinstance(error, sqlite3.Error):
        code: int = getattr(error, "sqlite_errorcode", 0)
        return code & 0xFF in _NO_SPACE_OR_IO
    return isinstance(error, OSError) and error.errno in _NO_SPACE_OR_ACCESS


def _refusal() -> Refused:
    return Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=30)


def _closed() -> Refused:
    return Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=1)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, on systems where folders can be synced. Raises OSError."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)


class Database:
    """One SQLite file, owned by this process alone (the caller holds the data folder's lock)."""

    def __init__(self, path: Path, *, on_commit: Callable[[Sequence[Change]], None], exclusive: bool = True) -> None:
        self._path = path
        self._on_commit = on_commit
        self._exclusive = exclusive and sys.platform != "win32"
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._readers: list[aiosqlite.Connection] = []
        self._turn = 0
        self._closing = False

    @property
    def uri(self) -> str:
        """What every connection here opens: an exclusive VFS keeps the wal-index in memory and other processes out."""
        vfs = "?vfs=unix-excl" if self._exclusive else ""
        return f"{self._path.absolute().as_uri()}{vfs}"

    async def open(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        """Open the writer, let `prepare` migrate on it, then open the readers.

        Raises what `prepare` raised, or sqlite3.Error naming the file; nothing stays open then.
        """
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(
            target=self._write_forever, args=(prepare, loop, ready), name="store-writer", daemon=True
        )
        self._thread.start()
        try:
            await ready
            for _ in range(_READERS):
                self._readers.append(await self._reader())
            self._readers.append(await self._reader(f"cache_size=-{_SEARCH_CACHE}"))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.close()
            raise

    async def _reader(self, *more: str) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(
            self.uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            for pragma in (*_READER_PRAGMAS, *more):
                await connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Finish what is queued, then close everything. What is asked from now on is refused."""
        self._closing = True
        readers, self._readers = self._readers, []
        for reader in readers:
            await reader.close()
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    # -- reading ---------------------------------------------------------------------------------------------------

    async def all(self, statement: Statement, *, slow: bool = False, **values: Any) -> list[Row]:
        """All rows, as of the last commit. `slow` ones have a reader of their own, so that nobody queues behind them.

        Raises Refused(STORE_UNAVAILABLE) when the disk fails, or after `close`."""
        if self._closing:
            raise _closed()
        self._turn = (self._turn + 1) % _READERS
        reader = self._readers[_READERS if slow else self._turn]
        try:
            return await reader.execute_fetchall(statement.sqlite, values)  # type: ignore[return-value]
        except sqlite3.Error as error:
            if not is_unavailable(error):
                raise
            log.error("the store cannot be read: %s", error)
            raise _refusal() from error

    async def one(self, statement: Statement, **values: Any) -> Row | None:
        """The first row, or None."""
        rows = await self.all(statement, **values)
        return rows[0] if rows else None

    async def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Rows of a written-out query, for maintenance (consistency checks), never for request paths."""
        if self._closing:
            raise _closed()
        return await self._readers[0].execute_fetchall(sql, values)  # type: ignore[return-value]

    # -- writing ---------------------------------------------------------------------------------------------------

    async def write(self, run: Callable[[Transaction], T]) -> T:
        """Run `run` on the writer thread and return its value once it is durable.

        Raises what `run` raised (nothing of it is kept then), or Refused(STORE_UNAVAILABLE) when the disk is full or
        failing. If the caller is cancelled while its turn has not come, nothing happens; later, everything.
        """
        if self._closing:
            raise _closed()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Operation(run, loop, future))
        return await future

    def _write_forever(
        self,
        prepare: Callable[[sqlite3.Connection], None],
        loop: asyncio.AbstractEventLoop,
        ready: asyncio.Future[None],
    ) -> None:
        try:
            connection = self._connect(prepare)
        except BaseException as error:  # noqa: BLE001  handed to the caller of open()
            self._call(loop, _settle, ready, None, error)
            return
        self._call(loop, _settle, ready, None, None)
        while (first := self._queue.get()) is not None:
            group = [first]
            while len(group) < _GROUP:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    self._queue.put(None)
                    break
                group.append(following)
            self._commit(connection, group)
        connection.close()

    def _connect(self, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
        """The writer's connection, set up and migrated."""
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                self.uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=512
            )
            (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not objects:
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            for pragma in _WRITER_PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            prepare(connection)
            if not objects:
                # SQLite syncs the folder the file is in; that folder may be as new, and its parents too.
                for folder in self._path.absolute().parent.parents:
                    with contextlib.suppress(OSError):  # one that we may not read was not made by us
                        sync_folder(folder)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise type(error)(f"{self._path} cannot be used: {error}") from error
            raise
        return connection

    @staticmethod
    def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            loop.call_soon_threadsafe(function, *arguments)

    def _commit(self, connection: sqlite3.Connection, group: list[_Operation]) -> None:
        group = [operation for operation in group if not operation.future.cancelled()]
        if not group:
            return
        done = [_Done[Any](operation) for operation in group]
        try:
            connection.execute("BEGIN IMMEDIATE")
            for each in done:
                self._run_one(connection, each)
            connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  every caller of the group is told
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            unavailable = is_unavailable(error)
            if unavailable:
                log.error("the store cannot be written: %s", error)
            for each in done:
                each.changes.clear()
                each.error = each.error or (_refusal() if unavailable else error)
        self._call(group[0].loop, self._resolve, done)

    @staticmethod
    def _run_one(connection: sqlite3.Connection, each: _Done[Any]) -> None:
        transaction = Transaction(connection)
        connection.execute("SAVEPOINT one")
        try:
            each.value = each.operation.run(transaction)
        except BaseException as error:
            if not connection.in_transaction:  # the engine rolled everything back (disk full)
                raise
            connection.execute("ROLLBACK TO one")
            connection.execute("RELEASE one")
            if is_unavailable(error):
                raise
            each.error = error
        else:
            connection.execute("RELEASE one")
            each.changes = transaction.changes

    def _resolve(self, done: list[_Done[Any]]) -> None:
        for each in done:
            if each.error is None and each.changes:
                try:
                    self._on_commit(each.changes)
                except Exception:
                    log.exception("the bell is broken")  # what was committed is committed, and its caller must know
            _settle(each.operation.future, each.value, each.error)


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):  # which a future cannot carry
        future.set_exception(RuntimeError("a write function ran out of items"))
    else:
        future.set_exception(error)
