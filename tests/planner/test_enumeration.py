"""The loads that a cheaper packing could have, against trying every load of every node."""

from collections.abc import Iterator, Sequence
from itertools import product
from unittest.mock import patch

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from gpuslice.hardware.mechanisms import Isolation, Mechanism
from gpuslice.hardware.need import Need
from gpuslice.planner.bound.columns import ColumnGeneration
from gpuslice.planner.clock import Clock
from gpuslice.planner.loads import enumeration
from gpuslice.planner.model.classes import WorkloadClass, classes_of
from gpuslice.planner.model.options import NodeOption, node_options
from gpuslice.planner.model.patterns import Pattern, carries
from gpuslice.planner.model.places import ClassNumber
from gpuslice.workloads.model import Workload
from tests.example_budget import few
from tests.strategies import A100_X8, CARRIER, H100, L4, OVERHEAD, SMALL_TYPES, catalog_of, catalogs, fleets


def _laid_out(fleet, catalog) -> tuple[tuple[NodeOption, ...], tuple[WorkloadClass, ...]]:
    everyone = classes_of(fleet)
    options = node_options(everyone, catalog, OVERHEAD, CARRIER)
    placeable = {number for option in options for number in option.classes}
    classes = tuple(each for number, each in enumerate(everyone) if number in placeable)
    assume(classes)
    return node_options(classes, catalog, OVERHEAD, CARRIER), classes


def _every_load(option: NodeOption, classes: Sequence[WorkloadClass]) -> Iterator[dict[ClassNumber, int]]:
    numbers = option.classes
    for counts in product(*(range(classes[number].replicas + 1) for number in numbers)):
        load = {number: count for number, count in zip(numbers, counts, strict=True) if count}
        if load and carries(option, load, classes):
            yield load


def _lacks(option: NodeOption, load: dict[ClassNumber, int], values: np.ndarray) -> float:
    return option.usd - float(sum(values[number] * count for number, count in load.items()))


def _holds(pattern: Pattern, load: dict[ClassNumber, int]) -> bool:
    have = pattern.counts()
    return all(have.get(number, 0) >= count for number, count in load.items())


@few
@given(fleets(most=4, replicas=2), catalogs(types=SMALL_TYPES, most=2), st.sampled_from((0.0, 0.3, 2.0)))
def test_every_load_that_lacks_no_more_than_the_slack_is_in_one_on_a_node_that_is_no_dearer(
    fleet, catalog, slack
):
    options, classes = _laid_out(fleet, catalog)
    columns = ColumnGeneration(options, classes)
    values = columns.relax(tolerance=0.002, clock=Clock(10.0)).duals
    found = columns.listed(values, slack, Clock(10.0))
    assert found.slack == slack
    for pattern in found.patterns:
        if pattern.option.cut.mechanism is not Mechanism.MIG:
            assert carries(pattern.option, pattern.counts(), classes)
    for option in options:
        for load in _every_load(option, classes) if option.cut.mechanism is not Mechanism.MIG else ():
            if _lacks(option, load, values) <= slack:
                assert any(
                    each.option.price <= option.price and _holds(each, load) for each in found.patterns
                )


@few
@given(fleets(most=4, replicas=3), catalogs(types=SMALL_TYPES, most=2), st.integers(1, 6))
def test_where_loads_are_too_many_those_left_out_lack_more_than_the_slack_that_is_told(fleet, catalog, most):
    options, classes = _laid_out(fleet, catalog)
    columns = ColumnGeneration(options, classes)
    values = columns.relax(tolerance=0.002, clock=Clock(10.0)).duals
    with patch.object(enumeration, "_MOST_LOADS", most):
        found = columns.listed(values, 5.0, Clock(10.0))
    assert len(found.patterns) <= most
    assert 0 <= found.slack <= 5.0
    for option in options:
        for load in _every_load(option, classes) if option.cut.mechanism is not Mechanism.MIG else ():
            if not any(each.option.price <= option.price and _holds(each, load) for each in found.patterns):
                assert _lacks(option, load, values) > found.slack or found.slack == 0


def test_where_even_those_that_lack_nothing_are_too_many_none_is_listed():
    """CPU binds, and its price is all: whatever fills a node is worth it."""
    fleet = [
        Workload(f"lab/{at}", 5, 100 + 5 * at, 256, Need(memory_mib=300, duty_ppm=1_000, on="L4"))
        for at in range(20)
    ]
    classes = classes_of(fleet)
    options = node_options(classes, catalog_of(L4), OVERHEAD, CARRIER)
    columns = ColumnGeneration(options, classes)
    values = columns.relax(tolerance=0.002, clock=Clock(10.0)).duals
    with patch.object(enumeration, "_MOST_LOOKS", 50):
        assert columns.listed(values, 1.0, Clock(10.0)) == enumeration.Listed((), 0.0)
    assert columns.listed(values, 1.0, Clock(0.0)) == enumeration.Listed((), 0.0)


@few
@given(
    st.lists(
        st.tuples(st.sampled_from((9_000, 19_000, 38_000, 75_000)), st.integers(1, 3)),
        min_size=1,
        max_size=3,
        unique_by=lambda each: each[0],
    ),
    st.sampled_from((H100, A100_X8)),
    st.sampled_from((0.0, 1.0, 50.0)),
)
def test_loads_of_mig_are_listed_with_instances_for_everybody(wanted, machine, slack):
    fleet = [
        Workload(
            f"lab/{at}",
            replicas,
            500,
            1024,
            Need(memory_mib=memory, duty_ppm=10_000, on="H100", isolation=Isolation.HARDWARE),
        )
        for at, (memory, replicas) in enumerate(wanted)
    ]
    options, classes = _laid_out(fleet, catalog_of(machine))
    mig = tuple(each for each in options if each.cut.mechanism is Mechanism.MIG)
    assume(mig)
    columns = ColumnGeneration(options, classes)
    values = columns.relax(tolerance=0.002, clock=Clock(10.0)).duals
    for pattern in columns.listed(values, slack, Clock(10.0)).patterns:
        if pattern.option.cut.mechanism is not Mechanism.MIG:
            continue
        assert len(pattern.geometries) == pattern.option.units
        instances: dict[int, int] = {}
        for geometry in pattern.geometries:
            assert geometry in pattern.option.cut.geometries
            for where, count in geometry:
                instances[where] = instances.get(where, 0) + count
        for where in {each for _, each, _ in pattern.pods}:
            assert sum(count for _, at, count in pattern.pods if at == where) <= instances[where]
        for number, where, _ in pattern.pods:
            assert where in dict(pattern.option.cut.fits[number])
        assert _lacks(pattern.option, pattern.counts(), values) <= slack + 1e-5
