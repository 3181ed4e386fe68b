"""Doctor with readings: pods on shared GPUs that use more than they asked for."""

import pytest

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.checks.doctor import diagnose
from gpuslice.cluster.checks.finding import Reading, Use
from gpuslice.cluster.checks.measurements import most, on_nodes
from tests.cluster.made import pod
from tests.cluster.sliced import ASKS, METERED, SEATS, cluster, overlay, seated_pod, sliced_node, sliced_pod


def plain(each):
    del each["metadata"]["labels"]["gpuslice.io/pool"]
    return each


def of_type(each, kind):
    each["metadata"]["labels"]["node.kubernetes.io/instance-type"] = kind
    return each


def metered():
    """A metered node and two pods on it."""
    return {
        "overlay": overlay(capacity=METERED),
        "node": sliced_node(allocatable=METERED),
        "pod": sliced_pod(asks=ASKS),
        "other": sliced_pod("search-2", asks=ASKS),
    }


def found(use, **changes):
    made = metered() | {"done": sliced_pod("search-0", asks=ASKS, phase="Succeeded")}
    seen = cluster(made | changes)
    return [
        each
        for each in diagnose(seen, catalogs.bundled(), use={"n1": use} if use else {})
        if each.code == "GS307"
    ]


@pytest.mark.parametrize(
    "use",
    [None, Use(12 * 1024, 0.36), Use(None, None), Use(None, 0.40)],
    ids=["unknown", "as asked", "no reading", "nearly"],
)
def test_pods_that_keep_to_their_requests_are_not_spoken_of(use):
    assert found(use) == []


def test_memory_beyond_what_was_asked_for_is_told_with_both_figures():
    (one,) = found(Use(12 * 1024 + 1, 0.1))
    assert one.subject == "Node n1"
    assert one.evidence == (
        "12289Mi of its GPU's memory are in use, asked for are 12Gi (by search/search-1, search/search-2)"
    )


def test_time_beyond_what_was_asked_for_is_told():
    (one,) = found(Use(100, 0.5))
    assert one.evidence.startswith("its GPU is busy 50% of the time, asked for are 360 thousandths")


# Of an L4, 22558 MiB are usable: 5639 in each of four slots.
SLOTS = {"overlay": None, "node": sliced_node(), "pod": sliced_pod(), "other": None}


def test_a_slot_of_a_pool_is_a_part_of_the_memory():
    both = SLOTS | {"other": sliced_pod("search-2")}
    assert found(Use(5639, 0.9), **SLOTS) == found(Use(11_278, 0.9), **both) == []
    (one,) = found(Use(5640, 0.9), **SLOTS)
    assert one.evidence == "5640Mi of its GPU's memory are in use, asked for are 5639Mi (by search/search-1)"
    (two,) = found(Use(11_279, 0.9), **both)
    assert two.subject == "Node n1"
    assert "search/search-1, search/search-2" in two.evidence


@pytest.mark.parametrize(
    "changes",
    [
        # Shared by somebody who sized no slots, or where memory is enforced.
        {"node": plain(sliced_node())},
        {"node": sliced_node(labels={"nvidia.com/gpu.sharing-strategy": "mps"})},
        # Which of four GPUs a pod is on isn't known, and the most of one GPU is told.
        {"node": of_type(sliced_node(allocatable={"nvidia.com/gpu.shared": "16"}), "g6.12xlarge")},
        # A seat stands for what its workload needs, and may have any slot.
        {"node": sliced_node(allocatable=SEATS), "pod": seated_pod()},
        # Somebody is on the GPU of whom it isn't known what he asked for.
        {"whole": pod("w", asks={"nvidia.com/gpu": "1"}, node="n1")},
    ],
    ids=["no pool", "mps", "four GPUs", "seats", "whole"],
)
def test_what_was_asked_for_is_not_guessed(changes):
    assert found(Use(22_000, 0.9), **SLOTS | changes) == []


def held(memory, **changes):
    told = {f"uid-search-{name}": mib for name, mib in memory.items()}
    seen = cluster(metered() | changes)
    return [
        (each.code, each.subject, each.evidence)
        for each in diagnose(seen, catalogs.bundled(), held=told)
        if each.code in {"GS307", "GS308"}
    ]


def test_a_pod_is_blamed_for_what_its_own_processes_hold():
    assert held({"search-1": 6144, "search-2": 100, "gone": 9000}) == []
    assert held({"search-1": 6145, "search-2": 100}) == [
        (
            "GS308",
            "Pod search/search-1",
            "its processes hold 6145Mi of a shared GPU's memory on node n1, asked for are 6Gi",
        )
    ]


def test_a_pod_in_a_slot_is_blamed_on_a_node_of_several_gpus_too():
    four = of_type(sliced_node(allocatable={"nvidia.com/gpu.shared": "16"}), "g6.12xlarge")
    changes = SLOTS | {"node": four, "other": sliced_pod("search-2")}
    assert held({"search-1": 5639, "search-2": 5639}, **changes) == []
    assert [each[:2] for each in held({"search-1": 5640, "search-2": 9}, **changes)] == [
        ("GS308", "Pod search/search-1")
    ]


def test_nobody_is_blamed_for_a_sum():
    made = {"node": sliced_node(allocatable=METERED), "pod": sliced_pod(asks=ASKS)}
    seen = cluster(made | {"overlay": overlay(capacity=METERED), "other": sliced_pod("search-2", asks=ASKS)})
    exporter = [Reading("n1", frozenset({("search", "search-1")}), 20_000)]
    use, _ = on_nodes(exporter, seen)
    blamed = {each.subject for each in diagnose(seen, catalogs.bundled(), use=use)}
    assert blamed == {"Node n1"}


@pytest.mark.parametrize(
    ("called", "named"),
    [
        ("n1.ec2.internal", ()),
        ("n1", ()),
        ("nvidia-dcgm-exporter-x", ()),
        ("7f3c9a", [("search", "search-1")]),
    ],
    ids=["name", "short name", "exporter's pod", "named pods"],
)
def test_a_reading_comes_to_its_node_however_the_exporter_calls_it(called, named):
    seen = cluster(
        {
            "node": sliced_node("n1.ec2.internal"),
            "pod": sliced_pod(on="n1.ec2.internal"),
            "exporter": pod("nvidia-dcgm-exporter-x", "gpu-operator", node="n1.ec2.internal"),
        }
    )
    found, strangers = on_nodes(
        [Reading(called, frozenset(named), 7), Reading(called, frozenset(named), 5)], seen
    )
    assert (found, strangers) == ({"n1.ec2.internal": Use(7, None)}, [])


def test_a_reading_of_another_cluster_comes_to_no_node():
    seen = cluster({"a": sliced_node("a.zone-1"), "b": sliced_node("a.zone-2")})
    readings = [Reading("a", frozenset(), 7), Reading("", frozenset({("x", "y")}), 7)]
    assert on_nodes(readings, seen) == ({}, ["a", "an exporter that names no node"])


def test_two_ways_of_measuring_are_one_reading():
    both = most({"a": Use(5, 0.5), "b": Use(None, 0.1)}, {"a": Use(7, None), "c": Use(1, None)})
    assert both == {"a": Use(7, 0.5), "b": Use(None, 0.1), "c": Use(1, None)}
