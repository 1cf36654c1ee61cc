"""What happened to one outbound message, as entries of a timeline: facts and codes of ours, quotes as they were.

Everything here is plain data. What other servers said is in `reply`, `diagnostic` and `remote`, word for word as it
was stored: data, never a sentence of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daimon_mcp.domain.clock import iso, iso_or_none
from daimon_mcp.domain.oversight import HELD
from daimon_mcp.domain.queue import SANDBOX, DeliveryState, MessageStatus, Outcome, reply_line
from daimon_mcp.domain.reply_meanings import Meaning, meaning_of
from daimon_mcp.operations.bouncing import complained, recipient_of
from daimon_mcp.store import queue
from daimon_mcp.store.database import Row
from daimon_mcp.store.messages import StoredMessage
from daimon_mcp.store.queue import StoredDelivery, StoredQueue

MOST_NAMED = 10  # recipients of one report that are shown

# Where a recipient stands when no reply says it: names of texts in `prompts/delivery`.
_STATES = {
    DeliveryState.DELIVERED: "state.delivered",
    DeliveryState.SENT: str(Meaning.ACCEPTED),
    DeliveryState.UNKNOWN: "state.unknown",
    DeliveryState.CANCELLED: "state.cancelled",
    "held": "state.held",
}


@dataclass(frozen=True, slots=True)
class Attempted:
    """One row of `attempts_of_queue`: one SMTP try for one recipient; times in epoch µs."""

    delivery_no: int
    n: int
    started_at: int
    ended_at: int | None
    outcome: str | None
    code: int | None
    enhanced: str | None
    text: str | None
    remote: str | None
    tls: str | None


@dataclass(frozen=True, slots=True)
class CameBack:
    """One row of `reports_of_thread` that is about the message; `bounce` as the reading rules found it."""

    id: str
    received_at: int
    bounce: Mapping[str, Any]


def attempted(row: Row) -> Attempted:
    """A row of `attempts_of_queue`."""
    return Attempted(*row)


def standing(
    delivery: StoredDelivery,
    message: StoredMessage,
    queued: StoredQueue,
    latest: Attempted | None,
    *,
    unwanted: bool,
) -> str:
    """The text in `prompts/delivery` that says how a recipient's mail stands. `unwanted`: it complained."""
    state = delivery.state
    if unwanted and state in (DeliveryState.SENT, DeliveryState.DELIVERED):
        return "state.complained"
    if state == DeliveryState.SENT and delivery.remote == SANDBOX:
        return "state.captured"
    if state in _STATES:
        return _STATES[state]
    if state == DeliveryState.WAITING:
        if queued.state == queue.SCHEDULED:
            return "state.scheduled"
        return {
            MessageStatus.PENDING_UPGRADE: "state.parked",
            MessageStatus.PENDING_APPROVAL: "state.pending_approval",
        }.get(MessageStatus(message.status), "state.held")
    if state == DeliveryState.QUEUED:
        if latest is not None and latest.outcome is None:
            return "state.running"
        if delivery.last_outcome is None:
            return "state.queued"
        return meaning_of(delivery.last_code, delivery.last_enhanced, delivery.last_text or "")
    if delivery.transport == queue.LOCAL:
        return "state.gone"
    if delivery.last_code is None and state == DeliveryState.BOUNCED:  # a report said so, later
        if not delivery.last_enhanced and not delivery.last_text:
            return "state.bounced"
        return meaning_of(550, delivery.last_enhanced, delivery.last_text or "")
    return meaning_of(delivery.last_code, delivery.last_enhanced, delivery.last_text or "")


def before_leaving(message: StoredMessage, queued: StoredQueue | None, drafted_at: int | None) -> list[dict[str, Any]]:
    """From the draft to the queue: what is on record of the time before the first try."""
    entries: list[dict[str, Any]] = []
    if drafted_at is not None:
        entries.append({"at": iso(drafted_at), "what": "drafted"})
    by = "draft" if message.draft_id else queued.origin if queued is not None else queue.TOOL
    entries.append({"at": iso(message.received_at), "what": "accepted", "by": by})
    if queued is None:
        if message.deleted_at is not None:
            what = "rejected" if message.status == MessageStatus.REJECTED else "taken_back"
            entries.append({"at": iso(message.deleted_at), "what": what})
        return entries
    if queued.state in (queue.WAITING, HELD):
        entries.append({"at": iso(queued.created_at), "what": "waits", "why": message.status})
        return entries
    at = queued.created_at
    # What waits is not counted; it is when it is let go.
    counted = queued.counted_at or at
    if queued.send_at is not None:
        entries.append({"at": iso(at), "what": "scheduled", "for": iso(queued.send_at)})
        at = max(at, queued.send_at, counted)
    elif counted > at:
        entries.append({"at": iso(counted), "what": "released"})
        at = counted
    if queued.state == queue.ACTIVE:
        entries.append({"at": iso(at), "what": "let_go"})
    return entries


def attempt_entry(tried: Attempted, place: int, *, running: bool) -> dict[str, Any]:
    """One try. `place` is the recipient's number in the result; `running` that its outcome may still come."""
    entry: dict[str, Any] = {
        "at": iso(tried.started_at),
        "what": "attempt",
        "recipient": place,
        "attempt": tried.n,
        "ended_at": iso_or_none(tried.ended_at),
        "outcome": tried.outcome or ("running" if running else "interrupted"),
    }
    if tried.outcome is not None:
        unconfirmed = tried.outcome == Outcome.UNKNOWN
        meaning = "state.unknown" if unconfirmed else meaning_of(tried.code, tried.enhanced, tried.text or "")
        if tried.outcome == Outcome.ACCEPTED and tried.remote == SANDBOX:
            meaning = "state.captured"
        entry["meaning"] = str(meaning)
        entry["reply"] = reply_line(tried.code, tried.enhanced, tried.text)
    if tried.remote:
        entry["remote"] = tried.remote
    if tried.tls:
        entry["tls"] = tried.tls
    return entry


def local_entry(delivery: StoredDelivery, place: int) -> dict[str, Any] | None:
    """The delivery to an inbox of this server, once it is done."""
    if delivery.transport != queue.LOCAL or delivery.finished_at is None:
        return None
    return {
        "at": iso(delivery.finished_at),
        "what": "delivered_here" if delivery.state == DeliveryState.DELIVERED else "not_here",
        "recipient": place,
    }


def report_entry(report: CameBack, recipients: Sequence[str]) -> dict[str, Any]:
    """A report or complaint that came back, ours included; `recipients` of the message in the result's order."""
    bounce = report.bounce
    lower = [each.lower() for each in recipients]
    if bounce.get("complaint"):
        named = complained(dict(bounce), recipients)
        return {
            "at": iso(report.received_at),
            "what": "complaint",
            "message_id": report.id,
            "feedback_type": bounce["complaint"],
            "recipients": [recipients.index(each) + 1 for each in named],
        }
    said: list[dict[str, Any]] = []
    for failure in bounce["failures"][:MOST_NAMED]:
        about = recipient_of(failure, lower)
        place = lower.index(about) + 1 if about is not None else 1 if len(lower) == 1 else None
        said.append(
            {
                **({"recipient": place} if place else {}),
                "address": failure["recipient"],
                "action": failure["action"],
                "status": failure["status"],
                "reason": failure["reason"],
                "diagnostic": failure["diagnostic"],
            }
        )
    return {"at": iso(report.received_at), "what": "report", "message_id": report.id, "said": said}
