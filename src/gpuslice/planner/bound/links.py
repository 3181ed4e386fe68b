"""Services in the linear master: replicas of several classes that carry one demand.

The rows of the classes stay what they are. For each kind of a service, a column takes the replicas that carry the whole
demand from the row of their class, and serves a row of the service. Kinds may be mixed in a plan, so that the master's
optimum is no bound; what demands are worth at its prices is, since that allows every mix of whole replicas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from gpuslice.planner.programs.highs import Column

if TYPE_CHECKING:
    from gpuslice.planner.programs.arrays import Floats, Integers

_GRID: Final = 256  # steps of a demand; what a replica carries is rounded up to one, which a bound may


@dataclass(frozen=True)
class Links:
    """What ties classes to services.

    Attributes:
        fixed: replicas of each class that workloads with replicas of their own take.
        kinds: (class number, service number, replicas that carry the service's demand, share of it that one carries).
        services: how many; each has a kind.
    """

    fixed: tuple[int, ...]
    kinds: tuple[tuple[int, int, int, float], ...] = ()
    services: int = 0

    def columns(self) -> list[Column]:
        """One for each kind, over the rows of the classes and then those of the services, whose demand is 1."""
        first = len(self.fixed)
        return [
            Column(0.0, (number, first + at), (-float(replicas), 1.0))
            for number, at, replicas, _ in self.kinds
        ]

    def worth(self, values: Floats) -> float:
        """The least that all demands are worth, if replicas of the classes are worth so much.

        A service takes whatever whole replicas carry its demand for the least. Where no node's load is worth more than
        the node, no plan costs less than this.
        """
        own = float(np.asarray(self.fixed, dtype=np.float64) @ values)
        if not self.services:
            return own
        numbers, steps, shares = self._by_service
        worth = np.where(numbers >= 0, values[numbers], np.inf)
        rows = np.arange(self.services)[:, None]
        least = np.zeros((self.services, _GRID + 1))
        for step in range(1, _GRID + 1):
            least[:, step] = (worth + least[rows, np.maximum(step - steps, 0)]).min(axis=1)
        # Of small shares, rounding up gives away more than fractions of replicas do.
        fractional = (worth / shares).min(axis=1)
        return own + float(np.maximum(least[:, -1], fractional).sum())

    @cached_property
    def _by_service(self) -> tuple[Integers, Integers, Floats]:
        """Class, steps of the grid and share of each service's kinds, shape (services, most kinds); class -1: none."""
        of: list[list[tuple[int, float]]] = [[] for _ in range(self.services)]
        for number, at, _, share in self.kinds:
            of[at].append((number, share))
        width = max(map(len, of))
        numbers = np.full((self.services, width), -1, dtype=np.int64)
        shares = np.ones((self.services, width))
        for row, mine in enumerate(of):
            for column, (number, share) in enumerate(mine):
                numbers[row, column], shares[row, column] = number, min(share, 1.0)
        return numbers, np.ceil(shares * _GRID - 1e-9).astype(np.int64), shares
