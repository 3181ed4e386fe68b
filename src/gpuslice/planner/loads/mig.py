"""The most valuable load of a node whose GPUs are cut by MIG, each into a geometry of its own.

Profiles form a chain: who fits an instance fits every larger one. So a set of pods fits a set of instances exactly if,
for every profile, no more pods need at least that profile than there are instances of it or a larger one (Hall's
condition on a chain). That leaves one variable a class and one a geometry, and few geometries that no other beats.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from operator import add
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.planner import budget
from gpuslice.planner.loads.knapsack import Effort, alone, best_load
from gpuslice.planner.loads.relaxation import Tariff
from gpuslice.planner.model.patterns import Pattern, others_taken
from gpuslice.planner.model.places import Place, pods_at
from gpuslice.planner.programs.highs import INFINITY, Column, LoadProgram, Stop, solve_mixed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.cuts import GpuGeometry
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.places import ClassNumber, SliceIndex
    from gpuslice.planner.programs.arrays import Floats, Integers

    Booleans = NDArray[np.bool_]

_GAP = 1e-4
_NODES = 200  # of branch and bound; past them, the solver's bound stands
_EFFORTS = (Effort(resources=2, cells=4_000, width=60), Effort(resources=3, cells=30_000, width=1_000))


class MigNode:
    """One option's pricing problem: choose a geometry for each GPU, and fill its instances.

    Attributes:
        option: the node to buy.
        work: that one answer takes, seconds of a usual machine.
    """

    def __init__(self, option: NodeOption, classes: Sequence[WorkloadClass]) -> None:
        """Keep what doesn't change between rounds."""
        self.option = option
        self._classes = classes
        slices = option.cut.slices
        # From the smallest to the largest: instance indices of the cut in the order of the chain.
        self._chain = sorted(
            option.cut.indices, key=lambda i: (slices[i].memory_mib, slices[i].compute, slices[i].bandwidth)
        )
        rank = {where: position for position, where in enumerate(self._chain)}
        self._level = {
            number: min(rank[where] for where, _ in option.cut.fits[number]) for number in option.classes
        }
        reach = {geometry: self._reach(geometry) for geometry in option.cut.geometries}
        self._geometries = [
            geometry
            for geometry, mine in reach.items()
            if not any(
                other != geometry
                and all(a >= b for a, b in zip(theirs, mine, strict=True))
                and (theirs != mine or other < geometry)
                for other, theirs in reach.items()
            )
        ]
        self._reached = [reach[geometry] for geometry in self._geometries]
        self._room, self._taken = _machine(option, classes)
        self._relaxed: LoadProgram | None = None
        self.work = budget.MIG_LOAD if option.units > 1 else budget.MIG_GEOMETRY * len(self._geometries)

    @property
    def geometries(self) -> list[GpuGeometry]:
        """Those that no other beats."""
        return self._geometries

    @property
    def reached(self) -> list[tuple[int, ...]]:
        """Of each geometry, how many instances of each profile of the chain or a larger one."""
        return self._reached

    def level(self, number: ClassNumber) -> int:
        """Where in the chain the smallest profile is that a class fits."""
        return self._level[number]

    def _reach(self, geometry: GpuGeometry) -> tuple[int, ...]:
        """Instances of each profile of the chain or a larger one."""
        counts = dict(geometry)
        at_least, total = [], 0
        for where in reversed(self._chain):
            total += counts.get(where, 0)
            at_least.append(total)
        return tuple(reversed(at_least))

    def tariff(self, values: Floats, most: Floats) -> Tariff:
        """Prices at the optimum of the linear relaxation, for the replicas of each of the option's classes.

        Args:
            values: of a replica of each of the option's classes.
            most: replicas of each.
        """
        option, levels = self.option, len(self._chain)
        limits = np.asarray([0.0] * levels + [*self._room, option.units])
        gpus = len(limits) - 1
        classes, geometries = len(option.classes), len(self._reached)
        entries = np.zeros((gpus + 1, classes + geometries))
        for column, number in enumerate(option.classes):
            entries[: self._level[number] + 1, column] = 1.0
            entries[levels:gpus, column] = self._taken[number]
        reached = np.asarray(self._reached, dtype=np.float64).T
        entries[:levels, classes:] = -reached
        entries[gpus, classes:] = 1.0
        if self._relaxed is None:
            self._relaxed = LoadProgram(entries, limits, np.zeros(classes + geometries), equal=1)
        self._relaxed.limit(np.concatenate([most, np.full(geometries, float(option.units))]))
        prices = np.maximum(self._relaxed.duals(np.concatenate([values, np.zeros(geometries)]))[:gpus], 0.0)
        instances = float((prices[:levels] @ reached).max()) * option.units
        return Tariff(
            prices,
            instances + float(prices[levels:] @ limits[levels:gpus]),
            prices @ entries[:gpus, :classes],
        )

    def price(
        self, values: Floats, wanted: Sequence[int], *, threshold: float
    ) -> tuple[float, float, Pattern | None]:
        """Value, proven bound and pattern of the best load; no pattern where none beats the threshold."""
        if self.option.units == 1:
            return self._by_geometry(values, wanted, threshold)
        columns, lower, upper = self._program(values, wanted)
        answer = solve_mixed(columns, lower, upper, Stop(_GAP, _NODES))
        if answer.point is None or answer.bound is None:
            return 0.0, INFINITY, None
        value, bound = -answer.point.objective, max(-answer.bound, -answer.point.objective)
        if value <= threshold:
            return value, max(bound, threshold), None
        counts = [round(value) for value in answer.point.values]
        taken = dict(zip(self.option.classes, counts, strict=False))
        geometries = tuple(
            geometry
            for geometry, count in zip(self._geometries, counts[len(self.option.classes) :], strict=True)
            for _ in range(count)
        )
        return value, bound, self._plainest({n: c for n, c in taken.items() if c}, geometries)

    def carried(self, counts: Integers) -> Booleans:
        """Whether some geometries have instances for these loads, shape (loads,): CPU and memory aren't looked at.

        Args:
            counts: replicas of the option's classes, shape (loads, classes).
        """
        reached, _ = _together(tuple(self._reached), self.option.units)
        needs = counts @ np.asarray(
            [np.arange(len(self._chain)) <= self._level[number] for number in self.option.classes],
            dtype=np.int64,
        )
        kinds, kind = np.unique(needs, axis=0, return_inverse=True)
        carried = [bool((need <= reached).all(axis=1).max()) for need in kinds]
        return np.asarray(carried, dtype=np.bool_)[kind]

    def full(self, counts: Integers, room: Booleans) -> Booleans:
        """Whether nothing can be added to loads that are carried, shape (loads,).

        Args:
            counts: replicas of the option's classes, shape (loads, classes).
            room: whether CPU, memory and what there is leave room for one more of each class, shape (loads, classes).
        """
        full = np.ones(len(counts), dtype=np.bool_)
        levels = np.asarray([self._level[number] for number in self.option.classes])
        for level in np.unique(levels).tolist():
            more = counts.copy()
            more[:, int(np.flatnonzero(levels == level)[0])] += 1  # as good as any of this level
            full &= ~(room[:, levels == level].any(axis=1) & self.carried(more))
        return full

    def carrying(self, counts: Mapping[ClassNumber, int]) -> Pattern:
        """The node with so many replicas of each class, which are carried: quickly, and not as plain as can be."""
        reached, geometries = _together(tuple(self._reached), self.option.units)
        needed = np.zeros(len(self._chain), dtype=np.int64)
        for number, count in counts.items():
            needed[: self._level[number] + 1] += count
        chosen = geometries[int(np.flatnonzero((needed <= reached).all(axis=1))[0])]
        return self.filled(counts, tuple(self._geometries[at] for at in chosen))

    def plainest(self, pattern: Pattern) -> Pattern:
        """A pattern's load with each class on the smallest profile that will do, if that can be."""
        return self._plainest(pattern.counts(), pattern.geometries)

    def _by_geometry(
        self, values: Floats, wanted: Sequence[int], threshold: float
    ) -> tuple[float, float, Pattern | None]:
        """The best load of a single GPU: a knapsack for each geometry, its resources the conditions of the chain."""
        option = self.option
        members = np.asarray(option.classes)
        needs = np.asarray([self._level[number] for number in option.classes])
        sizes = np.concatenate(
            [
                needs[:, None] >= np.arange(len(self._chain)),
                [self._taken[number] for number in option.classes],
            ],
            axis=1,
        ).astype(np.int64)
        here, most = values[members], np.asarray(wanted, dtype=np.int64)[members]
        best, bound, pattern = threshold, threshold, None
        for geometry, reach in zip(self._geometries, self._reached, strict=True):
            have = np.asarray([*reach, *self._room], dtype=np.int64)
            rows = have > 0
            fitting = np.minimum(alone(sizes, have), most)
            load = best_load(
                here,
                sizes[:, rows],
                have[rows],
                fitting,
                self._prices(here, sizes[:, rows], have[rows], fitting),
                threshold=best,
                efforts=_EFFORTS,
            )
            bound = max(bound, load.bound)
            if load.counts:
                best = load.value
                taken = {option.classes[item]: count for item, count in load.counts}
                pattern = self._plainest(taken, (geometry,))
        return best, max(bound, best), pattern

    def _plainest(self, counts: Mapping[ClassNumber, int], geometries: tuple[GpuGeometry, ...]) -> Pattern:
        """A node with these replicas, those of a class all on the smallest profile that will do, if that can be.

        A Deployment asks for one profile: what is spread over several can't be carried out as it is.

        Args:
            counts: replicas of each class.
            geometries: that carry them, if nothing is plainer.
        """
        wanted: Counter[SliceIndex] = Counter()
        for number, count in counts.items():
            wanted[self._chain[self._level[number]]] += count
        profiles = sorted(wanted)
        offered = self.option.cut.geometries
        answer = solve_mixed(
            [
                Column(
                    0.0,
                    (*range(len(profiles)), len(profiles)),
                    (*[float(dict(geometry).get(where, 0)) for where in profiles], 1.0),
                )
                for geometry in offered
            ],
            [*[float(wanted[where]) for where in profiles], float(self.option.units)],
            [*[INFINITY] * len(profiles), float(self.option.units)],
            Stop(0.0, _NODES),
        )
        if answer.point is not None:
            geometries = tuple(
                geometry
                for geometry, times in zip(offered, answer.point.values, strict=True)
                for _ in range(round(times))
            )
        return self.filled(counts, geometries)

    @staticmethod
    def _prices(values: Floats, sizes: Integers, have: Integers, most: Integers) -> Floats:
        """Of the resources, at the optimum of one geometry's linear relaxation."""
        program = LoadProgram((sizes / have).T, np.ones(len(have)), most.astype(np.float64))
        return np.maximum(program.duals(values), 0.0) / have

    def filled(self, counts: Mapping[ClassNumber, int], geometries: tuple[GpuGeometry, ...]) -> Pattern:
        """The pattern with so many replicas of each class, each in the smallest instance that is left for it."""
        free: Counter[SliceIndex] = Counter()
        for geometry in geometries:
            for where, count in geometry:
                free[where] += count
        pods: Counter[Place] = Counter()
        for number in sorted(self.option.classes, key=lambda a_class: -self._level[a_class]):
            left = counts.get(number, 0)
            # The most demanding class first, from the smallest instance that will do.
            for where in self._chain[self._level[number] :]:
                here = min(left, free[where])
                if here:
                    pods[Place(number, where)] += here
                    free[where] -= here
                    left -= here
        return Pattern(self.option, pods_at(pods), geometries)

    def _program(
        self, values: Floats, wanted: Sequence[int]
    ) -> tuple[list[Column], list[float], list[float]]:
        """Maximise value over replicas of classes and geometries of GPUs, as a minimisation."""
        option, levels = self.option, len(self._chain)
        # Rows: pods that need at least each profile, against instances; then what the machine has, and its GPUs.
        machine, gpus = range(levels, levels + len(self._room)), levels + len(self._room)
        columns = []
        for number in option.classes:
            needing = range(self._level[number] + 1)
            columns.append(
                Column(
                    -float(values[number]),
                    (*needing, *machine),
                    (*[1.0] * len(needing), *map(float, self._taken[number])),
                    upper=float(wanted[number]),
                )
            )
        for reach in self._reached:
            rows = [row for row in range(levels) if reach[row]]
            columns.append(Column(0.0, (*rows, gpus), (*[-float(reach[row]) for row in rows], 1.0)))
        upper = [0.0] * levels + [*map(float, self._room), float(option.units)]
        lower = [-INFINITY] * len(upper)
        lower[gpus] = float(option.units)  # every GPU is cut
        return columns, lower, upper


def _machine(
    option: NodeOption, classes: Sequence[WorkloadClass]
) -> tuple[tuple[int, ...], dict[int, tuple[int, ...]]]:
    """What the machine has, and what a replica of each class takes of that: CPU, memory, pods, and then of `others`.

    Of these, those that more than one class takes: of another, its class is limited by as many as go on a node.
    """
    taken = {number: others_taken(classes[number], option) for number in option.classes}
    shared = [
        at for at in range(len(option.others)) if sum(amounts[at] > 0 for amounts in taken.values()) > 1
    ]
    room = (option.cpu_milli, option.memory_mib, option.pods, *(option.others[at][1] for at in shared))
    return room, {
        number: (classes[number].cpu_milli, classes[number].memory_mib, 1, *(amounts[at] for at in shared))
        for number, amounts in taken.items()
    }


@cache
def _together(reached: tuple[tuple[int, ...], ...], units: int) -> tuple[Integers, list[tuple[int, ...]]]:
    """What all GPUs of a node reach, shape (choices, profiles), and by which geometries: choices that no other beats.

    Args:
        reached: by each geometry.
        units: GPUs.
    """
    ways: dict[tuple[int, ...], tuple[int, ...]] = {(0,) * len(reached[0]): ()}
    for _ in range(units):
        sums: dict[tuple[int, ...], tuple[int, ...]] = {}
        for total, chosen in ways.items():
            for at, reach in enumerate(reached):
                sums.setdefault(tuple(map(add, total, reach)), (*chosen, at))
        totals = np.asarray(list(sums))
        beaten = [((totals >= total).all(axis=1) & (totals != total).any(axis=1)).max() for total in totals]
        ways = {
            total: chosen
            for (total, chosen), is_beaten in zip(sums.items(), beaten, strict=True)
            if not is_beaten
        }
    return np.asarray(list(ways)), list(ways.values())
