"""Conversations as they are answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import Page, Shape, Time, absent
from daimon_mcp.faces.rest.shapes.messages import Message


class Thread(Shape):
    """A conversation without its messages."""

    id: str
    inbox_id: str
    subject: str
    participants: list[str]
    labels: list[str]
    message_count: int
    unread_count: int
    created_at: Time
    updated_at: Time
    related_thread_id: str = absent("The thread it began in, under another subject")


class ReadThread(Thread):
    """A conversation with a page of its messages, oldest first."""

    messages: list[Message]


class ThreadList(Page):
    """A page of threads. `total` is null where only some were asked for."""

    threads: list[Thread]
    total: int | None


class ReadThreadResult(Page):
    """A thread; the cursor is for its messages."""

    thread: ReadThread


class FiledThread(Shape):
    """A thread whose messages were marked, labelled or moved."""

    thread: ReadThread
    messages_changed: int


class DeletedThread(Shape):
    """A thread in trash."""

    deleted: Literal[True]
    thread_id: str
    messages_deleted: int
