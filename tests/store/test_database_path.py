"""Nobody but the store opens the database file: closing any descriptor of it cancels SQLite's locks on it.

A process that has read `mail.db` by other means goes on as if it had the file, while others may write it too. So there
is one place that connects, and nothing in the process opens the path, copies it, or loads a second SQLite library.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.contracts import ROOT
from tests.support.daimon import running

from daimon_mcp.app import DATABASE_NAME
from daimon_mcp.faces.cli.control import METHODS, dispatch

SOURCE = ROOT / "src" / "daimon_mcp"
SECOND_LIBRARIES = {"apsw", "pysqlite3", "sqlean", "libsql", "turso", "dbm.sqlite3"}
COPYING = {"copy", "copy2", "copyfile", "copyfileobj", "copytree", "move", "make_archive"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST, *owners: str) -> Iterator[str]:
    """Names of functions called on one of these modules."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=called)) if name in owners:
                yield called
            case _:
                pass


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_one_module_connects() -> None:
    connecting = {name for name, tree in modules() if "connect" in calls(tree, "sqlite3", "aiosqlite")}
    assert connecting == {"store/database.py"}


def test_nobody_imports_connect_by_name_nor_a_second_library_nor_an_engine() -> None:
    for name, tree in modules():
        for each in imported(tree):
            assert each not in ("sqlite3.connect", "aiosqlite.connect", "sqlalchemy.create_engine"), name
            assert not each.startswith(("sqlalchemy.ext.asyncio", "sqlmodel.create_engine", "sqlite3.dbapi2")), name
            assert each.partition(".")[0] not in SECOND_LIBRARIES, name


def test_nothing_copies_or_moves_files_by_shutil() -> None:
    for name, tree in modules():
        assert not COPYING & set(calls(tree, "shutil")), name
        assert not any(each == f"shutil.{verb}" for each in imported(tree) for verb in COPYING), name


def test_one_place_names_the_file() -> None:
    """It is handed to the store there, and nowhere else is there a path to open."""
    naming: list[str] = []
    for name, tree in modules():
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(text)) if text.startswith(DATABASE_NAME) or text.endswith(DATABASE_NAME):
                    naming.append(name)
                case ast.Name(id="DATABASE_NAME", ctx=ast.Load()) | ast.Attribute(attr="DATABASE_NAME"):
                    naming.append(f"{name} reads")
                case _:
                    pass
    assert naming == ["app.py", "app.py reads"]


class Opened:
    """Paths that Python code of this process opened, while it is asked to look."""

    def __init__(self) -> None:
        self.looking = False
        self.paths: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.looking and event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            self.paths.append(os.fsdecode(arguments[0]))  # pyright: ignore[reportUnknownArgumentType]


@pytest.fixture(scope="module")
def opened() -> Opened:
    """An audit hook cannot be taken back, so there is one, and it is silent when nobody looks."""
    return Opened()


async def test_a_running_server_never_opens_the_file(tmp_path: Path, opened: Opened) -> None:
    folder = tmp_path / "data"
    opened.looking = True
    try:
        async with running(folder, listeners=True) as daimon, daimon.agent() as agent:
            inbox = await agent.do("create_inbox", username="reader")
            await daimon.upgrade()
            await agent.do("send_email", to=inbox["address"], subject="Hello", body="x" * 3_000_000)
            await agent.do("list_messages")
            for method in ("check", "operator.accounts", "operator.list", "keys.list"):
                assert method in METHODS
                await dispatch(daimon.operations, method, {})
    finally:
        opened.looking = False
    assert any(path.endswith("master.key") for path in opened.paths)  # the hook does hear
    assert not [path for path in opened.paths if os.path.basename(path).startswith(DATABASE_NAME)]
