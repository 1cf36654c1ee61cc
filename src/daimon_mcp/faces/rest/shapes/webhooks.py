"""Webhooks and the log of what they were sent, as they are answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import Page, Shape, Time, absent
from daimon_mcp.faces.rest.shapes.events import Event, EventName, MillisecondTime


class Webhook(Shape):
    """A URL that events are posted to; `inbox_id` null is the whole account. `last_error` is in our words."""

    id: str
    account_id: str
    inbox_id: str | None
    url: str
    description: str
    events: list[EventName | Literal["*"]]
    status: Literal["active", "unhealthy", "disabled"]
    disabled_reason: str | None
    failure_count: int
    failing_since: Time | None
    last_error: str | None
    last_delivered_at: Time | None
    next_attempt_at: Time | None
    old_secret_until: Time = absent("While the secret before this one signs too")
    created_at: Time
    updated_at: Time


class CreatedWebhook(Webhook):
    """A new webhook with its secret, or without it the one that this client_id made before."""

    secret: str = absent("Signs every call; shown once")


class RotatedWebhook(Webhook):
    """A webhook with its new secret, which is shown once."""

    secret: str


class WebhookList(Page):
    """A page of webhooks."""

    webhooks: list[Webhook]


class DeletedWebhook(Shape):
    """A webhook that is told nothing any more."""

    id: str
    success: Literal[True]
    status: Literal["deleted"]
    deleted_at: Time


class TestedWebhook(Shape):
    """What a test call came to. `response` is the receiver's own words: data."""

    webhook_id: str
    event_id: str
    delivered: bool
    status_code: int | None
    duration_ms: int
    error: str | None
    response: str | None


class HookPost(Shape):
    """What was posted: `size` in octets, null for what was never made. Signatures are left out."""

    method: Literal["POST"]
    url: str
    headers: dict[str, str]
    size: int | None


class HookResponse(Shape):
    """What the receiver answered, in its own words: data."""

    headers: dict[str, str]
    body: str


class HookAttempt(Shape):
    """One call; `ended_at` null while it is under way, or when the server stopped before it was answered."""

    n: int
    started_at: MillisecondTime
    ended_at: MillisecondTime | None
    duration_ms: int | None
    status_code: int | None
    error: str | None
    request: HookPost
    response: HookResponse | None


class HookDelivery(Shape):
    """One event for one webhook, with its attempts, oldest first."""

    id: str
    event_id: str
    event: EventName
    status: Literal["waiting", "delivered", "failed", "dropped"]
    replay: bool
    attempt_count: int
    created_at: MillisecondTime
    finished_at: MillisecondTime | None
    next_attempt_at: MillisecondTime | None
    attempts: list[HookAttempt]


class ShownHookDelivery(HookDelivery):
    """A delivery with its payload as it would be posted now; null for who may not read the mail in it."""

    payload: Event | None


class HookDeliveryList(Page):
    """A page of deliveries."""

    deliveries: list[HookDelivery]


class ReplayedWebhook(Shape):
    """How many events are posted again."""

    webhook_id: str
    replayed: int
