"""How the bridge cuts a stream into lines, and writes its first one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.shim import LONGEST_SOCKET_PATH, LineSplitter, hello_line, lines_of, socket_path


@given(st.lists(st.binary(max_size=30)), st.data())
def test_lines_do_not_depend_on_how_they_arrive(chunks: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(chunks)
    splitter, lines = LineSplitter(None), list[bytes]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        lines += lines_of(splitter.feed(stream[:size]))
        stream = stream[size:]
    lines += lines_of(splitter.end())
    *whole, rest = b"".join(chunks).split(b"\n")
    assert lines == whole + ([rest] if rest else [])
    assert splitter.end() == b""


@given(st.lists(st.integers(0, 400), max_size=8), st.integers(1, 50))
def test_only_lines_over_the_limit_are_dropped(sizes: list[int], chunk: int) -> None:
    limit = 100
    lines = [b"%d:" % n + b"x" * size for n, size in enumerate(sizes)]
    stream = b"".join(line + b"\n" for line in lines)
    splitter, kept = LineSplitter(limit), list[bytes]()
    for start in range(0, len(stream), chunk):
        kept += lines_of(splitter.feed(stream[start : start + chunk]))
    assert [line for line in lines if line in kept] == kept
    assert all(line in kept for line in lines if len(line) <= limit)
    assert not any(len(line) > limit + chunk for line in kept)
    assert len(splitter.dropped) == len(lines) - len(kept)


@pytest.mark.parametrize(
    ("head", "tail", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":7,"params":"', b'"}', 7),
        (b'{"jsonrpc":"2.0","id":"a","params":"', b'"}', "a"),
        (b'{"params":"', b'","jsonrpc":"2.0","id":7}', 7),
        (b'{"params":"', b'", "id": "x" }\r', "x"),
        (b'{"params":"', b'"}', None),
        (b'{"jsonrpc":"2.0","id":{"id":7},"params":"', b'"}', None),
        (b'{"jsonrpc":"2.0","id":"a\\"b","params":"', b'"}', None),
        (b'{"params":"', b'","id":1.5}', None),
        (b'{"params":"', b'","id":true}', None),
    ],
)
def test_whose_line_was_dropped(head: bytes, tail: bytes, request_id: int | str | None) -> None:
    splitter = LineSplitter(1000)
    for piece in (head, b"x" * 2000, b"x" * 2000, tail + b"\nnext\n"):
        whole = splitter.feed(piece)
    assert splitter.dropped == [request_id]
    assert whole == b"next\n"


def test_a_dropped_line_that_never_ends() -> None:
    splitter = LineSplitter(10)
    assert splitter.feed(b"x" * 20) == b""
    assert splitter.end() == b""
    assert splitter.dropped == [None]


@given(st.dictionaries(st.sampled_from(["version", "api_key", "profile"]), st.none() | st.booleans() | st.text()))
def test_any_hello_is_one_line_of_json(hello: dict[str, object]) -> None:
    line = hello_line(hello)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"daimon": 1, **hello}


@pytest.mark.parametrize("length", range(LONGEST_SOCKET_PATH - 14, LONGEST_SOCKET_PATH + 4))
def test_every_socket_path_fits(length: int) -> None:
    folder = "/" + "d" * (length - 1)
    path = socket_path(folder)
    assert len(path) <= LONGEST_SOCKET_PATH
    assert path == f"{folder}/daimon.sock" or path.startswith(f"/tmp/daimon-{os.getuid()}/")
    assert path != socket_path(folder + "x")


def test_a_folder_has_one_socket_path_by_whatever_name(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    (tmp_path / "link").symlink_to(deep)
    assert socket_path(str(tmp_path / "link")) == socket_path(str(deep)) == socket_path(f"{deep}/../{deep.name}/")


def test_what_the_bridge_imports() -> None:
    script = "import sys; before = set(sys.modules); import daimon_mcp.shim; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in loaded if name.startswith("daimon_mcp.")}
    assert set(loaded) - ours == {"__future__", "_socket", "select", "daimon_mcp"}
    assert {name.removeprefix("daimon_mcp.").partition(".")[0] for name in ours} == {"shim"}
