"""Mail by SMTP: taking it in, memory, and draining the queue, beside Postfix, Exim and Haraka.

`python -m benchmarks.smtp [--quick] [--rounds N] [--only ROW]...`; as root, after `scripts/ensure-mail-tools
--benchmarks`.

Every server has the same load from one generator, in turns, on loopback, and starts anew for each cell. What is
acknowledged is on disk: their settings of that are their defaults. The others hold what they take; ours files it in
whatever time it is left. One command at a time on each connection; the generator runs on the same processors.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trustme

from benchmarks.loops import run
from benchmarks.report import Report, progress
from benchmarks.smtp_children import resident, settled
from benchmarks.smtp_load import Load, Measured, Work, measure
from benchmarks.smtp_ours import RAISED, Account, ours, prepare
from benchmarks.smtp_peers import PASSWORD, USER, exim, haraka, postfix, release
from benchmarks.smtp_sink import sink

OURS = "daimon-mcp"
PEERS = {"Postfix": postfix, "Exim": exim, "Haraka": haraka}
KIB, MIB = 1 << 10, 1 << 20
SMALL, MIDDLE, LARGE, LARGEST = 2048, 50_000, 5_000_000, 10_000_000
LINES = 20
"""Connections that a queue is drained over, ours and Postfix's: what Postfix uses by itself."""
ANSWER = 0.02
ELSEWHERE = "someone@sink.test"


@dataclass
class Bench:
    """What all rows share."""

    base: Path
    certificate: bytes
    account: Account
    rounds: int
    seconds: float
    queued: int

    @asynccontextmanager
    async def server(self, name: str, load: Load) -> AsyncGenerator[Load]:
        """A server that has just been started and warmed, and the load with its port and login."""
        if name == OURS:
            async with ours(self.account, self.base) as running:
                port = running.submission if load.tls == "starttls" else running.inbound
                user, password, sender = self.account.user, self.account.password, self.account.sender
                logged_in = replace(load, user=user, password=password, sender=sender, recipient=ELSEWHERE)
                yield replace(logged_in if load.tls != "no" else load, port=port)
        else:
            async with PEERS[name](self.certificate) as running:
                logged_in = replace(load, user=USER, password=PASSWORD)
                yield replace(logged_in if load.tls != "no" else load, port=running.port)

    async def cell(self, name: str, load: Load) -> Measured:
        """What one server makes of a load; the first mails are not counted."""
        async with self.server(name, load) as there:
            await measure(replace(there, seconds=0.0, messages=2 * load.connections))
            os.sync()
            return await measure(there)

    async def cells(self, load: Load, peers: tuple[str, ...]) -> dict[str, list[Measured]]:
        """What each server makes of it, a value for each round, in turns."""
        measured: dict[str, list[Measured]] = {name: [] for name in (OURS, *peers)}
        for _ in range(self.rounds):
            for name, values in measured.items():
                values.append(await self.cell(name, load))
        return measured


def _best(measured: Mapping[str, list[Measured]]) -> list[float]:
    """The rate of the fastest peer in each round."""
    peers = [values for name, values in measured.items() if name != OURS]
    return [max(each.rate for each in values) for values in zip(*peers, strict=True)]


def _rates(values: list[Measured]) -> list[float]:
    return [each.rate for each in values]


def _show(report: Report, what: str, measured: Mapping[str, list[Measured]]) -> None:
    for name, values in measured.items():
        report.rates(f"{what}: {name}", _rates(values))


async def reused(bench: Bench, report: Report) -> None:
    """2 kB over connections that are kept, against the best of the peers."""
    for connections, aim in ((1, 1.2), (10, 1.8), (50, 2.5)):
        what = f"2 kB, kept connections, {connections}"
        progress(what)
        load = Load(port=0, connections=connections, size=SMALL, seconds=bench.seconds)
        measured = await bench.cells(load, tuple(PEERS))
        _show(report, what, measured)
        report.at_least(f"{what}: ours / best peer", _rates(measured[OURS]), _best(measured), aim)
        if connections == 10:
            last: dict[str, list[float]] = {}
            for name, values in measured.items():
                last[name] = [each.p99 for each in values]
                report.times(f"{what}, all but 1 of 100 within: {name}", last[name])
            best = [min(values) for values in zip(*(last[name] for name in PEERS), strict=True)]
            report.at_most(f"{what}, all but 1 of 100 within: ours / best peer", last[OURS], best, 1.0)


async def starttls(bench: Bench, report: Report) -> None:
    """2 kB with STARTTLS and AUTH, a connection for each, against Exim: see its module on Postfix's delay."""
    what = "2 kB, STARTTLS + AUTH, one connection each, 10"
    progress(what)
    load = Load(port=0, connections=10, size=SMALL, seconds=bench.seconds, each=True, tls="starttls")
    measured = await bench.cells(load, ("Exim",))
    _show(report, what, measured)
    report.at_least(f"{what}: ours / Exim", _rates(measured[OURS]), _best(measured), 1.5)


async def _size(bench: Bench, report: Report, what: str, size: int, aim: float) -> None:
    progress(what)
    # Of the largest only so many as may wait to be filed (1 GiB): more would be put off.
    seconds = bench.seconds if size < LARGE else bench.seconds / 2
    load = Load(port=0, connections=10, size=size, seconds=seconds)
    measured = await bench.cells(load, ("Postfix",))
    _show(report, what, measured)
    report.at_least(f"{what}: ours / Postfix", _rates(measured[OURS]), _best(measured), aim)


async def middle(bench: Bench, report: Report) -> None:
    """50 kB against Postfix."""
    await _size(bench, report, "50 kB, kept connections, 10", MIDDLE, 1.5)


async def large(bench: Bench, report: Report) -> None:
    """5 MB against Postfix."""
    await _size(bench, report, "5 MB, kept connections, 10", LARGE, 1.0)


async def idle(bench: Bench, report: Report) -> None:
    """What a TLS session that does nothing takes of our memory."""
    progress("idle TLS sessions")
    first, more = 50, 400
    async with ours(bench.account, bench.base) as running:
        work = Work(Load(port=running.submission_tls, connections=1, size=SMALL, tls="implicit"))
        sessions = [await work.open() for _ in range(first)]
        await settled(running.process.pid, seconds=15)
        before = resident(running.process.pid)
        sessions += [await work.open() for _ in range(more)]
        await settled(running.process.pid, seconds=15)
        each = (resident(running.process.pid) - before) / more
        for session in sessions:
            session.close()
    report.limit(f"memory of an idle TLS session (of {first + more})", each / KIB, 40, "KiB")


async def largest(bench: Bench, report: Report) -> None:
    """The most memory we have had when 50 clients sent 10 MB each, and all that was filed."""
    progress("50 clients send 10 MB each")
    async with ours(bench.account, bench.base) as running:
        pid = running.process.pid
        taken = await measure(Load(port=running.inbound, connections=50, size=LARGEST, messages=50))
        while_sent = resident(pid, most=True)
        filed = await settled(pid, seconds=120)
        afterwards = resident(pid, most=True)
    report.note(
        f"50 of 10 MB were taken in {taken.seconds:.1f} s and {'' if filed else 'not '}filed within two minutes"
    )
    report.limit("most memory while 50 clients send 10 MB each", while_sent / MIB, 300, "MiB")
    report.limit("most memory until that is filed", afterwards / MIB, 300, "MiB")


async def _our_drain(bench: Bench, account: Account, mails: int, delay: float) -> float:
    async with (
        sink(mails, delay=delay) as target,
        ours(account, bench.base, relay_to=target.port, connections=LINES) as running,
    ):
        await settled(running.process.pid, seconds=15)  # it has connected, and waits to be greeted
        seconds, _ = await target.drain(seconds=120)
        return mails / seconds


async def _postfix_drain(bench: Bench, mails: int) -> float:
    async with (
        sink(mails) as target,
        postfix(bench.certificate, relay_to=target.port, connections=LINES) as running,
    ):
        load = Load(port=running.port, connections=LINES, size=SMALL, messages=mails, recipient=ELSEWHERE)
        await measure(load)
        await release(running)
        await asyncio.sleep(2)  # the same
        seconds, _ = await target.drain(seconds=120)
        return mails / seconds


async def drain(bench: Bench, report: Report) -> None:
    """The queue into a sink on this machine, against what Postfix held and released."""
    progress(f"queue of {bench.queued} into a local sink")
    account = await prepare(bench.base, bench.certificate, queued=bench.queued)
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(bench.rounds):
        mine.append(await _our_drain(bench, account, bench.queued, 0.0))
        theirs.append(await _postfix_drain(bench, bench.queued))
    what = f"queue of {bench.queued} into a local sink, {LINES} connections"
    report.rates(f"{what}: {OURS}", mine)
    report.rates(f"{what}: Postfix", theirs)
    report.at_least("queue into a local sink: ours / Postfix", mine, theirs, 3.0)


async def slow(bench: Bench, report: Report) -> None:
    """The queue into a sink that takes 20 ms for its answer to each mail: connections ÷ 20 ms is all there can be."""
    progress("queue into a sink that answers after 20 ms")
    account = await prepare(bench.base, bench.certificate, queued=bench.queued)
    mine = [await _our_drain(bench, account, bench.queued, ANSWER) for _ in range(bench.rounds)]
    report.rates(f"queue into a sink that answers after 20 ms, {LINES} connections", mine)
    bound = [LINES / ANSWER] * len(mine)
    report.at_least("queue into a slow sink: ours / (connections ÷ 20 ms)", mine, bound, 0.9)


ROWS: Mapping[str, Callable[[Bench, Report], Awaitable[None]]] = {
    "reused": reused,
    "starttls": starttls,
    "50k": middle,
    "5m": large,
    "idle": idle,
    "10m": largest,
    "drain": drain,
    "slow": slow,
}


async def _measure(rows: list[str], rounds: int, *, quick: bool) -> None:
    report = Report(f"SMTP: {rounds} rounds in turns")
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    certificate = issued.private_key_and_cert_chain_pem.bytes()
    report.note("Raised for this load, in our configuration:")
    for line in RAISED.split():
        report.note(f"  {line}")
    with tempfile.TemporaryDirectory(prefix="bench-smtp-") as base:
        account = await prepare(Path(base), certificate)
        bench = Bench(Path(base), certificate, account, rounds, 1.0 if quick else 3.0, 500 if quick else 3000)
        for row in rows:
            await ROWS[row](bench, report)
    if report.missed:
        report.note(f"{report.missed} missed")


def main(*, quick: bool = False, rounds: int | None = None, only: list[str] | None = None) -> None:
    """Run and report; where the other servers cannot be run, say why, and measure nothing."""
    try:
        from tests.support.mail_root import mail_root
        from tests.support.programs import tool

        mail_root()
        for name in ("debs/exim", "haraka", "node/node"):
            tool(name)
    except RuntimeError as error:
        print(f"\nSMTP is not measured: {error} Those of benchmarks: scripts/ensure-mail-tools --benchmarks.")
        return
    run(_measure(only or list(ROWS), rounds or (1 if quick else 3), quick=quick))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smtp")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each row")
    parser.add_argument("--only", action="append", choices=list(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)}")
    given = parser.parse_args()
    main(quick=given.quick, rounds=given.rounds, only=given.only)
