"""A thousand webhooks, fifty of them dead and fifty slow: how late the others are, and what a kill -9 loses.

Server, receiver and this are processes of their own. As a program without arguments it measures; `receive` and `serve`
are its children. An event is told to one webhook; it is of a real message, so that payloads are real too.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
from tests.support.ports import free_port

from benchmarks.folders import prepare, settings_for
from benchmarks.loops import run
from benchmarks.report import Report
from daimon_mcp.app import App, opened
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.webhooks import CreateWebhook
from daimon_mcp.store import events

HOOKS, DEAD, SLOW = 1000, 50, 50
RATE = 200  # events in a second
SLOW_SECONDS = 10.0
DRAIN_SECONDS = 60.0


# -- the receiver ------------------------------------------------------------------------------------------------------


class Receiver:
    """Answers at once, or at /slow late; keeps which events came where, and how long after they were recorded."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}
        self.posts = 0
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ", 2)[1]
                length = next(
                    int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")
                )
                body = json.loads(await reader.readexactly(length))
                now = time.time()
                if path.startswith("/slow"):
                    await asyncio.sleep(SLOW_SECONDS)
                else:
                    self.posts += 1
                    self.seen.setdefault(f"{path} {body['event_id']}", []).append(now - body["data"]["recorded_at"])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, question: str) -> object:
        """What the benchmark asks for, a word a line."""
        if question == "lags":
            lags = [first[0] for first in self.seen.values()]
            self.seen.clear()
            return lags
        if question == "seen":
            return sorted(self.seen)
        return {"posts": self.posts, "connections": self.connections}


async def receive() -> None:
    """The receiver's process: prints its port, then answers questions."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    while question := (await asyncio.to_thread(sys.stdin.readline)).strip():
        print(json.dumps(receiver.answer(question)), flush=True)


# -- the server --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """An inbox with a webhook of its own."""

    inbox_no: int
    inbox_id: str


async def make_hooks(folder: Path, receiver: int) -> None:
    """Inboxes, each with a webhook: dead ones first, then slow ones."""
    (message_id,) = await prepare(folder, [2048])
    dead = free_port()
    targets: list[Target] = []
    async with opened(settings_for(folder), environ={}) as operations:
        actor = await operations.accounts.local_actor()
        for number in range(HOOKS):
            made = await operations.inboxes.create_inbox(actor, CreateInbox(username=f"hook{number}"))
            url = (
                f"http://127.0.0.1:{dead}/{number}"
                if number < DEAD
                else f"http://127.0.0.1:{receiver}/{'slow' if number < DEAD + SLOW else 'well'}/{number}"
            )
            await operations.webhooks.create_webhook(
                actor, CreateWebhook(url=url, events=["message.received"], inbox=made.result["id"])
            )
            key = await operations.credentials.authenticate(made.result["api_key"])
            targets.append(Target(cast("int", key.inbox_no), made.result["id"]))
    told = {"message": message_id, "targets": [[each.inbox_no, each.inbox_id] for each in targets]}
    (folder / "targets.json").write_text(json.dumps(told))


async def serve(folder: Path, seconds: float) -> None:
    """The server's process: its workers, and for so many seconds events at RATE; then it stays."""
    given: dict[str, Any] = json.loads((folder / "targets.json").read_text())
    targets, message_id = given["targets"], given["message"]
    async with opened(settings_for(folder), environ={}) as operations, anyio.create_task_group() as tasks:
        app = App(settings_for(folder), operations)
        await app.run_workers(tasks)
        database = operations.core.database
        account_no = (await operations.accounts.local_actor()).account_no

        async def record(number: int) -> None:
            inbox_no, inbox_id = targets[number % len(targets)]
            payload = {"message_id": message_id, "inbox_id": inbox_id, "thread_id": None, "recorded_at": time.time()}
            now = operations.core.clock.now()
            await database.write(
                lambda tx: events.record(
                    tx, "message.received", account_no=account_no, inbox_no=inbox_no, now=now, payload=payload
                )
            )

        print("ready", flush=True)
        began = time.monotonic()
        late = 0.0
        for number in range(int(RATE * seconds)):
            due = began + number / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late = max(late, time.monotonic() - due)
            tasks.start_soon(record, number)
        print(f"recorded {late:.3f}", flush=True)
        await anyio.sleep_forever()


# -- measuring ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def process(*arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """This program as a child, with pipes; it is gone at the end."""
    pipe = asyncio.subprocess.PIPE
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.webhooks", *arguments, stdin=pipe, stdout=pipe, limit=1 << 26
    )
    try:
        yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.wait()


async def line(child: asyncio.subprocess.Process) -> str:
    """What it prints next."""
    assert child.stdout is not None
    return (await child.stdout.readline()).decode().strip()


async def ask(child: asyncio.subprocess.Process, question: str) -> Any:
    """What the receiver answers."""
    assert child.stdin is not None
    child.stdin.write(f"{question}\n".encode())
    await child.stdin.drain()
    return json.loads(await line(child))


def expected(folder: Path) -> tuple[set[str], int, list[tuple[str, int]]]:
    """Which events the healthy webhooks are to have got, how many of those are not on record as delivered, and
    how webhooks are doing. Only while no server has the folder."""
    with sqlite3.connect(folder / "mail.db") as connection:
        rows = connection.execute(
            "SELECT w.url, e.id, d.state FROM hookdeliveries d JOIN webhooks w ON w.no = d.webhook_no"
            " JOIN events e ON e.seq = d.event_seq WHERE w.url LIKE '%/well/%'"
        ).fetchall()
        states = connection.execute("SELECT status, count(*) FROM webhooks GROUP BY status").fetchall()
    connection.close()
    wanted = {f"/well/{url.rpartition('/')[2]} {event}" for url, event, _ in rows}
    return wanted, sum(state != "delivered" for *_, state in rows), states


async def quiet(receiver: asyncio.subprocess.Process) -> None:
    """Return when nothing has come for two seconds."""
    ends, before = time.monotonic() + DRAIN_SECONDS, -1
    while time.monotonic() < ends and (now := (await ask(receiver, "count"))["posts"]) != before:
        before = now
        await asyncio.sleep(2)


async def measure(seconds: float) -> None:
    """Lag under load, then a kill under load."""
    report = Report(f"Webhooks: {HOOKS}, of them {DEAD} dead and {SLOW} slow; {RATE} events a second")
    with tempfile.TemporaryDirectory(prefix="webhooks-") as base:
        folder = Path(base) / "data"
        async with process("receive") as receiver:
            port = int(await line(receiver))
            await make_hooks(folder, port)
            async with process("serve", str(folder), str(seconds)) as server:
                assert await line(server) == "ready"
                late = (await line(server)).split()[1]
                await quiet(receiver)
                lags = sorted(await ask(receiver, "lags"))
                server.send_signal(signal.SIGKILL)
                await server.wait()
            wanted, undone, states = expected(folder)
            p50, p99 = lags[len(lags) // 2], lags[int(len(lags) * 0.99)]
            report.percentiles("lag of the healthy ones, half and 99 in 100", p50, p99, lags[-1])
            report.limit("the same, 99 in 100", p99 * 1e3, 2000.0, "ms")
            counts = await ask(receiver, "count")
            report.note(
                f"{len(lags)} of {len(wanted)} arrived over {counts['connections']} connections, {undone} not on record"
                f" as delivered; webhooks: {dict(states)}; the load was at most {late} s late"
            )
            before = wanted
            async with process("serve", str(folder), str(seconds)) as server:
                assert await line(server) == "ready"
                await asyncio.sleep(min(5.0, seconds / 2))
                server.send_signal(signal.SIGKILL)
                await server.wait()
            async with process("serve", str(folder), "0") as server:
                assert await line(server) == "ready"
                await quiet(receiver)
                await asyncio.sleep(8)  # longer than the first pause after an attempt that was cut off
                await quiet(receiver)
                server.send_signal(signal.SIGTERM)
                await server.wait()
            wanted, undone, _ = expected(folder)
            seen = set(cast("list[str]", await ask(receiver, "seen")))
            lost = len(wanted - before - seen)
            report.limit(f"lost over kill -9, of {len(wanted - before)}", float(lost), 0.0, "events")
            report.note(f"{undone} not on record as delivered")


def main(*, quick: bool = False) -> None:
    """Print the figures."""
    run(measure(10.0 if quick else 30.0))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["receive"]:
            run(receive())
        case ["serve", given, length]:
            run(serve(Path(given), float(length)))
        case _:
            main(quick="--quick" in sys.argv)
