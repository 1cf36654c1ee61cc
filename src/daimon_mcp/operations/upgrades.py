"""The upgrade loop and other questions to the operator.

An agent can make a link; only the operator's credential can decide. Looking at a link changes nothing: mail scanners
and chat programs follow links. A link is signed, expires, and works once.
"""

from __future__ import annotations

import asyncio
import hmac
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Account, AccountStatus, Actor
from daimon_mcp.domain.changes import AccountChanged, Change, KeyChanged
from daimon_mcp.domain.clock import HOUR, MINUTE, SECOND, iso, iso_or_none
from daimon_mcp.domain.ids import canonical_id, new_id
from daimon_mcp.domain.neighbours import neighbourhood
from daimon_mcp.domain.refusals import Fact, RefusalCode, Refused, invalid
from daimon_mcp.domain.tiers import Limits, Tier, is_higher, next_tier, parse_tier
from daimon_mcp.operations.auditing import note, note_operator
from daimon_mcp.operations.core import Core, Link, Outcome, Progress
from daimon_mcp.operations.credentials import Credentials
from daimon_mcp.operations.held import let_through, tell, turn_down
from daimon_mcp.operations.requests import Id, Reason, Request, check_notes
from daimon_mcp.store import accounts, approvals, events, inboxes
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.approvals import StoredApproval
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import LAST_SEQ, SEQ_BITS

_TRIES, _TRIES_WINDOW = 5, 15 * MINUTE
_MOST_CONTEXT = 4000
MOST_OPEN = 20  # questions of one account that wait for the operator; a person would not read more


class CreateUpgradeLink(Request):
    target_tier: Annotated[str | None, Field(description="starter, pro or enterprise")] = None
    reason: Annotated[Reason | None, Field(description="What for; your operator reads it")] = None


class NotifyOperator(Request):
    issue: Annotated[str, Field(min_length=1, max_length=1000, description="What you ask, in your words")]
    context: Annotated[dict[str, Any] | None, Field(description="Facts that help to decide")] = None
    action_label: Annotated[str | None, Field(max_length=60)] = None


class GetApproval(Request):
    approval_id: Id


class WaitForApproval(Request):
    approval_id: Id
    timeout_seconds: Annotated[int, Field(ge=0, le=300)] = 60


class WaitForUpgrade(Request):
    timeout_seconds: Annotated[int, Field(ge=0, le=300)] = 60


@dataclass(frozen=True, slots=True)
class Opened:
    """What the operator's page shows.

    `address` is the account's newest inbox, if it has one, and `inboxes` how many it has; `waiting` is how many of its
    messages are parked, and leave when the tier allows it.
    """

    approval: StoredApproval
    form_token: str
    now: int
    current: Limits
    target: Limits | None
    address: str | None
    inboxes: int
    waiting: int


def one_line(text: str) -> str:
    """An agent's own words, fit to stand in a sentence: one line, no control or format characters."""
    return " ".join("".join(c for c in text if c.isspace() or unicodedata.category(c) not in {"Cc", "Cf"}).split())


class Upgrades:
    """Links, and what operators decide."""

    def __init__(self, core: Core, credentials: Credentials) -> None:
        self._core = core
        self._credentials = credentials
        self._wrong: dict[str, list[int]] = {}
        self._judging = asyncio.Semaphore(1)

    # -- the agent's side --------------------------------------------------------------------------------------------

    async def create_upgrade_link(self, actor: Actor, request: CreateUpgradeLink) -> Outcome:
        """A magic link to a higher tier. Raises INVALID_REQUEST for a tier that is not higher."""
        actor.require("account_upgrade")
        account = await accounts.account_by_no(self._core.database, actor.account_no)
        target = next_tier(account.tier)
        if request.target_tier is not None:
            try:
                target = parse_tier(request.target_tier)
            except ValueError:
                raise invalid("target_tier", "must be starter, pro or enterprise", '"starter"') from None
        if not is_higher(target, account.tier):
            raise invalid("target_tier", f"must be higher than {account.tier}, which this account has", None)
        approval, url = await self._open_link(actor, target, request.reason)
        result = {
            "url": url,
            "target_tier": str(target),
            "approval_id": approval.id,
            "expires_at": iso(approval.expires_at),
        }
        return Outcome(
            key="create_upgrade_link",
            result=result,
            facts={"approval": approval.id, "target_tier": str(target)},
            link=self._link(approval, url),
        )

    def link_to(self, approval: StoredApproval) -> Link:
        """The link of a question that is there already."""
        return self._link(approval, self._url(approval))

    async def link_for(self, actor: Actor, target_tier: str, reason: str | None) -> Link:
        """The link of a refusal; one that is already open for the same is used again."""
        approval, url = await self._open_link(actor, parse_tier(target_tier), reason)
        return self._link(approval, url)

    async def _open_link(self, actor: Actor, target: Tier, reason: str | None) -> tuple[StoredApproval, str]:
        core = self._core
        now = core.clock.now()
        words = one_line(reason or "")

        def run(tx: Transaction) -> StoredApproval:
            row = tx.one(
                sql.approval_same,
                account_no=actor.account_no,
                target_tier=str(target),
                reason=words,
                fresh_until=now + 24 * HOUR,
            )
            if row is not None:
                return approvals.approval_of(row)
            if self._open_in(tx, actor) >= MOST_OPEN:
                # Enough asked: the newest link to this tier says the same, if in other words.
                row = tx.one(sql.approval_newest_open, account_no=actor.account_no, target_tier=str(target), now=now)
                if row is not None:
                    return approvals.approval_of(row)
            return self._insert(tx, actor, kind="upgrade", target=str(target), reason=words, context={}, label="")

        approval = await core.database.write(run)
        return approval, self._url(approval)

    def _open_in(self, tx: Transaction, actor: Actor) -> int:
        """How many questions of this account wait for the operator."""
        now = self._core.clock.now()
        return int(tx.scalar(sql.approvals_open_of, account_no=actor.account_no, now=now, held=0))

    def _insert(
        self,
        tx: Transaction,
        actor: Actor,
        *,
        kind: str,
        target: str | None,
        reason: str,
        context: dict[str, Any],
        label: str,
    ) -> StoredApproval:
        now = self._core.clock.now()
        public_id = new_id("apr", now)
        operation = "create_upgrade_link" if kind == "upgrade" else "notify_operator"
        note(tx, actor, operation, public_id, now=now, reason=reason, target_tier=target)
        return approvals.insert(
            tx,
            id=public_id,
            account_no=actor.account_no,
            kind=kind,
            target_tier=target,
            reason=reason,
            context=context,
            action_label=label,
            created_at=now,
            expires_at=now + self._core.policy.link_lifetime,
            requested_by=actor.who,
        )

    def _url(self, approval: StoredApproval) -> str:
        token = self._credentials.sign(
            {
                "account_id": approval.account_id,
                **({"target_tier": approval.target_tier} if approval.target_tier else {}),
                "jti": approval.jti,
                "exp": approval.expires_at // SECOND,
            }
        )
        path = "upgrade" if approval.kind == "upgrade" else "approve"
        return f"{self._core.public_url}/{path}?token={token}"

    @staticmethod
    def _link(approval: StoredApproval, url: str) -> Link:
        facts: dict[str, Fact] = {
            "account": approval.account_id,
            "target_tier": approval.target_tier,
            "approval": approval.id,
            "purpose": approval.reason,
            "label": approval.action_label,
            "address": approval.details.get("inbox"),
        }
        return Link(url=url, kind=approval.kind, facts=facts)

    async def notify_operator(self, actor: Actor, request: NotifyOperator) -> Outcome:
        """Ask the operator something that is not an upgrade: a link to a page with approve and reject."""
        actor.require("account_upgrade")
        context = request.context or {}
        check_notes("context", context, _MOST_CONTEXT, '{"order": "A-17"}')
        issue = one_line(request.issue)
        if not issue:
            raise invalid("issue", "must not be empty", '"May I refund order A-17?"')
        label = one_line(request.action_label or "")

        def run(tx: Transaction) -> StoredApproval:
            if self._open_in(tx, actor) >= MOST_OPEN:
                raise Refused(
                    RefusalCode.RATE_LIMIT_EXCEEDED,
                    reason="OPEN_REQUESTS",
                    facts={"limit": MOST_OPEN},
                    retry_after=HOUR // SECOND,
                )
            return self._insert(tx, actor, kind="request", target=None, reason=issue, context=context, label=label)

        approval = await self._core.database.write(run)
        url = self._url(approval)
        result = {
            "approval_id": approval.id,
            "status": "pending",
            "url": url,
            "magic_link": url,
            "expires_at": iso(approval.expires_at),
        }
        return Outcome(
            key="notify_operator",
            result=result,
            facts={"approval": approval.id},
            link=self._link(approval, url),
        )

    async def get_approval(self, actor: Actor, request: GetApproval) -> Outcome:
        """What became of a question. Raises APPROVAL_NOT_FOUND."""
        actor.require("account_read")
        return self._shown(await self._visible(actor, request.approval_id))

    async def _visible(self, actor: Actor, reference: str) -> StoredApproval:
        """A question of the actor's account; for a key of one inbox, none about mail of another."""
        found = await approvals.by_id(self._core.database, canonical_id(reference))
        if found is None or found.account_no != actor.account_no:
            raise Refused(RefusalCode.APPROVAL_NOT_FOUND)
        if found.message_seq is not None and actor.inbox_no not in (None, found.message_seq >> SEQ_BITS):
            raise Refused(RefusalCode.APPROVAL_NOT_FOUND)
        return found

    def _shown(self, found: StoredApproval) -> Outcome:
        status = self._status(found)
        result = {
            "id": found.id,
            "kind": found.kind,
            "status": status,
            "target_tier": found.target_tier,
            "message_id": found.details.get("message_id"),
            "comment": found.comment,
            "created_at": iso(found.created_at),
            "expires_at": iso(found.expires_at),
            "decided_at": iso_or_none(found.decided_at),
        }
        facts: dict[str, Fact] = {"approval": found.id, "message": result["message_id"]}
        return Outcome(key=f"get_approval.{status}", result=result, facts=facts)

    async def wait_for_approval(
        self, actor: Actor, request: WaitForApproval, progress: Progress | None = None
    ) -> Outcome:
        """Wait until the operator has decided about a question; says so at once if it is so already.

        Raises APPROVAL_NOT_FOUND.
        """
        actor.require("account_read")
        loop = asyncio.get_running_loop()
        started = loop.time()
        rung = asyncio.Event()
        unsubscribe = self._core.bus.subscribe(_ringing(actor, rung))
        try:
            while True:
                rung.clear()
                found = await self._visible(actor, request.approval_id)
                left = request.timeout_seconds - (loop.time() - started)
                if left <= 0 or self._status(found) != "pending":
                    return self._shown(found)
                await _next_ring(rung, left, started, request.timeout_seconds, progress)
        finally:
            unsubscribe()

    def _status(self, approval: StoredApproval) -> str:
        return approval.status(self._core.clock.now())

    async def wait_for_upgrade(
        self, actor: Actor, request: WaitForUpgrade, progress: Progress | None = None
    ) -> Outcome:
        """Wait until the tier can send, or the newest request is declined; says so at once if it is so already."""
        actor.require("account_read")
        core = self._core
        rung = asyncio.Event()
        loop = asyncio.get_running_loop()
        started = loop.time()
        unsubscribe = core.bus.subscribe(_ringing(actor, rung))
        try:
            while True:
                rung.clear()
                account = await accounts.account_by_no(core.database, actor.account_no)
                row = await core.database.one(sql.approval_newest, account_no=actor.account_no)
                newest = approvals.approval_of(row) if row else None
                waits = newest is not None and self._status(newest) == "pending" and not _is_moot(newest)
                if not waits and core.policy.limits[account.tier].may_send:
                    result = {"status": "upgraded", "tier": str(account.tier)}
                    return Outcome(key="wait_for_upgrade.upgraded", result=result, facts={"tier": str(account.tier)})
                if newest is not None and newest.state == "declined":
                    result = {"status": "declined", "tier": str(account.tier), "comment": newest.comment}
                    return Outcome(key="wait_for_upgrade.declined", result=result)
                left = request.timeout_seconds - (loop.time() - started)
                if left <= 0:
                    result = {"status": "pending" if waits else "none", "tier": str(account.tier)}
                    facts: dict[str, Fact] = {"seconds": request.timeout_seconds}
                    return Outcome(key="wait_for_upgrade.timeout", result=result, facts=facts)
                await _next_ring(rung, left, started, request.timeout_seconds, progress)
        finally:
            unsubscribe()

    # -- the operator's side -----------------------------------------------------------------------------------------

    async def open(self, token: str) -> Opened:
        """What a link asks. Changes nothing. Raises LINK_NOT_VALID with reason FORGED, EXPIRED, USED or CLOSED."""
        core = self._core
        approval = await self._of_link(token)
        no, limits = approval.account_no, core.policy.limits
        newest = await core.database.one(sql.inboxes_page, account_no=no, before=LAST_SEQ, only_inbox=0, limit=1)
        counted = await core.database.one(sql.inboxes_count, account_no=no, only_inbox=0)
        return Opened(
            approval,
            self._form_token(approval),
            core.clock.now(),
            limits[Tier(approval.tier)],
            limits[Tier(approval.target_tier)] if approval.target_tier else None,
            inboxes.inbox_of(newest).address if newest else None,
            int(counted[0]) if counted else 0,
            len(await core.database.all(sql.queue_waiting, account_no=no)),
        )

    async def _of_link(self, token: str) -> StoredApproval:
        """The open request that a link is of. Raises LINK_NOT_VALID."""
        claims = self._credentials.verified(token)
        approval = await approvals.by_jti(self._core.database, str(claims["jti"]))
        if approval is None:
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FORGED")
        self._still_open(approval)
        return approval

    def _form_token(self, approval: StoredApproval) -> str:
        return hmac.new(self._credentials.derive("form"), approval.jti.encode(), "sha256").hexdigest()[:32]

    def _still_open(self, approval: StoredApproval) -> None:
        if approval.state in ("approved", "declined"):
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="USED", facts={"state": approval.state})
        if approval.state != "open":
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="CLOSED")
        if approval.expires_at <= self._core.clock.now():
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="EXPIRED")

    async def decide_by_link(
        self,
        token: str,
        *,
        form_token: str,
        passcode: str,
        approve: bool,
        comment: str,
        remote: str,
        always: bool = False,
    ) -> StoredApproval:
        """What the page's form does. Raises LINK_NOT_VALID, PASSCODE_WRONG, RATE_LIMIT_EXCEEDED, and as `decide`."""
        approval = await self._of_link(token)
        if not hmac.compare_digest(self._form_token(approval).encode(), form_token.encode()):
            raise Refused(RefusalCode.LINK_NOT_VALID, reason="FORGED")
        await self._check_passcode(passcode, remote)
        return await self.decide(approval.id, approve=approve, comment=comment, by="page", always=always)

    async def _check_passcode(self, passcode: str, remote: str) -> None:
        now = self._core.clock.now()
        remote = neighbourhood(remote)
        # A try is counted before it is judged, so that many at once cannot all be judged first.
        recent = [at for at in self._wrong.get(remote, []) if at > now - _TRIES_WINDOW]
        if len(recent) >= _TRIES:
            wait = -(-(recent[0] + _TRIES_WINDOW - now) // SECOND)
            raise Refused(RefusalCode.RATE_LIMIT_EXCEEDED, reason="PASSCODE_TRIES", retry_after=wait)
        self._wrong[remote] = [*recent, now]
        if len(self._wrong) > 1000:
            self._wrong = {k: v for k, v in self._wrong.items() if v[-1] > now - _TRIES_WINDOW}
        async with self._judging:  # one at a time: each costs memory and a thread for a while
            right = await self._credentials.check_passcode(passcode)
        if not right:
            left = _TRIES - len(self._wrong[remote])
            raise Refused(
                RefusalCode.PASSCODE_WRONG,
                reason=None if await self._credentials.has_passcode() else "NOT_SET",
                facts={"left": max(left, 0)},
            )
        self._wrong.pop(remote, None)

    async def list_open(self) -> list[StoredApproval]:
        """What waits for the operator, oldest first; not what an account has got meanwhile by another way."""
        rows = await self._core.database.all(sql.approvals_open, now=self._core.clock.now())
        return [each for each in map(approvals.approval_of, rows) if not _is_moot(each)]

    async def decide(
        self, approval_id: str, *, approve: bool, comment: str, by: str, always: bool = False
    ) -> StoredApproval:
        """Approve or decline, once, with everything that follows from it in one transaction.

        Held mail that is approved leaves right after, as far as the limits allow; with `always` its recipients are
        known to the inbox from now on. Only for the operator's credential, `by` which way: nothing that an agent's key
        reaches calls this. Raises APPROVAL_NOT_FOUND, LINK_NOT_VALID, FORBIDDEN (OWN_REQUEST) for who asked it, and
        for held mail that could not leave RECIPIENT_REFUSED, RELAY_NOT_CONFIGURED, ACCOUNT_SUSPENDED, FORBIDDEN.
        """
        now = self._core.clock.now()

        def run(tx: Transaction) -> StoredApproval:
            before = approvals.in_tx(tx, approval_id)
            if before is None:
                raise Refused(RefusalCode.APPROVAL_NOT_FOUND)
            if before.requested_by == by:
                raise Refused(RefusalCode.FORBIDDEN, reason="OWN_REQUEST")
            state = "approved" if approve else "declined"
            words = one_line(comment)[:1000]
            decided = tx.one(sql.approval_decide, id=approval_id, new_state=state, new_comment=words, by=by, now=now)
            if decided is None:
                self._still_open(before)
                raise Refused(RefusalCode.LINK_NOT_VALID, reason="CLOSED")
            if before.kind == "send" and approve:
                let_through(tx, self._core, before, always=always, now=now)
            elif before.kind == "send":
                turn_down(tx, before, now)
            elif approve and before.kind == "upgrade" and before.target_tier is not None:
                if is_higher(Tier(before.target_tier), Tier(before.tier)):
                    tx.run(sql.account_set_tier, account_no=before.account_no, tier=before.target_tier)
                tx.run(sql.approvals_close_others, account_no=before.account_no, id=approval_id, now=now)
                events.record(
                    tx,
                    "account.upgraded",
                    account_no=before.account_no,
                    now=now,
                    payload={
                        "approval_id": approval_id,
                        "kind": before.kind,
                        "previous_tier": before.tier,
                        "tier": before.target_tier,
                    },
                )
            tell(tx, before, "approval.granted" if approve else "approval.rejected", now, comment=words)
            note_operator(
                tx, "approve" if approve else "reject", approval_id, by=by, now=now, account_no=before.account_no,
                reason=words, kind=before.kind, message=before.details.get("message_id"),
                always="yes" if always else None,
            )  # fmt: skip
            after = approvals.in_tx(tx, approval_id)
            assert after is not None
            return after

        return await self._core.database.write(run)

    async def set_tier(self, account_id: str, tier: Tier, *, by: str = "cli") -> None:
        """The operator's own change of a tier, without a request, `by` which way. Raises ACCOUNT_NOT_FOUND."""
        account = await self._account(account_id)
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            tx.run(sql.account_set_tier, account_no=account.no, tier=str(tier))
            if is_higher(tier, account.tier):
                events.record(
                    tx, "account.upgraded", account_no=account.no, now=now,
                    payload={"previous_tier": str(account.tier), "tier": str(tier)},
                )  # fmt: skip
            note_operator(tx, "set_tier", account.id, by=by, now=now, account_no=account.no, tier=str(tier))
            tx.announce(AccountChanged(account.no, account.id))

        await self._core.database.write(run)

    async def set_status(self, account_id: str, status: AccountStatus, *, by: str = "cli") -> None:
        """Suspend an account, or let it act again: suspended, its keys stop working and nothing of it leaves.

        Raises ACCOUNT_NOT_FOUND.
        """
        account = await self._account(account_id)
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            tx.run(sql.account_set_status, account_no=account.no, status=str(status))
            note_operator(tx, "set_status", account.id, by=by, now=now, account_no=account.no, status=str(status))
            tx.announce(AccountChanged(account.no, account.id))

        await self._core.database.write(run)

    async def _account(self, account_id: str) -> Account:
        account = await accounts.account_by_id(self._core.database, account_id)
        if account is None:
            raise Refused(RefusalCode.ACCOUNT_NOT_FOUND)
        return account

    async def open_count(self) -> int:
        """How many questions wait for the operator."""
        return len(await self.list_open())


def _ringing(actor: Actor, rung: asyncio.Event) -> Callable[[Change], None]:
    """A subscriber that sets `rung` when something of the actor's account was decided, or its key changed."""

    def heard(change: Change) -> None:
        if (isinstance(change, AccountChanged) and change.account_no == actor.account_no) or (
            isinstance(change, KeyChanged) and change.key_id == actor.key_id
        ):
            rung.set()

    return heard


async def _next_ring(
    rung: asyncio.Event, left: float, started: float, timeout: float, progress: Progress | None
) -> None:
    """Wait for the bell, ten seconds at most, then tell how long it has been."""
    try:
        async with asyncio.timeout(min(left, 10)):
            await rung.wait()
    except TimeoutError:
        if progress is not None:
            await progress(asyncio.get_running_loop().time() - started, float(timeout))


def _is_moot(approval: StoredApproval) -> bool:
    """Whether approving it would change nothing: its account has the tier, or a higher one, already."""
    if approval.kind != "upgrade" or approval.target_tier is None:
        return False
    return not is_higher(Tier(approval.target_tier), Tier(approval.tier))
