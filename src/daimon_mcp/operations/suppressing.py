"""Addresses that mail bounced from for good: an account does not write to them again until it says so."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.queue import Attempt
from daimon_mcp.domain.refusals import invalid
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.requests import Request
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import messages, queue
from daimon_mcp.store.database import Transaction

# RFC 3463: no such mailbox, no such domain, moved, null MX (RFC 7505), mailbox disabled. Nothing that may pass.
_FOR_GOOD = frozenset({"5.1.1", "5.1.2", "5.1.6", "5.1.10", "5.2.1"})
BOUNCED, COMPLAINED = "bounced", "complained"


class ListSuppressions(Request):
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: Annotated[str | None, Field(max_length=500, description="next_cursor of the last answer")] = None


class RemoveSuppression(Request):
    address: Annotated[str, Field(max_length=320, description="As list_suppressions shows it")]


def suppress(
    tx: Transaction, account_no: int, address: str, *, why: str, reply: str, message_id: str, now: int
) -> None:
    """Put an address on the account's list, if it is not there."""
    tx.run(
        sql.suppression_put,
        account_no=account_no,
        address=address.lower(),
        why=why,
        reply=reply[:500],
        message_id=message_id,
        created_at=now,
    )


def suppress_refused(tx: Transaction, queue_no: int, address: str, attempt: Attempt, now: int) -> None:
    """Suppress an address whose own server says that there is nobody there."""
    if attempt.enhanced not in _FOR_GOOD:
        return
    row = tx.one(sql.queue_by_no, queue_no=queue_no)
    assert row is not None
    queued = queue.queue_of(row)
    message = messages.in_tx(tx, queued.message_seq)
    reply = f"{attempt.code} {attempt.enhanced} {attempt.text}"
    suppress(tx, queued.account_no, address, why=BOUNCED, reply=reply, message_id=message.id, now=now)


def is_for_good(status: str) -> bool:
    """Whether an enhanced status says that an address will not work again by itself."""
    return status in _FOR_GOOD


def _cursor(address: str) -> str:
    """A place in the list that shows no address: strangers choose those."""
    return base64.urlsafe_b64encode(address.encode()).decode().rstrip("=")


def _after(cursor: str | None) -> str:
    try:
        padded = (cursor or "") + "=" * (-len(cursor or "") % 4)
        return base64.b64decode(padded, altchars="-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid("cursor", "is not a place in this list; pass the next_cursor of the last answer") from None


class Suppressing:
    """The verbs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list_suppressions(self, actor: Actor, request: ListSuppressions) -> Outcome:
        """The account's suppressed addresses, by address."""
        actor.require_account()
        actor.require("list_read")
        rows = await self._core.database.all(
            sql.suppressions_page, account_no=actor.account_no, after=_after(request.cursor), limit=request.limit + 1
        )
        found: list[dict[str, Any]] = [
            {"address": address, "why": why, "reply": reply, "message_id": message_id, "since": iso(created_at)}
            for address, why, reply, message_id, created_at in rows[: request.limit]
        ]
        more = _cursor(found[-1]["address"]) if len(rows) > request.limit else None
        return Outcome(
            key="list_suppressions" if found else "list_suppressions.none",
            result={"suppressions": found, "next_cursor": more},
            facts={"count": len(found)},
        )

    async def remove_suppression(self, actor: Actor, request: RemoveSuppression) -> Outcome:
        """Write to an address again. Raises INVALID_REQUEST for one that is not suppressed."""
        actor.require_account()
        actor.require("list_write")
        address = request.address.strip().lower()
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            if tx.one(sql.suppression_delete, account_no=actor.account_no, address=address) is None:
                raise invalid("address", "is not suppressed")
            note(tx, actor, "remove_suppression", None, now=now)

        await self._core.database.write(run)
        return Outcome(key="remove_suppression", result={"address": address, "status": "removed"})
