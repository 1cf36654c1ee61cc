"""Mail for tests: letters from outside, and waiting for what becomes of mail by the bell instead of by the clock."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.message import EmailMessage
from typing import Any, TypeVar

import anyio
from tests.support.daimon import Agent, Daimon, MovableClock
from tests.support.gate import PATIENCE
from tests.support.sink import Sink

from daimon_mcp.domain.changes import Change
from daimon_mcp.domain.clock import SECOND, parse_time
from daimon_mcp.domain.envelopes import Envelope, Peer

T = TypeVar("T")

ROBO, OTHER = "robo@agents.localhost", "other@agents.localhost"

PEER = Peer(address="127.0.0.1", helo="mail.example.com", cid="test")
_number = 0


def clock_at(moment: str) -> MovableClock:
    """A clock that stands at a time such as `2026-11-10T12:00:00Z`."""
    clock = MovableClock()
    clock.move((parse_time(moment) - clock.now()) / SECOND)
    return clock


def eml(
    *,
    sender: str = "Ann <ann@example.com>",
    to: str = "robo@agents.localhost",
    subject: str = "Hello",
    body: str = "Hi there",
    message_id: str | None = "",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A plain letter. `message_id` "" makes one up, None leaves the field out."""
    global _number
    _number += 1
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", "Date: Sat, 21 Nov 2026 09:00:00 +0000"]
    if message_id is not None:
        lines.append(f"Message-ID: {message_id or f'<letter-{_number}@example.com>'}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body + "\r\n").encode()


async def arrive(
    daimon: Daimon, *recipients: str, content: bytes | None = None, mail_from: str = "ann@example.com", **fields: Any
) -> Sequence[str]:
    """Hand a letter to the server as the inbound listener does; the ids of the copies."""
    raw = content if content is not None else eml(**fields)
    envelope = Envelope(mail_from=mail_from, rcpt_to=recipients or ("robo@agents.localhost",))
    return await daimon.operations.receiving.receive(envelope, PEER, raw)


async def until(daimon: Daimon, look: Callable[[], Awaitable[T | None]]) -> T:
    """Look at every ring of the bell until something is there; what it is."""
    rung = anyio.Event()

    def heard(_: Change) -> None:
        rung.set()

    unsubscribe = daimon.operations.core.bus.subscribe(heard)
    try:
        with anyio.fail_after(PATIENCE):
            while True:
                rung = anyio.Event()
                found = await look()
                if found is not None:
                    return found
                await rung.wait()
    finally:
        unsubscribe()


async def delivered_to(agent: Agent, inbox: str, **filters: Any) -> list[dict[str, Any]]:
    """What an inbox has received, oldest first."""
    found = await agent.do("list_messages", inbox=inbox, limit=100, sort="asc", direction="inbound", **filters)
    return found["messages"]


async def status_of(agent: Agent, message_id: str) -> str:
    """`delivery_status` of a message."""
    return (await agent.do("get_message", message_id=message_id))["delivery_status"]


async def becomes(daimon: Daimon, agent: Agent, message_id: str, *statuses: str) -> dict[str, Any]:
    """The message, once its `delivery_status` is one of these."""

    async def look() -> dict[str, Any] | None:
        message = await agent.do("get_message", message_id=message_id)
        return message if message["delivery_status"] in statuses else None

    return await until(daimon, look)


def read_mail(content: bytes) -> EmailMessage:
    """A message as the standard library reads it: not with our own parser."""
    return email.message_from_bytes(content, policy=email.policy.default)


def relayed_through(sink: Sink) -> dict[str, Any]:
    """Settings for a relay that is this sink."""
    return {"relay": {"host": sink.host, "port": sink.port, "security": "none"}}
