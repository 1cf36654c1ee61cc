"""Ways to hand a message to the next hop. Today one: a smart host, with TLS, login and kept connections.

What came of it is told for each recipient as an `Attempt`, and honestly: until the final dot is written nothing was
handed over, and the attempt is DEFERRED or REFUSED; from then on, no answer means UNKNOWN, never a success and never
a plain failure. A relay that does not let us in is a mistake in somebody's configuration, so it never bounces mail.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import aiosmtplib
from aiosmtplib.response import SMTPResponse

from daimon_mcp.domain.queue import Attempt, Outcome
from daimon_mcp.logs import WIRE, one_line

log = logging.getLogger(__name__)
wire_log = logging.getLogger(WIRE)

Security = Literal["starttls", "tls", "none"]

MESSAGES_PER_CONNECTION: Final = 100
SECONDS_PER_CONNECTION: Final = 300.0
# Together shorter than the lease of a claimed delivery (domain.queue.LEASE), so that no message is in two hands.
ENVELOPE_SECONDS: Final = 240.0  # from the wait for a connection to the final dot
ANSWER_SECONDS: Final = 300.0  # for the answer to it: RFC 5321 §4.5.3.2.6 asks for patience, against duplicates
RESET_SECONDS: Final = 10.0  # a kept connection that has not answered RSET by then is dead
QUIT_SECONDS: Final = 2.0
CHUNK: Final = 65_536
MAX_TEXT: Final = 500

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_LET_US_IN = frozenset({530, 534, 535, 538})  # to MAIL: log in first (RFC 4954 §6)
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"(?=@)')
_SPLITS_A_COMMAND = re.compile(r'[\x00-\x20\x7f<>"]')
_LOST = (aiosmtplib.SMTPException, OSError)  # what aiosmtplib raises when it did not get a reply it can read


class Transport(Protocol):
    """A way to hand over one message."""

    async def relay(
        self,
        *,
        mail_from: str,
        recipients: Sequence[str],
        content: bytes,
        smtputf8: bool,
        on_content: Callable[[], None] | None = None,
    ) -> dict[str, Attempt]:
        """Try once; what came of it for each recipient. `mail_from` "" is the null sender.

        `content` has CRLF lines; ValueError if it holds a CR or LF alone, which must never be sent. `on_content` is
        called before DATA: if the call is cancelled after that, the message may have been handed over, else not.
        """
        ...

    async def close(self) -> None:
        """End kept connections."""
        ...


class Ended(Exception):
    """The try is over; `attempt` is what came of it for all recipients that have no result of their own."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt)
        self.attempt = attempt


@dataclass
class _Connection:
    """A session with the relay, logged in, and what it has been used for. `made_at` is loop time, in seconds."""

    client: aiosmtplib.SMTP
    made_at: float
    messages: int = 0
    expiry: asyncio.TimerHandle | None = None


class SmartHost:
    """One relay that takes all our mail (RFC 5321, RFC 6409). Belongs to one event loop.

    `security` is "tls" from the first byte, "starttls" (never skipped), or "none"; `hostname` is what we call
    ourselves. `timeout` is seconds for each answer, `answer_timeout` for that to the final dot. At most
    `max_connections` are open; each serves 300 s or 100 messages. Without `tls_context` the system's certificates
    count.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        security: Security,
        hostname: str,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 60.0,
        answer_timeout: float = ANSWER_SECONDS,
        max_connections: int = 5,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self.remote = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.timeout = timeout
        self.answer_timeout = answer_timeout
        self._host = host
        self._port = port
        self._security = security
        self._hostname = hostname
        self._username = username
        self._password = password
        self._places = asyncio.Semaphore(max_connections)
        self._kept: list[_Connection] = []
        # Making a context reads all certificates, 20 ms of CPU: once, and not for each connection.
        self._tls = client_context() if tls_context is None and security != "none" else tls_context

    async def relay(
        self,
        *,
        mail_from: str,
        recipients: Sequence[str],
        content: bytes,
        smtputf8: bool,
        on_content: Callable[[], None] | None = None,
    ) -> dict[str, Attempt]:
        """As `Transport.relay`; takes 240 s and the time of the last answer at most."""
        if _has_bare_cr_or_lf(content):
            raise ValueError("the content holds a CR or LF alone")
        deadline = asyncio.get_running_loop().time() + ENVELOPE_SECONDS
        results: dict[str, Attempt] = {}
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
            try:
                await _Try(self, mail_from, recipients, content, smtputf8, on_content, results).run(deadline)
            finally:
                self._places.release()
        except TimeoutError:
            ending = self.failed("the relay took too long")
        except Ended as ended:
            ending = ended.attempt
        else:
            return results
        return {recipient: results.get(recipient, ending) for recipient in recipients}

    async def close(self) -> None:
        """Say QUIT on kept connections and end them, within a few seconds."""
        while self._kept:
            client = self._kept.pop().client
            try:
                await client.quit(timeout=QUIT_SECONDS)
            except _LOST:
                pass
            finally:
                client.close()

    def failed(self, text: str, error: Exception | None = None) -> Attempt:
        """DEFERRED for want of an answer; `error` is what kept us from it, with a reply's code if it has one."""
        if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
            answer = self.answered(SMTPResponse(error.code, error.message), Outcome.DEFERRED)
            return Attempt(Outcome.DEFERRED, answer.code, answer.enhanced, answer.text, self.remote)
        words = f"{text}: {error}" if error is not None and str(error) else text
        return Attempt(Outcome.DEFERRED, None, None, _clean(words), self.remote)

    def answered(self, response: SMTPResponse, otherwise: Outcome) -> Attempt:
        """What a reply means: 2xx ACCEPTED, 4xx DEFERRED, 5xx REFUSED; any other code, `otherwise`."""
        meaning = {2: Outcome.ACCEPTED, 4: Outcome.DEFERRED, 5: Outcome.REFUSED}
        enhanced, text = _words(response)
        return Attempt(meaning.get(response.code // 100, otherwise), response.code, enhanced, text, self.remote)

    def refused(self, code: int, enhanced: str, text: str) -> Attempt:
        """REFUSED by ourselves, because the relay could not take it."""
        return Attempt(Outcome.REFUSED, code, enhanced, text, self.remote)

    def take(self) -> _Connection | None:
        """A kept connection, which may turn out to be dead."""
        while self._kept:
            connection = self._kept.pop()
            if connection.expiry is not None:
                connection.expiry.cancel()
            if connection.client.is_connected:
                return connection
        return None

    async def connect(self) -> _Connection:
        """A new connection, over TLS and logged in as configured. Raises Ended, always with DEFERRED."""
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._security == "tls",
            start_tls=False,  # here, and not in connect(), which would go on in clear
            local_hostname=self._hostname,
            timeout=self.timeout,
            tls_context=self._tls,
        )
        try:
            await client.connect()
            await client.ehlo()
            if self._security == "starttls":
                await client.starttls()
                await client.ehlo()
        except _LOST as error:
            client.close()
            log.warning("cannot connect to %s: %.300r", self.remote, error)
            raise Ended(self.failed("cannot connect", error)) from None
        except BaseException:
            client.close()
            raise
        try:
            if self._username is not None:
                await client.login(self._username, self._password or "")
        except _LOST as error:
            client.close()
            log.error("cannot log in to %s: check user name and password: %.300r", self.remote, error)
            raise Ended(self.failed("cannot log in", error)) from None
        except BaseException:
            client.close()
            raise
        return _Connection(client, asyncio.get_running_loop().time())

    def give_back(self, connection: _Connection) -> None:
        """Keep `connection` for the next message, if it is still good for one."""
        loop = asyncio.get_running_loop()
        expires_at = connection.made_at + SECONDS_PER_CONNECTION
        if not connection.client.is_connected:
            return
        if connection.messages >= MESSAGES_PER_CONNECTION or loop.time() >= expires_at:
            _leave(connection.client)
        else:
            connection.expiry = loop.call_at(expires_at, self._expire, connection)
            self._kept.append(connection)

    def _expire(self, connection: _Connection) -> None:
        self._kept.remove(connection)
        _leave(connection.client)


class _Try:
    """One message on its way over one connection. Fills `results`; what is missing there is in `Ended`."""

    def __init__(
        self,
        host: SmartHost,
        mail_from: str,
        recipients: Sequence[str],
        content: bytes,
        smtputf8: bool,
        on_content: Callable[[], None] | None,
        results: dict[str, Attempt],
    ) -> None:
        self._host = host
        self._mail_from = mail_from
        self._recipients = list(dict.fromkeys(recipients))
        self._content = content
        self._smtputf8 = smtputf8 or not mail_from.isascii()
        self._on_content = on_content
        self._results = results
        self._connection: _Connection | None = None

    async def run(self, deadline: float) -> None:
        """All of it; the envelope and all of the content but its end before `deadline` (loop time), or TimeoutError."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._greet()
                accepted = await self._name_recipients()
                if not accepted:
                    return
                end = await self._send_content()
            answer = await self._finish(end)
            self._results.update(dict.fromkeys(accepted, answer))
        except Ended:
            raise
        except BaseException:  # in the middle of something: what comes next on this connection is anybody's guess
            if self._connection is not None:
                self._client.close()
            raise
        finally:
            if self._connection is not None:
                self._host.give_back(self._connection)

    @property
    def _client(self) -> aiosmtplib.SMTP:
        assert self._connection is not None
        return self._connection.client

    async def _greet(self) -> None:
        """MAIL, on a kept connection if one is alive. One that died while it was kept costs the message nothing."""
        self._check_sender()
        self._connection = self._host.take()
        if self._connection is not None:
            try:
                reset = await self._command(b"RSET", timeout=min(self._host.timeout, RESET_SECONDS))
                response = await self._mail() if reset.code == 250 else None
            except _LOST:
                response = None
            if response is not None and response.code != 421:
                return self._sender_answered(response)
            self._client.close()
            log.info("a kept connection to %s was gone; taking a new one", self._host.remote)
            self._connection = None
        self._connection = await self._host.connect()
        try:
            response = await self._mail()
        except _LOST as error:
            raise self._lost(error) from None
        self._sender_answered(response)

    async def _mail(self) -> SMTPResponse:
        assert self._connection is not None
        client = self._client
        utf8 = client.supports_extension("smtputf8")
        if self._smtputf8 and not utf8:
            raise Ended(self._host.refused(553, "5.6.7", "the relay does not take addresses outside ASCII"))
        eight_bit = not self._content.isascii()
        if eight_bit and not client.supports_extension("8bitmime"):
            raise Ended(self._host.refused(554, "5.6.3", "the relay does not take 8-bit content"))
        options = [f"SIZE={len(self._content)}"] if client.supports_extension("size") else []
        if eight_bit:
            options.append("BODY=8BITMIME")
        if utf8 and (self._smtputf8 or not all(recipient.isascii() for recipient in self._recipients)):
            options.append("SMTPUTF8")
        self._connection.messages += 1
        return await self._command(" ".join(["MAIL", f"FROM:<{self._mail_from}>", *options]).encode())

    def _sender_answered(self, response: SMTPResponse) -> None:
        if response.code in _LET_US_IN:
            log.error("%s wants a login: %d %.300r", self._host.remote, response.code, response.message)
            raise Ended(self._host.failed("", aiosmtplib.SMTPResponseException(*response)))
        attempt = self._host.answered(response, Outcome.DEFERRED)
        if attempt.outcome is not Outcome.ACCEPTED:
            raise Ended(attempt)

    def _check_sender(self) -> None:
        if self._mail_from and not _is_safe(self._mail_from):
            raise Ended(self._host.refused(553, "5.1.7", "the sender is not an address that can be sent"))

    async def _name_recipients(self) -> list[str]:
        """RCPT for each; those the relay takes. The others have their results."""
        accepted: list[str] = []
        for recipient in self._recipients:
            if not _is_safe(recipient):
                self._results[recipient] = self._host.refused(553, "5.1.3", "not an address that can be sent")
                continue
            if not recipient.isascii() and not self._client.supports_extension("smtputf8"):
                text = "the relay does not take addresses outside ASCII"
                self._results[recipient] = self._host.refused(553, "5.6.7", text)
                continue
            try:
                response = await self._command(f"RCPT TO:<{recipient}>".encode())
            except _LOST as error:
                raise self._lost(error) from None
            attempt = self._host.answered(response, Outcome.DEFERRED)
            if attempt.outcome is Outcome.ACCEPTED:
                accepted.append(recipient)
            else:
                self._results[recipient] = attempt
            if response.code == 421:
                raise Ended(attempt)
        return accepted

    async def _send_content(self) -> bytes:
        """DATA and the content but its end, which is returned: with it, written in one piece, goes the final dot."""
        if self._on_content is not None:
            self._on_content()
        try:
            response = await self._command(b"DATA")
            if response.code != 354:
                attempt = self._host.answered(response, Outcome.DEFERRED)
                if attempt.outcome is Outcome.ACCEPTED:  # which makes no sense, and nothing was accepted
                    attempt = self._host.failed(f"unexpected reply {response.code} to DATA")
                    self._client.close()
                raise Ended(attempt)
            wire_log.debug("C: [%d octets]", len(self._content))
            wire = _dot_stuffed(self._content)
            start = 0
            while len(wire) - start > CHUNK:
                await self._write(wire[start : start + CHUNK])
                start += CHUNK
        except _LOST as error:
            raise self._lost(error) from None
        return wire[start:]

    async def _write(self, chunk: bytes) -> None:
        """Raises when the connection is lost, or the peer has not taken enough of it in time."""
        protocol = self._client.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        protocol.write(chunk)
        async with asyncio.timeout(self._host.timeout):
            await protocol._drain_helper()  # pyright: ignore[reportPrivateUsage]  # flow control, as StreamWriter does

    async def _finish(self, end: bytes) -> Attempt:
        """Write the end of the content and hear what has become of it."""
        protocol = self._client.protocol
        try:
            if protocol is None:
                raise aiosmtplib.SMTPServerDisconnected("Connection lost")
            protocol.write(end)
        except _LOST as error:  # not one octet of the end was written
            raise self._lost(error) from None
        try:
            response = await protocol.read_response(timeout=self._host.answer_timeout)
        except _LOST as error:
            self._client.close()
            text = _clean(f"no answer after the end of the message: {error}")
            return Attempt(Outcome.UNKNOWN, None, None, text, self._host.remote)
        _trace_reply(response)
        attempt = self._host.answered(response, Outcome.UNKNOWN)
        if response.code == 421 or attempt.outcome is Outcome.UNKNOWN:
            self._client.close()
        return attempt

    async def _command(self, line: bytes, timeout: float | None = None) -> SMTPResponse:
        wire_log.debug("C: %s", one_line(line.decode()))
        response = await self._client.execute_command(line, timeout=timeout or self._host.timeout)
        _trace_reply(response)
        return response

    def _lost(self, error: Exception) -> Ended:
        self._client.close()
        return Ended(self._host.failed("lost the connection before the message was handed over", error))


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that verifies the relay's certificate and name, by the system's certificates or those of `ca_file`."""
    return ssl.create_default_context(cafile=ca_file)


def _leave(client: aiosmtplib.SMTP) -> None:
    """Close with QUIT (RFC 5321 §4.1.1.10), without waiting for the goodbye."""
    if client.protocol is not None and client.protocol.is_connected:
        client.protocol.write(b"QUIT\r\n")
    client.close()


def _has_bare_cr_or_lf(content: bytes) -> bool:
    rest = content.replace(b"\r\n", b"")
    return b"\n" in rest or b"\r" in rest


def _dot_stuffed(content: bytes) -> bytes:
    """As it goes over the wire (RFC 5321 §4.5.2), with the line that ends it."""
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"


def _is_safe(address: str) -> bool:
    """Whether `address` stays one argument of one command: no control characters, no spaces or `<>` outside quotes."""
    local = _QUOTED.match(address)
    rest = address[local.end() :] if local else address
    return bool(address) and not _SPLITS_A_COMMAND.search(rest) and address.isprintable()


def _words(response: SMTPResponse) -> tuple[str | None, str]:
    """Enhanced status and text of a reply; the status is on every line of it (RFC 2034 §4), and kept once."""
    enhanced = None
    lines: list[str] = []
    for line in response.message.split("\n"):
        found = _ENHANCED.match(line)
        if found and found[1][0] == str(response.code)[0]:
            enhanced = enhanced or found[1]
            lines.append(line[found.end() :])
        else:
            lines.append(line)
    return enhanced, _clean(" ".join(lines))


def _clean(text: str) -> str:
    """The peer's words, printable, on one line, 500 characters at most."""
    return "".join(character if character.isprintable() else " " for character in text)[:MAX_TEXT].strip()


def _trace_reply(response: SMTPResponse) -> None:
    lines = response.message.split("\n")
    for line in lines[:-1]:
        wire_log.debug("S: %d-%s", response.code, one_line(line[:MAX_TEXT]))
    wire_log.debug("S: %d %s", response.code, one_line(lines[-1][:MAX_TEXT]))
