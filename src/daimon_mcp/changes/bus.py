"""The in-process bell.

Subscribers never raise and never await: they note what to look at again. A lost bell costs latency, never mail,
because every listener reads the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from daimon_mcp.domain.changes import Change

log = logging.getLogger(__name__)

Subscriber = Callable[[Change], None]


class ChangeBus(Protocol):
    """Told of each commit's changes in commit order; tells subscribers."""

    def ring(self, changes: Sequence[Change]) -> None: ...

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Register, and get the idempotent function that unregisters."""
        ...


class LocalBus:
    """For one owner process: `ring` is called on the event loop's thread, in commit order."""

    def __init__(self) -> None:
        self._subscribers: dict[object, Subscriber] = {}

    def ring(self, changes: Sequence[Change]) -> None:
        for change in changes:
            for subscriber in list(self._subscribers.values()):
                try:
                    subscriber(change)
                except Exception:
                    log.exception("a subscriber of the bus raised")

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        token = object()
        self._subscribers[token] = subscriber
        return lambda: void(self._subscribers.pop(token, None))


def void(_: object) -> None:
    """Drop a value."""
