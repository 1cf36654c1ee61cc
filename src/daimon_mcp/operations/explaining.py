"""Why mail is where it is: everything on record of one message, in order, with each reply in plain words."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.clock import iso, iso_or_none
from daimon_mcp.domain.queue import SANDBOX, DeliveryState, MessageStatus, reply_line
from daimon_mcp.domain.refusals import Fact, invalid
from daimon_mcp.mail.parse import parse_headers
from daimon_mcp.operations import access
from daimon_mcp.operations.approving import asked_about
from daimon_mcp.operations.bouncing import complained
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.requests import Id, Request
from daimon_mcp.operations.timeline import (
    Attempted,
    CameBack,
    attempt_entry,
    attempted,
    before_leaving,
    local_entry,
    report_entry,
    standing,
)
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import drafts, queue
from daimon_mcp.store.messages import StoredMessage
from daimon_mcp.store.queue import StoredDelivery, StoredQueue
from daimon_mcp.texts import Texts, render

MOST_ATTEMPTS = 50
MOST_REPORTS = 20
_READ_REPORTS = 100  # of the thread, to find those about this message
_HEADER = 256 * 1024
_MOST_HOPS = 10
_HOP = 500  # characters of one Received field


_LOOKS = 5


class ExplainDelivery(Request):
    message_id: Annotated[Id, Field(description="msg_ id")]
    recipient: Annotated[
        str | None, Field(max_length=320, description="Only the attempts for this address, if there are many")
    ] = None


class Explaining:
    """The verb that explains."""

    def __init__(self, core: Core, texts: Texts) -> None:
        self._core = core
        self._texts = texts

    async def explain_delivery(self, actor: Actor, request: ExplainDelivery) -> Outcome:
        """What became of a message and why, or how it came. At most 50 attempts, the newest, and 20 reports.

        Raises MESSAGE_NOT_FOUND, INVALID_REQUEST for a recipient that the message does not have.
        """
        actor.require("message_read")
        message = await access.message(self._core, actor, request.message_id)
        if message.direction == "inbound":
            return await self._arrival(message)
        return await self._departure(message, request.recipient)

    # -- mail that goes out --------------------------------------------------------------------------------------------

    async def _departure(self, message: StoredMessage, only: str | None) -> Outcome:
        core = self._core
        queued = await queue.by_message(core.database, message.seq)
        deliveries = await queue.deliveries(core.database, queued.no) if queued is not None else []
        chosen = _chosen(deliveries, only)
        tries = await self._attempts(queued, chosen)
        for _ in range(_LOOKS):  # an attempt that ends between the two readings would be told half
            before = deliveries
            deliveries = await queue.deliveries(core.database, queued.no) if queued is not None else []
            if deliveries == before:
                break
            chosen = _chosen(deliveries, only)
            tries = await self._attempts(queued, chosen)
        reports = await self._reports(message)
        addresses = [each.recipient for each in deliveries]
        places = {each.no: place for place, each in enumerate(deliveries, start=1)}
        latest: dict[int, Attempted] = {}
        for tried in tries:  # newest first
            latest.setdefault(tried.delivery_no, tried)
        unwanted = {address for each in reports if each.bounce.get("complaint") for address in _told(each, addresses)}
        queued_now = {each.no for each in deliveries if each.state == DeliveryState.QUEUED}
        timeline = before_leaving(message, queued, await self._drafted_at(message))
        timeline += [entry for each in deliveries if (entry := local_entry(each, places[each.no])) is not None]
        for tried in reversed(tries):
            running = tried.delivery_no in queued_now and latest[tried.delivery_no] is tried
            timeline.append(attempt_entry(tried, places[tried.delivery_no], running=running))
        if queued is not None and queued.warned_at is not None:
            timeline.append({"at": iso(queued.warned_at), "what": "delay_warning"})
        timeline += [report_entry(each, addresses) for each in reports]
        timeline.sort(key=lambda entry: entry["at"])
        views = [
            self._delivery(each, message, queued, latest.get(each.no), unwanted=each.recipient in unwanted)
            for each in deliveries
            if queued is not None
        ]
        made = sum(each.attempts for each in ([chosen] if chosen is not None else deliveries))
        result: dict[str, Any] = {
            "id": message.id,
            "thread_id": message.thread_id,
            "direction": message.direction,
            "delivery_status": message.status,
            "deliveries": views,
            "meanings": self._meanings(
                [each["meaning"] for each in views],
                [entry["meaning"] for entry in timeline if entry.get("meaning")],
            ),
            "timeline": timeline,
            "attempts_total": made,
            "attempts_left_out": made - len(tries),
        }
        if (asked := await asked_about(core, message)) is not None:
            result["approval"] = asked
        return Outcome(key="explain_delivery", result=result, facts=_facts(message, result, reports))

    def _delivery(
        self,
        delivery: StoredDelivery,
        message: StoredMessage,
        queued: StoredQueue,
        latest: Attempted | None,
        *,
        unwanted: bool,
    ) -> dict[str, Any]:
        """How one recipient's mail stands, and whether it is tried again. What it means is said once for all."""
        view: dict[str, Any] = {
            "id": delivery.id,
            "recipient": delivery.recipient,
            "status": delivery.state,
            "route": delivery.transport,
            "attempts": delivery.attempts,
            "meaning": str(standing(delivery, message, queued, latest, unwanted=unwanted)),
        }
        if again := self._retries(delivery, queued):
            view["again"] = again
        if reply := reply_line(delivery.last_code, delivery.last_enhanced, delivery.last_text):
            view["last_reply"] = reply
        if delivery.remote:
            view["remote"] = delivery.remote
        if delivery.state == DeliveryState.QUEUED:
            view["next_attempt_at"] = iso_or_none(delivery.next_attempt_at)
            view["give_up_at"] = iso(queued.expires_at)
        if delivery.finished_at is not None:
            view["finished_at"] = iso(delivery.finished_at)
        return view

    def _meanings(self, now: list[str], before: list[str]) -> dict[str, Any]:
        """What each case means in plain words; for those that are so `now`, what to do as well."""
        said: dict[str, Any] = {}
        for meaning in dict.fromkeys([*now, *before]):
            text = self._texts.text("delivery", meaning)
            again = text.prose("again") if meaning in now else ""
            said[meaning] = {"explanation": f"{text.prose('meaning')} {again}".strip()}
            if meaning in now:
                said[meaning] |= {
                    "what_to_do": list(text.bullets("agent")),
                    "for_operator": list(text.bullets("operator")),
                }
        return said

    def _retries(self, delivery: StoredDelivery, queued: StoredQueue) -> str:
        """Whether it is tried again by itself, and when."""
        texts = self._texts.text("delivery", "retries")
        if delivery.state == DeliveryState.QUEUED and delivery.attempts:
            times = {
                "next_attempt_at": iso_or_none(delivery.next_attempt_at),
                "give_up_at": iso(queued.expires_at),
            }
            return render(texts.prose("queued"), times, str)
        if delivery.state == DeliveryState.FAILED:
            return texts.prose("given_up")
        return texts.prose("final") if delivery.state == DeliveryState.BOUNCED else ""

    async def _attempts(self, queued: StoredQueue | None, only: StoredDelivery | None) -> list[Attempted]:
        """The newest tries, newest first."""
        if queued is None:
            return []
        rows = await self._core.database.all(
            sql.attempts_of_queue,
            queue_no=queued.no,
            only_delivery=only.no if only is not None else 0,
            limit=MOST_ATTEMPTS,
        )
        return [attempted(row) for row in rows]

    async def _reports(self, message: StoredMessage) -> list[CameBack]:
        """Reports and complaints about this message, newest first. They stand in its thread."""
        rows = await self._core.database.all(
            sql.reports_of_thread, thread_seq=message.thread_seq, after=message.seq, limit=_READ_REPORTS
        )
        found: list[CameBack] = []
        for public_id, _, received_at, reading in rows:
            bounce: dict[str, Any] | None = json.loads(reading).get("bounce")
            if bounce is not None and message.message_id == bounce["original_message_id"]:
                found.append(CameBack(public_id, received_at, bounce))
        return found[:MOST_REPORTS]

    async def _drafted_at(self, message: StoredMessage) -> int | None:
        draft = await drafts.by_id(self._core.database, message.draft_id) if message.draft_id else None
        return None if draft is None else draft.created_at

    # -- mail that came ------------------------------------------------------------------------------------------------

    async def _arrival(self, message: StoredMessage) -> Outcome:
        """How a message came, what is known of its sender, and why it was held if it was."""
        core = self._core
        row = await core.database.one(sql.body_by_seq, seq=message.seq)
        assert row is not None
        raw = await core.blobs.get(core.database, message.blob_hash)
        hops = [value for name, value in parse_headers(raw[:_HEADER]) if name.lower() == "received"]
        authentication: dict[str, Any] = json.loads(row[5])
        timeline: list[dict[str, Any]] = [{"at": iso(message.received_at), "what": "received"}]
        if "verdict" in authentication:
            verdict = authentication["verdict"]
            timeline.append({"at": iso(message.received_at), "what": "authenticated", "verdict": verdict})
        result: dict[str, Any] = {
            "id": message.id,
            "thread_id": message.thread_id,
            "direction": message.direction,
            "kind": message.kind,
            "mailbox": message.mailbox.lower(),
            "from_address": message.from_["email"],
            "came": "from_another_server" if hops else "from_this_server",
            "hops": len(hops),
            "trace": [value[:_HOP] for value in hops[:_MOST_HOPS]],
            "authentication": authentication,
            "timeline": timeline,
        }
        if message.hold_reason:
            held = self._texts.text("delivery", f"held.{message.hold_reason}")
            result |= {
                "hold_reason": message.hold_reason,
                "explanation": held.prose("meaning"),
                "what_to_do": list(held.bullets("agent")),
                "for_operator": list(held.bullets("operator")),
            }
            timeline.append({"at": iso(message.received_at), "what": "held", "why": message.hold_reason})
        facts: dict[str, Fact] = {"message": message.id, "thread": message.thread_id, "held": message.hold_reason}
        return Outcome(key="explain_delivery.received", result=result, facts=facts)


def _chosen(deliveries: list[StoredDelivery], only: str | None) -> StoredDelivery | None:
    """The recipient asked about. Raises INVALID_REQUEST when there is none of that address."""
    if only is None:
        return None
    wanted = only.strip().lower()
    found = next((each for each in deliveries if each.recipient.lower() == wanted), None)
    if found is None:
        raise invalid("recipient", "is none of this message's recipients; leave it out to see them")
    return found


def _told(report: CameBack, recipients: list[str]) -> list[str]:
    return complained(dict(report.bounce), recipients)


def _facts(message: StoredMessage, result: dict[str, Any], reports: list[CameBack]) -> dict[str, Fact]:
    """What the words after it depend on."""
    due = [each["next_attempt_at"] for each in result["deliveries"] if each.get("next_attempt_at")]
    return {
        "message": message.id,
        "thread": message.thread_id,
        "status": message.status,
        "recipients": len(result["deliveries"]),
        "next_at": min(due) if due else None,
        "report": reports[0].id if reports else None,
        "upgrade": "yes" if message.status == MessageStatus.PENDING_UPGRADE else None,
        "scheduled": "yes" if message.status == MessageStatus.SCHEDULED else None,
        "approval": asked["id"] if (asked := result.get("approval")) and asked["status"] == "pending" else None,
        "rejected": "yes" if message.status == MessageStatus.REJECTED else None,
        "left_out": result["attempts_left_out"] or None,
        "sandbox": "yes" if any(each.get("remote") == SANDBOX for each in result["deliveries"]) else None,
    }
