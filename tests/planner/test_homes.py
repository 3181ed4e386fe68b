"""Homes of workloads: found from few choices as from many, and never dearer for being taken out and put back."""

import pytest

from bench.fleets import read_fleet
from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.selection import choose
from gpuslice.planner import home_program, home_search
from gpuslice.planner.solve import Settings, Solution, solve


def planned(seed: int, workloads: int) -> Solution:
    fleet = read_fleet(seed, workloads)
    settings = Settings(daemonset_overhead())
    return solve(fleet.workloads, choose("", fleet.region), settings, remaining=lambda: 60.0)


@pytest.mark.parametrize("seed", [100, 101])
def test_everybody_has_a_home_when_only_the_likely_ones_are_looked_at(monkeypatch, seed):
    # One tenant's workload may be alone in its best homes: no pattern that serves others has it.
    monkeypatch.setattr(home_program, "_MANY_CHOICES", 0)
    plan = planned(seed, 10).plan
    assert not plan.unplaced
    assert len({each.workload for each in plan.assignments}) == 10


def test_taking_out_and_putting_back_saves_something(monkeypatch):
    found = planned(109, 30).carried
    monkeypatch.setattr(home_search, "_ROUNDS", 0)
    without = planned(109, 30).carried
    assert found is not None
    assert without is not None
    assert found.packed is not None
    assert without.packed is not None
    assert found.spread.mean < without.spread.mean
