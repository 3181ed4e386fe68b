"""From a packing to pools: each workload goes to one pool and asks for one resource there.

The cheapest packing may send replicas of one workload to several cuts. A Deployment has one pod template, and so one
node selector and one resource: here each is given one home, whole, and nodes are chosen again for that. Workloads
whose replicas have a template each (bare pods) may still be spread.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.cloud.catalog import Purchase
from gpuslice.planner.patterns import Pattern
from gpuslice.planner.solver import INFINITY, Column, solve_mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.master import Packing
    from gpuslice.planner.options import GpuGeometry
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What makes nodes one pool: the same cut, for the same group; with MIG the same geometry.

    Attributes:
        cut: identity of the cut (`id`): options of one cut share the object.
        geometries: MIG's, per GPU.
        spot: whether its nodes are spot: who may not be interrupted must never land there.
    """

    cut: int
    geometries: tuple[GpuGeometry, ...]
    spot: bool


@dataclass(frozen=True, slots=True)
class Home:
    """Where replicas go: a pool, and the slice that they ask for there."""

    pool: PoolKey
    slice_index: int


@dataclass(frozen=True, slots=True)
class Realisation:
    """Nodes, and the home of each workload.

    Attributes:
        packing: the nodes, by pattern over the class numbers.
        homes: by class number, (workload, home, replicas).
    """

    packing: Packing
    homes: dict[int, tuple[tuple[Workload, Home, int], ...]]


def pool_of(pattern: Pattern) -> PoolKey:
    """The pool that a node with this load belongs to."""
    return PoolKey(id(pattern.option.cut), pattern.geometries, pattern.option.purchase is Purchase.SPOT)


def realise(
    patterns: Iterable[Pattern],
    packing: Packing,
    classes: Sequence[WorkloadClass],
    *,
    gap: float,
    remaining: Callable[[], float],
) -> Realisation:
    """Give every workload one home, and choose the cheapest nodes for that.

    Args:
        patterns: known ones, from which to choose.
        packing: the cheapest one, whose patterns are among the choice.
        classes: to place.
        gap: relative, at which to stop looking.
        remaining: seconds left.
    """
    choice = tuple(dict.fromkeys([*patterns, *packing]))
    fallback = _each_alone(choice, classes)
    program = _Program(choice, classes)
    answer = solve_mixed(
        program.columns,
        program.lower,
        program.upper,
        seconds=max(remaining(), 0.05),
        gap=gap,
        start=program.point(fallback),
    )
    values = program.point(fallback) if answer.values is None else answer.values
    return program.realisation(values)


def _each_alone(patterns: Iterable[Pattern], classes: Sequence[WorkloadClass]) -> dict[int, Pattern]:
    """By class, the node on which it alone is cheapest. Column generation began with such patterns for every class."""
    best: dict[int, tuple[float, Pattern]] = {}
    for pattern in patterns:
        if len(pattern.pods) == 1:
            ((number, _, count),) = pattern.pods
            cost = pattern.option.usd * -(-classes[number].replicas // count)
            if number not in best or cost < best[number][0]:
                best[number] = cost, pattern
    return {number: pattern for number, (_, pattern) in best.items()}


class _Program:
    """Columns: amounts of patterns, then a choice for each workload and home."""

    def __init__(self, patterns: tuple[Pattern, ...], classes: Sequence[WorkloadClass]) -> None:
        self.patterns = patterns
        self.classes = classes
        # Rows: one per class and home where the class is not splittable, else one per class; then one per workload.
        self.supply: dict[tuple[int, Home | None], int] = {}
        entries: list[dict[int, float]] = []
        self.lower: list[float] = []
        for pattern in patterns:
            column: dict[int, float] = {}
            for number, where, count in pattern.pods:
                home = None if classes[number].splittable else Home(pool_of(pattern), where)
                row = self._row(number, home)
                column[row] = column.get(row, 0.0) + count
            entries.append(column)
        self.columns = [
            Column(pattern.option.usd, tuple(sorted(column)), tuple(column[row] for row in sorted(column)))
            for pattern, column in zip(patterns, entries, strict=True)
        ]
        self.choices: list[tuple[int, Workload, Home]] = []
        homes: dict[int, list[tuple[Home, int]]] = defaultdict(list)
        for (number, home), row in self.supply.items():
            if home is not None:
                homes[number].append((home, row))
        self.upper = [INFINITY] * len(self.lower)
        for number, each in enumerate(classes):
            if each.splittable:
                continue
            for workload in each.members:
                chosen = len(self.lower)
                self.lower.append(1.0)
                self.upper.append(1.0)
                for home, row in homes[number]:
                    self.choices.append((number, workload, home))
                    self.columns.append(
                        Column(0.0, (row, chosen), (-float(workload.replicas), 1.0), upper=1.0)
                    )

    def _row(self, number: int, home: Home | None) -> int:
        key = (number, home)
        if key not in self.supply:
            self.supply[key] = len(self.lower)
            self.lower.append(float(self.classes[number].replicas) if home is None else 0.0)
        return self.supply[key]

    def point(self, patterns: dict[int, Pattern]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The point at which every class has nodes of its own."""
        amounts: Counter[Pattern] = Counter()
        for number, pattern in patterns.items():
            amounts[pattern] += -(-self.classes[number].replicas // pattern.pods[0][2])
        first = [float(amounts[pattern]) for pattern in self.patterns]
        homes = {number: Home(pool_of(pattern), pattern.pods[0][1]) for number, pattern in patterns.items()}
        return np.asarray(first + [float(homes[number] == home) for number, _, home in self.choices])

    def realisation(self, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Realisation:
        """The nodes and homes that a point stands for, without surplus replicas."""
        chosen: dict[int, list[tuple[Workload, Home, int]]] = defaultdict(list)
        wanted: Counter[tuple[int, Home | None]] = Counter()
        for (number, workload, home), value in zip(self.choices, values[len(self.patterns) :], strict=True):
            if value > 0.5:
                chosen[number].append((workload, home, workload.replicas))
                wanted[number, home] += workload.replicas
        for number, each in enumerate(self.classes):
            if each.splittable:
                wanted[number, None] = each.replicas
        packing = self._without_surplus(values, wanted)
        for number, each in enumerate(self.classes):
            if each.splittable:
                chosen[number] = _spread(number, each, packing)
        return Realisation(packing, {number: tuple(homes) for number, homes in chosen.items()})

    def _without_surplus(
        self, values: np.ndarray[tuple[int], np.dtype[np.float64]], wanted: Counter[tuple[int, Home | None]]
    ) -> Packing:
        packing: Packing = Counter()
        left = Counter(wanted)
        amounts = [
            (pattern, round(amount))
            for pattern, amount in zip(self.patterns, values, strict=False)
            if amount > 0.5
        ]
        # Cheap nodes fill first, so that surplus comes off the dear ones.
        for pattern, amount in sorted(amounts, key=lambda each: (each[0].option.price, each[0].pods)):
            for _ in range(amount):
                pods = []
                for number, where, count in pattern.pods:
                    key = (number, None if self.classes[number].splittable else Home(pool_of(pattern), where))
                    carried = min(count, left[key])
                    left[key] -= carried
                    if carried:
                        pods.append((number, where, carried))
                if pods:
                    packing[Pattern(pattern.option, tuple(pods), pattern.geometries)] += 1
        return packing


def _spread(number: int, each: WorkloadClass, packing: Packing) -> list[tuple[Workload, Home, int]]:
    """Replicas of the members of a splittable class, dealt to the homes that the nodes have for it."""
    places: Counter[Home] = Counter()
    for pattern, nodes in packing.items():
        for which, where, count in pattern.pods:
            if which == number:
                places[Home(pool_of(pattern), where)] += count * nodes
    dealt: list[tuple[Workload, Home, int]] = []
    open_places = [[home, count] for home, count in places.items()]
    for workload in each.members:
        left = workload.replicas
        while left:
            home, free = open_places[0]
            assert isinstance(home, Home)
            assert isinstance(free, int)
            take = min(left, free)
            dealt.append((workload, home, take))
            left -= take
            open_places[0][1] = free - take
            if not open_places[0][1]:
                open_places.pop(0)
    return dealt
