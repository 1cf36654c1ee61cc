"""What the webhook worker asks of the core: what is due, what to post, and what came of it.

An attempt, and the time of the next one, are on record before anybody dials. So a killed process loses nothing and
cannot hot-loop; what it was posting is posted again, with the same event id.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from daimon_mcp.domain.accounts import AccountStatus
from daimon_mcp.domain.changes import HookChanged
from daimon_mcp.domain.clock import HOUR, MINUTE, SECOND
from daimon_mcp.domain.webhooks import (
    BLOCKS_FOR,
    CIRCUIT_AFTER,
    LONGEST_RETRY_AFTER,
    HookAnswer,
    HookCall,
    HookPause,
    HookRequest,
    HookState,
    HookStatus,
    back_off,
    pause_after,
    signature_headers,
)
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.event_payloads import EventPayloads
from daimon_mcp.operations.hook_secrets import HookSecrets
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import events, webhooks
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.gathering import Gathering
from daimon_mcp.store.webhooks import StoredWebhook

USER_AGENT = "daimon-mcp"
_MOST_PER_WRITE = 500  # rows that one write of `tidy` takes away
_MOST_WRITES = 40  # of one `tidy`
_BODIES = 256  # of events that several webhooks are told at about the same time
_FRESH = 10 * SECOND  # for which one of them is taken for what it is about as that is now
_MOST_ERROR = 300
_SUSPENDED_FOR = 5 * MINUTE  # before a suspended account's webhooks are looked at again

Next = HookCall | HookPause | None


@dataclass(slots=True)
class _Result:
    """What came of a call, on its way into the store; `next` and `failures` are what is found there."""

    call: HookCall
    answer: HookAnswer
    now: int
    more: bool
    next: Next = None
    failures: int = 0


class Telling:
    """Attempts and outcomes of deliveries to webhooks."""

    def __init__(self, core: Core, secrets: HookSecrets, payloads: EventPayloads) -> None:
        self._core = core
        self._secrets = secrets
        self._payloads = payloads
        self._results = Gathering(core.database, self._record_all)
        self._bodies: OrderedDict[int, tuple[str, bytes, int]] = OrderedDict()

    async def take_over(self) -> list[tuple[int, int]]:
        """Every lane of a webhook in which something waits, as (webhook, lane), for a worker that begins.

        What an earlier process was cut off in is made again at once, unless it has been tried before.
        """
        now = self._core.clock.now()
        await self._core.database.write(lambda tx: tx.run(sql.hook_cut_off, now=now))
        return [(no, lane) for no, lane in await self._core.database.all(sql.hook_lanes, slow=True)]

    async def lanes_of(self, webhook_no: int) -> list[int]:
        """The lanes of one webhook in which something waits."""
        return [lane for (lane,) in await self._core.database.all(sql.hook_lanes_of, webhook_no=webhook_no)]

    async def claim(self, wanted: Sequence[tuple[int, int]]) -> list[Next]:
        """The next call of each of these lanes, its attempt on record; a pause when it is not due; None without any.

        The caller must not have a call of the same lane under way.
        """
        now = self._core.clock.now()
        return await self._core.database.write(lambda tx: [self._next(tx, no, lane, now) for no, lane in wanted])

    def _next(self, tx: Transaction, webhook_no: int, lane: int, now: int, hook: StoredWebhook | None = None) -> Next:
        hook = hook or webhooks.in_tx(tx, webhook_no)
        if hook is None or hook.status is HookStatus.DISABLED:
            return None
        if hook.account_status is AccountStatus.SUSPENDED:  # nothing of it leaves
            return HookPause(now + _SUSPENDED_FOR, whole=True)
        if hook.retry_at > now:
            return HookPause(hook.retry_at, whole=True)
        row = tx.one(sql.hook_next, webhook_no=webhook_no, lane=lane, now=now, patience=BLOCKS_FOR)
        if row is None or row[3] > now:
            later = tx.scalar(sql.hook_next_at, webhook_no=webhook_no, lane=lane)
            times = [at for at in (later, row[3] if row else None) if at is not None]
            return HookPause(min(times), blocked=row is not None) if times else None
        no, event_seq, attempts, _, created_at = row
        n = attempts + 1
        tx.run(sql.hook_attempt_begin, delivery_no=no, n=n, again_at=now + back_off(n))
        tx.run(
            sql.hook_attempt_insert,
            delivery_no=no,
            n=n,
            started_at=now,
            request_json=orjson.dumps({"url": hook.url}).decode(),
        )
        overlaps = hook.old_secret is not None and (hook.old_secret_until or 0) > now
        return HookCall(
            delivery_no=no,
            webhook_no=webhook_no,
            webhook_id=hook.id,
            lane=lane,
            attempt=n,
            created_at=created_at,
            event_seq=event_seq,
            url=hook.url,
            sealed=(hook.secret, hook.old_secret) if overlaps and hook.old_secret else (hook.secret,),
            failures=hook.failures,
        )

    async def request(self, call: HookCall) -> HookRequest:
        """What to post for a call, signed as of now."""
        event_id, body = await self._body(call.event_seq)
        secrets = [self._secrets.opened(call.webhook_id, each) for each in call.sealed]
        return HookRequest(call.url, request_headers(secrets, event_id, self._core.clock.now(), body), body)

    async def _body(self, event_seq: int) -> tuple[str, bytes]:
        now = self._core.clock.now()
        known = self._bodies.get(event_seq)
        if known is None or not known[2] <= now < known[2] + _FRESH:
            row = await self._core.database.one(sql.event_by_seq, event_seq=event_seq)
            assert row is not None
            event = events.event_of(row)
            known = event.id, orjson.dumps(await self._payloads.wire(event)), now
            self._bodies[event_seq] = known
            if len(self._bodies) > _BODIES:
                self._bodies.popitem(last=False)
        return known[0], known[1]

    async def record(
        self, call: HookCall, answer: HookAnswer, sent: HookRequest | None, *, more: bool
    ) -> tuple[Next, int]:
        """Put down what a call came to, and claim the next of its lane if there is to be `more` of it.

        The second value is how many failures in a row the webhook has now. `sent` is None for what could not be made.
        """
        result = _Result(call, answer, self._core.clock.now(), more)
        await self._results.put((result, sent))
        return result.next, result.failures

    def _record_all(self, tx: Transaction, results: Sequence[tuple[_Result, HookRequest | None]]) -> None:
        for result, sent in results:
            self._record(tx, result, sent)

    def _record(self, tx: Transaction, result: _Result, sent: HookRequest | None) -> None:
        call, answer, now = result.call, result.answer, result.now
        request = {"url": call.url}
        if sent is not None:
            request |= {"timestamp": sent.headers["webhook-timestamp"], "bytes": len(sent.body)}
        response = {"headers": dict(answer.headers), "body": answer.body, "took": answer.took}
        tx.run(
            sql.hook_attempt_end,
            no=call.delivery_no,
            attempt=call.attempt,
            now=now,
            new_status=answer.status,
            new_error=None if answer.is_success else answer.problem[:_MOST_ERROR],
            request=orjson.dumps(request).decode(),
            response=None if answer.status is None else orjson.dumps(response).decode(),
        )
        hook = webhooks.in_tx(tx, call.webhook_no)
        if hook is None:
            return
        if answer.is_success:
            self._worked(tx, hook, call, now)
        else:
            result.failures = hook.failures + 1
            self._failed(tx, hook, result)
        if result.more:
            result.next = self._next(tx, call.webhook_no, call.lane, now)

    def _worked(self, tx: Transaction, hook: StoredWebhook, call: HookCall, now: int) -> None:
        tx.run(sql.hook_finish, delivery_no=call.delivery_no, new_state=HookState.DELIVERED, now=now)
        tx.run(sql.webhook_worked, webhook_no=hook.no, now=now)
        if hook.failures >= CIRCUIT_AFTER:
            tx.run(sql.hook_all_due, webhook_no=hook.no, now=now)
            tx.announce(HookChanged(hook.no))

    def _failed(self, tx: Transaction, hook: StoredWebhook, result: _Result) -> None:
        call, answer, now = result.call, result.answer, result.now
        policy = self._core.policy
        problem = answer.problem[:_MOST_ERROR]
        pause = pause_after(result.failures, answer.retry_after)
        tx.run(sql.webhook_failed, webhook_no=hook.no, now=now, retry_at=now + pause if pause else 0, error=problem)
        deadline = call.created_at + policy.hook_retry_for
        given_up = now >= deadline
        if given_up or answer.is_gone:
            tx.run(sql.hook_finish, delivery_no=call.delivery_no, new_state=HookState.FAILED, now=now)
        else:
            wait = max(back_off(call.attempt), min(answer.retry_after or 0, LONGEST_RETRY_AFTER))
            tx.run(sql.hook_postpone, delivery_no=call.delivery_no, again_at=min(now + wait, deadline))
        if hook.status is HookStatus.DISABLED:
            return
        why: str | None = None
        if answer.is_gone:
            why = "the receiver answered 410 Gone"
        elif given_up and (hook.last_delivered_at or 0) < call.created_at:
            hours = policy.hook_retry_for // HOUR
            why = f"nothing got through for {hours} hours; at last it {problem}"
        if why is not None:
            tx.run(sql.webhook_disable, webhook_no=hook.no, now=now, why=why)
        elif hook.status is HookStatus.ACTIVE and result.failures >= policy.hook_unhealthy_after:
            tx.run(sql.webhook_unhealthy, webhook_no=hook.no)
        else:
            return
        payload = {
            "webhook_id": hook.id,
            "status": str(HookStatus.UNHEALTHY if why is None else HookStatus.DISABLED),
            "failure_count": result.failures,
            "reason": why or problem,
        }
        events.record(
            tx,
            "webhook.unhealthy",
            account_no=hook.account_no,
            inbox_no=hook.inbox_no,
            now=now,
            payload=payload,
            except_hook=hook.no,
        )

    async def tidy(self) -> bool:
        """Drop what waits for webhooks that are deleted, give up what waited too long for disabled ones, and prune the
        log; whether everything was done."""
        database, policy, now = self._core.database, self._core.policy, self._core.clock.now()
        left = _MOST_WRITES
        for no, deleted_at in await database.all(sql.hooks_idle, slow=True):
            state = HookState.FAILED if deleted_at is None else HookState.DROPPED
            before = now - policy.hook_retry_for if deleted_at is None else now + 1

            def give_up(tx: Transaction, no: int = no, state: HookState = state, before: int = before) -> int:
                return tx.run(
                    sql.hook_give_up,
                    webhook_no=no, new_state=state, now=now, before=before, limit=_MOST_PER_WRITE,
                )  # fmt: skip

            done = _MOST_PER_WRITE
            while done == _MOST_PER_WRITE and left:
                done, left = await database.write(give_up), left - 1

        def prune(tx: Transaction) -> int:
            before = now - policy.hook_log_kept
            tx.run(sql.hook_attempts_prune, before=before, limit=_MOST_PER_WRITE)
            done = tx.run(sql.hook_deliveries_prune, before=before, limit=_MOST_PER_WRITE)
            tx.run(sql.webhooks_prune, before=before)
            return done

        done = _MOST_PER_WRITE
        while done == _MOST_PER_WRITE and left:
            done, left = await database.write(prune), left - 1
        return bool(left)


def request_headers(secrets: Sequence[str], event_id: str, now: int, body: bytes) -> dict[str, str]:
    """All headers of a POST; `now` is the time that it is signed with."""
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        **signature_headers(secrets, event_id, now // SECOND, body),
    }
