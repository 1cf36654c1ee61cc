"""Accounts: what one is and may do, what it has used up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from daimon_mcp.domain.accounts import Account, AccountStatus, Actor
from daimon_mcp.domain.changes import CredentialsChanged
from daimon_mcp.domain.clock import iso, iso_or_none
from daimon_mcp.domain.domains import DomainStatus
from daimon_mcp.domain.ids import new_id
from daimon_mcp.domain.refusals import Fact, RefusalCode, Refused
from daimon_mcp.domain.tiers import Limits, next_tier, usage_facts
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.credentials import Credentials
from daimon_mcp.store import accounts as rows
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import domains, usage
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import LAST_SEQ


class Accounts:
    """The account verbs."""

    def __init__(self, core: Core, credentials: Credentials) -> None:
        self._core = core
        self._credentials = credentials
        self._local: Actor | None = None

    async def local_actor(self) -> Actor:
        """Who calls over stdio without a key: this data folder's own account, made at the first call."""
        if self._local is None:
            now = self._core.clock.now()

            def run(tx: Transaction) -> Actor:
                row = tx.one(sql.meta_get, key=rows.LOCAL_ACCOUNT)
                if row is not None:
                    account = rows.account_in(tx, int(row[0]))
                    return Actor(account.no, account.id)
                public_id = new_id("acc", now)
                number = rows.insert_account(tx, id=public_id, kind="agent", now=now)
                tx.run(sql.meta_put, key=rows.LOCAL_ACCOUNT, value=str(number))
                return Actor(number, public_id)

            self._local = await self._core.database.write(run)
        return self._local

    async def operators_local(self) -> Actor:
        """The operator, acting on this machine's own account by the command line."""
        return replace(await self.local_actor(), face="cli", operator=True)

    async def get_account(self, actor: Actor) -> Outcome:
        """Tier, limits, usage."""
        actor.require("account_read")
        await self._core.listeners_begun()
        core = self._core
        account = await rows.account_by_no(core.database, actor.account_no)
        limits = core.policy.limits[account.tier]
        now = core.clock.now()
        used = await usage.current(core.database, account.no, now)
        row = await core.database.one(sql.inboxes_count, account_no=account.no, only_inbox=actor.inbox_no or 0)
        result: dict[str, Any] = {
            "id": account.id,
            "tier": str(account.tier),
            "status": str(account.status),
            "inbox_count": row[0] if row else 0,
            "send_limits": {"daily": limits.sends_per_day, "monthly": limits.sends_per_month},
            **usage_facts(limits, used, now),
            "smtp_enabled": limits.smtp and core.submission is not None,
            "relay": core.policy.relay,
            "relay_configured": core.policy.relay_configured,
            "receives_from_other_servers": core.not_listening is None,
            "domains": [*sorted(core.policy.domains), *await self._own_domains(actor)],
            "created_at": iso(account.created_at),
        }
        return Outcome(key=f"get_account.{_kind(limits)}", result=result, facts=self._facts(account, limits))

    def _facts(self, account: Account, limits: Limits) -> dict[str, Fact]:
        """What the words about an account depend on: what of the server does not work for it, or not for real."""
        core = self._core
        return {
            "tier": str(account.tier),
            "not_listening": core.not_listening,
            "no_submission": core.no_submission if limits.smtp else None,
            "sandbox": "yes" if core.policy.is_sandbox else None,
        }

    async def _own_domains(self, actor: Actor) -> list[str]:
        """The account's verified domains, the newest 100."""
        found = await self._core.database.all(sql.domains_page, account_no=actor.account_no, before=LAST_SEQ, limit=100)
        known = [domains.domain_of(row) for row in found]
        return [each.name for each in known if each.status is DomainStatus.VERIFIED]

    async def get_capabilities(self, actor: Actor) -> Outcome:
        """What this account can and cannot do now, and what would change that."""
        actor.require("account_read")
        await self._core.listeners_begun()
        core = self._core
        account = await rows.account_by_no(core.database, actor.account_no)
        limits = core.policy.limits[account.tier]
        can = ["receive_messages", "use_drafts", "use_reply_extraction", "use_link_extraction"]
        cannot: list[dict[str, Any]] = []

        def sort(action: str, *obstacles: str | None) -> None:
            """Among what can be done, or with the first obstacle. Those that no upgrade removes are given first, so
            that an upgrade is offered only where it is enough.
            """
            reason = next(filter(None, obstacles), None)
            if reason is None:
                can.append(action)
            else:
                unlock = {"unlock": "create_upgrade_link"} if reason in _UPGRADED else {}
                cannot.append({"action": action, "reason": str(reason), **unlock})

        suspended = RefusalCode.ACCOUNT_SUSPENDED if account.status is AccountStatus.SUSPENDED else None
        narrow = None if actor.inbox_no is None and actor.holds("inbox_create") else RefusalCode.FORBIDDEN
        silent = suspended or (None if actor.holds("message_send") else RefusalCode.FORBIDDEN)
        unpaid = None if limits.may_send else RefusalCode.SEND_REQUIRES_PAID
        unconnected = None if core.policy.relay_configured else RefusalCode.RELAY_NOT_CONFIGURED
        sort("create_inboxes", suspended, narrow)
        sort("send_messages", silent, unpaid)
        sort("schedule_messages", silent, unpaid)
        sort("send_to_other_servers", silent, unconnected, unpaid)
        sort("receive_from_other_servers", "NOT_LISTENING" if core.not_listening else None)
        no_listener = None if core.submission is not None else "NO_SUBMISSION_LISTENER"
        sort("use_smtp", suspended, no_listener, None if limits.smtp else RefusalCode.SMTP_REQUIRES_PAID)
        own = None if actor.inbox_no is None and actor.holds("domain_write") else RefusalCode.FORBIDDEN
        sort("use_custom_domains", suspended, own, RefusalCode.DOMAIN_REQUIRES_PAID if limits.domains == 0 else None)
        higher = next_tier(account.tier)
        result = {
            "tier": str(account.tier),
            "can": [{"action": action} for action in can],
            "cannot": cannot,
            "next_tier": str(higher) if higher != account.tier else None,
        }
        return Outcome(key=f"get_capabilities.{_kind(limits)}", result=result, facts=self._facts(account, limits))

    async def get_smtp_credentials(self, actor: Actor) -> Outcome:
        """The account's SMTP submission credentials; host and ports are None where no listener runs.

        Raises SMTP_REQUIRES_PAID.
        """
        actor.require_account()
        actor.require("credentials_read")
        account = await self._smtp_account(actor)
        now = self._core.clock.now()
        # A secret is shown: that is put on record, as little else that only reads is.
        await self._core.database.write(lambda tx: note(tx, actor, "get_smtp_credentials", account.id, now=now))
        return Outcome(
            key="get_smtp_credentials" + (".listening" if self._core.submission else ".off"),
            result=self._smtp(account),
            facts=self._smtp_facts(),
        )

    async def rotate_smtp_password(self, actor: Actor) -> Outcome:
        """A new SMTP password; the old one stops working at once, and sessions that used it end.

        Raises SMTP_REQUIRES_PAID.
        """
        actor.require_account()
        actor.require("credentials_write")
        account = await self._smtp_account(actor)
        now = self._core.clock.now()

        def run(tx: Transaction) -> Account:
            tx.run(sql.account_rotate_smtp, account_no=account.no, now=now)
            note(tx, actor, "rotate_smtp_password", account.id, now=now)
            tx.announce(CredentialsChanged(account.no, account.id))
            return rows.account_in(tx, account.no)

        account = await self._core.database.write(run)
        return Outcome(
            key="rotate_smtp_password" + (".listening" if self._core.submission else ".off"),
            result=self._smtp(account),
            facts=self._smtp_facts(),
        )

    async def _smtp_account(self, actor: Actor) -> Account:
        await self._core.listeners_begun()
        account = await rows.account_by_no(self._core.database, actor.account_no)
        if not self._core.policy.limits[account.tier].smtp:
            higher = next_tier(account.tier)
            raise Refused(
                RefusalCode.SMTP_REQUIRES_PAID,
                facts={"tier": str(account.tier)},
                target_tier=str(higher) if higher != account.tier else None,
            )
        return account

    def _smtp(self, account: Account) -> dict[str, Any]:
        at = self._core.submission
        password = self._credentials.smtp_password(account.id, account.smtp_version)
        return {
            "host": at.host if at else None,
            "port": at.port if at else None,
            "tls_port": at.tls_port if at else None,
            "username": account.id,
            "password": None if self._core.policy.secrets_masked else password,
            "tls": True,
            "auth_method": "PLAIN",
            "rotated_at": iso_or_none(account.smtp_rotated_at),
            "certificate_sha256": at.certificate_sha256 if at else None,
            "certificate": at.certificate if at else None,
            "listening": at is not None,
            "problem": self._core.no_submission,
        }

    def _smtp_facts(self) -> dict[str, Fact]:
        at = self._core.submission
        return {
            "masked": "yes" if self._core.policy.secrets_masked else None,
            "port": at.port if at else None,
            "tls_port": at.tls_port if at else None,
            "no_submission": self._core.no_submission,
        }


_UPGRADED = (RefusalCode.SEND_REQUIRES_PAID, RefusalCode.SMTP_REQUIRES_PAID, RefusalCode.DOMAIN_REQUIRES_PAID)


def _kind(limits: Limits) -> str:
    return "paid" if limits.may_send else "free"
