"""Letting a stored outbound message go: local recipients get their copy, the rest becomes due for the relay.

Runs inside a write, so that a message is either wholly on its way or not at all. Shared by sending now, by the
scheduler, and by the release of parked mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daimon_mcp.domain.changes import MessageAdded, MessageChanged, QueueChanged
from daimon_mcp.domain.events import event_of_status
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.inboxes import ROLE_LOCAL_PARTS, Inbox, split_subaddress
from daimon_mcp.domain.lists import Direction, Hold, verdict
from daimon_mcp.domain.oversight import Mode
from daimon_mcp.domain.queue import DeliveryState, MessageStatus
from daimon_mcp.operations.bouncing import apply_report, reported_message
from daimon_mcp.operations.settling import settle_status
from daimon_mcp.store import accounts, contacts, events, inboxes, lists, messages, queue
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Database, Transaction
from daimon_mcp.store.messages import Content, NewMessage, StoredMessage
from daimon_mcp.store.queue import StoredQueue

# Mail whose sender nobody vouches for; mail of servers that are trusted is not looked at.
UNAUTHENTICATED = "unauthenticated"
# A copy for the operator of what a monitored inbox sent.
MONITORED = "monitored"
# What a local recipient that is gone by now is answered with (RFC 3463 §3.2).
NO_SUCH_INBOX = "550 5.1.1 no such inbox here"


def local_inbox(tx: Transaction, address: str) -> tuple[Inbox | None, str | None]:
    """The live inbox a local address reaches, and its sub-address tag."""
    local, _, domain = address.lower().rpartition("@")
    found = inboxes.by_address_in(tx, f"{local}@{domain}")
    if found is not None:
        return found, None
    base, tag = split_subaddress(local)
    return (inboxes.by_address_in(tx, f"{base}@{domain}"), tag) if tag is not None else (None, None)


async def is_here(database: Database, address: str) -> bool:
    """Whether mail for a local address has somewhere to go now."""
    local, _, domain = address.lower().rpartition("@")
    base, _ = split_subaddress(local)
    for candidate in dict.fromkeys((local, base)):
        if await inboxes.by_address(database, f"{candidate}@{domain}") is not None:
            return True
    return is_role(address)


def is_role(address: str) -> bool:
    """Whether a local address is one that reaches the operator whatever happens (RFC 2142)."""
    return split_subaddress(address.lower().partition("@")[0])[0] in ROLE_LOCAL_PARTS


def destination(tx: Transaction, address: str, *, domain: str, now: int) -> tuple[Inbox | None, str | None]:
    """Where mail for a local address is put: an inbox and the tag, or the operator's inbox for role addresses."""
    inbox, tag = local_inbox(tx, address)
    if inbox is None and is_role(address):
        return operator_inbox(tx, domain, now), None
    return inbox, tag


def deleted_inbox(tx: Transaction, address: str, *, since: int) -> tuple[Inbox | None, str | None]:
    """The inbox a local address reached at some time after `since`, although it is deleted now, and the tag.

    For mail that was accepted while it was there: it lies where it would lie had it been filed a moment sooner.
    """
    local, _, domain = address.lower().rpartition("@")
    base, tag = split_subaddress(local)
    for candidate, suffix in ((local, None), (base, tag)):
        row = tx.one(sql.inbox_address_in_use, address=f"{candidate}@{domain}", quarantined_since=since)
        if row is not None:
            return inboxes.one_in(tx, row[0]), suffix
    return None, None


def operator_inbox(tx: Transaction, domain: str, now: int) -> Inbox:
    """Where postmaster@ and abuse@ go: the operator's own inbox, made when first needed."""
    address = f"postmaster@{domain}"
    found = inboxes.by_address_in(tx, address)
    if found is not None:
        return found
    number = inboxes.insert_inbox(
        tx,
        id=new_id("inb", now),
        account_no=accounts.operator_account(tx, now),
        address=address,
        display_name="Postmaster",
        metadata={},
        client_id=None,
        now=now,
    )
    return inboxes.one_in(tx, number)


def receive_copy(
    tx: Transaction,
    inbox: Inbox,
    content: Content,
    *,
    mail_from: str,
    tag: str | None,
    now: int,
    thread_seq: int | None = None,
    authentication: dict[str, Any] | None = None,
    hold: Hold | None = None,
    delivery_no: int | None = None,
    labels: Sequence[str] = (),
) -> str:
    """Place an inbound copy in an inbox, with its event; the new message's id.

    What the inbox's lists refuse, and what is to be held, goes to Spam, quietly: listed with the reason, and no event
    until somebody releases it. A report on a message of this inbox settles it and joins its thread, whatever the lists
    say. Of mail for a deleted inbox nobody is told. `authentication` is what is known of the sender; `delivery_no` the
    delivery whose own return path it came to.
    """
    message_id = new_id("msg", now)
    # With a thread given, it is a report of our own, and what it says is settled already.
    original: StoredMessage | None = None
    if thread_seq is None:
        original = reported_message(tx, inbox, content, mail_from, hold=hold, delivery_no=delivery_no)
    hold_reason: str | None = None
    if original is not None:
        thread_seq = original.thread_seq
        vouched = authentication is None or authentication["verdict"] == "pass"
        believed = delivery_no is not None or vouched
        apply_report(tx, inbox, original, content, now, believed=believed, delivery_no=delivery_no)
    elif thread_seq is None:
        senders = [each for each in (content.from_["email"], mail_from) if each]
        hold_reason = verdict(lists.for_inbox(tx, inbox.account_no, inbox.no, Direction.RECEIVE), senders) or hold
    mailbox = inboxes.INBOX if hold_reason is None else inboxes.SPAM
    if hold_reason is None:
        contacts.heard(tx, inbox.no, [content.from_["email"]], at=now)
    unvouched = authentication is not None and authentication.get("verdict") in ("fail", "none")
    placed = messages.place(
        tx,
        NewMessage(
            id=message_id,
            inbox_no=inbox.no,
            mailbox=mailbox,
            direction="inbound",
            status=MessageStatus.RECEIVED,
            content=content,
            seen=False,
            received_at=now,
            mail_from=mail_from,
            tag=tag,
            thread_seq=thread_seq,
            hold_reason=hold_reason,
            authentication=authentication or {},
            labels=[*labels, UNAUTHENTICATED] if unvouched else labels,
        ),
    )
    if inbox.deleted_at is not None:
        return message_id
    stored = messages.in_tx(tx, placed.seq)
    if hold_reason is None:
        tell_received(tx, inbox, stored, now, related_thread_id=placed.related_thread_id)
    else:
        tx.announce(MessageChanged(inbox.account_no, inbox.no, inbox.id, message_id, placed.thread_id))
    return message_id


def tell_received(
    tx: Transaction, inbox: Inbox, message: StoredMessage, now: int, *, related_thread_id: str | None
) -> None:
    """The events and the bell for mail that has come to an inbox, now or out of quarantine."""
    payload = {"inbox_id": inbox.id, "message_id": message.id, "thread_id": message.thread_id}
    told = ["message.received"]
    if message.kind != "bounce":
        ours = tx.one(sql.thread_is_ours, thread_seq=message.thread_seq, related=related_thread_id or "")
        told += [] if ours is None else ["message.reply"]
    for each in told:
        events.record(tx, each, account_no=inbox.account_no, inbox_no=inbox.no, now=now, payload=payload)
    tx.announce(added(inbox, message, related_thread_id))


def added(inbox: Inbox, message: StoredMessage, related_thread_id: str | None) -> MessageAdded:
    """What the bell says of a message that came to stand in a mailbox."""
    return MessageAdded(
        inbox.account_no,
        inbox.no,
        inbox.id,
        message.id,
        message.thread_id,
        message.mailbox,
        message.seq,
        message.direction,
        message.kind,
        f"{message.from_['name']} <{message.from_['email']}>",
        message.subject,
        related_thread_id,
    )


def let_go(
    tx: Transaction, message: StoredMessage, queued: StoredQueue, content: Content, *, domain: str, now: int
) -> MessageStatus:
    """Send a message that is in Sent: copies for local recipients, the others become due now. Its new status.

    Its recipients are known to the inbox from now on. Of a monitored inbox the operator gets a copy. `domain` is the
    server's own, where the operator's inbox is.
    """
    inbox = inboxes.one_in(tx, queued.inbox_no)
    served: set[int] = set()
    recipients = queue.deliveries_in(tx, queued.no)
    for delivery in recipients:
        if delivery.transport != queue.LOCAL:
            continue
        target, tag = destination(tx, delivery.recipient, domain=domain, now=now)
        if target is None:
            tx.run(
                sql.delivery_local,
                delivery_no=delivery.no,
                new_state=DeliveryState.BOUNCED,
                now=now,
                reply_text=NO_SUCH_INBOX,
            )
            continue
        if target.no not in served:
            served.add(target.no)
            receive_copy(tx, target, content, mail_from=queued.mail_from, tag=tag, now=now)
        tx.run(sql.delivery_local, delivery_no=delivery.no, new_state=DeliveryState.DELIVERED, now=now, reply_text=None)
    # Those of the envelope alone: who is named in a header and gets nothing has not been written to.
    contacts.written(tx, inbox.no, [each.recipient for each in recipients], at=now)
    if inbox.oversight is Mode.MONITORED:
        watching = operator_inbox(tx, domain, now)
        if watching.no not in (inbox.no, *served):
            receive_copy(tx, watching, content, mail_from=queued.mail_from, tag=None, now=now, labels=[MONITORED])
    if tx.run(sql.delivery_start, queue_no=queued.no, now=now):
        tx.announce(QueueChanged())
    status = settle_status(tx, message, queued.no, now)
    payload = {"inbox_id": inbox.id, "message_id": message.id, "thread_id": message.thread_id, "status": str(status)}
    told = event_of_status(status)  # none for one that is queued: that is told when the relay has settled it
    if told is not None:
        events.record(tx, told, account_no=queued.account_no, inbox_no=inbox.no, now=now, payload=payload)
    tx.announce(MessageChanged(queued.account_no, inbox.no, inbox.id, message.id, message.thread_id))
    return status
