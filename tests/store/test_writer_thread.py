"""The one writer: groups, savepoints, the bell, cancelled callers, full disks, and the end."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from tests.store.notes import ADD, COUNT, TEXTS, Notes, adding, create

from daimon_mcp.domain.changes import AccountChanged, Change
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.store.database import Database, Transaction


class Held:
    """Keeps the writer busy with an operation of its own, so that what comes meanwhile makes one group."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._go = threading.Event()

    def run(self, tx: Transaction) -> None:
        self.begun.set()
        assert self._go.wait(10)

    def let_go(self) -> None:
        self._go.set()


async def begun(held: Held) -> None:
    assert await anyio.to_thread.run_sync(held.begun.wait, 10)


async def grouped(database: Database, operations: Sequence[Callable[[Transaction], object]]) -> list[object]:
    """What each of the operations came to, value or exception, when all were queued before the first one's turn."""
    held = Held()
    outcomes: list[object] = [None] * len(operations)

    async def write(n: int) -> None:
        try:
            outcomes[n] = await database.write(operations[n])
        except Exception as error:  # noqa: BLE001 - it is what the test is about
            outcomes[n] = error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(database.write, held.run)
        await begun(held)
        for n in range(len(operations)):
            tasks.start_soon(write, n)
        await anyio.wait_all_tasks_blocked()
        held.let_go()
    return outcomes


def fail_after_adding(text: str, error: Exception) -> Callable[[Transaction], None]:
    def run(tx: Transaction) -> None:
        adding(text, rings=99)(tx)
        raise error

    return run


async def test_what_waits_together_is_committed_together(tmp_path: Path) -> None:
    said: list[str] = []
    notes = Notes(tmp_path / "notes.db")

    def prepare(connection: sqlite3.Connection) -> None:
        create(connection)
        connection.set_trace_callback(said.append)

    await notes.database.open(prepare)
    try:
        await grouped(notes.database, [adding(str(n)) for n in range(150)])
        assert await notes.texts() == [str(n) for n in range(150)]
    finally:
        await notes.database.close()
    assert said.count("COMMIT") == 1 + 3  # the one that held the writer; then 64, 64 and 22
    assert sum(statement.startswith("SAVEPOINT") for statement in said) == 151


async def test_an_operation_that_fails_takes_nothing_of_its_neighbours_with_it(notes: Notes) -> None:
    problem = ValueError("no")
    outcomes = await grouped(
        notes.database,
        [
            adding("a", rings=1),
            fail_after_adding("b", problem),
            adding("a"),  # the note is there already
            adding("c", rings=3),
            fail_after_adding("d", Refused(RefusalCode.INBOX_NOT_FOUND)),
            adding("e", rings=5),
        ],
    )
    assert outcomes[0] == "a"
    assert outcomes[1] is problem
    assert isinstance(outcomes[2], sqlite3.IntegrityError)
    assert outcomes[3] == "c"
    assert isinstance(outcomes[4], Refused)
    assert outcomes[4].code is RefusalCode.INBOX_NOT_FOUND
    assert outcomes[5] == "e"
    assert await notes.texts() == ["a", "c", "e"]
    assert notes.rung == [1, 3, 5]


async def test_the_bell_rings_in_the_order_of_the_commits_and_before_the_caller_goes_on(notes: Notes) -> None:
    heard_by_then: dict[int, list[int]] = {}

    async def write(n: int) -> None:
        await notes.database.write(adding(str(n), rings=n))
        heard_by_then[n] = list(notes.rung)

    async with anyio.create_task_group() as tasks:
        for n in range(300):
            tasks.start_soon(write, n)
    assert notes.rung == [int(text) for text in await notes.texts()]
    assert sorted(notes.rung) == list(range(300))
    assert all(n in heard for n, heard in heard_by_then.items())


async def test_a_bell_that_breaks_takes_no_answer_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def ring(changes: Sequence[Change]) -> None:
        if AccountChanged(1, "") in changes:
            raise RuntimeError("broken")

    database = Database(tmp_path / "notes.db", on_commit=ring)
    await database.open(create)
    try:
        assert await grouped(database, [adding("a", rings=1), adding("b", rings=2)]) == ["a", "b"]
    finally:
        await database.close()
    assert "the bell is broken" in caplog.text


async def test_a_caller_that_gives_up_before_its_turn_changes_nothing(notes: Notes) -> None:
    held = Held()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notes.database.write, held.run)
        await begun(held)
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(notes.database.write, adding("never", rings=1))
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        tasks.start_soon(notes.database.write, adding("other", rings=2))
        await anyio.wait_all_tasks_blocked()
        held.let_go()
    assert await notes.texts() == ["other"]
    assert notes.rung == [2]


async def test_what_a_caller_gave_up_in_its_turn_is_kept_and_announced(notes: Notes) -> None:
    held = Held()

    def run(tx: Transaction) -> None:
        adding("kept", rings=7)(tx)
        held.run(tx)

    async with anyio.create_task_group() as impatient:
        impatient.start_soon(notes.database.write, run)
        await begun(held)
        impatient.cancel_scope.cancel()
    held.let_go()
    await notes.database.write(adding("next"))
    assert await notes.texts() == ["kept", "next"]
    assert notes.rung == [7]


async def test_readers_see_a_commit_at_once_and_nothing_before_it(notes: Notes) -> None:
    """Both readers, which take turns."""
    held = Held()

    def run(tx: Transaction) -> None:
        tx.run(ADD, text="half")
        held.run(tx)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notes.database.write, run)
        await begun(held)
        assert [await notes.database.one(COUNT) for _ in range(4)] == [(0,)] * 4
        held.let_go()
    for n in range(50):
        await notes.database.write(adding(str(n)))
        assert (await notes.database.one(COUNT), await notes.database.one(COUNT)) == ((n + 2,), (n + 2,))


async def test_readers_cannot_write(notes: Notes) -> None:
    for _ in range(2):
        with pytest.raises(Refused) as raised:
            await notes.database.all(ADD, text="x")
        assert "readonly" in str(raised.value.__cause__)
    assert await notes.texts() == []


async def test_every_reader_cancelled_in_mid_read_reads_again(notes: Notes) -> None:
    await notes.database.write(adding("a"))
    for _ in range(20):
        async with anyio.create_task_group() as readers:
            for _ in range(4):
                readers.start_soon(notes.texts)
            await anyio.lowlevel.checkpoint()
            readers.cancel_scope.cancel()
        assert await notes.texts() == ["a"]


async def test_a_full_disk_refuses_keeps_nothing_half_done_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    writers: list[sqlite3.Connection] = []
    notes = Notes(tmp_path / "notes.db")

    def prepare(connection: sqlite3.Connection) -> None:
        create(connection)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + 8}")
        writers.append(connection)

    await notes.database.open(prepare)
    try:
        await notes.database.write(adding("first", rings=1))
        outcomes = await grouped(notes.database, [adding("small", rings=2), adding("x" * 100_000, rings=3)])
        for outcome in outcomes:
            assert isinstance(outcome, Refused)
            assert outcome.code is RefusalCode.STORE_UNAVAILABLE
            assert outcome.retry_after
        assert await notes.texts() == ["first"]
        await notes.database.write(adding("little", rings=4))
        with pytest.raises(Refused):
            await notes.database.write(adding("x" * 100_000))
        await notes.database.write(lambda tx: writers[0].execute("PRAGMA max_page_count=100000") and None)
        await notes.database.write(adding("x" * 100_000, rings=5))
        assert await notes.texts() == ["first", "little", "x" * 100_000]
        assert notes.rung == [1, 4, 5]
        assert await notes.database.fetch("PRAGMA integrity_check") == [("ok",)]
    finally:
        await notes.database.close()


async def test_closing_finishes_what_was_asked_and_refuses_the_rest(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes.db")
    await notes.database.open(create)
    held = Held()
    refused: list[RefusalCode] = []

    async def close() -> None:
        await notes.database.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notes.database.write, held.run)
        await begun(held)
        for n in range(200):
            tasks.start_soon(notes.database.write, adding(str(n), rings=n))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(close)
        await anyio.wait_all_tasks_blocked()
        for late in (notes.database.write(adding("late")), notes.database.all(TEXTS), notes.database.one(COUNT)):
            with pytest.raises(Refused) as raised:
                await late
            refused.append(raised.value.code)
        held.let_go()
    assert refused == [RefusalCode.STORE_UNAVAILABLE] * 3
    assert notes.rung == list(range(200))

    again = Notes(tmp_path / "notes.db")
    await again.database.open(create)
    assert await again.texts() == [str(n) for n in range(200)]
    await again.database.close()


@pytest.mark.parametrize("error", [ValueError("no"), sqlite3.OperationalError("no"), KeyboardInterrupt()])
async def test_a_store_that_cannot_be_prepared_is_left_closed(tmp_path: Path, error: BaseException) -> None:
    def prepare(connection: sqlite3.Connection) -> None:
        raise error

    notes = Notes(tmp_path / "notes.db")
    with pytest.raises(type(error), match=None if isinstance(error, KeyboardInterrupt) else "no"):
        await notes.database.open(prepare)
    again = Notes(tmp_path / "notes.db")
    await again.database.open(create)  # which a connection left open would lock out
    assert await again.texts() == []
    await again.database.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_bytes(b"not a database at all\n" * 100)
    with pytest.raises(sqlite3.DatabaseError, match=r"notes\.db cannot be used: file is not a database"):
        await Notes(path).database.open(create)
    assert path.read_bytes() == b"not a database at all\n" * 100


async def test_another_process_is_kept_out(notes: Notes) -> None:
    await notes.database.write(adding("a"))
    script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT 1 FROM notes'))"
    process = await anyio.run_process([sys.executable, "-c", script, str(notes.path)], check=False)
    assert process.returncode
    assert b"database is locked" in process.stderr


@pytest.mark.parametrize("name", ["plain", "per%cent", "ques?tion#hash", "zwölf ☃", "back\\slash", "a&vfs=unix-none"])
async def test_a_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    notes = Notes(folder / "notes.db")
    await notes.database.open(create)
    await notes.database.write(adding("a"))
    assert (folder / "notes.db").exists()
    assert os.listdir(tmp_path) == [name]
    await notes.database.close()


async def test_a_write_function_that_runs_out_of_items_is_an_error_of_its_own(notes: Notes) -> None:
    def run(tx: Transaction) -> int:
        return next(iter(list[int]()))

    outcomes = await grouped(notes.database, [run, adding("a")])
    assert isinstance(outcomes[0], RuntimeError)
    assert outcomes[1] == "a"
