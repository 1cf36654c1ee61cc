"""What every benchmark prints: times with median and minimum, and ratios with their target."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

WIDTH = 58


class Report:
    """Lines on stdout as they become known. Nothing here fails: a missed target is a word at the end of a line."""

    def __init__(self, title: str) -> None:
        self.missed = 0
        print(f"\n{title}", flush=True)
        print(f"  {'':{WIDTH}}{'median':>10}{'best':>10}", flush=True)

    def times(self, name: str, seconds: Sequence[float], *, unit: str = "ms") -> None:
        """One measured quantity, a value for each round; the best is the smallest."""
        scale, digits = {"ms": (1e3, 1), "µs": (1e6, 0)}[unit]
        values = [value * scale for value in seconds]
        self._row(name, f"{statistics.median(values):.{digits}f}", f"{min(values):.{digits}f}", unit)

    def percentiles(self, name: str, p50: float, p99: float, most: float) -> None:
        """How one quantity is spread: seconds that half of them, all but a hundredth, and all are within."""
        self._row(name, f"{p50 * 1e3:.2f}", f"{p99 * 1e3:.2f}", f"ms, most {most * 1e3:.1f}")

    def rates(self, name: str, per_second: Sequence[float]) -> None:
        """One measured rate, a value for each round; the best is the largest."""
        self._row(name, f"{statistics.median(per_second):,.0f}", f"{max(per_second):,.0f}", "/s")

    def at_most(self, name: str, ours: Sequence[float], floor: Sequence[float], target: float) -> None:
        """Our times over the floor's, round by round, and the most that the median of these ratios should be."""
        self._ratio(name, ours, floor, target, most=True)

    def at_least(self, name: str, ours: Sequence[float], floor: Sequence[float], target: float) -> None:
        """Our rates over the floor's, round by round, and the least that the median of these ratios should be."""
        self._ratio(name, ours, floor, target, most=False)

    def after(self, name: str, begun: Sequence[float], ended: Sequence[float], target: float) -> None:
        """The time between two moments of a round, and the most milliseconds that its median should be."""
        between = statistics.median(b - a for a, b in zip(begun, ended, strict=True)) * 1e3
        self.limit(name, between, target, "ms")

    def limit(self, name: str, value: float, target: float, unit: str) -> None:
        """A single figure that should not be more than `target`."""
        self._verdict(name, f"{value:.1f} {unit}", f"≤ {target:g} {unit}", value <= target)

    def note(self, text: str) -> None:
        """A line of words."""
        print(f"  {text}", flush=True)

    def _row(self, name: str, median: str, best: str, unit: str) -> None:
        print(f"  {name:{WIDTH}}{median:>10}{best:>10} {unit}", flush=True)

    def _ratio(self, name: str, ours: Sequence[float], floor: Sequence[float], target: float, *, most: bool) -> None:
        ratio = statistics.median(a / b for a, b in zip(ours, floor, strict=True))
        good = ratio <= target if most else ratio >= target
        self._verdict(name, f"{ratio:.2f} ×", f"{'≤' if most else '≥'} {target:g} ×", good)

    def _verdict(self, name: str, value: str, target: str, good: bool) -> None:
        self.missed += not good
        print(f"  {name:{WIDTH}}{value:>10}{target:>12}  {'PASS' if good else 'MISS'}", flush=True)


def progress(text: str) -> None:
    """Say on stderr what takes long; stdout is for pasting."""
    print(f"  … {text}", file=sys.stderr, flush=True)
