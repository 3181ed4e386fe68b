"""A live cluster into a snapshot: what is kept, and what is missing where something may not be read."""

import pytest

from gpuslice.cluster.client.api import ApiError
from gpuslice.cluster.seen.read import read
from tests.cluster.made import deployment, node, pod
from tests.cluster.served import Served

GPU = {"nvidia.com/gpu": "1"}


def config_map(name, namespace, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def test_pods_nodes_and_owners_of_gpu_pods_are_kept():
    found = read(
        Served(
            node("n1"),
            pod("search-1", asks=GPU, node="n1"),
            pod("web-1"),
            deployment("search", asks=GPU),
            deployment("web"),
        ).api()
    )
    assert found.version == "v1.35.4"
    assert [each.metadata.name for each in found.pods] == ["search-1", "web-1"]
    assert [each.name for each in found.gpu_pods] == ["shop/search-1"]
    assert [each.name for each in found.objects] == ["search"]
    assert found.pods_by_node["n1"] == (found.pods[0],)


def test_one_namespace_is_read_alone():
    found = read(Served(pod("a", "one", asks=GPU), pod("b", "two", asks=GPU), node("n1")).api(), ("two",))
    assert [each.name for each in found.pods] == ["two/b"]
    assert [each.name for each in found.nodes] == ["n1"]


def test_what_may_not_be_read_is_said_and_the_rest_is_there():
    cluster = Served(pod("a", asks=GPU), node("n1"))
    cluster.forbidden = {"nodes", "rayjobs"}
    found = read(cluster.api())
    assert {each.what for each in found.unread} == {"nodes", "rayjobs.ray.io"}
    assert len(found.pods) == 1


def test_without_pods_there_is_no_snapshot():
    cluster = Served()
    cluster.forbidden = {"pods"}
    with pytest.raises(ApiError, match="forbidden"):
        read(cluster.api())


def test_specs_of_one_template_are_kept_once():
    found = read(Served(*(pod(f"p{number}", asks=GPU, node=f"n{number}") for number in range(3))).api())
    assert [each.spec.node_name for each in found.pods] == ["n0", "n1", "n2"]
    assert found.pods[0].spec.containers is found.pods[2].spec.containers


def test_the_config_maps_of_the_gpu_machinery_are_read_and_no_others():
    policy = {
        "apiVersion": "nvidia.com/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "cluster-policy"},
        "spec": {"devicePlugin": {"config": {"name": "ours", "default": "any"}}},
    }
    operator = deployment("gpu-operator", "gpu-operator", image="nvcr.io/nvidia/gpu-operator:v26.7.0")
    found = read(
        Served(
            policy,
            operator,
            config_map("ours", "gpu-operator", any="version: v1"),
            config_map("secret-settings", "gpu-operator", password="x"),
            config_map("ours", "elsewhere"),
        ).api()
    )
    assert list(found.config_maps) == [("gpu-operator", "ours")]
    assert found.gpu_operator is not None
    assert found.cluster_policies[0].spec.device_plugin.config.default == "any"


def test_a_null_where_nothing_is_meant_does_no_harm():
    made = pod("a", asks=GPU)
    made["metadata"]["labels"] = None
    made["spec"]["nodeSelector"] = None
    assert read(Served(made).api()).pods[0].metadata.labels == {}
