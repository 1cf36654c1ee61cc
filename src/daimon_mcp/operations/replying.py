"""Reply, reply to all, forward: recipients, threading headers, subject and quoting as mail clients do them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.inboxes import Inbox, split_subaddress
from daimon_mcp.domain.refusals import FieldProblem
from daimon_mcp.mail.addresses import Address, BadAddress, header_email
from daimon_mcp.mail.compose import (
    OutgoingAttachment,
    forward_subject,
    quote_for_forward,
    quote_for_reply,
    reply_references,
    reply_subject,
)
from daimon_mcp.mail.parse import extract_attachment
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.handles import named
from daimon_mcp.operations.outgoing import people, prepare
from daimon_mcp.operations.requests import Id, People, refuse
from daimon_mcp.operations.sending import Sending, SendOptions, Submission, request_hash
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes
from daimon_mcp.store.messages import Person, StoredMessage


class ReplyToMessage(SendOptions):
    message_id: Annotated[Id, Field(description="msg_ id")]
    to: Annotated[People | None, Field(description="Instead of the sender")] = None
    reply_all: bool = False
    quote: Annotated[bool, Field(description="Put the original below")] = True


class ForwardMessage(SendOptions):
    message_id: Annotated[Id, Field(description="msg_ id of the message to forward")]
    to: People
    include_attachments: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What a reply or forward takes over from its original."""

    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    subject: str
    in_reply_to: str | None
    references: tuple[str, ...]
    quoted: str
    thread_seq: int | None
    attachments: tuple[OutgoingAttachment, ...] = ()


def _own(inbox: Inbox, email: str) -> bool:
    local, _, domain = email.lower().rpartition("@")
    return email.lower() == inbox.address or f"{split_subaddress(local)[0]}@{domain}" == inbox.address


def _addresses(found: Sequence[Person]) -> list[Address]:
    """Those of a header that can be written to: what strangers put there may be no address at all."""
    usable: list[Address] = []
    for each in found:
        try:
            usable.append(Address(header_email(each["email"]), each["name"]))
        except BadAddress:
            continue
    return usable


def _without(inbox: Inbox, found: Sequence[Address], already: Sequence[Address] = ()) -> list[Address]:
    seen = {each.email.lower() for each in already}
    kept: list[Address] = []
    for each in found:
        if not _own(inbox, each.email) and each.email.lower() not in seen:
            seen.add(each.email.lower())
            kept.append(each)
    return kept


class Replying:
    """The verbs that answer or pass on a message."""

    def __init__(self, core: Core, sending: Sending) -> None:
        self._core = core
        self._sending = sending

    async def reply_to_message(self, actor: Actor, request: ReplyToMessage) -> Outcome:
        """Answer a message in its thread. Raises as send_email does, and MESSAGE_NOT_FOUND.

        A key that may only reply cannot name recipients: those of the original are the ones it may write to.
        """
        if request.to or request.cc or request.bcc:
            actor.require("message_send")
        original, inbox = await self._original(actor, request.message_id, "message_reply")
        if request.body is None:
            raise refuse([FieldProblem("body", "is required", '"Thank you, that works."')])
        derived = await self.derive_reply(inbox, original, reply_all=request.reply_all, quote=request.quote)
        return await self._send(actor, inbox, request, "reply", derived, request.body, request.body_html)

    async def forward_message(self, actor: Actor, request: ForwardMessage) -> Outcome:
        """Pass a message on, with its attachments unless told otherwise. Raises as send_email does."""
        original, inbox = await self._original(actor, request.message_id, "message_send")
        derived = await self.derive_forward(inbox, original, with_attachments=request.include_attachments)
        return await self._send(actor, inbox, request, "forward", derived, request.body or "", request.body_html)

    async def _original(self, actor: Actor, message_id: str, permission: str) -> tuple[StoredMessage, Inbox]:
        if not actor.holds("message_send"):
            actor.require(permission)
        message = await access.message(self._core, actor, message_id)
        inbox = await inboxes.by_no(self._core.database, message.inbox_no)
        assert inbox is not None
        return message, inbox

    async def derive_reply(
        self, inbox: Inbox, original: StoredMessage, *, reply_all: bool, quote: bool = True
    ) -> Derived:
        """Recipients, subject, headers and quote of an answer to `original`."""
        sender = Address(original.from_["email"], original.from_["name"])
        others: list[Address] = []
        cc: list[Address] = []
        if _own(inbox, sender.email):  # answering our own mail goes on to whom it went
            to = _addresses(original.to)
        else:
            to = _addresses(original.reply_to) or _addresses([original.from_])
        if reply_all:
            to = _without(inbox, to) or to  # mail to oneself is still answered
            others = _without(inbox, _addresses(original.to), to)
            cc = _without(inbox, _addresses(original.cc), [*to, *others])
        text = await self._text(original) if quote else ""
        who = sender if sender.email else Address(inbox.address)
        when = original.date or original.received_at
        return Derived(
            to=(*to, *others),
            cc=tuple(cc),
            subject=reply_subject(original.subject),
            in_reply_to=original.message_id,
            references=reply_references(original.message_id, original.references, original.in_reply_to)
            if original.message_id
            else (),
            quoted="\n\n" + quote_for_reply(text, who, when) if quote else "",
            thread_seq=original.thread_seq,
        )

    async def derive_forward(self, inbox: Inbox, original: StoredMessage, *, with_attachments: bool) -> Derived:
        """Subject, text and attachments of `original` passed on."""
        text = await self._text(original)
        quoted = quote_for_forward(
            from_=Address(original.from_["email"], original.from_["name"]),
            to=_addresses(original.to),
            cc=_addresses(original.cc),
            date=original.date or original.received_at,
            subject=original.subject,
            text=text,
        )
        attachments: list[OutgoingAttachment] = []
        if with_attachments and original.has_attachments:
            raw = await self._core.blobs.get(self._core.database, original.blob_hash)
            for _, part, filename, content_type, content_id, *_ in await self._core.database.all(
                sql.attachments_of, seq=original.seq
            ):
                attachments.append(
                    OutgoingAttachment(filename, content_type, extract_attachment(raw, part), content_id)
                )
        return Derived(
            to=(),
            cc=(),
            subject=forward_subject(original.subject),
            in_reply_to=None,
            references=(original.message_id,) if original.message_id else (),
            quoted="\n\n" + quoted,
            thread_seq=original.thread_seq,
            attachments=tuple(attachments),
        )

    async def _text(self, message: StoredMessage) -> str:
        row = await self._core.database.one(sql.body_by_seq, seq=message.seq)
        return str(row[0]) if row else ""

    async def _send(
        self,
        actor: Actor,
        inbox: Inbox,
        request: ReplyToMessage | ForwardMessage,
        operation: str,
        derived: Derived,
        text: str,
        html: str | None,
    ) -> Outcome:
        files = await named(self._core, actor, request.attachments)
        sha256 = request_hash(operation, request, files)
        if (known := await self._sending.known(inbox, request.client_id, sha256)) is not None:
            return known
        to = people("to", request.to) or derived.to
        if not to:
            raise refuse([FieldProblem("to", "is required: the original has no sender to answer", '"ann@example.com"')])
        ready = await prepare(
            self._core,
            inbox,
            to=to,
            cc=people("cc", request.cc) or derived.cc,
            bcc=people("bcc", request.bcc),
            subject=request.subject if request.subject is not None else derived.subject,
            text=above(text, derived.quoted),
            html=with_quote(html, derived.quoted),
            in_reply_to=derived.in_reply_to,
            references=derived.references,
            attachments=files,
            forwarded=derived.attachments,
        )
        return await self._sending.submit(
            actor,
            Submission(
                inbox=inbox,
                ready=ready,
                client_id=request.client_id,
                request_sha256=sha256,
                send_at=request.send_at,
                park=request.park,
                reason=request.reason,
                thread_seq=derived.thread_seq,
                operation="forward_message" if operation == "forward" else "reply_to_message",
            ),
        )


def above(text: str, quoted: str) -> str:
    """The new words with the quote below them; without new words, the quote alone."""
    return text + quoted if text.strip() else quoted.lstrip("\n")


def with_quote(html: str | None, quoted: str) -> str | None:
    """An HTML body with the quote below it, escaped: the original's own markup is never sent on."""
    if html is None or not quoted:
        return html
    from html import escape

    body = escape(quoted.strip()).replace("\n", "<br>\n")
    return f'{html}\n<blockquote type="cite" style="margin:0 0 0 .8ex;padding-left:1ex">{body}</blockquote>'


def derived_content(derived: Derived) -> dict[str, Any]:
    """What a reply or forward draft keeps."""
    return {
        "to": [{"email": each.email, "name": each.name} for each in derived.to],
        "cc": [{"email": each.email, "name": each.name} for each in derived.cc],
        "subject": derived.subject,
        "in_reply_to": derived.in_reply_to,
        "references": list(derived.references),
        "quoted": derived.quoted,
        "thread_seq": derived.thread_seq,
    }
