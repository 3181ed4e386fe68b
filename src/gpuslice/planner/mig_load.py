"""The most valuable load of a node whose GPUs are cut by MIG, each into a geometry of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.planner.patterns import Pattern
from gpuslice.planner.solver import INFINITY, Column, solve_mixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.knapsack import Floats
    from gpuslice.planner.options import NodeOption

_SECONDS = 0.5  # for one node; past it, the solver's bound stands


class MigNode:
    """One option's pricing problem: choose a geometry for each GPU, and fill its instances."""

    def __init__(self, option: NodeOption, classes: Sequence[WorkloadClass]) -> None:
        """Keep what doesn't change between rounds."""
        self.option = option
        self._classes = classes
        self._geometries = option.cut.geometries
        self._places = [(number, where) for number in option.classes for where, _ in option.cut.fits[number]]

    def price(self, values: Floats, *, tolerance: float) -> tuple[float, float, Pattern | None]:
        """Value, proven bound and pattern of the best load; no pattern where none beats the price x (1 + tolerance)."""
        threshold = self.option.usd * (1.0 + tolerance)
        best = [0.0] * len(self.option.cut.slices)
        for number, where in self._places:
            best[where] = max(best[where], float(values[number]))
        loose = self.option.units * max(
            (sum(best[where] * count for where, count in geometry) for geometry in self._geometries), default=0.0
        )
        if loose <= threshold:
            return 0.0, threshold, None
        columns, lower, upper = self._program(values)
        answer = solve_mixed(columns, lower, upper, seconds=_SECONDS, gap=tolerance / 2)
        if answer.values is None:
            return 0.0, loose, None
        value, bound = -answer.objective, min(loose, max(-answer.bound, -answer.objective))
        if value <= threshold:
            return value, max(bound, threshold), None
        counts = [round(each) for each in answer.values]
        pods = tuple(
            (number, where, count)
            for (number, where), count in zip(self._places, counts, strict=False)
            if count
        )
        chosen = counts[len(self._places) :]
        geometries = tuple(
            geometry for geometry, count in zip(self._geometries, chosen, strict=True) for _ in range(count)
        )
        return value, bound, Pattern(self.option, tuple(sorted(pods)), geometries)

    def _program(self, values: Floats) -> tuple[list[Column], list[float], list[float]]:
        """Maximise value over replicas per place and geometries per GPU, as a minimisation."""
        option, slices = self.option, len(self.option.cut.slices)
        # Rows: instances of each profile, CPU, memory, pods, GPUs, then the demand of each class.
        rows = {number: slices + 4 + i for i, number in enumerate(option.classes)}
        columns = []
        for number, where in self._places:
            each = self._classes[number]
            columns.append(
                Column(
                    -float(values[number]),
                    (where, slices, slices + 1, slices + 2, rows[number]),
                    (1.0, float(each.cpu_milli), float(each.memory_mib), 1.0, 1.0),
                )
            )
        for geometry in self._geometries:
            entries = [(where, -float(count)) for where, count in geometry] + [(slices + 3, 1.0)]
            columns.append(Column(0.0, tuple(row for row, _ in entries), tuple(value for _, value in entries)))
        upper = [0.0] * slices + [
            float(option.cpu_milli),
            float(option.memory_mib),
            float(option.pods),
            float(option.units),
        ]
        upper += [float(self._classes[number].replicas) for number in option.classes]
        lower = [-INFINITY] * len(upper)
        lower[slices + 3] = float(option.units)  # every GPU is cut
        return columns, lower, upper
