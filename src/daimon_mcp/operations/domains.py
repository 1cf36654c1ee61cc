"""Domains of accounts: asked for, shown to be the account's by a DNS record, given up.

Several accounts may ask for a name; the first to prove it in the DNS has it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Account, AccountStatus, Actor
from daimon_mcp.domain.changes import Change, DomainsChanged
from daimon_mcp.domain.clock import HOUR, SECOND, iso
from daimon_mcp.domain.domains import (
    Checked,
    DnsRecord,
    DomainStatus,
    RecordState,
    clean_name,
    mail_records,
    ownership_record,
)
from daimon_mcp.domain.ids import canonical_id, looks_like_id, new_id
from daimon_mcp.domain.refusals import RefusalCode, Refused, invalid
from daimon_mcp.domain.tiers import Tier, is_higher
from daimon_mcp.operations import domain_views
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.domain_checks import check_all
from daimon_mcp.operations.domain_keys import DomainKeys, note_seen
from daimon_mcp.operations.requests import Request
from daimon_mcp.operations.views import Of, cursor, read_cursor
from daimon_mcp.store import accounts, events
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import domains as rows
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.domains import StoredDomain
from daimon_mcp.store.messages import LAST_SEQ
from daimon_mcp.texts import Texts

MOST_NEW = 20  # domains that an account asks for within an hour: each makes an RSA key
_SHOWN_INBOXES = 20

DomainRef = Annotated[str, Field(min_length=1, max_length=300, description="dom_ id or name")]


class CreateDomain(Request):
    domain: Annotated[str, Field(min_length=1, max_length=300, description="Such as agents.example.com")]


class ListDomains(Request):
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


class GetDomain(Request):
    domain: DomainRef
    zone_file: Annotated[bool, Field(description="Also the records as lines of a zone file")] = False


class VerifyDomain(Request):
    domain: DomainRef


class DeleteDomain(Request):
    domain: DomainRef


class Domains:
    """The verbs of domains."""

    def __init__(self, core: Core, keys: DomainKeys, texts: Texts) -> None:
        self._core = core
        self._keys = keys
        self._texts = texts
        core.bus.subscribe(self._heard)

    def _heard(self, change: Change) -> None:
        if isinstance(change, DomainsChanged) and change.taken is not None:
            if change.taken:
                self._core.account_domains.add(change.name)
            else:
                self._core.account_domains.discard(change.name)

    async def start(self) -> None:
        """Learn which domains mail is taken for. Before anything is received."""
        self._core.account_domains.update(name for (name,) in await self._core.database.all(sql.domains_verified))

    async def create_domain(self, actor: Actor, request: CreateDomain) -> Outcome:
        """Ask for a domain; one that is asked for already is shown. It is usable once verified.

        Raises INVALID_REQUEST, DOMAIN_REQUIRES_PAID (reason DOMAIN_LIMIT where all of the tier's are used),
        DOMAIN_TAKEN, RATE_LIMIT_EXCEEDED, FORBIDDEN.
        """
        actor.require_account()
        actor.require("domain_write")
        core = self._core
        name = _checked_name(request.domain)
        known = await rows.of_account(core.database, actor.account_no, name)
        if known is None:
            now = core.clock.now()
            public_id, token = new_id("dom", now), secrets.token_hex(16)

            def run(tx: Transaction) -> None:
                if rows.of_account_in(tx, actor.account_no, name) is None:
                    self._check_may_have(tx, actor.account_no, name)
                    rows.insert_domain(tx, id=public_id, account_no=actor.account_no, name=name, token=token, now=now)
                note(tx, actor, "create_domain", public_id, now=now, domain=name)

            await core.database.write(run)
        domain = await self._own(actor, name)
        result = await self._view(domain)
        facts = {"domain_id": domain.id}
        if known is None:
            return Outcome(key="create_domain", result=result, facts=facts)
        return Outcome(key=f"get_domain.{domain.status}", result=result, facts=facts)

    def _check_may_have(self, tx: Transaction, account_no: int, name: str) -> None:
        """Raise what speaks against an account asking for a further domain."""
        core = self._core
        account = accounts.account_in(tx, account_no)
        if account.status is AccountStatus.SUSPENDED:
            raise Refused(RefusalCode.ACCOUNT_SUSPENDED)
        self._check_tier(account, tx.scalar(sql.domains_count, account_no=account_no))
        if name in core.policy.domains:
            raise Refused(RefusalCode.DOMAIN_TAKEN, reason="SERVER_DOMAIN")
        if rows.verified_in(tx, name) is not None:
            raise Refused(RefusalCode.DOMAIN_TAKEN)
        now = core.clock.now()
        made = tx.all(sql.domains_created_since, account_no=account_no, since=now - HOUR)
        if len(made) >= MOST_NEW:
            raise Refused(
                RefusalCode.RATE_LIMIT_EXCEEDED,
                reason="DOMAIN_CREATE_RATE_LIMIT",
                facts={"limit": MOST_NEW},
                retry_after=-(-(made[-MOST_NEW][0] + HOUR - now) // SECOND),
            )

    def _check_tier(self, account: Account, used: int) -> None:
        limits = self._core.policy.limits
        limit = limits[account.tier].domains
        if limit is None or used < limit:
            return
        more = [
            tier
            for tier in Tier
            if is_higher(tier, account.tier) and ((offered := limits[tier].domains) is None or offered > used)
        ]
        raise Refused(
            RefusalCode.DOMAIN_REQUIRES_PAID,
            reason="DOMAIN_LIMIT" if limit else None,
            facts={"tier": str(account.tier), "used": used, "limit": limit},
            current_usage={"domains": used, "limit": limit},
            target_tier=str(more[0]) if more else None,
        )

    async def list_domains(self, actor: Actor, request: ListDomains) -> Outcome:
        """The account's domains, newest first, without their records."""
        actor.require_account()
        actor.require("domain_read")
        found = await self._core.database.all(
            sql.domains_page,
            account_no=actor.account_no,
            before=read_cursor(request.cursor, Of.DOMAINS) if request.cursor else LAST_SEQ,
            limit=request.limit + 1,
        )
        page = [rows.domain_of(row) for row in found[: request.limit]]
        more = len(found) > request.limit
        result = {
            "domains": [domain_views.summary(domain) for domain in page],
            "next_cursor": cursor(Of.DOMAINS, page[-1].no) if more else None,
        }
        return Outcome(key="list_domains" + ("" if page else ".none"), result=result, facts={"shown": len(page)})

    async def get_domain(self, actor: Actor, request: GetDomain) -> Outcome:
        """A domain, the records to publish, and what the last check found. Raises DOMAIN_NOT_FOUND."""
        actor.require_account()
        actor.require("domain_read")
        domain = await self._own(actor, request.domain)
        result = await self._view(domain)
        if request.zone_file:
            result["zone_file"] = domain_views.zone_file(await self._records(domain))
        return Outcome(key=f"get_domain.{domain.status}", result=result, facts={"domain_id": domain.id})

    async def verify_domain(self, actor: Actor, request: VerifyDomain) -> Outcome:
        """Look into the DNS. The ownership record makes the domain usable; the others are reported.

        Raises DOMAIN_NOT_FOUND, DOMAIN_TAKEN where another account was faster. A verified domain stays so.
        """
        actor.require_account()
        actor.require("domain_write")
        core = self._core
        domain = await self._own(actor, request.domain)
        checked = await check_all(core.resolving(), await self._records(domain), hostname=core.policy.hostname)
        proof = checked[0].state
        now = core.clock.now()

        def run(tx: Transaction) -> None:
            current = rows.by_id_in(tx, domain.id)
            if current is None:
                raise Refused(RefusalCode.DOMAIN_NOT_FOUND)
            newly = proof is RecordState.OK and current.status is not DomainStatus.VERIFIED
            if newly and current.name in core.policy.domains:
                raise Refused(RefusalCode.DOMAIN_TAKEN, reason="SERVER_DOMAIN")
            if newly and rows.verified_in(tx, current.name) is not None:
                raise Refused(RefusalCode.DOMAIN_TAKEN)
            rows.save_check(
                tx, current, status=_status(current, proof), checks=domain_views.stored_checks(checked), now=now
            )
            note(tx, actor, "verify_domain", current.id, now=now, domain=current.name, newly="yes" if newly else None)
            if newly:
                events.record(
                    tx, "domain.verified", account_no=current.account_no, now=now, payload={"domain_id": current.id}
                )
            if note_seen(tx, current.name, checked, now) or newly:
                tx.announce(DomainsChanged(current.name, True if newly else None))

        await core.database.write(run)
        domain = await self._own(actor, domain.id)
        result = await self._view(domain)
        return Outcome(
            key="verify_domain" + _verify_end(domain, checked), result=result, facts={"domain_id": domain.id}
        )

    async def delete_domain(self, actor: Actor, request: DeleteDomain) -> Outcome:
        """Give a domain up; with the last claim to it go its keys. Raises DOMAIN_NOT_FOUND, DOMAIN_IN_USE."""
        actor.require_account()
        actor.require("domain_write")
        domain = await self._own(actor, request.domain)
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            if domain.name not in self._core.policy.domains:
                self._check_unused(tx, domain)
            if tx.one(sql.domain_delete, domain_no=domain.no, now=now) is None:
                raise Refused(RefusalCode.DOMAIN_NOT_FOUND)
            note(tx, actor, "delete_domain", domain.id, now=now, domain=domain.name)
            left = [status for _, status in tx.all(sql.domains_of_name, name=domain.name)]
            if not left and domain.name not in self._core.policy.domains:
                tx.run(sql.dkim_drop, domain=domain.name)
            tx.announce(DomainsChanged(domain.name, DomainStatus.VERIFIED in left))

        await self._core.database.write(run)
        result = {"id": domain.id, "domain": domain.name, "status": "deleted", "deleted_at": iso(now)}
        return Outcome(key="delete_domain", result=result, facts={"domain_id": domain.id})

    @staticmethod
    def _check_unused(tx: Transaction, domain: StoredDomain) -> None:
        found = tx.all(
            sql.inboxes_on_domain, account_no=domain.account_no, pattern=f"%@{domain.name}", limit=_SHOWN_INBOXES + 1
        )
        if found:
            raise Refused(
                RefusalCode.DOMAIN_IN_USE,
                facts={"more": "yes" if len(found) > _SHOWN_INBOXES else None},
                details={"inboxes": [address for (address,) in found[:_SHOWN_INBOXES]]},
            )

    async def _own(self, actor: Actor, reference: str) -> StoredDomain:
        """A domain of this account by id or name. Raises DOMAIN_NOT_FOUND."""
        found: StoredDomain | None = None
        database = self._core.database
        if looks_like_id(canonical_id(reference), "dom"):
            found = await rows.by_id(database, canonical_id(reference))
        elif (name := clean_name(reference)) is not None:
            found = await rows.of_account(database, actor.account_no, name)
        if found is None or found.account_no != actor.account_no:
            raise Refused(RefusalCode.DOMAIN_NOT_FOUND)
        return found

    async def _records(self, domain: StoredDomain) -> list[DnsRecord]:
        keys = await self._keys.published(domain.name)
        return [
            ownership_record(domain.name, domain.token),
            *mail_records(domain.name, hostname=self._core.policy.hostname, keys=keys),
        ]

    async def _view(self, domain: StoredDomain) -> dict[str, Any]:
        checked = domain_views.with_checks(await self._records(domain), domain.checks)
        hostname = self._core.policy.hostname
        return {
            **domain_views.summary(domain),
            **domain_views.records_view(checked, self._texts, hostname, was_checked=domain.checked_at is not None),
        }


def _checked_name(text: str) -> str:
    """The name that was meant. Raises INVALID_REQUEST for what is none, or a suffix under which others register."""
    from daimon_mcp.mail.url_facts import registrable_domain

    name = clean_name(text)
    if name is None:
        raise invalid("domain", "must be a domain name", "agents.example.com")
    registered = registrable_domain(name)
    if registered == name and registrable_domain(f"a.{name}") != name:
        raise invalid("domain", "is a suffix under which others register their domains", "agents.example.com")
    return name


def _status(current: StoredDomain, proof: RecordState) -> DomainStatus:
    if current.status is DomainStatus.VERIFIED or proof is RecordState.OK:
        return DomainStatus.VERIFIED
    # What is not there may have been published a moment ago, and be on its way; what is there and wrong is not.
    return DomainStatus.FAILED if proof is RecordState.WRONG else current.status


def _verify_end(domain: StoredDomain, checked: Sequence[Checked]) -> str:
    """Which of the texts about a check is the one."""
    if domain.status is DomainStatus.VERIFIED:
        done = all(each.state is RecordState.OK for each in checked if each.record.required)
        return "" if done else ".incomplete"
    return {RecordState.UNKNOWN: ".unknown", RecordState.MISSING: ".pending"}.get(checked[0].state, ".failed")
