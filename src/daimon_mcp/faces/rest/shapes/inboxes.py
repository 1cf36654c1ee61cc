"""Inboxes as they are answered."""

from __future__ import annotations

from typing import Any, Literal

from daimon_mcp.faces.rest.shapes.base import Page, Shape, Tier, Time, absent


class AnyInbox(Shape):
    """An address and what is in it, whether it is there still or not."""

    id: str
    address: str
    display_name: str
    created_at: Time
    message_count: int
    unread_count: int
    thread_count: int
    last_received_at: Time | None
    metadata: dict[str, Any]
    oversight: Literal["read_only", "gated_send", "gated_new", "monitored", "autonomous"]
    after_untrusted: Literal["allow", "hold"]
    paused: bool


class Inbox(AnyInbox):
    """An address and what is in it."""

    status: Literal["active"]


class CreatedInbox(Inbox):
    """A new inbox with its keys, or without them the one that this client_id made before."""

    tier: Tier
    api_key: str = absent("The inbox's key; shown once")
    account_api_key: str = absent("The account's key; shown once, with its first inbox")


class InboxList(Page):
    """A page of inboxes."""

    inboxes: list[Inbox]
    total: int


class DeletedInbox(Shape):
    """An inbox that is gone."""

    id: str
    status: Literal["deleted"]
    deleted_at: Time
