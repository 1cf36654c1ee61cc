"""Asking the owner from the command line; where none runs, its work is done here, under the same lock."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

from daimon_mcp import __version__, owner, shim
from daimon_mcp.settings import Settings

_PROFILE = "control"
_PATIENCE = 60.0


class CommandFailed(Exception):
    """The command was refused; the text is for people."""


def ask(settings: Settings, method: str, **params: Any) -> Any:
    """The result of one command. Raises CommandFailed, or what starting the server raises."""
    answer = _over_socket(settings, method, params)
    if answer is None:
        answer = _in_this_process(settings, method, params)
    if "error" in answer:
        raise CommandFailed(f"{answer['message']} ({answer['error']})")
    return answer["result"]


def running(settings: Settings) -> bool:
    """Whether an owner answers on the data folder's socket."""
    connection = _connect(settings)
    if connection is None:
        return False
    connection.close()
    return True


def _connect(settings: Settings) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_PATIENCE)
    try:
        connection.connect(shim.socket_path(str(settings.data_dir)))
    except OSError:
        connection.close()
        return None
    return connection


def _over_socket(settings: Settings, method: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    connection = _connect(settings)
    if connection is None:
        return None
    hello = {"version": __version__, "api_key": None, "profile": _PROFILE, "read_only": False}
    with connection, connection.makefile("rwb") as stream:
        stream.write(shim.hello_line(hello))
        stream.write(json.dumps({"method": method, "params": params}).encode() + b"\n")
        stream.flush()
        welcome: dict[str, Any] = json.loads(stream.readline() or b"{}")
        if "error" in welcome:
            raise CommandFailed(str(welcome["error"]))
        line = stream.readline()
        if not line:
            raise CommandFailed("the running server ended before it answered; try again")
        return json.loads(line)


def _in_this_process(settings: Settings, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    import asyncio

    from daimon_mcp import app
    from daimon_mcp.faces.cli.control import dispatch

    held = owner.lock(str(settings.data_dir), "command")
    if held is None:
        raise CommandFailed("the data folder is in use by a server that does not answer on its socket")

    async def run() -> dict[str, Any]:
        async with app.opened(settings) as operations:
            operations.core.public_url = settings.public_url(settings.http.port)
            return await dispatch(operations, method, params)

    try:
        return asyncio.run(run())
    finally:
        held.release()
