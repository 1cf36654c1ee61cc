"""Places in an inbox's log of changes, as cursors: the same for lists, waits and `changes`."""

from __future__ import annotations

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.views import Of, read_cursor
from daimon_mcp.store import changes, inboxes
from daimon_mcp.store.messages import SEQ_BITS, first_seq

_PLACE = (1 << SEQ_BITS) - 1


def place_number(inbox_no: int, n: int) -> int:
    """A place as the number that a cursor holds."""
    return first_seq(inbox_no) | n


async def latest_place(core: Core, inbox_no: int) -> int:
    """Where the log ends now, as the number that a cursor holds."""
    return place_number(inbox_no, await changes.latest(core.database, inbox_no))


async def inbox_for(core: Core, actor: Actor, reference: str | None, text: str | None, field: str) -> Inbox:
    """The inbox that a request with a cursor names. Raises as `access.inbox`; where that inbox is gone, the cursor's
    own refusal says so."""
    try:
        return await access.inbox(core, actor, reference)
    except Refused as refused:
        if text is not None and refused.code is RefusalCode.INBOX_NOT_FOUND:
            await read_place(core, actor, None, text, field)
        raise


async def read_place(core: Core, actor: Actor, inbox: Inbox | None, text: str, field: str) -> tuple[int, int]:
    """The inbox and the place that a cursor names.

    Raises INVALID_REQUEST, and INBOX_NOT_FOUND when it is not `inbox`'s (where one is given), or that inbox was
    deleted, or is not the actor's.
    """
    number = read_cursor(text, Of.PLACE, field)
    inbox_no, n = number >> SEQ_BITS, number & _PLACE
    if inbox is not None and inbox_no == inbox.no:
        return inbox_no, n
    was = await inboxes.by_no(core.database, inbox_no)
    theirs = was is not None and was.account_no == actor.account_no and actor.inbox_no in (None, was.no)
    if was is not None and theirs and was.deleted_at is not None:
        raise Refused(
            RefusalCode.INBOX_NOT_FOUND,
            reason="INBOX_DELETED",
            facts={"address": was.address, "deleted_at": iso(was.deleted_at)},
        )
    if inbox is not None:
        raise Refused(RefusalCode.INBOX_NOT_FOUND, reason="CURSOR_OF_ANOTHER_INBOX")
    if not theirs:
        raise Refused(RefusalCode.INBOX_NOT_FOUND)
    return inbox_no, n
