"""Unsent mail as it is answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import ForOperator, Page, Shape, Time, absent


class Person(Shape):
    """An address and a name, which may be empty."""

    email: str
    name: str


class DraftFile(Shape):
    """A file of a draft; one that was handed over by its handle has that."""

    id: str = absent()
    filename: str
    content_type: str


class ListedDraft(Shape):
    """A draft as lists show it: no body."""

    id: str
    inbox_id: str
    kind: Literal["plain", "reply", "forward"]
    status: Literal["draft", "scheduled", "pending_upgrade", "pending_approval", "sent"]
    to: list[Person]
    cc: list[Person]
    bcc: list[Person]
    subject: str | None
    send_at: Time | None
    thread_id: str | None
    in_reply_to: str | None
    labels: list[str]
    attachments: list[DraftFile]
    created_at: Time
    updated_at: Time
    preview: str


class DraftList(Page):
    """A page of drafts."""

    drafts: list[ListedDraft]


class Draft(ForOperator):
    """A draft with its content; `message_id` is what it became, or will be sent as."""

    id: str
    inbox_id: str
    kind: Literal["plain", "reply", "forward"]
    status: Literal["draft", "scheduled", "pending_upgrade", "pending_approval", "sent"]
    to: list[Person]
    cc: list[Person]
    bcc: list[Person]
    subject: str | None
    body_text: str | None
    body_html: str | None
    send_at: Time | None
    thread_id: str | None
    in_reply_to: str | None
    labels: list[str]
    attachments: list[DraftFile]
    created_at: Time
    updated_at: Time
    message_id: str = absent()


class DeletedDraft(Shape):
    """A draft that is gone."""

    id: str
    deleted: Literal[True]
