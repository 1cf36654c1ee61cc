"""The connection under an SMTP session: bytes, TLS, back-pressure, time, and a word before each end that is ours.

No task waits for an idle peer. A task lives while the core is asked something, and for a TLS handshake. A lost
connection does not cancel it: content that has arrived is stored or refused.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import ssl
from collections.abc import Coroutine
from typing import cast

from daimon_mcp.domain.clock import SECOND
from daimon_mcp.faces.smtp import replies
from daimon_mcp.faces.smtp.dialogue import Action, Ask, HangUp, Need
from daimon_mcp.faces.smtp.handshake import TLS_RECORD, start_tls
from daimon_mcp.faces.smtp.listener import Early, Listener, plain_address
from daimon_mcp.faces.smtp.service import ROOM
from daimon_mcp.faces.smtp.session import Session
from daimon_mcp.logs import cid, new_cid

log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One peer of a `listener`."""

    def __init__(self, listener: Listener) -> None:
        self.address = ""
        self._listener = listener
        self._limits = listener.service.limits
        self._clock = listener.service.clock
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None  # from the greeting on
        self._early = b""  # what came before
        self._listening = False  # the greeting is held back
        self._greeting_timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None  # what is done for the session, which waits for it
        self._upgrading = False  # a handshake is under way
        self._flushing = False  # the session goes on when the loop has been round
        self._ended = False  # no more bytes will come
        self._deaf = False  # we have said our last word, or nobody listens
        self._paused = False  # we do not read
        self._heard = 0  # epoch µs of the last bytes
        self._ends_at = 0
        self._stuck_since: int | None = None  # the peer does not read
        self._abort_at: int | None = None

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection and greet it, or answer 421 in place of a greeting."""
        self._transport = cast("asyncio.Transport", transport)
        peer: object = transport.get_extra_info("peername")
        host = cast("tuple[object, ...]", peer)[0] if isinstance(peer, tuple) and peer else ""
        self.address = plain_address(str(host))
        self._heard = self._clock.now()
        self._ends_at = self._heard + int(self._limits.session_seconds * SECOND)
        if not self._listener.admit(self):
            log.info("refused a connection from %s: too many", self.address)
            self._turn_away(None if self._listener.implicit_tls else replies.TOO_MANY_CONNECTIONS)
        elif self._listener.implicit_tls:
            self._work(self._tls_and_greeting())
        elif self._listener.early is Early.NOTHING:
            self._greet()
        elif self._limits.greeting_seconds:
            self._listening = True
            self._greeting_timer = self._loop.call_later(self._limits.greeting_seconds, self._greet_if_silent)
        else:
            self._listening = True
            self._greet_if_silent()

    def data_received(self, data: bytes) -> None:
        """Let the session have what came; stop reading while there is more than we want to hold."""
        session = self._session
        if self._deaf:
            return
        self._heard = self._clock.now()
        if session is None:
            self._early += data
            if self._listening:
                self._spoke_early()
            return
        if self._upgrading and self._transport is not None and self._transport.get_protocol() is self:
            self.abort()  # in clear: it must never be read as if it had come over TLS
            return
        session.receive(data)
        if self._waits_for_peer:
            self._go_on()
        cannot_go_on = self._working or self._flushing or self._stuck_since is not None
        if cannot_go_on and session.unread > ROOM and not self._upgrading:
            self._pause()

    def eof_received(self) -> bool:
        """The peer has no more to say; it may still wait for replies, except over TLS."""
        self._ended = True
        if self._listening:
            self._greet()
        elif self._waits_for_peer:
            self._go_on()
        return self._session is not None and not self._session.tls and not self._deaf

    def connection_lost(self, exc: Exception | None) -> None:
        """Free our place; what is being done for the session is done."""
        if self._transport is None:
            return
        self._transport = None
        self._ended = self._deaf = True
        self._stop_listening()
        if self._session is not None and not self._working:
            self._session.lost()
        self._listener.left(self)
        log.debug("end of the connection from %s", self.address)

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self._stuck_since = self._clock.now()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._stuck_since = None
        if self._waits_for_peer:
            self._go_on()

    # What the listener calls.

    @property
    def unread(self) -> int:
        """Octets received that the session has not taken yet."""
        return 0 if self._session is None else self._session.unread

    def check(self, now: int) -> None:
        if self._abort_at is not None:
            if now >= self._abort_at:
                self.abort()
        elif self._stuck_since is not None:
            if now >= self._stuck_since + int(self._limits.command_seconds * SECOND):
                self.abort()
        elif self._session is not None and self._waits_for_peer:
            if now >= self._ends_at:
                self._end(replies.SESSION_TOO_LONG)
            elif now >= self._session.due(self._heard):
                self._end(replies.TIMED_OUT)

    def wake(self) -> None:
        session = self._session
        if session is None:
            if self._listener.closing:
                self.cut_off()
        elif self._waits_for_peer and (reply := self._last_word(session)) is not None:
            self._end(reply)

    def cut_off(self) -> None:
        if self._working and self._task is not None:
            self._task.cancel()
        elif self._listening:
            self._turn_away(replies.CLOSING)
        elif self._session is not None and not self._deaf:
            self._end(replies.CLOSING)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # The session and what it needs.

    @property
    def _working(self) -> bool:
        return self._task is not None

    @property
    def _waits_for_peer(self) -> bool:
        """Whether the session can do nothing before the peer sends or reads more."""
        return not (self._working or self._flushing or self._deaf)

    def _greet_if_silent(self) -> None:
        """Greet, unless something of the peer's is there already, and only has to arrive here."""
        if self._transport is not None and not _has_spoken(self._transport):
            self._greet()

    def _greet(self, *, tls: bool = False) -> None:
        self._stop_listening()
        session = self._listener.start(self.address, new_cid())
        log.debug("connection from %s", self.address)
        if tls:
            session.started_tls()
        self._session = session
        session.receive(self._take_early())
        self._settle(session.advance())

    def _take_early(self) -> bytes:
        early, self._early = self._early, b""
        return early

    def _stop_listening(self) -> None:
        self._listening = False
        if self._greeting_timer is not None:
            self._greeting_timer.cancel()
            self._greeting_timer = None

    def _spoke_early(self) -> None:
        """See what a peer is that does not wait to be greeted."""
        self._stop_listening()
        if self._listener.early is Early.INTRUDER:
            log.info("refused a connection from %s: spoke before the greeting", self.address)
            self._turn_away(replies.EARLY_TALKER)
        elif self._early[0] == TLS_RECORD and self._listener.tls is not None:
            self._work(self._tls_and_greeting())
        else:
            self._greet()

    def _go_on(self) -> None:
        """Have the session look at what has come, unless the peer should read first."""
        if self._stuck_since is None and self._session is not None:
            cid.set(self._session.cid)
            self._settle(self._session.advance())

    def _last_word(self, session: Session) -> str | None:
        """What to end a session with that waits for its peer; None where it may go on."""
        if session.dismissed is not None:
            return session.dismissed
        return replies.CLOSING if self._listener.closing and not session.in_content else None

    def _end(self, reply: str) -> None:
        """End a session that waits for its peer."""
        if self._session is not None:
            cid.set(self._session.cid)
            self._settle(self._session.fail(HangUp(reply)))

    def _settle(self, action: Action) -> None:
        """See to what the session needs next."""
        session = self._session
        assert session is not None
        if isinstance(action, Ask):
            self._work(self._ask(session, action))
        elif action is Need.TLS:
            self._upgrading = True
            self._pause()  # before the peer may start its handshake, or its first bytes arrive here
            self._write(session)
            self._work(self._upgrade(session))
        elif action is Need.FLUSH:
            self._write(session)
            self._flushing = True
            self._loop.call_soon(self._flushed)
        elif action is Need.CLOSE:
            self._write(session)
            self._hang_up()
        else:
            self._write(session)
            if self._ended:
                session.lost()
                self._hang_up()
            elif (reply := self._last_word(session)) is not None:
                self._end(reply)
            elif self._stuck_since is None:
                self._resume()

    def _flushed(self) -> None:
        self._flushing = False
        if not self._deaf:
            self._go_on()

    def _work(self, steps: Coroutine[object, object, None]) -> None:
        self._task = self._loop.create_task(steps)

    async def _ask(self, session: Session, action: Action) -> None:
        """Ask the core, as often as the session wants, until it needs its peer."""
        try:
            while isinstance(action, Ask):
                try:
                    result = await action.call()
                except Exception as error:  # noqa: BLE001  the session says what becomes of it
                    action = session.fail(error)
                else:
                    action = session.advance(result)
        except asyncio.CancelledError:  # the listener has waited long enough
            action = session.fail(HangUp(replies.CLOSING))
        self._task = None
        if self._transport is None:
            session.lost()
        else:
            self._settle(action)

    async def _upgrade(self, session: Session) -> None:
        """STARTTLS: the session goes on over TLS."""
        secured = await self._start_tls()
        self._task = None
        self._upgrading = False
        if secured:
            self._paused = False  # the handshake has begun to read again
            self._settle(session.advance())
        else:
            session.lost()

    async def _tls_and_greeting(self) -> None:
        """Implicit TLS: as if the port had been made for it."""
        secured = await self._start_tls()
        self._task = None
        if secured:
            self._paused = False  # the handshake has begun to read again
            self._greet(tls=True)

    async def _start_tls(self) -> bool:
        """Handshake, with what has come of it already; False when it failed and the connection is gone."""
        context = self._listener.tls
        assert context is not None
        upgraded = None
        if self._transport is not None:
            try:
                upgraded = await start_tls(
                    self._transport,
                    self,
                    context,
                    early=self._take_early,
                    shutdown_seconds=self._limits.close_seconds,
                )
            except (OSError, ssl.SSLError, asyncio.CancelledError) as error:
                log.info("TLS handshake with %s failed: %.200r", self.address, error)
        if upgraded is None:
            self.abort()
            self.connection_lost(None)  # the loop tells us only of connections whose handshake succeeded
            return False
        self._transport = upgraded
        return True

    # Bytes out, and the end.

    def _write(self, session: Session) -> None:
        out = session.replies()
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(out)

    def _turn_away(self, reply: str | None) -> None:
        """End a connection that has no session."""
        if self._transport is not None and reply is not None:
            self._transport.write(f"{reply}\r\n".encode())
        self._hang_up()

    def _hang_up(self) -> None:
        """Let our last words leave, but not for ever."""
        self._deaf = True
        if self._transport is not None:
            self._transport.close()
            self._abort_at = self._clock.now() + int(self._limits.close_seconds * SECOND)

    def _pause(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._paused = True

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self._paused = False


def _has_spoken(transport: asyncio.Transport) -> bool:
    """Whether something of the peer's has arrived, be it its end."""
    poll = select.poll()
    poll.register(cast("socket.socket", transport.get_extra_info("socket")).fileno(), select.POLLIN)
    return bool(poll.poll(0))
