"""`gpuslice plan` and `render` on a folder of cases, where one is named: what pods require of nodes, and new pools."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

CASES = Path(os.environ.get("GPUSLICE_CASES", ""))
pytestmark = pytest.mark.skipif(Path() == CASES, reason="GPUSLICE_CASES names no folder of cases")

# By case: dollars an hour, machines that may be listed (none: any), and labels of the NodePool's template.
PLANNED: dict[str, tuple[float, set[str], dict[str, str]]] = {
    "affinity-larger-type": (1.21, {"g5.2xlarge", "g5.4xlarge"}, {}),
    "affinity-required-type": (3.25, {"g5.4xlarge", "g5.8xlarge"}, {}),
    "affinity-gpu-count": (4.83, {"g6.xlarge", "g6.2xlarge", "g6.4xlarge"}, {}),
    "affinity-gpu-memory": (1.86, {"g6e.xlarge", "g6e.2xlarge"}, {}),
    "affinity-gfd-product": (1.01, set(), {}),
    "affinity-gfd-present": (1.01, set(), {}),
    "affinity-own-selector": (1.01, set(), {"provisioner": "gpu-ts", "NodeGroupType": "g5-gpu-karpenter"}),
    "affinity-own-affinity": (1.01, set(), {"accelerator": "nvidia"}),
    "affinity-own-label": (2.01, set(), {"team-pool": "vision"}),
    "healthy-affinity-family": (0.80, {"g6.xlarge", "g6.2xlarge"}, {}),
    "healthy-affinity-count-and-name": (0.80, {"g6.xlarge", "g6.2xlarge"}, {}),
    "healthy-affinity-category": (6.88, {"p5.4xlarge"}, {}),
    "healthy-zone": (1.01, {"g5.xlarge", "g5.2xlarge"}, {}),
}
LEFT = {
    "affinity-hostname": [
        "kubernetes.io/hostname In [gpu-node-7.example]",
        "--drop-selector kubernetes.io/hostname",
    ],
    "affinity-capacity-spot": ["karpenter.sh/capacity-type In [spot]", "gpuslice.io/interruptible"],
}


def read(folder: Path, pattern: str) -> list[Any]:
    return [
        document
        for path in sorted(folder.glob(pattern))
        for document in yaml.safe_load_all(path.read_text())
        if document
    ]


@pytest.mark.parametrize("case", sorted(PLANNED))
def test_a_case_is_planned_where_its_pods_can_run(gpuslice, tmp_path, case):
    usd, types, labels = PLANNED[case]
    made, folder = tmp_path / "plan.yaml", tmp_path / "out"
    assert gpuslice("plan", "-f", CASES / case, "--out", made).code == 0
    plan = yaml.safe_load(made.read_text())
    assert round(plan["summary"]["usdPerHour"], 2) == usd
    assert gpuslice("render", "-f", made, "--cluster", "c", "--role", "r", "--out", folder).code == 0
    pools = [
        document for document in read(folder, "karpenter/pools/*.yaml") if document["kind"] == "NodePool"
    ]
    for pool in pools:
        template = pool["spec"]["template"]
        listed = {one["key"]: one["values"] for one in template["spec"]["requirements"]}
        assert not types or {*listed["node.kubernetes.io/instance-type"]} <= types
        assert labels.items() <= template["metadata"]["labels"].items()
        if case == "healthy-zone":
            assert listed["topology.kubernetes.io/zone"] == ["us-east-1a"]
    said = (folder / "README.md").read_text()
    assert all(f"{key}={value}" in said for key, value in labels.items())
    if "gfd" in case:
        (patch,) = [one for one in read(folder, "workloads/*.yaml") if one["kind"] == "Deployment"]
        assert patch["spec"]["template"]["spec"]["affinity"]["nodeAffinity"] == {
            "requiredDuringSchedulingIgnoredDuringExecution": None
        }


@pytest.mark.parametrize("case", sorted(LEFT))
def test_a_case_that_no_new_node_takes_stays_where_it_is(gpuslice, case):
    ended = gpuslice("plan", "-f", CASES / case)
    assert ended.code == 1
    assert [words for words in LEFT[case] if words not in ended.out + ended.err] == []


def test_a_key_is_dropped_with_leave(gpuslice, tmp_path):
    made, folder = tmp_path / "plan.yaml", tmp_path / "out"
    key = "kubernetes.io/hostname"
    assert (
        gpuslice("plan", "-f", CASES / "affinity-hostname", "--out", made, "--drop-selector", key).code == 0
    )
    assert gpuslice("render", "-f", made, "--cluster", "c", "--role", "r", "--out", folder).code == 0
    (patch,) = [one for one in read(folder, "workloads/*.yaml") if one["kind"] == "Deployment"]
    assert patch["spec"]["template"]["spec"]["nodeSelector"][key] is None


def test_a_model_that_contradicts_the_affinity_is_named(gpuslice):
    ended = gpuslice("plan", "-f", CASES / "affinity-gpu-memory")
    assert "says A10G, where its required node affinity lets it not run" in ended.out + ended.err
