"""Fleets that are out to make the planner run on: thousands of kinds, of tenants, of nodes.

It ends when its work is done. Work is counted, so that a busy machine changes nothing.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from gpuslice.cloud.selection import choose
from gpuslice.planner import budget
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.workloads.model import Workload
from gpuslice.workloads.policy import FREE, Policy, Reservation
from gpuslice.workloads.target import Target
from tests.random_fleets import read_fleet
from tests.strategies import OVERHEAD

KINDS = 2000
GRACE = 2.0  # seconds of work by which the last step may pass the budget
TIGHT = Policy(
    max_nodes={"g6.xlarge": 20, "g4dn.xlarge": 50},
    max_spot_share=0.3,
    reserved=(Reservation(instance_type="g6.12xlarge", count=5),),
)

Change = Callable[[int, Workload], Workload]


def as_it_is(_: int, each: Workload) -> Workload:
    return each


def two_hundred_tenants(number: int, each: Workload) -> Workload:
    return replace(each, tenant=f"tenant-{number % 200}")


def a_million_replicas(_: int, each: Workload) -> Workload:
    return replace(each, replicas=1_000_000)


def bare_pods_with_limits_of_their_own(number: int, each: Workload) -> Workload:
    need = replace(each.need, max_slowdown_milli=1100 + number)
    return replace(each, target=Target(kind="Pod"), need=need, interruptible=number % 2 == 0)


@pytest.fixture(scope="module")
def kinds() -> tuple[Workload, ...]:
    return tuple(read_fleet(1, KINDS, tenants=5).workloads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "policy"),
    [
        (as_it_is, FREE),
        (as_it_is, TIGHT),
        (two_hundred_tenants, FREE),
        (a_million_replicas, FREE),
        (bare_pods_with_limits_of_their_own, FREE),
    ],
)
def test_two_thousand_kinds_end_in_time_with_a_verified_plan_for_everybody(kinds, change, policy):
    fleet_ = [change(number, each) for number, each in enumerate(kinds)]
    catalog = choose("", "us-east-1")
    clock = Clock(budget.SECONDS)
    plan = solve(fleet_, catalog, Settings(OVERHEAD, policy=policy), clock=clock).plan
    placed: Counter[str] = Counter()
    for each in plan.assignments:
        placed[each.workload] += each.replicas
    assert placed == {each.name: each.replicas for each in fleet_}
    summary = plan.summary
    assert summary.status == "feasible"
    assert summary.termination == "work-limit"
    assert 0 < summary.bound_usd_per_hour <= summary.optimal_usd_per_hour <= summary.usd_per_hour
    assert clock.spent <= budget.SECONDS + GRACE


@pytest.mark.slow
def test_a_million_replicas_of_each_of_fifty_kinds_take_no_longer_than_a_few(kinds):
    catalog = choose("", "us-east-1")
    few = kinds[:50]
    many = [a_million_replicas(number, each) for number, each in enumerate(few)]
    took = []
    for workloads in (few, many):
        clock = Clock(budget.SECONDS)
        plan = solve(workloads, catalog, Settings(OVERHEAD), clock=clock).plan
        took.append(clock.spent)
        assert sum(each.replicas for each in plan.assignments) == sum(each.replicas for each in workloads)
    assert took[1] <= took[0] + GRACE
