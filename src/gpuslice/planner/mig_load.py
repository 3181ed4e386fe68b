"""The most valuable load of a node whose GPUs are cut by MIG, each into a geometry of its own.

Profiles form a chain: who fits an instance fits every larger one. So a set of pods fits a set of instances exactly if,
for every profile, no more pods need at least that profile than there are instances of it or a larger one (Hall's
condition on a chain). That leaves one variable a class and one a geometry, and few geometries that no other beats.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuslice.planner.patterns import Pattern
from gpuslice.planner.solver import INFINITY, Column, solve_mixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.knapsack import Floats
    from gpuslice.planner.options import GpuGeometry, NodeOption

_NODES = 200  # of branch and bound; past them, the solver's bound stands
_SECONDS = 30.0  # never reached but where something is badly wrong


class MigNode:
    """One option's pricing problem: choose a geometry for each GPU, and fill its instances."""

    def __init__(self, option: NodeOption, classes: Sequence[WorkloadClass]) -> None:
        """Keep what doesn't change between rounds."""
        self.option = option
        self._classes = classes
        slices = option.cut.slices
        # From the smallest to the largest: instance indices of the cut in the order of the chain.
        self._chain = sorted(
            range(len(slices)), key=lambda i: (slices[i].memory_mib, slices[i].compute, slices[i].bandwidth)
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

    def _reach(self, geometry: GpuGeometry) -> tuple[int, ...]:
        """Instances of each profile of the chain or a larger one."""
        counts = dict(geometry)
        at_least, total = [], 0
        for where in reversed(self._chain):
            total += counts.get(where, 0)
            at_least.append(total)
        return tuple(reversed(at_least))

    def price(
        self, values: Floats, wanted: Sequence[int], *, tolerance: float
    ) -> tuple[float, float, Pattern | None]:
        """Value, proven bound and pattern of the best load; no pattern where none beats the price x (1 + tolerance)."""
        threshold = self.option.usd * (1.0 + tolerance)
        columns, lower, upper = self._program(values, wanted)
        answer = solve_mixed(columns, lower, upper, seconds=_SECONDS, nodes=_NODES, gap=tolerance / 2)
        if answer.values is None:
            return 0.0, INFINITY, None
        value, bound = -answer.objective, max(-answer.bound, -answer.objective)
        if value <= threshold:
            return value, max(bound, threshold), None
        counts = [round(each) for each in answer.values]
        taken = dict(zip(self.option.classes, counts, strict=False))
        geometries = tuple(
            geometry
            for geometry, count in zip(self._geometries, counts[len(self.option.classes) :], strict=True)
            for _ in range(count)
        )
        return value, bound, self.filled(taken, geometries)

    def filled(self, counts: dict[int, int], geometries: tuple[GpuGeometry, ...]) -> Pattern:
        """The pattern with so many replicas of each class, each in the smallest instance that is left for it."""
        free: Counter[int] = Counter()
        for geometry in geometries:
            for where, count in geometry:
                free[where] += count
        pods: Counter[tuple[int, int]] = Counter()
        for number in sorted(self.option.classes, key=lambda each: -self._level[each]):
            left = counts.get(number, 0)
            # The most demanding class first, from the smallest instance that will do.
            for where in self._chain[self._level[number] :]:
                here = min(left, free[where])
                if here:
                    pods[number, where] += here
                    free[where] -= here
                    left -= here
        placed = tuple(sorted((number, where, count) for (number, where), count in pods.items()))
        return Pattern(self.option, placed, geometries)

    def _program(
        self, values: Floats, wanted: Sequence[int]
    ) -> tuple[list[Column], list[float], list[float]]:
        """Maximise value over replicas of classes and geometries of GPUs, as a minimisation."""
        option, levels = self.option, len(self._chain)
        # Rows: pods that need at least each profile, against instances; then CPU, memory, pods, GPUs.
        columns = []
        for number in option.classes:
            each = self._classes[number]
            needing = range(self._level[number] + 1)
            columns.append(
                Column(
                    -float(values[number]),
                    (*needing, levels, levels + 1, levels + 2),
                    (*[1.0] * len(needing), float(each.cpu_milli), float(each.memory_mib), 1.0),
                    upper=float(wanted[number]),
                )
            )
        for reach in self._reached:
            rows = [row for row in range(levels) if reach[row]]
            columns.append(Column(0.0, (*rows, levels + 3), (*[-float(reach[row]) for row in rows], 1.0)))
        upper = [0.0] * levels + [
            float(option.cpu_milli),
            float(option.memory_mib),
            float(option.pods),
            float(option.units),
        ]
        lower = [-INFINITY] * len(upper)
        lower[levels + 3] = float(option.units)  # every GPU is cut
        return columns, lower, upper
