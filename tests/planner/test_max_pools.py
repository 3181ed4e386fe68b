"""A cap on pools: kept, with what it costs, or answered with the fewest that were found."""

import pytest
from msgspec import UNSET

from gpuslice.errors import AnswerIsNoError
from gpuslice.plan.artefact import Plan
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.workloads.policy import FREE, Policy
from tests.planner.good_plans import CATALOG, SHARED, Case, document_of, rules_broken
from tests.planner.planned import prices
from tests.strategies import OVERHEAD


def planned(policy: Policy) -> Plan:
    return solve(SHARED, CATALOG, Settings(OVERHEAD, policy=policy), remaining=lambda: 60.0).plan


@pytest.mark.parametrize("most", [5, 4])
def test_there_are_no_more_pools_than_asked_for_and_the_plan_says_what_that_costs(most):
    free, capped = planned(FREE), planned(Policy(max_pools=most))
    assert len(free.pools) > most >= len(capped.pools)
    assert capped.summary.any_pools_usd_per_hour == free.summary.usd_per_hour
    assert prices(capped)[2] >= prices(free)[2]
    assert free.summary.any_pools_usd_per_hour is UNSET


def test_a_cap_that_nothing_passes_costs_nothing_and_says_nothing():
    assert planned(Policy(max_pools=50)).summary == planned(FREE).summary


@pytest.mark.slow
def test_where_so_few_pools_are_impossible_the_fewest_found_are_named():
    # arm64 and amd64, and pods of four GPUs beside one of another model: no pool is for all.
    with pytest.raises(AnswerIsNoError, match=r"the fewest pools found are [2-9], and policy.maxPools is 1"):
        planned(Policy(max_pools=1))


@pytest.mark.slow
def test_a_plan_with_a_pool_too_many_is_refused():
    good = Case(planned(Policy(max_pools=5)), SHARED, CATALOG)
    document = document_of(good)
    assert rules_broken(good, document) == set()
    document["policy"]["maxPools"] = len(document["pools"]) - 1
    assert "policy/max-pools" in rules_broken(good, document)


def test_where_time_ran_out_more_of_it_is_the_first_thing_to_try():
    with pytest.raises(AnswerIsNoError) as caught:
        solve(SHARED, CATALOG, Settings(OVERHEAD, policy=Policy(max_pools=2)), remaining=lambda: 0.0)
    assert "--time-limit" in caught.value.fix
