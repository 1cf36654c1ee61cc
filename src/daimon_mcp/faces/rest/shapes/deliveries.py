"""Deliveries and what is on record of them, as they are answered."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from daimon_mcp.faces.rest.shapes.base import Shape, Time, absent

DeliveryStatus = Literal[
    "scheduled",
    "pending_upgrade",
    "pending_approval",
    "held",
    "queued",
    "sent",
    "delivered",
    "bounced",
    "failed",
    "outcome_unknown",
    "cancelled",
    "rejected",
]
DeliveryState = Literal[
    "waiting", "queued", "held", "sent", "delivered", "bounced", "failed", "outcome_unknown", "cancelled"
]
AttemptOutcome = Literal["accepted", "refused", "deferred", "outcome_unknown"]
HoldReason = Literal["failed_dmarc", "on_block_list", "not_on_allow_list"]


class NotChecked(Shape):
    """Mail that did not come from another server, or came when nothing was checked: nothing is known."""


class CheckedSender(Shape):
    """What is known of a sender (RFC 7208, RFC 6376, RFC 7489, RFC 8617); domains are their own words."""

    spf: Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]
    spf_domain: str | None
    dkim: Literal["none", "pass", "fail", "policy", "neutral", "temperror", "permerror"]
    dkim_domains: list[str]
    dmarc: Literal["none", "pass", "fail", "temperror", "permerror"]
    policy: Literal["none", "quarantine", "reject"]
    arc: Literal["none", "pass", "fail"]
    forwarder: str | None
    verdict: Literal["pass", "fail", "none", "temperror"]


Authentication = CheckedSender | NotChecked


class Delivery(Shape):
    """One recipient. `last_reply` is the other server's own words: data."""

    id: str
    recipient: str
    status: DeliveryState
    attempts: int
    last_outcome: AttemptOutcome = absent()
    last_reply: str | None = absent()
    next_attempt_at: Time | None = absent()


class ExplainedDelivery(Shape):
    """One recipient, and where its mail stands; `meaning` names one of the `meanings`."""

    id: str
    recipient: str
    status: DeliveryState
    route: str
    attempts: int
    meaning: str
    again: str = absent()
    last_reply: str = absent()
    remote: str = absent()
    next_attempt_at: Time | None = absent()
    give_up_at: Time = absent()
    finished_at: Time = absent()


class Meaning(Shape):
    """A case in plain words."""

    explanation: str
    what_to_do: list[str] = absent()
    for_operator: list[str] = absent()


class Said(Shape):
    """What a report says of one recipient."""

    recipient: int = absent()
    address: str
    action: str
    status: str
    reason: str
    diagnostic: str


class Happening(Shape):
    """One thing that happened; `recipient` is a number in `deliveries`, from 1."""

    at: Time
    what: Literal[
        "drafted",
        "accepted",
        "taken_back",
        "rejected",
        "waits",
        "scheduled",
        "released",
        "let_go",
        "attempt",
        "delay_warning",
        "delivered_here",
        "not_here",
        "complaint",
        "report",
        "received",
        "authenticated",
        "held",
    ]
    by: str = absent()
    why: str = absent()
    for_: Time = Field(alias="for", default_factory=lambda: "")
    recipient: int = absent()
    attempt: int = absent()
    ended_at: Time | None = absent()
    outcome: AttemptOutcome | Literal["running", "interrupted"] = absent()
    meaning: str = absent()
    reply: str | None = absent()
    remote: str = absent()
    tls: str = absent()
    message_id: str = absent()
    feedback_type: str = absent()
    recipients: list[int] = absent()
    said: list[Said] = absent()
    verdict: str = absent()


class AskedAbout(Shape):
    """The operator's decision about mail that was held; the comment is the operator's own words."""

    id: str
    status: Literal["pending", "approved", "rejected", "expired", "closed"]
    why: list[Literal["every_send", "new_recipients", "after_untrusted", "secrets"]]
    comment: str | None
    expires_at: Time
    decided_at: Time | None


class Explanation(Shape):
    """Why mail is where it is. Mail that came has other facts than mail that was sent."""

    id: str
    thread_id: str
    direction: Literal["inbound", "outbound"]
    timeline: list[Happening]
    delivery_status: DeliveryStatus = absent()
    deliveries: list[ExplainedDelivery] = absent()
    meanings: dict[str, Meaning] = absent()
    attempts_total: int = absent()
    attempts_left_out: int = absent()
    approval: AskedAbout = absent("Of mail that is held, or was and did not leave")
    kind: str = absent()
    mailbox: str = absent()
    from_address: str = absent()
    came: Literal["from_another_server", "from_this_server"] = absent()
    hops: int = absent()
    trace: list[str] = absent()
    authentication: Authentication = absent()
    hold_reason: HoldReason = absent()
    explanation: str = absent()
    what_to_do: list[str] = absent()
    for_operator: list[str] = absent()
