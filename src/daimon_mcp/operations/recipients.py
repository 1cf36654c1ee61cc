"""Whom mail may go to, and how each is reached: asked of every message, whichever way it came."""

from __future__ import annotations

from collections.abc import Sequence

from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.lists import Direction, Hold, deciding, verdict
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.dispatch import is_role, local_inbox
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import lists, queue
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.queue import NewRecipient


def check_recipients(tx: Transaction, core: Core, inbox: Inbox, recipients: Sequence[str], *, is_reply: bool) -> None:
    """Raise RECIPIENT_REFUSED (a list, NO_SUCH_INBOX, SUPPRESSED) or RELAY_NOT_CONFIGURED, naming the recipients."""
    _check_lists(tx, inbox.account_no, inbox.no, recipients, is_reply=is_reply)
    unknown = [
        each for each in recipients if core.is_local(each) and local_inbox(tx, each)[0] is None and not is_role(each)
    ]
    if unknown:
        raise _refused("NO_SUCH_INBOX", unknown)
    outside = [each for each in recipients if not core.is_local(each)]
    if outside and not core.policy.relay_configured:
        raise Refused(
            RefusalCode.RELAY_NOT_CONFIGURED,
            facts={"count": len(outside)},
            details={"unreachable_recipients": outside},
        )
    if outside and tx.one(sql.suppression_any, account_no=inbox.account_no) is not None:
        suppressed = [
            each
            for each in outside
            if tx.one(sql.suppression_get, account_no=inbox.account_no, address=each.lower()) is not None
        ]
        if suppressed:
            raise _refused("SUPPRESSED", suppressed)


def reached(core: Core, address: str, recipient: Recipient | None = None) -> NewRecipient:
    """How one recipient is reached; `recipient` has its DSN parameters, if it came with any."""
    transport = queue.LOCAL if core.is_local(address) else queue.RELAY
    if recipient is None:
        return NewRecipient(address, transport)
    return NewRecipient(address, transport, recipient.notify, recipient.orcpt)


def _check_lists(tx: Transaction, account_no: int, inbox_no: int, recipients: Sequence[str], *, is_reply: bool) -> None:
    entries = deciding(lists.for_inbox(tx, account_no, inbox_no, Direction.SEND, Direction.REPLY), is_reply=is_reply)
    held = {each: found for each in recipients if (found := verdict(entries, [each])) is not None}
    if held:
        raise _refused("ON_BLOCK_LIST" if Hold.BLOCKED in held.values() else "NOT_ON_ALLOW_LIST", list(held))


def _refused(reason: str, recipients: Sequence[str]) -> Refused:
    return Refused(
        RefusalCode.RECIPIENT_REFUSED,
        reason=reason,
        facts={"count": len(recipients)},
        details={"refused_recipients": list(recipients)},
    )
