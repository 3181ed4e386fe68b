"""What a change would save: by the prices of the proof on fleets counted by hand, and planned again."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from gpuslice.advice.allowances import Kind, steps
from gpuslice.advice.reduced_costs import Part, reduced_costs, reduced_together
from gpuslice.advice.savings import Change, Changes, changes, saving
from gpuslice.cloud.catalog import Catalog, Purchase
from gpuslice.errors import AnswerIsNoError
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.planner.clock import Clock
from gpuslice.planner.model.limits import limits_of
from gpuslice.planner.model.places import numbered
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import Solution, offered, solve
from gpuslice.workloads.policy import FREE, Policy, priced
from gpuslice.workloads.target import Target
from tests.example_budget import few, fewer
from tests.planner.planned import prices
from tests.planner.workload import workload
from tests.strategies import (
    A10G,
    A100_X8,
    H100,
    L4,
    L4_EIGHTH,
    OVERHEAD,
    SMALL_TYPES,
    T4,
    catalog_of,
    catalogs,
    fleets,
)

# Duals are scaled down until they prove the bound, by less than a third of the gap asked for.
WITHIN = 2e-3


def solved(fleet, catalog: Catalog, policy: Policy = FREE) -> tuple[Solution, Catalog, Settings]:
    catalog, rules = priced(policy, catalog), Settings(OVERHEAD, policy=policy)
    return solve(fleet, catalog, rules, clock=Clock(60.0)), catalog, rules


def asked(fleet, catalog: Catalog, policy: Policy = FREE, **more) -> Changes:
    solution, catalog, rules = solved(fleet, catalog, policy)
    return changes(solution, fleet, catalog, rules, clock=Clock(60.0), **more)


def estimates(found: Changes) -> dict[tuple[str, str], float]:
    return {(each.whose, each.words): each.estimate for each in found.promising}


def confirmed(change: Change, fleet, catalog: Catalog, policy: Policy = FREE):
    solution, catalog, _ = solved(fleet, catalog, policy)
    return saving(change, solution.plan, fleet, lambda some, then: solved(some, catalog, then)[0].plan)


ON_A100 = workload(memory=2000, duty=0.02, allow=frozenset({"A100-40GB"}), isolation=Isolation.HARDWARE)
A100 = A100_X8.prices[Purchase.ON_DEMAND] / 1e6
BIG = catalog_of(A100_X8, L4, L4_EIGHTH)


def test_a_workload_bound_to_an_a100_learns_what_an_eighth_of_an_l4_would_save():
    found = estimates(asked([ON_A100], BIG))
    assert found == {("red/app", "allow L4 too"): pytest.approx(A100 - 0.2375, rel=WITHIN)}


def test_planning_again_finds_what_the_prices_say():
    (change,) = asked([ON_A100], BIG).promising
    found = confirmed(change, [ON_A100], BIG)
    assert found.usd_per_hour == pytest.approx(A100 - 0.2375)
    assert found.proven == pytest.approx(A100 - 0.2375)


def test_one_of_eight_on_a_machine_pays_an_eighth_of_it():
    fleet = [
        workload(f"red/{at}", memory=None, duty=None, on="A100-40GB", allow=frozenset({"A100-40GB"}))
        for at in "abcdefgh"
    ]
    found = estimates(asked(fleet, catalog_of(A100_X8, H100)))
    # An H100 for itself alone is dearer than its part of the machine.
    assert found == {}
    found = estimates(asked(fleet[:2], catalog_of(A100_X8, H100)))
    assert found.keys() == {
        ("red/a", "allow H100 too"),
        ("red/b", "allow H100 too"),
        ("tenant red", "allow H100 too, for 2 workloads"),
    }
    both = found.pop(("tenant red", "allow H100 too, for 2 workloads"))
    assert both == pytest.approx(sum(found.values())) == pytest.approx(A100 - 2 * 6.88, rel=0.01)


def test_one_of_two_on_a_machine_saves_nothing_by_leaving_and_both_do():
    fleet = [
        workload(f"red/{at}", memory=None, duty=None, on="A100-40GB", allow=frozenset({"A100-40GB"}))
        for at in "ab"
    ]
    catalog = catalog_of(A100_X8, H100)
    saved = {
        each.whose: confirmed(each, fleet, catalog).usd_per_hour for each in asked(fleet, catalog).promising
    }
    assert saved == {"red/a": 0, "red/b": 0, "tenant red": pytest.approx(A100 - 2 * 6.88)}


def test_isolation_that_nobody_needs_is_priced_by_what_sharing_would_cost():
    fleet = [workload(replicas=4, isolation=Isolation.HARDWARE)]
    found = estimates(asked(fleet, catalog_of(L4)))
    # Four whole L4s, and one for all four.
    assert found["red/app", "isolation memory instead of hardware"] == pytest.approx(3 * 0.9776, rel=WITHIN)
    assert ("red/app", "isolation none instead of hardware") not in found


def test_the_stronger_step_is_listed_too_where_a_workload_is_asked_about_alone():
    fleet = [workload(replicas=4, isolation=Isolation.HARDWARE)]
    found = estimates(asked(fleet, catalog_of(L4), name="red/app"))
    assert len([words for _, words in found if words.startswith("isolation")]) == 2


def test_a_gibibyte_less_saves_a_node_where_it_makes_room_for_a_second():
    fleet = [workload(replicas=2, memory=11_500, duty=0.1)]
    words = "1Gi less GPU memory: 10476Mi"
    found = estimates(asked(fleet, catalog_of(L4)))
    assert found["red/app", words] == pytest.approx(0.9776, rel=WITHIN)
    change = next(each for each in asked(fleet, catalog_of(L4)).promising if each.words == words)
    assert confirmed(change, fleet, catalog_of(L4)).usd_per_hour == pytest.approx(0.9776)


def test_a_laxer_limit_on_slowdown_lets_more_share():
    fleet = [workload(replicas=2, memory=8000, duty=0.15, max_slowdown_milli=1000)]
    found = estimates(asked(fleet, catalog_of(L4)))
    assert found["red/app", "at most 1.5x slower instead of 1x"] == pytest.approx(0.9776, rel=WITHIN)


def test_half_a_core_less_saves_a_node_where_cpu_keeps_pods_apart():
    fleet = [workload(replicas=2, cpu=2000)]
    (change,) = asked(fleet, catalog_of(replace(L4, allocatable_cpu_milli=3920))).promising
    assert (change.kind, change.words) == (Kind.CPU, "request 500m less CPU: 1500m")
    assert change.estimate == pytest.approx(0.9776, rel=WITHIN)
    again = confirmed(change, fleet, catalog_of(replace(L4, allocatable_cpu_milli=3920)))
    assert again.usd_per_hour == pytest.approx(0.9776)


def test_a_gibibyte_less_memory_of_a_pod_saves_a_node_where_that_keeps_pods_apart():
    catalog = catalog_of(replace(L4, allocatable_memory_mib=14_000))
    fleet = [workload(replicas=2, ram=7500)]
    (change,) = asked(fleet, catalog).promising
    assert (change.kind, change.words) == (Kind.POD_MEMORY, "request 1Gi less memory: 6476Mi")
    assert confirmed(change, fleet, catalog).usd_per_hour == pytest.approx(0.9776)


def test_spot_is_worth_what_it_is_cheaper():
    catalog = catalog_of(replace(L4, prices={**L4.prices, Purchase.SPOT: 400_000}))
    found = asked([workload()], catalog)
    assert [each.kind for each in found.promising] == [Kind.SPOT]
    assert found.promising[0].estimate == pytest.approx(0.5776, rel=WITHIN)
    assert confirmed(found.promising[0], [workload()], catalog).usd_per_hour == pytest.approx(0.5776)


def test_a_tenant_may_give_up_isolation_for_all_its_workloads():
    """Neither alone has anybody to share with."""
    fleet = [workload(f"red/{at}", memory=5000, isolation=Isolation.HARDWARE) for at in "ab"]
    fleet.append(workload("blue/c", memory=5000))
    (change,) = asked(fleet, catalog_of(L4)).promising
    assert (change.whose, change.words) == ("tenant red", "no isolation, for 2 workloads")
    assert {each.name for each in change.workloads} == {"red/a", "red/b"}
    assert change.estimate >= 0.9776 * (1 - WITHIN)
    assert confirmed(change, fleet, catalog_of(L4)).usd_per_hour == pytest.approx(0.9776)


def test_a_workload_that_is_fine_has_nothing_to_change():
    found = asked([workload()], catalog_of(L4))
    assert found.promising == ()
    assert found.asked > 0


def test_of_several_models_the_whole_plan_is_told_the_best_and_the_workload_all():
    catalog = catalog_of(A100_X8, L4, A10G)
    assert [each.gpu for each in asked([ON_A100], catalog).promising] == ["L4"]
    assert [each.gpu for each in asked([ON_A100], catalog, name="red/app").promising] == ["L4", "A10G"]


def test_a_forbidden_family_is_worth_the_difference():
    policy = Policy(forbid=("g6f",))
    app = workload(isolation=Isolation.HARDWARE, allow=frozenset({"L4"}))
    found = asked([app], catalog_of(L4, L4_EIGHTH), policy)
    change = next(each for each in found.promising if each.kind is Kind.POLICY)
    assert (change.whose, change.words) == ("policy", "don't forbid g6f")
    assert change.estimate == pytest.approx(0.9776 - 0.2375, rel=WITHIN)
    again = confirmed(change, [app], catalog_of(L4, L4_EIGHTH), policy)
    assert again.usd_per_hour == pytest.approx(0.9776 - 0.2375)


PODS = Target(kind="Pod")  # each may go where it likes


def test_one_node_more_of_a_capped_type_is_worth_its_toll():
    policy = Policy(max_nodes={"g4dn.xlarge": 1})
    fleet = [
        workload(replicas=3, on="T4", memory=None, duty=None, allow=frozenset({"T4", "A10G"}), target=PODS)
    ]
    found = asked(fleet, catalog_of(T4, A10G), policy)
    change = next(each for each in found.promising if each.kind is Kind.POLICY)
    assert change.words == "maxNodes g4dn.xlarge: 2 instead of 1"
    assert change.estimate == pytest.approx(1.212 - 0.526, rel=WITHIN)
    again = confirmed(change, fleet, catalog_of(T4, A10G), policy)
    assert again.usd_per_hour == pytest.approx(1.212 - 0.526)


def test_a_larger_share_of_spot_is_worth_its_toll():
    catalog = catalog_of(replace(L4, prices={**L4.prices, Purchase.SPOT: 400_000}))
    fleet = [workload(replicas=20, memory=20_000, duty=0.5, interruptible=True, target=PODS)]
    found = asked(fleet, catalog, Policy(max_spot_share=0.2))
    change = next(each for each in found.promising if each.kind is Kind.POLICY)
    assert change.words == "maxSpotShare: 0.3 instead of 0.2"
    # At 0.2 a replica is worth the same on spot as not: 0.9776 (1 - 0.2 toll) = 0.4 (1 + 0.8 toll).
    toll = (0.9776 - 0.4) / (0.8 * 0.4 + 0.2 * 0.9776)
    bill = 20 * 0.9776 * (1 - 0.2 * toll)
    assert change.estimate == pytest.approx(0.1 * toll * bill, rel=0.01)
    again = confirmed(change, fleet, catalog, Policy(max_spot_share=0.2))
    assert again.usd_per_hour > 0


def test_one_pool_more_is_worth_at_most_what_any_number_saves():
    fleet = [
        workload("red/a", replicas=3, memory=None, duty=None, on="T4", allow=frozenset({"T4", "A10G"})),
        workload("red/b", memory=None, duty=None, on="A10G", allow=frozenset({"A10G"})),
    ]
    policy = Policy(max_pools=1)
    found = asked(fleet, catalog_of(T4, A10G), policy)
    change = next(each for each in found.promising if each.kind is Kind.POLICY)
    assert change.words == "maxPools: 2 instead of 1"
    assert change.estimate == pytest.approx(3 * (1.212 - 0.526))
    again = confirmed(change, fleet, catalog_of(T4, A10G), policy)
    assert again.usd_per_hour == pytest.approx(3 * (1.212 - 0.526))


def test_workloads_that_are_not_placed_are_left_out_of_both_plans():
    fleet = [workload("red/a"), workload("red/giant", memory=60_000), ON_A100]
    (change,) = (each for each in asked(fleet, BIG).promising if each.gpu == "L4")
    assert confirmed(change, fleet, BIG).usd_per_hour == pytest.approx(A100 - 0.2375)


def test_a_plan_again_that_fails_confirms_nothing():
    (change,) = asked([ON_A100], BIG).promising
    plan = solved([ON_A100], BIG)[0].plan

    def no_room(_workloads, _policy):
        raise AnswerIsNoError("no room", fix="none")

    assert saving(change, plan, [ON_A100], no_room) is None
    fitting_nothing = solved([replace(ON_A100, need=replace(ON_A100.need, memory_mib=90_000))], BIG)[0].plan
    assert saving(change, plan, [ON_A100], lambda _some, _policy: fitting_nothing) is None


def test_a_saving_within_the_gap_is_not_proven():
    (change,) = asked([ON_A100], BIG).promising
    solution = solved([ON_A100], BIG)[0]
    summary = structs.replace(solution.plan.summary, bound_usd_per_hour=0.3)
    plan = structs.replace(solution.plan, summary=summary)
    found = saving(change, plan, [ON_A100], lambda some, policy: solved(some, BIG, policy)[0].plan)
    assert found is not None
    assert found.usd_per_hour == pytest.approx(A100 - 0.2375)
    assert found.proven == pytest.approx(0.3 - 0.2375)


def test_what_there_is_no_time_for_is_named_with_the_most_that_it_can_save():
    solution, catalog, rules = solved([ON_A100], BIG)
    found = changes(solution, [ON_A100], catalog, rules, clock=Clock(0.0))
    assert (found.promising, found.missed) == ((), ("red/app",))
    assert found.most == pytest.approx(A100, rel=WITHIN)


def test_nothing_placed_has_nothing_to_change():
    assert asked([workload(memory=60_000)], catalog_of(L4)) == Changes((), 0)


@st.composite
def bound_fleets(draw, most=4):
    """Fleets of which some state models of their own, for there to be something to allow."""
    fleet = draw(fleets(most=most))
    return [
        replace(each, need=replace(each.need, allow=frozenset({each.need.on})))
        if each.need.on is not None and draw(st.booleans())
        else each
        for each in fleet
    ]


small_catalogs = catalogs(types=SMALL_TYPES, least=2)


@few
@given(bound_fleets(), small_catalogs, st.data())
def test_no_plan_after_a_step_is_below_the_bound_less_the_estimate(fleet, catalog, data):
    solution, catalog, rules = solved(fleet, catalog)
    relaxation = solution.relaxation
    assume(relaxation is not None)
    assert relaxation is not None
    asked_of = {
        Part(number, member.replicas): steps(each, catalog)
        for number, each in numbered(solution.classes)
        for member in each.members
    }
    costs = reduced_costs(
        solution.classes,
        relaxation,
        asked_of,
        lambda some: offered(some, catalog, rules),
        limits=limits_of(rules.policy),
        clock=Clock(60.0),
    )
    assert costs.keys() == {(part, each) for part, here in asked_of.items() for each in here}
    duals = relaxation.duals
    assert all(0 <= each <= duals[part[0]] + 1e-9 for (part, _), each in costs.items())
    assume(costs)
    part, step = data.draw(st.sampled_from(list(costs)))
    placed = {each.workload for each in solution.plan.assignments}
    changed = next(each for each in solution.classes[part[0]].members if each.replicas == part[1])
    after = [step.taken(each) if each.name == changed.name else each for each in fleet if each.name in placed]
    plan = solved(after, catalog)[0].plan
    least = relaxation.bound - costs[part, step] * changed.replicas
    assert prices(plan)[1] / 1e6 >= least - 1e-6 * max(relaxation.bound, 1)
    # And what is proven with the step holds for every plan without it.
    assert prices(plan)[0] <= prices(solution.plan)[1]


@pytest.mark.slow
@few
@given(bound_fleets(), small_catalogs, st.data())
def test_no_plan_after_several_steps_is_below_the_bound_less_what_they_save_together(fleet, catalog, data):
    solution, catalog, rules = solved(fleet, catalog)
    relaxation = solution.relaxation
    assume(relaxation is not None)
    assert relaxation is not None
    possible = {
        member.name: (Part(number, member.replicas), steps(each, catalog))
        for number, each in numbered(solution.classes)
        for member in each.members
    }
    taken = {
        name: (part, data.draw(st.sampled_from(here)))
        for name, (part, here) in possible.items()
        if here and data.draw(st.booleans())
    }
    assume(taken)
    together = reduced_together(
        solution.classes,
        relaxation,
        list(taken.values()),
        lambda some: offered(some, catalog, rules),
        limits=limits_of(rules.policy),
        clock=Clock(60.0),
    )
    assert together >= 0
    after = [
        taken[each.name][1].taken(each) if each.name in taken else each
        for each in fleet
        if each.name in possible
    ]
    plan = solved(after, catalog)[0].plan
    assert prices(plan)[1] / 1e6 >= relaxation.bound - together - 1e-6 * max(relaxation.bound, 1)


@fewer
@given(bound_fleets(most=3), small_catalogs, st.data())
def test_a_confirmed_saving_is_the_difference_of_two_plans_made_apart(fleet, catalog, data):
    solution, catalog, rules = solved(fleet, catalog)
    found = changes(solution, fleet, catalog, rules, clock=Clock(60.0))
    assert all(each.estimate > 0 for each in found.promising)
    listed = [round(each.estimate, 6) for each in found.promising]
    assert listed == sorted(listed, reverse=True)
    assume(found.promising)
    change = data.draw(st.sampled_from(found.promising))
    result = saving(change, solution.plan, fleet, lambda some, then: solved(some, catalog, then)[0].plan)
    placed = {each.workload for each in solution.plan.assignments}
    changed = {each.name: each for each in change.workloads}
    apart = solved([changed.get(each.name, each) for each in fleet if each.name in placed], catalog)[0].plan
    assert result is not None
    paid, then = prices(solution.plan)[2], prices(apart)[2]
    assert result.usd_per_hour == pytest.approx((paid - then) / 1e6)
    assert result.proven == pytest.approx(max(prices(solution.plan)[0] - then, 0) / 1e6)
    assert result.proven <= max(result.usd_per_hour, 0) + 1e-9
