"""Runs the application on its event loop: as a detached owner, in the foreground, or alone on stdio."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from daimon_mcp import app, logs, owner, shim
from daimon_mcp.operations.credentials import WrongMasterKey
from daimon_mcp.settings import Settings, SettingsError, load
from daimon_mcp.settings.ignored import ignored
from daimon_mcp.store.migrations import SchemaTooNew

log = logging.getLogger(__name__)

STARTUP_ERRORS = (SettingsError, WrongMasterKey, SchemaTooNew, sqlite3.Error, OSError)
"""What can be wrong with a folder or a configuration; each has a text for the person who starts the server."""

_TAKE_OVER_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 0.02


def configured(settings: Settings) -> None:
    """Logging as the settings say, on stderr; and there a line for each option that is set in vain."""
    logs.configure(settings.log.level, settings.log.format, settings.log.wire)
    for what, advice in ignored(settings):
        log.warning("%s. %s", what, advice)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it exists; SIGTERM and SIGINT cancel `main`, which then ends in order."""

    async def guarded() -> None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            log.info("stopped")

    preload()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(guarded())


def preload() -> None:
    """Import what every session needs, and take it from the garbage collector for good.

    For the collector to go through it all would stop the loop for 40 ms and more, every now and then.
    """
    gc.disable()
    for name in ("daimon_mcp.faces.http", "daimon_mcp.faces.mcp.tools"):
        importlib.import_module(name)
    gc.freeze()
    gc.enable()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run_owner(data_dir: str, listener: owner.Listener) -> int:
    """Be the detached owner until idle or told to stop; the exit code. Trouble at start is said on stderr."""
    try:
        settings = load(data_dir=Path(data_dir))
        configured(settings)
        run_loop(app.run(settings, listener, leaves_when_idle=True))
    except STARTUP_ERRORS as error:
        sys.stderr.write(f"daimon-mcp: {error}\n")
        return 1
    return 0


def run_serve(settings: Settings, ready: Callable[[app.App], Awaitable[None]]) -> None:
    """Be the owner in the foreground. Raises STARTUP_ERRORS, BusyFolder."""
    held, listener = take_over(settings.data_dir)
    try:
        run_loop(app.run(settings, listener, leaves_when_idle=False, ready=ready))
    finally:
        listener.close()
        held.release()


class BusyFolder(Exception):
    """Another foreground server has this data folder."""


def holder(data_dir: Path) -> tuple[str, int]:
    """Who has the lock of a data folder: `serve`, `auto`, `alone` or `command`, and the process id.

    `("", 0)` when the file does not say. It may speak of the holder before, for the moment between taking the lock and
    signing it: who means to act on the answer looks twice.
    """
    try:
        pid, _, kind = (data_dir / shim.LOCK_NAME).read_text().strip().partition(" ")
        return kind, int(pid)
    except (OSError, ValueError):
        return "", 0


def stop_owner(data_dir: Path) -> int:
    """Ask the owner of a data folder to end, and wait until it has; its process id, 0 if there is none.

    Raises BusyFolder when it has not ended after 15 seconds.
    """
    import time

    kind, pid = holder(data_dir)
    probe = owner.lock(str(data_dir), "command") if data_dir.is_dir() else None
    if probe is not None:
        probe.release()
        return 0
    if not kind or pid <= 1:
        return 0
    deadline = time.monotonic() + 15
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    # The lock goes with the process, also where nobody has taken note of its end yet and its number is still there.
    while (probe := owner.lock(str(data_dir), "command")) is None:
        if time.monotonic() > deadline:
            raise BusyFolder(
                f"process {pid} was told to end and has not; look into its log, or end it by force: kill -9 {pid}"
            )
        time.sleep(0.02)
    probe.release()
    return pid


def take_over(data_dir: Path) -> tuple[owner.Lock, owner.Listener]:
    """The lock and socket of a data folder. Raises BusyFolder.

    An owner that a bridge started makes way; a command that works on the folder is waited for.
    """
    deadline = time.monotonic() + _TAKE_OVER_SECONDS
    asked: set[int] = set()
    before = ("", 0)
    while (held := owner.lock(str(data_dir), "serve")) is None:
        kind, pid = found = holder(data_dir)
        if found == before:
            if kind in ("serve", "alone") or time.monotonic() > deadline:
                raise BusyFolder(
                    f"another daimon-mcp (process {pid}) has this data folder: {data_dir}\n"
                    f"Stop it (Ctrl-C where it runs, or: kill {pid}), or choose another folder with --data-dir."
                )
            if pid not in asked:
                asked.add(pid)
                log.info("waiting for process %d, which has the data folder", pid)
                if kind == "auto":
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
        before = found
        time.sleep(_LOOK_AGAIN_SECONDS)
    return held, owner.bind_socket(str(data_dir))


def _lock_alone(data_dir: Path) -> owner.Lock:
    deadline = time.monotonic() + _TAKE_OVER_SECONDS
    waiting = False
    while (held := owner.lock(str(data_dir), "alone")) is None:
        kind, pid = holder(data_dir)
        if kind != "command" or time.monotonic() > deadline:
            raise BusyFolder(
                f"another daimon-mcp (process {pid}) has this data folder; leave --alone away to share it: {data_dir}"
            )
        if not waiting:
            log.info("waiting for process %d, which has the data folder", pid)
            waiting = True
        time.sleep(_LOOK_AGAIN_SECONDS)
    return held


def run_alone(settings: Settings, *, api_key: str | None) -> None:
    """Serve one MCP session on stdio in this very process, listeners and all. Raises STARTUP_ERRORS, BusyFolder."""
    held = _lock_alone(settings.data_dir)
    try:
        run_loop(_alone(settings, api_key))
    finally:
        held.release()


async def _alone(settings: Settings, api_key: str | None) -> None:
    import anyio

    from daimon_mcp.faces.mcp.server import Session, session
    from daimon_mcp.faces.mcp.streams import message_streams, stdio_streams

    async with app.opened(settings) as operations:
        running = app.App(settings, operations)
        bound = running.listening.bind_http(strict=False)
        actor = await operations.credentials.authenticate(api_key) if api_key else None
        session.set(Session(actor, settings.mcp.read_only, api_key))
        async with anyio.create_task_group() as tasks, stdio_streams() as (reader, writer):
            tasks.start_soon(_listen, running, tasks, bound)
            async with message_streams(reader, writer) as (read_stream, write_stream):
                await running.mcp_server().run_session(read_stream, write_stream)
            tasks.cancel_scope.cancel()


async def _listen(running: app.App, tasks: Any, bound: Any) -> None:
    await running.run_listeners(tasks, bound, strict=False)
