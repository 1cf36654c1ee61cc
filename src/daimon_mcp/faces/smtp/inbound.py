"""Mail from other servers (MX): RCPT asks the core who is here, DATA hands it the message, 250 means it is durable.

Nobody logs in and nothing is relayed: which recipients are ours is the core's to say, and its refusals become replies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

import anyio
import anyio.abc

from daimon_mcp.domain.clock import Clock
from daimon_mcp.domain.envelopes import ContentFile, Envelope, Peer, ReceivedContent
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.faces.smtp.dialogue import HangUp, Steps, ask
from daimon_mcp.faces.smtp.listener import Early, Listener, TlsContext
from daimon_mcp.faces.smtp.service import Budget, Limits, Service
from daimon_mcp.faces.smtp.serving import on_port
from daimon_mcp.faces.smtp.session import Session
from daimon_mcp.faces.smtp.spool import Spool

log = logging.getLogger(__name__)


class Receiving(Protocol):
    """What the core does for mail from outside."""

    def check_sender(self, mail_from: str, peer: str) -> None:
        """Return if a peer at the address `peer` may begin a message from `mail_from` ("" for the null sender)."""
        ...

    async def check_recipient(self, address: str, peer: str | None = None, mail_from: str = "") -> None:
        """Return if mail for `address` is taken here, else raise Refused.

        The address is as the peer gave it, or `postmaster` alone in any case (RFC 5321 §4.5.1). `peer` is the address
        of one that may be put off, None for a mail server of ours.
        """
        ...

    async def accept(self, envelope: Envelope, peer: Peer, content: ReceivedContent) -> str:
        """Take `content` (CRLF lines, without a bare CR or LF) for every recipient; an id to find it by.

        Durable when it returns, and a file is the core's from then on. Raises Refused when nothing was stored.
        """
        ...


class InboundSession(Session):
    """Takes mail for its own domains, from anybody; `strangers` can be put off, and may not use our own names."""

    strangers: ClassVar[bool] = True

    def __init__(self, service: Service, receiving: Receiving, address: str, cid: str) -> None:
        super().__init__(service, address=address, cid=cid)
        self._receiving = receiving

    def check_sender(self, address: str) -> Steps[None]:
        yield from ()
        if not self.strangers:
            return
        try:
            self._receiving.check_sender(address, self.address)
        except Refused as refused:
            log.info("sender %.200r refused: %s", address, refused)
            raise

    def check_recipient(self, address: str) -> Steps[None]:
        peer = self.address if self.strangers else None
        mail_from = self.transaction.mail_from if self.transaction is not None else ""
        try:
            yield from ask(partial(self._receiving.check_recipient, address, peer, mail_from))
        except Refused as refused:
            log.info("recipient %.200r refused: %s", address, refused)
            reply = self.refuse(refused)
            if reply.startswith("421"):
                raise HangUp(reply) from None
            raise

    def accept(self, envelope: Envelope, peer: Peer, content: ReceivedContent) -> Steps[str]:
        try:
            taken = yield from ask(partial(self._receiving.accept, envelope, peer, content))
        except Refused as refused:
            log.info("mail from %.200r refused: %s", envelope.mail_from, refused)
            raise
        if log.isEnabledFor(logging.INFO):
            size = content.size if isinstance(content, ContentFile) else len(content)
            log.info(
                "mail from %.200r accepted",
                envelope.mail_from,
                extra={"recipients": len(envelope.rcpt_to), "size": size, "id": taken},
            )
        return taken


async def serve_inbound(
    *,
    host: str,
    port: int,
    hostname: str,
    receiving: Receiving,
    limits: Limits,
    clock: Clock,
    spool: Callable[[], Path],
    starttls: TlsContext | None = None,
    task_status: anyio.abc.TaskStatus[tuple[str, int]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Listen on `host`:`port` (0 for any free port) until cancelled; reports what was bound. asyncio loops only.

    When cancelled it stops accepting, sends 421 to idle sessions, and lets messages that are being received or stored
    be answered, for `close_seconds`. `starttls` offers STARTTLS with that context. `spool` returns the folder for
    content that is too large for memory; it is called in a thread. Raises OSError if it cannot bind.
    """
    service = Service(
        hostname=hostname,
        limits=limits,
        clock=clock,
        spool=Spool(spool),
        budget=Budget(limits),
        offers_tls=starttls is not None,
    )
    listener = Listener(service, partial(InboundSession, service, receiving), tls=starttls, early=Early.INTRUDER)
    async with on_port(listener, host, port) as bound:
        task_status.started(bound)
        await anyio.sleep_forever()
