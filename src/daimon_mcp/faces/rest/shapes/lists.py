"""Allow and block lists as they are answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import Page, Shape, Time, absent

Kind = Literal["allow", "block"]
Direction = Literal["receive", "send", "reply"]


class ListEntry(Shape):
    """An address or domain on a list; of the whole account where no inbox is named."""

    list: Kind
    direction: Direction
    entry: str
    inbox: str = absent()
    created_at: Time


class Entries(Shape):
    """All entries that were asked for."""

    entries: list[ListEntry]


class ChangedList(Shape):
    """A list, and those of the entries that were not there before, or are gone now."""

    list: Kind
    direction: Direction
    inbox: str | None
    entries: tuple[str, ...]


class Suppression(Shape):
    """An address that nothing more is sent to. `reply` is the other server's own words: data."""

    address: str
    why: Literal["bounced", "complained"]
    reply: str
    message_id: str | None
    since: Time


class SuppressionList(Page):
    """A page of suppressed addresses."""

    suppressions: list[Suppression]


class RemovedSuppression(Shape):
    """An address that is written to again."""

    address: str
    status: Literal["removed"]
