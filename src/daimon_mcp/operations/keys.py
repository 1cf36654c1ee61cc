"""Keys of an account, as programs make and end them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.ids import canonical_id
from daimon_mcp.operations import access
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.credentials import Credentials
from daimon_mcp.operations.requests import Id, Request
from daimon_mcp.store import accounts


class CreateKey(Request):
    name: Annotated[str, Field(max_length=100, description="What it is for; shown in lists")] = ""
    inbox: Annotated[Id | None, Field(description="id or address, to keep it to that inbox")] = None
    permissions: Annotated[
        list[Annotated[str, Field(max_length=40)]] | None,
        Field(max_length=50, description="What it may do; left out, all that the key may do that makes it"),
    ] = None


class RevokeKey(Request):
    key_id: Annotated[Id, Field(description="key_ id")]


class Keys:
    """The verbs of keys."""

    def __init__(self, core: Core, credentials: Credentials) -> None:
        self._core = core
        self._credentials = credentials

    async def create_key(self, actor: Actor, request: CreateKey) -> Outcome:
        """A further key, shown once. Raises INBOX_NOT_FOUND, FORBIDDEN, INVALID_REQUEST."""
        actor.require_account()
        actor.require("key_write")
        inbox = await access.inbox(self._core, actor, request.inbox) if request.inbox is not None else None
        account = await accounts.account_by_no(self._core.database, actor.account_no)
        return await self._credentials.create_key(
            actor,
            name=request.name.strip(),
            inbox_no=inbox.no if inbox else None,
            tier=account.tier,
            permissions=None if request.permissions is None else frozenset(request.permissions),
        )

    async def revoke_key(self, actor: Actor, request: RevokeKey) -> Outcome:
        """End a key at once. Raises KEY_NOT_FOUND."""
        return await self._credentials.revoke_key(actor, canonical_id(request.key_id))
