"""Mail from a mail server in front of us (LMTP, RFC 2033): on a port or on a socket in the file system.

The same rules for recipients as for mail from strangers, but the peer is trusted to have kept them away: it may speak
whenever it likes. DSN is not offered, so that the server in front says itself that it has passed mail on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.abc

from daimon_mcp.domain.clock import Clock
from daimon_mcp.domain.envelopes import Peer
from daimon_mcp.faces.smtp import replies
from daimon_mcp.faces.smtp.inbound import InboundSession, Receiving
from daimon_mcp.faces.smtp.listener import Listener
from daimon_mcp.faces.smtp.service import Budget, Limits, Service
from daimon_mcp.faces.smtp.serving import on_port, on_socket
from daimon_mcp.faces.smtp.session import Session
from daimon_mcp.faces.smtp.spool import Spool
from daimon_mcp.faces.smtp.transaction import Transaction


class LmtpSession(InboundSession):
    """LHLO in place of EHLO and HELO, and a reply for every recipient after the message."""

    greeting: ClassVar[str] = "LMTP"
    strangers: ClassVar[bool] = False
    commands: ClassVar[frozenset[str]] = Session.commands - {"EHLO", "HELO", "STARTTLS"} | {"LHLO"}
    hello_first: ClassVar[str] = replies.LHLO_FIRST

    def do_lhlo(self, argument: str) -> None:
        """Greet and list extensions; ends a transaction that was under way."""
        self.greet_extended("LHLO", argument)

    def replies_to_content(self, transaction: Transaction) -> int:
        return transaction.welcomed  # RFC 2033 §4.2: one for each RCPT that was answered 250, repetitions too

    def peer(self, transaction: Transaction) -> Peer:
        return replace(super().peer(transaction), lmtp=True)


async def serve_lmtp(
    *,
    at: tuple[str, int] | Path,
    hostname: str,
    receiving: Receiving,
    limits: Limits,
    clock: Clock,
    spool: Callable[[], Path],
    task_status: anyio.abc.TaskStatus[tuple[str, int] | Path] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Listen `at` a host and port (0 for any free port) or a socket's path until cancelled; reports what was bound.

    Ends and raises as `serve_inbound`. A socket is for its owner and group; another that is there is replaced.
    """
    service = Service(hostname=hostname, limits=limits, clock=clock, spool=Spool(spool), budget=Budget(limits))
    listener = Listener(service, partial(LmtpSession, service, receiving))
    if isinstance(at, Path):
        async with on_socket(listener, at):
            task_status.started(at)
            await anyio.sleep_forever()
    else:
        async with on_port(listener, *at) as bound:
            task_status.started(bound)
            await anyio.sleep_forever()
