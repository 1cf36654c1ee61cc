"""Who hands in mail by a mail program (RFC 6409): logging in, and what an account that has may send from."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

import anyio

from daimon_mcp.domain.accounts import SMTP, Account, AccountStatus, Actor
from daimon_mcp.domain.ids import canonical_id, looks_like_id
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.tiers import next_tier
from daimon_mcp.mail.addresses import normalise
from daimon_mcp.operations.abuse import Abuse
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.credentials import Credentials, hash_key
from daimon_mcp.operations.directory import Directory
from daimon_mcp.store import accounts


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who has logged in. `inbox_no` is set for a login that may send from one inbox alone.

    `max_sessions` is how many sessions the account may have at the same time. `smtp_version` says which of the
    account's SMTP passwords it was, None for a login with an inbox's key.
    """

    account_no: int
    account_id: str
    inbox_no: int | None
    max_sessions: int
    actor: Actor
    smtp_version: int | None = None


class Submitters:
    """Finds out who a mail program acts for."""

    def __init__(self, core: Core, directory: Directory, credentials: Credentials, abuse: Abuse) -> None:
        self._core = core
        self._directory = directory
        self._credentials = credentials
        self._abuse = abuse

    async def log_in(self, username: str, password: str, address: str) -> Submitter:
        """Who this is: an API key, an account id or an inbox address with the account's SMTP password, or an inbox
        address with that inbox's key. `address` is the peer's; logins that fail from it are answered ever more slowly.

        Whether that account may use SMTP is for `check_account` to say. Raises UNAUTHORIZED, RATE_LIMIT_EXCEEDED
        (LOGIN_FAILURES).
        """
        account, actor = await self._named(username, password)
        # The same work whether or not anybody is called so.
        proof = self._credentials.smtp_password(account.id if account else "", account.smtp_version if account else 1)
        right = hmac.compare_digest(password.encode(), proof.encode())
        version = account.smtp_version if account and right else None
        if account is not None and actor is None and "@" in username:
            actor = await self._key_of_inbox(account, username, password)
            right = right or actor is not None
            actor = actor or Actor(account.no, account.id, face=SMTP)
        if account is None or actor is None or not right:
            # Only the wrong wait: whoever fails from an address keeps nobody else there from logging in.
            delay, locked_out = self._abuse.delay(address), self._abuse.lock_out(address)
            if locked_out is None:
                await self._abuse.failed_login(address, account.no if account else None)
            await anyio.sleep(delay)
            raise locked_out or Refused(RefusalCode.UNAUTHORIZED)
        self._core.mail_seen_at = self._core.clock.now()
        limits = self._core.policy.limits[account.tier]
        return Submitter(account.no, account.id, actor.inbox_no, limits.smtp_sessions, actor, version)

    async def check_account(self, submitter: Submitter) -> None:
        """Whether its account may use SMTP now. Raises SMTP_REQUIRES_PAID, ACCOUNT_SUSPENDED, FORBIDDEN."""
        account = await self._directory.account(submitter.account_no)
        assert account is not None
        if account.status is AccountStatus.SUSPENDED:
            raise Refused(RefusalCode.ACCOUNT_SUSPENDED)
        submitter.actor.require("message_send")
        if not self._core.policy.limits[account.tier].smtp:
            higher = next_tier(account.tier)
            raise Refused(
                RefusalCode.SMTP_REQUIRES_PAID,
                facts={"tier": str(account.tier)},
                target_tier=str(higher) if higher != account.tier else None,
                details={"account_id": account.id},
            )

    async def _named(self, username: str, password: str) -> tuple[Account | None, Actor | None]:
        """The account a user name speaks of, and by a key or an id already who may act."""
        database = self._core.database
        if username.startswith("dm_"):
            try:
                actor = await self._credentials.authenticate(username, SMTP)
            except Refused as refused:
                if refused.code is not RefusalCode.UNAUTHORIZED:
                    raise
                return None, None
            return await accounts.account_by_no(database, actor.account_no), actor
        if "@" in username:
            inbox = await self._directory.inbox(normalise(username))
            return (await self._directory.account(inbox.account_no) if inbox else None), None
        account = await self._directory.account(canonical_id(username)) if _is_account(username) else None
        return account, Actor(account.no, account.id, face=SMTP) if account else None

    async def _key_of_inbox(self, account: Account, username: str, password: str) -> Actor | None:
        """Who acts with an inbox's address as the name and its key as the password."""
        key = await accounts.key_by_hash(self._core.database, hash_key(password)) if password[:3] == "dm_" else None
        inbox = await self._directory.inbox(normalise(username))
        if key is None or inbox is None or key.account_no != account.no or key.inbox_no not in (None, inbox.no):
            return None
        if key.expires_at is not None and key.expires_at <= self._core.clock.now():
            return None
        return Actor(account.no, account.id, key.id, key.inbox_no, key.permissions, face=SMTP)

    async def owned(self, submitter: Submitter) -> frozenset[str]:
        """The addresses of the inboxes it may send from."""
        if submitter.inbox_no is None:
            return await self._directory.owned(submitter.account_no)
        inbox = await self._directory.by_no(submitter.inbox_no)
        return frozenset(() if inbox is None else (inbox.address,))


def _is_account(username: str) -> bool:
    return looks_like_id(canonical_id(username), "acc")
