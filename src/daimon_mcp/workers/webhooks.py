"""The webhook worker: posts what is due, in order within each lane, and lets no receiver hold up another.

A lane is what order is kept within: an inbox, or the account. Of each lane one call is under way at a time, of each
webhook a few, of one that fails a single one. A call that takes long moves out of the places for quick ones, and its
webhook's next ones have few places to share: however many receivers are slow or dead, the others find room.

What waits where is known from the bell, and from the store at the start; what is due is the store's to say.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol, cast

import anyio
import anyio.abc

from daimon_mcp.changes.bus import ChangeBus
from daimon_mcp.domain.changes import Change, EventRecorded, HookChanged
from daimon_mcp.domain.clock import SECOND, Clock
from daimon_mcp.domain.webhooks import HookAnswer, HookCall, HookPause, HookRequest
from daimon_mcp.logs import new_cid

log = logging.getLogger(__name__)

QUICK_SECONDS: Final = 1.0
MOST_SLOW: Final = 100  # calls to receivers that are known to be slow or failing
MOST_CLAIMED: Final = 64  # lanes asked for in one write
PER_HOOK: Final = 4
IN_A_ROW: Final = 20  # calls of one lane before others that wait have their turn
FAILURE_SECONDS: Final = 5.0
CLOCK_SECONDS: Final = 1.0  # how often a wait looks at the clock, which may have been set
LEAST_SECONDS: Final = 0.02
POLL_SECONDS: Final = 60.0
TIDY_SECONDS: Final = 600.0
RECORD_PAUSES: Final = (0.1, 0.5, 2.0)

Next = HookCall | HookPause | None
_WHOLE: Final = -2  # a timer for all lanes of a webhook


class Telling(Protocol):
    """The core's side."""

    async def take_over(self) -> list[tuple[int, int]]:
        """Every (webhook, lane) in which something waits, for a worker that begins."""
        ...

    async def lanes_of(self, webhook_no: int) -> list[int]:
        """The lanes of one webhook in which something waits."""
        ...

    async def claim(self, wanted: Sequence[tuple[int, int]]) -> list[Next]:
        """The next call of each lane, its attempt on record."""
        ...

    async def request(self, call: HookCall) -> HookRequest:
        """What to post, signed."""
        ...

    async def record(
        self, call: HookCall, answer: HookAnswer, sent: HookRequest | None, *, more: bool
    ) -> tuple[Next, int]:
        """Put down what came of it; the next of the lane, and the webhook's failures in a row."""
        ...

    async def tidy(self) -> bool:
        """Prune; whether everything was done."""
        ...


class Poster(Protocol):
    """Posts to webhooks."""

    async def post(self, request: HookRequest) -> HookAnswer:
        """Post it, once; whatever goes wrong is an answer too."""
        ...


class _Hook:
    """What is known of a webhook, times in epoch µs.

    `lanes` are to be looked at; in `active` ones a call is under way, and those of them in `again` were rung for
    meanwhile; in `blocked` ones, one that failed keeps others waiting until some time. Nothing at all is tried before
    `until`.
    """

    __slots__ = ("active", "again", "blocked", "failures", "is_queued", "lanes", "no", "slow", "until")

    def __init__(self, no: int) -> None:
        self.no = no
        self.lanes: dict[int, None] = {}
        self.active: set[int] = set()
        self.again: set[int] = set()
        self.blocked: dict[int, int] = {}
        self.failures = 0
        self.slow = False
        self.until = 0
        self.is_queued = False

    @property
    def has_room(self) -> bool:
        return len(self.active) < (1 if self.failures else PER_HOOK)

    @property
    def is_troubled(self) -> bool:
        """Whether its calls belong among the slow ones."""
        return self.slow or self.failures > 0


class _Slot:
    """One place of a call, among the quick ones or the slow ones."""

    __slots__ = ("is_slow",)

    def __init__(self, *, is_slow: bool) -> None:
        self.is_slow = is_slow


class WebhookWorker:
    """Posts up to `most` calls that are quick, and MOST_SLOW others, at a time.

    When it is cancelled, calls under way have `grace` seconds; those that are broken off then are made again.
    """

    def __init__(
        self,
        *,
        telling: Telling,
        poster: Poster,
        bus: ChangeBus,
        clock: Clock,
        most: int = 200,
        grace: float = 2.0,
    ) -> None:
        self._telling = telling
        self._poster = poster
        self._bus = bus
        self._clock = clock
        self._most = most
        self._grace = grace
        self._hooks: dict[int, _Hook] = {}
        self._ready: deque[_Hook] = deque()
        self._ready_slow: deque[_Hook] = deque()
        self._timers: list[tuple[int, int, int]] = []  # epoch µs, webhook, lane; each once
        self._timed: set[tuple[int, int, int]] = set()
        self._reload: dict[int, None] = {}
        self._quick = 0
        self._slow = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._wake = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be told to anybody."""
        return not (self._timers or self._tasks or self._reload) and not any(
            hook.lanes or hook.active for hook in self._hooks.values()
        )

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; no receiver and no failure of the store ends it."""
        unsubscribe = self._bus.subscribe(self._heard)
        try:
            task_status.started()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tidy_forever)
                await self._load()
                while True:
                    self._wake.clear()  # before we look, so that a bell from now on is not missed
                    if not await self._start_due():
                        await self._rest()
        finally:
            unsubscribe()
            with anyio.CancelScope(shield=True):
                await self._finish()

    async def _load(self) -> None:
        """What an earlier process left."""
        while True:
            try:
                lanes = await self._telling.take_over()
            except Exception:
                log.exception("cannot tell what waits for webhooks")
                await anyio.sleep(FAILURE_SECONDS)
                continue
            for webhook_no, lane in lanes:
                self._look_at(webhook_no, lane)
            return

    async def _tidy_forever(self) -> None:
        done = False
        while True:
            await anyio.sleep(TIDY_SECONDS if done else TIDY_SECONDS / 10)
            try:
                done = await self._telling.tidy()
            except Exception:
                log.exception("cannot prune the log of webhooks")

    # -- what is to be looked at -----------------------------------------------------------------------------------

    def _heard(self, change: Change) -> None:
        if isinstance(change, EventRecorded):
            for webhook_no in change.hooks:
                lane = change.inbox_no or 0
                hook = self._hooks.get(webhook_no)
                if hook is None or lane not in hook.blocked:
                    self._look_at(webhook_no, lane)
        elif isinstance(change, HookChanged):
            self._reload[change.webhook_no] = None
            self._wake.set()

    def _look_at(self, webhook_no: int, lane: int) -> None:
        hook = self._hooks.get(webhook_no)
        if hook is None:
            hook = self._hooks[webhook_no] = _Hook(webhook_no)
        if lane in hook.active:
            hook.again.add(lane)
        else:
            hook.lanes[lane] = None
            self._line_up(hook)

    def _line_up(self, hook: _Hook) -> None:
        """Let a webhook have its turn if there is something to look at; forget it if nothing is known of it."""
        if hook.is_queued:
            return
        if not hook.lanes:
            if not (hook.active or hook.blocked or hook.is_troubled or hook.until):
                self._hooks.pop(hook.no, None)
            return
        if hook.until or not hook.has_room:
            return
        hook.is_queued = True
        (self._ready_slow if hook.is_troubled else self._ready).append(hook)
        self._wake.set()

    def _pause(self, hook: _Hook, lane: int, pause: HookPause) -> None:
        if pause.whole:
            hook.lanes[lane] = None
            hook.until = max(hook.until, pause.until)
            timer = hook.until, hook.no, _WHOLE
        else:
            if pause.blocked:
                hook.blocked[lane] = pause.until
            timer = pause.until, hook.no, lane
        if timer not in self._timed:
            self._timed.add(timer)
            heapq.heappush(self._timers, timer)
            self._wake.set()  # a nap may be too long now

    def _fire_timers(self) -> None:
        now = self._clock.now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)
            self._timed.discard(timer)
            _, webhook_no, lane = timer
            hook = self._hooks.get(webhook_no)
            if lane != _WHOLE:
                if hook is not None:
                    hook.blocked.pop(lane, None)
                self._look_at(webhook_no, lane)
            elif hook is not None and hook.until <= now:
                hook.until = 0
                self._line_up(hook)

    async def _reload_changed(self) -> None:
        while self._reload:
            webhook_no = next(iter(self._reload))
            lanes = await self._telling.lanes_of(webhook_no)
            del self._reload[webhook_no]
            hook = self._hooks.get(webhook_no)
            if hook is not None:
                hook.until = 0
                hook.blocked.clear()
            for lane in lanes:
                self._look_at(webhook_no, lane)
            if hook is not None:
                self._line_up(hook)

    # -- claiming ----------------------------------------------------------------------------------------------------

    def _take(self, ready: deque[_Hook], room: int, *, is_slow: bool) -> list[tuple[_Hook, int, _Slot]]:
        """One lane of each webhook in turn, for as long as there is room."""
        taken: list[tuple[_Hook, int, _Slot]] = []
        while ready and len(taken) < room:
            hook = ready.popleft()
            hook.is_queued = False
            if hook.is_troubled != is_slow or hook.until or not hook.has_room or not hook.lanes:
                self._line_up(hook)  # it changed while it waited for its turn
                continue
            lane = next(iter(hook.lanes))
            del hook.lanes[lane]
            hook.active.add(lane)
            taken.append((hook, lane, _Slot(is_slow=is_slow)))
            self._line_up(hook)
        return taken

    async def _start_due(self) -> bool:
        """Start what has a place; whether there was anything to look at."""
        taken: list[tuple[_Hook, int, _Slot]] = []
        found: list[Next] = []
        try:
            await self._reload_changed()
            self._fire_timers()
            taken = self._take(self._ready, min(self._most - self._quick, MOST_CLAIMED), is_slow=False)
            taken += self._take(self._ready_slow, min(MOST_SLOW - self._slow, MOST_CLAIMED), is_slow=True)
            if not taken:
                return False
            with anyio.CancelScope(shield=True):  # an attempt nobody knows of would delay its lane
                found = await self._telling.claim([(hook.no, lane) for hook, lane, _ in taken])
        except Exception:
            log.exception("cannot claim what is due for webhooks")
            for hook, lane, _ in taken:
                self._lane_ends(hook, lane, look_again=True)
            await anyio.sleep(FAILURE_SECONDS)
            return True
        for (hook, lane, slot), each in zip(taken, found, strict=True):
            if isinstance(each, HookCall):
                hook.failures = each.failures
                self._begin(slot)
                task = asyncio.get_running_loop().create_task(self._run_lane(hook, lane, each, slot))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
            else:
                self._lane_ends(hook, lane, pause=each)
        return True

    async def _rest(self) -> None:
        """Until a bell rings, a place becomes free, or something falls due."""
        seconds = POLL_SECONDS
        if self._timers:
            seconds = min(max(self._clock.seconds_until(self._timers[0][0]), LEAST_SECONDS), CLOCK_SECONDS)
        with anyio.move_on_after(seconds):
            await self._wake.wait()

    def _begin(self, slot: _Slot) -> None:
        if slot.is_slow:
            self._slow += 1
        else:
            self._quick += 1

    def _end(self, slot: _Slot) -> None:
        if slot.is_slow:
            self._slow -= 1
        else:
            self._quick -= 1
        self._wake.set()

    def _turns_slow(self, hook: _Hook, slot: _Slot) -> None:
        """A call takes long: what it had is for quick ones."""
        hook.slow = True
        if not slot.is_slow:
            slot.is_slow = True
            self._quick -= 1
            self._slow += 1
            self._wake.set()

    def _lane_ends(self, hook: _Hook, lane: int, *, pause: HookPause | None = None, look_again: bool = False) -> None:
        """No call of this lane is under way any more."""
        hook.active.discard(lane)
        if lane in hook.again or look_again:
            hook.again.discard(lane)
            hook.lanes[lane] = None
        if pause is not None:
            self._pause(hook, lane, pause)
        self._line_up(hook)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a webhook was left in the middle", exc_info=error)

    # -- calling -----------------------------------------------------------------------------------------------------

    async def _run_lane(self, hook: _Hook, lane: int, call: HookCall, slot: _Slot) -> None:
        """Make a call and those that follow it in its lane."""
        # For what must not happen: the call is made again, and not at once.
        later = HookPause(self._clock.now() + int(FAILURE_SECONDS * SECOND))
        pause, look_again = cast("HookPause | None", later), False
        try:
            for made in range(1, 1 << 30):
                answer, sent = await self._post(hook, call, slot)
                others = bool(self._ready) and self._quick >= self._most
                more = not self._stopping and (made < IN_A_ROW or not others)
                recorded = await self._record(call, answer, sent, more=more)
                if recorded is None:
                    return
                following, hook.failures = recorded
                if not isinstance(following, HookCall):
                    pause, look_again = following, not more
                    return
                call = following
        finally:
            self._end(slot)
            self._lane_ends(hook, lane, pause=pause, look_again=look_again)

    async def _post(self, hook: _Hook, call: HookCall, slot: _Slot) -> tuple[HookAnswer, HookRequest | None]:
        try:
            sent = await self._telling.request(call)
        except Exception:
            cid = new_cid()
            log.exception("an event cannot be told, id %s", cid)
            return HookAnswer(None, f"was not called: internal error, id {cid}"), None
        timer = asyncio.get_running_loop().call_later(QUICK_SECONDS, self._turns_slow, hook, slot)
        try:
            answer = await self._poster.post(sent)
        except Exception:
            cid = new_cid()
            log.exception("a webhook cannot be called, id %s", cid)
            return HookAnswer(None, f"was not called: internal error, id {cid}"), sent
        finally:
            timer.cancel()
        if answer.took < QUICK_SECONDS * SECOND:
            hook.slow = False
        log.info(
            "webhook %s: %s",
            call.webhook_id,
            "delivered" if answer.is_success else answer.problem,
            extra={"attempt": call.attempt, "code": answer.status},
        )
        return answer, sent

    async def _record(
        self, call: HookCall, answer: HookAnswer, sent: HookRequest | None, *, more: bool
    ) -> tuple[Next, int] | None:
        """Again if the store fails; None when it goes on failing: then the call is made again."""
        for pause in (*RECORD_PAUSES, None):
            try:
                return await self._telling.record(call, answer, sent, more=more)
            except Exception:
                log.exception("cannot record what a webhook answered")
            if pause is not None:
                await asyncio.sleep(pause)
        return None

    async def _finish(self) -> None:
        self._stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._grace)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
