"""Taking back mail that has not left, whoever wants it back."""

from __future__ import annotations

from daimon_mcp.domain.changes import MessageChanged
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import messages, queue, usage
from daimon_mcp.store.database import Transaction


def withdraw(tx: Transaction, seq: int, *, now: int, status: str = "cancelled") -> bool:
    """Remove a message that waits, is held or scheduled, and give its counted sends back; False if it has left.

    Nobody is asked about it any more.
    """
    queued = queue.by_message_in(tx, seq)
    if queued is None or queued.state == queue.ACTIVE:
        return False
    message = messages.in_tx(tx, seq)
    if queued.counted_day is not None and queued.counted_month is not None:
        usage.take_back(tx, queued.account_no, queued.recipients, day=queued.counted_day, month=queued.counted_month)
    tx.run(sql.deliveries_delete, queue_no=queued.no)
    tx.run(sql.queue_delete, queue_no=queued.no)
    tx.run(sql.approvals_close_of_message, seq=seq, now=now)
    messages.remove(tx, message, status=status, now=now)
    tx.announce(MessageChanged(queued.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id))
    return True
