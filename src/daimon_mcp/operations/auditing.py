"""The audit log: every write is put on record in its own transaction, and the operator reads and checks the record.

A write operation calls `note` inside its write. `tests/faces/mcp/test_audit_of_every_tool.py` walks every tool that
writes and looks for its row, so that a new one cannot forget it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import OPERATOR, Actor
from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.refusals import Fact, RefusalCode, Refused
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.requests import Id, Moment, Request
from daimon_mcp.operations.views import Of, cursor, read_cursor
from daimon_mcp.store import accounts, audit
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.audit import Entry, StoredEntry
from daimon_mcp.store.database import Transaction

_PAGE = 1000  # rows that are checked or exported at a time
_LONGEST_REASON = 1000
_FOREVER = 1 << 62


def note(
    tx: Transaction,
    actor: Actor,
    operation: str,
    target: str | None = None,
    *,
    now: int,
    reason: str | None = None,
    **details: Fact,
) -> None:
    """Inside a write: put on record that `actor` did `operation` to `target` (an id), and why if it said so.

    `details` are small facts of ours; those that are None are left out. Never a secret, never what a stranger wrote.
    """
    _append(tx, actor.who, actor.face, actor.account_no, operation, target, now, reason, details)


def note_operator(
    tx: Transaction,
    operation: str,
    target: str | None = None,
    *,
    by: str,
    now: int,
    account_no: int | None = None,
    reason: str | None = None,
    **details: Fact,
) -> None:
    """The same for what the operator did, `by` which way: page, cli or console."""
    _append(tx, OPERATOR, by, account_no, operation, target, now, reason, details)


def _append(
    tx: Transaction,
    who: str,
    face: str,
    account_no: int | None,
    operation: str,
    target: str | None,
    now: int,
    reason: str | None,
    details: Mapping[str, Fact],
) -> None:
    audit.append(
        tx,
        Entry(
            at=now,
            account_no=account_no,
            who=who,
            face=face,
            operation=operation,
            target=target,
            reason=(reason or "")[:_LONGEST_REASON] or None,
            details_json=audit.details_json({name: value for name, value in details.items() if value is not None}),
        ),
    )


class ListAudit(Request):
    account: Annotated[Id | None, Field(description="acc_ id")] = None
    who: Annotated[str | None, Field(max_length=64, description="A key's id, local, smtp-password or operator")] = None
    operation: Annotated[str | None, Field(max_length=64)] = None
    target: Annotated[str | None, Field(max_length=64, description="The id of what was changed")] = None
    after: Annotated[Moment | None, Field(description="ISO 8601 with offset")] = None
    before: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    cursor: str | None = None


class Auditing:
    """Reading the log. For the operator alone: nothing that an agent's key reaches calls this."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list_audit(self, request: ListAudit) -> dict[str, Any]:
        """Entries that fit, newest first: `{"entries", "has_more", "next_cursor"}`.

        Raises ACCOUNT_NOT_FOUND, INVALID_REQUEST.
        """
        database = self._core.database
        account_no = 0
        if request.account is not None:
            account = await accounts.account_by_id(database, request.account)
            if account is None:
                raise Refused(RefusalCode.ACCOUNT_NOT_FOUND)
            account_no = account.no
        rows = await database.all(
            sql.audit_page,
            before_no=read_cursor(request.cursor, Of.AUDIT) if request.cursor else _FOREVER,
            account_no=account_no,
            who=request.who or "",
            operation=request.operation or "",
            target=request.target or "",
            since=request.after or 0,
            until=request.before or _FOREVER,
            limit=request.limit + 1,
        )
        page = [audit.entry_of(row) for row in rows[: request.limit]]
        more = len(rows) > request.limit
        return {
            "entries": [entry_view(each) for each in page],
            "has_more": more,
            "next_cursor": cursor(Of.AUDIT, page[-1].no) if more else None,
        }

    async def verify_audit(self) -> dict[str, Any]:
        """Walk the chain: `{"entries", "whole", "broken_at"}`, where `broken_at` is the first entry that does not fit.

        A row that was changed, taken out or put in between breaks it; rows cut off the end do not.
        """
        before, last_no, count = audit.FIRST, 0, 0
        while True:
            rows = await self._core.database.all(sql.audit_walk, after=last_no, limit=_PAGE)
            for row in rows:
                entry = audit.entry_of(row)
                if entry.before != before or not entry.is_whole:
                    return {"entries": count, "whole": False, "broken_at": entry.no}
                before, last_no, count = entry.hash, entry.no, count + 1
            if len(rows) < _PAGE:
                return {"entries": count, "whole": True, "broken_at": None}

    async def export_audit(self, after: int = 0) -> tuple[list[dict[str, Any]], int | None]:
        """Up to 1,000 entries after a number, oldest first, with the hashes that chain them; and where to go on."""
        rows = await self._core.database.all(sql.audit_walk, after=after, limit=_PAGE)
        found = [audit.entry_of(row) for row in rows]
        shown = [{**entry_view(each), "before": each.before, "hash": each.hash} for each in found]
        return shown, found[-1].no if len(found) == _PAGE else None

    async def exported(self) -> AsyncGenerator[str]:
        """The whole log as JSON lines, oldest first."""
        after: int | None = 0
        while after is not None:
            page, after = await self.export_audit(after)
            for each in page:
                yield json.dumps(each, ensure_ascii=False)


def entry_view(entry: StoredEntry) -> dict[str, Any]:
    """An entry as it is shown. `reason` is an agent's or the operator's own words: data."""
    return {
        "no": entry.no,
        "at": iso(entry.at),
        "at_us": entry.at,
        "account": entry.account_id,
        "account_no": entry.account_no,
        "who": entry.who,
        "face": entry.face,
        "operation": entry.operation,
        "target": entry.target,
        "reason": entry.reason,
        "details": json.loads(entry.details_json),
    }
