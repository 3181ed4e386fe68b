"""Every dollar of the bill is somebody's, or idle."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings

from gpuslice.costs.pool_use import pool_uses
from gpuslice.costs.shares import bill, paid_by_slice, whole_price
from gpuslice.plan.artefact import Now
from gpuslice.workloads.node_limits import apart
from gpuslice.workloads.today import NodesToday, ShareToday, Today
from tests.planner.planned import solved
from tests.planner.workload import workload
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


@settings(max_examples=12)
@given(fleets(most=4), catalogs(types=SMALL_TYPES))
def test_what_is_paid_for_slices_is_what_is_paid_in_all(workloads, catalog):
    plan = solved(workloads, catalog).plan
    by_slice = paid_by_slice(plan, pool_uses(plan, workloads, catalog))
    assert by_slice.keys() == {(each.workload, each.slice) for each in plan.assignments}
    for cost in bill(plan, workloads, catalog).workloads:
        assert sum(usd for (name, _), usd in by_slice.items() if name == cost.name) == pytest.approx(
            cost.planned
        )


def test_whole_gpus_are_split_by_what_each_costs_alone_and_packing_wastes_the_rest():
    found = subject()
    split = bill(found.plan, found.workloads, found.catalog)
    whole = next(one for one in found.plan.summary.baselines if one.name == "whole-gpu")
    assert split.before is not None
    assert split.before.idle is not None
    assert (split.before.name, split.before.total) == ("whole GPUs", whole.usd_per_hour)
    parts = {cost.name: cost.before for cost in split.workloads}
    by_name = {workload.name: workload for workload in found.workloads}
    for name, before in parts.items():
        price = whole_price(by_name[name], OVERHEAD, found.catalog)
        assert price is not None
        assert before == pytest.approx(price * by_name[name].replicas)
    assert split.before.idle >= 0
    assert sum(cost.before or 0 for cost in split.tenants) + split.before.idle == pytest.approx(
        whole.usd_per_hour
    )


def test_without_a_baseline_nothing_is_known_of_before():
    found = subject()
    alone = msgspec.structs.replace(
        found.plan, summary=msgspec.structs.replace(found.plan.summary, baselines=())
    )
    split = bill(alone, found.workloads, found.catalog)
    assert split.before is None
    assert {cost.before for cost in (*split.workloads, *split.tenants)} == {None}


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


def test_the_bill_of_now_is_split_by_the_nodes_that_a_workload_is_on():
    found = subject()
    placed = {assignment.workload for assignment in found.plan.assignments}
    of_one_gpu = [one.name for one in found.workloads if one.need.gpus == 1 and one.name in placed]
    first, second = of_one_gpu[:2]
    now = Now(usd_per_hour=90.0, staying_usd_per_hour=30.0, nodes=9)
    plan = msgspec.structs.replace(found.plan, summary=msgspec.structs.replace(found.plan.summary, now=now))
    today = Today(
        usd_per_hour=90.0,
        nodes=(
            NodesToday(instance_type="g5.xlarge", count=6, usd_per_hour=10.0, pods={first: 1}),
            NodesToday(
                instance_type="g5.xlarge", count=3, usd_per_hour=10.0, pods={second: 1, "red/kept": 1}
            ),
        ),
        shares=tuple(
            ShareToday(workload=name, gpu="A10G", mechanism="time-slicing", of=2, pods=3)
            for name in (second, "red/kept")
        ),
    )
    split = bill(plan, found.workloads, found.catalog, today)
    assert split.before is not None
    assert (split.before.name, split.before.total) == ("now", 90.0)
    assert split.before.workloads == {first: 60.0, second: 15.0}
    assert (split.before.left, split.before.idle) == (15.0, 0.0)
    # The shared nodes go on, with nobody but who is left.
    assert split.left == 30.0
    assert split.planned == pytest.approx(plan.summary.usd_per_hour + 30.0)
    # Of another scan: the sum is the plan's, and whose it is isn't known.
    other = bill(plan, found.workloads, found.catalog, Today(usd_per_hour=0.0, nodes=()))
    assert other.before is not None
    assert (other.before.total, other.before.workloads, other.before.idle) == (90.0, {}, None)


def test_the_whole_price_of_pods_that_keep_apart_is_that_of_a_node_each():
    lonely = workload("red/lonely", 4, "A10G", takes=(apart("red/lonely"),))
    assert whole_price(lonely, OVERHEAD, catalog_of(A10G_X4)) == pytest.approx(5.672)
