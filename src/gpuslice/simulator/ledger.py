"""What a replay adds up: dollars, GPU-hours, waiting, evictions, exposure, and how it all looked over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

BINS: Final = 240
"""Points of a series: what a chart across a page can show."""


class Series:
    """A quantity over time that changes in steps, as its mean in each of equally long bins, and its most.

    Attributes:
        total: the integral so far: quantity times seconds.
        most: the largest value that it had for a while.
    """

    def __init__(self, seconds: float) -> None:
        self._width = max(seconds, 1.0) / BINS
        self._sums = [0.0] * BINS
        self._since = 0.0
        self._value = 0.0
        self.total = 0.0
        self.most = 0.0

    def add(self, now: float, change: float) -> None:
        """The quantity changes now."""
        self.upto(now)
        self._value += change
        if abs(self._value) < 1e-9:
            self._value = 0.0  # what sums of floats leave of nothing

    def upto(self, now: float) -> None:
        """Count what has been until now."""
        if now <= self._since:
            return
        self.total += self._value * (now - self._since)
        self.most = max(self.most, self._value)
        start = self._since
        while start < now:
            index = min(int(start / self._width), BINS - 1)
            end = now if index == BINS - 1 else min(now, (index + 1) * self._width)
            if end <= start:  # a bin's edge, met by rounding
                end = min(now, (index + 2) * self._width)
            self._sums[index] += self._value * (end - start)
            start = end
        self._since = now

    def means(self) -> tuple[float, ...]:
        """The mean in each bin."""
        return tuple(value / self._width for value in self._sums)


@dataclass(slots=True)
class Ledger:
    """All that is counted in a replay.

    Attributes:
        rate: micro-dollars an hour of all nodes.
        bought, used: GPUs of all nodes, and of slices that have a pod.
        pending: pods that wait.
        over: GPUs whose pods together would hold more memory than there is.
        waits: seconds from a pod's arrival until it had a place, for each that got one.
        evictions: pods that Karpenter moved, which start again elsewhere.
        replanned: pods that a new plan moved, which start again elsewhere.
        interruptions: pods whose spot node EC2 took back, which start again elsewhere.
        launched: nodes.
        nodes: how many at once.
    """

    seconds: float
    rate: Series = field(init=False)
    bought: Series = field(init=False)
    used: Series = field(init=False)
    pending: Series = field(init=False)
    over: Series = field(init=False)
    nodes: Series = field(init=False)
    waits: list[float] = field(default_factory=list)
    evictions: int = 0
    replanned: int = 0
    interruptions: int = 0
    launched: int = 0

    def __post_init__(self) -> None:
        for name in ("rate", "bought", "used", "pending", "over", "nodes"):
            setattr(self, name, Series(self.seconds))

    def close(self, now: float) -> None:
        """The replay ends."""
        for series in (self.rate, self.bought, self.used, self.pending, self.over, self.nodes):
            series.upto(now)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all doesn't pass; 0.0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = max(-int(-share * len(ordered) // 1), 1)  # nearest rank: a value that was there
    return ordered[rank - 1]
