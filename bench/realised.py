"""How far what Karpenter launches, by the model, is above the cheapest packing: on random fleets of 10 to 60 workloads.

Run: `python -m bench.realised`. Where each workload has one pool, the difference is split as `gpuslice explain` splits
it; beside that, the same fleets with seats.
"""

from __future__ import annotations

from typing import Final

from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.selection import choose
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import Solution, solve
from gpuslice.units import micro_usd
from tests.random_fleets import read_fleet

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
    print("| seed | workloads | pods | cheapest packing | realised | above | one template | packing", end="")
    print(" | pools | with seats | above | pools |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    found = []
    for seed, size in enumerate(SIZES, FIRST_SEED):
        solution, seated = _solved(seed, size, seats=False), _solved(seed, size, seats=True)
        pods = sum(each.replicas for each in solution.plan.assignments)
        summary, with_seats = solution.plan.summary, seated.plan.summary
        optimal = min(summary.optimal_usd_per_hour, with_seats.optimal_usd_per_hour)
        shares = (*above_optimal(solution), _mean(seated) / optimal - 1)
        found.append(shares)
        above, template, packing, seats = (f"{share:.1%}" for share in shares)
        print(
            f"| {seed} | {size} | {pods} | {optimal:,.2f} | {_mean(solution):,.2f} | {above} | {template} | {packing} "
            f"| {_used(solution)} | {_mean(seated):,.2f} | {seats} | {_used(seated)} |",
            flush=True,
        )
    above, template, packing, seats = (
        f"{sum(column) / len(found):.1%}" for column in zip(*found, strict=True)
    )
    print(f"| mean | | | | | {above} | {template} | {packing} | | | {seats} | |")


def _solved(seed: int, size: int, *, seats: bool) -> Solution:
    workloads = read_fleet(seed, size)
    settings = Settings(daemonset_overhead(), seats=seats)
    return solve(workloads.workloads, choose("", workloads.region), settings, clock=Clock(_SECONDS))


def _mean(solution: Solution) -> float:
    """The bill on average over orders of arrival, dollars an hour."""
    spread = solution.plan.summary.spread
    return spread.mean if spread else 0.0


def _used(solution: Solution) -> int:
    """Pools that have nodes."""
    return sum(bool(pool.nodes) for pool in solution.plan.pools)


if __name__ == "__main__":
    main()
