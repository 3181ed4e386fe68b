"""How far what Karpenter launches, by the model, is above the cheapest packing: on random fleets of 10 to 60 workloads.

Run: `python -m bench.realised`. The difference is split as `gpuslice explain` splits it.
"""

from __future__ import annotations

from typing import Final

from bench.fleets import read_fleet
from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.selection import choose
from gpuslice.planner.solve import Settings, Solution, solve
from gpuslice.units import micro_usd

SIZES: Final = (10, 10, 15, 20, 20, 25, 30, 30, 40, 50, 60)
FIRST_SEED: Final = 100
_SECONDS: Final = 60.0  # told to the planner, which never gets there


def above_optimal(solution: Solution) -> tuple[float, float, float]:
    """The mean bill above the cheapest packing; of it, for one template a workload, and for Karpenter's packing."""
    optimal = micro_usd(solution.plan.summary.optimal_usd_per_hour)
    carried = solution.carried
    if carried is None or carried.packed is None:
        raise ValueError("nothing was placed, or only within limits")
    template, packing = carried.packed - optimal, carried.spread.mean - carried.packed
    return (template + packing) / optimal, template / optimal, packing / optimal


def main() -> None:
    """Print a table in Markdown."""
    print("| seed | workloads | pods | cheapest packing | realised | above | one template | packing |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    found = []
    for seed, size in enumerate(SIZES, FIRST_SEED):
        workloads = read_fleet(seed, size)
        catalog = choose("", workloads.region)
        settings = Settings(daemonset_overhead())
        solution = solve(workloads.workloads, catalog, settings, remaining=lambda: _SECONDS)
        summary = solution.plan.summary
        pods = sum(each.replicas for each in solution.plan.assignments)
        shares = above_optimal(solution)
        found.append(shares)
        optimal, mean = summary.optimal_usd_per_hour, summary.spread.mean if summary.spread else 0.0
        cells = " | ".join(f"{share:.1%}" for share in shares)
        print(f"| {seed} | {size} | {pods} | {optimal:,.2f} | {mean:,.2f} | {cells} |")
    means = " | ".join(f"{sum(column) / len(found):.1%}" for column in zip(*found, strict=True))
    print(f"| mean | | | | | {means} |")


if __name__ == "__main__":
    main()
