"""Bounces, delivery reports (RFC 3464) and complaints (RFC 5965) that come back to the message they are about."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from daimon_mcp.domain.changes import MessageChanged
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.lists import Direction, Hold, verdict
from daimon_mcp.domain.queue import DeliveryState, MessageStatus
from daimon_mcp.mail.bounces import is_late_notice
from daimon_mcp.operations.settling import settle_status
from daimon_mcp.operations.suppressing import BOUNCED, COMPLAINED, is_for_good, suppress
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import events, lists, messages, queue
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Content, StoredMessage
from daimon_mcp.store.queue import StoredDelivery

# A report can speak of recipients that the next server took, or may have taken; what we know better stays.
_OPEN = (DeliveryState.SENT, DeliveryState.UNKNOWN)
_STATES = {"failed": DeliveryState.BOUNCED, "delivered": DeliveryState.DELIVERED}
_MOST_DIAGNOSTIC = 1000
# A bounce whose own words cannot be read, at a return path that says whom it is about.
_UNREAD: dict[str, Any] = {"failures": [{"recipient": "", "action": "failed", "status": "", "diagnostic": ""}]}
_MOST_REPORTS = 100  # of one thread that are looked at for an earlier one that says the same


def reported_message(
    tx: Transaction,
    inbox: Inbox,
    content: Content,
    mail_from: str,
    *,
    hold: Hold | None = None,
    delivery_no: int | None = None,
) -> StoredMessage | None:
    """The message of this inbox that an incoming report is about, if it is one of ours.

    A report has the null sender (RFC 3464 §2) and speaks of somebody the message went to; anything else is mail like
    all other, whatever it says. Where it came to the own return path of a delivery, that says whom it is about, and a
    report that came elsewhere on a message with such paths is not believed. A complaint has a sender like other mail
    (RFC 6650 §5.5), so it is none when the inbox's lists or `hold` keep it out, and it may leave the recipient unsaid.
    """
    bounce: dict[str, Any] | None = content.reading.get("bounce")
    if delivery_no is not None and not mail_from and (bounce is not None or content.kind == "bounce"):
        row = tx.one(sql.message_of_delivery, delivery_no=delivery_no, inbox_no=inbox.no)
        return None if row is None else messages.in_tx(tx, row[0])
    if bounce is None or not bounce.get("original_message_id"):
        return None
    if mail_from and not (bounce.get("complaint") and hold is None and _may_write(tx, inbox, content, mail_from)):
        return None
    row = tx.one(sql.message_by_message_id, inbox_no=inbox.no, message_id=bounce["original_message_id"])
    found = None if row is None else messages.message_of(row)
    if found is None or found.direction != "outbound":
        return None
    queued = queue.by_message_in(tx, found.seq)
    if queued is None or (queued.verp and not bounce.get("complaint")):
        return None
    sent_to = [each.recipient.lower() for each in queue.deliveries_in(tx, queued.no)]
    unsaid = bool(bounce.get("complaint")) and not bounce["failures"]
    named = any(recipient_of(each, sent_to) is not None for each in bounce["failures"])
    return found if len(sent_to) == 1 or unsaid or named else None


def recipient_of(failure: Mapping[str, Any], sent_to: Collection[str]) -> str | None:
    """Which of `sent_to`, in lower case, a group of a report is about, if any.

    The address that the mail was sent to counts before the one that it became on the way (RFC 3464 §2.3.1).
    """
    said = (str(failure.get(name) or "").lower() for name in ("original_recipient", "recipient"))
    return next((address for address in said if address in sent_to), None)


def _may_write(tx: Transaction, inbox: Inbox, content: Content, mail_from: str) -> bool:
    entries = lists.for_inbox(tx, inbox.account_no, inbox.no, Direction.RECEIVE)
    return verdict(entries, [each for each in (content.from_["email"], mail_from) if each]) is None


def apply_report(
    tx: Transaction,
    inbox: Inbox,
    original: StoredMessage,
    content: Content,
    now: int,
    *,
    believed: bool,
    delivery_no: int | None = None,
) -> None:
    """Settle the recipients a report names, or the one of `delivery_no`. Only those of this message, and only from
    `sent` or `outcome_unknown`, or while its content is under way.

    A recipient that is not there for good is not written to again. A complaint settles nothing: it is told, once for
    each recipient, who is not written to again either. That lasts, so it takes a report that is `believed`: one whose
    sender nobody vouches for, and that came to no return path of ours, could be made up by any other recipient.
    """
    queued = queue.by_message_in(tx, original.seq)
    if queued is None:
        return
    deliveries = queue.deliveries_in(tx, queued.no)
    bounce: dict[str, Any] = content.reading.get("bounce") or {"failures": []}
    if bounce.get("complaint"):
        whom = [each.recipient for each in deliveries if delivery_no in (None, each.no)]
        _tell_complaint(tx, inbox, original, bounce, whom, now, suppresses=believed)
        return
    if delivery_no is not None:
        deliveries = [each for each in deliveries if each.no == delivery_no]
    groups: Sequence[dict[str, Any]] = bounce["failures"]
    if not groups and delivery_no is not None and not is_late_notice(content.subject):
        groups = _UNREAD["failures"]
    settled = False
    for failure in groups:
        state = _STATES.get(failure["action"])
        if state is None:
            continue
        about = recipient_of(failure, [each.recipient.lower() for each in deliveries])
        named = [each for each in deliveries if each.recipient.lower() == about]
        # A forwarding address bounces under another name: with one recipient there is no doubt whom it is about.
        for delivery in named or (deliveries if len(deliveries) == 1 else []):
            if not _is_open(tx, delivery):
                continue
            tx.run(
                sql.delivery_reported,
                delivery_no=delivery.no,
                new_state=state,
                now=now,
                enhanced=failure["status"] or None,
                reply_text=failure["diagnostic"][:_MOST_DIAGNOSTIC] or None,
            )
            settled = True
            if believed and state is DeliveryState.BOUNCED and is_for_good(failure["status"]):
                suppress(
                    tx, inbox.account_no, delivery.recipient, why=BOUNCED, reply=failure["diagnostic"],
                    message_id=original.id, now=now,
                )  # fmt: skip
    if not settled:
        return
    status = settle_status(tx, original, queued.no, now)
    if str(status) != original.status and status in (MessageStatus.BOUNCED, MessageStatus.DELIVERED):
        payload = {
            "inbox_id": inbox.id,
            "message_id": original.id,
            "thread_id": original.thread_id,
            "status": str(status),
        }
        events.record(tx, f"message.{status}", account_no=inbox.account_no, inbox_no=inbox.no, now=now, payload=payload)
    tx.announce(MessageChanged(inbox.account_no, inbox.no, inbox.id, original.id, original.thread_id))


def _is_open(tx: Transaction, delivery: StoredDelivery) -> bool:
    """Whether a report can say more of a delivery than is known; also while the answer to its content is waited for:
    the server that takes a message can be done with it before that is on record."""
    if delivery.state == DeliveryState.QUEUED:
        return tx.one(sql.attempt_under_way, delivery_no=delivery.no) is not None
    return delivery.state in _OPEN


def complained(bounce: dict[str, Any], recipients: Sequence[str]) -> list[str]:
    """Which of a message's recipients a complaint speaks of, as the message has them; [] when it does not say."""
    named = {each["recipient"].lower() for each in bounce["failures"]}
    found = [each for each in recipients if each.lower() in named]
    return found or (list(recipients) if len(recipients) == 1 else [])


def _tell_complaint(
    tx: Transaction,
    inbox: Inbox,
    original: StoredMessage,
    bounce: dict[str, Any],
    recipients: Sequence[str],
    now: int,
    *,
    suppresses: bool,
) -> None:
    """Suppress those who complained and record `message.complained`, unless an earlier complaint said the same."""
    told = complained(bounce, recipients)
    rows = tx.all(sql.reports_of_thread, thread_seq=original.thread_seq, after=original.seq, limit=_MOST_REPORTS)
    for _, _, _, reading in rows:
        earlier: dict[str, Any] = json.loads(reading).get("bounce") or {}
        same = earlier.get("complaint") and earlier["original_message_id"] == bounce["original_message_id"]
        if same and set(told) <= set(complained(earlier, recipients)):
            return
    for address in told if suppresses else ():
        suppress(
            tx, inbox.account_no, address, why=COMPLAINED, reply=bounce["complaint"], message_id=original.id, now=now
        )
    payload: dict[str, Any] = {
        "inbox_id": inbox.id,
        "message_id": original.id,
        "thread_id": original.thread_id,
        "recipients": told,
        "feedback_type": bounce["complaint"],
    }
    events.record(tx, "message.complained", account_no=inbox.account_no, inbox_no=inbox.no, now=now, payload=payload)
