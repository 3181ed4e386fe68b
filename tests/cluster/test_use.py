"""Doctor with a Prometheus: pods on metered GPUs that use more than they asked for."""

import pytest

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.doctor import diagnose
from gpuslice.cluster.finding import Use
from tests.cluster.sliced import cluster, overlay, sliced_node, sliced_pod

METERED = {
    "nvidia.com/gpu": "0",
    "nvidia.com/gpu.shared": "16",
    "gpuslice.io/gpu-memory": "22Gi",
    "gpuslice.io/gpu-time": "704",
}
ASKS = {"nvidia.com/gpu.shared": "1", "gpuslice.io/gpu-memory": "6Gi", "gpuslice.io/gpu-time": "180"}


def found(use, **changes):
    made = {
        "overlay": overlay(capacity=METERED),
        "node": sliced_node(allocatable=METERED),
        "pod": sliced_pod(asks=ASKS),
        "other": sliced_pod("search-2", asks=ASKS),
        "done": sliced_pod("search-0", asks=ASKS, phase="Succeeded"),
    }
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


def test_slots_ask_for_no_amount_that_could_be_passed():
    changes = {"overlay": None, "node": sliced_node(), "pod": sliced_pod(), "other": None}
    assert found(Use(20_000, 0.9), **changes) == []
