"""What the operator lets an inbox do by itself. For the operator alone: no key of an agent reaches this."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from daimon_mcp.domain.changes import AccountChanged, InboxChanged
from daimon_mcp.domain.inboxes import Inbox
from daimon_mcp.domain.refusals import RefusalCode, Refused, invalid
from daimon_mcp.operations.auditing import note_operator
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.requests import Id, Request
from daimon_mcp.operations.views import inbox_view
from daimon_mcp.store import accounts, inboxes
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Transaction

ModeName = Literal["read_only", "gated_send", "gated_new", "monitored", "autonomous"]


class SetOversight(Request):
    inbox: Annotated[Id, Field(description="id or address, of any account")]
    oversight: ModeName | None = None
    after_untrusted: Literal["allow", "hold"] | None = None
    paused: bool | None = None


class Oversight:
    """The verb of oversight."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def set_oversight(self, request: SetOversight, *, by: str) -> dict[str, Any]:
        """Change how an inbox is overseen, `by` which way; what is left out stays. The inbox as it is then.

        Holds for every send from now on, and for scheduled and parked mail when its time comes where nothing may be
        sent at all. Mail that is held already waits on. Raises INBOX_NOT_FOUND, INVALID_REQUEST.
        """
        core = self._core
        reference = request.inbox.strip()
        found = await (
            inboxes.by_address(core.database, reference.lower())
            if "@" in reference
            else inboxes.by_id(core.database, reference)
        )
        if found is None:
            raise Refused(RefusalCode.INBOX_NOT_FOUND)
        if request.oversight is None and request.after_untrusted is None and request.paused is None:
            raise invalid("oversight", "something to change is required", "gated_new")
        now = core.clock.now()

        def run(tx: Transaction) -> Inbox:
            current = inboxes.one_in(tx, found.no)
            if current.deleted_at is not None:
                raise Refused(RefusalCode.INBOX_NOT_FOUND)
            tx.run(
                sql.inbox_oversee,
                inbox_no=found.no,
                new_oversight=request.oversight or str(current.oversight),
                new_after_untrusted=request.after_untrusted or str(current.after_untrusted),
                new_paused=int(current.paused if request.paused is None else request.paused),
            )
            after = inboxes.one_in(tx, found.no)
            note_operator(
                tx, "set_oversight", found.id, by=by, now=now, account_no=found.account_no,
                oversight=str(after.oversight), after_untrusted=str(after.after_untrusted),
                paused="yes" if after.paused else "no",
            )  # fmt: skip
            tx.announce(InboxChanged(found.account_no, found.no, found.id))
            account = accounts.account_in(tx, found.account_no)
            tx.announce(AccountChanged(account.no, account.id))  # parked mail may leave now
            return after

        return inbox_view(await core.database.write(run))
