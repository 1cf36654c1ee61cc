"""The relay worker between a queue and a relay: what leaves when, what goes on record, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from tests.support.gate import PATIENCE
from tests.support.sink import Sink

from daimon_mcp.changes.bus import LocalBus, Subscriber
from daimon_mcp.domain.changes import AccountChanged, QueueChanged
from daimon_mcp.domain.clock import HOUR, MINUTE, SECOND
from daimon_mcp.domain.envelopes import Recipient
from daimon_mcp.domain.queue import Attempt, ClaimedDelivery, ClaimedMessage, Handover, Outcome
from daimon_mcp.workers import relay
from daimon_mcp.workers.relay import RelayWorker
from daimon_mcp.workers.smtp_transaction import OnContent
from daimon_mcp.workers.transports import SmartHost, Transport

START = 1_795_251_600 * SECOND


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> int:
        """Epoch µs."""
        return self._now

    def seconds_until(self, due: int) -> float:
        """As the clock is now."""
        return max(0.0, (due - self._now) / SECOND)

    def move(self, microseconds: int) -> None:
        """Later by that much."""
        self._now += microseconds


@dataclass
class MemoryQueue:
    """The queue as the worker sees it, without a disk. What is DEFERRED is due again a minute later."""

    clock: FakeClock
    waiting: list[tuple[int, ClaimedMessage]] = field(default_factory=list[tuple[int, ClaimedMessage]])
    leased: dict[str, ClaimedMessage] = field(default_factory=dict[str, ClaimedMessage])
    recorded: list[tuple[str, dict[int, Attempt]]] = field(default_factory=list[tuple[str, dict[int, Attempt]]])
    claims: list[int] = field(default_factory=list[int])
    failures: list[str] = field(default_factory=list[str])  # operations that fail next, each once
    taken: set[str] = field(default_factory=set[str])  # ids of deliveries that somebody else has claimed by now
    renewed: list[str] = field(default_factory=list[str])
    partly: dict[str, dict[int, Attempt]] = field(default_factory=dict[str, dict[int, Attempt]])
    begun: list[str] = field(default_factory=list[str])  # ids of deliveries whose content was put down to have begun
    changed: anyio.Event = field(default_factory=anyio.Event)

    def put(self, name: str, *recipients: str, due: int = START) -> None:
        """One message; its deliveries are numbered from 1."""
        deliveries = tuple(
            ClaimedDelivery(no, f"dlv_{name}_{no}", Recipient(recipient), 1, due + HOUR)
            for no, recipient in enumerate(recipients or (f"{name}@b.example",), 1)
        )
        message = ClaimedMessage(f"msg_{name}", 1, "a@x.example", name, deliveries, False, None, None, START, None)
        self.waiting.append((due, message))

    async def claim(self, limit: int, busy: Sequence[str] = ()) -> list[ClaimedMessage]:
        """What is due, as long as it is not leased."""
        self.claims.append(limit)
        self._maybe_fail("claim")
        await anyio.lowlevel.checkpoint()
        due = [entry for entry in self.waiting if entry[0] <= self.clock.now() and _domain(entry[1]) not in busy][
            :limit
        ]
        for entry in due:
            self.waiting.remove(entry)
            self.leased[entry[1].message_id] = entry[1]
        return [message for _, message in due]

    async def next_due(self, busy: Sequence[str] = ()) -> int | None:
        """The earliest of what waits."""
        self._maybe_fail("next_due")
        await anyio.lowlevel.checkpoint()
        self._tell()
        return min((due for due, message in self.waiting if _domain(message) not in busy), default=None)

    async def handovers(
        self, message: ClaimedMessage, deliveries: Sequence[ClaimedDelivery]
    ) -> list[tuple[Sequence[ClaimedDelivery], Handover]]:
        """One transaction for all; the content is made of the message's name."""
        await anyio.lowlevel.checkpoint()
        recipients = tuple(each.recipient for each in deliveries)
        content = f"Subject: {message.blob_hash}\r\n".encode()
        return [(deliveries, Handover(mail_from=message.mail_from, recipients=recipients, content=content))]

    async def renew(self, deliveries: Sequence[ClaimedDelivery]) -> list[ClaimedDelivery]:
        """Those nobody else has."""
        await anyio.lowlevel.checkpoint()
        self.renewed += [each.id for each in deliveries]
        return [each for each in deliveries if each.id not in self.taken]

    async def content_begins(self, deliveries: Sequence[ClaimedDelivery]) -> None:
        """Keep that it did."""
        await anyio.lowlevel.checkpoint()
        self._maybe_fail("content_begins")
        self.begun += [each.id for each in deliveries]

    async def settle_cut_off(self) -> None:
        """There are none: leases do not run out here."""

    async def record(self, message: ClaimedMessage, results: Mapping[int, Attempt]) -> None:
        """Keep it; in `recorded` when all of the message's deliveries have their results."""
        await anyio.lowlevel.checkpoint()
        self._maybe_fail("record")
        known = self.partly.setdefault(message.message_id, {})
        known.update(results)
        self._tell()
        if len(known) + len(self.taken.intersection(each.id for each in message.deliveries)) < len(message.deliveries):
            return
        results = dict(sorted(self.partly.pop(message.message_id).items()))
        self.recorded.append((message.message_id, results))
        del self.leased[message.message_id]
        if any(attempt.outcome is Outcome.DEFERRED for attempt in results.values()):
            self.waiting.append((self.clock.now() + MINUTE, message))
        self._tell()

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once `condition()` holds; looked at whenever something was recorded or the worker goes to rest."""
        with anyio.fail_after(5):
            while not condition():
                await self.changed.wait()

    async def until_recorded(self, count: int) -> None:
        """Return once so many attempts are on record."""
        await self.until(lambda: len(self.recorded) >= count)

    def _maybe_fail(self, operation: str) -> None:
        if operation in self.failures:
            self.failures.remove(operation)
            raise OSError(f"{operation} failed")

    def _tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    def outcomes(self) -> list[tuple[str, dict[int, str]]]:
        """What is on record, in short."""
        return [
            (name, {no: str(attempt.outcome) for no, attempt in results.items()}) for name, results in self.recorded
        ]


def _domain(message: ClaimedMessage) -> str:
    return message.deliveries[0].recipient.address.rpartition("@")[2]


@dataclass
class Running:
    """A worker at work."""

    queue: MemoryQueue
    clock: FakeClock
    bus: LocalBus
    stop: anyio.CancelScope


@asynccontextmanager
async def working(
    transport: Transport | None,
    *names: str,
    concurrency: int = 5,
    first: int | None = None,
    grace: float = 60.0,
    queue_class: type[MemoryQueue] = MemoryQueue,
) -> AsyncGenerator[Running]:
    """Run a worker with these messages due; it is stopped, and has stopped, when the block is left."""
    clock, bus = FakeClock(), LocalBus()
    queue = queue_class(clock)
    for name in names:
        queue.put(name)
    worker = RelayWorker(
        delivering=queue,
        transport=transport,
        bus=bus,
        clock=clock,
        concurrency=concurrency,
        first=first,
        grace=grace,
    )
    stop = anyio.CancelScope()

    async def run(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        with stop:
            await worker.run(task_status=task_status)

    async with anyio.create_task_group() as tasks:
        await tasks.start(run)
        yield Running(queue, clock, bus, stop)
        stop.cancel()


def host_for(sink: Sink, max_connections: int = 5) -> SmartHost:
    return SmartHost(
        host=sink.host,
        port=sink.port,
        security="none",
        hostname="mail.x.example",
        timeout=60,
        answer_timeout=60,
        max_connections=max_connections,
    )


class Crashing:
    """A transport with a bug, before or behind the point where content is sent."""

    def __init__(self, *, after_content: bool) -> None:
        self._after_content = after_content
        self.closed = False
        self.only = None

    def destination(self, recipient: str) -> str:
        """One for all."""
        return "everywhere"

    async def relay(
        self, destination: str, handover: Handover, *, on_content: OnContent | None = None
    ) -> dict[str, Attempt]:
        """Fail."""
        await anyio.lowlevel.checkpoint()
        if self._after_content and on_content is not None and (put_down := on_content()) is not None:
            await put_down
        raise RuntimeError("a bug at /srv/secret")

    async def close(self) -> None:
        """Be closed."""
        self.closed = True


async def test_what_is_due_is_relayed_and_recorded() -> None:
    async with Sink() as sink:
        sink.answer("RCPT", "550 5.1.1 No such user", match="eve@")
        sink.answer("RCPT", "451 4.7.1 Later", match="bob@")
        async with working(host_for(sink)) as running:
            running.queue.put("one", "ada@b.example", "eve@b.example", "bob@b.example")
            running.queue.put("two")
            running.bus.ring([QueueChanged()])
            await running.queue.until_recorded(2)
            assert running.queue.leased == {}
        assert sorted(running.queue.outcomes()) == [
            ("msg_one", {1: "accepted", 2: "refused", 3: "deferred"}),
            ("msg_two", {1: "accepted"}),
        ]
        assert running.queue.recorded[0][1][1].remote == f"127.0.0.1:{sink.port}"
    assert {stored.content for stored in sink.messages} == {b"Subject: one\r\n", b"Subject: two\r\n"}
    assert sink.commands[-1] == "QUIT"  # the worker closes its transport


async def test_one_recipient_named_twice_has_two_results() -> None:
    async with Sink() as sink, working(host_for(sink)) as running:
        running.queue.put("twice", "ada@b.example", "ada@b.example")
        running.bus.ring([QueueChanged()])
        await running.queue.until_recorded(1)
    assert running.queue.outcomes() == [("msg_twice", {1: "accepted", 2: "accepted"})]
    assert sink.messages[0].recipients == ["ada@b.example"]


async def test_scheduled_mail_leaves_at_its_time_and_not_before() -> None:
    async with Sink() as sink, working(host_for(sink)) as running:
        running.queue.put("later", due=START + HOUR)
        running.bus.ring([QueueChanged()])
        await running.queue.until(lambda: len(running.queue.claims) == 2)
        running.clock.move(HOUR - 1)
        running.bus.ring([QueueChanged()])
        await running.queue.until(lambda: len(running.queue.claims) == 3)
        assert sink.messages == []
        running.clock.move(1)
        running.bus.ring([QueueChanged()])
        await running.queue.until_recorded(1)
    assert len(sink.messages) == 1


async def test_scheduled_mail_leaves_within_a_second_of_its_time_though_the_clock_was_set() -> None:
    async with Sink() as sink, working(host_for(sink)) as running:
        running.queue.put("later", due=START + HOUR)
        running.bus.ring([QueueChanged()])
        await running.queue.until(lambda: len(running.queue.claims) == 2)
        running.clock.move(HOUR)
        with anyio.fail_after(PATIENCE):  # no bell
            await running.queue.until_recorded(1)


async def test_it_sleeps_until_what_is_due_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "CLOCK_SECONDS", 3600.0)  # it does not look by itself
    async with Sink() as sink, working(host_for(sink)) as running:
        running.queue.put("soon", due=START + SECOND // 2)
        running.bus.ring([QueueChanged()])
        await running.queue.until(lambda: len(running.queue.claims) == 2)
        running.clock.move(SECOND)
        with anyio.fail_after(PATIENCE):
            await running.queue.until_recorded(1)


async def test_what_was_deferred_is_tried_again_when_it_is_due() -> None:
    async with Sink() as sink:
        sink.answer("RCPT", "451 4.7.1 Greylisted", times=1)
        async with working(host_for(sink), "grey") as running:
            await running.queue.until_recorded(1)
            running.clock.move(MINUTE)
            running.bus.ring([QueueChanged()])
            await running.queue.until_recorded(2)
    assert running.queue.outcomes() == [("msg_grey", {1: "deferred"}), ("msg_grey", {1: "accepted"})]


async def test_an_unknown_outcome_is_recorded_as_what_it_is() -> None:
    async with Sink() as sink:
        sink.drop("content", store=True)
        async with working(host_for(sink), "lost") as running:
            await running.queue.until_recorded(1)
    assert running.queue.outcomes() == [("msg_lost", {1: "outcome_unknown"})]
    assert len(sink.messages) == 1


async def test_other_changes_do_not_wake_it() -> None:
    async with Sink() as sink, working(host_for(sink)) as running:
        await running.queue.until(lambda: running.queue.claims)
        running.bus.ring([AccountChanged(1, "acc_1")])
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert len(running.queue.claims) == 1


async def test_no_more_at_a_time_than_allowed_and_no_lease_for_what_cannot_start() -> None:
    names = [f"n{number}" for number in range(9)]
    async with Sink() as sink:
        gate = sink.hold("content", times=None)
        async with working(host_for(sink), *names, concurrency=3) as running:
            await gate.reached()
            assert running.queue.claims[0] == 6
            assert len(running.queue.leased) == 6  # three on their way, and three at hand
            gate.open()
            await running.queue.until_recorded(9)
        assert sink.most_at_once == 3
    assert max(running.queue.claims) == 6
    assert sorted(name for name, _ in running.queue.recorded) == [f"msg_{name}" for name in names]


async def test_without_a_relay_everything_is_put_off() -> None:
    async with working(None, "stuck") as running:
        await running.queue.until_recorded(1)
    assert running.queue.recorded == [
        ("msg_stuck", {1: Attempt(Outcome.DEFERRED, None, None, "no relay is configured", "")})
    ]


@pytest.mark.parametrize(("after_content", "outcome"), [(False, "deferred"), (True, "outcome_unknown")])
async def test_a_bug_costs_one_attempt_and_names_its_id(
    after_content: bool, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    transport = Crashing(after_content=after_content)
    async with working(transport, "one", "two") as running:
        await running.queue.until_recorded(2)
    assert transport.closed
    assert [results for _, results in running.queue.outcomes()] == [{1: outcome}] * 2
    told = [results[1].text for _, results in running.queue.recorded]
    assert len(set(told)) == 2
    assert all(text.startswith("internal error, id ") for text in told)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        f"a transport failed, {text.removeprefix('internal error, ')}" for text in told
    ]


async def test_a_store_that_fails_stops_nothing_and_repeats_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with Sink() as sink, working(host_for(sink)) as running:
        await running.queue.until(lambda: running.queue.claims)
        running.queue.failures = ["claim", "next_due", "record", "record"]
        running.queue.put("one")
        running.bus.ring([QueueChanged()])
        await anyio.wait_all_tasks_blocked()
        running.bus.ring([QueueChanged()])
        await running.queue.until_recorded(1)
    assert running.queue.outcomes() == [("msg_one", {1: "accepted"})]
    assert running.queue.failures == []
    assert len(sink.messages) == 1
    assert len([record for record in caplog.records if record.exc_info]) == 4


async def test_a_record_that_never_works_is_left_to_the_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay, "RECORD_PAUSES", (0.0, 0.0))
    async with Sink() as sink, working(host_for(sink), concurrency=1) as running:
        await running.queue.until(lambda: running.queue.claims)
        running.queue.failures = ["record"] * 3
        running.queue.put("one")
        running.queue.put("two")
        running.bus.ring([QueueChanged()])
        await running.queue.until_recorded(1)
    assert list(running.queue.leased) == ["msg_one"]
    assert running.queue.outcomes() == [("msg_two", {1: "accepted"})]
    assert len(sink.messages) == 2


# The end.


async def test_at_the_end_a_message_being_sent_gets_its_answer_and_its_record() -> None:
    async with Sink() as sink:
        gate = sink.hold("content")
        async with working(host_for(sink), "sending") as running:
            await gate.reached()
            running.stop.cancel()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert running.queue.recorded == []
            gate.open()
        assert running.queue.outcomes() == [("msg_sending", {1: "accepted"})]
    assert len(sink.messages) == 1


async def test_at_the_end_a_message_not_yet_being_sent_is_put_off_at_once() -> None:
    async with Sink() as sink:
        gate = sink.hold("RCPT")
        with anyio.fail_after(PATIENCE):
            async with working(host_for(sink), "starting") as running:
                await gate.reached()
                running.stop.cancel()
        gate.open()
    attempt = Attempt(Outcome.DEFERRED, None, None, "the server was stopped during the attempt", "")
    assert running.queue.recorded == [("msg_starting", {1: attempt})]
    assert sink.messages == []


async def test_at_the_end_a_relay_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    async with Sink() as sink:
        gate = sink.hold("content")
        with anyio.fail_after(PATIENCE):
            async with working(host_for(sink), "sending", grace=0.2) as running:
                await gate.reached()
                running.stop.cancel()
        gate.open()
    assert running.queue.outcomes() == [("msg_sending", {1: "outcome_unknown"})]


async def test_at_the_end_what_was_just_claimed_is_not_forgotten() -> None:
    async with Sink() as sink:
        async with working(host_for(sink), *[f"n{number}" for number in range(5)]) as running:
            running.stop.cancel()
        assert running.queue.leased == {}
        assert running.queue.claims[0] == 10
        assert [results for _, results in running.queue.outcomes()] == [{1: "deferred"}] * 5


async def test_after_the_end_nobody_listens_to_the_bell() -> None:
    listeners: list[Subscriber] = []

    class Bus(LocalBus):
        def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
            unsubscribe = super().subscribe(subscriber)
            listeners.append(subscriber)
            return lambda: (listeners.remove(subscriber), unsubscribe())[1]

    worker = RelayWorker(delivering=MemoryQueue(FakeClock()), transport=None, bus=Bus(), clock=FakeClock())
    async with anyio.create_task_group() as tasks:
        await tasks.start(worker.run)
        assert len(listeners) == 1
        tasks.cancel_scope.cancel()
    assert listeners == []
