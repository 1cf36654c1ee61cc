"""A message's status, from its recipients'."""

from __future__ import annotations

from daimon_mcp.domain.queue import DeliveryState, MessageStatus, message_status
from daimon_mcp.store import messages, queue
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import StoredMessage


def settle_status(tx: Transaction, message: StoredMessage, queue_no: int, now: int) -> MessageStatus:
    """Bring a message's status in line with its recipients'."""
    states = [delivery.state for delivery in queue.deliveries_in(tx, queue_no)]
    status = message_status(states)
    left = any(state in (DeliveryState.SENT, DeliveryState.DELIVERED) for state in states)
    messages.set_status(tx, message, status, sent_at=now if left else None, at=now)
    return status
