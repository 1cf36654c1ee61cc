"""Placing a message that was let out: in Sent or Scheduled, with its queue row, and gone at once if it is due.

One function for every way out, so that mail handed in by SMTP is the same thing as mail sent by a tool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daimon_mcp.domain.changes import QueueChanged
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.oversight import HELD
from daimon_mcp.domain.queue import MessageStatus
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.dispatch import added, let_go
from daimon_mcp.store import inboxes, messages, queue
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Content, NewMessage, Person, StoredMessage
from daimon_mcp.store.queue import NewRecipient


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """A message with its envelope, judged and counted. `state` is one of the queue's, or HELD; `counted` its time and
    periods.

    `ret` and `envid` are DSN parameters of a submission; `origin` is how it came (`queue.TOOL`, `queue.SMTP`).
    """

    id: str
    inbox: Inbox
    content: Content
    recipients: Sequence[NewRecipient]
    mail_from: str
    smtputf8: bool
    fingerprint: str
    state: str = queue.ACTIVE
    counted: tuple[int, str, str] | None
    expires_at: int
    bcc: Sequence[Person] = ()
    labels: Sequence[str] = ()
    draft_id: str | None = None
    send_at: int | None = None
    thread_seq: int | None = None
    ret: str | None = None
    envid: str | None = None
    origin: str = queue.TOOL


_STATUS = {
    queue.WAITING: MessageStatus.PENDING_UPGRADE,
    HELD: MessageStatus.PENDING_APPROVAL,
    queue.SCHEDULED: MessageStatus.SCHEDULED,
    queue.ACTIVE: MessageStatus.QUEUED,
}


def keep(tx: Transaction, core: Core, mail: Outbound, now: int) -> StoredMessage:
    """Inside a write: store the message and its envelope, and let it go if it is active; as it then stands."""
    active = mail.state == queue.ACTIVE
    placed = messages.place(
        tx,
        NewMessage(
            id=mail.id,
            inbox_no=mail.inbox.no,
            mailbox=inboxes.SENT if active else inboxes.SCHEDULED,
            direction="outbound",
            status=_STATUS[mail.state],
            content=mail.content,
            seen=True,
            received_at=now,
            bcc=mail.bcc,
            mail_from=mail.mail_from,
            labels=mail.labels,
            draft_id=mail.draft_id,
            send_at=mail.send_at,
            thread_seq=mail.thread_seq,
        ),
    )
    queue.insert(
        tx,
        message_seq=placed.seq,
        account_no=mail.inbox.account_no,
        inbox_no=mail.inbox.no,
        state=mail.state,
        mail_from=mail.mail_from,
        smtputf8=mail.smtputf8,
        fingerprint=mail.fingerprint,
        recipients=mail.recipients,
        counted=mail.counted,
        send_at=mail.send_at,
        now=now,
        expires_at=mail.expires_at,
        ret=mail.ret,
        envid=mail.envid,
        origin=mail.origin,
    )
    message = messages.in_tx(tx, placed.seq)
    if active:
        queued = queue.by_message_in(tx, placed.seq)
        assert queued is not None
        let_go(tx, message, queued, mail.content, domain=core.policy.domain, now=now)
        message = messages.in_tx(tx, placed.seq)
    else:
        tx.announce(QueueChanged())
    tx.announce(added(mail.inbox, message, placed.related_thread_id))
    return message
