"""Exchanges of a harder class's place for an easier one's, and the patterns that they come to."""

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.hardware.need import Need
from gpuslice.planner.bound.columns import ColumnGeneration
from gpuslice.planner.bound.exchange import exchanges_of, made, made_whole
from gpuslice.planner.clock import Clock
from gpuslice.planner.loads.pricing import Pricing
from gpuslice.planner.model.classes import classes_of
from gpuslice.planner.model.options import node_options
from gpuslice.planner.model.patterns import Pattern, carries
from gpuslice.planner.model.places import ClassNumber, numbers_of, pods_in_slots
from gpuslice.workloads.model import Workload
from tests.strategies import CARRIER, L4_LARGE, OVERHEAD, catalog_of


def _workload(name: str, memory_mib: int, duty_ppm: int, cpu_milli: int) -> Workload:
    need = Need(memory_mib=memory_mib, duty_ppm=duty_ppm, on="L4")
    return Workload(name, 5, cpu_milli, 1024, need, tenant=name.partition("/")[0])


CLASSES = classes_of(
    [
        _workload("a/small", 2_000, 50_000, 100),
        _workload("a/middle", 4_000, 100_000, 200),
        _workload("a/large", 8_000, 200_000, 400),
        _workload("b/small", 2_000, 50_000, 100),
    ]
)
SMALL, MIDDLE, LARGE, OTHER = numbers_of(CLASSES)
OPTIONS = node_options(CLASSES, catalog_of(L4_LARGE), OVERHEAD, CARRIER)
METERED = next(each for each in OPTIONS if each.cut.metered and each.cut.tenant == "a")


def test_smaller_needs_of_the_same_tenant_are_easier():
    easier = Pricing(OPTIONS, CLASSES).easier()
    assert easier[SMALL, MIDDLE]
    assert easier[SMALL, LARGE]
    assert not easier[LARGE, SMALL]
    assert not easier[SMALL, SMALL]


def test_another_tenants_replica_does_not_take_a_place_on_a_shared_gpu():
    easier = Pricing(OPTIONS, CLASSES).easier()
    assert not easier[OTHER, MIDDLE]
    assert not easier[SMALL, OTHER]


def test_only_exchanges_with_nothing_between_are_kept_the_hardest_first():
    easier = Pricing(OPTIONS, CLASSES).easier()
    assert exchanges_of(easier) == ((MIDDLE, LARGE), (SMALL, MIDDLE))


def test_of_two_equal_classes_only_one_is_the_easier():
    assert len(exchanges_of(np.asarray([[False, True], [True, False]]))) == 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0.1, 5)), min_size=1, max_size=4),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_exchanges_made_cost_nothing_and_cover_as_the_master_counted(nodes, first, second):
    amounts: dict[Pattern, float] = defaultdict(float)
    for larges, middles, amount in nodes:
        pods = pods_in_slots(
            {number: count for number, count in ((MIDDLE, middles), (LARGE, larges)) if count}
        )
        if pods:
            amounts[Pattern(METERED, pods)] += amount
    exchanges = ((MIDDLE, LARGE), (SMALL, MIDDLE))
    times = [first * _covered(amounts, LARGE), 0.0]
    times[1] = second * (_covered(amounts, MIDDLE) + times[0])
    mixed = made(amounts, exchanges, times)
    assert sum(mixed.values()) == pytest.approx(sum(amounts.values()))
    assert _covered(mixed, LARGE) == pytest.approx(_covered(amounts, LARGE) - times[0], abs=1e-6)
    assert _covered(mixed, MIDDLE) == pytest.approx(_covered(amounts, MIDDLE) + times[0] - times[1], abs=1e-6)
    assert _covered(mixed, SMALL) == pytest.approx(times[1], abs=1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=4),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_whole_exchanges_leave_whole_nodes(nodes, first, second):
    packing: Counter[Pattern] = Counter()
    for larges, middles, count in nodes:
        pods = pods_in_slots(
            {number: carried for number, carried in ((MIDDLE, middles), (LARGE, larges)) if carried}
        )
        if pods:
            packing[Pattern(METERED, pods)] += count
    exchanges = ((MIDDLE, LARGE), (SMALL, MIDDLE))
    times = [int(first * _covered(packing, LARGE)), 0]
    times[1] = int(second * (_covered(packing, MIDDLE) + times[0]))
    whole = made_whole(packing, exchanges, times)
    assert whole.total() == packing.total()
    assert all(count > 0 for count in whole.values())
    assert _covered(whole, LARGE) == _covered(packing, LARGE) - times[0]
    assert _covered(whole, MIDDLE) == _covered(packing, MIDDLE) + times[0] - times[1]
    assert _covered(whole, SMALL) == times[1]


def _covered(amounts: Mapping[Pattern, float], number: ClassNumber) -> float:
    return sum(amount * pattern.counts().get(number, 0) for pattern, amount in amounts.items())


def test_what_column_generation_mixes_fits_its_nodes():
    found = ColumnGeneration(OPTIONS, CLASSES).relax(tolerance=1e-3, clock=Clock(60.0))
    assert all(carries(each.option, each.counts(), CLASSES) for each in found.patterns)
