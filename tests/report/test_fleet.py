"""Who is drawn where on the GPUs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuslice.hardware.gpus import GPUS
from gpuslice.plan.artefact import Plan
from gpuslice.report.fleet import GpuPicture, NodePicture, fleet
from tests.planner import seated
from tests.planner.planned import solved
from tests.report.subjects import subject, without_workloads
from tests.strategies import A100_X8, H100, SMALL_TYPES, catalogs, fleets

SHARED_ONES = st.tuples(fleets(most=4), catalogs(types=SMALL_TYPES))
WITH_MIG = st.tuples(fleets(most=4, on=("H100", "A100-40GB")), catalogs(types=(H100, A100_X8)))


def _node(name: str, mechanism: str, *, metered: bool = False) -> tuple[Plan, NodePicture]:
    found = subject(name)
    for pool in fleet(found.plan, found.workloads, found.catalog):
        if pool.pool.layout.mechanism == mechanism and bool(pool.pool.layout.metered) == metered:
            return found.plan, pool.nodes[0]
    raise AssertionError(mechanism)


def _parts(gpu: GpuPicture) -> list[tuple[float, float, str]]:
    return [(round(each.start, 3), round(each.width, 3), each.workload) for each in gpu.parts]


def test_mig_instances_are_drawn_where_they_can_be_placed():
    _, node = _node("cut", "mig")
    assert _parts(node.gpus[0]) == [(0.0, 0.5, "blue/large"), (0.5, 0.5, "blue/large")]
    assert _parts(node.gpus[1]) == [(each / 8, 0.125, "red/small") for each in range(7)]


def test_a_pod_is_as_wide_as_its_memory_and_as_tall_as_its_duty():
    _, node = _node("cut", "mig")
    table = GPUS["H100"].mig
    assert table is not None
    large = table.profile("3g.40gb")
    assert large is not None
    part = node.gpus[0].parts[0]
    assert part.memory == pytest.approx(38_000 / large.memory_mib)
    assert part.duty == pytest.approx(0.44)


def test_pods_of_a_metered_gpu_stand_side_by_side_and_what_is_left_is_free():
    plan, node = _node("shared", "time-slicing", metered=True)
    (gpu,) = node.gpus
    *taken, rest = gpu.parts
    assert len(taken) == sum(node.node.pods.values())
    assert rest.workload == ""
    end = 0.0
    for part in gpu.parts:
        assert part.start == pytest.approx(end)
        end = part.start + part.width
    assert end == pytest.approx(1)
    times = {each.workload: each.asks.gpu_time for each in plan.assignments if each.asks.gpu_time}
    assert [each.duty for each in taken] == [times[each.workload] / 1000 for each in taken]


def test_a_fraction_of_a_card_covers_that_part_of_it():
    _, node = _node("shared", "fractional")
    (gpu,) = node.gpus
    assert gpu.rented == pytest.approx(1 / 8)
    assert [each.width for each in gpu.parts] == [gpu.rented]


def test_a_pod_with_several_gpus_has_them_all():
    found = subject()
    pictures = [
        node
        for pool in fleet(found.plan, found.workloads, found.catalog)
        for node in pool.nodes
        if "blue/llm" in node.node.pods
    ]
    held = [
        part for node in pictures for gpu in node.gpus for part in gpu.parts if part.workload == "blue/llm"
    ]
    assert len(held) == sum(4 * node.node.pods["blue/llm"] for node in pictures)
    assert {part.duty for part in held} == {None}  # its need is not known


def test_without_the_workloads_memory_is_not_known():
    found = without_workloads("slots")
    parts = [
        part
        for pool in fleet(found.plan, (), found.catalog)
        for node in pool.nodes
        for gpu in node.gpus
        for part in gpu.parts
        if part.workload
    ]
    assert parts
    assert {part.memory for part in parts} == {None}
    assert None not in {part.duty for part in parts}


@settings(max_examples=12)
@given(SHARED_ONES | WITH_MIG)
def test_every_pod_of_any_plan_is_drawn_once(drawn):
    workloads, catalog = drawn
    plan = solved(workloads, catalog).plan
    units = {each.workload: each.asks.count for each in plan.assignments}
    for pool in fleet(plan, workloads, catalog):
        for picture in pool.nodes:
            assert picture.undrawn == ()
            seen: dict[str, int] = {}
            for gpu in picture.gpus:
                end = 0.0
                for part in gpu.parts:
                    assert part.start >= end - 1e-9
                    end = part.start + part.width
                    if part.workload:
                        seen[part.workload] = seen.get(part.workload, 0) + 1
                assert end <= 1 + 1e-9
            assert seen == {name: count * units[name] for name, count in picture.node.pods.items()}


def test_with_seats_pods_on_a_metered_gpu_are_as_wide_as_the_memory_that_they_need():
    plan = seated.seated()
    pools = {each.pool.name: each for each in fleet(plan, seated.WORKLOADS, seated.CATALOG)}
    assert set(pools) == {"mixed", "own-b"}  # own-a has no nodes
    (gpu,) = pools["mixed"].nodes[0].gpus
    whole = GPUS["L4"].memory_mib
    widths = [5000 / whole, 5000 / whole, 8000 / whole]
    assert [each.width for each in gpu.parts[:3]] == pytest.approx(widths)
    assert [(each.workload, each.duty) for each in gpu.parts] == [
        *2 * [("red/a", 0.2)],
        ("red/b", 0.3),
        ("", None),
    ]
    (whole_one,) = pools["own-b"].nodes[0].gpus
    assert [each.workload for each in whole_one.parts] == ["red/b"]


def test_without_the_workloads_all_seats_of_a_metered_gpu_are_alike():
    found = fleet(seated.seated(), (), seated.CATALOG)
    (gpu,) = next(each for each in found if each.pool.name == "mixed").nodes[0].gpus
    assert [each.width for each in gpu.parts[:3]] == pytest.approx([1 / 3] * 3)
    assert {each.memory for each in gpu.parts} == {None}
