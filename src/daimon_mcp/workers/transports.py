"""Ways to hand a message to the next hop. Today one: a smart host, with TLS, login and kept connections.

What came of it is told for each recipient as an `Attempt`, and honestly: before the final dot has been written nothing
was handed over and the attempt is DEFERRED or REFUSED; once it may have been, no answer means UNKNOWN, never a success
and never a plain failure. A relay that does not let us in is a mistake in a configuration, so it never bounces mail.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, cast

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol
from aiosmtplib.response import SMTPResponse

from daimon_mcp.domain.queue import Attempt, Outcome
from daimon_mcp.logs import WIRE, one_line

log = logging.getLogger(__name__)
wire_log = logging.getLogger(WIRE)

Security = Literal["starttls", "tls", "none"]

MESSAGES_PER_CONNECTION: Final = 100
SECONDS_PER_CONNECTION: Final = 300.0
# Together shorter than the lease of a claimed delivery (domain.queue.LEASE), so that no message is in two hands.
ENVELOPE_SECONDS: Final = 240.0  # from waiting for a connection to the final dot
ANSWER_SECONDS: Final = 300.0  # to the final dot; RFC 5321 §4.5.3.2.6 asks for patience here, against duplicates
RESET_SECONDS: Final = 10.0  # a kept connection that cannot answer RSET by then is dead
CHUNK: Final = 65_536
MAX_TEXT: Final = 500

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f<>]")  # outside of a quoted local part, these would end or split a command
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"(?=@)')


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
        """Try once; what came of it for each recipient. `mail_from` "" is the null sender; `content` has CRLF lines.

        `on_content` is called right before the content is sent: cancelled after that, the outcome is unknown;
        before, nothing was handed over. Raises ValueError if `content` or an address must never be sent.
        """
        ...

    async def close(self) -> None:
        """End kept connections."""
        ...


class Ended(Exception):
    """The try is over for every recipient that has no result yet."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt)
        self.attempt = attempt


class DeadConnection(Exception):
    """A kept connection turned out to be gone before it took anything of the message."""


@dataclass
class _Kept:
    """One connection, and how long it may be used."""

    client: aiosmtplib.SMTP
    made_at: float
    messages: int = 0
    expiry: asyncio.TimerHandle | None = None


class SmartHost:
    """One relay that takes all our mail (RFC 5321, RFC 6409). For one event loop.

    `security` is "tls" from the first byte, "starttls" (required, never skipped), or "none". `timeout` is seconds for
    each answer but that to the final dot (`answer_timeout`). At most `max_connections` are open; a connection is kept
    for `SECONDS_PER_CONNECTION` or `MESSAGES_PER_CONNECTION`. Without a `tls_context`, the system's certificates count.
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
        self._host = host
        self._port = port
        self._security: Security = security
        self._hostname = hostname
        self._username = username
        self._password = password
        self._timeout = timeout
        self._answer_timeout = answer_timeout
        self._free = asyncio.Semaphore(max_connections)
        self._kept: list[_Kept] = []
        # Making a context reads all certificates: 20 ms of CPU, so once and not for each connection.
        self._tls = tls_context if tls_context or security == "none" else client_context()

    async def relay(
        self,
        *,
        mail_from: str,
        recipients: Sequence[str],
        content: bytes,
        smtputf8: bool,
        on_content: Callable[[], None] | None = None,
    ) -> dict[str, Attempt]:
        """As `Transport.relay`; takes `ENVELOPE_SECONDS` and the time to answer the final dot at most."""
        for address in (mail_from, *recipients):
            _check_address(address)
        _check_content(content)
        results: dict[str, Attempt] = {}
        deadline = _now() + ENVELOPE_SECONDS
        try:
            async with self._place(deadline):
                kept = await self._open_kept(deadline)
                session = _Session(self, kept, mail_from, recipients, content, smtputf8, on_content, results, deadline)
                try:
                    await self._use(session, reused=kept is not None)
                except DeadConnection:
                    log.info("a kept connection to %s was gone; taking a new one", self.remote)
                    session.kept = None
                    await self._use(session, reused=False)
        except Ended as ended:
            for recipient in recipients:
                results.setdefault(recipient, ended.attempt)
        return results

    async def close(self) -> None:
        """Say QUIT on kept connections and end them; those in use end with their message."""
        while self._kept:
            self._drop(self._kept.pop())
