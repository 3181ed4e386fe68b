"""Services in the linear master: replicas of several classes that together carry one demand.

The rows of the classes stay what they are. A column for each kind takes a replica from its class's row, and carries a
share of its service's demand in a row of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.planner.solver import Column

if TYPE_CHECKING:
    from gpuslice.planner.knapsack import Floats


@dataclass(frozen=True, slots=True)
class Links:
    """What ties classes to services.

    Attributes:
        fixed: replicas of each class that workloads with replicas of their own take.
        kinds: (class number, service number, share of the service's demand that one replica carries).
        services: how many.
    """

    fixed: tuple[int, ...]
    kinds: tuple[tuple[int, int, float], ...] = ()
    services: int = 0

    def columns(self) -> list[Column]:
        """One for each kind, over the rows of the classes and then those of the services, whose demand is 1."""
        first = len(self.fixed)
        return [Column(0.0, (number, first + at), (-1.0, share)) for number, at, share in self.kinds]

    def worth(self, values: Floats) -> float:
        """The least that all demands are worth, if replicas of the classes are worth so much.

        A service takes the kind that is worth least for what it does. Where no node's load is worth more than the
        node, no plan costs less than this.
        """
        least = np.full(self.services, np.inf)
        for number, at, share in self.kinds:
            least[at] = min(least[at], values[number] / share)
        return float(np.asarray(self.fixed, dtype=np.float64) @ values) + float(least.sum())
