"""Filing mail that programs handed in: mended, in Sent and in the queue, as what a tool sends is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from daimon_mcp.domain.accounts import SMTP, Actor
from daimon_mcp.domain.changes import AccountChanged
from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.oversight import HELD, Finding, Why
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.mail.addresses import Address, normalise
from daimon_mcp.mail.compose import new_message_id
from daimon_mcp.mail.dsn import Failure
from daimon_mcp.mail.submission import SubmittedHeaders, examine, repaired
from daimon_mcp.mail.trace import HEADER_BYTES, received_header
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.directory import Directory
from daimon_mcp.operations.dispatch import NO_SUCH_INBOX
from daimon_mcp.operations.guarding import inspect_mail
from daimon_mcp.operations.held import Held, ask, judge
from daimon_mcp.operations.outbound import Outbound, keep
from daimon_mcp.operations.reading import on_parser, person, understand
from daimon_mcp.operations.recipients import reached
from daimon_mcp.operations.reports import Original, Reported, Reports
from daimon_mcp.operations.spool import Spool
from daimon_mcp.operations.submitting import each_once
from daimon_mcp.operations.withdrawing import withdraw
from daimon_mcp.store import accounts, inboxes, incoming, queue, usage
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.incoming import StoredIncoming
from daimon_mcp.store.messages import Content


class Submitted:
    """Takes mail of programs out of the spool."""

    def __init__(self, core: Core, spool: Spool, directory: Directory, reports: Reports) -> None:
        self._core = core
        self._spool = spool
        self._directory = directory
        self._reports = reports

    async def file(self, stored: StoredIncoming, turn: Callable[[], Awaitable[None]]) -> bool:
        """Put it into Sent and the queue, with what was missing added; False when somebody else has done so.

        `turn` is awaited before that.
        """
        core = self._core
        envelope = stored.envelope
        content = await self._spool.load(stored)
        assert stored.inbox_no is not None
        inbox = await self._directory.by_no(stored.inbox_no)
        assert inbox is not None
        own_id = new_message_id(inbox.address.rpartition("@")[2])
        trace = received_header(
            by=core.policy.hostname, peer=stored.peer, rcpt=None, now=stored.received_at, id=stored.id
        )

        def mended() -> tuple[bytes, SubmittedHeaders]:
            examined = examine(content[: HEADER_BYTES + 1])
            whole = repaired(
                content,
                message_id=own_id,
                date=stored.received_at,
                received=trace,
                examined=examined,
                mail_from=envelope.mail_from,
            )
            return whole, examined

        raw, examined = await on_parser(mended, len(content))
        understood, _ = await understand(core, raw)
        findings = await inspect_mail(core, understood, raw)
        recipients = each_once(envelope)
        named = {normalise(each["email"]).lower() for each in (*understood.to, *understood.cc)}
        bcc = [person(Address(each.address)) for each in recipients if normalise(each.address).lower() not in named]
        addresses = [inbox.address, *(each.address for each in recipients)]
        await turn()
        while True:
            gone = [
                each.address
                for each in recipients
                if core.is_local(each.address) and not await self._directory.is_here(normalise(each.address))
            ]
            reports = await self._reports_on(stored, understood, raw, recipients, gone, inbox)
            mail = Outbound(
                id=stored.id,
                inbox=inbox,
                content=understood,
                recipients=[reached(core, each.address, each) for each in recipients],
                mail_from=envelope.mail_from,
                smtputf8=stored.peer.smtputf8 and (examined.eight_bit or not all(map(str.isascii, addresses))),
                fingerprint=stored.fingerprint or "",
                counted=None if stored.counted is None else (
                    stored.counted.at, stored.counted.day, stored.counted.month
                ),
                expires_at=stored.received_at + core.policy.give_up_after,
                bcc=bcc,
                ret=envelope.ret,
                envid=envelope.envid,
                origin=queue.SMTP,
            )  # fmt: skip
            try:
                return await core.database.write(
                    lambda tx, mail=mail, gone=gone, reports=reports: self._file(
                        tx, stored, mail, gone, reports, findings
                    )
                )
            except _Changed:
                continue

    def _file(
        self,
        tx: Transaction,
        stored: StoredIncoming,
        mail: Outbound,
        gone: list[str],
        reports: Sequence[Content],
        findings: Sequence[Finding],
    ) -> bool:
        if not incoming.take(tx, stored.no):
            return False
        now = self._core.clock.now()
        held = self._held(tx, mail, findings, now)
        if held is not None or mail.counted is None:
            self._keep_back(tx, mail, held, now)
            return True
        message = keep(tx, self._core, mail, now)
        queued = queue.by_message_in(tx, message.seq)
        assert queued is not None
        bounced = [each.recipient for each in queue.deliveries_in(tx, queued.no) if each.last_text == NO_SUCH_INBOX]
        if sorted(bounced) != sorted(gone):
            raise _Changed
        for report in reports:
            self._reports.place(tx, message, report, now)
        return True

    def _held(self, tx: Transaction, mail: Outbound, findings: Sequence[Finding], now: int) -> Held | None:
        """Why it has to wait: for what the guard found, or for the reasons for which it was not counted when accepted.

        It is judged anew for those to be told. Has its inbox been stopped since, it waits: it was acknowledged.
        """
        secrets = tuple(findings) if self._core.policy.guard == "hold" else ()
        if mail.counted is not None:
            return Held((Why.SECRETS,), (), secrets) if secrets else None
        actor = Actor(mail.inbox.account_no, "", face=SMTP)
        recipients = [each.address for each in mail.recipients]
        try:
            current = inboxes.one_in(tx, mail.inbox.no)
            return judge(tx, self._core, current, actor, recipients, findings, now)
        except Refused:
            return Held((Why.EVERY_SEND,), (), secrets)

    def _keep_back(self, tx: Transaction, mail: Outbound, held: Held | None, now: int) -> None:
        """Keep mail that waits for the operator, or that was to wait and may leave meanwhile: then as parked mail."""
        core, inbox = self._core, inboxes.one_in(tx, mail.inbox.no)
        if mail.counted is not None:
            _, day, month = mail.counted
            usage.take_back(tx, inbox.account_no, len(mail.recipients), day=day, month=month)
        state = queue.WAITING if held is None else HELD
        message = keep(tx, core, replace(mail, state=state, counted=None), now)
        if inbox.deleted_at is not None:
            withdraw(tx, message.seq, now=now)
        elif held is not None:
            ask(tx, core, message, inbox, SMTP, held, "", now)
        else:
            account = accounts.account_in(tx, inbox.account_no)
            tx.announce(AccountChanged(account.no, account.id))

    async def _reports_on(
        self,
        stored: StoredIncoming,
        understood: Content,
        raw: bytes,
        recipients: Sequence[Recipient],
        gone: Sequence[str],
        inbox: Inbox,
    ) -> list[Content]:
        """What the sender wants to be told of its recipients here (RFC 3461 §4.1): those that were deleted since they
        were accepted, and, if it asked, those that have it now."""
        envelope, remote = stored.envelope, self._core.policy.hostname
        about = Reported(
            message=Original(understood.message_id, stored.received_at),
            original=raw,
            mail_from=inbox.address if envelope.mail_from else "",
            recipients=recipients,
            ret=envelope.ret,
            envid=envelope.envid,
        )
        here = [each.address for each in recipients if self._core.is_local(each.address) and each.address not in gone]
        failures = [Failure(each, "5.1.1", NO_SUCH_INBOX, remote, "failed") for each in gone]
        successes = [Failure(each, "2.1.5", "", remote, "delivered") for each in here]
        made = [await self._reports.failed(about, failures), await self._reports.delivered(about, successes)]
        return [each for each in made if each is not None]


class _Changed(Exception):
    """An inbox came or went between looking and writing."""
