"""A message's status, from its recipients'."""

from __future__ import annotations

from daimon_mcp.domain.queue import DeliveryState, MessageStatus, message_status
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import messages
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Settled


def settle_status(
    tx: Transaction, message: Settled, queue_no: int, now: int, *, before: str | None = None
) -> MessageStatus:
    """Bring a message's status in line with its recipients'; `before` is what it was, for those who know it."""
    states = [state for (state,) in tx.all(sql.deliveries_states, queue_no=queue_no)]
    status = message_status(states)
    left = any(state in (DeliveryState.SENT, DeliveryState.DELIVERED) for state in states)
    messages.set_status(tx, message, status, sent_at=now if left else None, at=now, before=before)
    return status
