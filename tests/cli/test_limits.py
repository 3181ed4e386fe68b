"""Plans of manifests whose pods have limits of their own, as a user makes them."""

import os
from pathlib import Path

import pytest
import yaml


def manifest(replicas=8, limits=None, **spec):
    resources = {
        "limits": {"nvidia.com/gpu": "1", **(limits or {})},
        "requests": {"cpu": "500m", "memory": "2Gi"},
    }
    stated = {"gpu-memory": "3Gi", "gpu-duty": "0.08", "gpu-model": "A10G"}
    pod = {"containers": [{"name": "main", "image": "a/b:1", "resources": resources}], **spec}
    return yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "detector",
                "namespace": "vision",
                "annotations": {f"gpuslice.io/{key}": value for key, value in stated.items()},
            },
            "spec": {
                "replicas": replicas,
                "template": {"metadata": {"labels": {"app": "detector"}}, "spec": pod},
            },
        }
    )


SELECTOR = {"labelSelector": {"matchLabels": {"app": "detector"}}, "topologyKey": "kubernetes.io/hostname"}
APART = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [SELECTOR]}}


@pytest.fixture
def planned(tmp_path, gpuslice):
    def plan(text):
        (tmp_path / "in.yaml").write_text(text)
        done = gpuslice("plan", "-f", str(tmp_path / "in.yaml"), "-o", "yaml")
        return yaml.safe_load(done.out)

    return plan


def nodes(plan):
    return {(node["instanceType"], node["count"]) for pool in plan["pools"] for node in pool["nodes"]}


def test_eight_pods_that_keep_apart_are_eight_nodes(planned):
    assert nodes(planned(manifest(affinity=APART))) == {("g6.xlarge", 8)}


def test_two_pods_of_a_host_are_four_nodes(planned):
    spread = [{**SELECTOR, "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}]
    assert nodes(planned(manifest(topologySpreadConstraints=spread))) == {("g5.xlarge", 4)}


def test_storage_takes_the_machine_that_has_it(planned):
    plan = planned(manifest(limits={"ephemeral-storage": "90Gi"}))
    assert nodes(plan) == {("g5.2xlarge", 2)}
    assert any("instance stores" in line for line in plan["assumptions"])


def test_who_can_not_be_counted_is_left_with_a_reason(planned):
    spread = [
        {**SELECTOR, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
    ]
    plan = planned(manifest(topologySpreadConstraints=spread))
    assert plan["pools"] == []
    assert "topology.kubernetes.io/zone" in plan["unplaced"][0]["reason"]


def test_what_no_node_has_is_named(planned):
    plan = planned(manifest(limits={"hugepages-2Mi": "1Gi"}))
    assert "hugepages-2Mi" in plan["unplaced"][0]["reason"]


CASES = Path(os.environ.get("GPUSLICE_CASES", ""))
# By case: the nodes that may be planned, any of these; or words of the reason for none.
RIGHT = {
    "limits-anti-affinity": [{("g6.xlarge", 8)}, {("g5.xlarge", 8)}],
    "limits-spread": [{("g6.xlarge", 8)}, {("g5.xlarge", 8)}],
    "limits-ephemeral-storage": [{("g5.2xlarge", 2)}, {("g5.xlarge", 4)}],
    "limits-efa": [{("g6e.8xlarge", 2)}, {("g7e.8xlarge", 2)}],
    "limits-hugepages": "hugepages-2Mi",
}


@pytest.mark.skipif(Path() == CASES, reason="GPUSLICE_CASES names no folder of cases")
@pytest.mark.parametrize("case", RIGHT)
def test_a_case_gets_what_is_right(gpuslice, case):
    plan = yaml.safe_load(gpuslice("plan", "-f", str(CASES / case), "-o", "yaml").out)
    right = RIGHT[case]
    if isinstance(right, str):
        assert right in plan["unplaced"][0]["reason"]
    else:
        assert nodes(plan) in right
