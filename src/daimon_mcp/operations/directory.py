"""Who is here: addresses and the inboxes they reach, remembered until an inbox or a domain changes.

Listeners ask for every recipient and every sender, far more often than inboxes come and go.
"""

from __future__ import annotations

from daimon_mcp.domain.accounts import Account
from daimon_mcp.domain.changes import AccountChanged, Change, CredentialsChanged, DomainsChanged, InboxChanged
from daimon_mcp.domain.inboxes import Inbox, split_subaddress
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.dispatch import is_role
from daimon_mcp.store import accounts, inboxes
from daimon_mcp.store import compiled as sql

MOST = 10_000


class Directory:
    """Inboxes by address. What is not there is never remembered: it may be made the next moment."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._known: dict[str, Inbox] = {}
        self._numbers: dict[int, Inbox] = {}
        self._owned: dict[int, frozenset[str]] = {}
        self._accounts: dict[str | int, Account] = {}
        self._version = 0
        core.bus.subscribe(self._heard)

    def _heard(self, change: Change) -> None:
        if isinstance(change, AccountChanged | CredentialsChanged):
            self._accounts.clear()
            self._version += 1
        if isinstance(change, InboxChanged | DomainsChanged):
            self._known.clear()
            self._numbers.clear()
            self._owned.clear()
            self._version += 1

    async def inbox(self, address: str) -> Inbox | None:
        """The live inbox that mail to a local address reaches, by itself or as a sub-address."""
        wanted = address.lower()
        if (known := self._known.get(wanted)) is not None:
            return known
        version = self._version
        local, _, domain = wanted.rpartition("@")
        for candidate in dict.fromkeys((local, split_subaddress(local)[0])):
            found = await inboxes.by_address(self._core.database, f"{candidate}@{domain}")
            if found is not None:
                if version == self._version and len(self._known) < MOST:
                    self._known[wanted] = found
                return found
        return None

    async def is_here(self, address: str) -> bool:
        """Whether mail for a local address has somewhere to go; that of role addresses always has (RFC 2142)."""
        return await self.inbox(address) is not None or is_role(address)

    async def owned(self, account_no: int) -> frozenset[str]:
        """The addresses of an account's live inboxes."""
        if (known := self._owned.get(account_no)) is not None:
            return known
        version = self._version
        rows = await self._core.database.all(sql.inbox_addresses, account_no=account_no)
        found = frozenset(row[0] for row in rows)
        if version == self._version and len(self._owned) < MOST:
            self._owned[account_no] = found
        return found

    async def by_no(self, inbox_no: int) -> Inbox | None:
        """An inbox by its number, deleted or not."""
        if (known := self._numbers.get(inbox_no)) is not None:
            return known
        version = self._version
        found = await inboxes.by_no(self._core.database, inbox_no)
        if found is not None and version == self._version and len(self._numbers) < MOST:
            self._numbers[inbox_no] = found
        return found

    async def account(self, which: str | int) -> Account | None:
        """An account by its id or number, as it was when it last changed."""
        if (known := self._accounts.get(which)) is not None:
            return known
        version = self._version
        database = self._core.database
        if isinstance(which, int):
            found = await accounts.account_by_no(database, which)
        else:
            found = await accounts.account_by_id(database, which)
        if found is not None and version == self._version and len(self._accounts) < MOST:
            self._accounts[which] = found
        return found
