"""Mail that was sent, as it is answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import ForOperator, Shape, Time, Usage, absent
from daimon_mcp.faces.rest.shapes.deliveries import DeliveryStatus


class Finding(Shape):
    """What the guard found: of which kind and where, never what it says; `attachment` is the file's number from 1."""

    kind: str
    place: Literal["subject", "body_text", "body_html", "attachment"]
    attachment: int = absent()


class Held(Shape):
    """Why a mail waits for the operator's decision."""

    why: list[Literal["every_send", "new_recipients", "after_untrusted", "secrets"]]
    new_recipients: list[str] = absent()
    findings: list[Finding] = absent()


class Sent(ForOperator):
    """A mail that was sent, scheduled, parked or held for the operator. `duplicate_of` is the same one, sent before."""

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
    approval_id: str = absent("The operator's decision that it waits for")
    held: Held = absent()
    findings: list[Finding] = absent("What the guard found in mail that left")


class Problem(Shape):
    """Why a mail would be refused."""

    code: str
    reason: str = absent()


class DryRun(Shape):
    """What a dry run says: nothing was sent."""

    dry_run: Literal[True]
    ok: bool
    would: DeliveryStatus | Literal["refuse", "repeated", "duplicate"]
    problems: list[Problem]
    warnings: list[dict[str, str | int]]
    recipients: list[str]
    size: int
    held: Held = absent("Why it would wait for the operator's decision")


SentOrChecked = Sent | DryRun


class Cancelled(Shape):
    """A mail that will not leave."""

    id: str
    status: Literal["cancelled"]
