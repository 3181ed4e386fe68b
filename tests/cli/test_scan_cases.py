"""`gpuslice scan` on a folder of cases, where one is named: what must be said of each, and what must not."""

import os
from pathlib import Path

import pytest

CASES = Path(os.environ.get("GPUSLICE_CASES", ""))
pytestmark = pytest.mark.skipif(Path() == CASES, reason="GPUSLICE_CASES names no folder of cases")

# By case: where its input is, the exit code, and words of what is said.
SAYS = {
    "found-affinity-names": (
        "",
        0,
        ["13 workloads", "m60 is no GPU", "p3 has NVIDIA GPUs", "m5.large has no"],
    ),
    "found-autoscaled-ray": ("", 0, ["autoscaled between 0 and 20", "autoscaled between 2 and 30"]),
    "found-comment-only": ("", 0, ["1 workloads, 3 GPU pods"]),
    "found-dra-gpu": ("", 0, ["web/seer holds 5 pods", "by DRA"]),
    "found-dra-mig": ("", 0, ["vision/segment holds 4 pods", "1g.10gb", "by DRA"]),
    "found-dra-waiting": ("dump", 0, ["vision/gen-1", "by DRA"]),
    "found-dump-nodes": ("in.json", 0, ["L4", "eu-west-1"]),
    "found-dump-without-replicasets": ("in.json", 0, ["1 workloads, 4 GPU pods"]),
    "found-family-not-listed": ("", 0, ["p6e-gb200 has NVIDIA GPUs and is not in the catalog"]),
    "found-family-of-amd": ("", 0, ["g4ad has AMD's GPUs", "the pod can't run there"]),
    "found-gfd-names": ("", 0, ["2 workloads", "did you mean 'H100'"]),
    "found-helm-values": (
        "",
        0,
        ["1 workloads", "values.yaml asks for a GPU and is no manifest", "helm template"],
    ),
    "found-hub-users": ("", 0, ["1 workloads, 4 GPU pods", "KubeSpawner makes these pods"]),
    "found-hub-users-needs": ("", 0, ["1 workloads, 4 GPU pods", "extra_resource_limits"]),
    "found-keda": (
        "",
        0,
        ["autoscaled between 6 and 24 replicas: planned for 6", "ScaledJob vision/transcode"],
    ),
    "found-keda-from-zero": ("", 0, ["autoscaled between 0 and 24 replicas"]),
    "found-kinds-of-others": (
        "",
        0,
        ["9 workloads", "NIMService llm/llama", "SparkApplication data/etl holds 4 pods"],
    ),
    "found-kustomize-overlays": ("", 0, ["overlays/prod | gpuslice scan --from -"]),
    "found-kustomize-overlays/overlays/prod": ("", 2, ["kubectl kustomize", "overlays/prod | gpuslice scan"]),
    "found-kustomize-prod": ("", 0, ["kubectl kustomize", "prod | gpuslice scan --from -"]),
    "found-limits-differ": ("", 2, ["1 in requests and 2 in limits", "the API server refuses"]),
    "found-no-model": ("", 0, ["2 don't say which GPU"]),
    "found-no-request": ("", 0, ["vision/chat, vision/nim, vision/all", "a GPU that isn't asked for"]),
    "found-one-bad-file": ("", 0, ["1 workloads, 3 GPU pods", "service.yaml:4", "mkdocs.yml:4"]),
    "found-other-names": ("", 0, ["2 workloads", "did you mean 'nvidia.com/gpu'?", "k8s.amazonaws.com/vgpu"]),
    "found-product-not-on-ec2": ("", 0, ["it can't be placed as it stands"]),
    "found-renamed-resource": ("", 0, ["nvidia.com/gpu.10gb is not understood", "nvidia.com/gpumem is not"]),
    "found-requests-only": ("", 2, ["1 in requests and none in limits", "the API server refuses"]),
    "found-silent-kinds": (
        "",
        0,
        ["NIMService", "CronWorkflow", "TrainJob", "SparkApplication", "Task ci/", "lab/gang"],
    ),
    "found-type-without-gpu": ("", 0, ["A10G", "m5.large has no NVIDIA GPU"]),
    "healthy-helm-chart": ("", 2, ["helm template", "| gpuslice scan --from -"]),
}


# By case: the verb with its input's option, where that is, the exit code, words of what is said, and what isn't.
OF_VERBS = [
    (
        "doctor",
        "--from",
        "found-dra-waiting/dump",
        1,
        ["GS310", "vision/gen-1", "makes nodes for claims"],
        [],
    ),
    (
        "status",
        "--from",
        "found-dra-waiting/dump",
        0,
        ["vision/gen-1", "makes nodes for claims"],
        ["0 GPU pods"],
    ),
    ("plan", "-f", "found-no-model", 0, ["2 workloads don't say which GPU", "T4"], ["Not placed"]),
    ("plan", "-f", "found-keda-from-zero", 0, ["autoscaled between 0 and 24", "--at peak: 24"], []),
    ("plan", "-f", "found-hub-users-needs", 0, ["hub/jupyter-users", "extra_resource_limits"], []),
    ("plan", "-f", "framework-ray-variables", 0, ["a whole L4", "own limit can't be set"], ["slots of"]),
    ("plan", "-f", "framework-ray-image", 0, ["a whole L4", "own limit can't be set"], ["slots of"]),
    (
        "plan",
        "-f",
        "framework-ray-serve-llm",
        0,
        ["a whole L4", "a measured figure is no need"],
        ["slots of"],
    ),
    ("plan", "-f", "framework-kserve-nim", 0, ["a whole L4", "a measured figure is no need"], ["slots of"]),
    ("plan", "-f", "framework-ddp", 0, ["a whole L4", "since NCCL takes none twice"], ["slots of"]),
]


@pytest.mark.parametrize(
    ("verb", "option", "case", "code", "words", "never"),
    OF_VERBS,
    ids=[f"{row[0]}-{row[2]}" for row in OF_VERBS],
)
def test_what_other_verbs_say_of_a_case(gpuslice, verb, option, case, code, words, never):
    ended = gpuslice(verb, option, CASES / case)
    said = ended.out + ended.err
    assert [word for word in words if word not in said] == []
    assert [word for word in never if word in said] == []
    assert ended.code == code


@pytest.mark.parametrize("case", sorted(SAYS))
def test_what_is_said_of_a_case(gpuslice, case):
    inside, code, words = SAYS[case]
    ended = gpuslice("scan", "--from", CASES / case / inside)
    said = ended.out + ended.err
    assert [word for word in words if word not in said] == []
    assert ended.code == code
    assert code == 0 or len(ended.err.splitlines()) == 2
