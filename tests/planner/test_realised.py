"""What Karpenter makes of a plan's pools."""

import pytest

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.snapshot import bundled
from gpuslice.karpenter.rollout import Pattern
from gpuslice.planner.realised import (
    Ask,
    Offer,
    Realiser,
    cheapest_types,
    loads_of,
    offers_of,
    realised_spread,
)
from gpuslice.units import micro_usd
from tests.planner.good_plans import case
from tests.strategies import OVERHEAD

KINDS = bundled().by_name()
SHARED, MEMORY = "nvidia.com/gpu.shared", "gpuslice.io/gpu-memory"


def offer(name="p", **slots):
    """A pool of these instance types with so many slots."""
    return Offer(
        name,
        tuple(
            (KINDS[each.replace("_", ".")], {"nvidia.com/gpu": 0, SHARED: count})
            for each, count in slots.items()
        ),
        frozenset({Purchase.ON_DEMAND}),
    )


def ask(name="w", cpu=500, **slices):
    return Ask(name, cpu, 1024, tuple(sorted({SHARED: 1, **slices}.items())))


def test_a_wide_pool_costs_more_than_a_narrow_one_until_it_is_consolidated():
    load = ((ask(), 5),)
    order = [(Pattern.AT_ONCE, 0)]
    realiser = Realiser(OVERHEAD)
    narrow = realiser.spread([(offer(g6_xlarge=4), load)], order)
    wide = realiser.spread([(offer(g6_xlarge=4, g6_12xlarge=16), load)], order)
    assert (narrow.most, wide.most) == (2 * 804_800, 4_601_600)
    assert wide.bills[0][0].nodes == ((("p", "g6.12xlarge", "on-demand"), 1),)


def test_metered_pods_have_a_spread_of_bills_and_consolidation_narrows_it():
    metered = Offer(
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
    load, order = ((ask(), 4),), (Pattern.HALVES, 3)
    both = realiser.spread([(one, load), (other, load), (offer("c", g6_xlarge=4), ())], [order])
    assert both.most == 804_800 + 1_006_000
    assert realiser.bill(one, load, order) is realiser.bill(one, load, order)


def test_types_that_batches_would_grow_to_are_left_out_where_that_is_cheaper():
    realiser, orders = Realiser(OVERHEAD), [(Pattern.AT_ONCE, 0)]
    wide = offer(g6_xlarge=4, g6_12xlarge=16)
    few, spread = cheapest_types(realiser, wide, ((ask(), 5),), orders)
    assert [kind.name for kind, _ in few.machines] == ["g6.xlarge"]
    assert spread.most == 2 * 804_800
    assert cheapest_types(realiser, wide, ((ask(cpu=9000), 2),), orders)[0] is wide  # needed, so kept
    narrow = offer(g6_xlarge=4)
    assert cheapest_types(realiser, narrow, ((ask(), 5),), orders)[0] is narrow


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
    assert set(offers_of(plan, catalog)) == {each.name for each in plan.pools}
    assert spread.most >= micro_usd(plan.summary.bound_usd_per_hour)
