"""What a policy allows: types, nodes of a type, spot's share, reservations; and what is said where it can't be."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpuslice.cloud.catalog import Purchase
from gpuslice.errors import AnswerIsNoError, InputError
from gpuslice.plan.artefact import Plan
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.verifier.verify import verify
from gpuslice.workloads.policy import (
    FREE,
    Policy,
    Reservation,
    check_policy,
    stated_counts,
    stated_reservations,
)
from tests.example_budget import fewer
from tests.planner.good_plans import CATALOG, SHARED, Case, document_of, rules_broken
from tests.planner.planned import prices
from tests.strategies import OVERHEAD, SMALL_TYPES, catalogs, fleets


def planned(policy: Policy, workloads: Any = SHARED, catalog: Any = CATALOG, seconds: float = 60.0) -> Plan:
    return solve(workloads, catalog, Settings(OVERHEAD, policy=policy), clock=Clock(seconds)).plan


def bought(plan: Plan, purchase: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for pool in plan.pools:
        for node in pool.nodes:
            if node.purchase == purchase:
                found[node.instance_type] = found.get(node.instance_type, 0) + node.count
    return found


def test_interruptible_workloads_go_to_spot_where_that_is_cheaper():
    assert bought(planned(FREE), "spot") == {"g6.2xlarge": 1}


def test_what_is_forbidden_is_not_bought_and_who_needs_it_is_told_by_which_rule():
    plan = planned(Policy(forbid=("g6.12xlarge", "g5")))
    names = {name for pool in plan.pools for name in pool.instance_types}
    assert not names & {"g6.12xlarge", "g5.2xlarge"}
    assert {each.workload: each.reason for each in plan.unplaced} == {
        "blue/llm": "g6.12xlarge would do, but policy.forbid has g6.12xlarge"
    }


def test_where_everything_is_forbidden_everybody_is_told_so_and_nothing_is_bought():
    everything = tuple({each.family for each in CATALOG.instance_types})
    plan = planned(Policy(forbid=everything))
    assert plan.pools == ()
    assert plan.summary.status == "infeasible"
    assert {each.workload for each in plan.unplaced} == {each.name for each in SHARED}
    assert all("policy.forbid" in each.reason for each in plan.unplaced)


def test_a_cap_on_nodes_is_kept_and_costs_what_the_next_best_costs():
    plan = planned(Policy(max_nodes={"g6.2xlarge": 1}))
    assert sum(bought(plan, each).get("g6.2xlarge", 0) for each in ("spot", "on-demand")) <= 1
    assert prices(plan)[0] > prices(planned(FREE))[0]


def test_caps_that_leave_no_room_are_named_beside_who_has_none():
    with pytest.raises(
        AnswerIsNoError, match=r"no room for all of blue/llm within policy.maxNodes g6.12xlarge: 1"
    ):
        planned(Policy(max_nodes={"g6.12xlarge": 1, "g6.dual": 0}))


@pytest.mark.parametrize(
    ("share", "spot"), [(0.0, {}), (0.03, {}), (0.04, {"g6.2xlarge": 1}), (1.0, {"g6.2xlarge": 1})]
)
def test_spot_stays_below_its_share_of_the_bill(share, spot):
    assert bought(planned(Policy(max_spot_share=share)), "spot") == spot  # 0.40 of 12.59 dollars


def test_what_is_reserved_is_used_first_and_never_more_of_it_than_there_is():
    plan = planned(Policy(reserved=(Reservation(instance_type="g6.12xlarge", count=1),)))
    assert bought(plan, "reserved") == {"g6.12xlarge": 1}
    assert bought(plan, "on-demand")["g6.12xlarge"] == 1
    assert prices(plan)[2] == prices(planned(FREE))[2] - 4_601_600


def test_a_price_of_a_reservation_is_paid():
    free = planned(Policy(reserved=(Reservation(instance_type="g6.12xlarge", count=2),)))
    paid = planned(Policy(reserved=(Reservation(instance_type="g6.12xlarge", count=2, usd_per_hour=0.5),)))
    assert prices(paid)[2] == prices(free)[2] + 1_000_000


def test_plenty_that_is_paid_for_makes_a_plan_that_costs_nothing_and_is_proven_to():
    everything = tuple(Reservation(instance_type=each.name, count=100) for each in CATALOG.instance_types)
    plan = planned(Policy(reserved=everything))
    assert prices(plan) == (0, 0, 0)
    assert plan.summary.status == "optimal"


def test_a_price_for_reserved_in_the_catalog_buys_nothing_that_nobody_has_reserved():
    cheap = tuple(
        replace(each, prices={**each.prices, Purchase.RESERVED: 1}) for each in CATALOG.instance_types
    )
    assert prices(planned(FREE, catalog=replace(CATALOG, instance_types=cheap))) == prices(planned(FREE))


@st.composite
def policies(draw: st.DrawFn, names: list[str]) -> Policy:
    some = st.sampled_from(names)
    return Policy(
        max_nodes=draw(st.dictionaries(some, st.integers(0, 3), max_size=2)),
        max_spot_share=draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        reserved=tuple(
            Reservation(instance_type=name, count=count, usd_per_hour=price)
            for name, (count, price) in draw(
                st.dictionaries(some, st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.1])), max_size=2)
            ).items()
        ),
    )


@fewer
@given(fleets(), catalogs(types=SMALL_TYPES, least=2), st.data(), st.sampled_from([60.0, 0.0]))
def test_every_plan_under_a_policy_keeps_it_and_its_prices_in_order(fleet, catalog, data, seconds):
    policy = data.draw(policies([each.name for each in catalog.instance_types]))
    try:
        plan = planned(policy, fleet, catalog, seconds)
    except AnswerIsNoError:
        assert policy.max_nodes  # nothing else leaves anybody without a place
        return
    assert verify(plan, fleet, catalog) == []
    bound, optimal, realised = prices(plan)
    assert bound <= optimal <= realised


@fewer
@given(fleets(), catalogs(types=SMALL_TYPES, least=2), st.data())
def test_a_policy_that_allows_less_never_costs_less(fleet, catalog, data):
    policy = data.draw(policies([each.name for each in catalog.instance_types]))
    strict = Policy(max_nodes=policy.max_nodes, max_spot_share=policy.max_spot_share)
    try:
        held = planned(strict, fleet, catalog)
    except AnswerIsNoError:
        assume(False)
    assert prices(planned(FREE, fleet, catalog))[0] <= prices(held)[1]


# The verifier


POLICY = Policy(
    forbid=("p3",),
    max_nodes={"g6.12xlarge": 2},
    max_spot_share=0.1,
    reserved=(Reservation(instance_type="g6.12xlarge", count=1, ids=("cr-1",)),),
)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("policy/forbidden", {"forbid": ["g6f"]}),
        ("policy/forbidden", {"forbid": ["g6f.xlarge"]}),
        ("policy/max-nodes", {"maxNodes": {"g6.12xlarge": 1}}),
        ("policy/spot-share", {"maxSpotShare": 0.04}),
        ("policy/reserved", {"reserved": []}),
        ("policy/reserved", {"reserved": [{"instanceType": "g6.12xlarge", "count": 0}]}),
        ("price", {"reserved": [{"instanceType": "g6.12xlarge", "count": 1, "usdPerHour": 0.1}]}),
    ],
    ids=str,
)
def test_a_plan_that_breaks_its_policy_is_refused_by_the_name_of_the_rule(rule, change):
    catalog = replace(CATALOG, instance_types=tuple(each for each in CATALOG.instance_types))
    good = Case(planned(POLICY, catalog=catalog), SHARED, catalog)
    document = document_of(good)
    assert rules_broken(good, document) == set()
    document["policy"] |= change
    assert rule in rules_broken(good, document)


def test_one_node_too_many_of_what_is_reserved_is_refused():
    good = Case(planned(POLICY), SHARED, CATALOG)
    document = document_of(good)
    for node in [node for pool in document["pools"] for node in pool["nodes"]]:
        if node["instanceType"] == "g6.12xlarge":
            node |= {"purchase": "reserved", "usdPerHour": 0.0}
    assert "policy/reserved" in rules_broken(good, document)


# What people write


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(forbid=("p9",)), r"policy.forbid\[0\]: no family 'p9'"),
        (Policy(forbid=("g6.nano",)), r"policy.forbid\[0\]: no instance type 'g6.nano'"),
        (
            Policy(max_nodes={"g6.2xlarg": 1}),
            "policy.maxNodes: no instance type 'g6.2xlarg'.*\ndid you mean 'g6.2xlarge'",
        ),
        (
            Policy(reserved=(Reservation(instance_type="g6.nano", count=1),)),
            r"policy.reserved\[0\].instanceType: no",
        ),
        (
            Policy(reserved=(Reservation(instance_type="g6.2xlarge", count=1),) * 2),
            r"reserved\[1\]: is of g6.2xlarge, as",
        ),
    ],
    ids=str,
)
def test_a_policy_about_what_is_not_there_is_refused(policy, words):
    with pytest.raises(InputError, match=words):
        check_policy(policy, CATALOG, "workloads.yaml: policy")


def test_options_are_read():
    assert stated_counts(["g6.xlarge=3", "p5.48xlarge=0"]) == {"g6.xlarge": 3, "p5.48xlarge": 0}
    assert stated_reservations(["p5.48xlarge=2", "g6.xlarge=4@0.35"]) == (
        Reservation(instance_type="p5.48xlarge", count=2),
        Reservation(instance_type="g6.xlarge", count=4, usd_per_hour=0.35),
    )


@pytest.mark.parametrize(
    "text", ["g6.xlarge", "g6.xlarge=", "g6.xlarge=-1", "g6.xlarge=x", "g6.xlarge=1.5", "=", "g6.xlarge=1@"]
)
def test_options_that_make_no_sense_are_refused_with_their_form(text):
    with pytest.raises(InputError, match="such as"):
        stated_reservations([text])
