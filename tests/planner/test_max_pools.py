"""A cap on pools: kept, with what it costs, or answered with the fewest that were found."""

import pytest
from msgspec import UNSET

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.selection import choose
from gpuslice.errors import AnswerIsNoError
from gpuslice.plan.artefact import Plan
from gpuslice.planner.clock import Clock
from gpuslice.planner.homes.cover import few_kinds
from gpuslice.planner.model.classes import classes_of
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import offered, solve
from gpuslice.workloads.policy import FREE, Policy
from tests.planner.good_plans import CATALOG, SHARED, Case, document_of, rules_broken
from tests.planner.planned import prices
from tests.random_fleets import read_fleet
from tests.strategies import OVERHEAD


def planned(policy: Policy) -> Plan:
    return solve(SHARED, CATALOG, Settings(OVERHEAD, policy=policy), clock=Clock(60.0)).plan


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


def test_a_cap_that_can_be_kept_always_has_a_plan_however_little_is_looked_for():
    classes = classes_of(SHARED)
    options = offered(classes, CATALOG, Settings(OVERHEAD))
    possible = [most for most in range(1, 8) if few_kinds(options, classes, most) is not None]
    assert possible[0] > 1
    for most in possible:
        settings = Settings(OVERHEAD, policy=Policy(max_pools=most))
        plan = solve(SHARED, CATALOG, settings, clock=Clock(0.0)).plan
        assert len(plan.pools) <= most
        assert not plan.unplaced
    with pytest.raises(AnswerIsNoError):
        planned(Policy(max_pools=possible[0] - 1))


@pytest.mark.parametrize("seed", range(6))
def test_a_pool_for_each_tenant_is_always_enough_where_everybody_fits_one_model(seed):
    fleet = read_fleet(seed, 14, tenants=3)
    settings = Settings(OVERHEAD, policy=Policy(max_pools=3))
    plan = solve(fleet.workloads, choose("", fleet.region), settings, clock=Clock(1.0)).plan
    assert len(plan.pools) <= 3
    assert not plan.unplaced


def test_so_few_kinds_are_found_whether_or_not_there_are_too_many_choices_to_price(monkeypatch):
    classes = classes_of(SHARED)
    options = offered(classes, CATALOG, Settings(OVERHEAD))
    priced = [few_kinds(options, classes, most) for most in range(1, 7)]
    monkeypatch.setattr("gpuslice.planner.homes.cover._MOST_CHOICES", 0)
    counted = [few_kinds(options, classes, most) for most in range(1, 7)]
    assert [kinds is None for kinds in priced] == [kinds is None for kinds in counted]
    assert priced[0] is None
    for most, (dear, cheap) in enumerate(zip(counted, priced, strict=True), start=1):
        for kinds in (dear, cheap):
            if kinds is not None:
                assert len(kinds) <= most
                carried = {
                    number
                    for option in options
                    if (option.cut, option.purchase is Purchase.SPOT) in kinds
                    for number in option.classes
                }
                assert carried == set(range(len(classes)))
