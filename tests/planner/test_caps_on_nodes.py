"""Caps on nodes among pools: some pools go on with what is capped, not all or none."""

from collections import Counter

import pytest

from gpuslice.cloud.selection import choose
from gpuslice.plan.artefact import Plan
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.workloads.policy import FREE, Policy
from tests.random_fleets import read_fleet
from tests.strategies import OVERHEAD


def _planned(policy: Policy) -> Plan:
    fleet = read_fleet(802, 20)
    settings = Settings(OVERHEAD, policy=policy)
    return solve(fleet.workloads, choose("", fleet.region), settings, clock=Clock(60.0)).plan


def _nodes(plan: Plan) -> Counter[str]:
    found: Counter[str] = Counter()
    for pool in plan.pools:
        for node in pool.nodes:
            found[node.instance_type] += node.count
    return found


@pytest.mark.slow
def test_of_what_is_capped_some_is_used():
    free = _planned(FREE)
    (name, wanted), *_ = _nodes(free).most_common(1)
    cap = wanted // 2
    assert cap > 1
    capped = _planned(Policy(max_nodes={name: cap}))
    forbidden = _planned(Policy(forbid=(name,)))
    assert 0 < _nodes(capped)[name] <= cap
    prices = [each.summary.usd_per_hour for each in (free, capped, forbidden)]
    assert prices == sorted(prices)
    assert prices[1] < prices[2]
