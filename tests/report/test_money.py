"""Every dollar of the bill is somebody's, or idle."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings

from gpuslice.report.money import bill, whole_price
from tests.planner.planned import solved
from tests.report.subjects import subject, without_workloads
from tests.strategies import A10G, A10G_X4, L4, OVERHEAD, SMALL_TYPES, catalog_of, catalogs, fleets


@settings(max_examples=12)
@given(fleets(most=4), catalogs(types=SMALL_TYPES))
def test_workloads_and_idle_add_up_to_the_bill_of_any_plan(workloads, catalog):
    plan = solved(workloads, catalog).plan
    split = bill(plan, workloads, catalog)
    assert sum(each.planned for each in split.workloads) + split.idle == pytest.approx(
        plan.summary.usd_per_hour
    )
    assert split.planned == pytest.approx(plan.summary.usd_per_hour)
    assert sum(each.planned for each in split.tenants) == pytest.approx(
        sum(each.planned for each in split.workloads)
    )
    assert split.idle >= 0
    assert all(each.planned > 0 for each in split.workloads)
    assert {each.name for each in split.workloads} == {each.workload for each in plan.assignments}


def test_todays_bill_is_the_plans_and_is_split_without_a_rest():
    found = subject()
    split = bill(found.plan, found.workloads, found.catalog)
    today = next(each for each in found.plan.summary.baselines if each.name == "whole-gpu")
    assert split.today == pytest.approx(today.usd_per_hour)
    assert sum(each.today or 0 for each in split.workloads) == pytest.approx(today.usd_per_hour)
    assert sum(each.today or 0 for each in split.tenants) == pytest.approx(today.usd_per_hour)


def test_without_a_baseline_today_is_not_known():
    found = subject()
    plan = msgspec.structs.replace(
        found.plan, summary=msgspec.structs.replace(found.plan.summary, baselines=())
    )
    split = bill(plan, found.workloads, found.catalog)
    assert split.today is None
    assert {each.today for each in (*split.workloads, *split.tenants)} == {None}


def test_a_pod_that_takes_more_of_a_node_pays_more_of_it():
    found = subject("cut")
    split = {each.name: each.planned for each in bill(found.plan, found.workloads, found.catalog).workloads}
    # Nine instances in all, all taken: seven of nine slices, two of nine.
    assert split["red/small"] == pytest.approx(13.0 * 7 / 9)
    assert split["blue/large"] == pytest.approx(13.0 * 2 / 9)


def test_what_nobody_takes_is_idle():
    found = subject("slots")
    plan = found.plan
    (pool,) = plan.pools
    split = bill(plan, found.workloads, found.catalog)
    assert pool.layout.replicas
    slots = 2 * pool.layout.replicas * sum(node.count for node in pool.nodes)
    taken = sum(each.replicas for each in plan.assignments)
    assert split.idle == pytest.approx(plan.summary.usd_per_hour * (1 - taken / slots), abs=1e-5)


def test_the_whole_price_is_that_of_todays_model_else_of_the_cheapest_that_fits():
    catalog = catalog_of(A10G, A10G_X4, L4)
    found = {each.name: each for each in subject().workloads}
    on_a10g, on_l4 = found["blue/dark"], found["red/embed"]
    assert whole_price(on_a10g, OVERHEAD, catalog) == pytest.approx(1.212)
    assert whole_price(on_l4, OVERHEAD, catalog) == pytest.approx(0.9776)
    on_t4 = replace(on_l4, need=replace(on_l4.need, on="T4"))
    assert whole_price(on_t4, OVERHEAD, catalog_of(A10G_X4)) == pytest.approx(5.672 / 4)
    assert whole_price(on_l4, OVERHEAD, catalog_of(A10G_X4)) is None  # a step back in compute capability
    assert whole_price(found["teal/arm"], OVERHEAD, catalog) is None  # nothing here is arm64


def test_a_plan_alone_says_enough_to_split_its_bill():
    found = without_workloads()
    split = bill(found.plan, found.workloads, found.catalog)
    assert split.planned == pytest.approx(found.plan.summary.usd_per_hour)
    assert {each.name for each in split.tenants} >= {"red", "blue", "gray"}
