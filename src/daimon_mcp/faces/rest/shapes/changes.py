"""What changed, as it is answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import Shape, Time
from daimon_mcp.faces.rest.shapes.messages import ListedMessage

What = Literal[
    "new",
    "released",
    "read",
    "unread",
    "labels",
    "moved",
    "trashed",
    "restored",
    "deleted",
    "sent",
    "delivered",
    "bounced",
    "failed",
    "thread",
    "text",
]


class Change(Shape):
    """All that happened to a message, and how it is now; null for one that is gone."""

    what: list[What]
    message_id: str
    at: Time
    message: ListedMessage | None


class ChangeLog(Shape):
    """Changes in order, and the cursor to go on with."""

    changes: list[Change]
    has_more: bool
    cursor: str
