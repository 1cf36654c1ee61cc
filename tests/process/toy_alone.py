"""MCP on this process's own stdin and stdout, with a tool that prints: `toy_alone.py asyncio|uvloop`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import anyio
from mcp.server import MCPServer

from daimon_mcp.faces.mcp.streams import message_streams, stdio_streams


def build() -> MCPServer[Any]:
    """A server whose tool writes to stdout in every way there is."""
    server: MCPServer[Any] = MCPServer("toy", version="1")

    @server.tool()
    async def noisy(text: str) -> str:
        """Print it, and say how much stdin had for us."""
        print(f"printed {text}")  # noqa: T201 - which is what the test is about
        os.write(1, f"written {text}\n".encode())
        subprocess.run([sys.executable, "-c", f"print('child {text}')"], check=True)  # noqa: ASYNC221 - a toy
        return f"{text} {len(sys.stdin.buffer.read())}"

    return server


async def serve() -> None:
    """One session."""
    lowlevel = build()._lowlevel_server  # pyright: ignore[reportPrivateUsage] - as the product's own server has to
    async with stdio_streams() as (reader, writer), message_streams(reader, writer) as (messages, answers):
        await lowlevel.run(messages, answers, lowlevel.create_initialization_options())
    print('{"after": "serving"}')  # noqa: T201 - stdout is stdout again


if __name__ == "__main__":
    anyio.run(serve, backend_options={"use_uvloop": sys.argv[1] == "uvloop"})
