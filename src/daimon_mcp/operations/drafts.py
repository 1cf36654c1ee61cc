"""Drafts: unsent mail. Editing is free; sending one is a send like any other.

A draft with `send_at` has its message already composed and queued, so that what leaves is what was approved of; editing
composes it again in the same transaction that withdraws the old one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import iso_or_none
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused
from daimon_mcp.mail.addresses import Address
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.outgoing import (
    Attachment,
    Composition,
    Ready,
    bracketed,
    envelope_of,
    people,
    prepare,
    stored,
)
from daimon_mcp.operations.replying import Derived, Replying, derived_content, with_quote
from daimon_mcp.operations.requests import ClientId, Id, Moment, People, Reason, Request, refuse
from daimon_mcp.operations.sending import PARKABLE, Sending, Submission, withdraw
from daimon_mcp.operations.views import cursor, draft_view, read_cursor
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
    send_at: Annotated[Moment | None, Field(description="ISO 8601 with offset; sends it then")] = None


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
_PLAIN = ("subject", "body", "body_html", "in_reply_to", "thread_id", "labels")


def _given(request: DraftContent) -> dict[str, Any]:
    """What a request says of the content: left out is not in it, null is None."""
    said = request.model_fields_set
    found: dict[str, Any] = {}
    for name in _PEOPLE:
        if name in said:
            found[name] = stored(people(name, getattr(request, name)))
    for name in _PLAIN:
        if name in said:
            found[name] = getattr(request, name)
    if "attachments" in said:
        found["attachments"] = [each.model_dump() for each in request.attachments or ()]
    return found


def _addresses(content: dict[str, Any], field: str) -> tuple[Address, ...]:
    return tuple(Address(each["email"], each["name"]) for each in content.get(field) or ())


class Drafts:
    """The draft verbs."""

    def __init__(self, core: Core, sending: Sending, replying: Replying) -> None:
        self._core = core
        self._sending = sending
        self._replying = replying

    async def create_draft(self, actor: Actor, request: CreateDraft) -> Outcome:
        """Keep unsent mail; with `send_at` it is scheduled too. Allowed on every tier.

        On a tier that cannot send, a scheduled draft is parked until the operator approves. Raises INVALID_REQUEST,
        INBOX_NOT_FOUND, MESSAGE_NOT_FOUND, RELAY_NOT_CONFIGURED, RECIPIENT_REFUSED.
        """
        actor.require("draft_write")
        core = self._core
        if request.reply_to_message and request.forward_of:
            raise refuse([FieldProblem("forward_of", "goes without reply_to_message")])
        kind, source = "plain", None
        content: dict[str, Any] = {}
        if original_id := request.reply_to_message or request.forward_of:
            original = await access.message(core, actor, original_id)
            found = await inboxes.by_no(core.database, original.inbox_no)
            assert found is not None
            inbox, source = found, original.seq
            if request.reply_to_message:
                kind = "reply"
                derived = await self._replying.derive_reply(inbox, original, reply_all=request.reply_all)
            else:
                kind = "forward"
                derived = await self._replying.derive_forward(inbox, original, with_attachments=False)
            content = derived_content(derived)
        else:
            inbox = await access.inbox(core, actor, request.inbox)
        if request.client_id is not None:
            row = await core.database.one(sql.draft_by_client_id, inbox_no=inbox.no, client_id=request.client_id)
            if row is not None:
                existing = rows.draft_of(row)
                return self._shown("create_draft.existing", existing)
        content |= _given(request)
        await self._check_thread(actor, inbox, content)
        now = core.clock.now()
        public_id = new_id("dft", now)

        def run(tx: Transaction) -> StoredDraft:
            if request.client_id is not None:
                row = tx.one(sql.draft_by_client_id, inbox_no=inbox.no, client_id=request.client_id)
                if row is not None:
                    return rows.draft_of(row)
            tx.scalar(
                sql.draft_insert,
                id=public_id,
                inbox_no=inbox.no,
                kind=kind,
                state="draft",
                source_seq=source,
                content_json=json.dumps(content, ensure_ascii=False),
                send_at=None,
                client_id=request.client_id,
                created_at=now,
                updated_at=now,
            )
            draft = rows.in_tx(tx, public_id)
            assert draft is not None
            return draft

        draft = await core.database.write(run)
        if request.send_at is None:
            return self._shown("create_draft", draft)
        try:
            outcome = await self._schedule(actor, inbox, draft, request.send_at, None)
        except BaseException:
            await core.database.write(lambda tx: tx.run(sql.draft_delete, draft_no=draft.no))
            raise
        shown = self._shown(
            "create_draft.scheduled" if outcome.link is None else "create_draft.parked",
            await self._again(draft),
        )
        return replace(shown, link=outcome.link)

    async def _again(self, draft: StoredDraft) -> StoredDraft:
        found = await rows.by_id(self._core.database, draft.id)
        assert found is not None
        return found

    def _shown(self, key: str, draft: StoredDraft) -> Outcome:
        view = draft_view(draft)
        if draft.message_id is not None:
            view["message_id"] = draft.message_id
        facts = {"draft": draft.id, "send_at": iso_or_none(draft.send_at)}
        return Outcome(key=key, result=view, facts=facts)

    async def _check_thread(self, actor: Actor, inbox: Inbox, content: dict[str, Any]) -> None:
        if content.get("thread_id"):
            thread = await access.thread(self._core, actor, content["thread_id"], inbox)
            content["thread_seq"] = thread.seq
            if not content.get("in_reply_to"):
                newest = await self._core.database.all(
                    sql.thread_newest, thread_seq=thread.seq, limit=1, before=messages.LAST_SEQ
                )
                if newest:
                    parent = messages.message_of(newest[0])
                    content["in_reply_to"] = parent.message_id
                    content["references"] = [
                        *parent.references[-19:],
                        *([parent.message_id] if parent.message_id else []),
                    ]

    async def list_drafts(self, actor: Actor, request: ListDrafts) -> Outcome:
        """Unsent mail of an inbox, scheduled too, newest first."""
        actor.require("draft_read")
        inbox = await access.inbox(self._core, actor, request.inbox)
        found = await self._core.database.all(
            sql.drafts_page,
            inbox_no=inbox.no,
            before=read_cursor(request.cursor) if request.cursor else messages.LAST_SEQ,
            limit=request.limit + 1,
        )
        page = [rows.draft_of(row) for row in found[: request.limit]]
        more = len(found) > request.limit
        views: list[dict[str, Any]] = []
        for draft in page:
            view = draft_view(draft)
            text = view.pop("body_text") or ""
            view.pop("body_html")
            views.append({**view, "preview": " ".join(text.split())[:200]})
        result = {"drafts": views, "has_more": more, "next_cursor": cursor(page[-1].no) if more else None}
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
        """Change what is given; left out stays, null clears. A scheduled one is composed again with the change."""
        actor.require("draft_write")
        core = self._core
        draft = self._unsent(await access.draft(core, actor, request.draft_id))
        inbox = await inboxes.by_no(core.database, draft.inbox_no)
        assert inbox is not None
        changes = _given(request)
        content = {**draft.content, **changes}
        if "thread_id" in changes:
            content.pop("thread_seq", None)
            await self._check_thread(actor, inbox, content)
        send_at = request.send_at if "send_at" in request.model_fields_set else draft.send_at
        now = core.clock.now()
        changed = replace(draft, content=content)
        ready = await self._ready(inbox, changed) if send_at is not None or draft.state != "draft" else None

        def run(tx: Transaction) -> None:
            current = rows.in_tx(tx, draft.id)
            if current is None:
                raise Refused(RefusalCode.DRAFT_NOT_FOUND)
            self._unsent(current)
            if current.message_no is not None and not withdraw(tx, current.message_no, now=now):
                raise Refused(RefusalCode.DRAFT_ALREADY_SENT, facts={"message": current.message_id})
            tx.run(sql.draft_unlink_by_message, seq=current.message_no or -1)
            tx.run(
                sql.draft_update,
                draft_no=draft.no,
                content_json_=json.dumps(content, ensure_ascii=False),
                send_at_=None,
                now=now,
            )
            parked = current.state == "pending_upgrade"
            if ready is not None and (send_at is not None or parked):
                submission = self._submission(inbox, changed, ready, send_at, None)
                self._sending.store(tx, actor, submission, now, park=parked)

        await core.database.write(run)
        after = await self._again(draft)
        return self._shown("update_draft" + (".scheduled" if after.state == "scheduled" else ""), after)

    async def delete_draft(self, actor: Actor, request: DeleteDraft) -> Outcome:
        """Remove a draft for good; a scheduled send of it is cancelled. Raises DRAFT_NOT_FOUND, DRAFT_ALREADY_SENT."""
        actor.require("draft_write")
        draft = self._unsent(await access.draft(self._core, actor, request.draft_id))
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            current = rows.in_tx(tx, draft.id)
            if current is None:
                raise Refused(RefusalCode.DRAFT_NOT_FOUND)
            self._unsent(current)
            if current.message_no is not None and not withdraw(tx, current.message_no, now=now):
                raise Refused(RefusalCode.DRAFT_ALREADY_SENT, facts={"message": current.message_id})
            tx.run(sql.draft_delete, draft_no=current.no)

        await self._core.database.write(run)
        return Outcome(key="delete_draft", result={"id": draft.id, "deleted": True})

    async def send_draft(self, actor: Actor, request: SendDraft) -> Outcome:
        """Send a draft now, or leave it scheduled if it has a time. It becomes a message and is gone.

        On a tier that cannot send, the mail is parked (`pending_upgrade`) and the refusal says so. Raises as send_email
        does, DRAFT_NOT_FOUND, DRAFT_ALREADY_SENT.
        """
        actor.require("message_send")
        core = self._core
        draft = self._unsent(await access.draft(core, actor, request.draft_id))
        inbox = await inboxes.by_no(core.database, draft.inbox_no)
        assert inbox is not None
        if draft.message_no is not None:
            return await self._already_queued(actor, draft, request.reason)
        ready = await self._ready(inbox, draft)
        submission = self._submission(inbox, draft, ready, draft.send_at, request.reason)
        now = core.clock.now()

        def run(tx: Transaction, *, park: bool) -> tuple[dict[str, Any], str]:
            current = rows.in_tx(tx, draft.id)
            if current is None:
                raise Refused(RefusalCode.DRAFT_NOT_FOUND)
            self._unsent(current)
            if current.message_no is not None:
                raise Refused(RefusalCode.DRAFT_ALREADY_SENT, facts={"message": current.message_id})
            return self._sending.store(tx, actor, submission, now, park=park)

        try:
            result, key = await core.database.write(lambda tx: run(tx, park=False))
        except Refused as refused:
            if refused.code in PARKABLE and refused.target_tier:
                result, _ = await core.database.write(lambda tx: run(tx, park=True))
                refused.details["parked"] = {"id": result["id"], "status": result["status"], "draft_id": draft.id}
                refused.reason = refused.reason or "PARKED"
            raise
        facts = {"message": result["id"], "status": result["status"], "scheduled_at": result["scheduled_at"]}
        return Outcome(key=f"send_draft.{key}", result=result, facts={**facts, "draft": draft.id})

    async def _already_queued(self, actor: Actor, draft: StoredDraft, reason: str | None) -> Outcome:
        """A draft that is scheduled or parked: try to release what is parked, then say where it stands."""
        core = self._core
        assert draft.message_no is not None
        if draft.state == "pending_upgrade":
            try:
                await self._sending.release(draft.message_no, count=True)
            except Refused as refused:
                refused.details["parked"] = {"id": draft.message_id, "status": "pending_upgrade", "draft_id": draft.id}
                refused.reason = refused.reason or "PARKED"
                raise
        row = await core.database.one(sql.message_by_seq, seq=draft.message_no)
        assert row is not None
        message = messages.message_of(row)
        result = {
            "id": message.id,
            "status": message.status,
            "message_id": message.message_id,
            "thread_id": message.thread_id,
            "sent_at": iso_or_none(message.sent_at),
            "scheduled_at": iso_or_none(message.send_at),
            "note": None,
        }
        facts = {"message": message.id, "status": message.status, "scheduled_at": result["scheduled_at"]}
        key = message.status if message.status in ("scheduled", "pending_upgrade") else "queued"
        return Outcome(key=f"send_draft.{key}", result=result, facts={**facts, "draft": draft.id})

    async def _schedule(
        self, actor: Actor, inbox: Inbox, draft: StoredDraft, send_at: int, reason: str | None
    ) -> Outcome:
        ready = await self._ready(inbox, draft)
        submission = self._submission(inbox, draft, ready, send_at, reason)
        return await self._sending.submit(actor, replace(submission, park=True))

    def _submission(
        self, inbox: Inbox, draft: StoredDraft, ready: Ready, send_at: int | None, reason: str | None
    ) -> Submission:
        return Submission(
            inbox=inbox,
            ready=ready,
            labels=draft.content.get("labels") or (),
            send_at=send_at,
            reason=reason,
            thread_seq=draft.content.get("thread_seq"),
            draft_id=draft.id,
            draft_no=draft.no,
            allow_duplicate=True,
        )

    async def _ready(self, inbox: Inbox, draft: StoredDraft) -> Ready:
        """Compose a draft. Raises INVALID_REQUEST for what is missing."""
        content = draft.content
        to, cc, bcc = (_addresses(content, field) for field in ("to", "cc", "bcc"))
        missing = [
            FieldProblem(name, "is required before a draft can be sent", example)
            for name, value, example in (
                ("to", envelope_of(to, cc, bcc) or None, '"ann@example.com"'),
                ("subject", content.get("subject"), '"Hello"'),
                ("body", content.get("body") if draft.kind != "forward" else "", '"Hello Ann"'),
            )
            if value is None
        ]
        if missing:
            raise refuse(missing)
        quoted = content.get("quoted") or ""
        forwarded: tuple[Any, ...] = ()
        if draft.kind == "forward" and draft.source_seq is not None:
            forwarded = await self._forwarded(inbox, draft.source_seq)
        in_reply_to = content.get("in_reply_to")
        references = content.get("references") or ([in_reply_to] if in_reply_to else [])
        return await prepare(
            self._core,
            inbox,
            to=to,
            cc=cc,
            bcc=bcc,
            subject=content.get("subject") or "",
            text=(content.get("body") or "") + quoted,
            html=with_quote(content.get("body_html"), quoted),
            in_reply_to=bracketed(in_reply_to) if in_reply_to else None,
            references=[bracketed(each) for each in references],
            attachments=[Attachment.model_validate(each) for each in content.get("attachments") or ()],
            forwarded=forwarded,
        )

    async def _forwarded(self, inbox: Inbox, source_seq: int) -> tuple[Any, ...]:
        row = await self._core.database.one(sql.message_by_seq, seq=source_seq)
        if row is None:
            return ()
        derived: Derived = await self._replying.derive_forward(inbox, messages.message_of(row), with_attachments=True)
        return derived.attachments
