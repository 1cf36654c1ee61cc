"""Mail that waits for the operator's word: whether it has to, asking, and what each answer does. All inside writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import AccountChanged, MessageChanged
from daimon_mcp.domain.clock import HOUR, SECOND
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.oversight import HELD, Finding, Rules, Why, why_held
from daimon_mcp.domain.queue import MessageStatus
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.exposure import untrusted_at
from daimon_mcp.operations.recipients import check_recipients
from daimon_mcp.operations.withdrawing import withdraw
from daimon_mcp.store import accounts, approvals, contacts, events, inboxes, messages, queue
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.approvals import StoredApproval
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import StoredMessage

MOST_HELD = 500  # mails of one account that wait for the operator; a person would not read more


@dataclass(frozen=True, slots=True)
class Held:
    """Why a mail has to wait. `strangers` are its recipients that the inbox does not know."""

    why: tuple[Why, ...]
    strangers: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def view(self) -> dict[str, Any]:
        """As it is kept, and shown to the agent and the operator."""
        return {
            "why": [str(each) for each in self.why],
            **({"new_recipients": list(self.strangers)} if self.strangers else {}),
            **({"findings": [each.view for each in self.findings]} if self.findings else {}),
        }


def rules_of(inbox: Inbox) -> Rules:
    """What the operator has said about an inbox."""
    return Rules(inbox.oversight, inbox.after_untrusted, inbox.paused)


def judge(
    tx: Transaction,
    core: Core,
    inbox: Inbox,
    actor: Actor,
    recipients: Sequence[str],
    findings: Sequence[Finding],
    now: int,
) -> Held | None:
    """Whether a mail of this inbox, as it stands in this transaction, has to wait; None if it may leave.

    Raises FORBIDDEN (INBOX_PAUSED, OVERSIGHT_READ_ONLY) where nothing may be sent.
    """
    rules = rules_of(inbox)
    rules.check_may_send()
    strangers: list[str] = []
    if rules.asks_who_is_new:
        strangers = contacts.strangers(tx, inbox.no, [each for each in recipients if each.lower() != inbox.address])
    holding = tuple(findings) if core.policy.guard == "hold" else ()
    why = why_held(
        rules,
        strangers=strangers,
        untrusted_at=untrusted_at(tx, actor) if strangers else None,
        findings=holding,
        now=now,
    )
    new = Why.NEW_RECIPIENTS in why or Why.AFTER_UNTRUSTED in why
    return Held(why, tuple(strangers) if new else (), holding) if why else None


def check_room(tx: Transaction, account_no: int, now: int) -> None:
    """Raise RATE_LIMIT_EXCEEDED (OPEN_REQUESTS) when too much of an account waits for the operator already."""
    if int(tx.scalar(sql.approvals_open_of, account_no=account_no, now=now, held=1)) >= MOST_HELD:
        raise Refused(
            RefusalCode.RATE_LIMIT_EXCEEDED,
            reason="OPEN_REQUESTS",
            facts={"limit": MOST_HELD},
            retry_after=HOUR // SECOND,
        )


def ask(
    tx: Transaction, core: Core, message: StoredMessage, inbox: Inbox, who: str, held: Held, reason: str, now: int
) -> StoredApproval:
    """Put the question about a held message to the operator; `who` wanted it sent, `reason` are its own words."""
    return approvals.insert(
        tx,
        id=new_id("apr", now),
        account_no=inbox.account_no,
        kind="send",
        reason=reason,
        created_at=now,
        expires_at=now + core.policy.link_lifetime,
        message_seq=message.seq,
        details={**held.view, "inbox": inbox.address, "message_id": message.id},
        requested_by=who,
    )


def hold_parked(tx: Transaction, queued: queue.StoredQueue, seq: int, now: int) -> None:
    """What was parked and may be sent by its tier now still waits for the operator's word."""
    _set_state(tx, queued, HELD)
    message = messages.in_tx(tx, seq)
    messages.set_status(tx, message, MessageStatus.PENDING_APPROVAL, sent_at=None, at=now)
    tx.run(sql.draft_hold_by_message, seq=seq)
    tx.announce(MessageChanged(queued.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id))


def let_through(tx: Transaction, core: Core, approval: StoredApproval, *, always: bool, now: int) -> None:
    """The operator has approved: the mail stands where parked mail does, and leaves as soon as the limits allow it.

    With `always`, its recipients are known to the inbox from now on. Raises RECIPIENT_REFUSED, RELAY_NOT_CONFIGURED,
    ACCOUNT_SUSPENDED or FORBIDDEN for mail that could not leave: nothing is decided then.
    """
    assert approval.message_seq is not None
    queued = queue.by_message_in(tx, approval.message_seq)
    if queued is None or queued.state == queue.ACTIVE:
        raise Refused(RefusalCode.LINK_NOT_VALID, reason="CLOSED")
    inbox = inboxes.one_in(tx, queued.inbox_no)
    message = messages.in_tx(tx, approval.message_seq)
    recipients = [each.recipient for each in queue.deliveries_in(tx, queued.no)]
    rules_of(inbox).check_may_send()
    accounts.account_in(tx, queued.account_no).check_may_send()
    check_recipients(tx, core, inbox, recipients, is_reply=message.in_reply_to is not None)
    if always:
        contacts.allowed(tx, inbox.no, recipients, at=now)
    if queued.state == HELD:
        _set_state(tx, queued, queue.WAITING)
        messages.set_status(tx, message, MessageStatus.PENDING_UPGRADE, sent_at=None, at=now)
        tx.run(sql.draft_park_by_message, seq=message.seq)
    tx.announce(MessageChanged(queued.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id))


def turn_down(tx: Transaction, approval: StoredApproval, now: int) -> None:
    """The operator has rejected, or has not answered in time: the mail is taken back, its draft can be edited."""
    assert approval.message_seq is not None
    if withdraw(tx, approval.message_seq, now=now, status=MessageStatus.REJECTED):
        tx.run(sql.draft_unlink_by_message, seq=approval.message_seq)


def lapse(tx: Transaction, approval: StoredApproval, now: int) -> bool:
    """End a question that nobody answered in time; False if somebody did."""
    if tx.one(sql.approval_lapse, id=approval.id, now=now) is None:
        return False
    turn_down(tx, approval, now)
    tell(tx, approval, "approval.rejected", now, expired=True)
    return True


def tell(
    tx: Transaction, approval: StoredApproval, event: str, now: int, *, comment: str = "", expired: bool = False
) -> None:
    """The event about a decision, and the bell for those who wait for it."""
    inbox_no = None
    payload: dict[str, Any] = {"approval_id": approval.id, "kind": approval.kind}
    if approval.message_seq is not None:
        message = messages.in_tx(tx, approval.message_seq)
        inbox_no = message.inbox_no
        # Ids in a place of their own: an event that is of a message would be told with all of it.
        payload["held"] = {"inbox_id": message.inbox_id, "message_id": message.id, "thread_id": message.thread_id}
    if comment:
        payload["comment"] = comment
    if expired:
        payload["expired"] = True
    events.record(tx, event, account_no=approval.account_no, inbox_no=inbox_no, now=now, payload=payload)
    tx.announce(AccountChanged(approval.account_no, approval.account_id))


def _set_state(tx: Transaction, queued: queue.StoredQueue, state: str) -> None:
    tx.run(
        sql.queue_set_state, queue_no=queued.no, new_state=state, new_counted_at=None, new_day=None, new_month=None,
        new_expires_at=queued.expires_at,
    )  # fmt: skip
