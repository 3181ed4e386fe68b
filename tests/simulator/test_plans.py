"""Plans replayed: pools' limits, seats, and services sized by load."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.catalog import Catalog
from gpuslice.cloud.selection import choose
from gpuslice.hardware.need import Need
from gpuslice.plan.artefact import Plan
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.simulator.baselines import baseline
from gpuslice.simulator.policies import ReplayPolicy, of_plan
from gpuslice.simulator.replanning import Replanning
from gpuslice.simulator.replay import replay
from gpuslice.simulator.result import Outcome
from gpuslice.workloads.model import Service, ServiceProfile, Workload
from gpuslice.workloads.timelines import Life, Timeline
from tests.planner import seated
from tests.planner.planned import solved
from tests.planner.workload import workload
from tests.random_fleets import read_fleet
from tests.strategies import H100, L4, L4_EIGHTH, OVERHEAD, catalog_of

HOUR = 3600
AFTER = 300  # consolidateAfter
LAUNCHED = 1  # second at which the first nodes are bought
PRICE = 0.9776  # of an L4


def standing(workloads: Sequence[Workload], seconds: int = 4 * HOUR) -> Timeline:
    """Demand that never changes."""
    lives = [Life(each.name, 0, None) for each in workloads for _ in range(each.replicas)]
    return Timeline("by hand", tuple(workloads), tuple(lives), seconds)


def demand_of(lives: Sequence[Life], workloads: Sequence[Workload], seconds: int = 4 * HOUR) -> Timeline:
    return Timeline("by hand", tuple(workloads), tuple(sorted(lives, key=lambda one: one.start)), seconds)


def planned(plan: Plan, workloads: Sequence[Workload], catalog: Catalog, overhead=OVERHEAD) -> ReplayPolicy:
    return of_plan(plan, workloads, catalog, overhead, AFTER)


def usd_of(outcome: Outcome, demand: Timeline) -> float:
    """Dollars an hour since the first nodes were bought."""
    return outcome.usd * HOUR / (demand.seconds - LAUNCHED)


def test_a_plan_with_seats_costs_what_it_says_while_demand_stands_still():
    plan, demand = seated.seated(), standing(seated.WORKLOADS)
    found = replay(demand, planned(plan, seated.WORKLOADS, seated.CATALOG), seated.CATALOG)
    assert usd_of(found, demand) == pytest.approx(plan.summary.usd_per_hour, rel=1e-5)
    assert (found.never_placed, found.evictions, found.exposed_gpu_hours) == (0, 0, 0)


@pytest.mark.parametrize("seed", [101, 102, 104])
def test_random_fleets_with_seats_cost_what_their_plans_say_while_demand_stands_still(seed):
    fleet, overhead = read_fleet(seed, 10), daemonset_overhead()
    catalog = choose("", fleet.region)
    plan = solve(fleet.workloads, catalog, Settings(overhead, seats=True), clock=Clock(60.0)).plan
    assert any(pool.max_nodes for pool in plan.pools if pool.seats)
    demand = standing(fleet.workloads)
    found = replay(demand, planned(plan, fleet.workloads, catalog, overhead), catalog)
    assert usd_of(found, demand) == pytest.approx(plan.summary.usd_per_hour, rel=1e-4)
    assert (found.never_placed, found.evictions) == (0, 0)


def test_pods_beyond_the_planned_seats_go_to_their_workloads_own_pool():
    plan = seated.seated()
    lives = [Life("red/a", 0, None)] * 4 + [Life("red/b", 0, None)]
    policy = planned(plan, seated.WORKLOADS, seated.CATALOG)
    found = replay(demand_of(lives, seated.WORKLOADS), policy, seated.CATALOG)
    # Two of red/a and the one of red/b share the planned node; the others of red/a have one in their own pool.
    assert (found.nodes_launched, found.never_placed) == (2, 0)
    assert set(policy.places["red/a"].shares) == {"mixed", "own-a"}
    assert policy.together["own-a"] == policy.together["own-b"] == ("mixed", "own-b", "own-a")


def test_a_pod_is_moved_to_a_seat_that_has_become_free():
    lives = [*[Life("red/a", 0, None)] * 2, Life("red/b", 0, HOUR), Life("red/b", 0, None)]
    demand = demand_of(lives, seated.WORKLOADS)
    found = replay(demand, planned(seated.seated(), seated.WORKLOADS, seated.CATALOG), seated.CATALOG)
    assert found.nodes_at_most == 2
    assert found.evictions == 1
    assert found.over_time.usd_per_hour[-1] == pytest.approx(PRICE)


def test_seats_do_not_hide_that_more_is_held_than_there_is():
    grown = tuple(replace(each, need=replace(each.need, memory_mib=9000)) for each in seated.WORKLOADS)
    demand = standing(grown)
    found = replay(demand, planned(seated.seated(), grown, seated.CATALOG), seated.CATALOG)
    # Three pods of 9,000 MiB share an L4.
    assert found.exposed_gpu_hours == pytest.approx((demand.seconds - 181) / HOUR, abs=1e-3)


def test_a_pool_grows_to_twice_the_nodes_planned_and_no_further():
    alone = workload("red/app", 2, "L4", 20_000, 0.7)
    plan = solved([alone], catalog_of(L4)).plan
    assert [(node.count) for pool in plan.pools for node in pool.nodes] == [2]
    lives = [Life("red/app", minute * 600, None) for minute in range(6)]
    found = replay(demand_of(lives, [alone]), planned(plan, [alone], catalog_of(L4)), catalog_of(L4))
    assert (found.nodes_launched, found.never_placed) == (4, 2)


def service(name: str, rate: float, **rates: float) -> Workload:
    """A service of so much load, and what one replica does on slices."""
    profiles = tuple(ServiceProfile(slice_, 4, 1, each, 10) for slice_, each in rates.items())
    sized = Service(rate, "requests/s", 100, profiles)
    return Workload(name, 0, 500, 1024, Need(), tenant="red", service=sized)


RANK = service("red/rank", 25, **{"L4/fractional/1-8": 10, "L4/whole": 60})
SERVED = catalog_of(L4, L4_EIGHTH)


def test_a_service_sized_by_load_costs_what_its_plan_says():
    plan, demand = solved([RANK], SERVED).plan, standing([RANK])
    found = replay(demand, planned(plan, [RANK], SERVED), SERVED)
    assert sum(each.replicas for each in plan.assignments) == 3  # on eighths
    assert found.nodes_launched == 3
    assert usd_of(found, demand) == pytest.approx(plan.summary.usd_per_hour, rel=1e-5)
    assert found.never_placed == 0
    assert found.gpu_hours_used == pytest.approx(3 / 8 * (demand.seconds - 181) / HOUR, abs=1e-3)


@pytest.mark.parametrize("name", ["whole-gpu", "time-slicing-4"])
def test_a_service_is_as_many_replicas_as_it_takes_on_whole_gpus_under_the_tutorials(name):
    demand = standing([RANK])
    policy = baseline(name, [RANK], SERVED, OVERHEAD, AFTER)
    found = replay(demand, policy, SERVED)
    assert policy.standing == {"red/rank": 1}
    assert usd_of(found, demand) == pytest.approx(PRICE, rel=1e-5)
    assert found.misfits == (name != "whole-gpu")


def test_a_service_without_a_whole_gpu_is_not_counted_as_waiting_for_ever():
    small = service("red/small", 25, **{"H100/mig/1g.10gb": 10})
    policy = baseline("whole-gpu", [small], catalog_of(L4), OVERHEAD, AFTER)
    assert (policy.standing, policy.places) == ({}, {})
    assert baseline("whole-gpu", [small], catalog_of(H100), OVERHEAD, AFTER).standing == {"red/small": 3}


def test_a_new_plan_changes_how_many_replicas_serve_a_load():
    demand = standing([RANK], seconds=3 * HOUR)
    made = Replanning(demand, lambda some: solved(list(some), SERVED).plan, 1, SERVED, OVERHEAD, AFTER)
    first, (_, later) = made.policy(0.0), next(iter(made.later()))
    assert first.standing == {"red/rank": 1}
    found = replay(demand, first, SERVED, replanning=made)
    assert later().standing == {"red/rank": 3}
    # One replica goes from its whole GPU to an eighth, and two more come.
    assert (found.replanned, found.never_placed) == (1, 0)
    assert found.over_time.gpus[-1] == pytest.approx(3 / 8)


def test_pools_that_share_no_pods_are_apart():
    fleet = [workload("red/a", 2, "L4", 5000, 0.2), workload("blue/b", 2, "L4", 8000, 0.3)]
    plan = solved(fleet, catalog_of(L4)).plan
    policy = planned(plan, fleet, catalog_of(L4))
    assert Counter(map(len, policy.together.values())) == {1: len(plan.pools)}
