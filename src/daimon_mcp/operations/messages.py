"""Reading mail: list, get, wait, search. Lists carry no bodies; reads are bounded and say how to get the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import MessageChanged
from daimon_mcp.domain.clock import iso_or_none
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.queue import MessageStatus
from daimon_mcp.domain.refusals import Fact, invalid
from daimon_mcp.mail.parse import parse_headers
from daimon_mcp.operations import access
from daimon_mcp.operations.approving import asked_about
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.exposure import read_outside_mail
from daimon_mcp.operations.places import latest_place
from daimon_mcp.operations.reading import safe_html
from daimon_mcp.operations.requests import Id, Moment, Request
from daimon_mcp.operations.views import (
    Of,
    attachment_view,
    cursor,
    delivery_view,
    message_view,
    read_cursor,
    reading_view,
)
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes, messages, queue
from daimon_mcp.store.compiled import Statement
from daimon_mcp.store.database import Row, Transaction
from daimon_mcp.store.messages import ListedMessage, StoredMessage

CHARS_PER_TOKEN = 4
Kind = Literal["human", "auto_reply", "bounce", "newsletter", "invite", "notification"]
_FOREVER = 1 << 62
_SYSTEM = {
    "inbox": inboxes.INBOX,
    "sent": inboxes.SENT,
    "trash": inboxes.TRASH,
    "spam": inboxes.SPAM,
    "scheduled": inboxes.SCHEDULED,
    "blocked": inboxes.SPAM,
}
_STATES = ("unread", "bounced")
_FILTERS = {"thread_id", "label", "direction", "kind", "unread", "before", "after"}
_PAGES = {
    "thread": (sql.thread_page_newest, sql.thread_page_oldest),
    "mailbox": (sql.mailbox_newest, sql.mailbox_oldest),
    "label": (sql.label_newest, sql.label_oldest),
    "unread": (sql.unread_newest, sql.unread_oldest),
    "all": (sql.messages_newest, sql.messages_oldest),
}
_USUAL_LINKS = 4000  # characters of URLs that are shown unasked
_MOST_REFERENCES = 20


class ListMessages(Request):
    inbox: Annotated[Id | None, Field(description="id or address")] = None
    label: Annotated[str | None, Field(max_length=64, description="inbox, sent, spam, trash or your own")] = None
    thread_id: Id | None = None
    unread: bool | None = None
    direction: Literal["inbound", "outbound"] | None = None
    kind: Annotated[Kind | None, WithJsonSchema({"type": "string"})] = None  # a wrong one is told which there are
    before: Annotated[Moment | None, Field(description="ISO 8601 with offset")] = None
    after: Moment | None = None
    sort: Literal["desc", "asc"] = "desc"
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


class GetMessage(Request):
    message_id: Annotated[Id, Field(description="msg_ id")]
    include: Annotated[
        list[Literal["quoted", "links", "body_html", "headers"]] | None,
        Field(description="quoted: with quotes; links: instead of the text"),
    ] = None
    max_tokens: Annotated[int, Field(ge=100, le=25_000)] = 3000
    offset: Annotated[int, Field(ge=0, description="Characters")] = 0
    mark_read: bool = True


class ReadMessage(Request):
    """For programs, which pay for no tokens: the whole message, unless `max_tokens` bounds its texts."""

    message_id: Annotated[Id, Field(description="msg_ id")]
    include: Annotated[
        list[Literal["body_html", "headers"]] | None, Field(description="Besides the texts; both unless it is given")
    ] = None
    max_tokens: Annotated[int | None, Field(ge=100, description="Of each text; left out, all of it")] = None
    offset: Annotated[int, Field(ge=0, description="Characters of the text to skip")] = 0


class GetRaw(Request):
    message_id: Annotated[Id, Field(description="msg_ id")]


@dataclass(frozen=True, slots=True)
class Raw:
    """A message as it was received or will be sent; `sha256` of `content` in hexadecimal digits."""

    id: str
    content: bytes
    sha256: str


_ALL = ("body_html", "headers")
_WHOLE = 1 << 40  # tokens: no text is longer
_ANSWERED = ("human", "invite")


def reading_facts(message: StoredMessage, result: Mapping[str, Any]) -> dict[str, Fact]:
    """What the words after reading a message depend on."""
    inbound = message.direction == "inbound"
    bounce: Mapping[str, Any] = result.get("bounce") or {}
    hidden: Mapping[str, Any] = result.get("hidden_text") or {}
    return {
        "message": message.id,
        "thread": message.thread_id,
        "answer": "yes" if inbound and message.kind in _ANSWERED and not message.hold_reason else None,
        "held": message.hold_reason,
        "quoted": "yes" if "quoted" in result else None,
        "file": result["attachments"][0]["id"] if result["attachments"] else None,
        "about": bounce.get("about"),
        "hidden": hidden["chars"] if hidden.get("suspicious") else None,
        "unseen": "yes" if result.get("text_only_plain") else None,
        "differs": "yes" if result.get("alt_mismatch") and not result.get("text_only_plain") else None,
        "links": "yes" if len(result["links"]) < result["links_total"] else None,
        "approval": asked["id"] if (asked := result.get("approval")) and asked["status"] == "pending" else None,
        "rejected": "yes" if message.status == MessageStatus.REJECTED else None,
    }


def clip(text: str, offset: int, max_tokens: int) -> tuple[str, int | None]:
    """A window of a text, cut at a line or word end; and where to go on, or None at the end."""
    most = max_tokens * CHARS_PER_TOKEN
    rest = text[offset:]
    if len(rest) <= most:
        return rest, None
    cut = max(rest.rfind("\n", most // 2, most), rest.rfind(" ", most - 200, most))
    end = cut + 1 if cut > 0 else most
    return rest[:end], offset + end


class Messages:
    """The reading verbs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list_messages(self, actor: Actor, request: ListMessages) -> Outcome:
        """One page of an inbox, without bodies. Raises INBOX_NOT_FOUND, THREAD_NOT_FOUND, INVALID_REQUEST."""
        actor.require("message_read")
        core = self._core
        inbox = await access.inbox(core, actor, request.inbox)
        thread = await access.thread(core, actor, request.thread_id, inbox) if request.thread_id else None
        place = read_cursor(request.cursor, Of.MESSAGES) if request.cursor else None
        if place is not None and place >> messages.SEQ_BITS != inbox.no:
            raise invalid("cursor", "is a place in another inbox; pass the next_cursor of this one")
        statement, values = await self._page(inbox, request, thread.seq if thread else 0, place)
        rows = await core.database.all(statement, **values)
        page = [messages.listed_of(row) for row in rows[: request.limit]]
        await self._shows(actor, page)
        more = len(rows) > request.limit
        plain = not request.model_fields_set & _FILTERS
        result = {
            "messages": [message_view(each) for each in page],
            "total": inbox.message_count if plain else None,
            "unread_count": inbox.unread_count,
            "has_more": more,
            "next_cursor": cursor(Of.MESSAGES, page[-1].seq) if more else None,
            "cursor": cursor(Of.PLACE, await latest_place(core, inbox.no)),
        }
        return Outcome(
            key="list_messages" + ("" if page else ".none"),
            result=result,
            facts={"shown": len(page), "inbox_id": inbox.id, "more": "yes" if more else None},
        )

    async def _page(
        self, inbox: Inbox, request: ListMessages, thread_seq: int, place: int | None
    ) -> tuple[Statement, dict[str, Any]]:
        """The statement that goes down the index with just the messages asked for, and its values."""
        newest = request.sort == "desc"
        label = (request.label or "").strip().lower()
        mailbox_no = 0
        if (name := _SYSTEM.get(label)) is not None:
            row = await self._core.database.one(sql.mailbox_by_name, inbox_no=inbox.no, name=name)
            assert row is not None
            mailbox_no = row[0]
        own = label if label not in _SYSTEM and label not in _STATES else ""
        unread = bool(request.unread) or label == "unread"
        which = (
            "thread" if thread_seq else "mailbox" if mailbox_no else "label" if own else "unread" if unread else "all"
        )
        bottom, top = messages.first_seq(inbox.no), messages.last_seq(inbox.no)
        return _PAGES[which][0 if newest else 1], {
            "inbox_no": inbox.no,
            "inbox_id": inbox.id,
            "thread_seq": thread_seq,
            "mailbox_no": mailbox_no,
            "label": own,
            "unread": int(unread),
            "status": "bounced" if label == "bounced" else "",
            "held": int(label == "blocked"),
            "direction": request.direction or "",
            "kind": request.kind or "",
            "received_from": request.after or 0,
            "received_to": request.before or _FOREVER,
            "before": min(place, top) if place is not None and newest else top,
            "after": max(place, bottom) if place is not None and not newest else bottom,
            "limit": request.limit + 1,
        }

    async def get_message(self, actor: Actor, request: GetMessage) -> Outcome:
        """One message with its text. Raises MESSAGE_NOT_FOUND."""
        actor.require("message_read")
        message = await access.message(self._core, actor, request.message_id)
        await self._shows(actor, [message])
        result = await self.full(message, set(request.include or ()), request.max_tokens, request.offset)
        await self.mark_read(actor, message, request.mark_read, result)
        facts = {**reading_facts(message, result), "next_offset": result["next_offset"]}
        return Outcome(key="get_message", result=result, facts=facts)

    async def read_message(self, actor: Actor, request: ReadMessage) -> Outcome:
        """One message whole: its text with what it quotes, its new words, all links. Changes nothing.

        Raises MESSAGE_NOT_FOUND.
        """
        actor.require("message_read")
        message = await access.message(self._core, actor, request.message_id)
        await self._shows(actor, [message])
        include = _ALL if request.include is None else request.include
        result = await self.whole(message, set(include), request.max_tokens, request.offset)
        facts = {**reading_facts(message, result), "next_offset": result["next_offset"]}
        return Outcome(key="get_message", result=result, facts=facts)

    async def _shows(self, actor: Actor, shown: Sequence[ListedMessage]) -> None:
        if any(each.direction == "inbound" for each in shown):
            await read_outside_mail(self._core, actor)

    async def whole(
        self, message: StoredMessage, include: set[str], max_tokens: int | None = None, offset: int = 0
    ) -> dict[str, Any]:
        """A message as `read_message` shows it."""
        return await self.full(message, {*include, "quoted"}, max_tokens or _WHOLE, offset, every_link=True)

    async def get_raw(self, actor: Actor, request: GetRaw) -> Raw:
        """The bytes of a message. Raises MESSAGE_NOT_FOUND."""
        actor.require("message_read")
        message = await access.message(self._core, actor, request.message_id)
        await self._shows(actor, [message])
        content = await self._core.blobs.get(self._core.database, message.blob_hash)
        return Raw(message.id, content, message.blob_hash)

    async def full(
        self,
        message: StoredMessage,
        include: set[str],
        max_tokens: int,
        offset: int = 0,
        *,
        every_link: bool = False,
    ) -> dict[str, Any]:
        """A message as `get_message` shows it; with `every_link`, links are not left out for being many."""
        core = self._core
        row = await core.database.one(sql.body_by_seq, seq=message.seq)
        assert row is not None
        text, reply_text, html, links, warnings, authentication, reading = row
        facts: dict[str, Any] = json.loads(reading)
        all_links = [_link(each) for each in json.loads(links)]
        # An answer is read as its new words alone, unless the rest is asked for too.
        shortened = facts.get("quotes", False) and "quoted" not in include
        page: str | None
        if "links" in include:
            shown_links, next_offset = _window(all_links, offset, max_tokens * CHARS_PER_TOKEN)
            page, reply, reply_cut = None, "", None
        else:
            shown_links = all_links if every_link else _window(all_links, 0, _USUAL_LINKS)[0]
            page, next_offset = clip(reply_text if shortened else text, offset, max_tokens)
            reply, reply_cut = (
                (page, next_offset) if shortened else clip(reply_text, 0, max_tokens) if offset == 0 else ("", None)
            )
        attachments = [attachment_view(each) for each in await self._attachments(message)]
        result = {
            **message_view(message),
            "in_reply_to": message.in_reply_to,
            "references": list(message.references[-_MOST_REFERENCES:]),
            **_reply_to(message),
            "body_text": None if shortened else page,
            "reply_body": reply,
            "truncated": next_offset is not None or reply_cut is not None,
            "next_offset": next_offset,
            **reading_view(facts, shortened=shortened),
            "links": shown_links,
            "links_total": len(all_links),
            "cta_links": [link["url"] for link in all_links if link.get("is_cta")][:10],
            "attachments": attachments,
            "authentication": json.loads(authentication),
            "parse_warnings": json.loads(warnings),
            "date": iso_or_none(message.date),
            "untrusted": message.direction == "inbound",
        }
        if "body_html" in include:
            markup = await safe_html(html)
            result["body_html"] = clip(markup, 0, max_tokens)[0] if markup else None
        if "headers" in include:
            raw = await core.blobs.get(core.database, message.blob_hash)
            result["headers"] = _first_of_each(parse_headers(raw[: 256 * 1024]))
        if "bounce" in facts:
            result["bounce"] = await self._bounce(message, facts["bounce"])
        if message.direction == "outbound":
            queued = await queue.by_message(core.database, message.seq)
            found = await queue.deliveries(core.database, queued.no) if queued else []
            result["deliveries"] = [delivery_view(each) for each in found]
            if (asked := await asked_about(core, message)) is not None:
                result["approval"] = asked
        return result

    async def _bounce(self, message: StoredMessage, bounce: dict[str, Any]) -> dict[str, Any]:
        """What a report says, and which of the inbox's own messages it is about."""
        original = bounce.get("original_message_id")
        row = None
        if original:
            row = await self._core.database.one(
                sql.message_by_message_id, inbox_no=message.inbox_no, message_id=original
            )
        return bounce if row is None else {**bounce, "about": messages.message_of(row).id}

    async def _attachments(self, message: StoredMessage) -> list[Row]:
        if not message.has_attachments:
            return []
        return await self._core.database.all(sql.attachments_of, seq=message.seq)

    async def mark_read(self, actor: Actor, message: StoredMessage, wanted: bool, result: dict[str, Any]) -> None:
        if not wanted or message.seen or actor.read_only:
            return

        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            if messages.set_seen(tx, message, True, at=now):
                tx.announce(
                    MessageChanged(actor.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id)
                )

        await self._core.database.write(run)
        result["read"] = True
        result["labels"] = [label for label in result["labels"] if label != "unread"]


def _window(links: list[dict[str, Any]], offset: int, most: int) -> tuple[list[dict[str, Any]], int | None]:
    """As many links from `offset` on as have URLs of `most` characters together, at least one; and where to go on."""
    end, left = offset, most
    while end < len(links) and (end == offset or len(links[end]["url"]) <= left):
        left -= len(links[end]["url"])
        end += 1
    return links[offset:end], end if end < len(links) else None


def _reply_to(message: StoredMessage) -> dict[str, Any]:
    """Where an answer goes, if that is not the sender."""
    wanted = [each["email"] for each in message.reply_to]
    return {"reply_to_addresses": wanted} if wanted and wanted != [message.from_["email"]] else {}


def _link(link: dict[str, Any]) -> dict[str, Any]:
    """A link without what says nothing."""
    return {name: value for name, value in link.items() if value not in (None, "", False) or name == "is_cta"}


def _first_of_each(headers: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Headers by lower-case name; a name that occurs several times has a list."""
    found: dict[str, Any] = {}
    for name, value in headers[:200]:
        key = name.lower()
        if key in found:
            found[key] = [*found[key], value] if isinstance(found[key], list) else [found[key], value]
        else:
            found[key] = value
    return found
