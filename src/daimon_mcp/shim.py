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
import stat
import time

# Type checkers read this name as true; importing `typing` to say so would cost more than the rest of the module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
    Object: TypeAlias = dict[str, Json]
    RequestId: TypeAlias = int | str

PROTOCOL = 1
"""Of the two first lines. An owner and a bridge that do not agree on it do not talk."""

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes in one line of a client."""

SOCKET_NAME = "daimon.sock"
LOCK_NAME = "daimon.lock"
LOG_NAME = "owner.log"
KEY_VARIABLE = "DAIMON_API_KEY"

LONGEST_SOCKET_PATH = 100
"""Bytes. The kernel's own limit is 108 on Linux and 104 on macOS, with the closing NUL."""

CONNECT_SECONDS = 20.0
CONNECT_STEP = 0.01
SPAWN_STEP = 0.25
FAILED_STARTS = 3
LAST_WORDS = 2000
LEAVE_SECONDS = 10.0
PARENT_STEP = 2.0

CHUNK = 256 * 1024
HIGH_WATER = 1024 * 1024
"""Bytes waiting in one direction from which on that direction's source is not read."""

UNANSWERED_LIMIT = 64 * 1024 * 1024
"""Bytes of requests kept for sending again, from which on the client is not read."""

SEND_ATTEMPTS = 3
"""How often one request may go down with an owner before it is answered with an error and not tried again."""

LISTEN = "subscriptions/listen"

_ID_FIRST = b'{"jsonrpc":"2.0","id":'
_METHOD_FIRST = b'{"jsonrpc":"2.0","method":'
_ID_LAST = b'"id":'
_LONGEST_ID = 200
_REPLAY = "daimon-replay-"


class Leave(Exception):
    """The bridge cannot go on: what to say on stderr, and the exit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Terminated(Exception):
    """SIGTERM arrived."""


# --- the data folder -------------------------------------------------------------------------------------------------


def make_data_folder(data_dir: str) -> None:
    """Create the data folder, 0700, if it is missing; one that is there keeps its mode. Raises OSError."""
    os.makedirs(data_dir, mode=0o700, exist_ok=True)


def socket_path(data_dir: str) -> str:
    """Where the owner of `data_dir` listens: `daimon.sock` in it, whatever name the folder is called by.

    A path too long for a Unix socket becomes `/tmp/daimon-<uid>/<hash of the folder>.sock`. It is /tmp and not $TMPDIR,
    because clients start the bridge with few variables: two that differ would never meet.
    """
    folder = os.path.realpath(data_dir)
    path = os.path.join(folder, SOCKET_NAME)
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    import hashlib

    return os.path.join(_short_folder(), hashlib.sha256(os.fsencode(folder)).hexdigest()[:32] + ".sock")


def _short_folder() -> str:
    return f"/tmp/daimon-{os.getuid()}"  # noqa: S108 - check_socket_folder refuses one that is not ours


def check_socket_folder(path: str) -> None:
    """Refuse a socket path in a folder in /tmp that somebody else made or can write to.

    Raises PermissionError; FileNotFoundError when there is no folder yet.
    """
    folder = os.path.dirname(path)
    if folder != _short_folder():
        return
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} must be a folder of mode 0700 that belongs to you; remove it")


# --- lines -----------------------------------------------------------------------------------------------------------


class LineSplitter:
    """Whole lines out of a stream of bytes. A line longer than `limit` is dropped, and `dropped` has its request id."""

    def __init__(self, limit: int | None) -> None:
        self.dropped: list[RequestId | None] = []
        self._limit = limit
        self._rest = bytearray()
        self._too_long = False
        self._head = b""

    def feed(self, data: bytes) -> bytes:
        """Every line completed by `data`, each with its newline; empty when there is none."""
        if not self._rest and not self._too_long and data.endswith(b"\n"):
            return data
        if self._too_long:
            end = data.find(b"\n") + 1
            self._rest += data[:end] if end else data
            del self._rest[:-_LONGEST_ID]
            if not end:
                return b""
            self._drop()
            data = data[end:]
        end = data.rfind(b"\n") + 1
        if end:
            whole = bytes(self._rest) + data[:end]
            self._rest = bytearray(data[end:])
        else:
            whole = b""
            self._rest += data
        if self._limit is not None and len(self._rest) > self._limit:
            self._too_long = True
            self._head = bytes(self._rest[:_LONGEST_ID])
            del self._rest[:-_LONGEST_ID]
        return whole

    def end(self) -> bytes:
        """The last line, which nobody ended, with a newline; empty when there is none."""
        if self._too_long:
            self._drop()
            return b""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest + b"\n" if rest else b""

    def _drop(self) -> None:
        found = _id_in_head(self._head)
        self.dropped.append(found[0] if found is not None else _id_in_tail(bytes(self._rest)))
        self._too_long = False
        self._rest.clear()


def lines_of(whole: bytes) -> list[bytes]:
    """The lines of what `LineSplitter.feed` gave, without their newlines."""
    return whole[:-1].split(b"\n") if whole else []


def too_long(request_id: RequestId | None) -> bytes:
    """The JSON-RPC error for a line over LINE_LIMIT."""
    return _error(request_id, -32600, f"a message may be {LINE_LIMIT} bytes at most; this one was not read")


def _error(request_id: RequestId | None, code: int, message: str) -> bytes:
    import json

    answer = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _plain_id(raw: bytes) -> RequestId | None:
    """A request id that needs no JSON parser to be read; None for any other."""
    if raw.isdigit() and len(raw) < 19:
        return int(raw)
    if len(raw) > 1 and raw[:1] == raw[-1:] == b'"' and raw.count(b'"') == 2 and b"\\" not in raw and raw.isascii():
        return raw[1:-1].decode()
    return None


def _id_in_head(line: bytes) -> tuple[RequestId, int] | None:
    """The id of a line that begins as the owner's lines do, and where it ends; None when it begins otherwise."""
    if not line.startswith(_ID_FIRST):
        return None
    start = len(_ID_FIRST)
    end = line.find(b",", start, start + _LONGEST_ID)
    found = _plain_id(line[start:end]) if end > 0 else None
    return None if found is None else (found, end)


def _id_in_tail(line: bytes) -> RequestId | None:
    """The id of a line that ends with it, as some clients write theirs."""
    start = line.rfind(_ID_LAST)
    return _plain_id(line[start + len(_ID_LAST) :].strip().removesuffix(b"}").strip()) if start >= 0 else None


def _parse(line: bytes) -> Object | None:
    """A JSON object, or None for anything else."""
    import json

    try:
        message: Json = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _request_id(message: Object) -> RequestId | None:
    found = message.get("id")
    return found if isinstance(found, (int, str)) and not isinstance(found, bool) else None


def _object(value: Json) -> Object:
    return value if isinstance(value, dict) else {}


def hello_line(hello: Mapping[str, object]) -> bytes:
    """The first line to the owner: `hello` with the protocol's number before it."""
    parts = [f'"daimon":{PROTOCOL}']
    for name, value in hello.items():
        if value is None or isinstance(value, bool):
            text = {None: "null", True: "true", False: "false"}[value]
        elif isinstance(value, str) and value.isascii() and value.isprintable() and not ('"' in value or "\\" in value):
            text = f'"{value}"'
        else:
            import json

            text = json.dumps(value)
        parts.append(f'"{name}":{text}')
    return ("{" + ",".join(parts) + "}\n").encode()


# --- what an owner's death would lose --------------------------------------------------------------------------------


class _Request:
    """A request of the client that has no answer yet."""

    __slots__ = ("attempts", "client_id", "end", "line", "method", "tool")

    def __init__(self, line: bytes, method: str, params: Object, end: int) -> None:
        self.line = line
        self.method = method
        self.tool = params.get("name") if method == "tools/call" else None
        client_id = _object(params.get("arguments")).get("client_id")
        self.client_id = isinstance(client_id, str) and client_id != ""
        self.end = end
        self.attempts = 0


class Ledger:
    """What passed between client and owner, as far as a new owner must be told of it."""

    def __init__(self) -> None:
        self.repeatable: frozenset[str] = frozenset()
        """Tools that may run twice for one call, as the owner says."""
        self.unanswered_bytes = 0
        self.moot: set[RequestId] = set()
        """Ids of questions that a lost owner asked the client; an answer to one is for nobody."""
        self._unanswered: dict[RequestId, _Request] = {}
        self._asked: set[RequestId] = set()
        self._initialize: Object | None = None
        self._initialize_answered = False
        self._initialized = b""
        self._subscribed: dict[str, Object] = {}
        self._replays = 0

    def waiting(self) -> bool:
        """Whether the client waits for an answer that will come by itself."""
        return any(request.method != LISTEN for request in self._unanswered.values())

    def from_client(self, line: bytes, end: int) -> None:
        """Note a line of the client; `end` counts bytes for the owner up to and with this line."""
        message = _parse(line)
        if message is None:
            return
        method = message.get("method")
        request_id = _request_id(message)
        if not isinstance(method, str):
            if request_id is not None:
                self._asked.discard(request_id)
            return
        params = _object(message.get("params"))
        if request_id is None:
            self._notified(line, method, params)
            return
        self._settle(request_id)
        self._unanswered[request_id] = _Request(line, method, params, end)
        self.unanswered_bytes += len(line)
        if method == "initialize":
            self._initialize, self._initialize_answered = message, False
        elif method in ("resources/subscribe", "resources/unsubscribe"):
            uri = params.get("uri")
            if isinstance(uri, str):
                self._subscribed.pop(uri, None)
                if method == "resources/subscribe":
                    self._subscribed[uri] = message

    def from_owner(self, line: bytes) -> bool:
        """Note a line of the owner; whether the client gets it."""
        if line.startswith(_METHOD_FIRST):
            return True
        found = _id_in_head(line)
        if found is not None:
            request_id, is_question = found[0], line.startswith(b'"method":', found[1] + 1)
        else:
            message = _parse(line)
            request_id = None if message is None else _request_id(message)
            is_question = message is not None and "method" in message
        if request_id is None:
            return True
        if is_question:
            self._asked.add(request_id)
            self.moot.discard(request_id)
            return True
        if self._replays and isinstance(request_id, str) and request_id.startswith(_REPLAY):
            self._replays -= 1
            return False
        request = self._settle(request_id)
        if request is not None and request.method == "initialize":
            self._initialize_answered = True
        return True

    def without_moot(self, lines: bytes) -> bytes:
        """The client's lines but for answers to questions of an owner that is gone."""
        kept: list[bytes] = []
        for line in lines_of(lines):
            message = _parse(line)
            request_id = None if message is None or "method" in message else _request_id(message)
            if request_id is not None and request_id in self.moot:
                self.moot.discard(request_id)
            else:
                kept.append(line + b"\n")
        return b"".join(kept)

    def lost(self, sent: int, base: int) -> tuple[bytes, bytes]:
        """The owner is gone: lines for the next one, and lines for the client.

        `sent` bytes went to the lost owner (0 if it never began a session); the next one's lines start at byte `base`.
        """
        to_client = [_withdrawn(request_id) for request_id in self._asked]
        self.moot |= self._asked
        self._asked.clear()
        to_owner = list(self._replay())
        offset = base + sum(map(len, to_owner))
        for request_id, request in list(self._unanswered.items()):
            if request.end <= sent:
                request.attempts += 1
                if request.attempts >= SEND_ATTEMPTS or not self._may_repeat(request):
                    self._settle(request_id)
                    to_client.append(_error(request_id, -32000, _outcome_unknown(request)))
                    continue
            offset += len(request.line) + 1
            request.end = offset
            to_owner.append(request.line + b"\n")
        return b"".join(to_owner), b"".join(to_client)

    def _notified(self, line: bytes, method: str, params: Object) -> None:
        if method == "notifications/initialized":
            self._initialized = line + b"\n"
        elif method == "notifications/cancelled":
            # A cancelled request is never answered, and must not run again.
            request_id = _request_id({"id": params.get("requestId")})
            if request_id is not None:
                self._settle(request_id)

    def _settle(self, request_id: RequestId) -> _Request | None:
        request = self._unanswered.pop(request_id, None)
        if request is not None:
            self.unanswered_bytes -= len(request.line)
        return request

    def _may_repeat(self, request: _Request) -> bool:
        return request.method != "tools/call" or request.client_id or request.tool in self.repeatable

    def _replay(self) -> Iterator[bytes]:
        """The client's standing with an owner: its handshake and its subscriptions, of the protocol that has them."""
        import json

        self._replays = 0
        if self._initialize is None or not self._initialize_answered:
            return
        for message in (self._initialize, *self._subscribed.values()):
            self._replays += 1
            yield json.dumps({**message, "id": f"{_REPLAY}{self._replays}"}, separators=(",", ":")).encode() + b"\n"
            if message is self._initialize and self._initialized:
                yield self._initialized


def _outcome_unknown(request: _Request) -> str:
    again = (
        "Call again with the same client_id." if request.client_id else "Look whether it took effect, or call again."
    )
    return f"The mail server restarted while this call was running, so its outcome is unknown. {again}"


def _withdrawn(request_id: RequestId) -> bytes:
    import json

    params = {"requestId": request_id, "reason": "The mail server restarted."}
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


# --- starting an owner -----------------------------------------------------------------------------------------------


class Starter:
    """Starts owners that outlive the bridge, and learns of their end without being their parent."""

    def __init__(self, data_dir: str, command: Sequence[str]) -> None:
        self._command = list(command)
        self._lock = os.path.join(data_dir, LOCK_NAME)
        self._log = os.path.join(data_dir, LOG_NAME)
        self._log_size = 0  # bytes in the log when an owner was last started
        self._alive = -1  # the read end of a pipe that the started owner holds open
        self._again_at = 0.0
        self._failures = 0

    def nobody_listens(self, now: float) -> None:
        """Start an owner unless the one started before still has to come up.

        Raises Leave when FAILED_STARTS owners in a row failed, OSError when processes cannot be started or the log
        cannot be written.
        """
        if self._alive >= 0:
            if not self._ended():
                return
            self.forget()
            # One that found the lock taken, or was killed, leaves without a word. One that fails says why, and what was
            # written while somebody has the lock may be that one's.
            words = self._words()
            self._failures = self._failures + 1 if words and self._lock_is_free() else 0
            if self._failures >= FAILED_STARTS:
                raise Leave(1, f"the mail server does not start; the end of {self._log}:\n{words}")
            self._again_at = now + SPAWN_STEP
        if now >= self._again_at:
            self._alive = self._spawn()

    def listens(self) -> None:
        """An owner began a session: earlier failures are history."""
        self._failures = 0
        self.forget()

    def forget(self) -> None:
        """Close our end of the pipe."""
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1

    def _ended(self) -> bool:
        poll = select.poll()
        poll.register(self._alive, select.POLLIN)
        return bool(poll.poll(0))

    def _lock_is_free(self) -> bool:
        import fcntl

        try:
            fd = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def _words(self) -> str:
        """The end of what owners wrote since one was last started."""
        try:
            with open(self._log, "rb") as log:
                log.seek(max(self._log_size, os.fstat(log.fileno()).st_size - LAST_WORDS))
                return log.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def _spawn(self) -> int:
        """Two forks, so that whoever kills this process with its children leaves the owner to its other clients."""
        log = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._log_size = os.fstat(log).st_size
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                if os.fork() == 0:
                    self._become_owner(log, write_end)
            finally:
                os._exit(0)
        os.close(log)
        os.close(write_end)
        os.waitpid(child, 0)
        return read_end

    def _become_owner(self, log: int, write_end: int) -> None:
        os.umask(0o077)
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, standard in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, standard)
        os.set_inheritable(write_end, True)
        # What the client's program leaked into us must not live on in the owner.
        os.closerange(3, write_end)
        os.closerange(write_end + 1, 1024)
        os.chdir("/")
        # The key is this client's and goes into its hello; the owner serves others.
        environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
        try:
            os.execve(self._command[0], self._command, environment)  # noqa: S606 - a fixed list, and no shell on purpose
        except OSError as error:
            _say(f"{self._command[0]}: {error.strerror}")


# --- the bridge ------------------------------------------------------------------------------------------------------


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
        answer = _parse(line)
        if answer is None or answer.get("daimon") != PROTOCOL:
            raise Leave(
                2, "the mail server that is running is of another version. End it, then start this client again."
            )
        if "error" in answer:
            raise Leave(3, _printable(str(answer["error"])))
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

    _parse(b"{}")
    signal.signal(signal.SIGTERM, _terminated)


def _terminated(_signal: int, _frame: object) -> None:
    raise _Terminated


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _say(text: str) -> None:
    """To the person who looks at stderr. By descriptor, since print without a stderr would write to stdout."""
    try:
        os.write(2, f"daimon-mcp: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return


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
        _say(str(leave))
        return leave.code
    except OSError as error:
        _say(f"{error.filename or 'cannot start'}: {error.strerror}")
        return 1
    except _Terminated:
        return 0
    except KeyboardInterrupt:
        return 130
