"""An owner that serves MCP: `toy_owner.py DATA`. The tools keep what they did in files of the data folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daimon_mcp import owner

if TYPE_CHECKING:
    from mcp.server import MCPServer

IDLE_SECONDS = 5.0


def build(data: Path) -> MCPServer[Any]:
    """The server, with its tools."""
    import anyio
    from mcp.server import MCPServer

    server: MCPServer[Any] = MCPServer("toy", version="1")
    counted = data / "counted"
    counted.touch()
    known = set(counted.read_text().split())

    def append(word: str) -> None:
        fd = os.open(counted, os.O_WRONLY | os.O_APPEND)
        os.write(fd, f"{word}\n".encode())
        os.close(fd)

    @server.tool()
    async def echo(text: str) -> str:
        """Say it again."""
        return text

    @server.tool()
    async def count(client_id: str) -> int:
        """Once for every client_id, however often it is called."""
        if client_id not in known:
            known.add(client_id)
            append(client_id)
        return os.getpid()

    @server.tool()
    async def slow(name: str) -> str:
        """Done when DATA/name.go is there."""
        append(f"slow-{name}")
        (data / f"{name}.started").touch()
        while not (data / f"{name}.go").exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.01)
        return f"{name} done"

    return server


async def serve(data: Path, listener: owner.Listener) -> None:
    """Sessions until nobody came for IDLE_SECONDS."""
    from daimon_mcp.faces.mcp.streams import message_streams

    server = build(data)
    lowlevel = server._lowlevel_server  # pyright: ignore[reportPrivateUsage] - as the product's own server has to

    async def answer(hello: owner.Hello) -> Mapping[str, object]:
        return {"version": hello.version, "repeatable": ["echo"]}

    async def session(_: owner.Hello, streams: owner.SessionStreams) -> None:
        async with message_streams(streams.reader, streams.writer) as (messages, answers):
            await lowlevel.run(messages, answers, lowlevel.create_initialization_options())

    async def may_leave() -> bool:
        return True

    idle = owner.IdleWatch(IDLE_SECONDS, may_leave)
    await owner.accept_sessions(listener, answer=answer, serve=session, idle=idle)


def main() -> int:
    data = Path(sys.argv[1])
    held = owner.lock(str(data), "toy")
    if held is None:
        return 0
    listener = owner.bind_socket(str(data))
    with (data / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")

    import anyio

    anyio.run(serve, data, listener, backend_options={"use_uvloop": True})
    held.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
