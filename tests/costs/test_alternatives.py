"""Explanations: the alternatives of a workload, and what binds a plan."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from msgspec import UNSET

from gpuslice.cloud.catalog import Purchase
from gpuslice.costs.alternatives import Alternative, Nodes, Offer, alternatives, offers, ranked
from gpuslice.costs.pool_use import pool_uses
from gpuslice.hardware import cut
from gpuslice.hardware.fit import Binds, fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation, Mechanism
from gpuslice.hardware.need import ANY_GPU, Need
from gpuslice.hardware.stacks import Stack
from gpuslice.plan.artefact import Layout, Metered
from gpuslice.units import micro_usd
from gpuslice.workloads.model import Workload
from gpuslice.workloads.node_limits import apart
from gpuslice.workloads.policy import Policy
from tests.example_budget import few
from tests.planner import seated
from tests.planner.planned import prices, solved
from tests.strategies import (
    A10G,
    H100,
    L4,
    L4_EIGHTH,
    L4_X4,
    OVERHEAD,
    SMALL_TYPES,
    T4,
    catalog_of,
    catalogs,
    fleets,
)

CATALOG = catalog_of(T4, A10G, L4, L4_X4, L4_EIGHTH, H100)


def _app(**more: Any) -> Workload:
    rules = {rule: more.pop(rule) for rule in ("isolation", "max_slowdown_milli", "allow") if rule in more}
    need = Need(memory_mib=2600, duty_ppm=20_000, on="L4", **rules)
    return Workload("red/app", 8, 500, 1024, need, tenant="red", **more)


def _by_slice(workload: Workload, stack: Stack = Stack.AL2023) -> dict[str, Alternative]:
    return {each.slice: each for each in alternatives(workload, CATALOG, OVERHEAD, stack)}


def test_every_mechanism_of_every_gpu_is_compared():
    found = _by_slice(_app())
    mechanisms = {name.split("/")[1] for name in found}
    assert mechanisms == {"whole", "fractional", "mig", "time-slicing", "mps"}
    assert {name.split("/")[0] for name in found} == {"T4", "A10G", "L4", "H100"}
    assert "L4/time-slicing/metered" in found


def test_what_fits_comes_first_and_by_price():
    found = alternatives(_app(), CATALOG, OVERHEAD, Stack.AL2023)
    fitting = [each for each in found if each.answer.fits]
    assert list(found[: len(fitting)]) == fitting
    known = [each.price for each in fitting if each.price is not None]
    assert known == sorted(known)


def test_a_price_is_the_machines_among_as_many_as_it_carries():
    found = _by_slice(_app())
    assert found["L4/whole"].cheapest == Nodes("g6.2xlarge", Purchase.ON_DEMAND, 977_600, 1)
    assert found["L4/fractional/1-8"].cheapest == Nodes("g6f.xlarge", Purchase.ON_DEMAND, 237_500, 1)
    metered = found["L4/time-slicing/metered"]
    assert metered.cheapest is not None
    assert metered.cheapest.per_node == 8  # 21,430 MiB of 2,600 each
    assert metered.price == 977_600 // 8


def test_what_does_not_fit_says_what_it_would_break():
    found = _by_slice(_app(isolation=Isolation.HARDWARE))
    assert found["L4/time-slicing/metered"].answer.binds is Binds.ISOLATION
    assert found["L4/time-slicing/metered"].price is None
    assert found["A10G/whole"].answer.binds is Binds.CAPABILITY


def test_a_stack_lists_only_what_it_can_do():
    found = _by_slice(_app(allow=frozenset({ANY_GPU})), stack=Stack.BOTTLEROCKET)
    assert not any("metered" in name or "fractional" in name for name in found)


def test_what_a_plan_gives_is_listed_as_the_plan_has_it():
    slots = Layout(gpu="L4", mechanism="time-slicing", replicas=3, slot_time=200)
    metered = Layout(
        gpu="A10G", mechanism="time-slicing", replicas=16, metered=Metered(memory="21389Mi", time=350)
    )
    app = _app(allow=frozenset({ANY_GPU}))
    free = _by_slice(app)
    found = {
        each.slice: each for each in alternatives(app, CATALOG, OVERHEAD, Stack.AL2023, (slots, metered))
    }
    assert "L4/time-slicing/3" not in free
    assert found["L4/time-slicing/3"].answer == fit(
        app.need, cut.slot(GPUS["L4"], Mechanism.TIME_SLICING, 3, 200)
    )
    assert found["A10G/time-slicing/metered"].answer == fit(app.need, cut.metered(GPUS["A10G"], 350))
    assert found["A10G/time-slicing/metered"].answer != free["A10G/time-slicing/metered"].answer
    assert found["L4/time-slicing/metered"] == free["L4/time-slicing/metered"]


@few
@given(fleets(), catalogs(types=SMALL_TYPES))
def test_the_slice_that_a_workload_got_is_among_its_alternatives_at_the_slowdown_of_the_plan(fleet, catalog):
    plan = solved(fleet, catalog).plan
    layouts = {each.name: each.layout for each in plan.pools}
    by_name = {each.name: each for each in fleet}
    for each in plan.assignments:
        given_ = (layouts[each.pool],)
        found = alternatives(by_name[each.workload], catalog, OVERHEAD, Stack.AL2023, given_)
        (same,) = [other for other in found if other.slice == each.slice]
        assert same.answer.fits
        if each.expected_slowdown is not UNSET and same.answer.slowdown is not None:
            assert each.expected_slowdown == pytest.approx(float(same.answer.slowdown), abs=0.006)


def test_an_unknown_need_has_whole_gpus_only():
    unknown = replace(_app(), need=Need(on="L4"))
    fitting = {name for name, each in _by_slice(unknown).items() if each.answer.fits}
    assert fitting
    assert all(name.endswith("/whole") for name in fitting)


@few
@given(fleets(most=1), catalogs(types=SMALL_TYPES))
def test_alternatives_of_any_workload_are_complete_and_in_order(fleet, catalog):
    (workload,) = fleet
    found = alternatives(workload, catalog, OVERHEAD, Stack.AL2023)
    assert len({each.slice for each in found}) == len(found)
    for each in found:
        assert (each.price is None) == (not each.nodes)
        for nodes in each.nodes:
            assert each.answer.fits
            assert nodes.per_node > 0
            assert nodes.price == catalog.by_name()[nodes.instance_type].prices[nodes.purchase]


def test_what_binds_a_pool_is_its_fullest_resource():
    fleet = [Workload("red/fat", 2, 3800, 1024, _app().need, tenant="red")]
    catalog = catalog_of(L4)
    plan = solved(fleet, catalog).plan
    (use,) = pool_uses(plan, fleet, catalog)
    assert use.binds == "cpu"
    assert use.used["cpu"] == pytest.approx(7600 / (7910 - 180))
    assert use.price == 977_600
    assert use.idle == pytest.approx(977_600 * (1 - 7600 / 7730), abs=1)


@few
@given(fleets(), catalogs(types=SMALL_TYPES))
def test_no_pool_uses_more_than_it_has(fleet, catalog):
    plan = solved(fleet, catalog).plan
    uses = pool_uses(plan, fleet, catalog)
    assert sum(each.price for each in uses) == prices(plan)[2] == micro_usd(plan.summary.usd_per_hour)
    for each in uses:
        assert all(0 <= share <= 1 for share in each.used.values())
        assert 0 <= each.idle <= each.price
        assert each.binds in each.used


def test_with_seats_a_metered_gpu_is_as_full_as_its_pods_need():
    uses = {each.pool: each for each in pool_uses(seated.seated(), seated.WORKLOADS, seated.CATALOG)}
    assert uses["mixed"].used["gpu-memory"] == pytest.approx((2 * 5000 + 8000) / (22 * 1024))
    assert uses["mixed"].used["gpu-time"] == pytest.approx((2 * 200 + 300) / 800)
    assert uses["mixed"].binds == "gpu-time"
    assert uses["own-b"].used["slots"] == 1
    assert (uses["own-a"].used, uses["own-a"].binds, uses["own-a"].price) == ({}, "", 0)


def _offers(workload: Workload, **rules: Any) -> dict[str, Offer]:
    found = alternatives(workload, CATALOG, OVERHEAD, Stack.AL2023, **rules)
    return {offer.slice: offer for offer in offers(found, workload.replicas)}


def test_alone_counts_whole_nodes_and_with_others_a_part_of_full_ones():
    metered = _offers(_app())["L4/time-slicing/metered"]
    assert metered.alone is not None
    assert (metered.alone.instance_type, metered.alone.needed(8)) == ("g6.2xlarge", 1)
    assert metered.alone_price == 977_600
    nine = _offers(replace(_app(), replicas=9))["L4/time-slicing/metered"]
    assert (nine.alone_price, nine.shared_price) == (2 * 977_600, 977_600 * 9 // 8)


def test_one_pod_takes_the_small_machine_and_many_may_take_the_large_one():
    """By its part of a full node the machine with four GPUs is cheaper, and alone one pod would pay for all four."""
    cheap_four = replace(L4_X4, prices={Purchase.ON_DEMAND: 3_000_000})
    catalog = catalog_of(L4, cheap_four)
    one = replace(_app(), replicas=1)
    (whole,) = [
        offer
        for offer in offers(alternatives(one, catalog, OVERHEAD, Stack.AL2023), 1)
        if offer.slice == "L4/whole"
    ]
    assert whole.alone is not None
    assert (whole.alone.instance_type, whole.alone_price) == (L4.name, 977_600)
    assert (whole.shared.instance_type, whole.shared_price) == (L4_X4.name, 750_000)


def test_what_the_policy_forbids_is_no_offer_and_what_it_counts_only_for_so_many_pods():
    assert "L4/fractional/1-8" not in _offers(_app(), policy=Policy(forbid=("g6f",)))
    capped = Policy(max_nodes={L4_EIGHTH.name: 3})
    (at_most,) = [o for name, o in _offers(_app(), policy=capped).items() if name == "L4/fractional/1-8"]
    assert at_most.alone is None
    assert list(_offers(_app(), policy=capped))[-1] == "L4/fractional/1-8"


def test_spot_is_an_offer_only_to_whom_it_may_interrupt():
    spotted = replace(L4, prices={Purchase.ON_DEMAND: 977_600, Purchase.SPOT: 300_000})
    for interruptible, price in ((False, 977_600), (True, 300_000)):
        app = _app(interruptible=interruptible)
        found = offers(alternatives(app, catalog_of(spotted), OVERHEAD, Stack.AL2023), 8)
        assert {offer.alone_price for offer in found if offer.slice == "L4/time-slicing/metered"} == {price}


def test_pods_that_keep_apart_have_a_node_each():
    metered = _offers(_app(takes=(apart("red/app"),)))["L4/time-slicing/metered"]
    assert metered.alone is not None
    assert (metered.alone.per_node, metered.alone_price) == (1, 8 * 977_600)


def test_mechanisms_that_are_not_wanted_are_not_listed():
    names = set(_offers(_app(), without={"mps", "metered"}))
    assert not any("/mps/" in name or name.endswith("/metered") for name in names)
    assert any("/time-slicing/" in name for name in names)


def test_what_a_plan_has_is_ranked_by_what_is_paid_and_the_rest_by_nodes_of_their_own():
    found = offers(alternatives(_app(), CATALOG, OVERHEAD, Stack.AL2023), 8)
    last = found[-1].slice
    first, *rest = ranked(found, {last: 0.01})
    assert (first[0].slice, first[1]) == (last, 0.01)
    assert [offer.slice for offer, _ in rest] == [offer.slice for offer in found[:-1]]
    assert {usd for _, usd in rest} == {None}
