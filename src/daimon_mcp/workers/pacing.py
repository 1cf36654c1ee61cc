"""How much goes to one destination at a time: more while it takes mail, less when it does not, nothing for a while.

The rules are those queue managers have found: begin with little, add one for each round of success, halve on trouble,
and leave alone a place that nobody gets through to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from daimon_mcp.domain.clock import MINUTE, SECOND, Clock
from daimon_mcp.domain.queue import Attempt, Outcome

FIRST: Final = 2
FIRST_PAUSE: Final = 30 * SECOND
LONGEST_PAUSE: Final = 30 * MINUTE
MOST_KNOWN: Final = 1000


@dataclass(slots=True)
class _Destination:
    limit: float
    busy: int = 0
    failures: int = 0
    closed_until: int = 0


@dataclass(slots=True)
class Pacing:
    """Limits by destination, from `first` to `most` messages at a time.

    Of more than `MOST_KNOWN`, those are forgotten that are idle and were not used for longest, unless they are closed.
    """

    clock: Clock
    most: int
    first: int = FIRST
    _known: dict[str, _Destination] = field(default_factory=dict[str, _Destination])

    @property
    def remembered(self) -> int:
        """How many destinations it knows something of."""
        return len(self._known)

    def room(self, destination: str) -> int:
        """How many more messages may go there now."""
        known = self._known.get(destination)
        if known is None:
            return min(self.first, self.most)
        if known.closed_until > self.clock.now():
            return 0
        return max(0, int(known.limit) - known.busy)

    def is_closed(self, destination: str) -> bool:
        """Whether nobody got through to it shortly before."""
        known = self._known.get(destination)
        return known is not None and known.closed_until > self.clock.now()

    def full(self) -> list[str]:
        """Destinations to which nothing more may go now."""
        return [name for name in self._known if not self.room(name)]

    def reopen(self) -> None:
        """Leave no destination alone any more: somebody wants to see whether it is back."""
        for each in self._known.values():
            each.closed_until = 0

    def next_opening(self) -> int | None:
        """When the next destination that is left alone may be tried again, epoch µs."""
        now = self.clock.now()
        return min((each.closed_until for each in self._known.values() if each.closed_until > now), default=None)

    def begin(self, destination: str) -> None:
        """A message goes there."""
        known = self._known.pop(destination, None) or _Destination(float(min(self.first, self.most)))
        self._known[destination] = known  # the last in order
        known.busy += 1
        if len(self._known) > MOST_KNOWN:
            self._forget()

    def _forget(self) -> None:
        """Half of them, so that this is not done for each message."""
        now = self.clock.now()
        idle = [name for name, each in self._known.items() if not each.busy and each.closed_until <= now]
        for name in idle[: MOST_KNOWN // 2]:
            del self._known[name]

    def end(self, destination: str, attempts: list[Attempt]) -> None:
        """What came of it. No answer at all, and 421, say something about the place; other refusals about the mail."""
        known = self._known[destination]
        known.busy -= 1
        if any(each.code is not None and each.code != 421 for each in attempts):
            known.failures, known.closed_until = 0, 0
            known.limit = min(float(self.most), known.limit + 1 / max(1.0, known.limit))
        elif any(each.outcome is Outcome.DEFERRED for each in attempts):
            known.limit = max(1.0, known.limit / 2)
            if not known.busy:  # all that were under way have failed
                known.failures += 1
                pause = min(LONGEST_PAUSE, FIRST_PAUSE << min(known.failures - 1, 10))
                known.closed_until = self.clock.now() + pause
