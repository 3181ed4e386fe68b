"""What one node can be worth at most, by linear relaxation: quick to ask again, and what most options need no more of.

Prices of a node's resources turn into a bound for any values of the replicas: what all of its resources cost, and what
each class is worth beyond the resources that it takes. At the prices of the linear optimum this is that optimum; at
older ones it is still a bound, which holds for many options at once without solving anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.planner.programs.highs import LoadProgram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices of one node's resources, in dollars.

    Attributes:
        prices: of a unit of each row.
        node: of all that the node has.
        replica: of what a replica of each of its classes takes.
    """

    prices: Floats
    node: float
    replica: Floats

    def most(self, values: Floats, replicas: Floats) -> float:
        """No load of at most so many replicas, worth so much each, is worth more."""
        return self.node + float(np.maximum(values - self.replica, 0.0) @ replicas)


class RelaxedLoad:
    """The linear relaxation of one node's load."""

    def __init__(self, sizes: Integers, capacity: Integers, most: Integers, usd: float) -> None:
        """Keep what doesn't change.

        Args:
            sizes: of a replica of each class, shape (classes, resources).
            capacity: shape (resources,), positive.
            most: replicas of each class, shape (classes,).
            usd: what the node costs.
        """
        self._sizes, self._capacity = sizes.astype(np.float64), capacity.astype(np.float64)
        self._most = most.astype(np.float64)
        self._program: LoadProgram | None = None
        self._quick_prices = usd * _plain_weights(len(capacity)) / self._capacity
        self._quick = self._sizes @ self._quick_prices.T
        self._usd = usd

    def quick_tariff(self, values: Floats) -> Tariff:
        """A tariff that solves nothing: the one of a few plain ones that bounds most tightly."""
        beyond = self._most @ np.maximum(values[:, None] - self._quick, 0.0)
        best = int(np.argmin(beyond))
        return Tariff(self._quick_prices[best], self._usd, self._quick[:, best])

    def limit(self, most: Integers) -> None:
        """From now on, at most so many replicas of each class."""
        self._most = most.astype(np.float64)
        if self._program is not None:
            self._program.limit(self._most)

    def tariff(self, values: Floats) -> Tariff:
        """The prices at the linear optimum."""
        if self._program is None:
            # Shares of the node, not units: numbers near one are kinder to the solver.
            shares = (self._sizes / self._capacity).T
            self._program = LoadProgram(shares, np.ones(len(self._capacity)), self._most)
        prices = np.maximum(self._program.duals(values), 0.0) / self._capacity
        return Tariff(prices, float(prices @ self._capacity), self._sizes @ prices)


@cache
def _plain_weights(resources: int) -> Floats:
    """All on one resource, or half on each of two; shape (weights, resources)."""
    pairs = [(a, b) for a in range(resources) for b in range(a, resources)]
    weights: Floats = np.asarray([(np.eye(resources)[a] + np.eye(resources)[b]) / 2 for a, b in pairs])
    return weights
