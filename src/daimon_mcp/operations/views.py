"""How stored things look on the wire: one form, the field's names (the aliases are for input only)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from daimon_mcp.domain.clock import iso, iso_or_none
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.queue import reply_line
from daimon_mcp.domain.refusals import invalid
from daimon_mcp.store.database import Row
from daimon_mcp.store.drafts import StoredDraft
from daimon_mcp.store.messages import ListedMessage, Person
from daimon_mcp.store.queue import StoredDelivery
from daimon_mcp.store.threads import StoredThread


class Of(StrEnum):
    """What a cursor is a place in: one of another kind is refused, not misread."""

    PLACE = "p"  # an inbox's log of changes
    MESSAGES = "m"
    THREAD = "t"
    THREADS = "h"
    THREADS_MADE = "c"  # by the time they began
    INBOXES = "i"
    DRAFTS = "d"
    DOMAINS = "o"
    EVENTS = "e"
    WEBHOOKS = "w"
    HOOK_DELIVERIES = "y"
    AUDIT = "a"
    APPROVALS = "r"


_KINDS = frozenset(kind.value.encode() for kind in Of)


def cursor(kind: Of, *numbers: int) -> str:
    """An opaque place in a list, given by the one or two numbers that it is ordered by."""
    raw = kind.value.encode() + b"".join(number.to_bytes(8, "big") for number in numbers)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(text: str, kind: Of, field: str = "cursor") -> int:
    """A place we gave out. Raises INVALID_REQUEST for anything else."""
    return _numbers(text, kind, field, 1)[0]


def read_pair(text: str, kind: Of, field: str = "cursor") -> tuple[int, int]:
    """A place of two numbers. Raises INVALID_REQUEST for anything else."""
    first, second = _numbers(text, kind, field, 2)
    return first, second


def _numbers(text: str, kind: Of, field: str, count: int) -> list[int]:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raw = b""
    if raw[:1] in _KINDS and raw[:1] != kind.value.encode() and len(raw) in (9, 17):
        right = "cursor of an earlier result" if kind is Of.PLACE else "next_cursor of this same list"
        raise invalid(field, f"is a place in something else; pass the {right}")
    numbers = [int.from_bytes(raw[at : at + 8], "big") for at in range(1, len(raw), 8)]
    if raw[:1] != kind.value.encode() or len(raw) != 1 + 8 * count or any(number >> 63 for number in numbers):
        raise invalid(field, "is not a cursor of this server; pass one from an earlier result unchanged")
    return numbers


def address(person: Person) -> str:
    """`Ann <ann@example.com>`, or the address alone."""
    return f"{person['name']} <{person['email']}>" if person["name"] else person["email"]


def emails(people: Sequence[Person]) -> list[str]:
    """The bare addresses."""
    return [person["email"] for person in people]


def inbox_view(inbox: Inbox) -> dict[str, Any]:
    """An inbox as every answer shows it."""
    return {
        "id": inbox.id,
        "address": inbox.address,
        "display_name": inbox.display_name,
        "status": inbox.status,
        "created_at": iso(inbox.created_at),
        "message_count": inbox.message_count,
        "unread_count": inbox.unread_count,
        "thread_count": inbox.thread_count,
        "last_received_at": iso_or_none(inbox.last_received_at),
        "metadata": inbox.metadata,
        "oversight": str(inbox.oversight),
        "after_untrusted": str(inbox.after_untrusted),
        "paused": inbox.paused,
    }


def _system_labels(message: ListedMessage) -> list[str]:
    labels = [message.mailbox.lower()] if message.mailbox != "Scheduled" else ["scheduled"]
    if not message.seen:
        labels.append("unread")
    if message.status == "bounced":
        labels.append("bounced")
    if message.hold_reason:
        labels.append("blocked")
    return labels


def message_view(message: ListedMessage) -> dict[str, Any]:
    """A message as lists show it: no body."""
    return {
        "id": message.id,
        "inbox_id": message.inbox_id,
        "thread_id": message.thread_id,
        "message_id": message.message_id,
        "direction": message.direction,
        "kind": message.kind,
        "from_address": message.from_["email"],
        "from_name": message.from_["name"],
        "to_addresses": emails(message.to),
        "cc_addresses": emails(message.cc),
        **({"bcc_addresses": emails(message.bcc)} if message.bcc else {}),
        "subject": message.subject,
        "preview": message.preview,
        "labels": [*_system_labels(message), *message.labels],
        "read": message.seen,
        "has_attachments": message.has_attachments,
        "delivery_status": None if message.direction == "inbound" else message.status,
        "received_at": iso(message.received_at) if message.direction == "inbound" else None,
        "sent_at": iso_or_none(message.sent_at) if message.direction == "outbound" else None,
        **({"scheduled_at": iso_or_none(message.send_at)} if message.status == "scheduled" else {}),
        **({"tag": message.tag} if message.tag else {}),
        **({"hold_reason": message.hold_reason} if message.hold_reason else {}),
        **({"linked_by": message.linked_by} if message.linked_by else {}),
        **({"new_participant": True} if message.new_participant else {}),
        "size": message.size,
        "est_tokens": message.est_tokens,
    }


def delivery_view(delivery: StoredDelivery) -> dict[str, Any]:
    """One recipient's state. `last_reply` is the other server's own words: data."""
    view: dict[str, Any] = {
        "id": delivery.id,
        "recipient": delivery.recipient,
        "status": delivery.state,
        "attempts": delivery.attempts,
    }
    if delivery.last_outcome is not None:
        view["last_outcome"] = delivery.last_outcome
        view["last_reply"] = reply_line(delivery.last_code, delivery.last_enhanced, delivery.last_text)
    if delivery.state == "queued" and delivery.attempts:
        view["next_attempt_at"] = iso_or_none(delivery.next_attempt_at)
    return view


def attachment_view(row: Row) -> dict[str, Any]:
    """A row of `attachments_of`: what there is, never the bytes. `est_tokens` is of the text read out of it."""
    public_id, _, filename, content_type, content_id, disposition, size, text_status, text_length = row
    return {
        "id": public_id,
        "filename": filename,
        "content_type": content_type,
        "content_id": content_id,
        "disposition": disposition,
        "size": size,
        **({"text_status": text_status} if text_status else {}),
        **({"est_tokens": -(-text_length // 4)} if text_length else {}),
    }


_FOUND = ("signature", "forwarded", "hidden_text", "alt_mismatch", "text_only_plain", "trackers", "invite", "bounce")


def reading_view(facts: Mapping[str, Any], *, shortened: bool) -> dict[str, Any]:
    """What the reading rules found in a message; nothing of what they did not find, but `codes` always.

    `quoted` says what was left out of an answer and which rule drew the line.
    """
    view: dict[str, Any] = {"codes": facts.get("codes", [])}
    if shortened:
        view["quoted"] = {
            "est_tokens": -(-facts.get("quoted_chars", 0) // 4),
            "rule": facts.get("rule"),
            "confidence": facts.get("confidence"),
        }
    for name in _FOUND:
        if facts.get(name):
            view[name] = facts[name]
    return view


def thread_view(thread: StoredThread) -> dict[str, Any]:
    """A thread without its messages."""
    return {
        "id": thread.id,
        "inbox_id": thread.inbox_id,
        "subject": thread.subject,
        "participants": [person["email"] for person in thread.participants],
        "labels": thread.labels,
        "message_count": thread.message_count,
        "unread_count": thread.unread_count,
        "created_at": iso(thread.created_at),
        "updated_at": iso(thread.last_at),
        **({"related_thread_id": thread.related_id} if thread.related_id else {}),
    }


def draft_view(draft: StoredDraft) -> dict[str, Any]:
    """A draft with its whole content."""
    content = draft.content
    return {
        "id": draft.id,
        "inbox_id": draft.inbox_id,
        "kind": draft.kind,
        "status": draft.state,
        "to": content.get("to") or [],
        "cc": content.get("cc") or [],
        "bcc": content.get("bcc") or [],
        "subject": content.get("subject"),
        "body_text": content.get("body"),
        "body_html": content.get("body_html"),
        "send_at": iso_or_none(draft.send_at),
        "thread_id": content.get("thread_id"),
        "in_reply_to": content.get("in_reply_to"),
        "labels": content.get("labels") or [],
        "attachments": [
            {
                **({"id": each["attachment_id"]} if "attachment_id" in each else {}),
                "filename": each["filename"],
                "content_type": each["content_type"],
            }
            for each in content.get("attachments") or ()
        ],
        "created_at": iso(draft.created_at),
        "updated_at": iso(draft.updated_at),
    }
