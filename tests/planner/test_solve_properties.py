"""What must hold for every plan, on random small fleets and catalogs."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpuslice.cloud.catalog import Catalog
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.stacks import Stack
from gpuslice.units import micro_usd
from gpuslice.verifier.verify import verify
from gpuslice.workloads.model import Workload
from tests.example_budget import few, fewer
from tests.planner.exhaustive import cheapest, pods_of
from tests.planner.planned import prices, solved
from tests.strategies import A100_X8, H100, L4, OVERHEAD, SMALL_TYPES, catalogs, fleets, limited_fleets

MIG_TYPES = (L4, H100, replace(A100_X8, gpu_count=2))
MIG_MODELS = ("L4", "H100", "A100-40GB")
LIMITED_TYPES = tuple(
    replace(each, local_storage_gb=450 * (at % 3), efa=at % 3) for at, each in enumerate(SMALL_TYPES)
)
LIMITED_MIG_TYPES = tuple(replace(each, efa=1) for each in MIG_TYPES)
small_catalogs = catalogs(types=SMALL_TYPES)


@few
@given(fleets(), small_catalogs, st.sampled_from(Stack))
def test_every_plan_passes_the_verifier_and_keeps_its_prices_in_order(fleet, catalog, stack):
    plan = solved(fleet, catalog, stack=stack).plan
    assert verify(plan, fleet, catalog) == []
    bound, optimal, realised = prices(plan)
    assert bound <= optimal <= realised
    assert plan.summary.gap <= 0.005 or plan.summary.status != "optimal"
    placed = {each.workload for each in plan.assignments}
    unplaced = {each.workload for each in plan.unplaced}
    assert not placed & unplaced
    assert placed | unplaced == {each.name for each in fleet}


@fewer
@given(fleets(on=MIG_MODELS), catalogs(types=MIG_TYPES), st.sampled_from(Stack))
def test_every_plan_with_mig_passes_the_verifier_and_keeps_its_prices_in_order(fleet, catalog, stack):
    plan = solved(fleet, catalog, stack=stack).plan
    assert verify(plan, fleet, catalog) == []
    bound, optimal, realised = prices(plan)
    assert bound <= optimal <= realised


@few
@given(fleets(most=4, replicas=2), catalogs(types=SMALL_TYPES, most=3))
def test_the_packing_of_a_tiny_fleet_is_proven_to_be_the_optimum(fleet, catalog):
    _agrees_with_exhaustive_search(fleet, catalog)


@fewer
@given(fleets(most=3, replicas=2, on=MIG_MODELS), catalogs(types=MIG_TYPES, most=2))
def test_the_packing_of_a_tiny_fleet_with_mig_is_proven_to_be_the_optimum(fleet, catalog):
    _agrees_with_exhaustive_search(fleet, catalog)


@few
@given(limited_fleets(), catalogs(types=LIMITED_TYPES), st.sampled_from(Stack))
def test_every_plan_keeps_what_limits_pods_on_a_node(fleet, catalog, stack):
    plan = solved(fleet, catalog, stack=stack).plan
    assert verify(plan, fleet, catalog) == []
    bound, optimal, realised = prices(plan)
    assert bound <= optimal <= realised


@few
@given(limited_fleets(most=4, replicas=2), catalogs(types=LIMITED_TYPES, most=3))
def test_the_packing_of_a_tiny_fleet_with_limits_is_proven_to_be_the_optimum(fleet, catalog):
    _agrees_with_exhaustive_search(fleet, catalog)


@fewer
@given(limited_fleets(most=3, replicas=2, on=MIG_MODELS), catalogs(types=LIMITED_MIG_TYPES, most=2))
def test_the_packing_of_a_tiny_fleet_with_mig_and_limits_is_proven_to_be_the_optimum(fleet, catalog):
    _agrees_with_exhaustive_search(fleet, catalog)


def _agrees_with_exhaustive_search(fleet: Sequence[Workload], catalog: Catalog) -> None:
    pods = pods_of(fleet)
    assume(len(pods) <= 6)
    plan = solved(fleet, catalog).plan
    unplaced = {each.workload for each in plan.unplaced}
    for each in fleet:
        assert (cheapest([each], catalog, OVERHEAD) is None) == (each.name in unplaced)
    true = cheapest([each for each in pods if each.name not in unplaced], catalog, OVERHEAD)
    assert true is not None
    bound, optimal, _ = prices(plan)
    assert bound <= true <= optimal
    # As many loads as such a fleet has are all looked at: what is left is the gap asked for.
    assert plan.summary.gap <= 0.005


@few
@given(fleets(), small_catalogs)
def test_the_cheapest_packing_is_no_dearer_than_whole_gpus_that_serve_everybody(fleet, catalog):
    summary = solved(fleet, catalog).plan.summary
    for baseline in summary.baselines:
        if baseline.name == "whole-gpu" and not baseline.misfits:
            assert summary.optimal_usd_per_hour <= baseline.usd_per_hour + 1e-6


@few
@given(fleets(), small_catalogs)
def test_no_way_of_today_that_serves_everybody_costs_less_than_the_proven_least(fleet, catalog):
    plan = solved(fleet, catalog).plan
    bound, optimal, _ = prices(plan)
    for baseline in plan.summary.baselines:
        if not baseline.misfits:
            assert bound <= micro_usd(baseline.usd_per_hour)
            if plan.summary.status == "optimal":
                assert optimal * (1 - plan.summary.gap) <= micro_usd(baseline.usd_per_hour) + 1


@few
@given(fleets(), catalogs(types=SMALL_TYPES, least=2))
def test_another_instance_type_never_raises_the_price(fleet, catalog):
    fewer_types = Catalog(catalog.region, catalog.prices_date, catalog.source, catalog.instance_types[:-1])
    without, with_it = solved(fleet, fewer_types).plan, solved(fleet, catalog).plan
    assume({each.workload for each in without.unplaced} == {each.workload for each in with_it.unplaced})
    assert prices(with_it)[0] <= prices(without)[1]


@fewer
@given(fleets(), small_catalogs, st.integers(2, 7))
def test_dearer_money_scales_bound_and_bill(fleet, catalog, factor):
    dearer = Catalog(
        catalog.region,
        catalog.prices_date,
        catalog.source,
        tuple(
            replace(each, prices={purchase: price * factor for purchase, price in each.prices.items()})
            for each in catalog.instance_types
        ),
    )
    here, there = solved(fleet, catalog).plan, solved(fleet, dearer).plan
    assert [each.workload for each in here.unplaced] == [each.workload for each in there.unplaced]
    # Each bound is one for the other's fleet too.
    assert prices(there)[0] <= prices(here)[1] * factor
    assert prices(here)[0] * factor <= prices(there)[1] + factor
    if here.summary.status == there.summary.status == "optimal":
        assert prices(there)[1] == pytest.approx(prices(here)[1] * factor, rel=0.0051)


@fewer
@given(fleets(most=4), small_catalogs)
def test_a_workload_split_in_two_changes_nothing_but_names(fleet, catalog):
    doubled = [replace(each, replicas=each.replicas * 2) for each in fleet]
    halves = [replace(each, name=f"{each.name}{half}") for each in fleet for half in "ab"]
    whole, split = solved(doubled, catalog).plan, solved(halves, catalog).plan
    assert prices(split)[0] == pytest.approx(prices(whole)[0], rel=1e-6)
    assert prices(split)[0] <= prices(whole)[1]
    assert prices(whole)[0] <= prices(split)[1]
    assert {each.workload.rstrip("ab") for each in split.unplaced if each.workload} == {
        each.workload.rstrip("ab") for each in whole.unplaced
    }


@few
@given(fleets(), small_catalogs, st.sampled_from([Isolation.MEMORY, Isolation.HARDWARE]))
def test_more_isolation_never_costs_less(fleet, catalog, wanted):
    isolated = [
        replace(
            each, need=replace(each.need, isolation=max(each.need.isolation, wanted, key=lambda i: i.rank))
        )
        for each in fleet
    ]
    here, there = solved(fleet, catalog).plan, solved(isolated, catalog).plan
    # A whole GPU isolates all that can be wanted: nobody loses a place for it.
    assert [each.workload for each in here.unplaced] == [each.workload for each in there.unplaced]
    assert prices(here)[0] <= prices(there)[1]


@fewer
@given(fleets(), small_catalogs)
def test_a_looser_limit_never_costs_more(fleet, catalog):
    eased = [replace(each, need=replace(each.need, max_slowdown_milli=None)) for each in fleet]
    here, there = solved(fleet, catalog).plan, solved(eased, catalog).plan
    assume(len(here.unplaced) == len(there.unplaced))
    assert prices(there)[0] <= prices(here)[1]


@fewer
@given(fleets(), small_catalogs)
def test_without_any_time_a_plan_is_verified_and_its_bound_is_true(fleet, catalog):
    hasty, patient = solved(fleet, catalog, seconds=0.0).plan, solved(fleet, catalog).plan
    assert verify(hasty, fleet, catalog) == []
    assert prices(hasty)[0] <= prices(patient)[1]
    assert prices(patient)[0] <= prices(hasty)[1]


@fewer
@given(fleets(), small_catalogs, st.randoms(use_true_random=False))
def test_the_order_of_the_workloads_changes_nothing_that_matters(fleet, catalog, random):
    shuffled = list(fleet)
    random.shuffle(shuffled)
    here, there = solved(fleet, catalog).plan, solved(shuffled, catalog).plan
    assert prices(here)[0] <= prices(there)[1]
    assert prices(there)[0] <= prices(here)[1]
    assert {each.workload for each in here.unplaced} == {each.workload for each in there.unplaced}
