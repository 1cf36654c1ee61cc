"""Mail handed in by mail programs (RFC 6409): in whose name they may send, and taking it in.

What is accepted here is the same thing as mail sent by a tool: counted, in Sent, threaded, with status and events.
Who they are is found out in `submitters.py`; `submitted.py` files what was taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from daimon_mcp.domain.clock import day_period, month_period
from daimon_mcp.domain.envelopes import ContentFile, Envelope, Peer, ReceivedContent, Recipient
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused
from daimon_mcp.domain.senders import owns, sender_not_owned, unquoted
from daimon_mcp.mail.addresses import normalise
from daimon_mcp.mail.submission import HeaderFault, HeaderProblem, SubmittedHeaders, examine
from daimon_mcp.mail.trace import HEADER_BYTES
from daimon_mcp.operations.abuse import Abuse
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.backlog import Backlog
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.directory import Directory
from daimon_mcp.operations.held import check_room, judge
from daimon_mcp.operations.reading import on_parser
from daimon_mcp.operations.recipients import check_recipients
from daimon_mcp.operations.sending import count_sends
from daimon_mcp.operations.spool import Spool
from daimon_mcp.operations.submitters import Submitter, Submitters
from daimon_mcp.store import accounts, inboxes, incoming
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.incoming import Counted, NewIncoming
from daimon_mcp.texts import Texts, render

_READ_AT_ONCE: Final = 65_536  # octets that are hashed and looked at without the way to a thread and back
_CHUNK: Final = 1 << 20


class Taken(NamedTuple):
    """Mail that was taken in: its `msg_` id, and whether it waits for the operator's word.

    What the guard finds in it is found when it is filed, and holds it too.
    """

    id: str
    held: bool = False


class Submitting:
    """What the submission listener asks of the core."""

    def __init__(
        self,
        core: Core,
        spool: Spool,
        directory: Directory,
        submitters: Submitters,
        abuse: Abuse,
        backlog: Backlog,
        texts: Texts,
    ) -> None:
        self._core = core
        self._spool = spool
        self._directory = directory
        self._submitters = submitters
        self._abuse = abuse
        self._backlog = backlog
        self._texts = texts

    # -- who --------------------------------------------------------------------------------------------------------

    async def log_in(self, username: str, password: str, address: str) -> Submitter:
        """Who this is; as `Submitters.log_in`."""
        return await self._submitters.log_in(username, password, address)

    async def check_account(self, submitter: Submitter) -> None:
        """Whether its account may use SMTP now; as `Submitters.check_account`."""
        await self._submitters.check_account(submitter)

    # -- the envelope -----------------------------------------------------------------------------------------------

    async def check_sender(self, submitter: Submitter, address: str) -> None:
        """Raise FORBIDDEN (SENDER_NOT_OWNED) unless the reverse-path is an inbox of the account.

        The null reverse-path is judged with the content: a report may have it.
        """
        if address and not owns(await self._submitters.owned(submitter), address):
            await self._refuse_sender(submitter)

    async def _refuse_sender(self, submitter: Submitter) -> None:
        await self._abuse.refused_sender(submitter.account_no)
        raise Refused(RefusalCode.FORBIDDEN, reason="SENDER_NOT_OWNED")

    async def check_recipient(self, submitter: Submitter, address: str) -> None:
        """Raise INBOX_NOT_FOUND for an inbox that is not here, RELAY_NOT_CONFIGURED for one elsewhere without a way."""
        del submitter  # anybody who may send may send to anybody; lists are asked when the whole envelope is known
        if self._core.is_local(address):
            if not await self._directory.is_here(normalise(address)):
                raise Refused(RefusalCode.INBOX_NOT_FOUND)
        elif not self._core.policy.relay_configured:
            raise Refused(RefusalCode.RELAY_NOT_CONFIGURED, facts={"count": 1})

    # -- taking it in -----------------------------------------------------------------------------------------------

    async def accept(self, submitter: Submitter, envelope: Envelope, peer: Peer, content: ReceivedContent) -> Taken:
        """Judge, count and take in one message. Durable when it returns, and on its way soon unless it is held.

        The same mail again (its own Message-ID, the same bytes and recipients) gets the first one's id, and is not
        sent again. Raises FORBIDDEN (SENDER_NOT_OWNED, OVERSIGHT_READ_ONLY, INBOX_PAUSED), INVALID_REQUEST (headers),
        SEND_LIMIT_EXCEEDED, SEND_REQUIRES_PAID, RATE_LIMIT_EXCEEDED (OPEN_REQUESTS too), RECIPIENT_REFUSED,
        RELAY_NOT_CONFIGURED, ACCOUNT_SUSPENDED, INBOX_NOT_FOUND, STORE_UNAVAILABLE, and
        UNAUTHORIZED when the password was rotated after the login.
        """
        core = self._core
        size, data, file = self._spool.content_fields(content)
        self._spool.check_room(size)
        await self._backlog.check()
        costs = 0 if size <= _READ_AT_ONCE else size
        examined, digest, has_nul = await on_parser(partial(_examined, content), costs)
        if has_nul:
            raise self._faulty([HeaderProblem(HeaderFault.NUL, "content")])
        await self._check_headers(submitter, envelope, examined)
        inbox = await self._inbox(examined, envelope)
        forward = each_once(envelope)
        recipients = tuple(each.address for each in forward)
        envelope = replace(envelope, rcpt_to=recipients, recipients=tuple(forward))
        fingerprint = hashlib.sha256(digest + "\n".join(sorted(recipients)).encode()).hexdigest()
        now = core.clock.now()
        new = NewIncoming(
            id=new_id("msg", now),
            origin=incoming.SUBMISSION,
            envelope=envelope,
            peer=peer,
            size=size,
            data=data,
            file=file,
            received_at=now,
            account_no=submitter.account_no,
            inbox_no=inbox.no,
            message_id=examined.message_id,
            fingerprint=fingerprint,
            counted=Counted(at=now, day=day_period(now), month=month_period(now)),
        )

        def run(tx: Transaction) -> tuple[str | None, bool]:
            """The id of the same mail taken before, or None when this one is taken; and whether this one is held."""
            if examined.message_id is not None:
                same = {"inbox_no": inbox.no, "message_id": examined.message_id, "fingerprint": fingerprint}
                row = tx.one(sql.incoming_same, **same) or tx.one(sql.submitted_same, **same)
                if row is not None:
                    return str(row[0]), False
            account = accounts.account_in(tx, submitter.account_no)
            if submitter.smtp_version not in (None, account.smtp_version):
                raise Refused(RefusalCode.UNAUTHORIZED)
            account.check_may_send()
            current = inboxes.one_in(tx, inbox.no)
            held = judge(tx, core, current, submitter.actor, recipients, (), now) is not None
            if held:
                check_room(tx, account.no, now)
            else:
                count_sends(core.policy, tx, account, len(recipients), at=now, now=now)
            check_recipients(tx, core, inbox, recipients, is_reply="in-reply-to" in examined.counts)
            self._spool.put(tx, replace(new, counted=None) if held else new)
            note(
                tx, submitter.actor, "submit_message", new.id, now=now, inbox=inbox.id, recipients=len(recipients),
                status="pending_approval" if held else None,
            )  # fmt: skip
            return None, held

        known, held = await core.database.write(run)
        if known is not None:
            if file is not None:
                await self._spool.forget(file)
            return Taken(known)
        await self._abuse.sent(submitter.account_no, len(recipients))
        return Taken(new.id, held)

    async def _check_headers(self, submitter: Submitter, envelope: Envelope, examined: SubmittedHeaders) -> None:
        if examined.problems:
            raise self._faulty(examined.problems[:5])
        if examined.received >= self._core.policy.max_hops:
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="MAIL_LOOP")
        wrong = sender_not_owned(
            await self._submitters.owned(submitter),
            mail_from=envelope.mail_from,
            from_=examined.from_,
            sender=examined.sender,
            report=examined.report,
        )
        if wrong is not None:
            await self._refuse_sender(submitter)

    def _faulty(self, problems: Sequence[HeaderProblem]) -> Refused:
        """INVALID_REQUEST with what is wrong with each field."""
        words = self._texts.text("smtp", "header_fault")
        fields = [FieldProblem(each.field or "header", render(words.prose(each.fault), {}, str)) for each in problems]
        return Refused(RefusalCode.INVALID_REQUEST, fields=fields)

    async def _inbox(self, examined: SubmittedHeaders, envelope: Envelope) -> Inbox:
        """Whose Sent it is put into: that of the first From, which is what readers answer to."""
        address = examined.from_[0] if examined.from_ else envelope.mail_from
        inbox = await self._directory.inbox(normalise(unquoted(address)))
        if inbox is None:
            raise Refused(RefusalCode.INBOX_NOT_FOUND)
        return inbox


def _examined(content: ReceivedContent) -> tuple[SubmittedHeaders, bytes, bool]:
    """The header block, the SHA-256 of all, and whether there is a NUL, which some servers drop on their way."""
    if isinstance(content, ContentFile):
        digest, has_nul = hashlib.sha256(), False
        with content.path.open("rb") as file:
            head = chunk = file.read(_CHUNK)
            while chunk:
                digest.update(chunk)
                has_nul = has_nul or b"\0" in chunk
                chunk = file.read(_CHUNK)
        return examine(head[: HEADER_BYTES + 1]), digest.digest(), has_nul
    return examine(content[: HEADER_BYTES + 1]), hashlib.sha256(content).digest(), b"\0" in content


def each_once(envelope: Envelope) -> list[Recipient]:
    """The forward-paths, each mailbox once, with the parameters of the first."""
    found: dict[str, Recipient] = {}
    for each in envelope.recipients or tuple(Recipient(address) for address in envelope.rcpt_to):
        address = normalise(each.address)
        found.setdefault(address.lower(), Recipient(address, each.notify, each.orcpt))
    return list(found.values())
