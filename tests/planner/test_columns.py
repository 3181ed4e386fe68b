"""Column generation: a feasible fractional mix, and a bound that is true whenever it stops."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given

from gpuslice.cloud.catalog import Catalog
from gpuslice.planner.bound.columns import ColumnGeneration
from gpuslice.planner.clock import Clock
from gpuslice.planner.model.classes import WorkloadClass, classes_of
from gpuslice.planner.model.options import NodeOption, node_options
from gpuslice.workloads.model import Workload
from tests.example_budget import few
from tests.strategies import CARRIER, OVERHEAD, SMALL_TYPES, catalogs, fleets

TOLERANCE = 1e-3


def _placeable(
    fleet: Sequence[Workload], catalog: Catalog
) -> tuple[tuple[WorkloadClass, ...], tuple[NodeOption, ...]]:
    everyone = classes_of(fleet)
    offered = node_options(everyone, catalog, OVERHEAD, CARRIER)
    placeable = {number for option in offered for number in option.classes}
    classes = tuple(each for number, each in enumerate(everyone) if number in placeable)
    return classes, node_options(classes, catalog, OVERHEAD, CARRIER)


@few
@given(fleets(), catalogs(types=SMALL_TYPES))
def test_the_fractional_mix_covers_everybody_and_costs_what_the_bound_says(fleet, catalog):
    classes, options = _placeable(fleet, catalog)
    if not classes:
        return
    found = ColumnGeneration(options, classes).relax(tolerance=TOLERANCE, clock=Clock(60.0))
    assert found.converged
    assert found.value * (1 - TOLERANCE) - 1e-9 <= found.bound <= found.value + 1e-9
    covered = np.zeros(len(classes))
    price = 0.0
    for pattern, amount in zip(found.patterns, found.amounts, strict=True):
        price += pattern.option.usd * amount
        for number, count in pattern.counts().items():
            covered[number] += amount * count
    demand = np.asarray([each.replicas for each in classes])
    assert (covered >= demand - 1e-6).all()
    assert price == pytest.approx(found.value)
    # The duals are the bound's proof: what all replicas are worth at them.
    assert float(demand @ found.duals) == pytest.approx(found.bound, rel=1e-6)


@few
@given(fleets(), catalogs(types=SMALL_TYPES))
def test_no_node_that_is_known_is_worth_more_than_it_costs_at_the_proven_prices(fleet, catalog):
    classes, options = _placeable(fleet, catalog)
    if not classes:
        return
    found = ColumnGeneration(options, classes).relax(tolerance=TOLERANCE, clock=Clock(60.0))
    for pattern in found.patterns:
        worth = sum(found.duals[number] * count for number, count in pattern.counts().items())
        assert worth <= pattern.option.usd * (1 + 1e-6)


@few
@given(fleets(), catalogs(types=SMALL_TYPES))
def test_stopped_at_any_round_the_bound_is_still_one(fleet, catalog):
    classes, options = _placeable(fleet, catalog)
    if not classes:
        return
    patient = ColumnGeneration(options, classes).relax(tolerance=TOLERANCE, clock=Clock(60.0))
    for rounds in (0, 1, 3):
        left = iter([1.0] * rounds)
        clock = Clock(60.0, wall=partial(next, left, 0.0))
        hasty = ColumnGeneration(options, classes).relax(tolerance=TOLERANCE, clock=clock)
        assert hasty.bound <= patient.value * (1 + 1e-9)
        assert hasty.value >= patient.value * (1 - TOLERANCE)
        assert {number for each in hasty.patterns for number in each.counts()} == set(range(len(classes)))
