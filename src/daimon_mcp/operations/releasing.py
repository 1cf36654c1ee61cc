"""Mail that waits: letting it go when its time or its approval has come, and taking it back before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from daimon_mcp.domain.accounts import AccountStatus, Actor
from daimon_mcp.domain.changes import MessageChanged, QueueChanged
from daimon_mcp.domain.clock import MINUTE, SECOND, day_period, month_period
from daimon_mcp.domain.oversight import Mode
from daimon_mcp.domain.queue import DeliveryState, MessageStatus
from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.mail.dsn import Failure
from daimon_mcp.operations import access
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.dispatch import NO_SUCH_INBOX, is_here, let_go
from daimon_mcp.operations.held import hold_parked, lapse
from daimon_mcp.operations.reading import understand
from daimon_mcp.operations.reports import Reports
from daimon_mcp.operations.requests import Id, Request
from daimon_mcp.operations.sending import count_sends
from daimon_mcp.operations.withdrawing import withdraw
from daimon_mcp.store import accounts, approvals, inboxes, messages, queue, usage
from daimon_mcp.store import compiled as sql
from daimon_mcp.store.changes import What
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import Content, StoredMessage

AFTER_FAILURE = 5 * MINUTE
PAUSED_STEP = MINUTE  # how often scheduled mail of an inbox that may not send is tried again
BURST_STEP = 5 * SECOND  # how often scheduled mail behind the limit of a minute is tried again


class CancelScheduled(Request):
    message_id: Annotated[Id, Field(description="The id a scheduled or parked send answered with")]


class _Changed(Exception):
    """An inbox came or went between looking and writing."""


class Releasing:
    """The verbs for mail that has not left."""

    def __init__(self, core: Core, reports: Reports) -> None:
        self._core = core
        self._reports = reports
        self._retries: dict[int, int] = {}  # accounts whose parked mail a limit holds back, and until when (epoch µs)

    async def cancel_scheduled(self, actor: Actor, request: CancelScheduled) -> Outcome:
        """Take back mail that has not left: it is not sent, its sends are not counted. Raises SCHEDULED_NOT_FOUND."""
        actor.require("message_send")
        try:
            message = await access.message(self._core, actor, request.message_id)
        except Refused:
            raise Refused(RefusalCode.SCHEDULED_NOT_FOUND) from None
        now = self._core.clock.now()

        def run(tx: Transaction) -> None:
            if not withdraw(tx, message.seq, now=now):
                raise Refused(RefusalCode.SCHEDULED_NOT_FOUND)
            tx.run(sql.draft_unlink_by_message, seq=message.seq)
            note(tx, actor, "cancel_scheduled", message.id, now=now)

        await self._core.database.write(run)
        return Outcome(key="cancel_scheduled", result={"id": message.id, "status": "cancelled"})

    async def release_due(self) -> int:
        """Let go of scheduled mail whose time has come, and of parked mail whose limit has been reset; how many.

        Questions about held mail that nobody answered in time end. One message that fails does not keep the others;
        the first failure is raised when all have had their turn.
        """
        now = self._core.clock.now()
        released = 0
        failure: Exception | None = None
        for row in await self._core.database.all(sql.approvals_lapsed, now=now):
            unanswered = approvals.approval_of(row)
            try:
                await self._core.database.write(lambda tx, unanswered=unanswered: lapse(tx, unanswered, now))
            except Exception as error:  # noqa: BLE001  raised below
                failure = failure or error
        for (seq,) in await self._core.database.all(sql.queue_due, now=now):
            try:
                released += await self.release(seq, count=False)
            except Exception as error:  # noqa: BLE001  raised below
                failure = failure or error
        for account_no in [each for each, at in self._retries.items() if at <= now]:
            try:
                released += await self.release_parked(account_no)
            except Exception as error:  # noqa: BLE001  raised below
                failure = failure or error
        if failure is not None:
            raise failure
        return released

    async def release_parked(self, account_no: int) -> int:
        """Let go of what was parked, as far as the account's tier and limits now allow; how many.

        What a limit holds back is tried again when the limit is reset (`next_scheduled` knows when). A message that
        fails is tried again after a while and does not keep the others; the first failure is raised at the end.
        """
        released = 0
        failure: Exception | None = None
        self._retries.pop(account_no, None)
        for (seq,) in await self._core.database.all(sql.queue_waiting, account_no=account_no):
            try:
                released += await self.release(seq, count=True)
            except Refused as refused:
                # The next ones are behind this one: order is kept.
                if refused.retry_after is not None:
                    self._retries[account_no] = self._core.clock.now() + refused.retry_after * SECOND
                break
            except Exception as error:  # noqa: BLE001  raised below
                failure = failure or error
                self._retries[account_no] = self._core.clock.now() + AFTER_FAILURE
        if failure is not None:
            raise failure
        return released

    async def release_all_parked(self) -> None:
        """At start: what an approval released and a crash kept back. Raises the first failure when all had a turn."""
        failure: Exception | None = None
        for (account_no,) in await self._core.database.all(sql.queue_waiting_accounts):
            try:
                await self.release_parked(account_no)
            except Exception as error:  # noqa: BLE001  raised below
                failure = failure or error
        if failure is not None:
            raise failure

    async def next_scheduled(self) -> int | None:
        """When the next message is due that is scheduled, parked behind a limit, or held for too long; epoch µs."""
        due = list(self._retries.values())
        for statement in (sql.queue_next_scheduled, sql.approvals_next_lapse):
            row = await self._core.database.one(statement)
            due += [row[0]] if row and row[0] is not None else []
        return min(due, default=None)

    async def release(self, seq: int, *, count: bool) -> bool:
        """Let one waiting or scheduled message go; with `count` its sends are judged and counted now.

        False if it has gone already, or waits for the operator's word. Raises Refused when the limits do not allow it
        yet; it waits on.
        """
        core = self._core
        row = await core.database.one(sql.message_by_seq, seq=seq)
        if row is None:
            return False
        message = messages.message_of(row)
        raw = await core.blobs.get(core.database, message.blob_hash)
        content, _ = await understand(core, raw)
        while True:
            # Recipients here that are gone by now bounce, and the report on them is written before the transaction.
            gone = await self._gone(seq)
            report = await self._report(message, raw, gone) if gone else None
            try:
                return await core.database.write(
                    lambda tx, gone=gone, report=report: self._release(tx, seq, content, gone, report, count=count)
                )
            except _Changed:
                continue

    def _release(
        self, tx: Transaction, seq: int, content: Content, gone: Sequence[str], report: Content | None, *, count: bool
    ) -> bool:
        core = self._core
        now = core.clock.now()
        queued = queue.by_message_in(tx, seq)
        if queued is None or queued.state not in (queue.SCHEDULED, queue.WAITING):
            return False
        account = accounts.account_in(tx, queued.account_no)
        if account.status is AccountStatus.SUSPENDED:
            raise Refused(RefusalCode.ACCOUNT_SUSPENDED)
        inbox = inboxes.one_in(tx, queued.inbox_no)
        if inbox.paused or inbox.oversight is Mode.READ_ONLY:
            if queued.state == queue.SCHEDULED:
                _put_off(tx, queued, now + PAUSED_STEP)
            return False
        if queued.state == queue.SCHEDULED and not core.policy.limits[account.tier].may_send:
            return self._hold(tx, queued, seq, now)
        per_minute = core.policy.limits[account.tier].sends_per_minute
        if queued.state == queue.SCHEDULED and per_minute is not None:
            left = usage.last_minute(tx, account.no, now)
            # One that is over the limit alone goes when nothing else has: it was accepted, and would wait for ever.
            if left and left + queued.recipients > per_minute:
                _put_off(tx, queued, now + BURST_STEP)
                return False
        if queued.state == queue.WAITING and tx.one(sql.approval_open_of_message, seq=seq) is not None:
            if core.policy.limits[account.tier].may_send:
                hold_parked(tx, queued, seq, now)
            return False
        leaves_at = max(now, queued.send_at or now)
        counted = (leaves_at, queued.counted_day, queued.counted_month)
        if count and queued.state == queue.WAITING:
            count_sends(core.policy, tx, account, queued.recipients, at=leaves_at, now=now)
            counted = (leaves_at, day_period(leaves_at), month_period(leaves_at))
        later = leaves_at > now
        tx.run(
            sql.queue_set_state,
            queue_no=queued.no,
            new_state=queue.SCHEDULED if later else queue.ACTIVE,
            new_counted_at=counted[0],
            new_day=counted[1],
            new_month=counted[2],
            new_expires_at=leaves_at + core.policy.give_up_after,
        )
        message = messages.in_tx(tx, seq)
        if later:
            messages.set_status(tx, message, MessageStatus.SCHEDULED, sent_at=None, at=now)
            tx.run(sql.draft_reschedule_by_message, seq=seq)
            tx.announce(QueueChanged())
            tx.announce(MessageChanged(account.no, message.inbox_no, message.inbox_id, message.id, message.thread_id))
            return True
        messages.move(tx, message, inboxes.SENT, what=What.MOVED, at=now)
        let_go(tx, messages.in_tx(tx, seq), queued, content, domain=core.policy.domain, now=now)
        tx.run(sql.draft_sent_by_message, seq=seq)
        bounced = [each.recipient for each in queue.deliveries_in(tx, queued.no) if each.state == DeliveryState.BOUNCED]
        if bounced != list(gone):
            raise _Changed
        if report is not None:
            self._reports.place(tx, message, report, now)
        return True

    @staticmethod
    def _hold(tx: Transaction, queued: queue.StoredQueue, seq: int, now: int) -> bool:
        """The operator has taken the right to send away: what was scheduled waits for it, uncounted."""
        if queued.counted_day is not None and queued.counted_month is not None:
            usage.take_back(
                tx, queued.account_no, queued.recipients, day=queued.counted_day, month=queued.counted_month
            )
        tx.run(
            sql.queue_set_state, queue_no=queued.no, new_state=queue.WAITING, new_counted_at=None, new_day=None,
            new_month=None, new_expires_at=queued.expires_at,
        )  # fmt: skip
        message = messages.in_tx(tx, seq)
        messages.set_status(tx, message, MessageStatus.PENDING_UPGRADE, sent_at=None, at=now)
        tx.run(sql.draft_park_by_message, seq=seq)
        tx.announce(
            MessageChanged(queued.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id)
        )
        return False

    async def _gone(self, seq: int) -> list[str]:
        """Recipients of a waiting message whose inbox here is no more."""
        queued = await queue.by_message(self._core.database, seq)
        found = await queue.deliveries(self._core.database, queued.no) if queued else []
        here = [each.recipient for each in found if each.transport == queue.LOCAL]
        return [each for each in here if not await is_here(self._core.database, each)]

    async def _report(self, message: StoredMessage, raw: bytes, gone: Sequence[str]) -> Content:
        remote = self._core.policy.hostname
        failures = [
            Failure(recipient=each, status="5.1.1", diagnostic=NO_SUCH_INBOX, remote=remote, action="failed")
            for each in gone
        ]
        return await self._reports.write(message, raw, message.from_["email"], failures, text="failed")


def _put_off(tx: Transaction, queued: queue.StoredQueue, until: int) -> None:
    """Have scheduled mail tried again later."""
    tx.run(sql.queue_defer, queue_no=queued.no, again_at=until)
    tx.run(sql.draft_defer_by_message, seq=queued.message_seq, again_at=until)
