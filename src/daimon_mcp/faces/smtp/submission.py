"""Mail from programs that log in (RFC 6409): AUTH under TLS, then what the core lets this account send.

Two ports: one with STARTTLS, one with TLS from the first octet (RFC 8314). Some programs begin TLS at once on the first
one too; they are served, see `GREETING_SECONDS`.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, TypeVar

import anyio
import anyio.abc

from daimon_mcp.changes.bus import ChangeBus
from daimon_mcp.domain.clock import Clock
from daimon_mcp.domain.envelopes import ContentFile, Envelope, Peer, ReceivedContent
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.smtp import parameters, replies, sasl
from daimon_mcp.faces.smtp.dialogue import HangUp, Rejected, Steps, ask
from daimon_mcp.faces.smtp.explained import explained
from daimon_mcp.faces.smtp.listener import Early, Listener
from daimon_mcp.faces.smtp.logins import Logins
from daimon_mcp.faces.smtp.service import Budget, Limits, Service
from daimon_mcp.faces.smtp.serving import on_port
from daimon_mcp.faces.smtp.session import Session
from daimon_mcp.faces.smtp.spool import Spool
from daimon_mcp.faces.smtp.transaction import Transaction
from daimon_mcp.operations.guidance import Guide
from daimon_mcp.operations.submitters import Submitter
from daimon_mcp.operations.submitting import Submitting

log = logging.getLogger(__name__)

MAX_FAILURES: Final = 3  # logins that fail before we hang up

# How long the STARTTLS port waits for a ClientHello before it greets: a client that begins with TLS would take a
# greeting in clear for a broken handshake. It sends its hello right behind the packet that completes the connection,
# so the distance to it does not matter, only how long it takes to write one: a third of a millisecond for Go, some
# five on a machine that is busy with other things. All other clients are greeted that much later, and nothing else.
GREETING_SECONDS: Final = 0.01

T = TypeVar("T")

_FAILURES: Final = {
    sasl.Failure.CANCELLED: replies.AUTH_CANCELLED,
    sasl.Failure.BAD_BASE64: replies.AUTH_NOT_BASE64,
    sasl.Failure.MALFORMED: replies.AUTH_NOT_BASE64,
    sasl.Failure.TOO_LONG: replies.AUTH_TOO_LONG,
    sasl.Failure.OTHER_IDENTITY: replies.AUTH_FAILED,
}
_AT_LOGIN: Final = {
    RefusalCode.UNAUTHORIZED: replies.AUTH_FAILED,
    RefusalCode.ACCOUNT_SUSPENDED: replies.AUTH_SUSPENDED,
    RefusalCode.FORBIDDEN: replies.AUTH_NO_SENDING,
    RefusalCode.STORE_UNAVAILABLE: replies.AUTH_LATER,
}


@dataclass(frozen=True, slots=True)
class Office:
    """What all sessions of both ports share."""

    submitting: Submitting
    guide: Guide
    logins: Logins


class SubmissionSession(Session):
    """Takes mail from one account, to anybody."""

    commands: ClassVar[frozenset[str]] = Session.commands | {"AUTH"}
    ends_group: ClassVar[frozenset[str]] = Session.ends_group | {"AUTH"}
    mail_parameters: ClassVar[parameters.Table] = {
        **parameters.MAIL,
        **parameters.MAIL_DSN,
        **parameters.MAIL_AUTH,
    }
    rcpt_parameters: ClassVar[parameters.Table] = {**parameters.RCPT, **parameters.RCPT_DSN}
    longest_line: ClassVar[int] = sasl.MAX_LINE + 64

    def __init__(self, service: Service, office: Office, address: str, cid: str) -> None:
        super().__init__(service, address=address, cid=cid)
        self.submitter: Submitter | None = None
        self.account_changed = False  # since it was last looked at
        self._office = office
        self._submitting = office.submitting
        self._failed_logins = 0
        self._held = False  # what was taken last waits for the operator

    def extensions(self) -> list[str]:
        offered = super().extensions()
        if self.tls:
            offered.append(f"AUTH {' '.join(sasl.MECHANISMS)}")
        return offered

    def do_auth(self, argument: str) -> Steps[None]:
        """Log in (RFC 4954)."""
        self._needs_hello()
        if not self.tls:
            raise Rejected(replies.TLS_FIRST)
        if self.submitter is not None:
            raise Rejected(replies.AUTH_TWICE)
        mechanism, _, initial = argument.partition(" ")
        if not mechanism or " " in initial:
            raise Rejected(replies.AUTH_SYNTAX)
        step = sasl.start(mechanism, initial.encode() if initial else None)
        if step is None:
            raise Rejected(replies.AUTH_UNKNOWN)
        while isinstance(step, sasl.Challenge):
            self.answer(f"334 {step.text.decode()}")
            step = sasl.respond(step, (yield from self.line(secret=True)))
        try:
            if isinstance(step, sasl.Failed):
                raise Rejected(_FAILURES[step.failure])
            submitter = yield from ask(partial(self._log_in, step))
        except Rejected as rejected:
            self._failed_logins += rejected.reply.startswith("535")
            if self._failed_logins < MAX_FAILURES:
                raise
            self.answer(rejected.reply)
            raise HangUp(replies.TOO_MANY_LOGINS) from None
        if not self._office.logins.enter(self, submitter):
            log.info("refused a session of %s: too many", submitter.account_id)
            raise HangUp(replies.TOO_MANY_CONNECTIONS)
        self.submitter = submitter
        self.answer(replies.LOGGED_IN)

    async def _log_in(self, credentials: sasl.Credentials) -> Submitter:
        """Who it is. Raises Rejected."""
        try:
            submitter = await self._submitting.log_in(credentials.username, credentials.password, self.address)
            try:
                await self._submitting.check_account(submitter)
            except Refused as refused:
                log.info("login of %s refused: %s", submitter.account_id, refused)
                if refused.code in _AT_LOGIN:
                    raise
                raise Rejected(await explained(self._office.guide, refused, submitter.actor, self.cid)) from None
        except Refused as refused:
            log.info("login from %s refused: %s", self.address, refused)
            if refused.reason == "LOGIN_FAILURES":
                self._failed_logins += 1
                raise Rejected(replies.LOCKED_OUT.format(seconds=refused.retry_after)) from None
            raise Rejected(_AT_LOGIN.get(refused.code, replies.AUTH_FAILED)) from None
        except Rejected:
            raise
        except Exception as error:  # noqa: BLE001  logged; the client may try again
            self.internal_error(error)
            raise Rejected(f"{replies.AUTH_LATER}, id {self.cid}") from None
        return submitter

    def over(self) -> None:
        if self.submitter is not None:
            self._office.logins.leave(self, self.submitter)

    def check_mail(self) -> None:
        if self.dismissed is not None:
            raise HangUp(self.dismissed)
        if self.submitter is None:
            raise Rejected(replies.NOT_LOGGED_IN)

    def check_sender(self, address: str) -> Steps[None]:
        submitter = self._known()
        if self.account_changed:
            self.account_changed = False
            try:
                yield from self._asked(partial(self._submitting.check_account, submitter))
            except Exception:
                self.account_changed = True
                raise
        yield from self._asked(partial(self._submitting.check_sender, submitter, address))

    def check_recipient(self, address: str) -> Steps[None]:
        yield from self._asked(partial(self._submitting.check_recipient, self._known(), address))

    def accept(self, envelope: Envelope, peer: Peer, content: ReceivedContent) -> Steps[str]:
        if self.dismissed is not None:  # it became so while the content came in
            raise Rejected(replies.NOT_TAKEN)
        submitter = self._known()
        taken, held = yield from self._asked(partial(self._submitting.accept, submitter, envelope, peer, content))
        self._held = held
        if log.isEnabledFor(logging.INFO):
            size = content.size if isinstance(content, ContentFile) else len(content)
            log.info(
                "mail of %s accepted",
                submitter.account_id,
                extra={"recipients": len(envelope.rcpt_to), "size": size, "id": taken},
            )
        return taken

    def accepted(self, taken: str) -> str:
        return replies.held(taken) if self._held else replies.queued(taken)

    def peer(self, transaction: Transaction) -> Peer:
        return replace(super().peer(transaction), authenticated=True)

    def _known(self) -> Submitter:
        assert self.submitter is not None  # there is no transaction otherwise
        return self.submitter

    def _asked(self, call: Callable[[], Awaitable[T]]) -> Steps[T]:
        """Ask the core; a refusal is Rejected with its reasons."""
        return (yield from ask(partial(self._explaining, call)))

    async def _explaining(self, call: Callable[[], Awaitable[T]]) -> T:
        submitter = self._known()
        try:
            return await call()
        except Refused as refused:
            log.info("refused to %s: %s", submitter.account_id, refused)
            if refused.code is RefusalCode.UNAUTHORIZED:  # logged in with what was on its way out already
                self.dismiss(replies.LOGIN_ENDED)
                raise Rejected(replies.NOT_TAKEN) from None
            raise Rejected(await explained(self._office.guide, refused, submitter.actor, self.cid)) from None


async def serve_submission(
    *,
    host: str,
    port: int,
    tls_port: int,
    hostname: str,
    submitting: Submitting,
    guide: Guide,
    bus: ChangeBus,
    limits: Limits,
    clock: Clock,
    spool: Callable[[], Path],
    tls: Callable[[], ssl.SSLContext],
    task_status: anyio.abc.TaskStatus[tuple[tuple[str, int], tuple[str, int]]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Listen on `port` with STARTTLS and on `tls_port` with TLS at once (0 for any free port) until cancelled.

    Reports both addresses that were bound, in this order. `tls` gives the context for a connection that begins now.
    Each port has `limits` of its own. Ends as `serve_inbound`, and raises OSError if it cannot bind one of them.
    """
    logins = Logins()
    office = Office(submitting, guide, logins)

    def listener(limits: Limits, *, implicit: bool) -> Listener:
        service = Service(
            hostname=hostname,
            limits=limits,
            clock=clock,
            spool=Spool(spool),
            budget=Budget(limits),
            offers_tls=True,
        )
        start = partial(SubmissionSession, service, office)
        return Listener(service, start, tls=tls, implicit_tls=implicit, early=Early.TLS)

    starttls = listener(replace(limits, greeting_seconds=GREETING_SECONDS), implicit=False)
    async with on_port(starttls, host, port) as bound:
        at_once = listener(limits, implicit=True)
        logins.watch(starttls, at_once)
        unsubscribe = bus.subscribe(logins.heard)
        try:
            async with on_port(at_once, host, tls_port) as tls_bound:
                task_status.started((bound, tls_bound))
                await anyio.sleep_forever()
        finally:
            unsubscribe()
