"""What one pod template costs: the cheapest packing when each workload keeps to one resource, and to one pool.

Run: `python -m bench.templates`. Both are mixed-integer programs over the loads that column generation found for the
fleets of `bench.realised`: there may be cheaper packings of other loads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from math import inf
from typing import Final

from bench.realised import FIRST_SEED, SIZES, above_optimal
from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.selection import choose
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.clock import Clock
from gpuslice.planner.model.classes import WorkloadClass
from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import SliceIndex, numbered
from gpuslice.planner.model.pools import Home, pool_of
from gpuslice.planner.programs.highs import INFINITY, Column, Stop, solve_mixed
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from tests.random_fleets import read_fleet

_SECONDS: Final = 60.0
_GAP: Final = 0.002
_NODES: Final = 2_000  # of branch and bound
Key = Callable[[Pattern, SliceIndex], Hashable]  # of a pattern, and the index of a slice in its cut


def resource(pattern: Pattern, where: SliceIndex) -> Hashable:
    """What a template would ask for: pools of any GPU that offer it could be named side by side."""
    cut = pattern.option.cut
    shared = "metered" if cut.metered else cut.mechanism if cut.mechanism is Mechanism.MPS else ""
    return cut.carrier.ask(cut.slices[where]), shared, pattern.option.purchase


def pool(pattern: Pattern, where: SliceIndex) -> Hashable:
    """The one pool that a template names today, and its slice there."""
    return Home(pool_of(pattern), where)


def cheapest(patterns: Sequence[Pattern], classes: Sequence[WorkloadClass], key: Key) -> float:
    """Dollars an hour of the cheapest nodes such that all replicas of a workload have one key; infinite: none found."""
    rows: dict[tuple[int, Hashable], int] = {}
    lower: list[float] = []
    columns = []
    for pattern in patterns:
        entries: dict[int, float] = defaultdict(float)
        for number, where, count in pattern.pods:
            split = classes[number].splittable
            row = rows.setdefault((number, None if split else key(pattern, where)), len(rows))
            if row == len(lower):
                lower.append(float(classes[number].replicas) if split else 0.0)
            entries[row] += count
        ordered = sorted(entries.items())
        columns.append(
            Column(pattern.option.usd, tuple(row for row, _ in ordered), tuple(count for _, count in ordered))
        )
    upper = [INFINITY] * len(lower)
    for number, each in numbered(classes):
        for workload in () if each.splittable else each.members:
            one = len(lower)
            lower.append(1.0)
            upper.append(1.0)
            columns += [
                Column(0.0, (row, one), (-float(workload.replicas), 1.0), upper=1.0)
                for (of, _), row in rows.items()
                if of == number
            ]
    point = solve_mixed(columns, lower, upper, Stop(_GAP, _NODES, seconds=_SECONDS)).point
    return inf if point is None else point.objective


def main() -> None:
    """Print a table in Markdown."""
    print(
        "| seed | workloads | cheapest packing | one resource each | one pool each | planned pools, packed | realised |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|")
    found = []
    for seed, size in enumerate(SIZES, FIRST_SEED):
        workloads = read_fleet(seed, size)
        settings = Settings(daemonset_overhead())
        solution = solve(workloads.workloads, choose("", workloads.region), settings, clock=Clock(_SECONDS))
        if solution.relaxation is None:
            raise ValueError("nothing was placed")
        optimal = solution.plan.summary.optimal_usd_per_hour
        above, template, _ = above_optimal(solution)
        shares = [
            cheapest(solution.relaxation.patterns, solution.classes, key) / optimal - 1
            for key in (resource, pool)
        ]
        found.append((*shares, template, above))
        cells = " | ".join(f"{share:.1%}" for share in found[-1])
        print(f"| {seed} | {size} | {optimal:,.2f} | {cells} |", flush=True)
    means = " | ".join(f"{sum(column) / len(found):.1%}" for column in zip(*found, strict=True))
    print(f"| mean | | | {means} |")


if __name__ == "__main__":
    main()
