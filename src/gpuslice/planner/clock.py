"""How long a search goes on: until its work is done, wherever it runs; the wall clock is only a net below.

Steps say what they did (tables filled, pods that arrived in the model), at what that costs on a usual machine: see
`budget`. So whether anything is still looked for depends on the input alone, and the same input gives the same plan on
a busy machine as on a quiet one. Time on the wall stops a search all the same, far later, and is remembered.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_ON_THE_WALL: Final = 0.01  # seconds: solvers take 0 for no limit


def _endless() -> float:
    return inf


class _Ledger:
    """What all clocks of one search share.

    Attributes:
        spent: seconds of work so far, as a usual machine takes them.
        wall: seconds left on the wall; none where somebody wants an end.
        stopped: whether the search has been told to stop by that.
    """

    __slots__ = ("spent", "stopped", "wall")

    def __init__(self, wall: Callable[[], float]) -> None:
        self.spent = 0.0
        self.wall = wall
        self.stopped = False


class Clock:
    """A budget of work, and what is left of it. Parts of one budget are clocks too, and draw on the same work."""

    __slots__ = ("_end", "_ends", "_ledger")

    def __init__(self, seconds: float, wall: Callable[[], float] = _endless) -> None:
        """Begin with nothing spent.

        Args:
            seconds: of work on a usual machine, that may be spent.
            wall: seconds of real time left. Once there are none, there is no work left either.
        """
        self._ledger = _Ledger(wall)
        self._end = seconds
        self._ends = True

    def left(self) -> float:
        """Seconds of work left; 0 once the wall clock, or whoever looks at it, says stop."""
        if not self._ends:
            return inf
        ledger = self._ledger
        if ledger.stopped or ledger.wall() <= 0.0:
            ledger.stopped = True
            return 0.0
        return max(self._end - ledger.spent, 0.0)

    def over(self) -> bool:
        """Whether nothing more is to be looked for."""
        return self.left() <= 0.0

    def spend(self, seconds: float) -> None:
        """So much work was done, in seconds of a usual machine."""
        self._ledger.spent += seconds

    @property
    def spent(self) -> float:
        """Seconds of work done so far, as a usual machine takes them."""
        return self._ledger.spent

    @property
    def stopped(self) -> bool:
        """Whether it was the wall clock that ended the search, at whatever it was just doing."""
        return self._ledger.stopped

    def stop(self) -> None:
        """Somebody met the wall clock by himself: a solver with a time limit."""
        self._ledger.stopped = True

    @property
    def on_the_wall(self) -> float:
        """Seconds of real time that a solver may take at most, a little even where there are none."""
        return max(self._ledger.wall(), _LEAST_ON_THE_WALL)

    def keeping(self, seconds: float) -> Clock:
        """A clock that ends so many seconds before this one: they are kept for what comes after."""
        return self._part(self._end - seconds, ends=self._ends)

    def share(self, part: float) -> Clock:
        """So large a part of what is left now, 0 to 1."""
        return self.keeping((1.0 - part) * max(self._end - self._ledger.spent, 0.0))

    def in_full(self) -> Clock:
        """A clock that is never over: for what is of no use half done. Its work counts all the same."""
        return self._part(self._end, ends=False)

    def _part(self, end: float, *, ends: bool) -> Clock:
        part = Clock(end)
        part._ledger, part._ends = self._ledger, ends
        return part
