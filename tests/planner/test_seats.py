"""Plans with seats: what Karpenter launches is what was packed, in whatever order pods come, and however many more."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, structs

from gpuslice.carriers.carrier import Ask
from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.selection import choose
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import Source
from gpuslice.hardware.resource_names import SHARED_GPU, WHOLE_GPU
from gpuslice.hardware.stacks import Stack
from gpuslice.karpenter.rollout import Arrivals
from gpuslice.launches.bill import Order
from gpuslice.plan.artefact import Assignment, Plan
from gpuslice.planner.bound.columns import ColumnGeneration, each_alone
from gpuslice.planner.clock import Clock
from gpuslice.planner.model.classes import classes_of
from gpuslice.planner.model.options import node_options
from gpuslice.planner.model.packing import cost
from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import ClassNumber, numbered, pods_in_slots
from gpuslice.planner.programs.highs import Answer, Ended, Status
from gpuslice.planner.seats.launches import SeatRealiser
from gpuslice.planner.seats.pools import SeatedFleet
from gpuslice.planner.seats.requests import Seating, seating
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import Solution, solve
from gpuslice.verifier.verify import verify
from gpuslice.workloads.policy import Policy
from tests.example_budget import few, fewer
from tests.planner.planned import prices, solved
from tests.planner.workload import workload
from tests.random_fleets import read_fleet
from tests.strategies import (
    A10G_X4,
    A100_X8,
    CARRIER,
    H100,
    L4,
    L4_LARGE,
    OVERHEAD,
    SMALL_TYPES,
    catalog_of,
    catalogs,
    fleets,
)

FIRST, SECOND = ClassNumber(0), ClassNumber(1)
MIG_TYPES = (L4, H100, replace(A100_X8, gpu_count=2))
MIG_MODELS = ("L4", "H100", "A100-40GB")
ORDERS: tuple[Order, ...] = tuple((pattern, 77 + seed) for pattern in Arrivals for seed in range(2))


def nodes_of(plan: Plan) -> dict[tuple[str, str, str], int]:
    found: dict[tuple[str, str, str], int] = {}
    for pool in plan.pools:
        for node in pool.nodes:
            key = (pool.name, node.instance_type, node.purchase)
            found[key] = found.get(key, 0) + node.count
    return found


def holds(solution: Solution, fleet, catalog, overhead=OVERHEAD) -> Plan:
    """The plan, held to what every plan with seats must be."""
    plan = solution.plan
    assert not [each for each in plan.assumptions if each.startswith("no seats")]
    assert verify(plan, fleet, catalog) == []
    bound, optimal, realised = prices(plan)
    assert bound <= optimal <= realised
    seats: dict[str, int] = {}
    for pool in plan.pools:
        assert pool.seats
        for name, count in pool.seats.items():
            seats[name] = seats.get(name, 0) + count * (0 if pool.max_nodes is UNSET else pool.max_nodes)
    for name, count in seats.items():
        assert count <= sum(each.replicas for each in plan.assignments if each.workload == name)
    if plan.assignments:
        realiser = SeatRealiser(plan.pools, plan.assignments, fleet, catalog, plan.stack, overhead)
        for bill, _ in realiser.spread(ORDERS).bills:
            assert dict(bill.nodes) == nodes_of(plan)
            assert bill.price == realised
            assert bill.unbound == 0
    return plan


@few
@given(fleets(), catalogs(types=SMALL_TYPES))
def test_karpenter_launches_just_the_nodes_that_are_planned(fleet, catalog):
    holds(solved(fleet, catalog, seats=True), fleet, catalog)


@fewer
@given(fleets(on=MIG_MODELS), catalogs(types=MIG_TYPES))
def test_karpenter_launches_just_the_nodes_that_are_planned_with_mig(fleet, catalog):
    holds(solved(fleet, catalog, seats=True), fleet, catalog)


@fewer
@given(fleets(), catalogs(types=SMALL_TYPES), st.integers(1, 3))
def test_whoever_comes_beyond_the_plan_gets_a_node_of_its_own_pool(fleet, catalog, times):
    plan = solved(fleet, catalog, seats=True).plan
    if not plan.assignments:
        return
    more = tuple(
        structs.replace(each, replicas=each.replicas + times * (each is first_of(plan, each.workload)))
        for each in plan.assignments
    )
    realiser = SeatRealiser(plan.pools, more, fleet, catalog, plan.stack, OVERHEAD)
    limits = {pool.name: pool.max_nodes for pool in plan.pools if pool.max_nodes is not UNSET}
    for bill, _ in realiser.spread(ORDERS[:4]).bills:
        assert bill.unbound == 0
        launched = dict.fromkeys(limits, 0)
        for (pool, _, _), count in bill.nodes:
            if pool in launched:
                launched[pool] += count
        assert all(launched[name] <= most for name, most in limits.items())


def seated_by(packing, classes, alone) -> SeatedFleet:
    each = tuple((pattern,) for pattern in alone)
    return SeatedFleet(classes, Seating(classes, Counter(packing), each), lambda _: ())


def metered(types, classes):
    """Nodes with one metered card, by instance type."""
    options = node_options(classes, catalog_of(*types), OVERHEAD, CARRIER)
    return {
        each.instance_type.name: each
        for each in options
        if each.cut.metered and len(each.classes) == len(classes)
    }


def test_nodes_of_a_pool_of_its_own_are_filled_where_a_packing_left_them_half_empty():
    classes = classes_of([workload("red/a", 6, "L4", 5000, 0.05)])
    node = metered((L4,), classes)[L4.name]
    fleet = seated_by(
        {Pattern(node, pods_in_slots({FIRST: 2})): 3}, classes, (Pattern(node, pods_in_slots({FIRST: 4})),)
    )
    (pool,) = fleet.pools()
    assert [(each.count, each.pods) for each in pool.nodes] == [(1, {"red/a": 4}), (1, {"red/a": 2})]
    assert cost(fleet.packing()) == 2 * node.price


def test_who_asks_for_a_shared_gpu_takes_no_place_of_who_asks_for_a_whole_one():
    members = [
        workload("red/a", 4, "A10G", None, None),
        workload("red/b", 4, "A10G", 3000, 0.05, cpu=9),
    ]
    free = classes_of(members)
    options = node_options(free, catalog_of(A10G_X4), OVERHEAD, CARRIER)
    assert ColumnGeneration(options, free).exchanges == ((1, 0),)
    kept = [replace(free[0], kept_to=Ask(WHOLE_GPU)), replace(free[1], kept_to=Ask(SHARED_GPU))]
    options = node_options(kept, catalog_of(A10G_X4), OVERHEAD, CARRIER)
    assert ColumnGeneration(options, kept).exchanges == ()


def test_beside_pods_that_ask_for_mig_the_others_are_packed_anew_and_share_nodes():
    members = [
        workload("red/a", 3, "L4", 10_000, 0.2),
        workload("red/b", 3, "L4", 8000, 0.2),
        workload("blue/cut", 7, "H100", 9000, 0.02, isolation=Isolation.HARDWARE),
    ]
    classes, catalog = classes_of(members), catalog_of(L4, H100)
    options = node_options(classes, catalog, OVERHEAD, CARRIER)
    begin: Counter[Pattern] = Counter()
    for number, one in numbered(classes):
        alone = [
            pattern
            for option in options
            if option.admits(number)
            for pattern in each_alone(option, number, classes)
        ]
        cheapest = min(alone, key=lambda pattern: pattern.option.price / pattern.pods[0].replicas)
        begin[cheapest] += -(-one.replicas // cheapest.pods[0].replicas)

    def without_mig(some):
        return node_options(some, catalog, OVERHEAD, CARRIER, frozenset({"mig"}))

    found = seating(classes, options, (), begin, without_mig, gap=0.0, clock=Clock(60.0))
    assert found is not None
    *others, last = [each.kept_to for each in found.classes]
    assert others == [Ask(SHARED_GPU), Ask(SHARED_GPU)]
    assert last == Ask("nvidia.com/mig-1g.10gb")
    # Alone, three pods of either take two nodes; together all six fit on three.
    nodes = Counter[str]()
    for pattern, count in found.packing.items():
        nodes[pattern.option.instance_type.name] += count
    assert nodes == {L4.name: 3, H100.name: 1}


def test_no_node_is_planned_whose_pods_all_find_free_seats_elsewhere():
    members = [workload("red/a", 10, "L4", 5000, 0.05), workload("red/b", 7, "L4", 4900, 0.05)]
    classes = classes_of(members)
    nodes = metered((L4, L4_LARGE), classes)
    cheap, dear = nodes[L4.name], nodes[L4_LARGE.name]
    packing = {
        Pattern(cheap, pods_in_slots({FIRST: 4})): 1,
        Pattern(cheap, pods_in_slots({FIRST: 2})): 1,  # two seats are free here …
        Pattern(dear, pods_in_slots({FIRST: 1, SECOND: 1})): 3,
        Pattern(cheap, pods_in_slots({SECOND: 4})): 1,
        Pattern(dear, pods_in_slots({FIRST: 1})): 1,  # … and this one's pod finds one
    }
    alone = (Pattern(cheap, pods_in_slots({FIRST: 4})), Pattern(cheap, pods_in_slots({SECOND: 4})))
    fleet = seated_by(packing, classes, alone)
    carried = dict.fromkeys(("red/a", "red/b"), 0)
    for pool in fleet.pools():
        for node in pool.nodes:
            for name, count in node.pods.items():
                carried[name] += count * node.count
    assert carried == {"red/a": 10, "red/b": 7}
    assert cost(fleet.packing()) == 3 * cheap.price + 3 * dear.price


def first_of(plan: Plan, workload: str) -> Assignment:
    return next(each for each in plan.assignments if each.workload == workload)


def planned(seed: int, workloads: int, **more) -> Solution:
    fleet = read_fleet(seed, workloads)
    wanted = Settings(daemonset_overhead(), seats=True, **more)
    return solve(fleet.workloads, choose("", fleet.region), wanted, clock=Clock(60.0))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "workloads"), [(100, 10), (103, 14), (106, 20), (109, 25)])
def test_fleets_with_seats_cost_what_the_cheapest_packing_does_or_two_percent_more(seed, workloads):
    fleet = read_fleet(seed, workloads)
    found = planned(seed, workloads)
    plan = holds(found, fleet.workloads, choose("", fleet.region), daemonset_overhead())
    _, optimal, realised = prices(plan)
    assert realised <= optimal * 1.02
    without = solve(
        fleet.workloads, choose("", fleet.region), Settings(daemonset_overhead()), clock=Clock(60.0)
    )
    assert realised < prices(without.plan)[2]


@pytest.mark.slow
def test_the_pods_of_a_workload_have_one_template_wherever_they_are():
    plan = planned(106, 20).plan
    several = [
        name
        for name in {each.workload for each in plan.assignments}
        if sum(each.workload == name for each in plan.assignments) > 1
    ]
    assert several
    for name in several:
        templates = {(each.asks, each.memory_limit) for each in plan.assignments if each.workload == name}
        assert len(templates) == 1


@pytest.mark.slow
def test_a_pool_is_called_the_same_as_long_as_its_nodes_have_the_same_seats():
    one, other = planned(103, 14).plan, planned(103, 14, gap=0.0).plan
    seats = {pool.name: (pool.seats, pool.layout, pool.instance_types[0]) for pool in one.pools}
    for pool in other.pools:
        here = pool.seats, pool.layout, pool.instance_types[0]
        assert seats.get(pool.name, here) == here


@pytest.mark.slow
def test_pools_list_a_second_type_that_karpenter_takes_only_where_the_first_is_missing():
    plan = planned(103, 14).plan
    assert any(len(pool.instance_types) == 2 for pool in plan.pools)
    assert not any(len(pool.instance_types) > 1 for pool in planned(103, 14, fallback=False).plan.pools)
    assert {each.instance_type for each in plan.missing} == {
        node.instance_type for pool in plan.pools for node in pool.nodes
    }
    assert all(each.usd_per_hour >= 0 for each in plan.missing)


def test_nodes_that_pods_wait_for_are_no_saving():
    plan = planned(103, 14, fallback=False).plan
    waited_for = [each for each in plan.missing if each.waiting]
    assert waited_for
    assert all(each.usd_per_hour >= 0 for each in plan.missing)


def again(solution_plan, fleet, catalog, min_saving=1.0) -> Solution:
    wanted = Settings(daemonset_overhead(), seats=True, previous=solution_plan, min_saving=min_saving)
    return solve(fleet, catalog, wanted, clock=Clock(60.0))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "workloads"), [(100, 10), (103, 20)])
def test_all_seats_stay_where_nothing_has_changed(seed, workloads):
    fleet = read_fleet(seed, workloads)
    before = planned(seed, workloads).plan
    after = again(before, fleet.workloads, choose("", fleet.region)).plan
    assert after.pools == before.pools
    assert after.assignments == before.assignments
    assert after.summary.change is not UNSET
    assert (after.summary.change.kept, after.summary.change.restarts) == (True, 0)


@pytest.mark.slow
def test_seats_stay_for_those_who_are_still_there_and_others_get_new_ones():
    fleet = read_fleet(106, 20)
    catalog = choose("", fleet.region)
    before = planned(106, 20).plan
    first, second, third, *others = fleet.workloads
    later = [replace(first, replicas=first.replicas + 3), replace(second, replicas=1), *others]
    kept = again(before, later, catalog)
    plan = holds(kept, later, catalog, daemonset_overhead())
    change = plan.summary.change
    assert change is not UNSET
    assert change.kept
    assert change.restarts < sum(each.replicas for each in plan.assignments) / 2
    assert change.kept_usd_per_hour >= change.free_usd_per_hour
    assert not any(third.name in pool.seats for pool in plan.pools)
    resources = {each.workload: each.asks.resource for each in before.assignments}
    assert all(each.asks.resource == resources[each.workload] for each in plan.assignments)
    free = again(before, later, catalog, min_saving=0.0).plan
    assert free.summary.usd_per_hour <= plan.summary.usd_per_hour


@pytest.mark.slow
def test_who_has_another_need_has_seats_by_another_name_and_none_of_the_old_ones():
    fleet = read_fleet(106, 20)
    catalog = choose("", fleet.region)
    before = planned(106, 20).plan
    first, *others = fleet.workloads
    grown = replace(first, need=replace(first.need, memory_mib=(first.need.memory_mib or 0) + 1))
    read_again = replace(first, need=replace(first.need, source=Source.DECLARED))

    def seats(plan: Plan) -> set[str]:
        return {each.asks.seat for each in plan.assignments if each.workload == first.name}

    after = holds(again(before, [grown, *others], catalog), [grown, *others], catalog, daemonset_overhead())
    assert not seats(after) & seats(before)
    had = {
        name for pool in before.pools for workload, name in pool.seat_names.items() if workload == first.name
    }
    assert not had & {name for pool in after.pools for name in pool.seat_names.values()}
    kept = {pool.name for pool in before.pools if first.name not in pool.seats}
    assert kept & {pool.name for pool in after.pools}
    assert seats(again(before, [read_again, *others], catalog).plan) == seats(before)


@fewer
@given(fleets(), fleets(), catalogs(types=SMALL_TYPES, least=2))
def test_every_plan_with_seats_after_another_is_right(fleet, later, catalog):
    before = solved(fleet, catalog, seats=True).plan
    for min_saving in (0.0, 1.0):
        wanted = Settings(OVERHEAD, seats=True, previous=before, min_saving=min_saving)
        holds(solve(later, catalog, wanted, clock=Clock(60.0)), later, catalog)


@fewer
@given(fleets(on=MIG_MODELS), st.integers(0, 2), catalogs(types=MIG_TYPES))
def test_every_plan_with_seats_after_a_smaller_one_is_right_with_mig(fleet, more, catalog):
    before = solved(fleet, catalog, seats=True).plan
    later = [replace(each, replicas=each.replicas + more) for each in fleet]
    wanted = Settings(OVERHEAD, seats=True, previous=before, min_saving=1.0)
    holds(solve(later, catalog, wanted, clock=Clock(60.0)), later, catalog)


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        (Settings(OVERHEAD, stack=Stack.BOTTLEROCKET), "Bottlerocket"),
        (Settings(OVERHEAD, policy=Policy(max_pools=3)), "maxPools"),
        (Settings(OVERHEAD, policy=Policy(max_nodes={"g6.xlarge": 1})), "maxNodes"),
    ],
)
def test_what_seats_cannot_go_with_is_refused(wanted, word):
    fleet = read_fleet(100, 10)
    with pytest.raises(InputError, match=word):
        solve(fleet.workloads, choose("", fleet.region), replace(wanted, seats=True), clock=Clock(60.0))


@pytest.mark.slow
def test_a_plan_without_seats_keeps_nothing_of_one_with_them():
    fleet = read_fleet(100, 10)
    previous = planned(100, 10).plan
    wanted = Settings(daemonset_overhead(), previous=previous)
    plan = solve(fleet.workloads, choose("", fleet.region), wanted, clock=Clock(60.0)).plan
    assert not {each.name for each in plan.pools} & {each.name for each in previous.pools}
    assert "the previous plan has seats: who has one in it is placed anew" in plan.assumptions
    assert plan.summary.change is UNSET


def test_too_many_workloads_get_pools_without_seats_and_a_word_on_why(monkeypatch):
    monkeypatch.setattr("gpuslice.planner.seats.fleet._MOST_WORKLOADS", 9)
    plan = planned(100, 10).plan
    assert not any(pool.seats for pool in plan.pools)
    assert any("no seats for 10 workloads" in each for each in plan.assumptions)


def test_for_very_many_replicas_the_model_is_not_asked_and_there_are_no_seats(monkeypatch):
    monkeypatch.setattr("gpuslice.planner.seats.fleet._MOST_LOOKS", 99)
    plan = planned(100, 10).plan
    assert not any(pool.seats for pool in plan.pools)
    assert any("the model of Karpenter would take too long" in each for each in plan.assumptions)


def test_where_the_program_finds_nothing_in_time_seats_are_those_of_the_packing_it_began_from(monkeypatch):
    monkeypatch.setattr(
        "gpuslice.planner.seats.requests.solve_mixed",
        lambda *_, **__: Answer(Status.UNKNOWN, Ended.WORK, None, None),
    )
    fleet = read_fleet(103, 14)
    plan = holds(planned(103, 14), fleet.workloads, choose("", fleet.region), daemonset_overhead())
    _, optimal, realised = prices(plan)
    assert realised <= optimal * 1.15
