"""Mail handed in by mail programs (RFC 6409): who they are, in whose name they may send, and the sending itself.

What is accepted here is the same thing as mail sent by a tool: counted, in Sent, threaded, with status and events.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio

from daimon_mcp.domain.accounts import Account, AccountStatus, Actor
from daimon_mcp.domain.clock import day_period, month_period
from daimon_mcp.domain.envelopes import ContentFile, Envelope, Peer, ReceivedContent, Recipient
from daimon_mcp.domain.ids import canonical_id, looks_like_id, new_id
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused, invalid
from daimon_mcp.domain.senders import owns, sender_not_owned, unquoted
from daimon_mcp.domain.tiers import next_tier
from daimon_mcp.mail.addresses import Address, normalise
from daimon_mcp.mail.compose import new_message_id
from daimon_mcp.mail.dsn import Failure
from daimon_mcp.mail.submission import HeaderFault, SubmittedHeaders, examine, repaired
from daimon_mcp.mail.trace import HEADER_BYTES, received_header
from daimon_mcp.operations.abuse import Abuse
from daimon_mcp.operations.backlog import Backlog
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.credentials import Credentials, hash_key
from daimon_mcp.operations.directory import Directory
from daimon_mcp.operations.dispatch import NO_SUCH_INBOX
from daimon_mcp.operations.outbound import Outbound, keep
from daimon_mcp.operations.reading import on_parser, person, understand
from daimon_mcp.operations.recipients import check_recipients, reached
from daimon_mcp.operations.reports import Original, Reported, Reports
from daimon_mcp.operations.sending import count_sends, may_send_now
from daimon_mcp.operations.spool import Spool
from daimon_mcp.store import accounts, incoming, queue
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.incoming import Counted, NewIncoming, StoredIncoming
from daimon_mcp.store.messages import Content

_FAULTS = {
    HeaderFault.TOO_LONG: "is longer than this server reads",
    HeaderFault.NUL: "holds a NUL",
    HeaderFault.BARE_CR_OR_LF: "holds a CR or LF alone",
    HeaderFault.DUPLICATE: "may be there once only",
    HeaderFault.SPACE_BEFORE_COLON: "has a space before its colon",
    HeaderFault.BAD_ADDRESSES: "must be a list of mailboxes",
}


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who has logged in. `inbox_no` is set for a login that may send from one inbox alone.

    `max_sessions` is how many sessions the account may have at the same time. `smtp_version` says which of the
    account's SMTP passwords it was, None for a login with an inbox's key.
    """

    account_no: int
    account_id: str
    inbox_no: int | None
    max_sessions: int
    actor: Actor
    smtp_version: int | None = None


class Submitting:
    """What the submission listener asks of the core."""

    def __init__(
        self,
        core: Core,
        spool: Spool,
        directory: Directory,
        credentials: Credentials,
        abuse: Abuse,
        reports: Reports,
        backlog: Backlog,
    ) -> None:
        self._core = core
        self._spool = spool
        self._directory = directory
        self._credentials = credentials
        self._abuse = abuse
        self._reports = reports
        self._backlog = backlog

    # -- who --------------------------------------------------------------------------------------------------------

    async def log_in(self, username: str, password: str, address: str) -> Submitter:
        """Who this is: an API key, an account id or an inbox address with the account's SMTP password, or an inbox
        address with that inbox's key. `address` is the peer's; logins that fail from it are answered ever more slowly.

        Whether that account may use SMTP is for `check_account` to say. Raises UNAUTHORIZED, RATE_LIMIT_EXCEEDED
        (LOGIN_FAILURES).
        """
        account, actor = await self._named(username, password)
        # The same work whether or not anybody is called so.
        proof = self._credentials.smtp_password(account.id if account else "", account.smtp_version if account else 1)
        right = hmac.compare_digest(password.encode(), proof.encode())
        version = account.smtp_version if account and right else None
        if account is not None and actor is None and "@" in username:
            actor = await self._key_of_inbox(account, username, password)
            right = right or actor is not None
            actor = actor or Actor(account.no, account.id)
        if account is None or actor is None or not right:
            # Only the wrong wait: whoever fails from an address keeps nobody else there from logging in.
            delay = self._abuse.delay(address)
            await self._abuse.failed_login(address, account.no if account else None)
            await anyio.sleep(delay)
            raise Refused(RefusalCode.UNAUTHORIZED)
        self._core.mail_seen_at = self._core.clock.now()
        limits = self._core.policy.limits[account.tier]
        return Submitter(account.no, account.id, actor.inbox_no, limits.smtp_sessions, actor, version)

    async def check_account(self, submitter: Submitter) -> None:
        """Whether its account may use SMTP now. Raises SMTP_REQUIRES_PAID, ACCOUNT_SUSPENDED, FORBIDDEN."""
        account = await self._directory.account(submitter.account_no)
        assert account is not None
        if account.status is AccountStatus.SUSPENDED:
            raise Refused(RefusalCode.ACCOUNT_SUSPENDED)
        submitter.actor.require("message_send")
        if not self._core.policy.limits[account.tier].smtp:
            higher = next_tier(account.tier)
            raise Refused(
                RefusalCode.SMTP_REQUIRES_PAID,
                facts={"tier": str(account.tier)},
                target_tier=str(higher) if higher != account.tier else None,
                details={"account_id": account.id},
            )

    async def _named(self, username: str, password: str) -> tuple[Account | None, Actor | None]:
        """The account a user name speaks of, and by a key or an id already who may act."""
        database = self._core.database
        if username.startswith("dm_"):
            try:
                actor = await self._credentials.authenticate(username)
            except Refused as refused:
                if refused.code is not RefusalCode.UNAUTHORIZED:
                    raise
                return None, None
            return await accounts.account_by_no(database, actor.account_no), actor
        if "@" in username:
            inbox = await self._directory.inbox(normalise(username))
            return (await self._directory.account(inbox.account_no) if inbox else None), None
        account = await self._directory.account(canonical_id(username)) if _is_account(username) else None
        return account, Actor(account.no, account.id) if account else None

    async def _key_of_inbox(self, account: Account, username: str, password: str) -> Actor | None:
        """Who acts with an inbox's address as the name and its key as the password."""
        key = await accounts.key_by_hash(self._core.database, hash_key(password)) if password[:3] == "dm_" else None
        inbox = await self._directory.inbox(normalise(username))
        if key is None or inbox is None or key.account_no != account.no or key.inbox_no not in (None, inbox.no):
            return None
        if key.expires_at is not None and key.expires_at <= self._core.clock.now():
            return None
        return Actor(account.no, account.id, key.id, key.inbox_no, key.permissions)

    async def _owned(self, submitter: Submitter) -> frozenset[str]:
        if submitter.inbox_no is None:
            return await self._directory.owned(submitter.account_no)
        inbox = await self._directory.by_no(submitter.inbox_no)
        return frozenset(() if inbox is None else (inbox.address,))

    # -- the envelope -----------------------------------------------------------------------------------------------

    async def check_sender(self, submitter: Submitter, address: str) -> None:
        """Raise FORBIDDEN (SENDER_NOT_OWNED) unless the reverse-path is an inbox of the account.

        The null reverse-path is judged with the content: a report may have it.
        """
        if address and not owns(await self._owned(submitter), address):
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

    async def accept(self, submitter: Submitter, envelope: Envelope, peer: Peer, content: ReceivedContent) -> str:
        """Judge, count and take in one message; its `msg_` id. Durable when it returns, and on its way soon.

        The same mail again (its own Message-ID, the same bytes and recipients) gets the first one's id, and is not
        sent again. Raises FORBIDDEN (SENDER_NOT_OWNED), INVALID_REQUEST (headers), SEND_LIMIT_EXCEEDED,
        SEND_REQUIRES_PAID, RATE_LIMIT_EXCEEDED, RECIPIENT_REFUSED, RELAY_NOT_CONFIGURED, ACCOUNT_SUSPENDED,
        INBOX_NOT_FOUND, STORE_UNAVAILABLE, and UNAUTHORIZED when the password was rotated after the login.
        """
        core = self._core
        size, data, file = self._spool.content_fields(content)
        self._spool.check_room(size)
        await self._backlog.check()
        costs = 0 if size <= _READ_AT_ONCE else size
        examined, digest, has_nul = await on_parser(partial(_examined, content), costs)
        if has_nul:
            raise invalid("content", "holds a NUL")
        await self._check_headers(submitter, envelope, examined)
        inbox = await self._inbox(examined, envelope)
        forward = _each_once(envelope)
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

        def run(tx: Transaction) -> str | None:
            """The id of the same mail taken before; None when this one is taken."""
            if examined.message_id is not None:
                same = {"inbox_no": inbox.no, "message_id": examined.message_id, "fingerprint": fingerprint}
                row = tx.one(sql.incoming_same, **same) or tx.one(sql.submitted_same, **same)
                if row is not None:
                    return str(row[0])
            account = accounts.account_in(tx, submitter.account_no)
            if submitter.smtp_version not in (None, account.smtp_version):
                raise Refused(RefusalCode.UNAUTHORIZED)
            may_send_now(account)
            count_sends(core.policy, tx, account, len(recipients), at=now, now=now)
            check_recipients(tx, core, inbox, recipients, is_reply="in-reply-to" in examined.counts)
            self._spool.put(tx, new)
            return None

        known = await core.database.write(run)
        if known is not None:
            if file is not None:
                await self._spool.forget(file)
            return known
        await self._abuse.sent(submitter.account_no, len(recipients))
        return new.id

    async def _check_headers(self, submitter: Submitter, envelope: Envelope, examined: SubmittedHeaders) -> None:
        if examined.problems:
            raise Refused(
                RefusalCode.INVALID_REQUEST,
                fields=[FieldProblem(each.field or "header", _FAULTS[each.fault]) for each in examined.problems[:5]],
            )
        if examined.received >= self._core.policy.max_hops:
            raise Refused(RefusalCode.RECIPIENT_REFUSED, reason="MAIL_LOOP")
        wrong = sender_not_owned(
            await self._owned(submitter),
            mail_from=envelope.mail_from,
            from_=examined.from_,
            sender=examined.sender,
            report=examined.report,
        )
        if wrong is not None:
            await self._refuse_sender(submitter)

    async def _inbox(self, examined: SubmittedHeaders, envelope: Envelope) -> Inbox:
        """Whose Sent it is put into: that of the first From, which is what readers answer to."""
        address = examined.from_[0] if examined.from_ else envelope.mail_from
        inbox = await self._directory.inbox(normalise(unquoted(address)))
        if inbox is None:
            raise Refused(RefusalCode.INBOX_NOT_FOUND)
        return inbox

    # -- filing -----------------------------------------------------------------------------------------------------

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
        recipients = _each_once(envelope)
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
                    lambda tx, mail=mail, gone=gone, reports=reports: self._file(tx, stored, mail, gone, reports)
                )
            except _Changed:
                continue

    def _file(
        self, tx: Transaction, stored: StoredIncoming, mail: Outbound, gone: list[str], reports: Sequence[Content]
    ) -> bool:
        if not incoming.take(tx, stored.no):
            return False
        now = self._core.clock.now()
        message = keep(tx, self._core, mail, now)
        queued = queue.by_message_in(tx, message.seq)
        assert queued is not None
        bounced = [each.recipient for each in queue.deliveries_in(tx, queued.no) if each.last_text == NO_SUCH_INBOX]
        if sorted(bounced) != sorted(gone):
            raise _Changed
        for report in reports:
            self._reports.place(tx, message, report, now)
        return True

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


_READ_AT_ONCE = 65_536  # octets that are hashed and looked at without the way to a thread and back


def _is_account(username: str) -> bool:
    return looks_like_id(canonical_id(username), "acc")


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


_CHUNK = 1 << 20


def _each_once(envelope: Envelope) -> list[Recipient]:
    """The forward-paths, each mailbox once, with the parameters of the first."""
    found: dict[str, Recipient] = {}
    for each in envelope.recipients or tuple(Recipient(address) for address in envelope.rcpt_to):
        address = normalise(each.address)
        found.setdefault(address.lower(), Recipient(address, each.notify, each.orcpt))
    return list(found.values())
