"""What Karpenter makes of a plan's pools."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.snapshot import bundled
from gpuslice.karpenter.rollout import Arrivals
from gpuslice.launches.bill import DEFAULT_ORDERS, Bill, Realiser, Spread, realised_spread
from gpuslice.launches.pools import PodAsk, PoolOffer, loads_of, offers_of
from gpuslice.units import micro_usd
from tests.planner.good_plans import case
from tests.strategies import OVERHEAD

KINDS = bundled().by_name()
SHARED, MEMORY = "nvidia.com/gpu.shared", "gpuslice.io/gpu-memory"


def offer(name="p", **slots):
    """A pool of these instance types with so many slots."""
    return PoolOffer(
        name,
        tuple(
            (KINDS[each.replace("_", ".")], {"nvidia.com/gpu": 0, SHARED: count})
            for each, count in slots.items()
        ),
        frozenset({Purchase.ON_DEMAND}),
    )


def ask(name="w", cpu=500, **slices):
    return PodAsk(name, cpu, 1024, tuple(sorted({SHARED: 1, **slices}.items())))


def test_a_wide_pool_costs_more_than_a_narrow_one_until_it_is_consolidated():
    load = ((ask(), 5),)
    order = [(Arrivals.AT_ONCE, 0)]
    realiser = Realiser(OVERHEAD)
    narrow = realiser.spread([(offer(g6_xlarge=4), load)], order)
    wide = realiser.spread([(offer(g6_xlarge=4, g6_12xlarge=16), load)], order)
    assert (narrow.most, wide.most) == (2 * 804_800, 4_601_600)
    assert wide.bills[0][0].nodes == ((("p", "g6.12xlarge", "on-demand"), 1),)


def test_metered_pods_have_a_spread_of_bills_and_consolidation_narrows_it():
    metered = PoolOffer(
        "m",
        ((KINDS["g6.xlarge"], {"nvidia.com/gpu": 0, SHARED: 16, MEMORY: 21}),),
        frozenset({Purchase.ON_DEMAND}),
    )
    load = tuple((ask(f"w{at}", **{MEMORY: size}), 1) for at, size in enumerate((14, 12, 9, 8, 6, 5, 3, 3)))
    launched = Realiser(OVERHEAD).spread([(metered, load)])
    assert launched.least == 3 * 804_800
    assert launched.most >= 4 * 804_800
    assert launched.least < launched.mean < launched.most
    rest = Realiser(OVERHEAD, consolidate=True).spread([(metered, load)])
    assert rest.mean < launched.mean
    assert rest.unbound == launched.unbound == 0


def test_pools_add_up_and_answers_are_remembered():
    realiser = Realiser(OVERHEAD)
    one, other = offer("a", g6_xlarge=4), offer("b", g5_xlarge=4)
    load, order = ((ask(), 4),), (Arrivals.HALVES, 3)
    both = realiser.spread([(one, load), (other, load), (offer("c", g6_xlarge=4), ())], [order])
    assert both.most == 804_800 + 1_006_000
    assert realiser.bill(one, load, order) is realiser.bill(one, load, order)


@given(
    st.lists(
        st.tuples(st.sampled_from((500, 1000, 1500)), st.integers(1, 2), st.integers(1, 6)),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(DEFAULT_ORDERS),
)
def test_what_no_order_can_change_is_counted_as_the_model_would_have_it(sizes, order):
    load = tuple(
        (ask(f"w{at}", cpu=cpu, **{SHARED: slots}), count) for at, (cpu, slots, count) in enumerate(sizes)
    )
    # With another type that nobody asks for, the same pool has to be simulated.
    alone = offer(g6_xlarge=4)
    beside = replace(alone, machines=(*alone.machines, (KINDS["g6.48xlarge"], {SHARED: 0})))
    counted = Realiser(OVERHEAD).bill(alone, load, order)
    simulated = Realiser(OVERHEAD).bill(beside, load, order)
    assert counted == simulated
    # A larger type with as many slots, which EC2 only gives where it is out of the other.
    pair = replace(alone, machines=(*alone.machines, *offer(g6_2xlarge=4).machines))
    with_idle = replace(pair, machines=(*pair.machines, (KINDS["g6.48xlarge"], {SHARED: 0})))
    assert Realiser(OVERHEAD).bill(pair, load, order) == Realiser(OVERHEAD).bill(with_idle, load, order)


def test_the_typical_order_is_the_one_nearest_to_the_mean():
    bills = [(Bill(price, (), 0), (Arrivals.AT_ONCE, price)) for price in (10, 14, 19, 20)]
    spread = Spread(tuple(bills))
    assert (spread.least, spread.mean, spread.most) == (10, 16, 20)
    assert spread.typical == (Arrivals.AT_ONCE, 14)


def test_what_fits_no_node_of_its_pool_is_counted():
    spread = Realiser(OVERHEAD).spread([(offer(g6_xlarge=4), ((ask(cpu=9000), 2),))])
    assert (spread.unbound, spread.most) == (2, 0)


@pytest.mark.parametrize("name", ["shared", "cut", "slots"])
def test_a_plan_of_every_mechanism_is_bound_whole_and_costs_no_less_than_planned(name):
    plan, workloads, catalog = case(name)
    spread = realised_spread(plan, workloads, catalog, OVERHEAD)
    assert spread.unbound == 0
    replicas = sum(each.replicas for each in plan.assignments)
    assert sum(count for load in loads_of(plan, workloads).values() for _, count in load) == replicas
    assert set(offers_of(plan.pools, plan.assignments, plan.stack, catalog, workloads)) == {
        each.name for each in plan.pools
    }
    assert spread.most >= micro_usd(plan.summary.bound_usd_per_hour)
