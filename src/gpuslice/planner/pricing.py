"""Which loads of which nodes are worth more than the node costs, at given prices per replica: the pricing problem.

Each option gets an upper bound cheaply; only those that the bound doesn't rule out are solved exactly. So the answer
holds columns and, for every option, a proven most that one node of it can be worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.hardware.slices import Mechanism
from gpuslice.planner.knapsack import best_load, surrogate_bounds
from gpuslice.planner.mig_load import MigNode
from gpuslice.planner.patterns import Pattern, capacity, usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.knapsack import Floats
    from gpuslice.planner.options import NodeOption

_BESIDES = 12  # searches a round that can't tighten the bound any more, for the columns that they find
_LONGER, _MOST_STEPS = 8, 20_000
_OTHERS = 6  # further loads of an option in one round
_OTHERS_BUDGET = 50
_RESOURCES = 6


@dataclass(frozen=True, slots=True)
class Priced:
    """The answer of one round.

    Attributes:
        patterns: with their values, most valuable against the node's price first.
        ratio: the least, over all options, of price / (most that one node can be worth); at most 1. Prices per
            replica times this are dual feasible, which is what makes a bound of them.
    """

    patterns: tuple[tuple[float, Pattern], ...]
    ratio: float


class Pricing:
    """The pricing problems of all options, with what one round teaches the next."""

    def __init__(self, options: Sequence[NodeOption], classes: Sequence[WorkloadClass]) -> None:
        """Lay out arrays: shares of each resource by option and class, infinite where not admitted."""
        self._classes = classes
        self._options = tuple(options)
        self._mig = {
            row: MigNode(option, classes)
            for row, option in enumerate(options)
            if option.cut.mechanism is Mechanism.MIG
        }
        demand = np.asarray([each.replicas for each in classes], dtype=np.float64)
        shape = (len(self._options), _RESOURCES, len(classes))
        self._weights = np.full(shape, np.inf)
        self._most = np.zeros((len(self._options), len(classes)))
        self._sizes: list[list[tuple[int, ...]]] = []
        self._limits: list[list[int]] = []
        for row, option in enumerate(self._options):
            self._sizes.append([usage(number, option, classes) for number in option.classes])
            have = np.asarray(capacity(option), dtype=np.float64)
            admitted = np.asarray(option.classes)
            sizes = np.asarray(self._sizes[row], dtype=np.float64)
            share = np.divide(sizes, have, out=np.zeros_like(sizes), where=have > 0)
            self._weights[row][:, admitted] = share.T
            with np.errstate(divide="ignore"):
                alone = np.floor(np.min(np.where(share > 0, 1.0 / share, np.inf), axis=1) + 1e-9)
            self._most[row, admitted] = np.minimum(alone, demand[admitted])
            self._limits.append([int(each) for each in np.minimum(alone, demand[admitted])])
        self._prices = np.asarray([option.usd for option in self._options], dtype=np.float64)
        self._multipliers = np.full((len(self._options), _RESOURCES), 1.0 / _RESOURCES)

    def least_shares(self) -> Floats:
        """For each class, the least that a replica costs if nodes were filled to the brim: dollars per hour."""
        share = np.where(np.isfinite(self._weights), self._weights, -np.inf).max(axis=1)
        whole = np.divide(1.0, self._most, out=np.full_like(self._most, np.inf), where=self._most > 0)
        # In whole pieces: of what takes more than half of a node, only one goes in.
        alone = np.asarray([each.replicas for each in self._classes]) <= self._most
        share = np.where(alone, share, whole)
        costs: Floats = np.where(share > -np.inf, share, np.inf) * self._prices[:, None]
        least: Floats = costs.min(axis=0)
        return least

    def solve(
        self, values: Floats, demand: Floats, *, tolerance: float, budget: int, besides: int = _BESIDES
    ) -> Priced:
        """Price all options.

        Args:
            values: what a replica of each class is worth, dollars, not negative.
            demand: replicas of each class, at most all of them: no load has more.
            tolerance: loads worth less than the node's price x (1 + tolerance) don't interest, and cost the bound as
                much.
            budget: steps of an exact search; what it leaves open is in the bound.
            besides: searches that can't tighten the bound.
        """
        found: list[tuple[float, Pattern]] = []
        ratio = 1.0 / (1.0 + tolerance)
        wanted = [round(each) for each in demand]
        live, bounds = self._live(values, np.minimum(self._most, demand), 1.0 + tolerance)
        # The bound hangs on the option that is worth most against its price. Once one is found that beats what all
        # others can be at most, they can't change it: only a few more are searched, for their columns.
        for row, bound in sorted(
            zip(live, bounds, strict=True), key=lambda each: -each[1] / self._prices[each[0]]
        ):
            option = self._options[row]
            if option.usd / bound >= ratio:
                besides -= 1
                if besides < 0:
                    break
            if row in self._mig:
                value, most, pattern = self._mig[row].price(values, wanted, tolerance=tolerance)
            else:
                threshold = option.usd * (1.0 + tolerance)
                value, most, pattern = self._search(row, values, wanted, threshold, budget)
                steps = budget
                # Nothing found, nothing proven, and the bound would suffer: only then is a longer search worth it.
                while pattern is None and option.usd / min(most, bound) < ratio and steps < _MOST_STEPS:
                    steps *= _LONGER
                    value, most, pattern = self._search(row, values, wanted, threshold, steps)
            ratio = min(ratio, option.usd / min(most, bound))
            if pattern is not None:
                found.append((value, pattern))
                found += self._others(row, pattern, values, wanted, option.usd * (1.0 + tolerance))
        found.sort(key=lambda each: each[1].option.usd / each[0])
        return Priced(tuple(found), ratio)

    def _search(
        self, row: int, values: Floats, wanted: Sequence[int], threshold: float, budget: int
    ) -> tuple[float, float, Pattern | None]:
        option = self._options[row]
        load = best_load(
            [float(values[number]) for number in option.classes],
            self._sizes[row],
            capacity(option),
            [min(self._limits[row][i], wanted[number]) for i, number in enumerate(option.classes)],
            [float(each) for each in self._multipliers[row]],
            threshold=threshold,
            budget=budget,
        )
        if not load.counts:
            return load.value, load.bound, None
        pods = tuple((option.classes[item], 0, count) for item, count in load.counts)
        return load.value, load.bound, Pattern(option, pods)

    def _others(
        self, row: int, pattern: Pattern, values: Floats, wanted: Sequence[int], threshold: float
    ) -> list[tuple[float, Pattern]]:
        """More good loads of the same option, of replicas that the ones before left over.

        The master needs nodes for everybody: the best load alone shows it the same favourites round by round.
        """
        found: list[tuple[float, Pattern]] = []
        if row in self._mig:
            return found
        left = list(wanted)
        while len(found) < _OTHERS:
            for number, count in pattern.counts().items():
                left[number] -= count
            value, _, more = self._search(row, values, left, threshold, _OTHERS_BUDGET)
            if more is None:
                break
            found.append((value, more))
            pattern = more
        return found

    def cheapest_alone(self, a_class: int) -> list[tuple[NodeOption, int]]:
        """For each class, the options on which a replica is cheapest where it has the node for itself.

        Args:
            a_class: how many options a class, by price per replica and by price for all replicas.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            by_replica = np.where(self._most > 0, self._prices[:, None] / self._most, np.inf)
            nodes = np.ceil(np.asarray([each.replicas for each in self._classes]) / self._most)
            by_fleet = np.where(self._most > 0, self._prices[:, None] * nodes, np.inf)
        found = []
        for number in range(len(self._classes)):
            for costs in (by_replica[:, number], by_fleet[:, number]):
                rows = np.argsort(costs, kind="stable")[:a_class]
                found += [(self._options[row], number) for row in rows if np.isfinite(costs[row])]
        return found

    def _live(self, values: Floats, most: Floats, factor: float) -> tuple[list[int], list[float]]:
        """The rows whose bound exceeds their price x factor, with those bounds."""
        if not self._options:
            return [], []
        rows = np.arange(len(self._options))
        bounds, _ = surrogate_bounds(values, self._weights, most, self._multipliers, steps=1)
        rows = rows[bounds > self._prices * factor]
        bounds, better = surrogate_bounds(values, self._weights[rows], most[rows], self._multipliers[rows])
        self._multipliers[rows] = better
        still = bounds > self._prices[rows] * factor
        return [int(row) for row in rows[still]], [float(bound) for bound in bounds[still]]
