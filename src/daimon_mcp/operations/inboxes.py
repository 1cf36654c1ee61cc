"""Inboxes: make, list, get, update, delete."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import AccountStatus, Actor
from daimon_mcp.domain.changes import InboxChanged, KeyChanged
from daimon_mcp.domain.clock import HOUR, SECOND, iso
from daimon_mcp.domain.domains import clean_name
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.inboxes import Inbox, alternatives, check_username, made_up_username
from daimon_mcp.domain.oversight import AfterUntrusted, Mode, Rules, of_a_further_inbox
from daimon_mcp.domain.refusals import Fact, RefusalCode, Refused, invalid
from daimon_mcp.domain.tiers import Tier, next_tier
from daimon_mcp.operations import access
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.credentials import Credentials
from daimon_mcp.operations.exposure import pass_on
from daimon_mcp.operations.outgoing import has_controls
from daimon_mcp.operations.requests import ClientId, Id, Request, check_notes
from daimon_mcp.operations.views import Of, cursor, inbox_view, read_cursor
from daimon_mcp.operations.withdrawing import withdraw
from daimon_mcp.store import accounts as account_rows
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import domains, events
from daimon_mcp.store import inboxes as rows
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import LAST_SEQ

_MOST_METADATA = 4096


class CreateInbox(Request):
    username: Annotated[str | None, Field(description="3-32 of a-z 0-9 - . _")] = None
    domain: Annotated[str | None, Field(description="This server's or your own")] = None
    display_name: Annotated[str | None, Field(max_length=100, description="Shown to recipients")] = None
    client_id: Annotated[ClientId | None, Field(description="Idempotency key")] = None
    metadata: Annotated[dict[str, Any] | None, Field(description="Your own notes")] = None


class ListInboxes(Request):
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


class GetInbox(Request):
    inbox: Id


class UpdateInbox(Request):
    inbox: Id
    display_name: Annotated[str | None, Field(max_length=100, description="Shown to recipients")] = None
    metadata: Annotated[
        dict[str, Any] | None, Field(description="Merged into your notes; a name with null is taken out")
    ] = None


class DeleteInbox(Request):
    inbox: Id


def _inherited(tx: Transaction, account_no: int) -> Rules:
    """How a further inbox of an account is overseen: as those that it has, or as the last one that it had."""
    found = tx.all(sql.inboxes_overseen, account_no=account_no)
    found = found or tx.all(sql.inbox_newest_overseen, account_no=account_no)
    return of_a_further_inbox([Rules(Mode(mode), AfterUntrusted(after), bool(paused)) for mode, after, paused in found])


class Inboxes:
    """The inbox verbs."""

    def __init__(self, core: Core, credentials: Credentials) -> None:
        self._core = core
        self._credentials = credentials

    async def create_inbox(self, actor: Actor, request: CreateInbox) -> Outcome:
        """Make an address. The same `client_id` gives the existing inbox.

        Raises INVALID_REQUEST, INBOX_ADDRESS_TAKEN with three free suggestions, RATE_LIMIT_EXCEEDED, FORBIDDEN.
        """
        actor.require_account()
        actor.require("inbox_create")
        return await self._create(actor, request)

    async def create_first(self, request: CreateInbox) -> Outcome:
        """An account of its own with this inbox, and keys for both. Who may have that is `joining`'s to say.

        Raises as create_inbox.
        """
        return await self._create(None, request)

    async def _create(self, actor: Actor | None, request: CreateInbox) -> Outcome:
        core, policy = self._core, self._core.policy
        asked = (request.domain or policy.domain).strip().lower()
        domain = asked if asked in policy.domains else clean_name(asked) or ""
        username = request.username.strip() if request.username is not None else None
        if username is not None:
            check_username(username)
        name = (request.display_name or "").strip()
        if has_controls(name):
            raise invalid("display_name", "must not hold control characters", "Support Bot")
        check_notes("metadata", request.metadata, _MOST_METADATA, '{"purpose": "support"}')
        await core.listeners_begun()  # before the write: an answer that is cut off after it would take the key with it
        now = core.clock.now()

        def run(tx: Transaction) -> tuple[Inbox, str | None, str | None, str]:
            account = account_rows.account_in(
                tx,
                account_rows.insert_account(tx, id=new_id("acc", now), kind="agent", now=now)
                if actor is None
                else actor.account_no,
            )
            if account.status is AccountStatus.SUSPENDED:
                raise Refused(RefusalCode.ACCOUNT_SUSPENDED)
            if domain not in policy.domains and not domains.may_use(tx, account.no, domain):
                problem = "is neither a domain of this server nor a verified one of yours"
                raise invalid("domain", problem, policy.domain)
            if request.client_id is not None:
                row = tx.one(sql.inbox_by_client_id, account_no=account.no, client_id=request.client_id)
                if row is not None:
                    existing = rows.inbox_of(row)
                    if existing.deleted_at is not None:
                        raise Refused(RefusalCode.IDEMPOTENCY_CONFLICT, reason="INBOX_DELETED")
                    return existing, None, None, str(account.tier)
            limits = policy.limits[account.tier]
            if limits.inboxes_per_hour is not None:
                made = tx.all(sql.inboxes_created_since, account_no=account.no, since=now - HOUR)
                if len(made) >= limits.inboxes_per_hour:
                    free_at: int = made[-limits.inboxes_per_hour][0] + HOUR
                    higher = next_tier(account.tier)
                    raise Refused(
                        RefusalCode.RATE_LIMIT_EXCEEDED,
                        reason="INBOX_CREATE_RATE_LIMIT",
                        facts={"limit": limits.inboxes_per_hour},
                        retry_after=-(-(free_at - now) // SECOND),
                        current_usage={
                            "count": len(made), "limit": limits.inboxes_per_hour, "window_start": iso(now - HOUR),
                            "window_end": iso(free_at),
                        },
                        target_tier=str(higher) if higher != account.tier else None,
                    )  # fmt: skip
            local = username or self._free_username(tx, domain, now)
            address = f"{local}@{domain}"
            if self._in_use(tx, address, now):
                free = [each for each in alternatives(local) if not self._in_use(tx, f"{each}@{domain}", now)]
                raise Refused(
                    RefusalCode.INBOX_ADDRESS_TAKEN,
                    reason=None if free else "NONE_FREE",
                    suggestions=[f"{each}@{domain}" for each in free[:3]],
                )
            maker = actor
            is_first = not tx.all(sql.inboxes_created_since, account_no=account.no, since=-1)
            public_id = new_id("inb", now)
            inherited = _inherited(tx, account.no)
            number = rows.insert_inbox(
                tx,
                id=public_id,
                account_no=account.no,
                address=address,
                display_name=name or local,
                metadata=request.metadata or {},
                client_id=request.client_id,
                now=now,
            )
            tx.run(
                sql.inbox_oversee,
                inbox_no=number,
                new_oversight=str(inherited.mode),
                new_after_untrusted=str(inherited.after_untrusted),
                new_paused=int(inherited.paused),
            )
            inbox_key_id, inbox_key = self._credentials.issue_key(
                tx, account_no=account.no, tier=account.tier, inbox_no=number, name=f"inbox {address}"
            )
            if actor is not None:
                pass_on(tx, actor, inbox_key_id)
            account_key = None
            if is_first and (actor is None or actor.key_id is None):
                account_key_id, account_key = self._credentials.issue_key(
                    tx, account_no=account.no, tier=account.tier, name="account"
                )
                maker = maker or Actor(account.no, account.id, account_key_id, face="rest")
            assert maker is not None
            events.record(
                tx, "inbox.created", account_no=account.no, inbox_no=number, now=now, payload={"inbox_id": public_id}
            )
            note(tx, maker, "create_inbox", public_id, now=now, address=address)
            tx.announce(InboxChanged(account.no, number, public_id))
            return rows.one_in(tx, number), inbox_key, account_key, str(account.tier)

        inbox, inbox_key, account_key, tier = await core.database.write(run)
        result = {**inbox_view(inbox), "tier": tier}
        facts: dict[str, Fact] = {
            "inbox_id": inbox.id,
            "not_listening": core.not_listening,
            "no_submission": core.no_submission if policy.limits[Tier(tier)].smtp else None,
        }
        if inbox_key is None:
            return Outcome(key="create_inbox.existing", result=result, facts=facts)
        result["api_key"] = inbox_key
        if account_key is not None:
            result["account_api_key"] = account_key
        return Outcome(key="create_inbox" + (".free" if tier == "free" else ".paid"), result=result, facts=facts)

    def _in_use(self, tx: Transaction, address: str, now: int) -> bool:
        since = now - self._core.policy.address_quarantine
        return tx.one(sql.inbox_address_in_use, address=address, quarantined_since=since) is not None

    def _free_username(self, tx: Transaction, domain: str, now: int) -> str:
        for _ in range(50):
            candidate = made_up_username()
            if not self._in_use(tx, f"{candidate}@{domain}", now):
                return candidate
        return new_id("agent", now).replace("_", "-")

    async def list_inboxes(self, actor: Actor, request: ListInboxes) -> Outcome:
        """The account's inboxes, newest first."""
        actor.require("inbox_read")
        database = self._core.database
        only = actor.inbox_no or 0
        found = await database.all(
            sql.inboxes_page,
            account_no=actor.account_no,
            before=read_cursor(request.cursor, Of.INBOXES) if request.cursor else LAST_SEQ,
            only_inbox=only,
            limit=request.limit + 1,
        )
        count = await database.one(sql.inboxes_count, account_no=actor.account_no, only_inbox=only)
        page = [rows.inbox_of(row) for row in found[: request.limit]]
        more = len(found) > request.limit
        result = {
            "inboxes": [inbox_view(inbox) for inbox in page],
            "total": count[0] if count else 0,
            "has_more": more,
            "next_cursor": cursor(Of.INBOXES, page[-1].no) if more else None,
        }
        return Outcome(key="list_inboxes" + ("" if page else ".none"), result=result, facts={"shown": len(page)})

    async def get_inbox(self, actor: Actor, request: GetInbox) -> Outcome:
        """One inbox. Raises INBOX_NOT_FOUND."""
        actor.require("inbox_read")
        inbox = await access.inbox(self._core, actor, request.inbox)
        return Outcome(key="get_inbox", result=inbox_view(inbox), facts={"inbox_id": inbox.id})

    async def id_of(self, actor: Actor, reference: str) -> str:
        """The id of an inbox that is named by id or address. Raises INBOX_NOT_FOUND."""
        return (await access.inbox(self._core, actor, reference)).id

    async def update_inbox(self, actor: Actor, request: UpdateInbox) -> Outcome:
        """Change the display name, or merge into the notes. Raises INBOX_NOT_FOUND, INVALID_REQUEST."""
        actor.require("inbox_update")
        inbox = await access.inbox(self._core, actor, request.inbox)
        if request.display_name is None and request.metadata is None:
            raise invalid("display_name", "something to change is required", "Support Bot")
        name = None if request.display_name is None else request.display_name.strip()
        if name is not None and (not name or has_controls(name)):
            raise invalid("display_name", "must be one line and not empty", "Support Bot")

        now = self._core.clock.now()

        def run(tx: Transaction) -> Inbox:
            current = rows.one_in(tx, inbox.no)
            if current.deleted_at is not None:
                raise Refused(RefusalCode.INBOX_NOT_FOUND)
            merged = {**current.metadata, **(request.metadata or {})}
            notes = {key: value for key, value in merged.items() if value is not None}
            check_notes("metadata", notes, _MOST_METADATA, '{"purpose": "support"}')
            tx.run(
                sql.inbox_update,
                inbox_no=inbox.no,
                new_display_name=current.display_name if name is None else name,
                new_metadata=json.dumps(notes),
            )
            note(tx, actor, "update_inbox", inbox.id, now=now)
            tx.announce(InboxChanged(inbox.account_no, inbox.no, inbox.id))
            return rows.one_in(tx, inbox.no)

        changed = await self._core.database.write(run)
        return Outcome(key="update_inbox", result=inbox_view(changed), facts={"inbox_id": changed.id})

    async def delete_inbox(self, actor: Actor, request: DeleteInbox) -> Outcome:
        """Hide an inbox and all in it; its address stays out of use for the quarantine. Raises INBOX_NOT_FOUND."""
        actor.require("inbox_delete")
        inbox = await access.inbox(self._core, actor, request.inbox)
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            if tx.one(sql.inbox_delete, inbox_no=inbox.no, now=now) is None:
                raise Refused(RefusalCode.INBOX_NOT_FOUND)
            for (seq,) in tx.all(sql.queue_unsent_of_inbox, inbox_no=inbox.no):
                withdraw(tx, seq, now=now)
                tx.run(sql.draft_unlink_by_message, seq=seq)
            for (key_id,) in tx.all(sql.keys_revoke_inbox, inbox_no=inbox.no, now=now):
                tx.announce(KeyChanged(key_id))
            tx.run(sql.lists_drop_inbox, account_no=inbox.account_no, inbox_no=inbox.no)
            events.record(
                tx, "inbox.deleted", account_no=inbox.account_no, inbox_no=inbox.no, now=now,
                payload={"inbox_id": inbox.id},
            )  # fmt: skip
            note(tx, actor, "delete_inbox", inbox.id, now=now, address=inbox.address)
            tx.announce(InboxChanged(inbox.account_no, inbox.no, inbox.id))

        await self._core.database.write(run)
        result = {"id": inbox.id, "status": "deleted", "deleted_at": iso(now)}
        return Outcome(key="delete_inbox", result=result, facts={})
