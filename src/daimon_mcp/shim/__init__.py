"""The stdio bridge: what `daimon-mcp` without arguments is.

It passes JSON-RPC lines between its own stdin and stdout and the socket of the data folder's one owner process, starts
that owner when there is none, and carries the client over when the owner dies. It lives as long as its client, and
its start is part of every client's start: so it is the standard library alone, and of that as little as possible
(`_socket` in place of `socket`, no `typing`, `json` and `signal` only after the first bytes have been passed on).

The wire between the two, one JSON object a line:
 1. bridge → owner: `{"daimon": 1, "version": …, "api_key": …, "profile": …, "read_only": …}`, the hello;
 2. owner → bridge: `{"daimon": 1, "repeatable": ["get_message", …], …}`, or `{"daimon": 1, "error": "…"}`;
 3. then the client's MCP session, byte for byte.
"""

from __future__ import annotations

import _socket
import os
import select
import time

from daimon_mcp.shim.folder import (
    LOCK_NAME,
    LOG_NAME,
    LONGEST_SOCKET_PATH,
    SOCKET_NAME,
    check_socket_folder,
    make_data_folder,
    socket_path,
)
from daimon_mcp.shim.ledger import Ledger
from daimon_mcp.shim.lines import LINE_LIMIT, PROTOCOL, LineSplitter, hello_line, lines_of, parsed, too_long
from daimon_mcp.shim.starter import Starter
from daimon_mcp.shim.words import Leave, printable, say

# Type checkers read this name as true; importing `typing` to say so would cost more than the rest of the module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "LINE_LIMIT",
    "LOCK_NAME",
    "LOG_NAME",
    "LONGEST_SOCKET_PATH",
    "PROTOCOL",
    "SOCKET_NAME",
    "Ledger",
    "LineSplitter",
    "Starter",
    "check_socket_folder",
    "hello_line",
    "lines_of",
    "make_data_folder",
    "run",
    "socket_path",
    "too_long",
]

CONNECT_SECONDS = 20.0
CONNECT_STEP = 0.01
LEAVE_SECONDS = 10.0
PARENT_STEP = 2.0

CHUNK = 256 * 1024
HIGH_WATER = 1024 * 1024
"""Bytes waiting in one direction from which on that direction's source is not read."""

UNANSWERED_LIMIT = 64 * 1024 * 1024
"""Bytes of requests kept for sending again, from which on the client is not read."""


class Terminated(Exception):
    """SIGTERM arrived."""


class _Bridge:
    """One client's stdin and stdout, and the connection to whoever is the owner just now."""

    def __init__(self, data_dir: str, hello: bytes, starter: Starter) -> None:
        self._data_dir = data_dir
        self._path = socket_path(data_dir)
        self._hello = hello
        self._starter = starter
        self._ledger = Ledger()
        self._parent = os.getppid()
        self._poll = select.poll()
        self._watched: dict[int, int] = {}
        self._stdout = select.poll()
        self._stdout.register(1, select.POLLOUT)

        self._client_lines = LineSplitter(LINE_LIMIT)
        self._client_ended = False
        self._leave_at = 0.0
        self._to_client = bytearray()

        self._sock: _socket.socket | None = None
        self._deaf = False  # the owner takes no more bytes; what it said before may still be unread
        self._welcomed = False
        self._owner_lines = LineSplitter(None)
        self._to_owner = bytearray(hello)
        self._queued = len(hello)  # bytes for this owner since its connection began, sent or not
        self._connect_at = 0.0
        self._give_up_at = time.monotonic() + CONNECT_SECONDS

    def run(self) -> int:
        """Pass bytes until client, owner or parent end it; the exit code. Raises Leave, KeyboardInterrupt."""
        first = True
        while True:
            now = time.monotonic()
            if self._sock is None and now >= self._connect_at:
                self._connect(now)
            if os.getppid() != self._parent or self._finished(now):
                return 0
            for fd, events in self._wait(0.0 if first else self._patience(now)):
                if fd == 0:
                    self._read_client()
                elif fd == 1:
                    if events & (select.POLLERR | select.POLLHUP | select.POLLNVAL) or not self._write_client():
                        return 0
                elif not self._talk_to_owner(events):
                    return 0
            if first:
                first = False
                _late_imports()

    def _patience(self, now: float) -> float:
        if self._sock is None:
            return CONNECT_STEP
        return max(0.0, min(PARENT_STEP, self._leave_at - now)) if self._client_ended else PARENT_STEP

    def _finished(self, now: float) -> bool:
        if not self._client_ended:
            return False
        if now >= self._leave_at:
            return True
        may_send = self._sock is not None and not self._deaf
        return not (self._to_client or (self._to_owner and may_send) or self._ledger.waiting())

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        wanted = {1: select.POLLOUT if self._to_client else 0}
        full = len(self._to_owner) >= HIGH_WATER or self._ledger.unanswered_bytes >= UNANSWERED_LIMIT
        if not (self._client_ended or full):
            wanted[0] = select.POLLIN
        if self._sock is not None:
            # With nothing wanted, not watched at all: a hang-up is always reported, and would make this loop spin.
            events = select.POLLIN if len(self._to_client) < HIGH_WATER else 0
            if self._to_owner and not self._deaf:
                events |= select.POLLOUT
            if events:
                wanted[self._sock.fileno()] = events
        for fd in self._watched.keys() - wanted.keys():
            self._poll.unregister(fd)
        for fd, events in wanted.items():
            if self._watched.get(fd) != events:
                self._poll.register(fd, events)
        self._watched = wanted
        return self._poll.poll(int(seconds * 1000))

    # the client's side

    def _read_client(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            whole = self._client_lines.feed(data)
        else:
            self._client_ended = True
            self._leave_at = time.monotonic() + LEAVE_SECONDS
            whole = self._client_lines.end()
        while self._client_lines.dropped:
            self._to_client += too_long(self._client_lines.dropped.pop())
        if whole and self._ledger.moot:
            whole = self._ledger.without_moot(whole)
        if not whole:
            return
        end = self._queued
        self._queued += len(whole)
        self._to_owner += whole
        self._write_owner()
        # Only now, with the bytes on their way, the dearer part: reading them.
        for line in lines_of(whole):
            end += len(line) + 1
            self._ledger.from_client(line, end)

    def _write_client(self) -> bool:
        """Write what stdout takes without blocking; False when nobody reads it any more.

        The descriptor stays in blocking mode, since it may be shared with other processes: a poll before each write of
        at most PIPE_BUF bytes is what never blocks.
        """
        try:
            while self._to_client and self._stdout.poll(0):
                written = os.write(1, self._to_client[: select.PIPE_BUF])
                del self._to_client[:written]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    # the owner's side

    def _connect(self, now: float) -> None:
        if now >= self._give_up_at:
            log = os.path.join(self._data_dir, LOG_NAME)
            raise Leave(
                1, f"the mail server did not answer within {CONNECT_SECONDS:.0f} s; see {log}, or run daimon-mcp doctor"
            )
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            check_socket_folder(self._path)
            sock.connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            self._starter.nobody_listens(now)
        except BlockingIOError:
            sock.close()  # somebody is there, with more callers than it can take just now
        except OSError as error:
            sock.close()
            raise Leave(1, f"cannot reach the mail server at {self._path}: {error.strerror or error}") from None
        else:
            self._sock = sock
            self._write_owner()
            return
        self._connect_at = now + CONNECT_STEP

    def _write_owner(self) -> None:
        try:
            while self._to_owner and self._sock is not None and not self._deaf:
                del self._to_owner[: self._sock.send(self._to_owner)]
        except BlockingIOError:
            pass
        except OSError:
            self._deaf = True

    def _talk_to_owner(self, events: int) -> bool:
        """One turn with the owner's socket; False when nobody reads stdout any more."""
        if self._sock is None:
            return True
        if events & select.POLLOUT:
            self._write_owner()
        if not events & ~select.POLLOUT:
            return True
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if data:
            whole = self._owner_lines.feed(data)
            if whole and not self._welcomed:
                first, _, whole = whole.partition(b"\n")
                self._welcome(first)
            self._to_client += b"".join([line + b"\n" for line in lines_of(whole) if self._ledger.from_owner(line)])
        else:
            self._lost()
        return self._write_client()

    def _welcome(self, line: bytes) -> None:
        """Read the owner's answer to the hello. Raises Leave when it is not one, or a refusal."""
        answer = parsed(line)
        if answer is None or answer.get("daimon") != PROTOCOL:
            raise Leave(
                2, "the mail server that is running is of another version. End it, then start this client again."
            )
        if "error" in answer:
            raise Leave(3, printable(str(answer["error"])))
        tools = answer.get("repeatable")
        if isinstance(tools, list):
            self._ledger.repeatable = frozenset(tool for tool in tools if isinstance(tool, str))
        self._welcomed = True
        self._starter.listens()

    def _lost(self) -> None:
        """The owner is gone: prepare what the next one must be told, and tell the client what was lost."""
        now = time.monotonic()
        self._connect_at = now + CONNECT_STEP
        if self._welcomed:
            self._give_up_at = now + CONNECT_SECONDS
        if self._sock is not None:
            if self._watched.pop(self._sock.fileno(), None) is not None:
                self._poll.unregister(self._sock)
            self._sock.close()
        sent = self._queued - len(self._to_owner) if self._welcomed else 0
        to_owner, to_client = self._ledger.lost(sent, len(self._hello))
        self._to_client += to_client
        self._to_owner = bytearray(self._hello + to_owner)
        self._queued = len(self._to_owner)
        self._owner_lines = LineSplitter(None)  # half a line that the client never saw
        self._sock, self._deaf, self._welcomed = None, False, False


def _late_imports() -> None:
    """What is needed soon, but not before the first bytes are on their way."""
    import signal

    parsed(b"{}")
    signal.signal(signal.SIGTERM, _terminated)


def _terminated(_signal: int, _frame: object) -> None:
    raise Terminated


def _hold_standard_descriptors() -> None:
    """Put /dev/null where 0, 1 or 2 were closed by our parent, so that no socket of ours gets one of these numbers."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def run(data_dir: str, hello: Mapping[str, object], spawn: Sequence[str]) -> int:
    """Bridge this process's stdin and stdout to the owner of `data_dir`; return the exit code.

    `data_dir` is absolute. `hello` has `version`, `api_key`, `profile` and `read_only`. `spawn` is the command that
    starts an owner, its program an absolute path; it runs in its own session, in `/`, with its output in
    `owner.log`, and without DAIMON_API_KEY.

    0: the client or its process ended, or SIGTERM; 1: no owner could be started or reached; 2: the running owner speaks
    another protocol; 3: the owner refused the hello; 130: SIGINT. What went wrong is said on stderr.
    """
    try:
        _hold_standard_descriptors()
        make_data_folder(data_dir)
        return _Bridge(data_dir, hello_line(hello), Starter(data_dir, spawn)).run()
    except Leave as leave:
        say(str(leave))
        return leave.code
    except OSError as error:
        say(f"{error.filename or 'cannot start'}: {error.strerror}")
        return 1
    except Terminated:
        return 0
    except KeyboardInterrupt:
        return 130
