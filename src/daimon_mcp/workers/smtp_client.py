"""Getting into a server: connect, EHLO, TLS, login. What comes out of it is a `Client`, ready for messages."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, cast

from daimon_mcp.domain.queue import Attempt
from daimon_mcp.logs import WIRE, one_line
from daimon_mcp.workers.smtp_reply import Answerer, Lost, Reply
from daimon_mcp.workers.smtp_wire import SHUTDOWN_SECONDS, Wire

wire_log = logging.getLogger(WIRE)

QUIT_SECONDS: Final = 2.0

Security = Literal["none", "opportunistic", "starttls", "tls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One address to dial and how to get in there.

    `security`: "tls" from the first byte; "starttls", never skipped; "opportunistic", STARTTLS where it is offered;
    "none". `context` verifies or does not; `verify`, where given, has the last word, over the server's certificate
    chain (DER, its own first). `trust` is what a session that passed both is worth, in one word. `name` is asked for
    in TLS. `remote` is how we call this server when we tell of it.
    """

    host: str
    port: int
    name: str
    remote: str
    security: Security
    context: ssl.SSLContext | None = None
    trust: str = ""
    verify: Callable[[Sequence[bytes]], bool] | None = None
    username: str | None = None
    password: str = ""


class NotLetIn(Exception):
    """There is no session; `attempt`, always DEFERRED, says why. Nothing was handed over."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt.text)
        self.attempt = attempt


class TlsFailed(NotLetIn):
    """TLS was offered or demanded, and could not be had, or was not the server's that we want."""


class LoginFailed(NotLetIn):
    """The server does not take our user name and password, or no login at all."""


class Client:
    """A session with a server, until it is closed; for one task at a time. Made by `Client.enter`.

    `extensions` are the server's, keyword in upper case to parameters. `messages` counts transactions, `made_at` is
    loop time in seconds. `needs_reset`: the server may be in the middle of a transaction.
    """

    def __init__(self, way: Way, wire: Wire, hostname: str, timeout: float) -> None:
        self.wire = wire
        self.answers = Answerer(way.remote)
        self.extensions: dict[str, str] = {}
        self.messages = 0
        self.needs_reset = False
        self.made_at = asyncio.get_running_loop().time()
        self._way = way
        self._hostname = hostname
        self._timeout = timeout

    @classmethod
    async def enter(cls, way: Way, *, hostname: str, timeout: float, connect_timeout: float) -> Self:
        """Connect and get in. `hostname` is ours; `timeout` is seconds for each answer.

        Raises NotLetIn.
        """
        wire = Wire()
        try:
            async with asyncio.timeout(connect_timeout):
                await _dial(wire, way, connect_timeout)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            wire.close()
            kind = TlsFailed if isinstance(error, ssl.SSLError) else NotLetIn
            enhanced = "4.7.5" if isinstance(error, ssl.SSLError) else "4.4.1"
            words = "cannot connect" if isinstance(error, TimeoutError) else f"cannot connect: {error}"
            raise kind(Answerer(way.remote).deferred(words, enhanced)) from None
        client = cls(way, wire, hostname, timeout)
        try:
            await client._get_in()
        except Lost as error:
            client.abort()
            raise NotLetIn(client.answers.deferred(f"cannot connect: {error}", "4.4.2")) from None
        except BaseException:
            client.abort()
            raise
        return client

    @property
    def usable(self) -> bool:
        """Whether the next message can be tried on it: alive, and in step."""
        return self.wire.alive and not self.wire.pending

    async def ask(self, line: str, *, secret: bool = False) -> Reply:
        """Say one command and hear the answer. Raises Lost."""
        self.say([line], secret=secret)
        return await self.wire.reply(self._timeout)

    def say(self, lines: Sequence[str], *, secret: bool = False) -> None:
        """Write commands in one go. Raises Lost; ValueError for what would not stay one line."""
        for line in lines:
            if not line.isprintable():
                raise ValueError(f"a command with a control character in it: {line[:100]!r}")
        if wire_log.isEnabledFor(logging.DEBUG):
            for line in lines:
                wire_log.debug("C: %s", "[credentials]" if secret else one_line(line))
        self.wire.send(("\r\n".join(lines) + "\r\n").encode())

    async def quit(self) -> None:
        """Say goodbye, hear the answer if it comes within 2 s, and close."""
        try:
            self.say(["QUIT"])
            await self.wire.reply(QUIT_SECONDS)
        except Lost:
            pass
        finally:
            self.wire.close()

    def leave(self) -> None:
        """Close with QUIT (RFC 5321 §4.1.1.10), without waiting for the goodbye."""
        try:
            self.say(["QUIT"])
        except Lost:
            pass
        finally:
            self.wire.close()

    def abort(self) -> None:
        """Close at once: what would come next on this connection is anybody's guess."""
        self.wire.abort("connection closed")

    async def _get_in(self) -> None:
        way = self._way
        if way.security == "tls":
            self._check_tls()
        self._expect(await self.wire.reply(self._timeout))
        await self._hello()
        if way.security == "starttls" or (way.security == "opportunistic" and "STARTTLS" in self.extensions):
            await self._start_tls()
            await self._hello()  # what the server said before, anybody could have said (RFC 3207 §4.2)
        if way.username is not None:
            await self._log_in(way.username, way.password)

    async def _hello(self) -> None:
        self.extensions = {}
        reply = await self.ask(f"EHLO {self._hostname}")
        if reply.code // 100 == 5:  # older than 1993, or set up to look it
            self._expect(await self.ask(f"HELO {self._hostname}"))
            return
        self._expect(reply)
        for line in reply.lines[1:]:
            keyword, _, parameters = line.strip().partition(" ")
            self.extensions[keyword.upper()] = parameters

    async def _start_tls(self) -> None:
        way = self._way
        assert way.context is not None
        if "STARTTLS" not in self.extensions:
            raise TlsFailed(self.answers.deferred("STARTTLS is not offered", "4.7.4"))
        try:
            reply = await self.ask("STARTTLS")
            if reply.code != 220:
                raise TlsFailed(self.answers.put_off(reply))
            await self.wire.start_tls(way.context, way.name, self._timeout)
        except Lost as error:
            raise TlsFailed(self.answers.deferred(f"TLS failed: {error}", "4.7.5")) from None
        self._check_tls()

    def _check_tls(self) -> None:
        """What the session is worth, in `answers`. Raises TlsFailed if its certificate is not one we want."""
        session = self.wire.tls_object()
        if session is None:
            raise Lost("connection lost")
        if self._way.verify is not None and not self._way.verify(_chain(session)):
            raise TlsFailed(self.answers.deferred("the certificate does not match the TLSA records", "4.7.5"))
        self.answers = Answerer(self._way.remote, f"{session.version()} {self._way.trust}".strip())

    async def _log_in(self, username: str, password: str) -> None:
        """AUTH PLAIN, else LOGIN (RFC 4954, RFC 4616)."""
        offered = self.extensions.get("AUTH", "").upper().split()
        if "PLAIN" in offered:
            both = _base64(f"\0{username}\0{password}")
            reply = await self.ask(f"AUTH PLAIN {both}", secret=True)
        elif "LOGIN" in offered:
            reply = await self.ask("AUTH LOGIN")
            for answer in (username, password):
                if reply.code == 334:
                    reply = await self.ask(_base64(answer), secret=True)
        else:
            raise LoginFailed(self.answers.deferred("cannot log in: AUTH PLAIN or LOGIN is not offered"))
        if reply.code != 235:
            raise LoginFailed(self.answers.put_off(reply))

    def _expect(self, reply: Reply) -> None:
        if reply.code // 100 != 2:
            raise NotLetIn(self.answers.put_off(reply))


async def _dial(wire: Wire, way: Way, timeout: float) -> None:
    loop = asyncio.get_running_loop()
    if way.security == "tls":
        await loop.create_connection(
            lambda: wire,
            way.host,
            way.port,
            ssl=way.context,
            server_hostname=way.name,
            ssl_handshake_timeout=timeout,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
    else:
        await loop.create_connection(lambda: wire, way.host, way.port)


def _chain(session: ssl.SSLObject) -> list[bytes]:
    """The certificates the peer sent, DER, unverified. Public in Python 3.13 only, and there since 3.10."""
    if hasattr(session, "get_unverified_chain"):
        return list(cast("Any", session).get_unverified_chain())
    certificates = cast("Any", session)._sslobj.get_unverified_chain() or ()
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in certificates]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
