"""The operator's hands on the outbound queue: look, hold, release, retry now, cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daimon_mcp.domain.changes import MessageChanged, QueueChanged
from daimon_mcp.domain.clock import iso, iso_or_none
from daimon_mcp.domain.events import event_of_status
from daimon_mcp.domain.queue import DeliveryState
from daimon_mcp.operations.auditing import note_operator
from daimon_mcp.operations.core import Core
from daimon_mcp.operations.settling import settle_status
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import events, messages, queue
from daimon_mcp.store.database import Row, Transaction

PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which deliveries: one by its `dlv_` id, those of a message, of a recipients' domain, in a state; "" is any."""

    id: str = ""
    message_id: str = ""
    domain: str = ""
    state: str = ""


class Queueing:
    """What the command line and the console do with deliveries that have not left."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list_queue(self, selection: Selection, *, limit: int = 100, after: int = 0) -> list[dict[str, Any]]:
        """Deliveries that wait or are held, oldest first. The last reply is the remote server's own words."""
        return [_shown(row) for row in await self._rows(selection, limit=limit, after=after)]

    async def hold(self, selection: Selection) -> int:
        """Keep deliveries from being tried until they are released; how many. Those being tried now stay queued."""
        return await self._move(selection, DeliveryState.QUEUED, DeliveryState.HELD, "hold_deliveries")

    async def release(self, selection: Selection) -> int:
        """Let held deliveries go, at once; how many."""
        return await self._move(selection, DeliveryState.HELD, DeliveryState.QUEUED, "release_deliveries")

    async def retry(self, selection: Selection) -> int:
        """Try waiting deliveries now and not when their time has come; how many."""
        return await self._move(selection, DeliveryState.QUEUED, DeliveryState.QUEUED, "retry_deliveries")

    async def cancel(self, selection: Selection) -> int:
        """Take deliveries out of the queue for good: nothing is sent, and their messages say so; how many."""
        verb = "cancel_deliveries"
        waiting = await self._move(selection, DeliveryState.QUEUED, DeliveryState.CANCELLED, verb)
        return waiting + await self._move(selection, DeliveryState.HELD, DeliveryState.CANCELLED, verb)

    async def _rows(self, selection: Selection, *, limit: int, after: int) -> list[Row]:
        if selection.id:
            row = await self._core.database.one(sql.delivery_listed, id=selection.id)
            return [] if row is None or after else [row]
        return await self._core.database.all(
            sql.deliveries_listed,
            after=after,
            domain=selection.domain.lower(),
            message_id=selection.message_id,
            state=selection.state,
            limit=limit,
        )

    async def _move(self, selection: Selection, from_state: DeliveryState, new_state: DeliveryState, verb: str) -> int:
        target = selection.id or selection.message_id or None
        moved = after = 0
        while rows := await self._rows(selection, limit=PAGE, after=after):
            numbers = [row[0] for row in rows if row[3] == from_state]
            moved += await self._core.database.write(
                lambda tx, numbers=numbers: self._move_some(tx, numbers, from_state, new_state, verb, target)
            )
            after = rows[-1][0]
        return moved

    def _move_some(
        self,
        tx: Transaction,
        numbers: list[int],
        from_state: DeliveryState,
        new_state: DeliveryState,
        verb: str,
        target: str | None,
    ) -> int:
        now = self._core.clock.now()
        touched: dict[int, int] = {}
        for number in numbers:
            row = tx.one(
                sql.delivery_set_state,
                delivery_no=number,
                from_state=from_state,
                new_state=new_state,
                again_at=now,
                new_finished_at=now if new_state is DeliveryState.CANCELLED else None,
                now=now,
            )
            if row is not None:
                touched[row[0]] = touched.get(row[0], 0) + 1
        for queue_no in touched:
            self._settle(tx, queue_no, now)
        if touched:
            note_operator(tx, verb, target, by="cli", now=now, deliveries=sum(touched.values()))
        if touched and new_state is DeliveryState.QUEUED:
            tx.announce(QueueChanged(retry=True))
        return sum(touched.values())

    @staticmethod
    def _settle(tx: Transaction, queue_no: int, now: int) -> None:
        row = tx.one(sql.queue_by_no, queue_no=queue_no)
        assert row is not None
        queued = queue.queue_of(row)
        message = messages.in_tx(tx, queued.message_seq)
        status = settle_status(tx, message, queue_no, now)
        told = event_of_status(status)
        if str(status) != message.status and told is not None:
            payload = {
                "inbox_id": message.inbox_id,
                "message_id": message.id,
                "thread_id": message.thread_id,
                "status": str(status),
            }
            events.record(
                tx,
                told,
                account_no=queued.account_no,
                inbox_no=queued.inbox_no,
                now=now,
                payload=payload,
            )
        tx.announce(
            MessageChanged(queued.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id)
        )


def _shown(row: Row) -> dict[str, Any]:
    (no, id_, recipient, state, attempts, next_at, code, enhanced, text, remote, created_at, expires_at, mail_from,
     message_id, subject, account_id) = row  # fmt: skip
    reply = " ".join(str(each) for each in (code, enhanced, text) if each)
    return {
        "no": no,
        "id": id_,
        "message_id": message_id,
        "account": account_id,
        "from": mail_from,
        "to": recipient,
        "subject": subject,
        "state": state,
        "attempts": attempts,
        "next_attempt_at": iso_or_none(next_at if state == DeliveryState.QUEUED else None),
        "queued_at": iso(created_at),
        "given_up_at": iso(expires_at),
        "last_reply": reply or None,
        "remote": remote,
    }
