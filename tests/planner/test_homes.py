"""Homes of workloads: found from few choices as from many, and never dearer for being taken out and put back."""

import random

import numpy as np
import pytest

from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.selection import choose
from gpuslice.planner.clock import Clock
from gpuslice.planner.homes import moves
from gpuslice.planner.homes import program as home_program
from gpuslice.planner.homes.packing import PoolPacking
from gpuslice.planner.model.classes import classes_of
from gpuslice.planner.model.places import ONLY_SLICE, Place, load_from, numbers_of
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import Solution, offered, solve
from tests.random_fleets import read_fleet


def planned(seed: int, workloads: int) -> Solution:
    fleet = read_fleet(seed, workloads)
    settings = Settings(daemonset_overhead())
    return solve(fleet.workloads, choose("", fleet.region), settings, clock=Clock(60.0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [100, 101])
def test_everybody_has_a_home_when_only_the_likely_ones_are_looked_at(monkeypatch, seed):
    # One tenant's workload may be alone in its best homes: no pattern that serves others has it.
    monkeypatch.setattr(home_program, "_MANY_CHOICES", 0)
    plan = planned(seed, 10).plan
    assert not plan.unplaced
    assert len({each.workload for each in plan.assignments}) == 10


@pytest.mark.slow
def test_taking_out_and_putting_back_saves_something(monkeypatch):
    found = planned(109, 30).carried
    monkeypatch.setattr(moves, "_ROUNDS", 0)
    without = planned(109, 30).carried
    assert found is not None
    assert without is not None
    assert found.packed is not None
    assert without.packed is not None
    assert found.spread.mean < without.spread.mean


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_cheaper_than_the_bound_that_spares_looking(seed):
    fleet = read_fleet(seed, 12, tenants=2)
    classes = tuple(classes_of(each for each in fleet.workloads if each.replicas))
    options = offered(classes, choose("", fleet.region), Settings(daemonset_overhead()))
    pools = PoolPacking(options, classes, np.ones(len(classes)), Clock(60.0))
    chance = random.Random(seed)
    seen = 0
    for _ in range(300):
        pool = chance.choice(pools.pools_for([chance.choice(numbers_of(classes))]) or [None])
        if pool is None:
            continue
        at_home = [number for number in sorted(pool.cut.fits) if chance.random() < 0.5]
        load = load_from({Place(number, ONLY_SLICE): chance.randint(1, 9) for number in at_home})
        least = pools.least(pool, load) - 1e-6
        packed, likely = pools.pack(pool, load), pools.likely(pool, load)
        assert packed is None or least <= packed.price
        assert likely is None or least <= likely
        seen += bool(load and packed and likely)
    assert seen > 50
