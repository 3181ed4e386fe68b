"""Plans are priced by what Karpenter makes of them, and made so that this is cheap."""

import pytest
from hypothesis import given
from msgspec import UNSET

from gpuslice.hardware.mechanisms import Isolation
from gpuslice.launches.bill import PRICED_ORDERS, priced_orders, realised_spread
from gpuslice.plan.artefact import Plan
from gpuslice.planner.homes import moves
from gpuslice.units import micro_usd
from tests.example_budget import few
from tests.planner.planned import solved
from tests.planner.workload import workload
from tests.strategies import L4, L4_X4, OVERHEAD, SMALL_TYPES, catalog_of, catalogs, fleets, instance_type


@few
@given(fleets(), catalogs(types=SMALL_TYPES))
def test_the_price_is_the_bill_of_the_order_that_is_nearest_to_the_mean(fleet, catalog):
    plan = solved(fleet, catalog).plan
    if not plan.pools:
        return
    spread = realised_spread(plan, fleet, catalog, OVERHEAD, orders=PRICED_ORDERS)
    stated = plan.summary.spread
    assert stated is not UNSET
    assert (spread.least, spread.mean, spread.most) == tuple(
        map(micro_usd, (stated.lowest, stated.mean, stated.highest))
    )
    prices = [bill.price for bill, _ in spread.bills]
    paid = micro_usd(plan.summary.usd_per_hour)
    assert abs(paid - spread.mean) == min(abs(price - spread.mean) for price in prices)
    assert spread.unbound == 0


@pytest.mark.parametrize("replicas", [5, 7])
def test_a_pool_has_no_larger_type_that_batches_would_grow_to(replicas):
    # Were both listed, Karpenter would buy a node of four GPUs for five pods of a quarter.
    app = workload(replicas=replicas, memory=5000, duty=0.15, isolation=Isolation.MEMORY, limitable=True)
    plan = solved([app], catalog_of(L4, L4_X4)).plan
    (pool,) = plan.pools
    assert pool.layout.mechanism == "mps"
    assert pool.instance_types == ("g6.2xlarge",)
    assert plan.summary.spread is not UNSET
    assert plan.summary.spread.lowest == plan.summary.spread.highest == 2 * 0.9776


def test_a_pool_keeps_a_larger_type_for_whom_needs_it():
    small = instance_type("g4dn.xlarge", "T4", 0.526, cpu=3920, memory=14_481, pods=29)
    large = instance_type("g4dn.4xlarge", "T4", 1.204, cpu=15_890, memory=57_691, pods=29)
    fleet = [
        workload("red/a", replicas=3, memory=3000, duty=0.1, on="T4", cpu=500),
        workload("red/b", replicas=1, memory=3000, duty=0.1, on="T4", cpu=9000),
    ]
    plan = solved(fleet, catalog_of(small, large)).plan
    assert "g4dn.4xlarge" in {name for pool in plan.pools for name in pool.instance_types}
    carried = sum(
        count * node.count for pool in plan.pools for node in pool.nodes for count in node.pods.values()
    )
    assert carried == 4


def test_without_time_for_the_model_pools_are_priced_by_their_packing_and_the_plan_says_so():
    fleet = [workload(replicas=5)]
    hurried = solved(fleet, catalog_of(L4), seconds=0.0).plan
    assert [each for each in hurried.assumptions if each.startswith("1 of 1 pools are priced by our packing")]
    assert hurried.summary.usd_per_hour == sum(
        node.count * node.usd_per_hour for pool in hurried.pools for node in pool.nodes
    )
    assert not [each for each in solved(fleet, catalog_of(L4)).plan.assumptions if "our packing" in each]


def test_large_fleets_are_priced_by_fewer_orders_but_by_one_at_least():
    assert priced_orders(100) == PRICED_ORDERS
    assert priced_orders(7000) == PRICED_ORDERS[:2]
    assert priced_orders(10**6) == PRICED_ORDERS[:1]


def test_of_what_costs_the_same_and_is_as_fast_the_safest_is_taken():
    one = workload(replicas=1, memory=5000, duty=0.15)
    assert [each.layout.mechanism for each in solved([one], catalog_of(L4)).plan.pools] == ["whole"]
    # Two share a node at the price of one. MPS would limit their memory, and may make them four times as slow.
    two = workload(replicas=2, memory=5000, duty=0.15, cpu=2500)
    plan = solved([two], catalog_of(L4)).plan
    assert [each.layout.mechanism for each in plan.pools] == ["time-slicing"]
    assert [each.expected_slowdown for each in plan.assignments] == [1.29]


def test_one_workload_of_a_pool_moves_to_where_more_keeps_it_apart_at_no_cost(monkeypatch):
    small = workload("team/small", replicas=4, memory=5000, duty=0.15, cpu=1000)
    # Beside small ones, or whole in a pool that there is anyway: it takes three nodes more.
    large = workload("team/large", replicas=3, memory=12000, duty=0.15, cpu=1000)
    apart = workload("team/apart", replicas=1, memory=5000, duty=0.15, isolation=Isolation.HARDWARE)
    beside = {"team/small": "time-slicing", "team/large": "time-slicing", "team/apart": "whole"}
    fleet = [small, large, apart]
    monkeypatch.setattr(moves, "_ROUNDS", 5)  # by which the homes to begin with happen to be the other ones
    assert mechanisms(solved(fleet, catalog_of(L4)).plan) == beside | {"team/large": "whole"}
    monkeypatch.setattr(moves.Moves, "somewhere_safer", lambda *_: ())
    assert mechanisms(solved(fleet, catalog_of(L4)).plan) == beside


def mechanisms(plan: Plan) -> dict[str, str]:
    pools = {each.name: each.layout.mechanism for each in plan.pools}
    return {each.workload: pools[each.pool] for each in plan.assignments}
