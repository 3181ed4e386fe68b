"""The directory and the component in the hands of a real kustomize, where this machine has one.

What it is held to here, test_manifests and test_patches hold without it.
"""

import shutil
import subprocess
from typing import Any

import pytest
import yaml

from gpuslice.render import cluster_wide
from gpuslice.render.manifests import objects, render
from tests.render.plans import CATALOG, PLANS, SETTINGS, SLOTS

pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which has kustomize in it, isn't here"
)

EMBEDDER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: embedder, namespace: search}
spec:
  template:
    spec:
      nodeSelector: {node.kubernetes.io/instance-type: g5.xlarge, team: search}
      tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
      containers:
      - name: server
        image: vllm
        args: [--model, m, --gpu-memory-utilization, "0.9", --port=8000]
        resources: {requests: {cpu: 1, nvidia.com/gpu: 1}, limits: {memory: 4Gi, nvidia.com/gpu: 1}}
---
apiVersion: kubeflow.org/v1
kind: Notebook
metadata: {name: notebook, namespace: lab}
spec:
  template:
    spec:
      containers:
      - {name: n, resources: {limits: {nvidia.com/gpu: 1}, requests: {nvidia.com/gpu: 1, cpu: 1}}}
"""


def write(files, folder) -> Any:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def build(folder) -> Any:
    run = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return list(yaml.safe_load_all(run.stdout))


@pytest.mark.parametrize("one", PLANS.values(), ids=PLANS)
def test_kustomize_builds_the_directory_as_it_is(one, tmp_path):
    write(render(one, CATALOG, SETTINGS), tmp_path)
    wanted: list[Any] = [
        each for file in objects(one, CATALOG, SETTINGS) if file.applied for each in file.objects
    ]
    built = build(tmp_path)
    assert {(each["kind"], each["metadata"]["name"]): each for each in built} == {
        (each["kind"], each["metadata"]["name"]): each for each in wanted
    }
    assert len(built) == len(wanted)


@pytest.mark.parametrize("text", ["time-slicing=4", "mps=4", "mig=all-1g.10gb"])
def test_kustomize_builds_a_cluster_wide_setting(text, tmp_path):
    write(cluster_wide.render(cluster_wide.parse(text), "gpu-operator"), tmp_path)
    assert [each["kind"] for each in build(tmp_path)] == ["ConfigMap"]


def test_the_component_patches_the_workloads_that_are_in_the_same_build(tmp_path):
    write(render(SLOTS, CATALOG, SETTINGS), tmp_path / "manifests")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "workloads.yaml").write_text(EMBEDDER)
    (overlay / "kustomization.yaml").write_text(
        "resources: [workloads.yaml]\ncomponents: [../manifests/workloads]\n"
    )
    by_kind = {each["kind"]: each["spec"]["template"]["spec"] for each in build(overlay)}
    assert by_kind["Deployment"] == {
        "nodeSelector": {"team": "search", "gpuslice.io/pool": "search-l4-ts4"},
        "tolerations": [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {
                "key": "gpuslice.io/pool",
                "operator": "Equal",
                "value": "search-l4-ts4",
                "effect": "NoSchedule",
            },
        ],
        "containers": [
            {
                "name": "server",
                "image": "vllm",
                "args": ["--model", "m", "--port=8000", "--gpu-memory-utilization=0.24"],
                "resources": {
                    "limits": {"memory": "4Gi", "nvidia.com/gpu.shared": "1"},
                    "requests": {"cpu": 1},
                },
            }
        ],
    }
    assert by_kind["Notebook"]["containers"] == [
        {
            "name": "n",
            "resources": {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": 1, "nvidia.com/gpu": 1}},
        }
    ]
    assert by_kind["Notebook"]["nodeSelector"] == {"gpuslice.io/pool": "l4-fraction"}
