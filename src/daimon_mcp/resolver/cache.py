"""Answers kept until their time is over, and the least used of them no longer than there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

OVERHEAD = 500  # bytes that an entry costs beside what was sent: about what Python takes for one


class Cache(Generic[K, V]):
    """Values with an end, by `monotonic` seconds; together about `max_bytes`. Belongs to one thread."""

    def __init__(self, max_bytes: int, monotonic: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._entries: OrderedDict[K, tuple[float, int, V]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> tuple[V, float] | None:
        """The value and how many seconds it is still good for; None when it is over, or was never here."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        left = entry[0] - self._monotonic()
        if left <= 0:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[2], left

    def put(self, key: K, value: V, *, seconds: float, size: int) -> None:
        """Keep `value` for `seconds`; `size` is what it takes, in bytes."""
        self.drop(key)
        self._entries[key] = (self._monotonic() + seconds, size + OVERHEAD, value)
        self._bytes += size + OVERHEAD
        while self._bytes > self._max_bytes:
            self.drop(next(iter(self._entries)))

    def drop(self, key: K) -> None:
        """Forget the value, if it is here."""
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= entry[1]
