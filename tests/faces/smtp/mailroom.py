"""A whole daimon whose account may use SMTP, and mail programs that log in to it."""

from __future__ import annotations

import asyncio
import base64
import smtplib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
import trustme
from anyio.streams.tls import TLSStream
from tests.faces.smtp.server import Client
from tests.support.daimon import Agent, Daimon, MovableClock, running

from daimon_mcp.domain.tiers import Tier

T = TypeVar("T")

LETTER = "From: {sender}\r\nTo: ann@example.com\r\nSubject: {subject}\r\n\r\nHello.\r\n"
RELAY = {"host": "127.0.0.1", "security": "none"}


@dataclass
class Mailroom:
    """A server, an agent of its account, and what that account logs in with. `address` is its inbox robo."""

    daimon: Daimon
    agent: Agent
    address: str
    username: str
    password: str
    trust: ssl.SSLContext

    def letter(self, subject: str = "Hello", *headers: str) -> str:
        """A mail from robo to ann, with further header lines."""
        return "".join(f"{line}\r\n" for line in headers) + LETTER.format(sender=self.address, subject=subject)

    async def until(self, met: Callable[[], Awaitable[bool]]) -> None:
        """Return when `met` says yes; it is asked now and whenever something was committed."""
        rung = anyio.Event()

        def ring(_: object) -> None:
            rung.set()

        unsubscribe = self.daimon.operations.core.bus.subscribe(ring)
        try:
            with anyio.fail_after(10):
                while not await met():
                    await rung.wait()
                    rung = anyio.Event()
        finally:
            unsubscribe()

    def plain(self, username: str | None = None, password: str | None = None) -> str:
        """AUTH PLAIN with its credentials in the line."""
        text = f"\0{username or self.username}\0{password or self.password}"
        return f"AUTH PLAIN {base64.b64encode(text.encode()).decode()}"

    @asynccontextmanager
    async def in_clear(self) -> AsyncGenerator[Client]:
        """A connection to the STARTTLS port, greeted."""
        async with await anyio.connect_tcp(*self.daimon.submission) as stream:
            client = Client(stream)
            assert await client.reply() == "220 agents.localhost ESMTP"
            yield client

    @asynccontextmanager
    async def secure(self, *, log_in: bool = True, starttls_port: bool = False) -> AsyncGenerator[Client]:
        """A connection to the TLS port, or with TLS at once to the other one; greeted, and logged in if wished."""
        host, port = self.daimon.submission if starttls_port else self.daimon.submission_tls
        async with await anyio.connect_tcp(host, port) as stream:
            tls = await TLSStream.wrap(stream, hostname=host, ssl_context=self.trust, standard_compatible=False)
            client = Client(tls)
            assert await client.reply() == "220 agents.localhost ESMTP"
            await client.say("EHLO c.example")
            if log_in:
                assert await client.say(self.plain()) == "235 2.7.0 Authentication successful"
            yield client

    async def program(self, send: Callable[[smtplib.SMTP], T], *, at_once: bool = False) -> T:
        """What smtplib does in `send`, logged in."""

        def run() -> T:
            kinds = smtplib.SMTP_SSL(*self.daimon.submission_tls, context=self.trust) if at_once else None
            with kinds or smtplib.SMTP(*self.daimon.submission) as smtp:
                if kinds is None:
                    smtp.starttls(context=self.trust)
                smtp.login(self.username, self.password)
                return send(smtp)

        return await asyncio.to_thread(run)


async def mail(client: Client, room: Mailroom, content: str, *to: str, sender: str | None = None) -> str:
    """Hand in one mail; the reply to its content, or the first one that was no yes."""
    recipients = to or ("ann@example.com",)
    commands = [f"MAIL FROM:<{sender or room.address}>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"]
    for command in commands:
        reply = await client.say(command)
        if reply[0] not in "23":
            return reply
    return await client.say(content + ".")


def relay_to(port: int, **others: Any) -> dict[str, Any]:
    """Settings for a relay on this machine."""
    return {"relay": {**RELAY, "port": port}, **others}


@asynccontextmanager
async def mailroom(
    folder: Path,
    sections: Mapping[str, Any] | None = None,
    *,
    tier: Tier = Tier.PRO,
    clock: MovableClock | None = None,
    trusting: trustme.CA | None = None,
) -> AsyncGenerator[Mailroom]:
    """Run one. Without `sections` mail to others is accepted for a relay that is not there.

    Its programs trust the certificate of its own making, or an authority.
    """
    given = {"relay": {**RELAY, "port": 9}, **(sections or {})}
    async with (
        running(folder, given, listeners=True, clock=clock) as daimon,
        daimon.agent() as agent,
    ):
        await daimon.upgrade(tier if tier is not Tier.FREE else Tier.STARTER)
        address = (await agent.do("create_inbox", username="robo"))["address"]
        credentials = await agent.do("get_smtp_credentials")
        if tier is Tier.FREE:
            await daimon.upgrade(tier)
        trust = ssl.create_default_context(cafile=None if trusting else folder / "tls" / "self-signed.pem")
        if trusting is not None:
            trusting.configure_trust(trust)  # pyright: ignore[reportUnknownMemberType]
        yield Mailroom(daimon, agent, address, credentials["username"], credentials["password"], trust)
