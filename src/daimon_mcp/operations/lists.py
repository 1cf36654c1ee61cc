"""Allow and block lists: who may write to an inbox, and whom it may write to (rules: domain/lists.py)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.lists import MAX_ENTRY, clean_entry
from daimon_mcp.domain.refusals import FieldProblem
from daimon_mcp.operations import access
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.requests import Id, Request, refuse
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes
from daimon_mcp.store.database import Transaction

MOST_ENTRIES = 10_000  # of one account

_Direction = Literal["receive", "send", "reply"]
_Kind = Literal["allow", "block"]
_ForInbox = Annotated[Id | None, Field(description="id or address; left out, the whole account")]


class GetLists(Request):
    inbox: _ForInbox = None
    direction: _Direction | None = None
    list: _Kind | None = None


class ChangeList(Request):
    list: Annotated[_Kind, Field(description="Which list")]
    direction: Annotated[
        _Direction, Field(description="receive: senders of incoming mail; send, reply: recipients of yours")
    ] = "receive"
    entries: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_ENTRY)]],
        Field(min_length=1, max_length=100, description="ann@example.com, example.com, .example.com (with all below)"),
    ]
    inbox: _ForInbox = None


class Lists:
    """The verbs of lists."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def get_lists(self, actor: Actor, request: GetLists) -> Outcome:
        """All entries that concern an inbox (its own and the account's), or all of the account."""
        actor.require("list_read")
        core = self._core
        inbox = await access.inbox(core, actor, request.inbox) if request.inbox or actor.inbox_no else None
        rows = await core.database.all(
            sql.lists_of,
            account_no=actor.account_no,
            inbox_no=inbox.no if inbox else 0,
            any_inbox=int(inbox is None),
            direction=request.direction or "",
            kind=request.list or "",
            limit=MOST_ENTRIES,
        )
        if inbox is not None:
            rows += await core.database.all(
                sql.lists_of,
                account_no=actor.account_no,
                inbox_no=0,
                any_inbox=0,
                direction=request.direction or "",
                kind=request.list or "",
                limit=MOST_ENTRIES,
            )
        addresses: dict[int, str | None] = {0: None}
        entries: list[dict[str, Any]] = []
        for inbox_no, direction, kind, entry, created_at in rows:
            if inbox_no not in addresses:
                found = await inboxes.by_no(core.database, inbox_no)
                addresses[inbox_no] = found.address if found and found.deleted_at is None else ""
            if addresses[inbox_no] == "":
                continue  # of an inbox that is gone
            entries.append(
                {
                    "list": kind,
                    "direction": direction,
                    "entry": entry,
                    **({"inbox": addresses[inbox_no]} if inbox_no else {}),
                    "created_at": iso(created_at),
                }
            )
        return Outcome(
            key="get_lists" + ("" if entries else ".none"), result={"entries": entries}, facts={"shown": len(entries)}
        )

    async def add_to_list(self, actor: Actor, request: ChangeList) -> Outcome:
        """Put entries on a list; those that are there already stay. Raises INVALID_REQUEST, INBOX_NOT_FOUND."""
        return await self._change(actor, request, add=True)

    async def remove_from_list(self, actor: Actor, request: ChangeList) -> Outcome:
        """Take entries off a list; those that are not there are passed over. Raises as `add_to_list`."""
        return await self._change(actor, request, add=False)

    async def _change(self, actor: Actor, request: ChangeList, *, add: bool) -> Outcome:
        actor.require("list_write")
        core = self._core
        if request.inbox is None:
            actor.require_account()
        inbox = await access.inbox(core, actor, request.inbox) if request.inbox else None
        entries: dict[str, None] = {}
        for index, given in enumerate(request.entries):
            clean = clean_entry(given)
            if clean is None:
                problem = "must be an address or a domain"
                raise refuse([FieldProblem(f"entries.{index}", problem, '"ann@example.com" or "example.com"')])
            entries[clean] = None
        now = core.clock.now()
        where: dict[str, Any] = {
            "account_no": actor.account_no,
            "inbox_no": inbox.no if inbox else 0,
            "direction": request.direction,
            "kind": request.list,
        }

        target = inbox.id if inbox else None

        def run(tx: Transaction) -> list[str]:
            if not add:
                gone = [entry for entry in entries if tx.one(sql.list_drop, entry=entry, **where) is not None]
                self._note(tx, actor, "remove_from_list", request, target, len(gone), now)
                return gone
            done = [entry for entry in entries if tx.run(sql.list_put, entry=entry, created_at=now, **where) == 1]
            if tx.scalar(sql.lists_count, account_no=actor.account_no) > MOST_ENTRIES:
                raise refuse([FieldProblem("entries", f"an account has at most {MOST_ENTRIES} entries")])
            self._note(tx, actor, "add_to_list", request, target, len(done), now)
            return done

        done = await core.database.write(run)
        result = {
            "list": request.list,
            "direction": request.direction,
            "inbox": inbox.address if inbox else None,
            "entries": done,
        }
        facts = {"changed": len(done), "list": request.list, "direction": request.direction}
        return Outcome(key="add_to_list" if add else "remove_from_list", result=result, facts=facts)

    @staticmethod
    def _note(
        tx: Transaction, actor: Actor, operation: str, request: ChangeList, target: str | None, entries: int, now: int
    ) -> None:
        about, direction = request.list, request.direction
        note(tx, actor, operation, target, now=now, list=about, direction=direction, entries=entries)
