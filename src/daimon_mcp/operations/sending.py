"""Sending: policy, compose, queue. One transaction decides; what it acknowledged leaves, once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import orjson
from pydantic import Field, WithJsonSchema

from daimon_mcp.domain.accounts import AccountStatus, Actor
from daimon_mcp.domain.changes import MessageAdded, MessageChanged, QueueChanged
from daimon_mcp.domain.clock import day_period, iso_or_none, month_period
from daimon_mcp.domain.ids import canonical_id, looks_like_id, new_id
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.queue import MessageStatus
from daimon_mcp.domain.refusals import Fact, FieldProblem, RefusalCode, Refused, invalid
from daimon_mcp.domain.tiers import check_send, usage_facts
from daimon_mcp.mail.compose import reply_references
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.dispatch import let_go, local_inbox
from daimon_mcp.operations.lint import lint
from daimon_mcp.operations.outgoing import Composition, Ready, bracketed, from_markdown, people, prepare
from daimon_mcp.operations.reading import understand
from daimon_mcp.operations.requests import ClientId, Id, Moment, People, Reason, Request, refuse
from daimon_mcp.operations.upgrades import Upgrades
from daimon_mcp.operations.views import cursor
from daimon_mcp.store import accounts, inboxes, messages, queue, usage
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import NewMessage, StoredMessage


class SendOptions(Composition):
    """What may be said of any send besides its content."""

    client_id: Annotated[ClientId | None, Field(description="Idempotency key")] = None
    send_at: Annotated[Moment | None, Field(description="ISO 8601 with offset")] = None
    park: Annotated[bool, Field(description="If refused for the tier, send it after the upgrade")] = False
    reason: Annotated[Reason | None, Field(description="Why; your operator reads it")] = None


class SendEmail(SendOptions):
    to: Annotated[People | None, Field(description="Address, list, or comma-separated")] = None
    inbox: Annotated[Id | None, Field(description="id or address; needed if you have several")] = None
    body_markdown: Annotated[str | None, Field(description="Instead of body; makes both parts")] = None
    reply_to: People | None = None
    in_reply_to: Annotated[str | None, Field(max_length=300, description="Message-ID or msg_ id")] = None
    references: Annotated[list[Annotated[str, Field(max_length=300)]] | None, Field(max_length=100)] = None
    thread_id: Id | None = None
    headers: Annotated[
        dict[str, str] | None, Field(description="Extra, such as X-Ticket"), WithJsonSchema({"type": "object"})
    ] = None
    labels: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]] | None, Field(max_length=20)] = None
    dry_run: Annotated[bool, Field(description="Only say what would happen")] = False
    allow_duplicate: Annotated[bool, Field(description="Send although the same just left")] = False


class CancelScheduled(Request):
    message_id: Annotated[Id, Field(description="The id a scheduled or parked send answered with")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A message ready to be judged and stored, whichever way it came."""

    inbox: Inbox
    ready: Ready
    labels: Sequence[str] = ()
    client_id: str | None = None
    request_sha256: str = ""
    send_at: int | None = None
    park: bool = False
    allow_duplicate: bool = False
    reason: str | None = None
    thread_seq: int | None = None
    draft_id: str | None = None
    draft_no: int | None = None
    public_id: str | None = None


class Sending:
    """The verbs that let mail out."""

    def __init__(self, core: Core, upgrades: Upgrades) -> None:
        self._core = core
        self._upgrades = upgrades

    async def send_email(self, actor: Actor, request: SendEmail) -> Outcome:
        """Send, schedule or park one message.

        Raises SEND_REQUIRES_PAID, SEND_LIMIT_EXCEEDED, RATE_LIMIT_EXCEEDED, RELAY_NOT_CONFIGURED, RECIPIENT_REFUSED,
        IDEMPOTENCY_CONFLICT, MESSAGE_TOO_LARGE, INVALID_REQUEST, INBOX_NOT_FOUND, THREAD_NOT_FOUND.
        """
        actor.require("message_send")
        missing = [
            FieldProblem(name, "is required", example)
            for name, value, example in (
                ("to", request.to, '"ann@example.com"'),
                ("subject", request.subject, '"Hello"'),
                ("body", request.body if request.body is not None else request.body_markdown, '"Hello Ann"'),
            )
            if value is None
        ]
        if missing:
            raise refuse(missing)
        inbox = await access.inbox(self._core, actor, request.inbox)
        sha256 = request_hash("send_email", request)
        if (known := await self.known(inbox, request.client_id, sha256)) is not None:
            return known
        thread_seq, in_reply_to, references = await self._threading(actor, inbox, request)
        text, html = request.body, request.body_html
        if request.body_markdown is not None:
            if text is not None or html is not None:
                raise refuse([FieldProblem("body_markdown", "goes alone: leave out body and body_html")])
            text, html = request.body_markdown, from_markdown(request.body_markdown)
        ready = await prepare(
            self._core,
            inbox,
            to=people("to", request.to),
            cc=people("cc", request.cc),
            bcc=people("bcc", request.bcc),
            reply_to=people("reply_to", request.reply_to),
            subject=request.subject or "",
            text=text or "",
            html=html,
            in_reply_to=in_reply_to,
            references=references,
            headers=request.headers,
            attachments=request.attachments,
        )
        return await self.submit(
            actor,
            Submission(
                inbox=inbox,
                ready=ready,
                labels=request.labels or (),
                client_id=request.client_id,
                request_sha256=sha256,
                send_at=request.send_at,
                park=request.park,
                allow_duplicate=request.allow_duplicate,
                reason=request.reason,
                thread_seq=thread_seq,
            ),
            dry_run=request.dry_run,
        )

    async def _threading(
        self, actor: Actor, inbox: Inbox, request: SendEmail
    ) -> tuple[int | None, str | None, tuple[str, ...]]:
        """The thread it is put in, In-Reply-To and References."""
        core = self._core
        parent: StoredMessage | None = None
        thread_seq: int | None = None
        in_reply_to = request.in_reply_to
        if request.thread_id is not None:
            thread = await access.thread(core, actor, request.thread_id, inbox)
            thread_seq = thread.seq
            if in_reply_to is None:
                rows = await core.database.all(
                    sql.thread_newest, thread_seq=thread.seq, limit=1, before=messages.LAST_SEQ
                )
                parent = messages.message_of(rows[0]) if rows else None
        if in_reply_to is not None and looks_like_id(canonical_id(in_reply_to), "msg"):
            parent = await access.message(core, actor, in_reply_to, inbox)
        elif in_reply_to is not None:
            row = await core.database.one(
                sql.message_by_message_id, inbox_no=inbox.no, message_id=bracketed(in_reply_to)
            )
            parent = messages.message_of(row) if row else None
        for field, values in (("in_reply_to", [in_reply_to or ""]), ("references", request.references or [])):
            if any(set(value) & set(" \t\r\n\0") for value in values):
                raise invalid(field, "is not a Message-ID", '"<abc@example.com>"')
        if parent is not None and parent.message_id is not None:
            chain = reply_references(parent.message_id, parent.references, parent.in_reply_to)
            given = tuple(bracketed(each) for each in request.references or ())
            return thread_seq, parent.message_id, given or chain
        given = tuple(bracketed(each) for each in request.references or ())
        own = bracketed(in_reply_to) if in_reply_to else None
        return thread_seq, own, given or ((own,) if own else ())

    # -- one transaction decides ---------------------------------------------------------------------------------------

    async def submit(self, actor: Actor, submission: Submission, *, dry_run: bool = False) -> Outcome:
        """Judge and store a prepared message: sent at once, scheduled, parked, or refused with nothing kept."""
        now = self._core.clock.now()
        if dry_run:
            return await self._verdict(actor, submission, now)
        try:
            result, key = await self._core.database.write(lambda tx: self.store(tx, actor, submission, now))
        except Refused as refused:
            if not (submission.park and refused.code in PARKABLE and refused.target_tier):
                raise
            return await self.park(actor, submission, refused, now)
        return Outcome(key=f"send_email.{key}", result=result, facts=_facts(result))

    async def park(self, actor: Actor, submission: Submission, refused: Refused, now: int) -> Outcome:
        """Keep a refused message as `pending_upgrade`: it leaves by itself when the operator has approved."""
        result, key = await self._core.database.write(lambda tx: self.store(tx, actor, submission, now, park=True))
        link = await self._upgrades.link_for(actor, refused.target_tier or "", submission.reason)
        return Outcome(key=f"send_email.{key}", result=result, facts=_facts(result), link=link)

    def store(
        self, tx: Transaction, actor: Actor, submission: Submission, now: int, *, park: bool = False
    ) -> tuple[dict[str, Any], str]:
        """Inside a write: repeats, limits, recipients; then place, queue and, if it is due, let go.

        The result in wire names and the outcome's key. With `park` the limits are not asked and it waits.
        """
        core, inbox, ready = self._core, submission.inbox, submission.ready
        if (known := self._known_in(tx, inbox, submission.client_id, submission.request_sha256)) is not None:
            return known, "repeated"
        if submission.client_id is None and not submission.allow_duplicate and submission.draft_no is None:
            duplicate = self._duplicate(tx, inbox, ready.fingerprint, now)
            if duplicate is not None:
                return duplicate, "duplicate"
        account = accounts.account_in(tx, actor.account_no)
        if account.status is AccountStatus.SUSPENDED:
            raise Refused(RefusalCode.ACCOUNT_SUSPENDED)
        current = inboxes.one_in(tx, inbox.no)
        if current.deleted_at is not None:
            raise Refused(RefusalCode.INBOX_NOT_FOUND)
        later = submission.send_at is not None and submission.send_at > now
        leaves_at = submission.send_at if later and submission.send_at is not None else now
        limits = core.policy.limits[account.tier]
        if not park:
            used = usage.in_tx(tx, account.no, at=leaves_at, now=now)
            if later:
                used = replace(used, last_minute=0)
            check_send(account.tier, limits, used, len(ready.recipients), now)
        transports = self._transports(tx, ready.recipients)
        if not park and not usage.add(tx, account.no, len(ready.recipients), limits, at=leaves_at):
            # Another writer used the last sends between our look and our count: look again, and say so.
            check_send(
                account.tier, limits, usage.in_tx(tx, account.no, at=leaves_at, now=now), len(ready.recipients), now
            )
            raise Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=1)
        status = MessageStatus.PENDING_UPGRADE if park else MessageStatus.SCHEDULED if later else MessageStatus.QUEUED
        public_id = submission.public_id or new_id("msg", now)
        mailbox = inboxes.SENT if status is MessageStatus.QUEUED else inboxes.SCHEDULED
        placed = messages.place(
            tx,
            NewMessage(
                id=public_id,
                inbox_no=inbox.no,
                mailbox=mailbox,
                direction="outbound",
                status=status,
                content=ready.content,
                seen=True,
                received_at=now,
                bcc=ready.bcc,
                mail_from=inbox.address,
                labels=submission.labels,
                draft_id=submission.draft_id,
                send_at=submission.send_at if later else None,
                thread_seq=submission.thread_seq,
            ),
        )
        states = {MessageStatus.QUEUED: queue.ACTIVE, MessageStatus.SCHEDULED: queue.SCHEDULED}
        state = states.get(status, queue.WAITING)
        queue.insert(
            tx,
            message_seq=placed.seq,
            account_no=account.no,
            inbox_no=inbox.no,
            state=state,
            mail_from=inbox.address,
            smtputf8=ready.smtputf8,
            fingerprint=ready.fingerprint,
            recipients=transports,
            counted=None if park else (leaves_at, day_period(leaves_at), month_period(leaves_at)),
            send_at=submission.send_at if later else None,
            now=now,
            expires_at=leaves_at + core.policy.give_up_after,
        )
        message = messages.in_tx(tx, placed.seq)
        if status is MessageStatus.QUEUED:
            queued = queue.by_message_in(tx, placed.seq)
            assert queued is not None
            status = let_go(tx, message, queued, ready.content, now)
            message = messages.in_tx(tx, placed.seq)
        else:
            tx.announce(QueueChanged())
        tx.announce(MessageAdded(account.no, inbox.no, inbox.id, public_id, placed.thread_id, mailbox, placed.seq))
        if submission.draft_no is not None:
            tx.run(
                sql.draft_link,
                draft_no=submission.draft_no,
                new_state={queue.ACTIVE: "sent", queue.SCHEDULED: "scheduled"}.get(state, "pending_upgrade"),
                seq=placed.seq,
                new_message_id=public_id,
                new_send_at=submission.send_at if later else None,
                now=now,
            )
        result = {
            "id": public_id,
            "status": str(status),
            "message_id": ready.message_id,
            "thread_id": placed.thread_id,
            "sent_at": iso_or_none(message.sent_at),
            "scheduled_at": iso_or_none(message.send_at),
            "note": None,
            "recipients": list(ready.recipients),
            "usage": usage_facts(limits, usage.in_tx(tx, account.no, at=now, now=now), now),
            "cursor": cursor(placed.seq),
        }
        if submission.client_id is not None:
            self._remember(tx, inbox, submission, public_id, result, now)
        return result, str(status)

    def _transports(self, tx: Transaction, recipients: Sequence[str]) -> list[tuple[str, str]]:
        """Each recipient with how it is reached. Raises RECIPIENT_REFUSED or RELAY_NOT_CONFIGURED."""
        policy = self._core.policy
        unknown = [each for each in recipients if policy.is_local(each) and local_inbox(tx, each)[0] is None]
        if unknown:
            raise Refused(
                RefusalCode.RECIPIENT_REFUSED,
                reason="NO_SUCH_INBOX",
                facts={"count": len(unknown)},
                details={"refused_recipients": unknown},
            )
        outside = [each for each in recipients if not policy.is_local(each)]
        if outside and not policy.relay_configured:
            raise Refused(
                RefusalCode.RELAY_NOT_CONFIGURED,
                facts={"count": len(outside)},
                details={"unreachable_recipients": outside},
            )
        return [(each, queue.LOCAL if policy.is_local(each) else queue.RELAY) for each in recipients]

    # -- repeats -------------------------------------------------------------------------------------------------------

    async def known(self, inbox: Inbox, client_id: str | None, sha256: str) -> Outcome | None:
        """What this `client_id` led to before, without composing anything. Raises IDEMPOTENCY_CONFLICT."""
        if client_id is None:
            return None
        row = await self._core.database.one(sql.idempotency_get, scope=f"inbox:{inbox.no}", client_id=client_id)
        if row is None:
            return None
        result = _repeat(row, sha256, await self._core.database.one(sql.message_by_id, id=row[1]))
        return Outcome(key="send_email.repeated", result=result, facts=_facts(result))

    def _known_in(self, tx: Transaction, inbox: Inbox, client_id: str | None, sha256: str) -> dict[str, Any] | None:
        if client_id is None:
            return None
        row = tx.one(sql.idempotency_get, scope=f"inbox:{inbox.no}", client_id=client_id)
        return None if row is None else _repeat(row, sha256, tx.one(sql.message_by_id, id=row[1]))

    def _remember(
        self, tx: Transaction, inbox: Inbox, submission: Submission, public_id: str, result: dict[str, Any], now: int
    ) -> None:
        tx.run(
            sql.idempotency_insert,
            scope=f"inbox:{inbox.no}",
            client_id=submission.client_id,
            request_sha256=submission.request_sha256,
            object_id=public_id,
            response_json=json.dumps(result, ensure_ascii=False),
            created_at=now,
        )

    def _duplicate(self, tx: Transaction, inbox: Inbox, fingerprint: str, now: int) -> dict[str, Any] | None:
        since = now - self._core.policy.duplicate_window
        row = tx.one(sql.queue_fingerprint, inbox_no=inbox.no, fingerprint=fingerprint, since=since)
        if row is None:
            return None
        public_id, status, message_id, sent_at, send_at = row
        return {
            "id": public_id,
            "status": status,
            "message_id": message_id,
            "sent_at": iso_or_none(sent_at),
            "scheduled_at": iso_or_none(send_at),
            "note": None,
            "duplicate_of": public_id,
        }

    # -- looking without doing -----------------------------------------------------------------------------------------

    async def _verdict(self, actor: Actor, submission: Submission, now: int) -> Outcome:
        """Everything a send would be judged by, and nothing stored."""
        ready = submission.ready

        class _Undo(Exception):
            """Carries the verdict out of a transaction that must leave nothing."""

        problems: list[dict[str, Any]] = []
        outcome: dict[str, Any] = {}

        def run(tx: Transaction) -> None:
            try:
                result, key = self.store(tx, actor, submission, now)
                outcome.update({"would": key, "usage": result.get("usage")})
            except Refused as refused:
                problems.append({"code": str(refused.code), **({"reason": refused.reason} if refused.reason else {})})
            raise _Undo

        with contextlib.suppress(_Undo):
            await self._core.database.write(run)
        warnings = lint(ready.content.subject, ready.content.text, bool(ready.content.attachments))
        result = {
            "dry_run": True,
            "ok": not problems,
            "would": outcome.get("would", "refuse"),
            "problems": problems,
            "warnings": warnings,
            "recipients": list(ready.recipients),
            "size": ready.content.blob.size,
        }
        return Outcome(
            key="send_email.dry_run" + ("" if not problems else ".refused"),
            result=result,
            facts={"warnings": len(warnings), "recipients": len(ready.recipients)},
        )

    # -- scheduled and parked ------------------------------------------------------------------------------------------

    async def cancel_scheduled(self, actor: Actor, request: CancelScheduled) -> Outcome:
        """Take back mail that has not left: it is not sent, its sends are not counted. Raises SCHEDULED_NOT_FOUND."""
        actor.require("message_send")
        try:
            message = await access.message(self._core, actor, request.message_id)
        except Refused:
            raise Refused(RefusalCode.SCHEDULED_NOT_FOUND) from None
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            if not withdraw(tx, message.seq, now=now):
                raise Refused(RefusalCode.SCHEDULED_NOT_FOUND)
            tx.run(sql.draft_unlink_by_message, seq=message.seq)

        await self._core.database.write(run)
        return Outcome(key="cancel_scheduled", result={"id": message.id, "status": "cancelled"})

    async def release_due(self, limit: int = 50) -> int:
        """Let go of scheduled mail whose time has come; how many."""
        now = self._core.clock.now()
        due = await self._core.database.all(sql.queue_due, now=now, limit=limit)
        for (seq,) in due:
            await self.release(seq, count=False)
        return len(due)

    async def release_parked(self, account_no: int) -> int:
        """Let go of what was parked, as far as the account's tier and limits now allow; how many."""
        released = 0
        for (seq,) in await self._core.database.all(sql.queue_waiting, account_no=account_no):
            try:
                released += await self.release(seq, count=True)
            except Refused:
                break  # the next ones are behind this one: order is kept, the limit will reset
        return released

    async def release_all_parked(self) -> None:
        """At start: what an approval released and a crash kept back."""
        for (account_no,) in await self._core.database.all(sql.queue_waiting_accounts):
            await self.release_parked(account_no)

    async def next_scheduled(self) -> int | None:
        """When the next scheduled message is due, epoch µs."""
        row = await self._core.database.one(sql.queue_next_scheduled)
        return row[0] if row else None

    async def release(self, seq: int, *, count: bool) -> bool:
        """Let one waiting or scheduled message go; with `count` its sends are judged and counted now.

        False if it has gone already. Raises Refused when the limits do not allow it yet; it waits on.
        """
        core = self._core
        row = await core.database.one(sql.message_by_seq, seq=seq)
        if row is None:
            return False
        message = messages.message_of(row)
        content, _ = await understand(core, await core.blobs.get(core.database, message.blob_hash))
        now = core.clock.now()

        def run(tx: Transaction) -> bool:
            queued = queue.by_message_in(tx, seq)
            if queued is None or queued.state not in (queue.SCHEDULED, queue.WAITING):
                return False
            current = messages.in_tx(tx, seq)
            if current.deleted_at is not None:
                return False
            counted = (queued.counted_at, queued.counted_day, queued.counted_month)
            if count:
                account = accounts.account_in(tx, queued.account_no)
                limits = core.policy.limits[account.tier]
                leaves_at = max(now, queued.send_at or now)
                used = usage.in_tx(tx, account.no, at=leaves_at, now=now)
                check_send(account.tier, limits, used, queued.recipients, now)
                if not usage.add(tx, account.no, queued.recipients, limits, at=leaves_at):
                    raise Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=1)
                counted = (leaves_at, day_period(leaves_at), month_period(leaves_at))
            later = queued.send_at is not None and queued.send_at > now
            tx.run(
                sql.queue_set_state,
                queue_no=queued.no,
                new_state=queue.SCHEDULED if later else queue.ACTIVE,
                new_counted_at=counted[0],
                new_day=counted[1],
                new_month=counted[2],
                new_expires_at=(queued.send_at or now if later else now) + core.policy.give_up_after,
            )
            if later:
                tx.run(sql.message_set_status, seq=seq, new_status=MessageStatus.SCHEDULED, new_sent_at=None)
                tx.run(sql.draft_reschedule_by_message, seq=seq)
                tx.announce(QueueChanged())
                return True
            messages.move(tx, current, inboxes.SENT)
            let_go(tx, messages.in_tx(tx, seq), queued, content, now)
            tx.run(sql.draft_sent_by_message, seq=seq)
            return True

        return await core.database.write(run)


PARKABLE = {RefusalCode.SEND_REQUIRES_PAID, RefusalCode.SEND_LIMIT_EXCEEDED}


def withdraw(tx: Transaction, seq: int, *, now: int, status: str = "cancelled") -> bool:
    """Remove a message that waits or is scheduled, and give its counted sends back; False if it has left."""
    queued = queue.by_message_in(tx, seq)
    if queued is None or queued.state == queue.ACTIVE:
        return False
    message = messages.in_tx(tx, seq)
    if queued.counted_day is not None and queued.counted_month is not None:
        usage.take_back(tx, queued.account_no, queued.recipients, day=queued.counted_day, month=queued.counted_month)
    tx.run(sql.deliveries_delete, queue_no=queued.no)
    tx.run(sql.queue_delete, queue_no=queued.no)
    messages.remove(tx, message, status=status, now=now)
    tx.announce(MessageChanged(queued.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id))
    return True


def request_hash(operation: str, request: Request) -> str:
    """What makes two requests the same: every field but the ones about how to retry."""
    values = request.model_dump(exclude={"client_id", "dry_run", "park", "reason", "allow_duplicate"}, mode="json")
    return hashlib.sha256(orjson.dumps([operation, values], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _repeat(row: Sequence[Any], sha256: str, message_row: Sequence[Any] | None) -> dict[str, Any]:
    """The first result, with what has become of the message since."""
    if row[0] != sha256:
        raise Refused(RefusalCode.IDEMPOTENCY_CONFLICT, facts={"message": row[1]})
    result: dict[str, Any] = json.loads(row[2])
    if message_row is not None:
        message = messages.message_of(tuple(message_row))
        result.update(status=message.status, sent_at=iso_or_none(message.sent_at))
    return result


def _facts(result: Mapping[str, Any]) -> dict[str, Fact]:
    return {
        "message": result["id"],
        "status": result["status"],
        "scheduled_at": result.get("scheduled_at"),
        "recipients": len(result.get("recipients", ())) or None,
    }
