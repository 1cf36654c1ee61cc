"""The connection under an SMTP session: octets out with flow control, replies in with a time limit, TLS between.

Nothing is said while an answer lies there that nobody asked for: a peer that is out of step, or somebody between who
slips answers in, would have its words taken for the answer to something else.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Final, cast

from daimon_mcp.logs import WIRE, one_line
from daimon_mcp.workers.smtp_reply import MAX_TEXT, BadReply, Lost, Reply, ReplyParser

wire_log = logging.getLogger(WIRE)

MAX_UNREAD: Final = 1_048_576  # octets of replies that nobody took
SHUTDOWN_SECONDS: Final = 5.0  # for the end of a TLS session, in the background


class Wire(asyncio.Protocol):
    """One TCP connection to a server, for one task at a time. All errors are `Lost`, and the end of it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = ReplyParser()
        self._unread = 0
        self._gone: str | None = None  # why there is no connection any more
        self._answer: asyncio.Future[None] | None = None
        self._paused = False
        self._room: asyncio.Future[None] | None = None
        self._limit = 0.0  # loop time at which whoever waits gives up
        self._late = ""
        self._watch: asyncio.TimerHandle | None = None

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._gone is not None:
            return
        self._unread += len(data)
        try:
            self._parser.feed(data)
            if self._unread > MAX_UNREAD:
                raise BadReply("the reply is too long")
        except BadReply as error:
            self.abort(str(error))
        if self._parser.replies:
            self._wake(self._answer)
            self._wake(self._room)  # who writes content need not wait for a peer that has made up its mind

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"connection lost: {exc}" if exc is not None and str(exc) else "connection lost")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake(self._room)

    # What a session calls.

    @property
    def alive(self) -> bool:
        """Whether it can be used, as far as anybody can know."""
        return self._gone is None and self._transport is not None and not self._transport.is_closing()

    @property
    def pending(self) -> bool:
        """Whether something has come from the peer that nobody took."""
        return self._parser.pending

    def send(self, data: bytes) -> None:
        """Write, without waiting. Raises Lost, and then nothing was written."""
        if self._parser.pending:
            self.abort("the server answered out of turn")
        if self._gone is not None or self._transport is None:
            raise Lost(self._gone or "not connected")
        if self._transport.is_closing():
            raise Lost("connection lost")
        self._transport.write(data)

    async def drained(self, timeout: float) -> None:
        """Return once there is room to write more, in `timeout` seconds, or the peer has said something."""
        if self._paused and self._gone is None and not self._parser.replies:
            self._room = asyncio.get_running_loop().create_future()
            await self._wait(self._room, timeout, "the server did not take the content in time")
            self._room = None
        if self._gone is not None:
            raise Lost(self._gone)

    async def reply(self, timeout: float) -> Reply:
        """The next reply, in `timeout` seconds; also one that came before the connection was lost."""
        if not self._parser.replies:
            if self._gone is not None:
                raise Lost(self._gone)
            self._answer = asyncio.get_running_loop().create_future()
            await self._wait(self._answer, timeout, "timed out waiting for an answer")
            self._answer = None
            if not self._parser.replies:
                raise Lost(self._gone or "connection lost")
        reply = self._parser.replies.popleft()
        if not self._parser.replies:
            self._unread = 0
        if wire_log.isEnabledFor(logging.DEBUG):
            _trace(reply)
        return reply

    def early_reply(self) -> Reply | None:
        """A reply that has come though nothing was asked; None without one."""
        return self._parser.replies.popleft() if self._parser.replies else None

    async def start_tls(self, context: ssl.SSLContext, server_name: str, timeout: float) -> None:
        """Go on over TLS, after the server's 220 to STARTTLS. Raises Lost, also for octets behind that 220.

        There must be no await between the reply and this call: what the peer sends after it belongs to TLS.
        """
        if self._parser.pending:  # said in clear, by whoever: it must not be heard as said over TLS (RFC 3207 §6)
            self.abort("the server said more behind its answer to STARTTLS")
        if not self.alive:
            raise Lost(self._gone or "connection lost")
        assert self._transport is not None
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self._transport,
                self,
                context,
                server_hostname=server_name,
                ssl_handshake_timeout=timeout,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except (OSError, ValueError) as error:  # ValueError: a name that cannot be asked for
            self.abort(str(error))
            raise Lost(str(error) or "connection lost") from None
        if transport is None or self._gone is not None:
            raise Lost("connection lost")
        self._transport = transport

    def tls_object(self) -> ssl.SSLObject | None:
        """The TLS session; None in clear."""
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    def close(self) -> None:
        """End the connection; what was written still leaves."""
        if self._transport is not None:
            self._transport.close()
        self._end("connection closed")

    def abort(self, why: str) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()
        self._end(why)

    # Inside.

    async def _wait(self, waiter: asyncio.Future[None], timeout: float, late: str) -> None:
        """Until `waiter` is done; after `timeout` seconds the connection is ended, which is one way of being done.

        The timer is left running for the next wait, because most answers come long before it: a timer for each would
        be a good part of the price of a message.
        """
        loop = asyncio.get_running_loop()
        self._limit, self._late = loop.time() + timeout, late
        if self._watch is None or self._watch.when() > self._limit:
            self._watch_until(self._limit)
        await waiter

    def _watch_until(self, limit: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = asyncio.get_running_loop().call_at(limit, self._look)

    def _look(self) -> None:
        """The timer: nobody may wait at all, or may have begun to later."""
        self._watch = None
        if not any(waiter is not None and not waiter.done() for waiter in (self._answer, self._room)):
            return
        if asyncio.get_running_loop().time() < self._limit:
            self._watch_until(self._limit)
        else:
            self.abort(self._late)

    def _end(self, why: str) -> None:
        if self._gone is None:
            self._gone = why
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._wake(self._answer)
        self._wake(self._room)

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _trace(reply: Reply) -> None:
    for line in reply.lines[:-1]:
        wire_log.debug("S: %d-%s", reply.code, one_line(line[:MAX_TEXT]))
    wire_log.debug("S: %d %s", reply.code, one_line(reply.lines[-1][:MAX_TEXT]))
