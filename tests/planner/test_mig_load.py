"""The most valuable load of a GPU cut by MIG, against trying every geometry and every way to fill it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuslice.cloud.catalog import InstanceType
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation, Mechanism
from gpuslice.hardware.need import Need
from gpuslice.planner.loads.mig import MigNode
from gpuslice.planner.model.classes import WorkloadClass, classes_of
from gpuslice.planner.model.options import NodeOption, node_options
from gpuslice.planner.model.patterns import Pattern
from gpuslice.workloads.model import Workload
from tests.hardware.geometries import valid_geometries
from tests.strategies import CARRIER, H100, OVERHEAD, catalog_of

MEMORIES = (9_000, 19_000, 38_000, 75_000)  # fit 1g.10gb, 1g.20gb or 2g, 3g or 4g, and 7g


def _mig_option(
    workloads: Sequence[Workload], machine: InstanceType = H100
) -> tuple[NodeOption, tuple[WorkloadClass, ...]]:
    classes = classes_of(workloads)
    options = node_options(classes, catalog_of(machine), OVERHEAD, CARRIER)
    return next(each for each in options if each.cut.mechanism is Mechanism.MIG), classes


def _workload(name: str, memory: int, replicas: int, *, cpu: int = 500) -> Workload:
    need = Need(memory_mib=memory, duty_ppm=10_000, on="H100", isolation=Isolation.HARDWARE)
    return Workload(f"lab/{name}", replicas, cpu, 1024 + len(name), need)


def _priced(
    option: NodeOption, classes: Sequence[WorkloadClass], values: Sequence[float]
) -> tuple[float, float, Pattern | None]:
    wanted = [each.replicas for each in classes]
    threshold = option.usd * (1 + 1e-6)
    return MigNode(option, classes).price(np.asarray(values), wanted, threshold=threshold)


def _best(classes: Sequence[WorkloadClass], values: Sequence[float], cpu_milli: int) -> float:
    """Every geometry of one GPU, and every count of each class on each of its profiles."""
    table = GPUS["H100"].mig
    assert table is not None
    memory_of = {each.name: each.memory_mib for each in table.plain}
    best = 0.0
    for geometry in valid_geometries(table):
        places = []
        for number, each in enumerate(classes):
            for name, count in geometry:
                if (each.need.memory_mib or 0) <= memory_of[name] * 95 // 100:
                    places.append((number, name, min(count, each.replicas)))
        for counts in product(*(range(most + 1) for *_, most in places)):
            taken = list(zip(places, counts, strict=True))
            good = all(
                sum(n for (_, name, _), n in taken if name == wanted) <= count for wanted, count in geometry
            ) and all(
                sum(n for (number, _, _), n in taken if number == which) <= each.replicas
                for which, each in enumerate(classes)
            )
            if good and sum(classes[number].cpu_milli * n for (number, _, _), n in taken) <= cpu_milli:
                best = max(best, sum(values[number] * n for (number, _, _), n in taken))
    return best


@pytest.mark.parametrize("name", [name for name, gpu in GPUS.items() if gpu.mig is not None])
def test_the_profiles_of_a_card_form_a_chain(name):
    # Pricing rests on it: who fits an instance fits every larger one.
    table = GPUS[name].mig
    assert table is not None
    profiles = sorted(table.plain, key=lambda each: (each.memory_mib, each.sms, each.memory_slices))
    for smaller, larger in pairwise(profiles):
        for field in ("memory_mib", "sms", "memory_slices"):
            assert getattr(smaller, field) <= getattr(larger, field)
        for engine in ("decoders", "encoders", "jpeg_engines"):
            assert bool(getattr(smaller, engine)) <= bool(getattr(larger, engine))


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.sampled_from(MEMORIES), st.integers(1, 2)), min_size=1, max_size=2),
    st.lists(st.floats(0, 4), min_size=2, max_size=2),
    st.sampled_from([500, 6000]),
)
def test_one_gpu_is_cut_and_filled_as_well_as_it_can_be(drawn, values, cpu):
    workloads = [_workload("a" * (i + 1), memory, count, cpu=cpu) for i, (memory, count) in enumerate(drawn)]
    option, classes = _mig_option(workloads)
    values = values[: len(classes)]
    best = _best(classes, values, option.cpu_milli)
    threshold = option.usd * 0.25
    cheap = replace(option, price=option.price // 4)
    value, bound, pattern = _priced(cheap, classes, values)
    assert bound >= best - 1e-6
    if pattern is None:
        assert best <= threshold * 1.00001
    else:
        assert value == pytest.approx(best, rel=1e-4)
        counts = pattern.counts()
        assert sum(values[number] * count for number, count in counts.items()) == pytest.approx(value)


def test_each_gpu_of_a_node_is_cut_in_its_own_way():
    # Two GPUs cut alike have room for eight small instances beside large ones, or for no large one.
    option, classes = _mig_option(
        [_workload("small", 9_000, 10), _workload("large", 38_000, 1)], replace(H100, gpu_count=2)
    )
    _, _, pattern = _priced(option, classes, [2.0, 6.0])
    assert pattern is not None
    assert pattern.counts() == {0: 10, 1: 1}
    assert len(pattern.geometries) == 2
    assert pattern.geometries[0] != pattern.geometries[1]


def test_replicas_of_a_class_share_a_profile_where_they_can():
    # Three small ones also fit beside a large one cut as 4g, but then not all on 1g.10gb.
    option, classes = _mig_option([_workload("small", 9_000, 3), _workload("large", 38_000, 1)])
    _, _, pattern = _priced(option, classes, [2.0, 6.0])
    assert pattern is not None
    assert len(pattern.pods) == 2


def test_no_load_beats_a_price_that_is_too_high():
    option, classes = _mig_option([_workload("small", 9_000, 7)])
    value, bound, pattern = _priced(option, classes, [0.1])
    assert pattern is None
    assert 0.7 <= bound <= option.usd * 1.001
    assert value <= bound
