"""Mail that was sent, as it is answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import ForOperator, Shape, Time, Usage, absent
from daimon_mcp.faces.rest.shapes.deliveries import DeliveryStatus


class Sent(ForOperator):
    """A mail that was sent, scheduled, or parked. `duplicate_of` is the same mail, sent shortly before."""

    id: str
    status: DeliveryStatus
    message_id: str
    thread_id: str
    sent_at: Time | None
    scheduled_at: Time | None
    note: str | None
    recipients: list[str] = absent()
    usage: Usage = absent()
    cursor: str = absent("For wait: what comes after this mail")
    duplicate_of: str = absent()


class Problem(Shape):
    """Why a mail would be refused."""

    code: str
    reason: str = absent()


class Checked(Shape):
    """What a dry run says: nothing was sent."""

    dry_run: Literal[True]
    ok: bool
    would: DeliveryStatus | Literal["refuse", "repeated", "duplicate"]
    problems: list[Problem]
    warnings: list[dict[str, str]]
    recipients: list[str]
    size: int


SentOrChecked = Sent | Checked


class Cancelled(Shape):
    """A mail that will not leave."""

    id: str
    status: Literal["cancelled"]
