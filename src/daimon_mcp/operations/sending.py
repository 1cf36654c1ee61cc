"""Sending: policy, compose, queue. One transaction decides; what it acknowledged leaves, once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import Field, WithJsonSchema

from daimon_mcp.domain.accounts import Account, Actor
from daimon_mcp.domain.clock import HOUR, MINUTE, day_period, iso, iso_or_none, month_period
from daimon_mcp.domain.ids import canonical_id, looks_like_id, new_id
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.oversight import HELD, Why
from daimon_mcp.domain.queue import MessageStatus
from daimon_mcp.domain.refusals import Fact, FieldProblem, RefusalCode, Refused, invalid
from daimon_mcp.domain.tiers import check_send, usage_facts
from daimon_mcp.mail.compose import reply_references
from daimon_mcp.operations import access
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.backlog import Backlog
from daimon_mcp.operations.core import Core, Link, Outcome, Policy
from daimon_mcp.operations.handles import File, hashed, named
from daimon_mcp.operations.held import Held, ask, check_room, judge
from daimon_mcp.operations.lint import lint
from daimon_mcp.operations.outbound import Outbound, keep
from daimon_mcp.operations.outgoing import (
    Composition,
    Ready,
    bracketed,
    clean_labels,
    from_markdown,
    is_message_id,
    people,
    prepare,
)
from daimon_mcp.operations.places import place_number
from daimon_mcp.operations.recipients import check_recipients, reached
from daimon_mcp.operations.requests import ClientId, Id, Moment, People, Reason, refuse
from daimon_mcp.operations.upgrades import Upgrades, one_line
from daimon_mcp.operations.views import Of, cursor
from daimon_mcp.store import accounts, approvals, inboxes, messages, queue, usage
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import StoredMessage

_LATEST_START = 10 * MINUTE


class SendOptions(Composition):
    """What may be said of any send besides its content."""

    client_id: Annotated[ClientId | None, Field(description="Idempotency key")] = None
    send_at: Annotated[Moment | None, Field(description="ISO 8601 with offset")] = None
    park: Annotated[bool, Field(description="If the tier refuses, send after the upgrade")] = False
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
    allow_duplicate: Annotated[bool, Field(description="Send it although the same left")] = False


@dataclass(frozen=True, slots=True)
class Relation:
    """Where a mail stands among others."""

    thread_seq: int | None
    in_reply_to: str | None
    references: tuple[str, ...]


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
    operation: str = "send_email"  # what it is called in the audit log

    @property
    def fingerprint(self) -> str:
        """The same for a second mail that a reader would take for the first one sent again."""
        return f"{self.ready.fingerprint}@{self.send_at or 'once'}"


@dataclass(frozen=True, slots=True)
class Stored:
    """What `store` did: the result in wire names, the outcome's key, and why it is parked or held if it is."""

    result: dict[str, Any]
    key: str
    parked: Refused | None = None
    held: Held | None = None


def check_send_at(send_at: int | None, now: int) -> None:
    """Raise INVALID_REQUEST for a time that is long past: nobody means it. One of the last 10 minutes means at once."""
    if send_at is not None and send_at < now - _LATEST_START:
        problem = f"is more than 10 minutes in the past, now is {iso(now)}; leave it out to send at once"
        raise invalid("send_at", problem, f'"{iso(now + HOUR)}"')


class Sending:
    """The verbs that let mail out."""

    def __init__(self, core: Core, upgrades: Upgrades, backlog: Backlog) -> None:
        self._core = core
        self._upgrades = upgrades
        self._backlog = backlog

    async def send_email(self, actor: Actor, request: SendEmail) -> Outcome:
        """Send, schedule or park one message, or hold it for the operator's word.

        Raises SEND_REQUIRES_PAID, SEND_LIMIT_EXCEEDED, RATE_LIMIT_EXCEEDED, RELAY_NOT_CONFIGURED, RECIPIENT_REFUSED,
        IDEMPOTENCY_CONFLICT, MESSAGE_TOO_LARGE, INVALID_REQUEST, INBOX_NOT_FOUND, THREAD_NOT_FOUND, FORBIDDEN.
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
        files = await named(self._core, actor, request.attachments)
        sha256 = request_hash("send_email", request, files)
        if (known := await self.known(inbox, request.client_id, sha256)) is not None:
            return known
        related = await self.relation(
            actor,
            inbox,
            thread_id=request.thread_id,
            in_reply_to=request.in_reply_to,
            references=request.references or (),
        )
        labels = clean_labels(request.labels)
        text, html = request.body, request.body_html
        if request.body_markdown is not None:
            if text is not None or html is not None:
                raise refuse([FieldProblem("body_markdown", "goes alone: leave out body and body_html")])
            text = request.body_markdown
            html = await asyncio.to_thread(from_markdown, request.body_markdown)
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
            in_reply_to=related.in_reply_to,
            references=related.references,
            headers=request.headers,
            attachments=files,
        )
        return await self.submit(
            actor,
            Submission(
                inbox=inbox,
                ready=ready,
                labels=labels,
                client_id=request.client_id,
                request_sha256=sha256,
                send_at=request.send_at,
                park=request.park,
                allow_duplicate=request.allow_duplicate,
                reason=request.reason,
                thread_seq=related.thread_seq,
            ),
            dry_run=request.dry_run,
        )

    async def relation(
        self,
        actor: Actor,
        inbox: Inbox,
        *,
        thread_id: str | None,
        in_reply_to: str | None,
        references: Sequence[str] = (),
    ) -> Relation:
        """The thread a mail is put in, its In-Reply-To and References. `in_reply_to` is a Message-ID or a `msg_` id.

        Raises THREAD_NOT_FOUND, MESSAGE_NOT_FOUND, INVALID_REQUEST.
        """
        core = self._core
        for field, values in (("in_reply_to", [in_reply_to] if in_reply_to else []), ("references", references)):
            if not all(is_message_id(value) for value in values):
                raise invalid(field, "is not a Message-ID", '"<abc@example.com>"')
        parent: StoredMessage | None = None
        thread_seq: int | None = None
        if thread_id is not None:
            thread = await access.thread(core, actor, thread_id, inbox)
            thread_seq = thread.seq
            if not in_reply_to:
                rows = await core.database.all(
                    sql.thread_newest, thread_seq=thread.seq, limit=1, before=messages.LAST_SEQ
                )
                parent = messages.message_of(rows[0]) if rows else None
        if in_reply_to and looks_like_id(canonical_id(in_reply_to), "msg"):
            parent = await access.message(core, actor, in_reply_to, inbox)
            thread_seq = parent.thread_seq if thread_seq is None else thread_seq
        elif in_reply_to:
            row = await core.database.one(
                sql.message_by_message_id, inbox_no=inbox.no, message_id=bracketed(in_reply_to)
            )
            parent = messages.message_of(row) if row else None
        given = tuple(bracketed(each) for each in references)
        if parent is not None:
            if parent.message_id is None:
                return Relation(thread_seq, None, given)
            chain = reply_references(parent.message_id, parent.references, parent.in_reply_to)
            return Relation(thread_seq, parent.message_id, given or chain)
        own = bracketed(in_reply_to) if in_reply_to else None
        return Relation(thread_seq, own, given or ((own,) if own else ()))

    # -- one transaction decides ---------------------------------------------------------------------------------------

    async def submit(self, actor: Actor, submission: Submission, *, dry_run: bool = False) -> Outcome:
        """Judge and store a prepared message: sent at once, scheduled, parked, held, or refused with nothing kept."""
        now = self._core.clock.now()
        check_send_at(submission.send_at, now)
        if dry_run:
            return await self._verdict(actor, submission, now)
        await self._backlog.check()
        stored = await self._core.database.write(lambda tx: self.store(tx, actor, submission, now))
        policy = self._core.policy
        return Outcome(
            key=f"send_email.{ending(policy, stored.key)}",
            result=stored.result,
            facts=facts_of(policy, stored.result),
            link=await self.link(actor, stored, submission.reason),
        )

    async def link(self, actor: Actor, stored: Stored, reason: str | None) -> Link | None:
        """The operator's link for mail that is parked or held."""
        if stored.result["status"] == MessageStatus.PENDING_APPROVAL:
            return await self._held_link(stored.result["id"])
        if stored.parked is None or stored.parked.target_tier is None:
            return None
        return await self._upgrades.link_for(actor, stored.parked.target_tier, reason)

    async def _held_link(self, message_id: str) -> Link | None:
        message = await messages.by_id(self._core.database, message_id)
        approval = await approvals.of_message(self._core.database, message.seq) if message else None
        return self._upgrades.link_to(approval) if approval is not None and approval.state == "open" else None

    def store(self, tx: Transaction, actor: Actor, submission: Submission, now: int) -> Stored:
        """Inside a write: repeats, limits, recipients; then place, queue and, if it is due, let go.

        With `park`, mail that the tier or its quota refuses and an upgrade would let out is kept, and waits. Judging
        and keeping are one transaction: an approval comes before both or after both.
        """
        core, inbox, ready = self._core, submission.inbox, submission.ready
        if (known := self._known_in(tx, inbox, submission.client_id, submission.request_sha256)) is not None:
            return Stored(known, "repeated")
        if submission.client_id is None and not submission.allow_duplicate and submission.draft_no is None:
            duplicate = self._duplicate(tx, inbox, submission.fingerprint, now)
            if duplicate is not None:
                return Stored(duplicate, "duplicate")
        account = accounts.account_in(tx, actor.account_no)
        account.check_may_send()
        current = inboxes.one_in(tx, inbox.no)
        if current.deleted_at is not None:
            raise Refused(RefusalCode.INBOX_NOT_FOUND)
        send_at = submission.send_at if submission.send_at is not None and submission.send_at > now else None
        leaves_at = send_at or now
        limits = core.policy.limits[account.tier]
        held = judge(tx, core, current, actor, ready.recipients, ready.findings, now)
        if held is not None:
            check_room(tx, account.no, now)
        waits = held is not None and limits.may_send  # it is counted when it is let go
        parked: Refused | None = None
        try:
            if not waits:
                count_sends(self._core.policy, tx, account, len(ready.recipients), at=leaves_at, now=now)
        except Refused as refused:
            if not (submission.park and refused.code in PARKABLE and refused.target_tier):
                raise
            parked = refused
        is_reply = ready.content.in_reply_to is not None
        check_recipients(tx, core, inbox, ready.recipients, is_reply=is_reply)
        transports = [reached(core, each) for each in ready.recipients]
        state = queue.SCHEDULED if send_at is not None else queue.ACTIVE
        if parked is not None or waits:
            state = HELD if waits else queue.WAITING
        message = keep(
            tx,
            core,
            Outbound(
                id=new_id("msg", now),
                inbox=inbox,
                content=ready.content,
                recipients=transports,
                mail_from=inbox.address,
                smtputf8=ready.smtputf8,
                fingerprint=submission.fingerprint,
                state=state,
                counted=None if parked or waits else (leaves_at, day_period(leaves_at), month_period(leaves_at)),
                expires_at=leaves_at + core.policy.give_up_after,
                bcc=ready.bcc,
                labels=submission.labels,
                draft_id=submission.draft_id,
                send_at=send_at,
                thread_seq=submission.thread_seq,
            ),
            now,
        )
        if submission.draft_no is not None:
            tx.run(
                sql.draft_link,
                draft_no=submission.draft_no,
                new_state=_DRAFT_STATES[state],
                seq=message.seq,
                new_message_id=message.id,
                new_send_at=send_at,
                now=now,
            )
        result = {
            **message_result(message),
            "recipients": list(ready.recipients),
            "usage": usage_facts(limits, usage.in_tx(tx, account.no, at=now, now=now), now),
            "cursor": cursor(Of.PLACE, place_number(inbox.no, message.came_n)),
        }
        if held is not None:
            reason = one_line(submission.reason or "")
            approval = ask(tx, core, message, inbox, actor.who, held, reason, now)
            result |= {"approval_id": approval.id, "held": held.view}
        elif ready.findings:
            result["findings"] = [each.view for each in ready.findings]
        if submission.client_id is not None:
            self._remember(tx, inbox, submission, message.id, result, now)
        note(
            tx, actor, submission.operation, message.id, now=now, reason=submission.reason, status=message.status,
            inbox=inbox.id, recipients=len(ready.recipients),
        )  # fmt: skip
        return Stored(result, message.status, parked, held)

    # -- repeats -------------------------------------------------------------------------------------------------------

    async def known(self, inbox: Inbox, client_id: str | None, sha256: str) -> Outcome | None:
        """What this `client_id` led to before, without composing anything. Raises IDEMPOTENCY_CONFLICT."""
        if client_id is None:
            return None
        row = await self._core.database.one(sql.idempotency_get, scope=f"inbox:{inbox.no}", client_id=client_id)
        if row is None:
            return None
        result = _repeat(row, sha256, await self._core.database.one(sql.message_by_id, id=row[1]))
        held = result["status"] == MessageStatus.PENDING_APPROVAL
        return Outcome(
            key="send_email.repeated",
            result=result,
            facts=facts_of(self._core.policy, result),
            link=await self._held_link(result["id"]) if held else None,
        )

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
        message = messages.in_tx(tx, row[0])
        return {
            **message_result(message),
            "cursor": cursor(Of.PLACE, place_number(inbox.no, message.came_n)),
            "duplicate_of": message.id,
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
                stored = self.store(tx, actor, submission, now)
                outcome.update({"would": stored.key, "held": stored.held})
            except Refused as refused:
                problems.append({"code": str(refused.code), **({"reason": refused.reason} if refused.reason else {})})
            raise _Undo

        with contextlib.suppress(_Undo):
            await self._core.database.write(run)
        warnings: list[dict[str, Any]] = []
        warnings += lint(ready.content.subject, ready.content.text, bool(ready.content.attachments))
        warnings += [{"code": "SECRET_FOUND", **each.view} for each in ready.findings]
        result = {
            "dry_run": True,
            "ok": not problems,
            "would": outcome.get("would", "refuse"),
            "problems": problems,
            "warnings": warnings,
            "recipients": list(ready.recipients),
            "size": ready.content.blob.size,
        }
        if (held := outcome.get("held")) is not None:
            result["held"] = held.view
        return Outcome(
            key="send_email.dry_run" + ("" if not problems else ".refused"),
            result=result,
            facts={"warnings": len(warnings), "recipients": len(ready.recipients)},
        )


PARKABLE = {RefusalCode.SEND_REQUIRES_PAID, RefusalCode.SEND_LIMIT_EXCEEDED}


def count_sends(policy: Policy, tx: Transaction, account: Account, sends: int, *, at: int, now: int) -> None:
    """Count `sends` that leave `at` a time, if the account's tier and limits allow them. Raises Refused."""
    limits = policy.limits[account.tier]
    used = usage.in_tx(tx, account.no, at=at, now=now)
    check_send(account.tier, limits, used, sends, now, at=at)
    if not usage.add(tx, account.no, sends, limits, at=at):
        # Another process used the last sends between our look and our count: the caller may look again.
        raise Refused(RefusalCode.STORE_UNAVAILABLE, retry_after=1)


_NOT_CONTENT = {"client_id", "dry_run", "park", "reason", "allow_duplicate", "inbox", "draft_id"}


def request_hash(operation: str, request: Composition, files: Sequence[File]) -> str:
    """What makes two requests the same: every field but the ones about how to retry; of a handle, its content.

    The inbox is not among them, which has an id and an address: a client_id is looked up in it alone.
    """
    values = request.model_dump(exclude=_NOT_CONTENT, mode="json")
    if request.attachments:
        values["attachments"] = hashed(request.attachments, files)
    return hashlib.sha256(orjson.dumps([operation, values], option=orjson.OPT_SORT_KEYS)).hexdigest()


def message_result(message: StoredMessage) -> dict[str, Any]:
    """What every answer about sent mail says of the message. `note` is filled in with words where there are any."""
    return {
        "id": message.id,
        "status": message.status,
        "message_id": message.message_id,
        "thread_id": message.thread_id,
        "sent_at": iso_or_none(message.sent_at),
        "scheduled_at": iso_or_none(message.send_at) if message.status in _STILL_HERE else None,
        "note": None,
    }


_STILL_HERE = (MessageStatus.SCHEDULED, MessageStatus.PENDING_UPGRADE, MessageStatus.PENDING_APPROVAL)
_DRAFT_STATES = {
    queue.ACTIVE: "sent",
    queue.SCHEDULED: "scheduled",
    queue.WAITING: "pending_upgrade",
    HELD: "pending_approval",
}


def _repeat(row: Sequence[Any], sha256: str, message_row: Sequence[Any] | None) -> dict[str, Any]:
    """The first result, with what has become of the message since."""
    if row[0] != sha256:
        raise Refused(RefusalCode.IDEMPOTENCY_CONFLICT, facts={"message": row[1]})
    result: dict[str, Any] = json.loads(row[2])
    if message_row is not None:
        result.update(message_result(messages.message_of(tuple(message_row))))
    return result


def ending(policy: Policy, key: str) -> str:
    """Which text says how a send ended: mail that is queued for the sandbox does not leave."""
    if key == MessageStatus.PENDING_APPROVAL:
        return "held"
    return "captured" if key == MessageStatus.QUEUED and policy.is_sandbox else key


def facts_of(policy: Policy, result: Mapping[str, Any]) -> dict[str, Fact]:
    """What the texts about a send may name."""
    return {
        "message": result["id"],
        "status": result["status"],
        "scheduled_at": result.get("scheduled_at"),
        "scheduled": "yes" if result["status"] == MessageStatus.SCHEDULED else None,
        "parked": "yes" if result["status"] == MessageStatus.PENDING_UPGRADE else None,
        "recipients": len(result.get("recipients", ())) or None,
        "sandbox": "yes" if policy.is_sandbox else None,
        "held": "yes" if result["status"] == MessageStatus.PENDING_APPROVAL else None,
        "rejected": "yes" if result["status"] == MessageStatus.REJECTED else None,
        "approval": result.get("approval_id"),
        "findings": len(result.get("findings", ())) or None,
        **{str(why): "yes" if why in result.get("held", {}).get("why", ()) else None for why in Why},
    }
