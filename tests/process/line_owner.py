"""An owner of JSON-RPC lines without an MCP library, which does to itself what it is asked: `line_owner.py DATA`.

Files in DATA: `received` has every line and the process that got it, `answered` a letter for each big answer, `go` lets
held requests end, `idle` has the idle time in seconds, `losers` counts owners that found the lock taken,
`stillborn` those that are yet to be killed while they start.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from daimon_mcp import owner

Message = dict[str, Any]


def open_files() -> list[str]:
    """The paths of this process's descriptors."""
    return [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]


class Session:
    """One bridge."""

    def __init__(self, data: Path, streams: owner.SessionStreams) -> None:
        self.data = data
        self.reader = streams.reader
        self.writer = streams.writer
        self.client_answered = asyncio.Event()
        self.client_answer: Message = {}

    async def run(self) -> None:
        """Serve until the bridge leaves."""
        rest = b""
        async with anyio.create_task_group() as calls:
            while data := await self.reader.read(1 << 18):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    message: Message = json.loads(line)
                    self.note(message)
                    if "method" not in message:
                        self.client_answer = message
                        self.client_answered.set()
                    elif "id" in message:
                        calls.start_soon(self.call, message)
            calls.cancel_scope.cancel()

    def note(self, message: Message) -> None:
        """Keep what came, but for long texts."""
        with (self.data / "received").open("a") as received:
            received.write(json.dumps({"pid": os.getpid(), "message": message})[:1000] + "\n")

    async def say(self, message: Message) -> None:
        self.writer.write(json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode() + b"\n")
        await self.writer.drain()

    async def call(self, message: Message) -> None:
        """Do what the method says."""
        params: Message = message.get("params", {})
        result: object = params
        if params.get("hold") or params.get("arguments", {}).get("hold"):
            await self.go()
        match message["method"]:
            case "stall":
                (self.data / "stalled").touch()
                while not (self.data / "go").exists():
                    time.sleep(0.005)  # noqa: ASYNC251 - to hold up the whole owner is what it is for
            case "where":
                result = {
                    "pid": os.getpid(),
                    "parent": os.getppid(),
                    "session": os.getsid(0),
                    "cwd": os.getcwd(),
                    "key": os.environ.get("DAIMON_API_KEY"),
                    "open": open_files(),
                }
            case "big":
                result = "x" * params["size"]
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "crash":
                raise RuntimeError("a bug in the session")
            case "half":
                self.writer.write(b'{"jsonrpc":"2.0","id":%d,"result":{"ha' % message["id"])
                os.kill(os.getpid(), signal.SIGKILL)
            case "ask":
                await self.say({"id": 1, "method": "elicitation/create", "params": {}})
                await self.client_answered.wait()
                result = {"answer": self.client_answer.get("result")}
            case _:
                pass
        await self.say({"id": message["id"], "result": result})
        if message["method"] == "big":
            with (self.data / "answered").open("a") as answered:
                answered.write("x")

    async def go(self) -> None:
        while not (self.data / "go").exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.005)


async def serve(data: Path, listener: owner.Listener) -> None:
    """Sessions, until idle for as long as the file `idle` says."""

    async def answer(hello: owner.Hello) -> Mapping[str, object]:
        if hello.api_key == "wrong":
            raise owner.HelloRefused("that key opens nothing; make one with daimon-mcp")
        if hello.api_key == "broken":
            raise RuntimeError("a bug while answering")
        return {"repeatable": ["read"]}

    async def session(hello: owner.Hello, streams: owner.SessionStreams) -> None:
        await Session(data, streams).run()

    async def may_leave() -> bool:
        return True

    idle = data / "idle"
    watch = owner.IdleWatch(float(idle.read_text()) if idle.exists() else 5.0, may_leave)
    await owner.accept_sessions(listener, answer=answer, serve=session, idle=watch)


def main() -> int:
    data = Path(sys.argv[1])
    held = owner.lock(str(data), "lines")
    if held is None:
        with (data / "losers").open("a") as losers:
            losers.write("x")
        return 0
    stillborn = data / "stillborn"
    if stillborn.exists() and (left := stillborn.read_text()):
        stillborn.write_text(left[1:])
        os.kill(os.getpid(), signal.SIGKILL)
    listener = owner.bind_socket(str(data))
    anyio.run(serve, data, listener, backend_options={"use_uvloop": True})
    held.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
