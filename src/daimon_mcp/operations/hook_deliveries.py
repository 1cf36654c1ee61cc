"""The log of what webhooks were sent, and sending it again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import HookChanged
from daimon_mcp.domain.events import iso_ms, tells_of_mail, unpacked_names
from daimon_mcp.domain.ids import canonical_id
from daimon_mcp.domain.refusals import RefusalCode, Refused, invalid
from daimon_mcp.domain.webhooks import REPLAYS, HookState, HookStatus
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.event_payloads import EventPayloads
from daimon_mcp.operations.requests import Id, Moment, Request
from daimon_mcp.operations.telling import USER_AGENT
from daimon_mcp.operations.views import Of, cursor, read_cursor
from daimon_mcp.operations.webhooks import Webhooks
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import events
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import LAST_SEQ
from daimon_mcp.store.webhooks import StoredHookAttempt, StoredHookDelivery, attempt_of, delivery_of

MOST_REPLAYED = 10_000  # events at once


class ListWebhookDeliveries(Request):
    webhook_id: Annotated[Id, Field(description="wh_ id")]
    status: Annotated[
        Literal["waiting", "delivered", "failed", "dropped"] | None, Field(description="Left out, all")
    ] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: str | None = None


class GetWebhookDelivery(Request):
    webhook_id: Annotated[Id, Field(description="wh_ id")]
    delivery_id: Annotated[Id, Field(description="whd_ id")]


class ReplayWebhook(Request):
    webhook_id: Annotated[Id, Field(description="wh_ id")]
    delivery_id: Annotated[Id | None, Field(description="whd_ id, to send that event again, failed or not")] = None
    since: Annotated[Moment | None, Field(description="ISO 8601 with offset, to send again all that failed since")] = (
        None
    )


class HookDeliveries:
    """The verbs of the log."""

    def __init__(self, core: Core, webhooks: Webhooks, payloads: EventPayloads) -> None:
        self._core = core
        self._webhooks = webhooks
        self._payloads = payloads

    async def list_deliveries(self, actor: Actor, request: ListWebhookDeliveries) -> Outcome:
        """What a webhook was sent, newest first, each with its attempts. Raises WEBHOOK_NOT_FOUND."""
        actor.require("webhook_read")
        hook = await self._webhooks.own(actor, request.webhook_id)
        rows = await self._core.database.all(
            sql.hook_deliveries_page,
            webhook_no=hook.no,
            before=read_cursor(request.cursor, Of.HOOK_DELIVERIES) if request.cursor else LAST_SEQ,
            state=request.status or "",
            limit=request.limit + 1,
        )
        page = [delivery_of(row) for row in rows[: request.limit]]
        attempts: dict[int, list[StoredHookAttempt]] = {each.no: [] for each in page}
        if page:
            found = await self._core.database.all(
                sql.hook_attempts_between, webhook_no=hook.no, first=page[-1].no, last=page[0].no
            )
            for attempt in map(attempt_of, found):
                if attempt.delivery_no in attempts:
                    attempts[attempt.delivery_no].append(attempt)
        more = len(rows) > request.limit
        result = {
            "deliveries": [_view(each, attempts[each.no]) for each in page],
            "has_more": more,
            "next_cursor": cursor(Of.HOOK_DELIVERIES, page[-1].no) if more else None,
        }
        return Outcome(
            key="list_webhook_deliveries" + ("" if page else ".none"),
            result=result,
            facts={"shown": len(page), "webhook": hook.id},
        )

    async def get_delivery(self, actor: Actor, request: GetWebhookDelivery) -> Outcome:
        """One delivery with its attempts and the payload as it would be sent now.

        The payload is left out for who may not read mail it tells of. Raises WEBHOOK_NOT_FOUND,
        WEBHOOK_DELIVERY_NOT_FOUND.
        """
        actor.require("webhook_read")
        hook = await self._webhooks.own(actor, request.webhook_id)
        delivery = await self._delivery(hook.no, request.delivery_id)
        found = await self._core.database.all(
            sql.hook_attempts_between, webhook_no=hook.no, first=delivery.no, last=delivery.no
        )
        view = _view(delivery, [attempt_of(row) for row in found])
        view["payload"] = None
        if actor.holds("message_read") or not tells_of_mail([delivery.type]):
            row = await self._core.database.one(sql.event_by_seq, event_seq=delivery.event_seq)
            assert row is not None
            view["payload"] = await self._payloads.wire(events.event_of(row))
        return Outcome(
            key="get_webhook_delivery",
            result=view,
            facts={"webhook": hook.id, "delivery": delivery.id, "again": _again(delivery)},
        )

    async def _delivery(self, webhook_no: int, reference: str) -> StoredHookDelivery:
        row = await self._core.database.one(sql.hook_delivery_by_id, id=canonical_id(reference), webhook_no=webhook_no)
        if row is None:
            raise Refused(RefusalCode.WEBHOOK_DELIVERY_NOT_FOUND)
        return delivery_of(row)

    async def replay(self, actor: Actor, request: ReplayWebhook) -> Outcome:
        """Send one event again, or all that failed since a time, oldest first; at most 10,000 at once.

        Receivers know them by their event ids. Raises WEBHOOK_NOT_FOUND, WEBHOOK_DELIVERY_NOT_FOUND, INVALID_REQUEST.
        """
        actor.require("webhook_write")
        hook = await self._webhooks.own(actor, request.webhook_id)
        if (request.delivery_id is None) == (request.since is None):
            raise invalid("delivery_id", "or since is required, one of the two", '"whd_…"')
        if hook.status is HookStatus.DISABLED:
            raise invalid("webhook_id", "is of a disabled webhook; set its status to active first")
        wanted = None
        if request.delivery_id is not None:
            delivery = await self._delivery(hook.no, request.delivery_id)
            wanted = [delivery.event_seq]
            self._webhooks.check_grants(actor, [delivery.type])
        else:
            self._webhooks.check_grants(actor, unpacked_names(hook.events))
        now = self._core.clock.now()

        def run(tx: Transaction) -> int:
            again = wanted
            if again is None:
                rows = tx.all(sql.hook_failed_since, webhook_no=hook.no, since=request.since, limit=MOST_REPLAYED)
                again = [seq for (seq,) in rows]
            if again:
                events.queue_for(tx, [hook.no], again, lane=REPLAYS, now=now)
                tx.announce(HookChanged(hook.no))
            note(tx, actor, "replay_webhook", hook.id, now=now, events=len(again))
            return len(again)

        count = await self._core.database.write(run)
        return Outcome(
            key="replay_webhook" + ("" if count else ".none"),
            result={"webhook_id": hook.id, "replayed": count},
            facts={"count": count, "webhook": hook.id},
        )


def _again(delivery: StoredHookDelivery) -> str | None:
    return "yes" if delivery.state is HookState.FAILED else None


def _view(delivery: StoredHookDelivery, attempts: list[StoredHookAttempt]) -> dict[str, Any]:
    """A delivery on the wire. What a receiver answered is its own words: data."""
    waits = delivery.state is HookState.WAITING
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event": delivery.type,
        "status": str(delivery.state),
        "replay": delivery.lane == REPLAYS,
        "attempt_count": delivery.attempts,
        "created_at": iso_ms(delivery.created_at),
        "finished_at": iso_ms(delivery.finished_at) if delivery.finished_at is not None else None,
        "next_attempt_at": iso_ms(delivery.next_attempt_at) if waits and delivery.attempts else None,
        "attempts": [_attempt_view(each, delivery.event_id, is_last=each.n == delivery.attempts) for each in attempts],
    }


def _attempt_view(attempt: StoredHookAttempt, event_id: str, *, is_last: bool) -> dict[str, Any]:
    request, response = attempt.request, attempt.response
    headers = {"content-type": "application/json", "user-agent": USER_AGENT, "webhook-id": event_id}
    if "timestamp" in request:
        headers["webhook-timestamp"] = request["timestamp"]
    error = attempt.error
    if attempt.ended_at is None and not is_last:
        error = "the server stopped before it was answered"
    return {
        "n": attempt.n,
        "started_at": iso_ms(attempt.started_at),
        "ended_at": iso_ms(attempt.ended_at) if attempt.ended_at is not None else None,
        "duration_ms": response["took"] // 1000 if response else None,
        "status_code": attempt.status,
        "error": error,
        "request": {"method": "POST", "url": request["url"], "headers": headers, "size": request.get("bytes")},
        "response": {"headers": response["headers"], "body": response["body"]} if response else None,
    }
