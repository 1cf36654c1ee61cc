"""What an actor may see. The rest does not exist for it: a foreign id answers exactly like an unknown one."""

from __future__ import annotations

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.ids import canonical_id, looks_like_id
from daimon_mcp.domain.inboxes import Inbox, split_subaddress
from daimon_mcp.domain.queue import MessageStatus
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused
from daimon_mcp.operations.core import Core
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import drafts, inboxes, messages, threads
from daimon_mcp.store.drafts import StoredDraft
from daimon_mcp.store.messages import StoredMessage
from daimon_mcp.store.threads import StoredThread


def _elsewhere(actor: Actor, inbox_id: str) -> bool:
    """Whether the call is about another inbox than the one a thing is in."""
    return actor.here is not None and actor.here != inbox_id


def _visible(actor: Actor, inbox: Inbox | None) -> bool:
    return (
        inbox is not None
        and inbox.deleted_at is None
        and inbox.account_no == actor.account_no
        and (actor.inbox_no is None or inbox.no == actor.inbox_no)
    )


async def inbox(core: Core, actor: Actor, reference: str | None) -> Inbox:
    """The inbox named by id or address; without a name, the key's own or the only one there is.

    Raises INBOX_NOT_FOUND, or INVALID_REQUEST when none was named and there are several.
    """
    found: Inbox | None = None
    if reference is None:
        found = await _only_inbox(core, actor)
    elif "@" in reference:
        local, _, domain = reference.strip().lower().rpartition("@")
        found = await inboxes.by_address(core.database, f"{split_subaddress(local)[0]}@{domain}")
    elif looks_like_id(canonical_id(reference), "inb"):
        found = await inboxes.by_id(core.database, canonical_id(reference))
    if found is None or not _visible(actor, found):
        raise Refused(RefusalCode.INBOX_NOT_FOUND)
    return found


async def _only_inbox(core: Core, actor: Actor) -> Inbox | None:
    if actor.inbox_no is not None:
        return await inboxes.by_no(core.database, actor.inbox_no)
    rows = await core.database.all(
        sql.inboxes_page, account_no=actor.account_no, before=messages.LAST_SEQ, only_inbox=0, limit=2
    )
    if len(rows) > 1:
        raise Refused(
            RefusalCode.INVALID_REQUEST,
            fields=[FieldProblem("inbox", "is required: there are several inboxes", "inb_… or name@domain")],
        )
    return inboxes.inbox_of(rows[0]) if rows else None


async def message(core: Core, actor: Actor, reference: str, within: Inbox | None = None) -> StoredMessage:
    """A message by its id; one that was taken back before it left too. Raises MESSAGE_NOT_FOUND."""
    found = await messages.by_id(core.database, canonical_id(reference))
    if found is None or (within is not None and found.inbox_no != within.no) or _elsewhere(actor, found.inbox_id):
        raise Refused(RefusalCode.MESSAGE_NOT_FOUND)
    if found.deleted_at is not None and found.status not in (MessageStatus.CANCELLED, MessageStatus.REJECTED):
        raise Refused(RefusalCode.MESSAGE_NOT_FOUND)
    if not _visible(actor, await inboxes.by_no(core.database, found.inbox_no)):
        raise Refused(RefusalCode.MESSAGE_NOT_FOUND)
    return found


async def thread(core: Core, actor: Actor, reference: str, within: Inbox | None = None) -> StoredThread:
    """A thread by its id. Raises THREAD_NOT_FOUND."""
    found = await threads.by_id(core.database, canonical_id(reference), actor.account_no)
    if (
        found is None
        or (actor.inbox_no is not None and found.inbox_no != actor.inbox_no)
        or (within is not None and found.inbox_no != within.no)
        or _elsewhere(actor, found.inbox_id)
    ):
        raise Refused(RefusalCode.THREAD_NOT_FOUND)
    return found


async def draft(core: Core, actor: Actor, reference: str, within: Inbox | None = None) -> StoredDraft:
    """A draft by its id, sent or not. Raises DRAFT_NOT_FOUND."""
    found = await drafts.by_id(core.database, canonical_id(reference))
    if found is None or (within is not None and found.inbox_no != within.no) or _elsewhere(actor, found.inbox_id):
        raise Refused(RefusalCode.DRAFT_NOT_FOUND)
    if not _visible(actor, await inboxes.by_no(core.database, found.inbox_no)):
        raise Refused(RefusalCode.DRAFT_NOT_FOUND)
    return found
