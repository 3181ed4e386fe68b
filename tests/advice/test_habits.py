"""What Karpenter's habits cost, and what a plan's choices avoid of that."""

from gpuslice.advice.habits import habits
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.planner.clock import Clock
from gpuslice.planner.solve import Solution
from gpuslice.units import micro_usd
from gpuslice.workloads.policy import Policy
from tests.planner.planned import solved
from tests.planner.workload import workload
from tests.strategies import L4, L4_X4, OVERHEAD, T4, catalog_of

FIVE = workload(replicas=5, memory=5000, duty=0.15, isolation=Isolation.MEMORY, limitable=True)


def of(solution: Solution, fleet, catalog):
    assert solution.carried is not None
    return habits(solution.plan, solution.carried, fleet, catalog, OVERHEAD)


def test_parts_add_up_to_what_the_plan_costs_above_the_cheapest_packing():
    catalog = catalog_of(L4, T4, L4_X4)
    fleet = [workload(f"red/{at}", replicas=3, memory=2000 * at, duty=0.09 * at) for at in range(1, 6)]
    solution = solved(fleet, catalog)
    found = of(solution, fleet, catalog)
    summary = solution.plan.summary
    assert found.template + found.packing + found.chance == micro_usd(summary.usd_per_hour) - micro_usd(
        summary.optimal_usd_per_hour
    )


def test_a_narrow_pool_avoids_the_large_node_that_a_wide_one_would_get():
    catalog = catalog_of(L4, L4_X4)
    found = of(solved([FIVE], catalog), [FIVE], catalog)
    assert (
        1_000_000 < found.by_types <= 4_601_600 - 2 * 977_600
    )  # on average: not in every order they come in batches


def test_with_one_type_there_is_nothing_to_avoid():
    found = of(solved([FIVE], catalog_of(L4)), [FIVE], catalog_of(L4))
    assert (found.by_types, found.by_moves, found.packing, found.chance) == (0, 0, 0, 0)


def test_within_limits_nothing_is_said():
    from gpuslice.planner.settings import Settings
    from gpuslice.planner.solve import solve

    settings = Settings(OVERHEAD, policy=Policy(max_nodes={"g6.2xlarge": 9}))
    solution = solve([FIVE], catalog_of(L4), settings, clock=Clock(60.0))
    assert of(solution, [FIVE], catalog_of(L4)) is None
    assert solution.plan.missing == ()
