"""The one owner process of a data folder: its lock, its socket, the sessions on it, and when it may leave.

Of several owners started at once all but one must be gone quickly: so nothing dear is imported up here, and a process
calls `lock`, then `bind_socket`, and only then imports what it is going to serve. Bridges can connect from that moment
on, and wait. What a session is, this module is told by its caller.

Leaving goes: close and unlink the socket (`accept_sessions` returns), end what is running, `Lock.release`. A bridge
that connects in between finds nobody, or a connection that ends without a word; both mean to it "try again, and start
an owner", and an owner started too early finds the lock taken and goes. So nobody may unlink the socket after the lock
is released: it could be the next owner's.
"""

from __future__ import annotations

import fcntl
import os
import stat

from daimon_mcp.shim import LOCK_NAME, PROTOCOL, check_socket_folder, make_data_folder, socket_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Awaitable, Callable, Mapping

    import anyio

    Answer = Callable[["Hello"], Awaitable[Mapping[str, object]]]
    Serve = Callable[["Hello", "SessionStreams"], Awaitable[None]]

HELLO_LIMIT = 64 * 1024
"""Bytes in the first line of a connection."""

HELLO_SECONDS = 5.0
FIRST_SESSION_SECONDS = 10.0
ASK_AGAIN_SECONDS = 0.2
CLOSE_SECONDS = 1.0
BACKLOG = 128
ACCEPT_AGAIN_SECONDS = 0.1
NOT_A_BRIDGE = "this socket is for daimon-mcp's own bridge"


class HelloRefused(Exception):
    """The session will not be served; the text is for the person who started the client."""


class Lock:
    """The right to open the data folder, held until `release` or the end of the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Let another process have it. The file stays: deleting it would let two processes hold two locks."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def lock(data_dir: str, kind: str) -> Lock | None:
    """Take the lock of a data folder, or None when another process has it. Creates the folder, 0700.

    `kind` is a word for people; `daimon.lock` holds it after the process id. Raises OSError.
    """
    make_data_folder(data_dir)
    path = os.path.join(data_dir, LOCK_NAME)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if _is_file_at(fd, path):
            break
        os.close(fd)  # the folder was deleted and made again between the two calls
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {kind}\n".encode(), 0)
    return Lock(fd)


def _is_file_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


class Listener:
    """The socket on which bridges find the owner."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self.socket = sock
        self.path = path
        self._file = os.stat(path)

    def close(self) -> None:
        """Stop listening, and unlink the path if it is still this socket's. Again does nothing."""
        if self.socket.fileno() < 0:
            return
        self.socket.close()
        try:
            if os.path.samestat(self._file, os.stat(self.path)):
                os.unlink(self.path)
        except FileNotFoundError:
            return


def bind_socket(data_dir: str) -> Listener:
    """Listen on the data folder's socket, 0600. Only for the holder of the lock: a socket left there is unlinked.

    Sets the process's umask for a moment, so threads come later. Raises OSError; FileExistsError when something that
    is no socket has its name, PermissionError when the folder for sockets with long names is not ours.
    """
    import socket

    path = socket_path(data_dir)
    before = os.umask(0o177)
    try:
        if os.path.dirname(path) != os.path.realpath(data_dir):
            os.umask(0o077)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            check_socket_folder(path)
            os.umask(0o177)
        try:
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise FileExistsError(f"{path} is in the way")
            os.unlink(path)
        except FileNotFoundError:
            pass  # nobody left one
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.bind(path)
    finally:
        os.umask(before)
    sock.listen(BACKLOG)
    return Listener(sock, path)


class Hello:
    """What a bridge said about its client.

    `api_key` and `profile` are None when the client was started without; `read_only` may only narrow what the session
    may do. `pid` is the bridge's process where the kernel tells, else None.
    """

    __slots__ = ("api_key", "pid", "profile", "read_only", "version")

    def __init__(
        self, *, version: str, api_key: str | None, profile: str | None, read_only: bool, pid: int | None
    ) -> None:
        self.version = version
        self.api_key = api_key
        self.profile = profile
        self.read_only = read_only
        self.pid = pid


class SessionStreams:
    """A connection after its hello. `accept_sessions` closes it when `serve` returns."""

    __slots__ = ("reader", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer


def read_hello(line: bytes, pid: int | None) -> Hello:
    """The hello in a connection's first line. Raises HelloRefused."""
    import json

    try:
        said: object = json.loads(line)
    except (ValueError, RecursionError):
        raise HelloRefused(NOT_A_BRIDGE) from None
    match said:
        case {"daimon": int(protocol)} if protocol != PROTOCOL:
            raise HelloRefused(f"the running server speaks protocol {PROTOCOL} with its bridge, not {protocol}")
        case {
            "daimon": int(),
            "version": str(version),
            "api_key": str() | None as api_key,
            "profile": str() | None as profile,
            "read_only": bool(read_only),
        }:
            return Hello(version=version, api_key=api_key, profile=profile, read_only=read_only, pid=pid)
        case _:
            raise HelloRefused(NOT_A_BRIDGE)


class IdleWatch:
    """Counts sessions, and says when there has been none for `idle_seconds` and `may_leave` agrees.

    `may_leave` is asked again every `idle_seconds`, or ASK_AGAIN_SECONDS if that is more, for as long as it says no.
    Whoever started the owner gets FIRST_SESSION_SECONDS to arrive, however short `idle_seconds` is.
    """

    def __init__(self, idle_seconds: float, may_leave: Callable[[], Awaitable[bool]]) -> None:
        self.sessions = 0
        self._idle_seconds = idle_seconds
        self._may_leave = may_leave
        self._patience = max(idle_seconds, FIRST_SESSION_SECONDS)
        self._changed: anyio.Event | None = None

    def began(self) -> None:
        """A connection was accepted."""
        self.sessions += 1
        self._patience = self._idle_seconds
        self._tell()

    def ended(self) -> None:
        """A connection is over."""
        self.sessions -= 1
        self._tell()

    async def wait(self) -> None:
        """Return when the owner may leave; there is no session at that moment."""
        import anyio

        while True:
            changed = self._changed = anyio.Event()
            if self.sessions:
                await changed.wait()
                continue
            with anyio.move_on_after(self._patience):
                await changed.wait()
            if changed.is_set():
                continue
            if await self._may_leave():
                if not self.sessions:
                    return
            else:  # something keeps us here: ask again, but never without a pause
                self._patience = max(self._idle_seconds, ASK_AGAIN_SECONDS)

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()


async def accept_sessions(listener: Listener, *, answer: Answer, serve: Serve, idle: IdleWatch | None = None) -> None:
    """Serve every bridge that connects, until `idle` lets the owner leave, or until cancelled. Closes the listener.

    `answer` gives what the bridge is told in return for its hello: `repeatable`, the tools that may run twice for one
    call, and `version`; it refuses by raising HelloRefused. Then `serve` runs the session, and may raise: a session
    that breaks is logged, and hurts no other. Neither sees a connection of another user of this machine.

    When cancelled, connections are cut before their sessions are: a bridge then sees that its owner is gone and takes
    its open calls to the next one, where a polite last error would make its client give them up.
    """
    import asyncio

    import anyio

    live: set[_Session] = set()

    async def run(session: _Session) -> None:
        try:
            await session.run(answer, serve)
        finally:
            live.discard(session)
            if idle is not None:
                idle.ended()

    async def accept() -> None:
        while True:
            session = _Session(await _accept(listener.socket))
            live.add(session)
            if idle is not None:
                idle.began()
            sessions.start_soon(run, session)

    async with anyio.create_task_group() as sessions:
        try:
            if idle is None:
                await accept()
            else:
                async with anyio.create_task_group() as accepting:
                    accepting.start_soon(accept)
                    await idle.wait()
                    # Closed in the same breath, so that no connection is taken in that nobody would serve.
                    asyncio.get_running_loop().remove_reader(listener.socket)
                    listener.close()
                    accepting.cancel_scope.cancel()
        finally:
            listener.close()
            for session in live:
                session.cut()


async def _accept(listening: socket.socket) -> socket.socket:
    """The next connection of our own user."""
    import asyncio
    import logging

    import anyio

    log = logging.getLogger(__name__)
    while True:
        try:
            connection, _ = await asyncio.get_running_loop().sock_accept(listening)
        except OSError as error:
            # A caller that went away again, or no descriptor left: neither may end the owner.
            log.warning("cannot accept a connection: %s", error)
            await anyio.sleep(ACCEPT_AGAIN_SECONDS)
            continue
        peer = _peer(connection)
        if peer is None or peer[1] == os.getuid():
            return connection
        connection.close()
        log.warning("refused a connection of user %d", peer[1])


def _peer(connection: socket.socket) -> tuple[int, int] | None:
    """Process id and user id of the other side; None where the kernel does not tell (the socket's mode guards it)."""
    import socket
    import struct

    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return pid, uid


class _Session:
    """One connection, from accept to close."""

    def __init__(self, connection: socket.socket) -> None:
        import anyio

        self._connection = connection
        self._writer: asyncio.StreamWriter | None = None
        # Shielded, so that a cancelled owner cuts the connection first; `cut` cancels it then.
        self._scope = anyio.CancelScope(shield=True)

    def cut(self) -> None:
        """End the connection now, unsent bytes and all, and then the session."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._scope.cancel()

    async def run(self, answer: Answer, serve: Serve) -> None:
        """Hello, answer, session; never raises."""
        import logging

        with self._scope:
            try:
                await self._run(answer, serve)
            except (ConnectionError, EOFError):
                return  # the bridge went away, which it may at any time
            except Exception:
                logging.getLogger(__name__).exception("a session failed")
            finally:
                await self._close()

    async def _run(self, answer: Answer, serve: Serve) -> None:
        import asyncio
        import json

        peer = _peer(self._connection)
        reader, self._writer = await asyncio.open_unix_connection(sock=self._connection, limit=HELLO_LIMIT)
        hello: Hello | None = None
        try:
            hello = read_hello(await _first_line(reader), None if peer is None else peer[0])
            facts = await _facts(answer, hello)
        except HelloRefused as refused:
            facts = {"error": str(refused)}
        self._writer.write(json.dumps({"daimon": PROTOCOL, **facts}).encode() + b"\n")
        await self._writer.drain()
        if hello is not None and "error" not in facts:
            await serve(hello, SessionStreams(reader, self._writer))

    async def _close(self) -> None:
        import anyio

        writer = self._writer
        if writer is None:
            self._connection.close()
            return
        writer.close()
        with anyio.move_on_after(CLOSE_SECONDS, shield=True) as patience:
            try:
                await writer.wait_closed()
            except OSError:
                return
        if patience.cancelled_caught:
            writer.transport.abort()


async def _first_line(reader: asyncio.StreamReader) -> bytes:
    import asyncio

    import anyio

    try:
        with anyio.fail_after(HELLO_SECONDS):
            return await reader.readuntil(b"\n")
    except (TimeoutError, asyncio.LimitOverrunError):
        raise HelloRefused(NOT_A_BRIDGE) from None


async def _facts(answer: Answer, hello: Hello) -> Mapping[str, object]:
    try:
        return await answer(hello)
    except HelloRefused:
        raise
    except Exception:
        import logging

        logging.getLogger(__name__).exception("a hello could not be answered")
        raise HelloRefused("the mail server could not begin a session; owner.log in its data folder says why") from None
