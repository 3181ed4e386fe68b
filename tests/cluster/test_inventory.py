"""Workloads of a cluster, and the GPU nodes that it holds."""

import pytest

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.seen.inventory import inventory_of, workloads_of
from gpuslice.cluster.seen.selector import Selector
from gpuslice.errors import InputError
from gpuslice.workloads.models_today import stated
from tests.cluster.made import deployment, metadata, node, pod, pod_spec, snapshot

GPU = {"nvidia.com/gpu": "1"}
CATALOG = catalogs.bundled()


def workloads(*objects, **options):
    found = workloads_of(snapshot(*objects), catalog=CATALOG, region="us-east-1", **options)
    return {each.name: each for each in found.workloads}


def replica_set(name, owner, *, replicas=1, asks=GPU, namespace="shop"):
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata(name, namespace, owner=("Deployment", owner)),
        "spec": {"replicas": replicas, "template": {"spec": pod_spec(asks)}},
    }


def test_pods_are_counted_at_their_top_owner_which_runs_where_they_run():
    found = workloads(
        deployment("search", asks=GPU, replicas=2),
        replica_set("search-5d4", "search", replicas=2),
        replica_set("search-old", "search", replicas=0),
        *(
            pod(f"search-5d4-{each}", asks=GPU, owner=("ReplicaSet", "search-5d4"), node="n1")
            for each in "ab"
        ),
        node("n1", "g6.xlarge"),
    )
    assert list(found) == ["shop/search"]
    assert found["shop/search"].replicas == 2
    assert found["shop/search"].need.on == "L4"


def test_what_an_owner_states_stands_above_where_pods_run():
    found = workloads(
        deployment("search", asks=GPU, annotations={"gpuslice.io/gpu-model": "A10G"}),
        pod("search-1", asks=GPU, owner=("Deployment", "search"), node="n1"),
        node("n1", "g6.xlarge"),
    )
    assert found["shop/search"].need.on == "A10G"


def test_pods_on_several_models_leave_the_model_open():
    found = workloads(
        deployment("search", asks=GPU, replicas=2),
        pod("search-1", asks=GPU, owner=("Deployment", "search"), node="n1"),
        pod("search-2", asks=GPU, owner=("Deployment", "search"), node="n2"),
        node("n1", "g6.xlarge"),
        node("n2", "g5.xlarge"),
        today=stated(["T4"]),
    )
    assert found["shop/search"].need.on is None
    assert "1 on L4" in found["shop/search"].notes[-1]


def test_a_model_given_for_all_stands_where_no_pod_runs():
    assert workloads(deployment("search", asks=GPU), today=stated(["T4"]))["shop/search"].need.on == "T4"


def test_pods_of_an_unknown_kind_are_one_workload_that_cannot_be_patched():
    found = workloads(
        *(pod(f"sim-{each}", asks=GPU, owner=("Simulation", "sim")) for each in range(3)), node("n1")
    )
    assert found["shop/sim"].replicas == 3
    assert any("can't be patched" in each for each in found["shop/sim"].notes)


def test_one_wrong_workload_does_not_hide_the_others():
    found = workloads_of(
        snapshot(
            deployment("good", asks=GPU),
            deployment("bad", asks=GPU, annotations={"gpuslice.io/gpu-memmory": "3Gi"}),
        ),
        catalog=CATALOG,
        region="us-east-1",
    )
    assert [each.name for each in found.workloads] == ["shop/good"]
    assert any("left out" in each and "shop/bad" in each and "gpu-memory" in each for each in found.notes)


def test_a_selector_is_of_the_top_owners_labels():
    found = workloads(
        deployment("search", asks=GPU, labels={"tier": "prod"}),
        pod("search-1", asks=GPU, owner=("Deployment", "search")),
        deployment("lab", asks=GPU, labels={"tier": "dev"}),
        selector=Selector.parse("tier=prod"),
    )
    assert list(found) == ["shop/search"]


def test_ended_pods_hold_nothing():
    assert not workloads(pod("done", asks=GPU, phase="Succeeded"))


def test_nodes_are_those_with_gpus_and_pods_those_that_ask_for_one():
    found = inventory_of(
        snapshot(
            node("n1", "g6.xlarge"),
            node("n2", "g6.xlarge"),
            node("n3", "g5.12xlarge", capacity={"nvidia.com/gpu": "4"}),
            node("cpu", "m5.large", capacity={"cpu": "2"}),
            pod("a", asks=GPU, node="n1"),
            pod("b", asks={"nvidia.com/gpu.shared": "1"}, node="n3"),
            pod("c", asks=GPU, phase="Pending"),
        ),
        CATALOG,
    )
    assert found.cards == 6
    assert found.asked == {"nvidia.com/gpu": 2, "nvidia.com/gpu.shared": 1}
    assert found.pending == 1
    assert [gpu_node.pods for gpu_node in found.nodes] == [1, 0, 1]


def test_a_node_of_no_known_type_has_the_model_of_its_labels():
    found = inventory_of(
        snapshot(
            node("n1", "g6.xlarge", labels={"topology.kubernetes.io/region": "eu-west-1"}),
            node("n2", "own-server", labels={"nvidia.com/gpu.product": "NVIDIA-L4-SHARED"}),
        ),
        CATALOG,
    )
    assert [gpu_node.gpu for gpu_node in found.nodes] == ["L4", "L4"]
    assert found.region == ""


@pytest.mark.parametrize(
    ("text", "matching"),
    [
        ("app=a", [0]),
        ("app!=a", [1, 2]),
        ("app", [0, 1]),
        ("!app", [2]),
        ("app in (a, b),tier=x", [1]),
        ("app notin (a)", [1, 2]),
        ("tier==x", [1]),
    ],
)
def test_selectors_mean_what_they_mean_to_kubectl(text, matching):
    labels = [{"app": "a"}, {"app": "b", "tier": "x"}, {}]
    selector = Selector.parse(text)
    assert [number for number, each in enumerate(labels) if selector.matches(each)] == matching


@pytest.mark.parametrize("text", ["", "a=b=c", "app in a", "=x", "a,,b"])
def test_what_is_no_selector_is_refused(text):
    with pytest.raises(InputError, match="no label selector"):
        Selector.parse(text)
