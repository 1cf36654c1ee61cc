"""The relay worker and its destinations: each at its own pace, none in the way of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import pytest
from tests.support.sink import Sink
from tests.workers.test_relay_worker import MemoryQueue, host_for, working

from daimon_mcp.domain.changes import QueueChanged
from daimon_mcp.domain.clock import MINUTE
from daimon_mcp.domain.queue import Attempt, ClaimedDelivery, Handover
from daimon_mcp.workers import relay
from daimon_mcp.workers.smtp_transaction import OnContent
from daimon_mcp.workers.transports import SmartHost

_STOPPED = "the server was stopped during the attempt"


class Domains:
    """A host for each domain, as mail goes where no relay takes it all."""

    def __init__(self, **sinks: Sink) -> None:
        self._hosts: dict[str, SmartHost] = {f"{name}.example": host_for(sink) for name, sink in sinks.items()}
        self.only = None

    def destination(self, recipient: str) -> str:
        """The domain."""
        return recipient.rpartition("@")[2]

    async def relay(
        self, destination: str, handover: Handover, *, on_content: OnContent | None = None
    ) -> dict[str, Attempt]:
        """By that domain's host."""
        return await self._hosts[destination].relay(destination, handover, on_content=on_content)

    async def close(self) -> None:
        """All of them."""
        for host in self._hosts.values():
            await host.close()


def put(queue: MemoryQueue, domain: str, count: int) -> None:
    for number in range(count):
        queue.put(f"{domain}{number}", f"ann@{domain}.example")


def outcomes_of(queue: MemoryQueue, domain: str) -> list[str]:
    found = [results for name, results in queue.outcomes() if name.startswith(f"msg_{domain}")]
    return [outcome for results in found for outcome in results.values()]


async def test_it_begins_with_little_and_grows_while_mail_is_taken() -> None:
    async with Sink() as sink:
        gate = sink.hold("content", times=2)
        async with working(Domains(a=sink), first=2) as running:
            put(running.queue, "a", 30)
            running.bus.ring([QueueChanged()])
            await gate.reached()
            await anyio.wait_all_tasks_blocked()
            assert sink.connections == 2
            gate.open()
            await running.queue.until_recorded(30)
        assert outcomes_of(running.queue, "a") == ["accepted"] * 30
        assert sink.connections > 2
        assert sink.most_at_once <= 5


async def test_a_slow_destination_is_in_nobodys_way() -> None:
    async with Sink() as slow, Sink() as fast:
        gate = slow.hold("content", times=None)
        async with working(Domains(slow=slow, fast=fast), concurrency=2, first=1) as running:
            put(running.queue, "slow", 12)
            running.bus.ring([QueueChanged()])
            await gate.reached()
            put(running.queue, "fast", 5)
            running.bus.ring([QueueChanged()])
            await running.queue.until(lambda: len(outcomes_of(running.queue, "fast")) == 5)
            assert outcomes_of(running.queue, "slow") == []
            assert slow.connections == 1
            assert len(running.queue.leased) <= 4  # what has no room is not claimed
            gate.open()
            await running.queue.until_recorded(17)
    assert outcomes_of(running.queue, "slow") == ["accepted"] * 12
    assert outcomes_of(running.queue, "fast") == ["accepted"] * 5
    assert len(slow.messages) == 12


async def test_a_dead_destination_is_left_alone_while_others_go_on() -> None:
    async with Sink() as dead, Sink() as well:
        dead.answer("connect", "421 4.3.2 Not now", times=3)
        async with working(Domains(dead=dead, well=well), first=2) as running:
            put(running.queue, "dead", 8)
            running.bus.ring([QueueChanged()])
            await running.queue.until(lambda: outcomes_of(running.queue, "dead"))
            put(running.queue, "well", 4)
            running.bus.ring([QueueChanged()])
            await running.queue.until(lambda: len(outcomes_of(running.queue, "well")) == 4)
            await anyio.wait_all_tasks_blocked()
            assert dead.connections <= 3
            assert set(outcomes_of(running.queue, "dead")) == {"deferred"}
            for _ in range(40):  # minutes
                if len(dead.messages) == 8:
                    break
                running.clock.move(MINUTE)
                running.bus.ring([QueueChanged()])
                await anyio.wait_all_tasks_blocked()
                await running.queue.until(lambda: not running.queue.leased)
            assert outcomes_of(running.queue, "dead").count("accepted") == 8
    assert len(dead.messages) == 8


async def test_a_relay_that_is_down_is_not_asked_for_each_message_and_gets_all_of_it_when_it_is_back() -> None:
    async with Sink() as sink:
        sink.answer("connect", "421 4.3.2 Not now", times=5)
        async with working(host_for(sink)) as running:
            put(running.queue, "a", 40)
            running.bus.ring([QueueChanged()])
            await running.queue.until(lambda: running.queue.recorded and not running.queue.leased)
            await anyio.wait_all_tasks_blocked()
            running.bus.ring([QueueChanged()])  # mail that comes meanwhile waits
            await anyio.wait_all_tasks_blocked()
            assert sink.connections == 5
            assert outcomes_of(running.queue, "a") == ["deferred"] * 10
            running.clock.move(MINUTE)
            running.bus.ring([QueueChanged()])
            await running.queue.until(lambda: len(sink.messages) == 40 and not running.queue.leased)
    assert outcomes_of(running.queue, "a")[10:] == ["accepted"] * 40


async def test_who_asks_for_a_retry_does_not_wait_until_it_is_tried_again_anyway() -> None:
    async with Sink() as sink:
        sink.answer("connect", "421 4.3.2 Not now", times=1)
        async with working(host_for(sink), "one") as running:
            await running.queue.until_recorded(1)
            running.queue.put("two")
            running.bus.ring([QueueChanged()])
            await anyio.wait_all_tasks_blocked()
            assert sink.messages == []
            running.bus.ring([QueueChanged(retry=True)])
            await running.queue.until_recorded(2)
    assert running.queue.outcomes() == [("msg_one", {1: "deferred"}), ("msg_two", {1: "accepted"})]


async def test_one_message_to_several_destinations_has_an_outcome_for_each() -> None:
    async with Sink() as one, Sink() as two:
        one.answer("RCPT", "550 5.1.1 No such user", match="gone@")
        two.answer("RCPT", "451 4.7.1 Later")
        async with working(Domains(one=one, two=two)) as running:
            running.queue.put("all", "ann@one.example", "ann@two.example", "gone@one.example", "ben@two.example")
            running.bus.ring([QueueChanged()])
            await running.queue.until_recorded(1)
    assert running.queue.outcomes() == [("msg_all", {1: "accepted", 2: "deferred", 3: "refused", 4: "deferred"})]
    assert [stored.recipients for stored in one.messages] == [["ann@one.example"]]
    assert running.queue.begun == ["dlv_all_1", "dlv_all_3"]
    assert two.messages == []


async def test_a_message_that_waits_for_one_destination_has_left_for_the_other() -> None:
    async with Sink() as slow, Sink() as fast:
        gate = slow.hold("content", times=None)
        async with working(Domains(slow=slow, fast=fast), concurrency=2, first=1) as running:
            for number in range(6):
                running.queue.put(f"both{number}", "ann@slow.example", "ann@fast.example")
            put(running.queue, "fast", 3)
            running.bus.ring([QueueChanged()])
            await gate.reached()
            await running.queue.until(lambda: len(outcomes_of(running.queue, "fast")) == 3)
            # The answer of the quick one is on record although the slow one has not answered.
            await running.queue.until(lambda: [2] in [list(each) for each in running.queue.partly.values()])
            assert len(fast.messages) >= 4
            gate.open()
            await running.queue.until_recorded(9)
    assert len(slow.messages) == 6
    assert len(fast.messages) == 9


async def test_at_the_end_what_waits_for_room_is_put_off_and_not_sent() -> None:
    async with Sink() as sink:
        gate = sink.hold("content")
        with anyio.fail_after(5):
            async with working(Domains(a=sink), first=1) as running:
                put(running.queue, "a", 4)
                running.bus.ring([QueueChanged()])
                await gate.reached()
                await anyio.wait_all_tasks_blocked()
                running.stop.cancel()
                await running.queue.until(lambda: len(running.queue.recorded) == 3)
                gate.open()
    outcomes = [outcome for _, results in running.queue.outcomes() for outcome in results.values()]
    assert outcomes == ["deferred"] * 3 + ["accepted"]
    assert {results[1].text for _, results in running.queue.recorded[:3]} == {_STOPPED}
    assert len(sink.messages) == 1
    assert running.queue.leased == {}


# -- on record before it is sent ---------------------------------------------------------------------------------------


@dataclass
class SlowQueue(MemoryQueue):
    """A queue whose disk is slow to put down that content begins."""

    put_down: anyio.Event = field(default_factory=anyio.Event)

    async def content_begins(self, deliveries: Sequence[ClaimedDelivery]) -> None:
        """After a while."""
        await self.put_down.wait()
        await super().content_begins(deliveries)


async def test_the_end_of_the_content_waits_until_its_beginning_is_on_record() -> None:
    async with Sink() as sink, working(host_for(sink), "one", queue_class=SlowQueue) as running:
        assert isinstance(running.queue, SlowQueue)
        await sink.heard("DATA")
        await anyio.wait_all_tasks_blocked()
        assert (sink.messages, running.queue.begun, running.queue.recorded) == ([], [], [])
        running.queue.put_down.set()
        await running.queue.until_recorded(1)
    assert running.queue.outcomes() == [("msg_one", {1: "accepted"})]
    assert running.queue.begun == ["dlv_one_1"]
    assert len(sink.messages) == 1


async def test_when_that_cannot_be_put_on_record_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    async with Sink() as sink, working(host_for(sink)) as running:
        await running.queue.until(lambda: running.queue.claims)
        running.queue.failures = ["content_begins"]
        running.queue.put("one")
        running.bus.ring([QueueChanged()])
        await running.queue.until_recorded(1)
        assert running.queue.outcomes() == [("msg_one", {1: "deferred"})]
        assert sink.messages == []
        running.clock.move(MINUTE)
        running.bus.ring([QueueChanged()])
        await running.queue.until_recorded(2)
    assert running.queue.outcomes()[1:] == [("msg_one", {1: "accepted"})]
    assert len(sink.messages) == 1
    assert "could not be put on record" in caplog.text


# -- leases ------------------------------------------------------------------------------------------------------------


async def test_a_fresh_lease_is_not_renewed() -> None:
    async with Sink() as sink, working(host_for(sink), "one") as running:
        await running.queue.until_recorded(1)
    assert running.queue.renewed == []


async def test_what_somebody_else_has_claimed_meanwhile_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "FRESH_SECONDS", -1.0)
    async with Sink() as sink, working(host_for(sink)) as running:
        running.queue.taken = {"dlv_one_2", "dlv_two_1"}
        running.queue.put("one", "ann@b.example", "ben@b.example")
        running.queue.put("two", "cat@b.example")
        running.bus.ring([QueueChanged()])
        await running.queue.until_recorded(2)
    assert sorted(running.queue.outcomes()) == [("msg_one", {1: "accepted"}), ("msg_two", {})]
    assert sorted(running.queue.renewed) == ["dlv_one_1", "dlv_one_2", "dlv_two_1"]
    assert [stored.recipients for stored in sink.messages] == [["ann@b.example"]]
