"""The device plugin as a carrier: what it refuses, what pods ask for, what nodes offer."""

from fractions import Fraction

import pytest

from gpuslice.carriers.carrier import Ask, Share, amounts
from gpuslice.carriers.table import NAMES, carrier, carrier_asked, carrier_of, carriers_of, kinds
from gpuslice.cluster.client.resources import KNOWN
from gpuslice.hardware import cut
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.mig_profiles import MigProfile
from gpuslice.plan.artefact import Extended
from tests.render.plans import CATALOG, PLANS, SEATS

AL2023 = carrier("device-plugin", "al2023")
BOTTLEROCKET = carrier("device-plugin", "bottlerocket")
TYPES = CATALOG.by_name()
L4 = GPUS["L4"]


def profile(name) -> MigProfile:
    table = GPUS["H100"].mig
    assert table is not None
    return next(each for each in table.profiles if each.name == name)


WHOLE = cut.whole(L4)
SLOT = cut.slot(L4, Mechanism.TIME_SLICING, 4)
METERED = cut.metered(L4, 650)
SMALL = cut.mig(GPUS["H100"], profile("1g.10gb"))


def test_a_mig_instance_is_asked_for_by_profile_or_on_bottlerocket_as_a_gpu():
    media = cut.mig(GPUS["H100"], profile("1g.10gb+me"))
    assert AL2023.ask(media).name == "nvidia.com/mig-1g.10gb.me"
    assert BOTTLEROCKET.ask(SMALL).name == "nvidia.com/gpu"


def test_only_who_asks_for_mig_asks_for_what_one_mechanism_alone_gives():
    assert AL2023.ask(SMALL).mechanism is Mechanism.MIG
    slots = [cut.slot(L4, mechanism, 4) for mechanism in (Mechanism.TIME_SLICING, Mechanism.MPS)]
    assert {AL2023.ask(each) for each in (*slots, METERED)} == {Ask("nvidia.com/gpu.shared")}
    assert AL2023.ask(WHOLE) == AL2023.ask(cut.fractional(L4, Fraction(1, 8))) == Ask("nvidia.com/gpu")
    assert all(AL2023.ask(each).mechanism is None for each in (*slots, METERED, WHOLE))


def test_a_whole_gpu_that_is_its_nodes_only_one_can_be_had_as_a_shared_one():
    assert AL2023.second_ask(WHOLE, 1) == AL2023.ask(SLOT)
    assert AL2023.second_ask(WHOLE, 4) is None
    assert AL2023.second_ask(SLOT, 1) is None
    assert AL2023.second_ask(SMALL, 1) is None


def test_a_gpu_is_metered_where_it_is_the_only_one():
    assert [gpus for gpus in range(9) if AL2023.meters(gpus)] == [1]


def test_bottlerocket_meters_no_gpu_has_no_fractions_no_seats_and_one_mig_profile_a_node():
    for slice_ in (METERED, cut.fractional(L4, Fraction(1, 8))):
        refusal = BOTTLEROCKET.refuses_slice(slice_)
        assert refusal is not None
        assert refusal.reason.startswith(("Bottlerocket can't meter", "fractional GPUs need"))
        assert AL2023.refuses_slice(slice_) is None
    assert BOTTLEROCKET.refuses_slice(SLOT) is None
    assert (BOTTLEROCKET.seats, AL2023.seats) == (False, True)
    assert AL2023.instances("H100") is None
    assert BOTTLEROCKET.instances("H100") == {
        "1g.10gb": 7,
        "1g.20gb": 4,
        "2g.20gb": 3,
        "3g.40gb": 2,
        "7g.80gb": 1,
    }
    assert BOTTLEROCKET.instances("L4") == {}


@pytest.mark.parametrize("slice_", [WHOLE, SLOT, METERED, SMALL])
def test_what_a_plan_writes_is_read_back_as_what_was_asked(slice_):
    share = Share(6000, 180) if slice_ is METERED else None
    ask = AL2023.ask(slice_)
    asks = AL2023.asks(ask, 1, share)
    layout = next(
        pool.layout
        for plan in PLANS.values()
        for pool in plan.pools
        if pool.layout.mechanism == slice_.mechanism.value
    )
    assert AL2023.ask_in(asks, layout) == ask
    assert AL2023.ask_in(asks, layout).mechanism is ask.mechanism
    assert AL2023.share(asks) == share
    assert carrier_asked(asks).name == "device-plugin"


def test_a_pod_asks_for_its_slice_its_share_and_its_seat_by_extended_resource():
    asked = AL2023.asks(AL2023.ask(METERED), 1, Share(6144, 180))
    assert asked == Extended("nvidia.com/gpu.shared", 1, "6Gi", 180)
    assert amounts(AL2023.requests(asked)) == {
        "nvidia.com/gpu.shared": 1,
        "gpuslice.io/gpu-memory": 6 * 2**30,
        "gpuslice.io/gpu-time": 180,
    }
    seated = AL2023.asks(AL2023.ask(WHOLE), 2, seat="gpuslice.io/seat-a.b")
    assert AL2023.requests(seated) == {"nvidia.com/gpu": "2", "gpuslice.io/seat-a.b": "1"}


@pytest.mark.parametrize("name", PLANS)
def test_whatever_pods_of_a_plan_ask_for_their_nodes_offer(name):
    plan = PLANS[name]
    pools = {pool.name: pool for pool in plan.pools}
    for each in plan.assignments:
        pool = pools[each.pool]
        for machine in pool.instance_types:
            offer = carrier_of(pool, plan.stack).offers(pool, TYPES[machine])
            asked = amounts(carrier_asked(each.asks).requests(each.asks))
            assert all(offer.amounts[resource] >= amount for resource, amount in asked.items())
            assert next(iter(offer.quantities)) == "nvidia.com/gpu"


def test_a_pool_may_offer_so_many_seats_as_all_its_nodes_have():
    (pool,) = (each for each in SEATS.pools if each.name == "search-l4-mixed")
    assert AL2023.limits(pool) == {
        "gpuslice.io/seat-search.embedder": 4,
        "gpuslice.io/seat-search.reranker": 2,
    }
    assert all(not AL2023.limits(each) for each in PLANS["metered"].pools)


@pytest.mark.parametrize("name", PLANS)
def test_each_pool_of_a_plan_has_one_carrier_of_those_that_there_are(name):
    plan = PLANS[name]
    carried = [pool.name for _, pools in carriers_of(plan) for pool in pools]
    assert sorted(carried) == sorted(pool.name for pool in plan.pools)
    assert {pool.carrier for pool in plan.pools} <= {*NAMES}


def test_kinds_are_ones_that_an_api_server_is_asked_for():
    assert {(kind.group, kind.name) for kind in kinds()} <= KNOWN.keys()
    assert [kind.name for kind in kinds() if kind.pruned] == ["NodeFeatureRule"]
