"""SMTP connections on our own loop: bytes in and out, limits, time-outs, TLS, an orderly end. No command but STARTTLS.

`Connection` is aiosmtpd's `SMTP` with its handler contract, session and envelope, but does its own reading. aiosmtpd's
has no bound on DATA without line ends, takes a bare LF for a line end, shows exception text to the peer, and closes on
a time-out without a word. Here every byte that is kept is counted, only CRLF ends a line, only CRLF.CRLF ends a
message, and each end that is not the peer's own is announced with 421 (RFC 5321 §3.8).

Replies are held back until we wait for the peer again, so a group of pipelined commands gets one write (RFC 2920).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

from aiosmtpd.smtp import SMTP

from daimon_mcp.domain.clock import SECOND, Clock
from daimon_mcp.faces.smtp import replies
from daimon_mcp.logs import WIRE, new_cid, one_line

log = logging.getLogger(__name__)
wire_log = logging.getLogger(WIRE)

MAX_LINE: Final = 2048  # octets of a command with its CRLF; RFC 5321 §4.5.3.1.4 asks for 512, SMTPUTF8 for more
LINE_FLOOD: Final = 65_536  # octets without a line end that make us hang up
ROOM: Final = 65_536  # octets held before reading stops; also how far content may pass its limit before it is dropped
TLS_SECONDS: Final = 15.0
MAX_LOGGED: Final = 500  # characters of one line of a conversation

_ENDS_A_GROUP: Final = frozenset({"EHLO", "HELO", "DATA", "STARTTLS"})
# A browser can be made to talk to this port; its request must not be read on for commands.
_HTTP: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_END_OF_CONTENT: Final = b"\r\n.\r\n"


@dataclass(frozen=True, slots=True)
class InboundLimits:
    """What one listener takes.

    Messages in octets as RFC 1870 counts them; `max_connections_per_address` counts an IPv6 /64 as one address.
    A command must be complete within `command_seconds`, content within that plus one second for every
    `data_bytes_per_second`; a session ends after `session_seconds`, and after `max_errors` replies of 5xx. When the
    listener ends, content under way has `close_seconds` to be answered, and so has any last reply to leave.
    All connections together hold at most `max_buffered_bytes` of content that is arriving or not yet answered; more is
    put off with 452. One message of the largest size always fits, even if that is more.
    """

    max_connections: int = 100
    max_connections_per_address: int = 20
    max_recipients: int = 50
    max_message_bytes: int = 10_485_760
    max_buffered_bytes: int = 134_217_728
    session_seconds: float = 1800.0
    command_seconds: float = 300.0
    data_bytes_per_second: int = 500
    max_errors: int = 50
    close_seconds: float = 5.0


class HangUp(Exception):
    """The session is over; `reply` is our last word, None if nobody listens."""

    def __init__(self, reply: str | None) -> None:
        super().__init__(reply)
        self.reply = reply


class BadLine(Exception):
    """A line that is not read as a command; `reply` says why. The session goes on with the next line."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


class NoRoom(Exception):
    """Content was read to its end but not kept: with it, all connections would have held too much."""


class Listener:
    """What the connections of one port share: limits, counts, and the end of it all."""

    def __init__(
        self, *, hostname: str, limits: InboundLimits, clock: Clock, starttls: ssl.SSLContext | None = None
    ) -> None:
        self.hostname = hostname
        self.limits = limits
        self.clock = clock
        self.starttls = starttls
        self.closing = False
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._sessions: set[asyncio.Task[None]] = set()
        self._none_left = asyncio.Event()
        self._buffered = 0
        self._most_buffered = max(limits.max_buffered_bytes, limits.max_message_bytes + ROOM)

    def hold(self, octets: int) -> bool:
        """Count `octets` more of content (fewer, if negative) as held; whether all there is now is not too much."""
        self._buffered += octets
        return self._buffered <= self._most_buffered

    def has_room(self) -> bool:
        """Whether more content can be begun: there is room for what one read brings in."""
        return self._buffered + ROOM <= self._most_buffered

    def admit(self, connection: Connection) -> bool:
        """Whether there is a place for `connection`; then it is taken until `left`."""
        key = _address_key(connection.address)
        if (
            self.closing
            or len(self._connections) >= self.limits.max_connections
            or self._addresses[key] >= self.limits.max_connections_per_address
        ):
            return False
        self._connections.add(connection)
        self._addresses[key] += 1
        return True

    def started(self, session: asyncio.Task[None]) -> None:
        """Remember the task that speaks for a connection, so that the end can wait for it."""
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    def left(self, connection: Connection) -> None:
        """Free the place of `connection`, if it has one."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        key = _address_key(connection.address)
        self._addresses[key] -= 1
        if not self._addresses[key]:
            del self._addresses[key]
        if self.closing and not self._connections:
            self._none_left.set()

    async def close(self) -> None:
        """End all sessions: with 421, the idle ones at once, those with content under way when it is answered.

        After `close_seconds` the rest are cut off, so it never takes much longer; what was not acknowledged stays with
        the peer.
        """
        self.closing = True
        if not self._connections:
            self._none_left.set()
        for connection in self._connections:
            connection.wake()
        if sessions := set(self._sessions):
            _, late = await asyncio.wait(sessions, timeout=self.limits.close_seconds)
            for session in late:
                session.cancel()
            if late:
                await asyncio.wait(late, timeout=1)
        if not await self._emptied():
            for connection in tuple(self._connections):
                connection.abort()
            await self._emptied()

    async def _emptied(self) -> bool:
        try:
            async with asyncio.timeout(1):
                await self._none_left.wait()
        except TimeoutError:
            return False
        return True


class Connection(SMTP):
    """One peer: whole lines and whole contents in, reply lines out. Subclasses add the commands as `smtp_…` methods.

    A lost connection does not cancel what is being done for it: content that has arrived is stored or refused.
    """

    def __init__(self, listener: Listener, handler: object) -> None:
        self.cid = ""
        self.address = ""
        self._listener = listener
        self._limits = listener.limits
        self._wire: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._room = ROOM
        self._received = 0
        self._ended = False  # no more bytes will come
        self._deaf = False  # we have said our last word
        self._in_content = False
        self._held = 0  # octets of content the listener counts as ours
        self._arrived: asyncio.Future[None] | None = None
        self._out = bytearray()
        self._writable = asyncio.Event()
        self._writable.set()
        self._abort_timer: asyncio.TimerHandle | None = None
        self._errors = 0
        self._ends_at = listener.clock.now() + int(listener.limits.session_seconds * SECOND)
        super().__init__(
            handler,
            data_size_limit=listener.limits.max_message_bytes,
            enable_SMTPUTF8=True,
            hostname=listener.hostname,
            loop=asyncio.get_running_loop(),
        )
        self._smtp_methods.pop("AUTH", None)  # nobody logs in here

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection and greet it, or answer 421 in place of a greeting."""
        self._wire = cast("asyncio.Transport", transport)
        self._new_session()
        if not self._listener.admit(self):
            log.info("refused a connection from %s: too many", self.address)
            self._wire.write(f"{replies.TOO_MANY_CONNECTIONS}\r\n".encode())
            self._hang_up()
            return
        self._handler_coroutine = self.loop.create_task(self._handle_client())
        self._listener.started(self._handler_coroutine)

    def data_received(self, data: bytes) -> None:
        """Keep what came; stop reading while there is more than we want to hold."""
        if self._deaf:
            return
        self._buffer += data
        self._received += len(data)
        if len(self._buffer) > self._room and self._wire is not None and not self._wire.is_closing():
            self._wire.pause_reading()
        self.wake()

    def eof_received(self) -> bool:
        """The peer has no more to say; it may still wait for replies, except over TLS."""
        self._ended = True
        self.wake()
        return self.session is not None and self.session.ssl is None and not self._deaf

    def connection_lost(self, error: Exception | None) -> None:
        """Free our place; the task of this session finds out by itself."""
        self._ended = True
        self._deaf = True
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._wire = None
        self._writable.set()
        self.wake()
        self._listener.left(self)
        asyncio.StreamReaderProtocol.connection_lost(self, error)

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._writable.set()

    # What the listener calls.

    def wake(self) -> None:
        """Make a session that waits for its peer look around."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def abort(self) -> None:
        """Drop the connection with everything unsent."""
        if self._wire is not None:
            self._wire.abort()

    # The session.

    async def push(self, status: str | bytes) -> None:
        """Answer with `status`, lines separated by CRLF. Raises HangUp when that was one error too many."""
        line = status.decode() if isinstance(status, bytes) else status
        self._answer(line)
        if line.startswith("5"):
            self._errors += 1
            if self._errors >= self._limits.max_errors:
                raise HangUp(replies.TOO_MANY_ERRORS)

    async def handle_exception(self, error: Exception) -> str:
        """Log `error` under our cid; the reply names the cid and nothing else."""
        log.error("internal error in an SMTP session", exc_info=error)
        return replies.internal_error(self.cid)

    async def read_content(self) -> bytes | None:
        """The message after 354: up to CRLF.CRLF, that dot line gone and doubled dots undone (RFC 5321 §4.5.2).

        None if it has more octets than allowed: it was read to its end but not kept. Raises NoRoom when it was not
        kept because of what all connections hold, and HangUp when the peer is too slow, or sends more than twice what
        is allowed. The bytes are as sent, a bare CR or LF included. What is returned counts as held until
        `release_content`, which must be called whatever comes of this.
        """
        limit = self._limits.max_message_bytes
        started = self.loop.time()
        dropped = looked_at = 0
        no_room = False
        self._buffer[:0] = b"\r\n"  # the end of the DATA line: a dot right behind it ends an empty message
        with self._reading_content(limit + ROOM):
            while (end := self._buffer.find(_END_OF_CONTENT, looked_at)) < 0:
                size = dropped + len(self._buffer)
                if size > 2 * limit + ROOM:
                    raise HangUp(replies.CONTENT_WITHOUT_END)
                if not dropped:
                    no_room = not self._hold(len(self._buffer))
                if dropped or no_room or len(self._buffer) > limit + ROOM:
                    more = max(0, len(self._buffer) - len(_END_OF_CONTENT))
                    dropped += more
                    del self._buffer[:more]
                    self._hold(0)
                looked_at = max(0, len(self._buffer) - len(_END_OF_CONTENT) + 1)
                spent = self.loop.time() - started
                earned = self._limits.command_seconds + size / self._limits.data_bytes_per_second
                await self._more(min(self._limits.command_seconds, earned - spent))
            with memoryview(self._buffer) as view:
                raw = b"" if dropped else bytes(view[: end + 2])
            del self._buffer[: end + len(_END_OF_CONTENT)]
        no_room = no_room or not self._hold(len(raw))
        if no_room:
            raise NoRoom
        content = raw.replace(b"\r\n.", b"\r\n")[2:]
        size = dropped or len(content)
        if wire_log.isEnabledFor(logging.DEBUG):
            wire_log.debug("C: [%d octets]", size)
        return None if size > limit else content

    def release_content(self) -> None:
        """The content that was read last is answered and forgotten."""
        self._hold(0)

    def _hold(self, octets: int) -> bool:
        """Have `octets` of content counted as held by us; whether all connections together may hold that much."""
        more = octets - self._held
        self._held = octets
        return self._listener.hold(more)

    async def smtp_STARTTLS(self, arg: str | None) -> None:  # type: ignore[override]
        """RFC 3207; out-of-step bytes were refused before, so nothing sent in clear is read as if it came over TLS."""
        assert self.session is not None
        if arg:
            return await self.push(replies.SYNTAX.format(syntax="STARTTLS"))
        if self._listener.starttls is None:
            return await self.push(replies.NOT_IMPLEMENTED)
        if self.session.ssl is not None:
            return await self.push(replies.TLS_ALREADY)
        if self._wire is None:
            raise HangUp(None)
        self._wire.pause_reading()  # before the peer may start its handshake, or its first bytes arrive here
        await self.push(replies.START_TLS)
        await self._flush()
        upgraded = None
        try:
            upgraded = await self.loop.start_tls(
                self._wire,
                self,
                self._listener.starttls,
                server_side=True,
                ssl_handshake_timeout=TLS_SECONDS,
                ssl_shutdown_timeout=self._limits.close_seconds,
            )
        except OSError as error:  # SSLError, time-out and reset are all of them
            log.info("TLS handshake with %s failed: %.200r", self.address, error)
        if upgraded is None:
            self.connection_lost(None)  # the loop tells us only of connections whose handshake succeeded
            raise HangUp(None)
        self._wire = upgraded
        self._new_session()
        self.session.ssl = {"sslcontext": self._listener.starttls}

    def _new_session(self) -> None:
        assert self._wire is not None
        peer = cast("tuple[object, ...] | None", self._wire.get_extra_info("peername"))
        self.address = _plain_address(str(peer[0])) if peer else ""
        if self.session is None:
            self.session = self._create_session()
            self.session.peer = self.address
        self.session.host_name = None
        self.session.extended_smtp = False
        self._set_rset_state()

    async def _handle_client(self) -> None:
        self.cid = new_cid()
        log.debug("connection from %s", self.address)
        try:
            await self._converse()
        except HangUp as hang_up:
            if hang_up.reply is not None:
                self._answer(hang_up.reply)
        except asyncio.CancelledError:
            self._answer(replies.CLOSING)
            raise
        except Exception as error:  # noqa: BLE001  the last catch: whatever it is, the peer gets an id and no more
            await self.handle_exception(error)
            self._answer(replies.internal_error_closing(self.cid))
        finally:
            self._hang_up()
            log.debug("end of the connection from %s", self.address)

    async def _converse(self) -> None:
        self._answer(f"220 {self.hostname} ESMTP")
        while True:
            try:
                line = await self._line()
            except BadLine as bad:
                await self.push(bad.reply)
            else:
                await self._command(line)

    async def _command(self, line: bytes) -> None:
        name, _, rest = line.partition(b" ")
        verb = name.upper().decode("ascii", "replace")
        if verb in _HTTP:
            raise HangUp(replies.NOT_SMTP)
        if verb in _ENDS_A_GROUP and self._buffer:
            raise HangUp(replies.OUT_OF_STEP)
        method = self._smtp_methods.get(verb)
        if method is None:
            return await self.push(replies.UNKNOWN_COMMAND)
        try:
            argument = rest.decode("utf-8").strip(" ")
        except UnicodeDecodeError:
            return await self.push(replies.NOT_UTF8)
        if any(character < " " or character == "\x7f" for character in argument):
            return await self.push(replies.CONTROL_CHARACTERS)
        try:
            await method(argument or None)
        except HangUp:
            raise
        except Exception as error:
            if self._in_content:  # where the next command starts is not known any more
                raise
            await self.push(await self.handle_exception(error))

    async def _line(self) -> bytes:
        """The next command without its CRLF. Raises BadLine, and HangUp when it does not come."""
        deadline = self.loop.time() + self._limits.command_seconds
        dropped = 0
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                dropped += len(self._buffer)
                self._buffer.clear()
            if dropped > LINE_FLOOD:
                raise HangUp(replies.LINE_WITHOUT_END)
            await self._more(deadline - self.loop.time())
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        _trace("C", line.removesuffix(b"\n").removesuffix(b"\r"))
        if dropped or len(line) > MAX_LINE:
            raise BadLine(replies.LINE_TOO_LONG)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise BadLine(replies.BARE_LINE_END)
        return line[:-2]

    async def _more(self, seconds: float) -> None:
        """Send what has been answered so far, then wait until there are more bytes. Raises HangUp when none come."""
        before = self._received
        await self._flush()
        if self._listener.closing and not self._in_content:
            raise HangUp(replies.CLOSING)
        session = self._listener.clock.seconds_until(self._ends_at)
        if session <= 0:
            raise HangUp(replies.SESSION_TOO_LONG)
        if self._received != before:
            return
        if self._ended:
            raise HangUp(None)
        self._arrived = self.loop.create_future()
        if self._wire is not None and not self._wire.is_closing():
            self._wire.resume_reading()
        try:
            async with asyncio.timeout(min(seconds, session)):
                await self._arrived
        except TimeoutError:
            raise HangUp(replies.SESSION_TOO_LONG if session <= seconds else replies.TIMED_OUT) from None
        finally:
            self._arrived = None

    @contextmanager
    def _reading_content(self, room: int) -> Generator[None]:
        self._in_content = True
        self._room = room
        yield
        self._room = ROOM  # not after an exception: there is no next command then
        self._in_content = False

    def _answer(self, reply: str) -> None:
        for line in reply.split("\r\n"):
            _trace("S", line.encode())
        self._out += reply.encode() + b"\r\n"

    def _write_out(self) -> None:
        if self._out and self._wire is not None and not self._wire.is_closing():
            self._wire.write(bytes(self._out))
        self._out.clear()

    async def _flush(self) -> None:
        self._write_out()
        try:
            async with asyncio.timeout(self._limits.command_seconds):
                await self._writable.wait()
        except TimeoutError:
            raise HangUp(None) from None

    def _hang_up(self) -> None:
        """Let our last words leave, but not for ever."""
        self._write_out()
        self._deaf = True
        self._buffer.clear()
        if self._wire is not None:
            self._wire.close()
            self._abort_timer = self.loop.call_later(self._limits.close_seconds, self.abort)


def _plain_address(host: str) -> str:
    """`host` without a zone, and as IPv4 where it is IPv4 mapped into IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(getattr(address, "ipv4_mapped", None) or address)


def _address_key(address: str) -> str:
    """What one peer can have many of counts as one: the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False))


def _trace(who: str, line: bytes) -> None:
    """One line of a conversation, escaped so that it can be cut out of a log and played again."""
    if wire_log.isEnabledFor(logging.DEBUG):
        text = one_line(line[: MAX_LOGGED * 4].replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace"))
        wire_log.debug("%s: %s", who, text if len(text) <= MAX_LOGGED else f"{text[:MAX_LOGGED]}…")
