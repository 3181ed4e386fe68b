"""From manifests with selectors and affinities to what is rendered, as a user makes it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PRESENT = {"key": "nvidia.com/gpu.present", "operator": "In", "values": ["true"]}


def deployment(name: str, selector: Any = None, conditions: Any = None) -> Any:
    pod: dict[str, Any] = {
        "containers": [
            {
                "name": "main",
                "image": "a/b:1",
                "resources": {
                    "limits": {"nvidia.com/gpu": "1"},
                    "requests": {"cpu": "500m", "memory": "2Gi"},
                },
            }
        ]
    }
    if selector:
        pod["nodeSelector"] = selector
    if conditions:
        terms = {"nodeSelectorTerms": [{"matchExpressions": conditions}]}
        pod["affinity"] = {"nodeAffinity": {REQUIRED: terms}}
    stated = {"gpu-memory": "3Gi", "gpu-duty": "0.08", "gpu-model": "A10G"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": "vision",
            "annotations": {f"gpuslice.io/{key}": value for key, value in stated.items()},
        },
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": name}}, "spec": pod}},
    }


MANIFESTS = [
    deployment("free"),
    deployment("own", {"team": "vision"}),
    deployment("zoned", {"topology.kubernetes.io/zone": "us-east-1a"}, [PRESENT]),
    deployment("pinned", {"kubernetes.io/hostname": "n1"}),
]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "in.yaml"
    path.write_text(yaml.safe_dump_all(MANIFESTS))
    return path


def rendered(gpuslice: Any, folder: Path, plan: Path) -> dict[str, Any]:
    ended = gpuslice("render", "-f", plan, "--cluster", "c", "--role", "r", "--out", folder)
    assert ended.code == 0, ended.err
    patches = (yaml.safe_load(path.read_text()) for path in folder.glob("workloads/vision.*.yaml"))
    return {patch["metadata"]["name"]: patch["spec"]["template"]["spec"] for patch in patches}


def test_pods_stay_where_no_new_node_takes_them_until_they_are_let_go(gpuslice, tmp_path, written):
    plan = tmp_path / "plan.yaml"
    ended = gpuslice("plan", "-f", written, "--out", plan)
    assert ended.code == 1
    assert "vision/pinned: its pods require kubernetes.io/hostname In [n1]" in ended.out
    pods = rendered(gpuslice, tmp_path / "out", plan)
    assert pods.keys() == {"free", "own", "zoned"}
    assert pods["zoned"]["affinity"] == {"nodeAffinity": {REQUIRED: None}}
    assert "affinity" not in pods["own"]
    key = "kubernetes.io/hostname"
    assert gpuslice("plan", "-f", written, "--out", plan, "--drop-selector", key).code == 0
    assert rendered(gpuslice, tmp_path / "out", plan)["pinned"]["nodeSelector"][key] is None


def test_manifests_and_what_scan_makes_of_them_lead_to_one_plan(gpuslice, tmp_path, written):
    scanned = tmp_path / "workloads.yaml"
    scanned.write_text(gpuslice("scan", "--from", written, "-o", "yaml").out)
    option = ("--drop-selector", "kubernetes.io/hostname", "--drop-selector", "team", "-o", "yaml")
    plans = [yaml.safe_load(gpuslice("plan", "-f", path, *option).out) for path in (written, scanned)]
    assert plans[0] == plans[1]
    (pool,) = plans[0]["pools"]
    assert [requirement["key"] for requirement in pool["requires"]] == ["topology.kubernetes.io/zone"]


def test_a_key_that_is_nowhere_is_refused(gpuslice, written):
    ended = gpuslice("plan", "-f", written, "--drop-selector", "tema")
    assert ended.code == 2
    assert "'tema'" in ended.err
    assert "team" in ended.err


def test_a_plan_that_lost_a_label_is_not_rendered(gpuslice, tmp_path, written):
    plan = tmp_path / "plan.yaml"
    gpuslice("plan", "-f", written, "--out", plan)
    document = yaml.safe_load(plan.read_text())
    for pool in document["pools"]:
        pool.pop("requires", None)
    plan.write_text(yaml.safe_dump(document))
    ended = gpuslice("render", "-f", plan, "--cluster", "c", "--role", "r", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "could never run in pool" in ended.err
    assert not (tmp_path / "out").exists()
