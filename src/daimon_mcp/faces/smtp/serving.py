"""Binding a listener, and its orderly end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from daimon_mcp.faces.smtp.connection import Connection
from daimon_mcp.faces.smtp.listener import Listener

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
SOCKET_MODE: Final = 0o660  # of a socket in the file system: its owner and group may hand in mail


@asynccontextmanager
async def on_port(listener: Listener, host: str, port: int) -> AsyncGenerator[tuple[str, int]]:
    """Listen on `host`:`port` (0 for any free port) inside the block; gives what was bound. asyncio loops only.

    At the end it stops accepting, sends 421 to idle sessions, and lets messages that are being received or stored be
    answered, for `close_seconds`. Raises OSError if it cannot bind.
    """
    loop = asyncio.get_running_loop()
    async with _ending(listener):
        server = await loop.create_server(partial(Connection, listener), host, port, backlog=BACKLOG)
        try:
            bound = server.sockets[0].getsockname()
            log.info("listening for mail on %s port %d", bound[0], bound[1])
            yield bound[0], bound[1]
        finally:
            server.close()


@asynccontextmanager
async def on_socket(listener: Listener, path: Path) -> AsyncGenerator[None]:
    """The same on a socket in the file system, which is replaced if it is there, and removed at the end."""
    loop = asyncio.get_running_loop()
    async with _ending(listener):
        server = await loop.create_unix_server(partial(Connection, listener), str(path), backlog=BACKLOG)
        try:
            await anyio.Path(path).chmod(SOCKET_MODE)
            log.info("listening for mail on %s", path)
            yield
        finally:
            server.close()
            with anyio.CancelScope(shield=True):
                await anyio.Path(path).unlink(missing_ok=True)


@asynccontextmanager
async def _ending(listener: Listener) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await listener.close()
