"""How far the work that plans are counted by is from the time that this machine takes for it.

python -m bench.work: a line for each of some random fleets: work counted, processor seconds, and their ratio, which is
near one on the usual machine that `planner.budget` speaks of.
"""

from __future__ import annotations

import time

from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.selection import choose
from gpuslice.planner import budget
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from tests.random_fleets import read_fleet

_FLEETS = ((1, 10), (1, 30), (1, 50), (2, 50), (1, 100), (1, 200), (1, 2000))


def main() -> None:
    """Plan each fleet once."""
    print("| seed | workloads | work, seconds | processor, seconds | ratio |\n|---|--:|--:|--:|--:|")
    for seed, workloads in _FLEETS:
        fleet, clock = read_fleet(seed, workloads), Clock(budget.SECONDS)
        began = time.thread_time()
        solve(fleet.workloads, choose("", fleet.region), Settings(daemonset_overhead()), clock=clock)
        took = time.thread_time() - began
        print(
            f"| {seed} | {workloads} | {clock.spent:.2f} | {took:.2f} | {took / clock.spent:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
