"""Calls over stdio: their rate, how long the event loop is ever held up, and how soon a waiting agent is woken.

`python -m benchmarks.calls [--quick]`
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.folders import INBOX, OTHER, prepare, settings_for
from benchmarks.loops import run
from benchmarks.processes import BARE, Server, daimon_command, environment, owned, warm_bytecode
from benchmarks.report import Report, progress
from daimon_mcp import app, owner, runner

TICK = 0.001


# -- rate ------------------------------------------------------------------------------------------------------------


def _timed(call: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of `count` calls, one after the other."""
    found: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return found


def rates(base: Path, *, rounds: int, count: int) -> None:
    """One client, one call after the other, through bridge and owner; and the same to the bare server."""
    folder = base / "rates"
    (message_id,) = asyncio.run(prepare(folder, [2048]))
    with owned(folder), Server(daimon_command(), environment(folder)) as daimon, Server(BARE, environment()) as bare:
        daimon.initialize()
        bare.initialize()
        calls: dict[str, Callable[[], object]] = {
            "bare SDK server: empty tool (floor)": lambda: bare.call("empty"),
            "daimon-mcp: get_account": lambda: daimon.call("get_account"),
            "daimon-mcp: get_message, 2 kB": lambda: daimon.call("get_message", message_id=message_id),
        }
        for call in calls.values():
            _timed(call, count // 4)
        taken: dict[str, list[list[float]]] = {name: [] for name in calls}
        for number in range(rounds):
            progress(f"rates, round {number + 1} of {rounds}")
            for name, call in calls.items():
                taken[name].append(_timed(call, count))
    report = Report(f"Calls over stdio, one after the other: {rounds} rounds of {count}")
    per_second = {name: [count / sum(times) for times in found] for name, found in taken.items()}
    for name, found in taken.items():
        report.rates(name, per_second[name])
        report.times(f"{name}: p50", [statistics.median(times) for times in found], unit="µs")
        report.times(f"{name}: p99", [statistics.quantiles(times, n=100)[98] for times in found], unit="µs")
    floor, *ours = per_second
    for name in ours:
        report.at_least(f"{name} / bare SDK server", per_second[name], per_second[floor], 0.6)


# -- the event loop --------------------------------------------------------------------------------------------------


async def _tick(lags: list[float]) -> None:
    """Sleep a millisecond again and again, and note how late each waking is."""
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        lags.append(time.perf_counter() - due)


async def _owner_under_load(folder: Path, seconds: float) -> tuple[list[float], list[float], dict[str, int]]:
    """Lags of an owner's loop in this process and of an idle loop in another, while callers work; and what they did."""
    held = owner.lock(str(folder), "serve")
    assert held is not None
    listener = owner.bind_socket(str(folder))
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def note(running: app.App) -> None:
        assert running.bound.inbound is not None
        ready.set_result(running.bound.inbound[1])

    runner.preload()  # as every owner does before its loop
    lags: list[float] = []
    serving = asyncio.ensure_future(app.run(settings_for(folder), listener, leaves_when_idle=False, ready=note))
    try:
        port = await ready
        idle = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.calls", "--tick", str(seconds), stdout=subprocess.PIPE
        )
        callers = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.callers", str(folder), str(port), str(seconds), stdout=subprocess.PIPE
        )
        ticker = asyncio.ensure_future(_tick(lags))
        done, _ = await callers.communicate()
        ticker.cancel()
        beside, _ = await idle.communicate()
        return lags, json.loads(beside), json.loads(done)
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        listener.close()
        held.release()


async def _tick_for(seconds: float) -> None:
    lags: list[float] = []
    ticker = asyncio.ensure_future(_tick(lags))
    await asyncio.sleep(seconds)
    ticker.cancel()
    print(json.dumps(lags))


def loop_lag(base: Path, *, rounds: int, seconds: float) -> None:
    """How late a task of the owner ever runs under load, beside a task of a process that does nothing else."""
    folder = base / "lag"
    asyncio.run(prepare(folder, [2048, 17_000, 17_000, 100_000]))
    worst: list[float] = []
    p99: list[float] = []
    machine: list[float] = []
    totals: dict[str, int] = {}
    for number in range(rounds):
        progress(f"event loop, round {number + 1} of {rounds}")
        lags, beside, done = run(_owner_under_load(folder, seconds))
        worst.append(max(lags))
        p99.append(statistics.quantiles(lags, n=100)[98])
        machine.append(max(beside))
        totals = {name: totals.get(name, 0) + amount for name, amount in done.items()}
    report = Report(f"Owner's event loop, 8 callers and 1 MB mails both ways: {rounds} rounds of {seconds:g} s")
    report.note(", ".join(f"{amount:,} {name}" for name, amount in totals.items()))
    report.times("idle process beside it: longest delay (floor)", machine)
    report.times("owner: p99 delay", p99)
    report.times("owner: longest delay", worst)
    report.limit("owner: longest delay, median of rounds", statistics.median(worst) * 1e3, 50, "ms")


# -- waking ----------------------------------------------------------------------------------------------------------


def wake_up(base: Path, *, rounds: int, count: int) -> None:
    """From one agent's send to another agent's `wait_for_message`, each over its own bridge."""
    folder = base / "wake"
    asyncio.run(prepare(folder, []))
    answered: list[list[float]] = []
    woken: list[list[float]] = []
    command, environ = daimon_command(), environment(folder)
    with owned(folder), Server(command, environ) as sender, Server(command, environ) as waiter:
        sender.initialize()
        waiter.initialize()
        for number in range(rounds + 1):
            progress(f"waking, round {number} of {rounds}")
            found = [_wake(sender, waiter, number * count + each) for each in range(count)]
            if number:  # the first was to warm up
                answered.append([pair[0] for pair in found])
                woken.append([pair[1] for pair in found])
    report = Report(f"One agent sends, another waits: {rounds} rounds of {count}")
    report.times("send_email: its own answer, p50", [statistics.median(times) for times in answered])
    report.times("wait_for_message: the answer, from the send, p50", [statistics.median(times) for times in woken])
    report.times(
        "wait_for_message: the answer, from the send, p99", [statistics.quantiles(times, n=100)[98] for times in woken]
    )


def _wake(sender: Server, waiter: Server, number: int) -> tuple[float, float]:
    """Seconds from the send to the sender's answer, and to the waiter's."""
    ended: list[float] = []

    def wait() -> None:
        waiter.call("wait_for_message", inbox=OTHER, timeout_seconds=20)
        ended.append(time.perf_counter())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.01)  # until it waits
    begun = time.perf_counter()
    sender.call("send_email", inbox=INBOX, to=OTHER, subject=f"Wake {number}", body="Hello", allow_duplicate=True)
    answered = time.perf_counter()
    thread.join()
    return answered - begun, ended[0] - begun


def main(*, quick: bool = False) -> None:
    """Run and report."""
    warm_bytecode()
    with tempfile.TemporaryDirectory(prefix="bench-") as base:
        rates(Path(base), rounds=5 if quick else 9, count=200 if quick else 1000)
        loop_lag(Path(base), rounds=5, seconds=2 if quick else 6)
        wake_up(Path(base), rounds=5, count=40 if quick else 100)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--tick"]:
        asyncio.run(_tick_for(float(sys.argv[2])))
    else:
        main(quick="--quick" in sys.argv[1:])
