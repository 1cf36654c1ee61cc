"""Mail from other servers (MX): RCPT asks the core who is here, DATA hands it the message, 250 means it is durable.

Nobody logs in and nothing is relayed: which recipients are ours is the core's to say, and its refusals become replies.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol, cast

import anyio
import anyio.abc
from aiosmtpd.smtp import SMTP, Session
from aiosmtpd.smtp import Envelope as Transaction

from daimon_mcp.domain.clock import Clock
from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.faces.smtp import replies
from daimon_mcp.faces.smtp.listener import Connection, HangUp, InboundLimits, Listener, NoRoom

__all__ = ["InboundConnection", "InboundLimits", "MailHandler", "Receiving", "serve_inbound"]

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
COMMANDS: Final = "EHLO HELO MAIL RCPT DATA RSET NOOP HELP VRFY QUIT"
MAIL_SYNTAX: Final = replies.SYNTAX.format(syntax="MAIL FROM:<address> [parameters]")
TOO_MUCH_AT_ONCE: Final = "452 4.3.1 Too much mail at once, try again later"
RCPT_SYNTAX: Final = replies.SYNTAX.format(syntax="RCPT TO:<address>")

# RFC 5321 §4.1.2 with two kindnesses: spaces after the colon, and dots anywhere in a local part, as some sites have.
# A source route is read and forgotten (RFC 5321 §4.1.1.3).
_LOCAL = r"""(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-\u0080-\U0010ffff]+|"(?:[^"\\]|\\.)*")"""
_DOMAIN = r"(?:[A-Za-z0-9_\-\u0080-\U0010ffff]+(?:\.[A-Za-z0-9_\-\u0080-\U0010ffff]+)*|\[[A-Za-z0-9:.\-]+\])"
_ROUTE = rf"(?:@{_DOMAIN}(?:,@{_DOMAIN})*:)?"
_PATH = re.compile(rf"<(?:{_ROUTE}(?P<local>{_LOCAL})@(?P<domain>{_DOMAIN})|(?P<bare>[A-Za-z]*))>(?P<rest>(?: .*)?)")
_SHAPE = re.compile(r"<.*>(?: .*)?")
_VISIBLE = re.compile(r"[!-~]{1,255}")
_SIZE = re.compile(r"[0-9]{1,20}")


class Receiving(Protocol):
    """What the core does for mail from outside."""

    async def check_recipient(self, address: str) -> None:
        """Return if mail for `address` is taken here, else raise Refused.

        The address is as the peer gave it, or `postmaster` alone in any case (RFC 5321 §4.5.1).
        """
        ...

    async def receive(self, envelope: Envelope, peer: Peer, content: bytes) -> Sequence[str]:
        """Store `content` (CRLF lines, without a bare CR or LF) for every recipient; the ids of the new messages.

        Durable when it returns. Raises Refused when nothing was stored.
        """
        ...


class MailHandler:
    """aiosmtpd's handler contract on one side, the core on the other."""

    def __init__(self, receiving: Receiving) -> None:
        self._receiving = receiving

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Transaction, address: str, options: list[str]
    ) -> str:
        """Ask the core about one recipient, and note it if it is welcome; once, however often it is named."""
        if address in envelope.rcpt_tos:
            return replies.RECIPIENT_OK
        try:
            await self._receiving.check_recipient(address)
        except Refused as refused:
            log.info("recipient %.200r refused: %s", address, refused)
            return replies.refusal(refused, _cid(server))
        envelope.rcpt_tos.append(address)
        return replies.RECIPIENT_OK

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Transaction) -> str:
        """Hand one message to the core; 250 only after it is durable."""
        connection = cast("Connection", server)
        content = cast("bytes", envelope.content)
        peer = Peer(
            address=connection.address,
            helo=session.host_name or "",
            tls=session.ssl is not None,
            esmtp=session.extended_smtp,
            smtputf8=envelope.smtp_utf8,
            cid=connection.cid,
            options=tuple(envelope.mail_options),
        )
        taken = Envelope(mail_from=envelope.mail_from or "", rcpt_to=tuple(envelope.rcpt_tos))
        try:
            messages = await self._receiving.receive(taken, peer, content)
        except Refused as refused:
            log.info("mail from %.200r refused: %s", taken.mail_from, refused)
            return replies.refusal(refused, connection.cid)
        log.info(
            "mail from %.200r accepted",
            taken.mail_from,
            extra={"recipients": len(taken.rcpt_to), "size": len(content), "messages": " ".join(messages)},
        )
        return replies.accepted(connection.cid)


class InboundConnection(Connection):
    """The commands of RFC 5321 for a server that takes mail for its own domains."""

    def __init__(self, listener: Listener, handler: MailHandler) -> None:
        self._mail = handler
        self._refused_some = False  # somebody of this transaction, for the reply to a DATA without recipients
        super().__init__(listener, handler)

    async def smtp_EHLO(self, hostname: str | None) -> None:
        """Greet and list extensions; ends a transaction that was under way."""
        if not self._greeted(hostname):
            return await self.push(replies.SYNTAX.format(syntax="EHLO hostname"))
        assert self.session is not None
        self.session.extended_smtp = True
        extensions = [
            self.hostname,
            "PIPELINING",
            f"SIZE {self._limits.max_message_bytes}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            *(["STARTTLS"] if self._listener.starttls is not None and self.session.ssl is None else []),
        ]
        await self.push("".join(f"250-{line}\r\n" for line in extensions) + "250 HELP")

    async def smtp_HELO(self, hostname: str | None) -> None:
        """Greet a client without extensions; ends a transaction that was under way."""
        if not self._greeted(hostname):
            return await self.push(replies.SYNTAX.format(syntax="HELO hostname"))
        assert self.session is not None
        self.session.extended_smtp = False
        await self.push(f"250 {self.hostname}")

    async def smtp_MAIL(self, arg: str | None) -> None:
        """Start a transaction. Parameters: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531)."""
        assert self.session is not None
        assert self.envelope is not None
        if not self.session.host_name:
            return await self.push(replies.HELLO_FIRST)
        if self.envelope.mail_from is not None:
            return await self.push(replies.MAIL_TWICE)
        path = _after("FROM:", arg)
        if path is None:
            return await self.push(MAIL_SYNTAX)
        parsed = _address(path)
        if parsed is None or (parsed[0] and "@" not in parsed[0]):
            return await self.push(replies.BAD_SENDER)
        address, parameters = parsed
        if parameters and not self.session.extended_smtp:
            return await self.push(replies.PARAMETER_UNKNOWN)
        smtputf8 = False
        for parameter in parameters:
            match parameter.upper().partition("="):
                case "SIZE", "=", size if _SIZE.fullmatch(size):
                    if int(size) > self._limits.max_message_bytes:
                        return await self.push(self._too_large())
                case "BODY", "=", "7BIT" | "8BITMIME":
                    pass
                case "SMTPUTF8", "", "":
                    smtputf8 = True
                case "SIZE" | "BODY" | "SMTPUTF8", _, _:
                    return await self.push(MAIL_SYNTAX)
                case _:
                    return await self.push(replies.PARAMETER_UNKNOWN)
        if not smtputf8 and not address.isascii():
            return await self.push(replies.NEEDS_SMTPUTF8)
        self.envelope.mail_from = address
        self.envelope.mail_options.extend(parameters)
        self.envelope.smtp_utf8 = smtputf8
        await self.push(replies.SENDER_OK)

    async def smtp_RCPT(self, arg: str | None) -> None:
        """Name one recipient; no parameters."""
        assert self.session is not None
        assert self.envelope is not None
        if not self.session.host_name:
            return await self.push(replies.HELLO_FIRST)
        if self.envelope.mail_from is None:
            return await self.push(replies.MAIL_FIRST)
        path = _after("TO:", arg)
        if path is None:
            return await self.push(RCPT_SYNTAX)
        parsed = _address(path)
        if parsed is None or not (address := parsed[0]) or ("@" not in address and address.lower() != "postmaster"):
            return await self._refuse_recipient(replies.BAD_RECIPIENT)
        if parsed[1]:
            return await self._refuse_recipient(replies.PARAMETER_UNKNOWN)
        if not self.envelope.smtp_utf8 and not address.isascii():
            return await self._refuse_recipient(replies.NEEDS_SMTPUTF8)
        if len(self.envelope.rcpt_tos) >= self._limits.max_recipients and address not in self.envelope.rcpt_tos:
            return await self.push(replies.TOO_MANY_RECIPIENTS)
        status = await self._mail.handle_RCPT(self, self.session, self.envelope, address, [])
        await (self.push(status) if status.startswith("2") else self._refuse_recipient(status))

    async def smtp_DATA(self, arg: str | None) -> None:
        """Take the message; the transaction is over with the reply, whatever it is."""
        assert self.session is not None
        assert self.envelope is not None
        if arg:
            return await self.push(replies.SYNTAX.format(syntax="DATA"))
        if not self.session.host_name:
            return await self.push(replies.HELLO_FIRST)
        if self.envelope.mail_from is None:
            return await self.push(replies.MAIL_FIRST)
        if not self.envelope.rcpt_tos:
            return await self.push(replies.NO_RECIPIENTS if self._refused_some else replies.RECIPIENT_FIRST)
        if not self._listener.has_room():
            log.info("mail from %s put off: too much at once", self.address)
            return await self.push(TOO_MUCH_AT_ONCE)
        await self.push(replies.START_CONTENT)
        try:
            status = await self._content()
            self._set_rset_state()  # forgets the content
        finally:
            self.release_content()
        await self.push(status)

    async def _content(self) -> str:
        """Read the message and have it stored; the reply."""
        assert self.session is not None
        assert self.envelope is not None
        try:
            content = await self.read_content()
        except NoRoom:
            log.info("mail from %s put off: too much at once", self.address)
            return TOO_MUCH_AT_ONCE
        if content is None:
            return self._too_large()
        if _has_bare_cr_or_lf(content):
            return replies.BARE_CR_OR_LF
        self.envelope.content = content
        try:
            return await self._mail.handle_DATA(self, self.session, self.envelope)
        except Exception as error:  # noqa: BLE001  answered with an id, logged with a traceback
            return await self.handle_exception(error)

    async def smtp_RSET(self, arg: str | None) -> None:
        """Forget the transaction."""
        if arg:
            return await self.push(replies.SYNTAX.format(syntax="RSET"))
        self._set_rset_state()
        await self.push(replies.OK)

    async def smtp_NOOP(self, arg: str | None) -> None:
        """Do nothing."""
        await self.push(replies.OK)

    async def smtp_HELP(self, arg: str | None) -> None:
        """List the commands."""
        await self.push(replies.HELP.format(commands=COMMANDS))

    async def smtp_VRFY(self, arg: str | None) -> None:
        """Tell nobody who lives here (RFC 5321 §7.3)."""
        await self.push(replies.CANNOT_VERIFY if arg else replies.SYNTAX.format(syntax="VRFY address"))

    async def smtp_EXPN(self, arg: str | None) -> None:
        """Not implemented: there are no lists."""
        await self.push(replies.NOT_IMPLEMENTED)

    async def smtp_QUIT(self, arg: str | None) -> None:
        """Say goodbye."""
        if arg:
            return await self.push(replies.SYNTAX.format(syntax="QUIT"))
        raise HangUp(replies.BYE)

    def _greeted(self, hostname: str | None) -> bool:
        """Note who says hello; whether it was said well: one visible word, no more is asked (RFC 5321 §4.1.4)."""
        assert self.session is not None
        if hostname is None or not _VISIBLE.fullmatch(hostname):
            return False
        self._set_rset_state()
        self.session.host_name = hostname
        return True

    def _too_large(self) -> str:
        return replies.TOO_LARGE.format(limit=self._limits.max_message_bytes)

    async def _refuse_recipient(self, status: str) -> None:
        self._refused_some = True
        await self.push(status)

    def _set_rset_state(self) -> None:
        super()._set_rset_state()
        self._refused_some = False


async def serve_inbound(
    *,
    host: str,
    port: int,
    hostname: str,
    receiving: Receiving,
    limits: InboundLimits,
    clock: Clock,
    starttls: ssl.SSLContext | None = None,
    task_status: anyio.abc.TaskStatus[tuple[str, int]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Listen on `host`:`port` (0 for any free port) until cancelled; reports what was bound. asyncio loops only.

    When cancelled it stops accepting, sends 421 to idle sessions, and lets messages that are being received or stored
    be answered, for 5 s. `starttls` offers STARTTLS with that context. Raises OSError if it cannot bind.
    """
    listener = Listener(hostname=hostname, limits=limits, clock=clock, starttls=starttls)
    connection = partial(InboundConnection, listener, MailHandler(receiving))
    server = await asyncio.get_running_loop().create_server(connection, host, port, backlog=BACKLOG)
    try:
        bound = server.sockets[0].getsockname()
        log.info("listening for mail on %s port %d", bound[0], bound[1])
        task_status.started((bound[0], bound[1]))
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            server.close()
            await listener.close()
            await server.wait_closed()


def _cid(server: SMTP) -> str:
    return cast("Connection", server).cid


def _after(keyword: str, arg: str | None) -> str | None:
    """The path and parameters behind `FROM:` or `TO:`; None if it is no command of that shape."""
    if arg is None or arg[: len(keyword)].upper() != keyword:
        return None
    path = arg[len(keyword) :].lstrip(" ")
    return path if _SHAPE.fullmatch(path) else None


def _address(path: str) -> tuple[str, list[str]] | None:
    """Address ("" for `<>`) and parameters of a path; None if it is not an address, or one nobody can have.

    Length limits are RFC 5321 §4.5.3.1, in octets. Characters that do not print, C1 controls and the invisible among
    them, are refused.
    """
    found = _PATH.fullmatch(path)
    if found is None or not path.isprintable():
        return None
    parameters = found["rest"].split()
    if found["local"] is None:
        return found["bare"], parameters
    if len(found["local"].encode()) > 64 or len(found["domain"].encode()) > 255:
        return None
    return f"{found['local']}@{found['domain']}", parameters


def _has_bare_cr_or_lf(content: bytes) -> bool:
    rest = content.replace(b"\r\n", b"")
    return b"\n" in rest or b"\r" in rest
