"""The outbound queue: states, the retry schedule, and what one attempt came to."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from daimon_mcp.domain.clock import DAY, HOUR, MINUTE
from daimon_mcp.domain.envelopes import Recipient

SANDBOX = "sandbox"
"""What attempts have for the name of the other server where mail was captured and left for nobody."""


class DeliveryState(StrEnum):
    """One recipient of one message."""

    WAITING = "waiting"  # not to be claimed: parked for an upgrade, or scheduled
    QUEUED = "queued"
    HELD = "held"  # by the operator
    SENT = "sent"  # accepted by the next hop
    DELIVERED = "delivered"
    BOUNCED = "bounced"  # refused for good by the next hop
    FAILED = "failed"  # we gave up
    UNKNOWN = "outcome_unknown"  # lost after the final dot: not sent again by itself, the sender is told
    CANCELLED = "cancelled"


class MessageStatus(StrEnum):
    """`delivery_status` of an outbound message."""

    SCHEDULED = "scheduled"
    PENDING_UPGRADE = "pending_upgrade"
    PENDING_APPROVAL = "pending_approval"
    HELD = "held"
    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    FAILED = "failed"
    OUTCOME_UNKNOWN = "outcome_unknown"
    CANCELLED = "cancelled"
    REJECTED = "rejected"  # by the operator, or by time: it was held and is not sent
    RECEIVED = "received"

    @property
    def is_final(self) -> bool:
        """Whether nothing more is going to be tried."""
        return self in _FINAL


_FINAL = frozenset(
    {
        MessageStatus.SENT,
        MessageStatus.DELIVERED,
        MessageStatus.BOUNCED,
        MessageStatus.FAILED,
        MessageStatus.OUTCOME_UNKNOWN,
        MessageStatus.CANCELLED,
        MessageStatus.REJECTED,
    }
)


class Outcome(StrEnum):
    """What one SMTP try came to, for one recipient."""

    ACCEPTED = "accepted"
    REFUSED = "refused"  # 5xx
    DEFERRED = "deferred"  # 4xx, or no connection: nothing was handed over
    UNKNOWN = "outcome_unknown"  # the connection was lost after the final dot: it may or may not have been taken


@dataclass(frozen=True, slots=True)
class Attempt:
    """One SMTP try for one recipient. `text` is the peer's own words: data, shown quoted, never a prompt."""

    outcome: Outcome
    code: int | None
    enhanced: str | None
    text: str
    remote: str
    tls: str = ""  # how the connection was protected, in our words: `TLSv1.3 dane`, `TLSv1.3 unverified`, "" for none
    dsn: bool = False  # the peer offers DSN (RFC 3461) and was told what reports the sender wants: it will make them


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """One SMTP transaction for a transport to carry out: content with CRLF lines, and its envelope.

    `mail_from` "" is the null sender. `ret` and `envid` as in `Envelope`.
    """

    mail_from: str
    recipients: tuple[Recipient, ...]
    content: bytes
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """One recipient leased to the relay worker. The attempt is already on record when this is handed out."""

    no: int
    id: str
    recipient: Recipient
    attempt: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """One message with those of its recipients that are due. `created_at` is when it was queued.

    `packed` is its content as it is stored, if that was read with the claim.
    """

    message_id: str  # ours, msg_…
    queue_no: int
    mail_from: str
    blob_hash: str
    deliveries: tuple[ClaimedDelivery, ...]
    smtputf8: bool
    ret: str | None
    envid: str | None
    created_at: int
    warned_at: int | None
    size: int = 0
    packed: tuple[Any, ...] | None = None


# Delay before attempt n+1, after attempt n failed for now. The first is short for greylisting (RFC 6647).
RETRY_DELAYS: Sequence[int] = (
    1 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    20 * MINUTE,
    40 * MINUTE,
    80 * MINUTE,
    160 * MINUTE,
    4 * HOUR,
)
LIFETIME = 5 * DAY  # RFC 5321 §4.5.4.1 advises 4 to 5 days
LEASE = 10 * MINUTE
WARN_AFTER = 4 * HOUR  # the sender is told once that it takes long
JITTER = 0.2


def next_attempt_at(attempt: int, now: int) -> int:
    """When to try again after attempt number `attempt` (from 1), ± 20 % so that a crowd spreads out."""
    delay = RETRY_DELAYS[min(attempt, len(RETRY_DELAYS)) - 1]
    return now + int(delay * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311  spreading load, not a secret


_WHOLE_REPLY = re.compile(r"[245]\d\d(?:[ -]|$)")


def reply_line(code: int | None, enhanced: str | None, text: str | None) -> str:
    """A reply as its server gave it, on one line; "" when there was none.

    Without a code it was told by a report: its diagnostic may be a whole reply with a code and status of its own
    (RFC 3464 §2.3.6), which is not repeated.
    """
    if code is None and text and _WHOLE_REPLY.match(text):
        return text
    return " ".join(str(part) for part in (code, enhanced, text) if part)


def message_status(states: Sequence[str]) -> MessageStatus:
    """The status of a message from those of its recipients: the one that most needs attention."""
    for state, status in (
        (DeliveryState.QUEUED, MessageStatus.QUEUED),
        (DeliveryState.HELD, MessageStatus.HELD),
        (DeliveryState.BOUNCED, MessageStatus.BOUNCED),
        (DeliveryState.FAILED, MessageStatus.FAILED),
        (DeliveryState.UNKNOWN, MessageStatus.OUTCOME_UNKNOWN),
        (DeliveryState.SENT, MessageStatus.SENT),
        (DeliveryState.DELIVERED, MessageStatus.DELIVERED),
        (DeliveryState.CANCELLED, MessageStatus.CANCELLED),
    ):
        if state in states:
            return status
    return MessageStatus.QUEUED
