"""Why a workload is where it is: what it pays there, and the nearest loser with its dollars."""

import re

import pytest
from hypothesis import given

from gpuslice.costs.alternatives import alternatives, offers
from gpuslice.costs.shares import bill
from gpuslice.hardware.stacks import Stack
from tests.example_budget import few
from tests.planner.planned import solved
from tests.planner.workload import workload
from tests.strategies import A10G, L4, OVERHEAD, SMALL_TYPES, T4, catalog_of, catalogs, fleets

CATALOG = catalog_of(T4, A10G, L4)
PAID = re.compile(r"; \$([\d,.]+) an hour")
LOSER = re.compile(r"next is (\S+) at \$([\d,.]+) \(alone on (\d+) (\S+)\)")


def because(*fleet):
    plan = solved(fleet, CATALOG).plan
    return {assignment.workload: assignment.because for assignment in plan.assignments}


def test_the_nearest_loser_is_the_cheapest_other_on_nodes_of_its_own():
    large = workload(replicas=3, memory=16_000, duty=0.3, on="A10G", allow=frozenset({"any"}))
    found = offers(alternatives(large, CATALOG, OVERHEAD, Stack.AL2023), 3)
    by_gpu = {offer.slice: offer.alone_price for offer in found}
    assert {name.partition("/")[0] for name in by_gpu} == {"L4", "A10G"}
    # It goes to the cheaper of the two; that this GPU could be cut otherwise and hold no more of them is no reason.
    here, there = sorted(("L4", "A10G"), key=lambda gpu: by_gpu[f"{gpu}/whole"] or 0)
    loser = LOSER.search(because(large)["red/app"])
    assert loser is not None
    assert loser[1].startswith(f"{there}/")
    assert float(loser[2]) == pytest.approx((by_gpu[loser[1]] or 0) / 1e6, abs=0.005)
    assert because(large)["red/app"].count(here)


def test_a_workload_that_can_only_be_there_is_told_so():
    only = workload(on="T4", memory=None, duty=None, allow=frozenset({"T4"}))
    assert because(only)["red/app"].endswith(", and nothing else would do")


def test_who_pays_more_than_it_would_alone_is_told_what_moving_frees():
    """Two on one node split its price, and neither's leaving takes it away."""
    small = workload("red/small", memory=2000, duty=0.05, on="T4", cpu=3500)
    large = workload("red/large", memory=5000, duty=0.1, on="A10G", cpu=4000, allow=frozenset({"A10G"}))
    reason = because(small, large)["red/small"]
    assert reason.endswith(
        "next is T4/mps/7 at $0.53 (alone on 1 g4dn.xlarge), and moving frees $0.00 of nodes"
    )


@few
@given(fleets(), catalogs(types=SMALL_TYPES))
def test_every_reason_says_what_its_workload_pays_and_none_that_the_plan_has_it_there(fleet, catalog):
    plan = solved(fleet, catalog).plan
    pays = {cost.name: cost.planned for cost in bill(plan, fleet, catalog).workloads}
    for assignment in plan.assignments:
        (usd,) = PAID.findall(assignment.because)
        assert float(usd.replace(",", "")) == pytest.approx(pays[assignment.workload], abs=0.0051)
        assert "cheapest plan" not in assignment.because
        loser = LOSER.search(assignment.because)
        assert (loser is None) == ("nothing else would do" in assignment.because)
        assert loser is None or loser[1] != assignment.slice
