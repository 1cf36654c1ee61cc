"""Drafts: unsent mail. Editing is free; sending one is a send like any other.

A draft with `send_at` has its message already composed and queued, so that what leaves is what was approved of; editing
composes it again in the same transaction that withdraws the old one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import iso_or_none
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import Fact, FieldProblem, RefusalCode, Refused
from daimon_mcp.mail.addresses import Address
from daimon_mcp.operations import access
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.handles import Attachment, kept, named
from daimon_mcp.operations.outgoing import (
    Composition,
    Ready,
    clean_labels,
    dumped,
    envelope_of,
    people,
    prepare,
    stored,
)
from daimon_mcp.operations.releasing import Releasing
from daimon_mcp.operations.replying import Derived, Replying, above, derived_content, with_quote
from daimon_mcp.operations.requests import ClientId, Id, Moment, People, Reason, Request, refuse
from daimon_mcp.operations.sending import Sending, Stored, Submission, check_send_at, ending, facts_of, message_result
from daimon_mcp.operations.views import Of, cursor, draft_view, read_cursor
from daimon_mcp.operations.withdrawing import withdraw
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import drafts as rows
from daimon_mcp.store import inboxes, messages
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.drafts import StoredDraft


class DraftContent(Composition):
    """What a draft may hold; nothing is required until it is sent."""

    to: People | None = None
    in_reply_to: Annotated[str | None, Field(max_length=300)] = None
    thread_id: Id | None = None
    labels: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]] | None, Field(max_length=20)] = None
    send_at: Annotated[Moment | None, Field(description="ISO 8601 with offset")] = None


class CreateDraft(DraftContent):
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    reply_to_message: Annotated[Id | None, Field(description="msg_ id to answer")] = None
    reply_all: bool = False
    forward_of: Annotated[Id | None, Field(description="msg_ id to forward")] = None
    client_id: Annotated[ClientId | None, Field(description="Idempotency key")] = None


class ListDrafts(Request):
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


class BrowseDrafts(ListDrafts):
    """For programs: those with a label alone."""

    label: Annotated[str | None, Field(max_length=64)] = None


class GetDraft(Request):
    draft_id: Annotated[Id, Field(description="dft_ id")]


class UpdateDraft(DraftContent):
    draft_id: Annotated[Id, Field(description="dft_ id")]


class DeleteDraft(Request):
    draft_id: Annotated[Id, Field(description="dft_ id")]


class SendDraft(Request):
    draft_id: Annotated[Id, Field(description="dft_ id")]
    reason: Annotated[Reason | None, Field(description="Why, in your words; the operator reads it")] = None


_PEOPLE = ("to", "cc", "bcc")
_PLAIN = ("subject", "body", "body_html", "in_reply_to", "thread_id")
_STATES = {"scheduled": ".scheduled", "pending_upgrade": ".parked", "pending_approval": ".held", "sent": ".sent"}


class _Changed(Exception):
    """The draft was changed between being read and being written: look again."""


async def _given(core: Core, actor: Actor, request: DraftContent) -> dict[str, Any]:
    """What a request says of the content: left out is not in it, null is None."""
    said = request.model_fields_set
    found: dict[str, Any] = {}
    for name in _PEOPLE:
        if name in said:
            found[name] = stored(people(name, getattr(request, name)))
    for name in _PLAIN:
        if name in said:
            found[name] = getattr(request, name)
    if "labels" in said:
        found["labels"] = clean_labels(request.labels)
    if "attachments" in said:
        given = request.attachments or ()
        found["attachments"] = kept(given, await named(core, actor, given))
    return found


def _addresses(content: dict[str, Any], field: str) -> tuple[Address, ...]:
    return tuple(Address(each["email"], each["name"]) for each in content.get(field) or ())


class Drafts:
    """The draft verbs."""

    def __init__(self, core: Core, sending: Sending, releasing: Releasing, replying: Replying) -> None:
        self._core = core
        self._sending = sending
        self._releasing = releasing
        self._replying = replying

    async def create_draft(self, actor: Actor, request: CreateDraft) -> Outcome:
        """Keep unsent mail; with `send_at` it is scheduled too. Allowed on every tier.

        On a tier that cannot send, a scheduled draft is parked until the operator approves. A time that has passed
        sends it. Raises INVALID_REQUEST, INBOX_NOT_FOUND, MESSAGE_NOT_FOUND, THREAD_NOT_FOUND; with `send_at` also
        what send_email raises.
        """
        actor.require("draft_write")
        if request.send_at is not None:
            actor.require("message_send")
        core = self._core
        if request.reply_to_message and request.forward_of:
            raise refuse([FieldProblem("forward_of", "goes without reply_to_message")])
        kind, source = "plain", None
        content: dict[str, Any] = {}
        if original_id := request.reply_to_message or request.forward_of:
            original = await access.message(core, actor, original_id)
            found = await inboxes.by_no(core.database, original.inbox_no)
            assert found is not None
            if request.inbox is not None and (await access.inbox(core, actor, request.inbox)).no != found.no:
                raise Refused(RefusalCode.MESSAGE_NOT_FOUND)
            inbox, source = found, original.seq
            if request.reply_to_message:
                kind = "reply"
                derived = await self._replying.derive_reply(inbox, original, reply_all=request.reply_all)
            else:
                kind = "forward"
                derived = await self._replying.derive_forward(inbox, original, with_attachments=False)
            content = {**derived_content(derived), "thread_id": original.thread_id}
        else:
            inbox = await access.inbox(core, actor, request.inbox)
        if request.client_id is not None:
            row = await core.database.one(sql.draft_by_client_id, inbox_no=inbox.no, client_id=request.client_id)
            if row is not None:
                return self._shown("create_draft.existing", rows.draft_of(row))
        changes = await _given(core, actor, request)
        content |= changes
        await self._relate(actor, inbox, content, changes)
        now = core.clock.now()
        check_send_at(request.send_at, now)
        public_id = new_id("dft", now)
        ready = await self._ready(actor, inbox, kind, source, content) if request.send_at is not None else None

        def run(tx: Transaction) -> tuple[StoredDraft, Stored | None]:
            if request.client_id is not None:
                row = tx.one(sql.draft_by_client_id, inbox_no=inbox.no, client_id=request.client_id)
                if row is not None:
                    return rows.draft_of(row), None
            if inboxes.one_in(tx, inbox.no).deleted_at is not None:
                raise Refused(RefusalCode.INBOX_NOT_FOUND)
            tx.scalar(
                sql.draft_insert,
                id=public_id,
                inbox_no=inbox.no,
                kind=kind,
                state="draft",
                source_seq=source,
                content_json=self._dumped(content),
                send_at=None,
                client_id=request.client_id,
                created_at=now,
                updated_at=now,
            )
            note(tx, actor, "create_draft", public_id, now=now, inbox=inbox.id)
            return self._scheduled(tx, actor, inbox, public_id, ready, request.send_at, now)

        draft, result = await core.database.write(run)
        if draft.id != public_id:
            return self._shown("create_draft.existing", draft)
        link = await self._sending.link(actor, result, None) if result else None
        return replace(self._shown("create_draft" + _STATES.get(draft.state, ""), draft), link=link)

    def _scheduled(
        self,
        tx: Transaction,
        actor: Actor,
        inbox: Inbox,
        draft_id: str,
        ready: Ready | None,
        send_at: int | None,
        now: int,
    ) -> tuple[StoredDraft, Stored | None]:
        """Inside a write: queue a draft that has been composed; the draft as it is then."""
        draft = self._present(tx, draft_id)
        if ready is None:
            return draft, None
        result = self._sending.store(tx, actor, self._submission(inbox, draft, ready, send_at, None), now)
        return self._present(tx, draft_id), result

    @staticmethod
    def _present(tx: Transaction, draft_id: str) -> StoredDraft:
        found = rows.in_tx(tx, draft_id)
        if found is None:
            raise Refused(RefusalCode.DRAFT_NOT_FOUND)
        return found

    def _same(self, tx: Transaction, draft: StoredDraft) -> None:
        """Inside a write: raise DRAFT_NOT_FOUND, DRAFT_ALREADY_SENT or _Changed unless it is as it was read."""
        current = self._unsent(self._present(tx, draft.id))
        if (current.content, current.state, current.message_no) != (draft.content, draft.state, draft.message_no):
            raise _Changed

    def _shown(self, key: str, draft: StoredDraft) -> Outcome:
        view = draft_view(draft)
        if draft.message_id is not None:
            view["message_id"] = draft.message_id
        facts: dict[str, Fact] = {
            "draft": draft.id,
            "status": draft.state,
            "send_at": iso_or_none(draft.send_at),
            "message": draft.message_id if draft.state == "sent" else None,
            "unsent": "yes" if draft.state != "sent" else None,
        }
        return Outcome(key=key, result=view, facts=facts)

    async def _relate(self, actor: Actor, inbox: Inbox, content: dict[str, Any], changes: dict[str, Any]) -> None:
        """Bring thread, In-Reply-To and References of a draft in line with what was said of them."""
        if "thread_id" not in changes and "in_reply_to" not in changes:
            return
        if "thread_id" in changes and "in_reply_to" not in changes:
            content["in_reply_to"] = None  # it was of the thread before
        relation = await self._sending.relation(
            actor, inbox, thread_id=content.get("thread_id"), in_reply_to=content.get("in_reply_to")
        )
        content["in_reply_to"] = relation.in_reply_to
        content["references"] = list(relation.references)
        content["thread_seq"] = relation.thread_seq

    def _dumped(self, content: dict[str, Any]) -> str:
        """A draft's content as it is kept. Raises MESSAGE_TOO_LARGE for what could never be sent."""
        text = dumped(content)
        # Attachments stand in it as base64, a third longer than they will be judged by.
        limit = self._core.policy.max_message_bytes
        if len(text) > limit * 3 // 2:
            raise Refused(RefusalCode.MESSAGE_TOO_LARGE, facts={"size": len(text), "limit": limit})
        return text

    async def list_drafts(self, actor: Actor, request: ListDrafts) -> Outcome:
        """Unsent mail of an inbox, scheduled too, newest first."""
        return await self._page(actor, request, "")

    async def browse_drafts(self, actor: Actor, request: BrowseDrafts) -> Outcome:
        """The same, of those with a label. Raises INBOX_NOT_FOUND, INVALID_REQUEST."""
        return await self._page(actor, request, (request.label or "").strip().lower())

    async def _page(self, actor: Actor, request: ListDrafts, label: str) -> Outcome:
        actor.require("draft_read")
        inbox = await access.inbox(self._core, actor, request.inbox)
        before = read_cursor(request.cursor, Of.DRAFTS) if request.cursor else messages.LAST_SEQ
        found: list[StoredDraft] = []
        while len(found) <= request.limit:
            some = await self._core.database.all(
                sql.drafts_page, inbox_no=inbox.no, before=before, limit=request.limit + 1
            )
            read = [rows.draft_of(row) for row in some]
            found += [each for each in read if not label or label in (each.content.get("labels") or ())]
            if len(read) <= request.limit:
                break
            before = read[-1].no
        page = found[: request.limit]
        more = len(found) > request.limit
        views: list[dict[str, Any]] = []
        for draft in page:
            view = draft_view(draft)
            text = view.pop("body_text") or ""
            view.pop("body_html")
            views.append({**view, "preview": " ".join(text.split())[:200]})
        result = {"drafts": views, "has_more": more, "next_cursor": cursor(Of.DRAFTS, page[-1].no) if more else None}
        return Outcome(key="list_drafts" + ("" if page else ".none"), result=result, facts={"shown": len(page)})

    async def get_draft(self, actor: Actor, request: GetDraft) -> Outcome:
        """One draft with its content. Raises DRAFT_NOT_FOUND, DRAFT_ALREADY_SENT."""
        actor.require("draft_read")
        draft = self._unsent(await access.draft(self._core, actor, request.draft_id))
        return self._shown("get_draft", draft)

    @staticmethod
    def _unsent(draft: StoredDraft) -> StoredDraft:
        if draft.state == "sent":
            raise Refused(
                RefusalCode.DRAFT_ALREADY_SENT,
                facts={"message": draft.message_id},
                details={"message_id": draft.message_id},
            )
        return draft

    async def update_draft(self, actor: Actor, request: UpdateDraft) -> Outcome:
        """Change what is given; left out stays, null clears. A scheduled one is composed again with the change.

        `send_at` schedules, moves, or as null holds back, what is parked too; on a tier that cannot send, it parks.
        Raises as create_draft does, DRAFT_NOT_FOUND, DRAFT_ALREADY_SENT.
        """
        actor.require("draft_write")
        changes = await _given(self._core, actor, request)
        while True:
            try:
                return await self._update(actor, request, changes)
            except _Changed:
                continue

    async def _update(self, actor: Actor, request: UpdateDraft, changes: dict[str, Any]) -> Outcome:
        core = self._core
        draft = self._unsent(await access.draft(core, actor, request.draft_id))
        inbox = await inboxes.by_no(core.database, draft.inbox_no)
        assert inbox is not None
        content = {**draft.content, **changes}
        await self._relate(actor, inbox, content, changes)
        timed = "send_at" in request.model_fields_set
        send_at = request.send_at if timed else draft.send_at
        leaves = send_at is not None or (draft.state in ("pending_upgrade", "pending_approval") and not timed)
        if leaves:
            actor.require("message_send")
        if timed:  # a time that was set before may have passed meanwhile
            check_send_at(send_at, core.clock.now())
        ready = await self._ready(actor, inbox, draft.kind, draft.source_seq, content) if leaves else None
        now = core.clock.now()

        def run(tx: Transaction) -> tuple[StoredDraft, Stored | None]:
            self._same(tx, draft)
            self._take_back(tx, draft, now)
            tx.run(sql.draft_update, draft_no=draft.no, content_json_=self._dumped(content), send_at_=None, now=now)
            note(tx, actor, "update_draft", draft.id, now=now)
            return self._scheduled(tx, actor, inbox, draft.id, ready, send_at, now)

        after, result = await core.database.write(run)
        link = await self._sending.link(actor, result, None) if result else None
        return replace(self._shown("update_draft" + _STATES.get(after.state, ""), after), link=link)

    @staticmethod
    def _take_back(tx: Transaction, draft: StoredDraft, now: int) -> None:
        """Inside a write: withdraw what of this draft is scheduled or parked."""
        if draft.message_no is not None:
            withdraw(tx, draft.message_no, now=now)
            tx.run(sql.draft_unlink_by_message, seq=draft.message_no)

    async def delete_draft(self, actor: Actor, request: DeleteDraft) -> Outcome:
        """Remove a draft for good; a scheduled send of it is cancelled. Raises DRAFT_NOT_FOUND, DRAFT_ALREADY_SENT."""
        actor.require("draft_write")
        draft = self._unsent(await access.draft(self._core, actor, request.draft_id))
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            current = self._unsent(self._present(tx, draft.id))
            self._take_back(tx, current, now)
            tx.run(sql.draft_delete, draft_no=current.no)
            note(tx, actor, "delete_draft", draft.id, now=now)

        await self._core.database.write(run)
        return Outcome(key="delete_draft", result={"id": draft.id, "deleted": True})

    async def send_draft(self, actor: Actor, request: SendDraft) -> Outcome:
        """Send a draft now, or leave it scheduled if it has a time. It becomes a message and is gone.

        On a tier that cannot send, the mail is parked (`pending_upgrade`) and the refusal says so. Raises as send_email
        does, DRAFT_NOT_FOUND, DRAFT_ALREADY_SENT.
        """
        actor.require("message_send")
        while True:
            try:
                return await self._send(actor, request)
            except _Changed:
                continue

    async def _send(self, actor: Actor, request: SendDraft) -> Outcome:
        core = self._core
        draft = self._unsent(await access.draft(core, actor, request.draft_id))
        inbox = await inboxes.by_no(core.database, draft.inbox_no)
        assert inbox is not None
        if draft.message_no is not None:
            return await self._already_queued(actor, draft)
        ready = await self._ready(actor, inbox, draft.kind, draft.source_seq, draft.content)
        submission = self._submission(inbox, draft, ready, draft.send_at, request.reason)
        now = core.clock.now()

        def run(tx: Transaction) -> Stored:
            self._same(tx, draft)
            return self._sending.store(tx, actor, submission, now)

        done = await core.database.write(run)
        if done.parked is not None:
            raise self._kept(done.parked, draft.id, done.result["id"])
        return Outcome(
            key=f"send_draft.{ending(core.policy, done.key)}",
            result=done.result,
            facts={**facts_of(core.policy, done.result), "draft": draft.id},
            link=await self._sending.link(actor, done, request.reason),
        )

    @staticmethod
    def _kept(refused: Refused, draft_id: str, message_id: str | None) -> Refused:
        """The refusal, with what is kept in spite of it."""
        refused.details["parked"] = {"id": message_id, "status": "pending_upgrade", "draft_id": draft_id}
        refused.reason = refused.reason or "PARKED"
        return refused

    async def _already_queued(self, actor: Actor, draft: StoredDraft) -> Outcome:
        """A draft that is scheduled, held or parked: try to release what is parked, then say where it stands."""
        core = self._core
        assert draft.message_no is not None
        if draft.state == "pending_upgrade":
            try:
                await self._releasing.release(draft.message_no, count=True)
            except Refused as refused:
                raise self._kept(refused, draft.id, draft.message_id) from None
        row = await core.database.one(sql.message_by_seq, seq=draft.message_no)
        assert row is not None
        message = messages.message_of(row)
        if message.deleted_at is not None:  # taken back meanwhile
            raise _Changed
        result = message_result(message)
        known = ("scheduled", "pending_upgrade", "pending_approval", "delivered", "bounced")
        key = message.status if message.status in known else "queued"
        return Outcome(
            key=f"send_draft.{ending(core.policy, key)}",
            result=result,
            facts={**facts_of(core.policy, result), "draft": draft.id},
            link=await self._sending.link(actor, Stored(result, key), None),
        )

    def _submission(
        self, inbox: Inbox, draft: StoredDraft, ready: Ready, send_at: int | None, reason: str | None
    ) -> Submission:
        return Submission(
            inbox=inbox,
            ready=ready,
            labels=draft.content.get("labels") or (),
            send_at=send_at,
            park=True,
            reason=reason,
            thread_seq=draft.content.get("thread_seq"),
            draft_id=draft.id,
            draft_no=draft.no,
            allow_duplicate=True,
            operation="send_draft",
        )

    async def _ready(
        self, actor: Actor, inbox: Inbox, kind: str, source_seq: int | None, content: dict[str, Any]
    ) -> Ready:
        """Compose a draft. Raises INVALID_REQUEST for what is missing, ATTACHMENT_NOT_FOUND for a file that is."""
        to, cc, bcc = (_addresses(content, field) for field in ("to", "cc", "bcc"))
        missing = [
            FieldProblem(name, "is required before a draft can be sent", example)
            for name, value, example in (
                ("to", envelope_of(to, cc, bcc) or None, '"ann@example.com"'),
                ("subject", content.get("subject"), '"Hello"'),
                ("body", content.get("body") if kind != "forward" else "", '"Hello Ann"'),
            )
            if value is None
        ]
        if missing:
            raise refuse(missing)
        files = [Attachment.model_validate(each) for each in content.get("attachments") or ()]
        quoted = content.get("quoted") or ""
        forwarded: tuple[Any, ...] = ()
        if kind == "forward" and source_seq is not None:
            forwarded = await self._forwarded(inbox, source_seq)
        return await prepare(
            self._core,
            inbox,
            to=to,
            cc=cc,
            bcc=bcc,
            subject=content.get("subject") or "",
            text=above(content.get("body") or "", quoted),
            html=with_quote(content.get("body_html"), quoted),
            in_reply_to=content.get("in_reply_to"),
            references=content.get("references") or (),
            attachments=await named(self._core, actor, files),
            forwarded=forwarded,
        )

    async def _forwarded(self, inbox: Inbox, source_seq: int) -> tuple[Any, ...]:
        row = await self._core.database.one(sql.message_by_seq, seq=source_seq)
        if row is None:
            return ()
        derived: Derived = await self._replying.derive_forward(inbox, messages.message_of(row), with_attachments=True)
        return derived.attachments
