"""Pools have a second instance type where that costs next to nothing, and plans say what a missing type means."""

from dataclasses import replace

from gpuslice.hardware.stacks import Stack
from gpuslice.launches.bill import PRICED_ORDERS, realised_spread
from gpuslice.plan.artefact import Plan
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.verifier.verify import verify
from tests.planner.workload import workload
from tests.strategies import L4, L4_LARGE, L4_X4, OVERHEAD, catalog_of

SERVICE = workload(replicas=6, memory=9000, duty=0.3)


def planned(fleet, catalog, *, fallback=True, without=()) -> Plan:
    settings = Settings(OVERHEAD, stack=Stack.AL2023, fallback=fallback, without=frozenset(without))
    return solve(fleet, catalog, settings, clock=Clock(60.0)).plan


def test_a_second_type_is_listed_and_never_bought_while_the_first_is_to_be_had():
    catalog = catalog_of(L4, L4_LARGE)
    plan, alone = planned([SERVICE], catalog), planned([SERVICE], catalog, fallback=False)
    (pool,) = plan.pools
    assert pool.instance_types == ("g6.2xlarge", "g6.4xlarge")
    assert {each.instance_type for each in pool.nodes} == {"g6.2xlarge"}
    assert plan.summary.usd_per_hour == alone.summary.usd_per_hour
    assert [each.instance_types for each in alone.pools] == [("g6.2xlarge",)]
    assert verify(plan, [SERVICE], catalog) == []


def test_the_price_of_a_missing_type_is_that_of_the_pool_without_it():
    catalog = catalog_of(L4, L4_LARGE)
    plan = planned([SERVICE], catalog)
    (missing,) = plan.missing
    (pool,) = plan.pools
    without = replace_types(plan, ("g6.4xlarge",))
    dearer = realised_spread(without, [SERVICE], catalog, OVERHEAD, orders=PRICED_ORDERS).mean
    assert missing.instance_type == "g6.2xlarge"
    assert missing.waiting == 0
    assert round(missing.usd_per_hour * 1e6) == dearer - round(plan.summary.usd_per_hour * 1e6)
    assert sum(node.count for node in pool.nodes) * (1.3232 - 0.9776) > missing.usd_per_hour * 0.99


def test_whoever_has_no_second_type_waits():
    plan = planned([SERVICE], catalog_of(L4, L4_LARGE), fallback=False)
    (missing,) = plan.missing
    assert (missing.usd_per_hour, missing.waiting) == (0.0, 6)


def test_a_type_with_other_gpus_or_counts_of_them_is_no_second_type():
    plan = planned([SERVICE], catalog_of(L4, L4_X4))
    assert {each.instance_types for each in plan.pools} == {("g6.2xlarge",)}


def replace_types(plan: Plan, types: tuple[str, ...]) -> Plan:
    from msgspec.structs import replace as with_fields

    return with_fields(plan, pools=tuple(with_fields(each, instance_types=types) for each in plan.pools))


def test_a_second_type_that_batches_would_get_is_not_listed():
    # One pod of 5 CPU fills a g6.2xlarge; three would go to a g6.4xlarge, which costs five times as much here.
    dear = replace(L4_LARGE, prices={key: 5 * price for key, price in L4_LARGE.prices.items()})
    fleet = [
        workload("red/a", replicas=5, memory=3000, duty=0.1, cpu=5000),
        workload("red/b", replicas=2, memory=6000, duty=0.1, cpu=2000),
    ]
    plan = planned(fleet, catalog_of(L4, dear), without=("whole", "fractional"))
    assert {each.instance_types for each in plan.pools} == {("g6.2xlarge",)}
    assert [each.waiting for each in plan.missing] == [7]


def test_without_time_for_the_model_there_is_no_second_type_and_nothing_is_said_of_missing_ones():
    settings = Settings(OVERHEAD)
    plan = solve([SERVICE], catalog_of(L4, L4_LARGE), settings, clock=Clock(0.0)).plan
    assert [len(each.instance_types) for each in plan.pools] == [1]
    assert plan.missing == ()
