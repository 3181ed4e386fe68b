"""Planning in tests: one call, no clock."""

from collections.abc import Sequence

from gpuslice.cloud.catalog import Catalog
from gpuslice.hardware.stacks import Stack
from gpuslice.plan.artefact import Assignment, Plan, Pool
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import Solution, solve
from gpuslice.units import micro_usd
from gpuslice.workloads.model import Workload
from tests.strategies import OVERHEAD


def solved(
    workloads: Sequence[Workload],
    catalog: Catalog,
    *,
    stack: Stack = Stack.AL2023,
    gap: float = 0.005,
    seconds: float = 60.0,
    seats: bool = False,
) -> Solution:
    """Plan with all the time that it takes; `seconds` are what the planner is told, always the same."""
    settings = Settings(OVERHEAD, stack=stack, gap=gap, seats=seats)
    return solve(workloads, catalog, settings, clock=Clock(seconds))


def prices(plan: Plan) -> tuple[int, int, int]:
    """Bound, optimal and realised price, micro-dollars per hour."""
    summary = plan.summary
    return (
        micro_usd(summary.bound_usd_per_hour),
        micro_usd(summary.optimal_usd_per_hour),
        micro_usd(summary.usd_per_hour),
    )


def cost(plan: Plan) -> int:
    """The price of a plan that is proven to be the cheapest, as far as its gap says, and is realised at that."""
    bound, optimal, realised = prices(plan)
    assert optimal * 0.995 <= bound <= optimal
    assert realised == optimal
    return realised


def home(plan: Plan, workload: str) -> tuple[Assignment, Pool]:
    """The one assignment of a workload, and its pool."""
    (assignment,) = (each for each in plan.assignments if each.workload == workload)
    (pool,) = (each for each in plan.pools if each.name == assignment.pool)
    return assignment, pool
