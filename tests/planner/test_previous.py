"""Stable plans: who may stays, under the same names, unless moving saves enough; and what either choice costs."""

from dataclasses import replace

import pytest
from hypothesis import given
from msgspec import UNSET
from msgspec.structs import replace as replaced

from gpuslice.plan.artefact import Change, Plan
from gpuslice.planner.clock import Clock
from gpuslice.planner.homes.previous import restarts
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.verifier.verify import verify
from tests.example_budget import fewer
from tests.planner.good_plans import CATALOG, CUT, SHARED
from tests.planner.planned import home
from tests.planner.seated import seated
from tests.planner.workload import workload
from tests.strategies import A10G, OVERHEAD, SMALL_TYPES, T4, catalog_of, catalogs, fleets


def planned(workloads, previous=None, catalog=CATALOG, min_saving=0.05) -> Plan:
    asked = Settings(OVERHEAD, previous=previous, min_saving=min_saving)
    return solve(workloads, catalog, asked, clock=Clock(60.0)).plan


def change(plan: Plan) -> Change:
    assert plan.summary.change is not UNSET
    return plan.summary.change


@pytest.mark.parametrize("fleet", [SHARED, CUT], ids=["shared", "cut"])
def test_the_same_workloads_stay_where_they_are_and_nobody_restarts(fleet):
    before = planned(fleet)
    after = planned(fleet, before)
    assert after.pools == before.pools
    assert after.assignments == before.assignments
    assert (change(after).kept, change(after).restarts) == (True, 0)


def test_without_a_previous_plan_nothing_is_said_of_it():
    assert planned(SHARED).summary.change is UNSET


def test_more_and_fewer_replicas_new_and_gone_workloads_restart_nobody():
    before = planned(SHARED)
    changed = [
        *(replace(each, replicas=each.replicas + 2) for each in SHARED[:2]),
        *SHARED[3:],
        workload("red/new", 2, "L4", 3000, 0.05),
    ]
    after = planned(changed, before, min_saving=1.0)
    assert verify(after, changed, CATALOG) == []
    assert change(after).restarts == 0
    for each in SHARED[3:]:
        assert home(after, each.name)[1].name == home(before, each.name)[1].name
    assert home(after, "red/new")


def test_who_has_grown_out_of_its_slice_moves_alone_and_that_is_said():
    before = planned(SHARED)
    grown = [
        replace(each, need=replace(each.need, memory_mib=21_000)) if each.name == "red/rank" else each
        for each in SHARED
    ]
    after = planned(grown, before, min_saving=1.0)
    moved = {
        each.name for each in SHARED if home(after, each.name)[1].name != home(before, each.name)[1].name
    }
    assert moved <= {"red/rank"}
    assert any("the previous plan doesn't hold as it is" in each for each in after.assumptions)


def test_moving_is_chosen_exactly_if_it_saves_more_than_was_asked_for():
    fleet = [workload(f"red/app{i}", 4, "T4", 6000, 0.1, cpu=1000) for i in range(3)]
    catalog = catalog_of(A10G, T4)
    before = planned(fleet, catalog=catalog_of(A10G))  # while there was no T4, which is cheaper
    trade = change(planned(fleet, before, catalog))
    saving = 1 - trade.free_usd_per_hour / trade.kept_usd_per_hour
    assert 0.01 < saving < 0.99
    assert trade.free_restarts > 0
    patient, eager = (planned(fleet, before, catalog, saving + by) for by in (0.005, -0.005))
    assert (change(patient).kept, change(patient).restarts) == (True, 0)
    assert patient.summary.usd_per_hour == trade.kept_usd_per_hour
    assert (change(eager).kept, change(eager).restarts) == (False, trade.free_restarts)
    assert eager.summary.usd_per_hour == trade.free_usd_per_hour


def test_a_pool_that_is_new_never_has_a_name_that_stood_for_another():
    before = planned(SHARED)
    after = planned(SHARED, before, catalog=replace(CATALOG, instance_types=CATALOG.instance_types[:-2]))
    layouts = {each.name: (each.layout, each.tenant) for each in before.pools}
    assert all(
        layouts.get(each.name, (each.layout, each.tenant)) == (each.layout, each.tenant)
        for each in after.pools
    )


@fewer
@given(fleets(), fleets(), catalogs(types=SMALL_TYPES, least=2))
def test_every_plan_after_another_passes_the_verifier(fleet, later, catalog):
    before = planned(fleet, catalog=catalog)
    for min_saving in (0.0, 1.0):
        assert verify(planned(later, before, catalog, min_saving), later, catalog) == []


def test_a_pod_restarts_where_its_seat_goes():
    before = seated()
    mixed, *others = before.assignments
    elsewhere = (replaced(mixed, pool="own-a"), *others)
    assert restarts(before, before.assignments) == 0
    assert restarts(before, elsewhere) == mixed.replicas
