"""Limits on node options altogether: what a node takes of each, what is left, and tolls to begin with."""

from collections import Counter
from dataclasses import replace

import pytest

from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.model.classes import classes_of
from gpuslice.planner.model.limits import Limit, Limits, limits_of, moved
from gpuslice.planner.model.options import NodeOption, node_options
from gpuslice.planner.model.patterns import Pattern
from gpuslice.workloads.policy import Policy, Reservation, priced
from tests.planner.workload import workload
from tests.strategies import CARRIER, L4, L4_X4, OVERHEAD, catalog_of

POLICY = Policy(
    max_nodes={"g6.2xlarge": 3},
    reserved=(Reservation(instance_type="g6.2xlarge", count=2, usd_per_hour=0.1),),
    max_spot_share=0.25,
)
ON_SPOT = replace(L4, prices={Purchase.SPOT: 400_000, **L4.prices})
CLASSES = classes_of([workload(interruptible=True)])
OPTIONS = [
    option
    for option in node_options(
        CLASSES, priced(POLICY, catalog_of(ON_SPOT, L4_X4)), OVERHEAD, CARRIER, policy=POLICY
    )
    if option.cut.mechanism is Mechanism.WHOLE
]
NODES, HELD, SHARE = 0, 1, 2  # the limits, as they are listed


def option_of(name: str, purchase: Purchase = Purchase.ON_DEMAND) -> NodeOption:
    (option,) = [
        option for option in OPTIONS if option.instance_type.name == name and option.purchase is purchase
    ]
    return option


SMALL, LARGE = option_of("g6.2xlarge"), option_of("g6.12xlarge")
SPOT, RESERVED = option_of("g6.2xlarge", Purchase.SPOT), option_of("g6.2xlarge", Purchase.RESERVED)


@pytest.fixture
def limits() -> Limits:
    return Limits(limits_of(POLICY), OPTIONS)


def bought(**counts: int) -> Counter[Pattern]:
    """A packing of so many nodes: small, spot, reserved, large."""
    options = {"small": SMALL, "spot": SPOT, "reserved": RESERVED, "large": LARGE}
    return Counter({Pattern(options[name], ()): count for name, count in counts.items()})


def test_a_node_counts_for_its_type_and_a_reserved_one_for_what_is_held_too(limits):
    assert [limits.weights(option)[:SHARE] for option in (SMALL, SPOT, RESERVED, LARGE)] == [
        (1, 0),
        (1, 0),
        (1, 1),
        (0, 0),
    ]


def test_spot_may_cost_as_much_as_its_share_of_all(limits):
    # A quarter of the bill: what three dollars on demand leave room for is one dollar of spot.
    assert limits.entries(SPOT)[SHARE] == pytest.approx(0.4 * 0.75)
    assert limits.entries(LARGE)[SHARE] == pytest.approx(-4.6016 * 0.25)
    assert not limits.broken(bought(spot=3, large=1))
    assert [limit.rule for limit in limits.broken(bought(spot=4, large=1))] == [
        "policy.maxNodes g6.2xlarge: 3",
        "policy.maxSpotShare: 0.25",
    ]


def test_only_options_that_take_of_no_limit_may_be_had_in_any_number(limits):
    assert [option for option in OPTIONS if limits.unlimited(option)] == [LARGE]
    assert [option for option, free in zip(OPTIONS, limits.free, strict=True) if free] == [LARGE]


def test_a_reserved_node_is_first_worth_what_the_dearest_other_way_to_buy_it_costs_more(limits):
    tolls = limits.first_tolls()
    assert tolls[HELD] == pytest.approx(SMALL.usd - RESERVED.usd)
    assert (tolls[NODES], tolls[SHARE]) == (0, 0)


def test_a_node_with_tolls_costs_them_beside_its_price(limits):
    tolls = limits.proper(limits.first_tolls())
    assert limits.price(RESERVED, tolls) == pytest.approx(SMALL.usd)
    assert limits.price(SMALL, tolls) == pytest.approx(SMALL.usd)
    assert limits.tolled(tolls)[OPTIONS.index(RESERVED)] == pytest.approx(SMALL.usd)


def test_a_limit_that_is_passed_already_hinders_only_what_takes_more_of_it(limits):
    passed = limits.totals(bought(small=4, large=9))
    assert limits.allows(passed, SMALL, LARGE)
    assert limits.allows(passed, SMALL, SMALL)  # takes no more, no less
    assert not limits.allows(passed, LARGE, SMALL)
    full = limits.totals(bought(small=3, large=9))
    assert not limits.allows(full, LARGE, SMALL)
    assert limits.allows(limits.totals(bought(small=2, large=9)), LARGE, SMALL)


def test_a_node_that_goes_takes_what_it_added_with_it(limits):
    # Without the large node on demand, spot is more than its share.
    assert not limits.allows(limits.totals(bought(spot=1, large=1)), LARGE, None)
    assert limits.allows(limits.totals(bought(spot=1, large=1)), SPOT, None)


@pytest.mark.parametrize(("there", "left"), [(0, 3), (1, 2), (3, 0), (4, 0)])
def test_room_is_what_the_counts_leave(limits, there, left):
    assert limits.room(SMALL, limits.totals(bought(small=there))) == left
    assert limits.room(RESERVED, limits.totals(bought(small=there))) == min(left, 2)
    assert limits.room(LARGE, limits.totals(bought(small=there))) is None


def test_room_is_in_whole_nodes_of_what_one_takes():
    limits = Limits([Limit("two each", lambda _: 2, 7)], OPTIONS)
    assert limits.room(SMALL, [2]) == 2


def test_totals_follow_a_node_that_becomes_another(limits):
    totals = limits.totals(bought(small=1, spot=1))
    moved(totals, limits, SPOT, LARGE)
    assert totals == limits.totals(bought(small=1, large=1))
    moved(totals, limits, SMALL, None)
    assert totals == limits.totals(bought(large=1))
