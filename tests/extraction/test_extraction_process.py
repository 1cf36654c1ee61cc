"""The life of the child: started, killed, stopped, cancelled, idle, left alone; and many jobs at once."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import uvloop
from tests.extraction.ends import wait_for_end

from daimon_mcp.extraction.service import Extracted, Extraction

# Some seconds of work.
LONG = b"{\\rtf1 " + b"{\\b" * 6_000_000


async def read(extraction: Extraction, text: str = "hello") -> Extracted:
    """A small job."""
    return await extraction.extract(text.encode(), "text/plain", "")


async def child_of(extraction: Extraction) -> int:
    """The process id of its only child, which is idle."""
    assert (await read(extraction)).text == "hello"
    (pid,) = extraction.pids
    return pid


async def begun(extraction: Extraction, content: bytes = LONG) -> asyncio.Task[Extracted]:
    """A job that the child has been handed whole."""
    task = asyncio.ensure_future(extraction.extract(content, "text/rtf", ""))
    while not extraction.working:  # noqa: ASYNC110 - nobody is told of it
        await asyncio.sleep(0)
    return task


@pytest.fixture
async def hasty() -> AsyncGenerator[Extraction]:
    """One that gives a job little time."""
    made = Extraction(seconds=0.3)
    yield made
    await made.aclose()


async def test_one_child_serves_job_after_job(extraction: Extraction) -> None:
    pid = await child_of(extraction)
    for number in range(20):
        assert (await read(extraction, f"job {number}")).text == f"job {number}"
    assert extraction.pids == [pid]


async def test_nothing_runs_before_the_first_job(extraction: Extraction) -> None:
    await extraction.extract(b"\x89PNG", "image/png", "a.png")
    assert extraction.pids == []


async def test_eight_at_once_wait_their_turn(extraction: Extraction) -> None:
    results = await asyncio.gather(*(read(extraction, f"job {number}") for number in range(8)))
    assert [result.text for result in results] == [f"job {number}" for number in range(8)]
    assert len(extraction.pids) == 1


async def test_no_more_processes_than_said() -> None:
    extraction = Extraction(processes=2)
    results = await asyncio.gather(*(read(extraction, f"job {number}") for number in range(8)))
    assert [result.text for result in results] == [f"job {number}" for number in range(8)]
    assert len(extraction.pids) == 2
    await extraction.aclose()


async def test_killed_in_the_middle_of_a_job(extraction: Extraction) -> None:
    task = await begun(extraction)
    (pid,) = extraction.pids
    os.kill(pid, signal.SIGKILL)
    assert (await task).status == "damaged"
    assert await child_of(extraction) != pid


async def test_killed_while_it_is_handed_a_job(extraction: Extraction) -> None:
    for turns in (0, 1, 2, 5, 20, 60):
        pid = await child_of(extraction)
        task = asyncio.ensure_future(extraction.extract(b"\n" * 20_000_000, "text/plain", ""))
        for _ in range(turns):
            await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        assert (await task).status in {"damaged", "empty"}
        assert await child_of(extraction) != pid


async def test_killed_while_idle(extraction: Extraction) -> None:
    pid = await child_of(extraction)
    os.kill(pid, signal.SIGKILL)
    assert await asyncio.to_thread(wait_for_end, pid)
    assert await child_of(extraction) != pid


async def test_one_that_does_not_answer_is_killed(hasty: Extraction) -> None:
    pid = await child_of(hasty)
    os.kill(pid, signal.SIGSTOP)
    assert (await read(hasty)).status == "timed_out"
    assert await asyncio.to_thread(wait_for_end, pid)
    assert await child_of(hasty) != pid


async def test_one_that_does_not_take_its_job_is_killed(hasty: Extraction) -> None:
    pid = await child_of(hasty)
    os.kill(pid, signal.SIGSTOP)
    assert (await hasty.extract(bytes(10_000_000), "text/plain", "")).status == "timed_out"
    assert await child_of(hasty) != pid


async def test_what_was_read_in_time_is_kept() -> None:
    extraction = Extraction(seconds=2)
    result = await extraction.extract(b"{\\rtf1 words " + b"{" * 10_000_000, "text/rtf", "")
    assert (result.status, result.text, result.truncated) == ("ok", "words", True)
    await extraction.aclose()


async def test_a_cancelled_job_leaves_the_next_alone(extraction: Extraction) -> None:
    task = await begun(extraction)
    (pid,) = extraction.pids
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(wait_for_end, pid)
    assert (await read(extraction, "next")).text == "next"


async def test_cancelled_at_any_moment() -> None:
    for turns in range(40):
        extraction = Extraction()
        task = asyncio.ensure_future(read(extraction, "first"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not turns % 8:
            assert (await read(extraction, "second")).text == "second"
        await extraction.aclose()
        assert extraction.pids == []


async def test_one_that_waits_for_its_turn_can_be_cancelled(extraction: Extraction) -> None:
    first = await begun(extraction)
    second = asyncio.ensure_future(read(extraction))
    third = asyncio.ensure_future(read(extraction, "third"))
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    assert (await third).text == "third"


async def test_an_idle_child_is_sent_away() -> None:
    extraction = Extraction(idle=0.01)
    pid = await child_of(extraction)
    assert await asyncio.to_thread(wait_for_end, pid)
    assert extraction.pids == []
    assert (await read(extraction)).text == "hello"
    await extraction.aclose()


async def test_closing_ends_everything() -> None:
    extraction = Extraction()
    task = await begun(extraction)
    waiting = asyncio.ensure_future(read(extraction))
    (pid,) = extraction.pids
    await extraction.aclose()
    assert wait_for_end(pid, 0)
    assert (await task).status == "failed"
    assert (await waiting).status == "failed"
    assert (await read(extraction)).status == "failed"
    await extraction.aclose()


async def test_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    extraction = Extraction()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "missing"))
        assert (await read(extraction)).status == "failed"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", shutil.which("false"))
        assert (await read(extraction)).status == "failed"
    assert (await read(extraction)).text == "hello"
    await extraction.aclose()


def test_a_library_that_is_missing_is_no_fault_of_the_file() -> None:
    """In a process of its own, as the child sets limits that cannot be taken back."""
    script = (
        "from daimon_mcp.extraction.child import read_job\n"
        "print(read_job(b'', {'format': 'missing', 'charset': None, 'max_text': 9, 'seconds': 9})[0]['status'])"
    )
    result = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "failed"


@pytest.mark.parametrize("doing", ["idle", "busy"])
def test_it_does_not_outlive_its_owner(doing: str) -> None:
    script = Path(__file__).with_name("owner_to_kill.py")
    with subprocess.Popen([sys.executable, str(script), doing], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        owner.kill()
    assert wait_for_end(pid)


def test_the_same_under_the_other_event_loop() -> None:
    async def scenario() -> None:
        extraction = Extraction()
        await test_killed_while_it_is_handed_a_job(extraction)
        await test_killed_in_the_middle_of_a_job(extraction)
        await test_a_cancelled_job_leaves_the_next_alone(extraction)
        await test_eight_at_once_wait_their_turn(extraction)
        await extraction.aclose()
        await test_closing_ends_everything()
        await test_cancelled_at_any_moment()

    uvloop.run(scenario())


async def test_what_the_child_is_given(extraction: Extraction) -> None:
    """Its own session, no environment of ours, three pipes and what Python opens: nothing of the owner's."""
    os.environ["DAIMON_TEST_SECRET"] = "secret"
    inherited = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        pid = await child_of(extraction)
        assert os.getpgid(pid) == pid == os.getsid(pid)
        shown = subprocess.run(["ps", "eww", "-o", "command=", "-p", str(pid)], capture_output=True, check=True).stdout  # noqa: ASYNC221
        assert b"daimon_mcp.extraction.child" in shown
        assert b"secret" not in shown
        if sys.platform == "linux":
            assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()  # noqa: ASYNC240
            assert sorted(os.listdir(f"/proc/{pid}/fd"), key=int) == ["0", "1", "2", "3"]
            limits = Path(f"/proc/{pid}/limits").read_text()  # noqa: ASYNC240
            assert "Max address space         536870912" in limits
    finally:
        os.close(inherited)
        del os.environ["DAIMON_TEST_SECRET"]
