"""When a bridge starts an owner, when it leaves, and what it says when it cannot serve."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from tests.process.conftest import Start
from tests.process.kit import BRIDGE, LINES, Folder, Message, eventually

from daimon_mcp import owner
from daimon_mcp.shim import LINE_LIMIT, socket_path


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


async def test_the_first_bridge_starts_an_owner_that_lives_apart(bridge: Start, folder: Folder) -> None:
    key = "key-of-this-client"
    with (folder.path.parent / "leaked").open("w") as leaked:
        client = await bridge(LINES, key, environment={"DAIMON_API_KEY": key}, pass_fds=[leaked.fileno()])
        where = (await client.call("where"))["result"]
    assert where["pid"] == folder.owner_pid()
    assert where["cwd"] == "/"
    assert where["session"] not in (os.getsid(0), os.getsid(client.process.pid))
    assert where["parent"] != client.process.pid
    assert where["key"] is None
    assert str(folder.path / "daimon.lock") in where["open"]
    assert leaked.name not in where["open"]
    assert await client.close() == 0
    os.kill(where["pid"], 0)  # still there


async def test_what_is_made_is_the_users_alone(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    await client.call("echo")
    assert {path.name: mode(path) for path in (folder.path, *folder.path.iterdir())} == {
        "data": "0o700",
        "daimon.sock": "0o600",
        "daimon.lock": "0o600",
        "owner.log": "0o600",
        "received": "0o600",
    }


async def test_the_second_bridge_uses_the_same_owner(bridge: Start) -> None:
    first, second = await bridge(), await bridge()
    assert (await first.call("where"))["result"]["pid"] == (await second.call("where"))["result"]["pid"]


async def test_eight_at_once_have_one_owner(bridge: Start, folder: Folder) -> None:
    owners: set[int] = set()

    async def one() -> None:
        client = await bridge()
        owners.add((await client.call("where"))["result"]["pid"])

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(one)
    assert owners == {folder.owner_pid()}


async def test_a_path_too_long_for_a_socket(bridge: Start, folder: Folder) -> None:
    folder.path = folder.path / ("a-long-name" * 10) / "data"
    client = await bridge()
    assert (await client.call("where"))["result"]["pid"] == folder.owner_pid()
    path = Path(socket_path(str(folder.path)))
    assert not path.is_relative_to(folder.path)
    assert (mode(path), mode(path.parent)) == ("0o600", "0o700")


async def test_a_link_to_the_folder_leads_to_its_owner(bridge: Start, folder: Folder) -> None:
    first = await bridge()
    pid = (await first.call("where"))["result"]["pid"]
    real, link = folder.path, folder.path.parent / "link"
    link.symlink_to(real)
    folder.path = link
    second = await bridge()
    assert (await second.call("where"))["result"]["pid"] == pid


async def test_a_client_that_closes_at_once_still_gets_its_answers(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    asked = [await client.request("echo", {"n": n}) for n in range(50)]
    client.stdin.close()
    assert [(await client.receive())["id"] for _ in asked] == asked
    assert await client.exit_code() == 0


async def test_the_last_line_needs_no_newline(bridge: Start) -> None:
    client = await bridge()
    client.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"echo"}')
    client.stdin.close()
    assert (await client.receive())["id"] == 1


async def test_an_open_subscription_does_not_hold_the_bridge(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    await client.request("subscriptions/listen", {"hold": True})
    await client.call("echo")
    client.stdin.close()
    assert await client.exit_code() == 0


async def test_it_leaves_when_nobody_reads_its_answers(folder: Folder) -> None:
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, BRIDGE, str(folder.path), LINES),
        stdin=asyncio.subprocess.PIPE,
        stdout=write_end,
    )
    os.close(write_end)
    assert process.stdin is not None
    process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"echo"}\n')
    with anyio.fail_after(20):
        await anyio.wait_readable(read_end)
    os.close(read_end)
    with anyio.fail_after(20):
        assert await process.wait() == 0
    process.stdin.close()


async def test_it_leaves_when_its_parent_dies(folder: Folder) -> None:
    stdin_read, stdin_write = os.pipe()  # kept open by this test: no end of input tells the bridge
    stdout_read, stdout_write = os.pipe()
    run_arguments = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    parent = subprocess.Popen(  # noqa: ASYNC220 - returns at once
        [sys.executable, "-c", run_arguments, sys.executable, BRIDGE, str(folder.path), LINES],
        stdin=stdin_read,
        stdout=stdout_write,
    )
    os.close(stdin_read)
    os.close(stdout_write)
    os.write(stdin_write, b'{"jsonrpc":"2.0","id":1,"method":"echo"}\n')
    with anyio.fail_after(20):
        await anyio.wait_readable(stdout_read)
    os.read(stdout_read, 4096)
    parent.kill()
    parent.wait()
    with anyio.fail_after(20):
        await anyio.wait_readable(stdout_read)
    assert os.read(stdout_read, 1) == b""  # the bridge was the last to hold the other end
    os.close(stdin_write)
    os.close(stdout_read)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_signals_end_it_quietly(bridge: Start, number: signal.Signals, code: int) -> None:
    client = await bridge()
    await client.call("echo")
    client.process.send_signal(number)
    assert await client.exit_code() == code
    assert await client.complaints() == ""


async def test_large_messages_both_ways_to_a_client_that_is_slow_to_read(bridge: Start) -> None:
    client = await bridge()
    text = "x" * 5_000_000

    async def ask() -> None:
        for n in range(3):
            await client.request("echo", {"text": text, "n": n})

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        for n in range(3):
            assert (await client.receive())["result"] == {"text": text, "n": n}


async def test_a_stalled_owner_stalls_the_client_and_loses_nothing(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    await client.request("stall")
    written = 0

    async def ask() -> None:
        nonlocal written
        for n in range(40):
            await client.request("echo", {"text": "x" * 250_000, "n": n})
            written += 1

    answers: list[Message] = []
    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await eventually(lambda: (folder.path / "stalled").exists())
        assert 0 < await settled(lambda: written) < 20
        folder.go()
        answers += [await client.receive() for _ in range(41)]
    assert [answer["result"].get("n") for answer in answers] == [None, *range(40)]


async def test_a_stalled_client_stalls_the_owner_and_loses_nothing(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    asked = [await client.request("big", {"size": 250_000}) for _ in range(40)]
    answered = folder.path / "answered"
    await eventually(answered.exists)
    assert 0 < await settled(lambda: len(answered.read_text())) < 20
    answers = [await client.receive() for _ in asked]
    assert sorted(answer["id"] for answer in answers) == asked
    assert all(len(answer["result"]) == 250_000 for answer in answers)


async def settled(count: Callable[[], int]) -> int:
    """What `count` says when it has not changed for a while."""
    while True:
        before = count()
        with anyio.move_on_after(0.3) as scope:
            await eventually(lambda: count() != before)  # noqa: B023 - awaited in this turn of the loop
        if scope.cancelled_caught:
            return before


async def test_a_line_over_the_limit_is_answered_and_the_next_one_served(bridge: Start) -> None:
    client = await bridge()
    huge = b"x" * (LINE_LIMIT + 500_000)
    answers: list[Message] = []

    async def ask() -> None:
        for line in (
            b'{"jsonrpc":"2.0","id":"first","method":"echo","params":{"text":"' + huge + b'"}}\n',
            b'{"method":"echo","params":{"text":"' + huge + b'"},"jsonrpc":"2.0","id":"last"}\n',
            b'{"method":"echo","id" : "amidst","params":{"text":"' + huge + b'"}}\n',
            b'{"jsonrpc":"2.0","id":"next","method":"echo"}\n',
        ):
            client.stdin.write(line)
            await client.stdin.drain()

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        answers += [await client.receive() for _ in range(4)]
    # Clients write the id first or last; only one that does neither is not told which call it was.
    assert [answer["id"] for answer in answers] == ["first", "last", None, "next"]
    assert [answer.get("error", {}).get("code") for answer in answers] == [-32600, -32600, -32600, None]


class FakeOwner:
    """Answers one bridge's hello with whatever a test wants."""

    def __init__(self, folder: Folder, *answers: bytes) -> None:
        folder.path.mkdir(mode=0o700, exist_ok=True)
        self.hellos: list[Message] = []
        self._answers = list(answers)
        self._path = folder.path / "daimon.sock"
        self._server: asyncio.Server | None = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hellos.append(json.loads(await reader.readline()))
        writer.write(self._answers.pop(0))
        if not self._answers:
            self.stop()
        writer.close()
        await writer.wait_closed()

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._path.unlink(missing_ok=True)

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (b'{"daimon":2,"version":"9"}\n', 2, "another version"),
        (b"220 mail.example.com ESMTP\n", 2, "another version"),
        (b"[]\n", 2, "another version"),
        (b'{"daimon":1,"error":"no \\u001b[31m such key"}\n', 3, "no  [31m such key"),
    ],
)
async def test_an_owner_that_will_not_serve(bridge: Start, folder: Folder, answer: bytes, code: int, said: str) -> None:
    fake = FakeOwner(folder, answer)
    await fake.start()
    client = await bridge()
    assert await client.exit_code() == code
    assert said in await client.complaints()
    assert fake.hellos == [{"daimon": 1, "version": "0", "api_key": None, "profile": None, "read_only": False}]
    assert await client.stdout.read() == b""


async def test_an_owner_that_leaves_before_it_answers_is_replaced(bridge: Start, folder: Folder) -> None:
    fake = FakeOwner(folder, b"", b"", b"")
    await fake.start()
    client = await bridge()
    assert "result" in await client.call("tools/call", {"name": "write", "arguments": {}})
    assert len(fake.hellos) == 3
    assert await client.close() == 0
    assert await client.complaints() == ""


async def test_it_waits_for_an_owner_that_is_still_leaving(bridge: Start, folder: Folder) -> None:
    held = owner.lock(str(folder.path), "leaving")
    assert held is not None
    client = await bridge()
    asked = await client.request("echo")
    losers = folder.path / "losers"
    await eventually(lambda: losers.exists() and len(losers.read_text()) >= 4)
    held.release()
    assert (await client.receive())["id"] == asked


async def test_owners_coming_and_going_never_fail_a_client(bridge: Start, folder: Folder) -> None:
    folder.path.mkdir(mode=0o700)
    (folder.path / "idle").write_text("0")  # every owner leaves as soon as its last session is over
    owners: set[int] = set()
    for _ in range(12):
        client = await bridge()
        owners.add((await client.call("where"))["result"]["pid"])
        assert await client.close() == 0
        assert await client.complaints() == ""
    assert len(owners) > 1


async def test_owners_that_do_not_start_are_not_started_for_ever(bridge: Start, folder: Folder) -> None:
    client = await bridge("/there-is-no-such-script.py")
    await client.request("echo")
    assert await client.exit_code() == 1
    said = await client.complaints()
    assert "does not start" in said
    assert str(folder.path / "owner.log") in said
    assert said.count("No such file") == 1
    assert (folder.path / "owner.log").read_text().count("No such file") == 3


async def test_owners_killed_while_they_start_are_started_again(bridge: Start, folder: Folder) -> None:
    folder.path.mkdir(mode=0o700)
    (folder.path / "stillborn").write_text("xxxxx")
    client = await bridge()
    assert "result" in await client.call("echo")
    assert (folder.path / "stillborn").read_text() == ""


async def test_a_log_that_cannot_be_written(bridge: Start, folder: Folder) -> None:
    (folder.path / "owner.log").mkdir(parents=True)
    client = await bridge()
    assert await client.exit_code() == 1
    assert str(folder.path / "owner.log") in await client.complaints()


async def test_a_refused_key_is_told_to_the_person(bridge: Start) -> None:
    client = await bridge(LINES, "wrong")
    assert await client.exit_code() == 3
    assert await client.complaints() == "daimon-mcp: that key opens nothing; make one with daimon-mcp\n"


async def test_a_bug_in_the_answer_is_told_without_its_details(bridge: Start, folder: Folder) -> None:
    client = await bridge(LINES, "broken")
    assert await client.exit_code() == 3
    assert "a bug while answering" not in await client.complaints()
    assert "a bug while answering" in (folder.path / "owner.log").read_text()
    assert "result" in await (await bridge()).call("echo")


async def test_something_else_in_the_sockets_place(bridge: Start, folder: Folder) -> None:
    folder.path.mkdir(mode=0o700)
    (folder.path / "daimon.sock").write_text("a file")
    client = await bridge()
    assert await client.exit_code() == 1
    assert "daimon.sock is in the way" in await client.complaints()
    assert (folder.path / "daimon.sock").read_text() == "a file"


async def test_a_socket_folder_that_others_can_write_to(bridge: Start, folder: Folder) -> None:
    folder.path = folder.path / ("a-long-name" * 10)
    shared = Path(socket_path(str(folder.path))).parent
    shared.mkdir(mode=0o700, exist_ok=True)
    before = stat.S_IMODE(shared.stat().st_mode)
    shared.chmod(0o777)
    try:
        client = await bridge()
        assert await client.exit_code() == 1
        assert f"{shared} must be a folder of mode 0700" in await client.complaints()
    finally:
        shared.chmod(before)


async def test_a_data_folder_that_cannot_be_made(bridge: Start, folder: Folder) -> None:
    folder.path.write_text("in the way")
    client = await bridge()
    assert await client.exit_code() == 1
    assert str(folder.path) in await client.complaints()


async def test_garbage_on_the_socket_hurts_nobody(bridge: Start, folder: Folder) -> None:
    client = await bridge()
    await client.call("echo")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe\n", b"[" * 60_000 + b"\n", b"x" * 200_000, b"{}\n"):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(20)
            stranger.connect(str(folder.path / "daimon.sock"))
            stranger.sendall(garbage)
            answer = await anyio.to_thread.run_sync(stranger.recv, 4096)
        assert "own bridge" in json.loads(answer)["error"]
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(folder.path / "daimon.sock"))
        stranger.sendall(b'{"daimon": 7, "something": "new"}\n')
        answer = await anyio.to_thread.run_sync(stranger.recv, 4096)
    assert json.loads(answer)["daimon"] == 1
    assert "protocol 1" in json.loads(answer)["error"]
    assert "result" in await client.call("echo")
