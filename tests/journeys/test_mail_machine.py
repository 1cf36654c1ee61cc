"""Everything at once: any order of sending, receiving, drafting, scheduling, cancelling, deleting, and time passing.

After every step the store must be consistent, and what was counted, delivered and scheduled must be what a plain model
of it says.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.support.daimon import Daimon, running
from tests.support.post import arrive, clock_at

from daimon_mcp.domain.clock import SECOND, day_period, iso
from daimon_mcp.domain.refusals import Refused
from daimon_mcp.domain.tiers import Tier
from daimon_mcp.faces.mcp.tool import Call
from daimon_mcp.faces.mcp.tools import ALL
from daimon_mcp.operations.requests import read
from daimon_mcp.store.consistency import findings

T = TypeVar("T")
TOOLS = {tool.name: tool for tool in ALL}
NAMES = ("robo", "other", "third")
MOST = 12  # sends a day
SECTIONS: dict[str, Any] = {
    "limits": {"starter": {"sends_per_day": MOST, "sends_per_month": -1, "sends_per_minute": -1}}
}

who = st.sampled_from(NAMES)
several = st.lists(who, min_size=1, max_size=3, unique=True)
soon = st.none() | st.sampled_from([-60, 60, 600, 7200, 86_400])


class MailMachine(RuleBasedStateMachine):
    """The model: which messages left to whom, and which wait. `paid` is whether the account may send."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.server = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.clock = clock_at("2026-11-10T12:00:00Z")
        self.paid = False
        self.number = 0
        self.live: set[str] = set()
        self.received: dict[str, int] = dict.fromkeys(NAMES, 0)  # copies since the inbox was made
        self.counted: dict[str, int] = {}  # by day
        self.waiting: dict[str, tuple[str, list[str], int | None]] = {}  # message: sender, recipients, time; parked too
        self.parked: list[str] = []
        self.drafts: dict[str, str] = {}  # unsent, and of which inbox
        self.of_draft: dict[str, str] = {}  # a waiting message, by its draft

    @initialize()
    def begin(self) -> None:
        self.portal = self.stack.enter_context(start_blocking_portal(backend="asyncio"))
        self.start()
        for name in NAMES:
            self.do("create_inbox", username=name)
            self.live.add(name)

    def start(self) -> None:
        context = self.portal.wrap_async_context_manager(running(self.folder / "data", SECTIONS, clock=self.clock))
        self.daimon: Daimon = self.server.enter_context(context)

    def teardown(self) -> None:
        try:
            self.server.close()
        finally:
            self.stack.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, what: Callable[[], Awaitable[T]]) -> T:
        async def inside() -> T:
            return await what()

        return self.portal.call(inside)

    def do(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tool, or its refusal as `{"error", …}`; both as words too: no text may lack a fact."""

        async def inside() -> dict[str, Any]:
            actor = await self.daimon.actor()
            try:
                request = read(TOOLS[tool].request, arguments)
                call: Call[Any] = Call(self.daimon.operations, actor, request, None)
                outcome = await TOOLS[tool].run(call)
            except Refused as refused:
                return await self.daimon.refusal(refused)
            self.daimon.operations.guide.summary(outcome, self.daimon.dialect)
            return (await self.daimon.envelope(outcome))["result"]

        return self.portal.call(inside)

    # -- the model -------------------------------------------------------------------------------------------------

    def day(self, seconds: int | None) -> str:
        return day_period(self.clock.now() + max(0, seconds or 0) * SECOND)

    def fits(self, day: str, count: int) -> bool:
        return self.counted.get(day, 0) + count <= MOST

    def leave(self, recipients: list[str]) -> str:
        """Deliver in the model; the status of the message."""
        for name in recipients:
            if name in self.live:
                self.received[name] += 1
        return "delivered" if all(name in self.live for name in recipients) else "bounced"

    def count(self, day: str, by: int) -> None:
        self.counted[day] = self.counted.get(day, 0) + by

    def taken_back(self, message_id: str) -> None:
        _, recipients, at = self.waiting.pop(message_id)
        if message_id in self.parked:
            self.parked.remove(message_id)
        else:
            assert at is not None
            self.count(day_period(at), -len(recipients))

    def expect(
        self, sender: str, recipients: list[str], seconds: int | None, park: bool
    ) -> tuple[str, Callable[[str], None]]:
        """What a send must come to, and what to note with the message's id when it has."""
        day = self.day(seconds)
        later = seconds is not None and seconds > 0
        at = self.clock.now() + seconds * SECOND if seconds is not None and later else None
        refusal = None if self.paid and self.fits(day, len(recipients)) else (
            "SEND_LIMIT_EXCEEDED" if self.paid else "SEND_REQUIRES_PAID"
        )  # fmt: skip
        if refusal is not None and not park:
            return refusal, lambda _: None
        if any(name not in self.live for name in recipients):
            return "RECIPIENT_REFUSED", lambda _: None

        def note(message_id: str) -> None:
            if refusal is not None:
                self.waiting[message_id] = (sender, recipients, at)
                self.parked.append(message_id)
            elif later:
                self.waiting[message_id] = (sender, recipients, at)
                self.count(day, len(recipients))
            else:
                self.count(day, len(recipients))
                self.leave(recipients)

        return "pending_upgrade" if refusal else "scheduled" if later else "delivered", note

    @staticmethod
    def addresses(names: list[str]) -> list[str]:
        return [f"{name}@agents.localhost" for name in names]

    def time(self, seconds: int | None) -> dict[str, str]:
        return {} if seconds is None else {"send_at": iso(self.clock.now() + seconds * SECOND)}

    # -- what happens ------------------------------------------------------------------------------------------------

    @rule(sender=who, recipients=several, seconds=soon, park=st.booleans())
    def send(self, sender: str, recipients: list[str], seconds: int | None, park: bool) -> None:
        self.number += 1
        arguments = {
            "inbox": f"{sender}@agents.localhost", "to": self.addresses(recipients), "subject": f"Note {self.number}",
            "body": "x", "park": park, "client_id": f"c{self.number}", **self.time(seconds),
        }  # fmt: skip
        result = self.do("send_email", **arguments)
        if sender not in self.live:
            assert result["error"] == "INBOX_NOT_FOUND"
            return
        expected, note = self.expect(sender, recipients, seconds, park)
        assert result.get("error", result.get("status")) == expected
        if "error" not in result:
            note(result["id"])
            again = self.do("send_email", **arguments)
            assert (again["id"], again["status"]) == (result["id"], expected)

    @rule(inboxes=several)
    def receive(self, inboxes: list[str]) -> None:
        here = [name for name in inboxes if name in self.live]
        if here:
            self.run(lambda: arrive(self.daimon, *self.addresses(here), subject=f"Letter {self.number}"))
        for name in here:
            self.received[name] += 1

    @rule(name=who, everyone=st.booleans())
    def answer(self, name: str, everyone: bool) -> None:
        found = self.do("wait_for_message", inbox=f"{name}@agents.localhost", timeout_seconds=0)
        if name not in self.live:
            assert found["error"] == "INBOX_NOT_FOUND"
            return
        message = found["message"]
        if message is None or not message["from_address"].endswith("@agents.localhost"):
            return
        sender = message["from_address"].partition("@")[0]
        if sender == "mailer-daemon" or sender == name:
            return
        recipients = [sender]
        if everyone:
            to = [each.partition("@")[0] for each in message["to_addresses"]]
            recipients += [each for each in to if each not in (name, sender)]
        expected, note = self.expect(name, recipients, None, False)
        result = self.do("reply_to_message", message_id=message["id"], body=f"Re {self.number}", reply_all=everyone)
        assert result.get("error", result.get("status")) == expected
        if "error" not in result:
            note(result["id"])
            assert result["thread_id"] == message["thread_id"]

    @rule(sender=who, recipients=several, seconds=soon)
    def draft(self, sender: str, recipients: list[str], seconds: int | None) -> None:
        self.number += 1
        result = self.do(
            "create_draft", inbox=f"{sender}@agents.localhost", to=self.addresses(recipients), body="x",
            subject=f"Draft {self.number}", **self.time(seconds),
        )  # fmt: skip
        if sender not in self.live:
            assert result["error"] == "INBOX_NOT_FOUND"
            return
        if seconds is None:
            assert result["status"] == "draft"
            self.drafts[result["id"]] = sender
            return
        self.settled(result, sender, recipients, seconds)

    def settled(self, result: dict[str, Any], sender: str, recipients: list[str], seconds: int | None) -> None:
        """A draft that was given a time, or sent: as a send that may be parked."""
        expected, note = self.expect(sender, recipients, seconds, True)
        if expected == "RECIPIENT_REFUSED":
            assert result["error"] == expected
            return
        assert result["status"] == {"delivered": "sent"}.get(expected, expected)
        note(result["message_id"])
        if result["status"] == "sent":
            self.drafts.pop(result["id"], None)
        else:
            self.drafts[result["id"]] = sender
            self.of_draft[result["id"]] = result["message_id"]

    @precondition(lambda self: self.drafts)
    @rule(data=st.data(), recipients=several, seconds=soon)
    def change(self, data: st.DataObject, recipients: list[str], seconds: int | None) -> None:
        draft_id = data.draw(st.sampled_from(list(self.drafts)))
        sender = self.drafts[draft_id]
        at = self.time(seconds) or {"send_at": None}
        saved = (dict(self.counted), dict(self.waiting), list(self.parked))
        if draft_id in self.of_draft:
            self.taken_back(self.of_draft[draft_id])
        result = self.do("update_draft", draft_id=draft_id, to=self.addresses(recipients), **at)
        if "error" in result:  # nothing of it holds
            self.counted, self.waiting, self.parked = saved
            assert result["error"] == "RECIPIENT_REFUSED"
            assert seconds is not None
            assert any(name not in self.live for name in recipients)
            return
        self.of_draft.pop(draft_id, None)
        if seconds is None:
            assert (result["status"], result["send_at"]) == ("draft", None)
        else:
            self.settled(result, sender, recipients, seconds)

    @precondition(lambda self: self.drafts)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        draft_id = data.draw(st.sampled_from(list(self.drafts)))
        assert self.do("delete_draft", draft_id=draft_id)["deleted"]
        del self.drafts[draft_id]
        if draft_id in self.of_draft:
            self.taken_back(self.of_draft.pop(draft_id))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(list(self.waiting)))
        assert self.do("cancel_scheduled", message_id=message_id)["status"] == "cancelled"
        assert self.do("cancel_scheduled", message_id=message_id)["error"] == "SCHEDULED_NOT_FOUND"
        self.taken_back(message_id)
        self.of_draft = {draft: each for draft, each in self.of_draft.items() if each != message_id}

    @rule(seconds=st.sampled_from([30, 600, 3600, 86_400]))
    def later(self, seconds: int) -> None:
        self.clock.move(seconds)
        self.run(self.daimon.operations.releasing.release_due)
        now = self.clock.now()
        due = [(at, each) for each, (_, _, at) in self.waiting.items() if at is not None and at <= now]
        for _, message_id in sorted(due):
            if message_id not in self.parked:
                self.left(message_id)
        self.released_where_possible()

    def left(self, message_id: str) -> None:
        """A waiting message has gone, by the model."""
        sender, recipients, _ = self.waiting.pop(message_id)
        if self.leave(recipients) == "bounced" and sender in self.live:
            self.received[sender] += 1  # the report
        self.of_draft = {draft: each for draft, each in self.of_draft.items() if each != message_id}
        self.drafts = {draft: name for draft, name in self.drafts.items() if not self.is_sent(draft)}

    def is_sent(self, draft_id: str) -> bool:
        return self.do("get_draft", draft_id=draft_id).get("error") == "DRAFT_ALREADY_SENT"

    def released_where_possible(self) -> None:
        """What the operator's approval, or a new day, lets out: in order, until one does not fit."""

        async def release() -> None:
            actor = await self.daimon.actor()
            await self.daimon.operations.releasing.release_parked(actor.account_no)

        self.run(release)
        now = self.clock.now()
        while self.parked and self.paid:
            message_id = self.parked[0]
            _, recipients, at = self.waiting[message_id]
            day = day_period(max(now, at or now))
            if not self.fits(day, len(recipients)):
                break
            self.parked.pop(0)
            self.count(day, len(recipients))
            if at is None or at <= now:
                self.left(message_id)

    @rule()
    def approve(self) -> None:
        self.run(lambda: self.daimon.upgrade(Tier.STARTER))
        self.paid = True
        self.released_where_possible()

    @precondition(lambda self: len(self.live) > 1)
    @rule(name=who)
    def delete_inbox(self, name: str) -> None:
        result = self.do("delete_inbox", inbox=f"{name}@agents.localhost")
        if name not in self.live:
            assert result["error"] == "INBOX_NOT_FOUND"
            return
        self.live.discard(name)
        for message_id in [each for each, (sender, _, _) in self.waiting.items() if sender == name]:
            self.taken_back(message_id)
        self.drafts = {draft: sender for draft, sender in self.drafts.items() if sender != name}
        self.of_draft = {draft: each for draft, each in self.of_draft.items() if draft in self.drafts}

    @rule()
    def restart(self) -> None:
        self.server.close()
        self.start()

    # -- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def the_store_is_consistent(self) -> None:
        if not hasattr(self, "daimon"):
            return
        database = self.daimon.operations.core.database
        assert self.run(lambda: findings(database)) == []

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        if not hasattr(self, "daimon"):
            return
        assert self.do("get_account")["sends_today"] == self.counted.get(day_period(self.clock.now()), 0)
        for name in self.live:
            inbox = f"{name}@agents.localhost"
            scheduled = self.do("list_messages", inbox=inbox, label="scheduled", limit=100)["messages"]
            assert {each["id"] for each in scheduled} == {
                each for each, (sender, _, _) in self.waiting.items() if sender == name
            }
            received = self.do("list_messages", inbox=inbox, direction="inbound", limit=100)["messages"]
            assert len(received) == self.received[name]
            drafts = self.do("list_drafts", inbox=inbox, limit=100)["drafts"]
            assert {each["id"] for each in drafts} == {each for each, sender in self.drafts.items() if sender == name}


class LongMailMachine(MailMachine):
    """The same, for long."""


SHORT = settings(max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MailMachine.TestCase.settings = SHORT
LongMailMachine.TestCase.settings = settings(SHORT, max_examples=300, stateful_step_count=50)

TestMailMachine = MailMachine.TestCase
TestLongMailMachine = pytest.mark.long(LongMailMachine.TestCase)
