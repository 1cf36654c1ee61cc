"""Keys of an account: making, showing, renewing and ending them. A key never gives what its maker lacks."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import EVERY_INBOX, Account, Actor
from daimon_mcp.domain.changes import KeyChanged, QueueChanged
from daimon_mcp.domain.clock import DAY, SECOND, iso, iso_or_none
from daimon_mcp.domain.ids import canonical_id
from daimon_mcp.domain.refusals import RefusalCode, Refused, invalid
from daimon_mcp.operations import access
from daimon_mcp.operations.auditing import note, note_operator
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.credentials import PERMISSIONS, Credentials
from daimon_mcp.operations.exposure import pass_on
from daimon_mcp.operations.requests import Id, Moment, Request
from daimon_mcp.store import accounts as rows
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.database import Row, Transaction

LONGEST_OVERLAP = 7 * DAY
# What a key that only answers may do: read, answer whom the mail it answers names, and look where it stands.
REPLY_ONLY = frozenset(
    {"message_read", "message_reply", "message_update", "draft_read", "inbox_read", "account_read", "list_read"}
)


class CreateKey(Request):
    name: Annotated[str, Field(max_length=100, description="What it is for; shown in lists")] = ""
    inbox: Annotated[Id | None, Field(description="id or address, to keep it to that inbox")] = None
    permissions: Annotated[
        list[Annotated[str, Field(max_length=40)]] | None,
        Field(max_length=50, description="What it may do; left out, all that the key may do that makes it"),
    ] = None
    reply_only: Annotated[bool, Field(description="In place of permissions: reads, and answers its senders")] = False
    expires_at: Annotated[Moment | None, Field(description="ISO 8601 with offset; its end")] = None


class GetKey(Request):
    key_id: Annotated[Id, Field(description="key_ id")]


class RotateKey(Request):
    key_id: Annotated[Id, Field(description="key_ id")]
    overlap_seconds: Annotated[
        int, Field(ge=0, le=LONGEST_OVERLAP // SECOND, description="How long the old one still works; 0 ends it now")
    ] = 3600


class RevokeKey(Request):
    key_id: Annotated[Id, Field(description="key_ id")]


class Keys:
    """The verbs of keys."""

    def __init__(self, core: Core, credentials: Credentials) -> None:
        self._core = core
        self._credentials = credentials

    async def list_keys(self, actor: Actor) -> Outcome:
        """The account's keys, without the keys themselves."""
        actor.require_account()
        actor.require("key_read")
        found = await self._core.database.all(sql.keys_of_account, account_no=actor.account_no)
        keys = [self._view(row) for row in found]
        return Outcome(key="list_keys", result={"keys": keys, "total": len(keys)})

    async def get_key(self, actor: Actor, request: GetKey) -> Outcome:
        """One key, without the key itself. Raises KEY_NOT_FOUND."""
        actor.require_account()
        actor.require("key_read")
        row = await self._core.database.one(
            sql.key_of_account, account_no=actor.account_no, id=canonical_id(request.key_id)
        )
        if row is None:
            raise Refused(RefusalCode.KEY_NOT_FOUND)
        return Outcome(key="get_key", result=self._view(row), facts={"key": row[0]})

    def _view(self, row: Row) -> dict[str, Any]:
        id_, hint, name, address, permissions, created_at, last_used_at, expires_at, revoked_at, _ = row
        now = self._core.clock.now()
        ended = expires_at is not None and expires_at <= (revoked_at or now)
        return {
            "id": id_,
            "key": f"{hint}…",
            "name": name,
            "inbox": address,
            "permissions": None if permissions is None else json.loads(permissions),
            "created_at": iso(created_at),
            "last_used_at": iso_or_none(last_used_at),
            "expires_at": iso_or_none(expires_at),
            "status": "expired" if ended else "revoked" if revoked_at else "active",
        }

    async def create_key(self, actor: Actor, request: CreateKey) -> Outcome:
        """A further key of this account, shown once, with all that its maker may do, or with less.

        Raises INBOX_NOT_FOUND, FORBIDDEN for what the maker lacks, INVALID_REQUEST.
        """
        actor.require_account()
        actor.require("key_write")
        core = self._core
        inbox = await access.inbox(core, actor, request.inbox) if request.inbox is not None else None
        permissions = _wanted(actor, request)
        now = core.clock.now()
        if request.expires_at is not None and request.expires_at <= now:
            raise invalid("expires_at", "is in the past", f'"{iso(now + DAY)}"')

        def run(tx: Transaction) -> tuple[str, str, int | None]:
            expires_at = _bounded(tx, actor, request.expires_at)
            key_id, key = self._credentials.issue_key(
                tx,
                account_no=actor.account_no,
                tier=rows.account_in(tx, actor.account_no).tier,
                inbox_no=inbox.no if inbox else None,
                name=request.name.strip(),
                permissions=permissions,
                expires_at=expires_at,
            )
            note(
                tx, actor, "create_key", key_id, now=now, inbox=inbox.id if inbox else None,
                permissions=None if permissions is None else " ".join(sorted(permissions)),
                expires_at=iso_or_none(expires_at),
            )  # fmt: skip
            pass_on(tx, actor, key_id)
            if expires_at is not None:
                tx.announce(QueueChanged())  # whoever ends keys has to know when
            return key_id, key, expires_at

        key_id, key, expires_at = await core.database.write(run)
        result = {
            "id": key_id,
            "api_key": key,
            "name": request.name.strip(),
            "inbox": inbox.address if inbox else None,
            "permissions": None if permissions is None else sorted(permissions),
            "expires_at": iso_or_none(expires_at),
        }
        return Outcome(key="create_key", result=result, facts={"key": key_id})

    async def rotate_key(self, actor: Actor, request: RotateKey) -> Outcome:
        """A new key with all that an old one has, shown once; the old one works on for the overlap, and ends then.

        Raises KEY_NOT_FOUND (also for one that works no more), FORBIDDEN for one that may do what the caller may not.
        """
        actor.require_account()
        actor.require("key_write")
        core = self._core
        old_id = canonical_id(request.key_id)
        now = core.clock.now()

        def run(tx: Transaction) -> tuple[str, str, Row, int]:
            row = tx.one(sql.key_of_account, account_no=actor.account_no, id=old_id)
            if row is None or row[8] is not None or (row[7] is not None and row[7] <= now):
                raise Refused(RefusalCode.KEY_NOT_FOUND)
            permissions = None if row[4] is None else frozenset[str](json.loads(row[4]))
            _check_may_grant(actor, permissions)
            key_id, key = self._credentials.issue_key(
                tx,
                account_no=actor.account_no,
                tier=rows.account_in(tx, actor.account_no).tier,
                inbox_no=row[9],
                name=row[2],
                permissions=permissions,
                expires_at=_bounded(tx, actor, row[7]),
            )
            pass_on(tx, actor, key_id, old_id)
            ends_at = min(now + request.overlap_seconds * SECOND, row[7] if row[7] is not None else now + DAY * 8)
            if request.overlap_seconds:
                tx.run(sql.key_expire, id=old_id, new_expires_at=ends_at)
                tx.announce(QueueChanged())  # KeyChanged would end its sessions now
            else:
                self._end(tx, actor.account_no, old_id, now)
            note(tx, actor, "rotate_key", old_id, now=now, new_key=key_id, old_ends_at=iso(ends_at))
            return key_id, key, row, ends_at

        key_id, key, row, ends_at = await core.database.write(run)
        result = {
            "id": key_id,
            "api_key": key,
            "name": row[2],
            "inbox": row[3],
            "permissions": None if row[4] is None else json.loads(row[4]),
            "replaces": old_id,
            "old_expires_at": iso(ends_at),
        }
        return Outcome(key="rotate_key", result=result, facts={"key": key_id, "old": old_id, "ends_at": iso(ends_at)})

    async def revoke_key(self, actor: Actor, request: RevokeKey) -> Outcome:
        """End a key at once, with the sessions and streams it opened. Raises KEY_NOT_FOUND."""
        actor.require_account()
        actor.require("key_write")
        key_id = canonical_id(request.key_id)
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            self._end(tx, actor.account_no, key_id, now)
            note(tx, actor, "revoke_key", key_id, now=now)

        await self._core.database.write(run)
        return Outcome(key="revoke_key", result={"id": key_id, "status": "revoked"})

    @staticmethod
    def _end(tx: Transaction, account_no: int, key_id: str, now: int) -> None:
        if tx.one(sql.key_revoke, id=key_id, account_no=account_no, now=now) is None:
            raise Refused(RefusalCode.KEY_NOT_FOUND)
        tx.announce(KeyChanged(key_id))

    # -- the operator's side -------------------------------------------------------------------------------------------

    async def create_ingest_key(self, *, name: str) -> tuple[str, Outcome]:
        """A key of the operator's own account that hands in mail for every inbox of the server and can do nothing else;
        the account's id, and the key, shown once. Only for the operator's channel."""
        now = self._core.clock.now()

        def run(tx: Transaction) -> tuple[Account, tuple[str, str]]:
            account = rows.account_in(tx, rows.operator_account(tx, now))
            narrow = frozenset({"message_ingest", EVERY_INBOX})
            made = self._credentials.issue_key(
                tx, account_no=account.no, tier=account.tier, name=name, permissions=narrow
            )
            note_operator(tx, "create_key", made[0], by="cli", now=now, account_no=account.no, permissions="ingest")
            return account, made

        account, (key_id, key) = await self._core.database.write(run)
        result = {"id": key_id, "api_key": key, "name": name}
        return account.id, Outcome(key="create_key", result=result, facts={"key": key_id})

    async def end_expired(self) -> int | None:
        """End the keys whose time is over, so that their sessions and streams end too; when the next one's is."""
        now = self._core.clock.now()
        row = await self._core.database.one(sql.keys_next_expiry)
        due: int | None = row[0] if row else None
        if due is None or due > now:
            return due

        def run(tx: Transaction) -> None:
            for (key_id,) in tx.all(sql.keys_end_expired, now=now):
                tx.announce(KeyChanged(key_id))

        await self._core.database.write(run)
        row = await self._core.database.one(sql.keys_next_expiry)
        return row[0] if row else None


def _wanted(actor: Actor, request: CreateKey) -> frozenset[str] | None:
    """What a new key is to be able to do; None for all. Raises FORBIDDEN, INVALID_REQUEST."""
    if request.reply_only:
        if request.permissions is not None:
            raise invalid("reply_only", "goes without permissions")
        if not actor.holds("message_send"):  # who may send to anybody may answer, too
            actor.require("message_reply")
        actor.require("message_read")
        return frozenset(each for each in REPLY_ONLY if each == "message_reply" or actor.holds(each))
    if request.permissions is None:
        return actor.permissions
    permissions = frozenset(request.permissions)
    if not permissions or permissions - PERMISSIONS:
        raise invalid("permissions", f"must be some of {', '.join(sorted(PERMISSIONS))}", '["message_read"]')
    _check_may_grant(actor, permissions)
    return permissions


def _check_may_grant(actor: Actor, permissions: frozenset[str] | None) -> None:
    """Raise FORBIDDEN for permissions that the actor lacks; None is all."""
    for each in sorted(PERMISSIONS if permissions is None else permissions):
        if each == "message_reply" and actor.holds("message_send"):
            continue
        if permissions is None and actor.permissions is None:
            return
        actor.require(each)


def _bounded(tx: Transaction, actor: Actor, expires_at: int | None) -> int | None:
    """When a key ends that was to end then: not after the one that makes it."""
    row = None
    if actor.key_id is not None:
        row = tx.one(sql.key_of_account, account_no=actor.account_no, id=actor.key_id)
    mine = row[7] if row is not None else None
    times = [each for each in (expires_at, mine) if each is not None]
    return min(times, default=None)
