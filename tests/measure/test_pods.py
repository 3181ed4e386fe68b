import pytest

from gpuslice.artefacts.documents import parse_documents
from gpuslice.measure.pods import Matcher, Owners, source_of
from gpuslice.workloads.artefact import parse_workloads

FILE = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads:
- {name: shop/search, target: {kind: Deployment}, replicas: 1}
- {name: shop/search-api, target: {kind: Deployment}, replicas: 1}
- {name: shop/rank, target: {kind: StatefulSet}, replicas: 1}
- {name: shop/train, target: {kind: CronJob}, replicas: 1}
- {name: shop/fit, target: {kind: PyTorchJob, apiVersion: kubeflow.org/v1}, replicas: 1}
- {name: shop/ray, target: {kind: RayService, apiVersion: ray.io/v1}, replicas: 1}
- {name: shop/infer-predictor, target: {kind: InferenceService, apiVersion: serving.kserve.io/v1beta1, name: infer},
   replicas: 1}
- {name: shop/lead, target: {kind: LeaderWorkerSet, apiVersion: leaderworkerset.x-k8s.io/v1}, replicas: 1}
- {name: shop/two-a, target: {kind: Deployment, name: two, container: a}, replicas: 1}
- {name: shop/two-b, target: {kind: Deployment, name: two, container: b}, replicas: 1}
"""


def matched(pod, *series, container=""):
    workloads = parse_workloads(parse_documents(FILE.encode(), "w")).workloads
    source = source_of(
        {"namespace": "shop", "pod": pod, "container": container, "UUID": "GPU-1"}, exported=False
    )
    assert source is not None
    return Matcher(workloads, Owners(series)).workload(source)


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("search-7d9f6bcdf4-x2x4z", "shop/search"),
        ("search-api-7d9f6bcdf4-x2x4z", "shop/search-api"),
        ("rank-12", "shop/rank"),
        ("rank-twelve", None),
        ("train-29012345-abc12", "shop/train"),
        ("fit-worker-0", "shop/fit"),
        ("searcher-7d9f6bcdf4-x2x4z", None),
        ("two-7d9f6bcdf4-x2x4z", None),
    ],
)
def test_without_owners_pods_are_told_by_how_controllers_name_them(pod, workload):
    assert matched(pod) == workload


def test_a_container_tells_workloads_of_one_object_apart():
    assert matched("two-7d9f6bcdf4-x2x4z", container="b") == "shop/two-b"


def test_owners_are_believed_more_than_names():
    pod = {"__name__": "kube_pod_owner", "namespace": "shop", "pod": "search-1"}
    to_set = {**pod, "owner_kind": "ReplicaSet", "owner_name": "odd"}
    above = {
        "__name__": "kube_replicaset_owner",
        "namespace": "shop",
        "replicaset": "odd",
        "owner_kind": "Deployment",
        "owner_name": "search",
    }
    assert matched("search-1", to_set, above) == "shop/search"
    assert (
        matched("rank-0", {**pod, "pod": "rank-0", "owner_kind": "StatefulSet", "owner_name": "other"})
        is None
    )


@pytest.mark.parametrize(
    ("kind", "name", "workload"),
    [
        ("RayCluster", "ray-raycluster-x2x4z", "shop/ray"),
        ("RayCluster", "ray-x2x4z", "shop/ray"),
        ("RayCluster", "ray-other-x2x4z", None),
        ("Deployment", "infer-predictor", "shop/infer-predictor"),
        ("Deployment", "infer-predictor-00008-deployment", "shop/infer-predictor"),
        ("Deployment", "infer-other", None),
        ("StatefulSet", "lead", "shop/lead"),
        ("StatefulSet", "lead-0", "shop/lead"),
        ("StatefulSet", "leader", None),
    ],
)
def test_what_custom_kinds_make_is_theirs(kind, name, workload):
    pod = {
        "__name__": "kube_pod_owner",
        "namespace": "shop",
        "pod": "x",
        "owner_kind": kind,
        "owner_name": name,
    }
    assert matched("x", pod) == workload


def test_renamed_labels_of_kube_state_metrics_are_read():
    series = {
        "__name__": "kube_pod_owner",
        "namespace": "monitoring",
        "pod": "kube-state-metrics-0",
        "exported_namespace": "shop",
        "exported_pod": "x",
        "owner_kind": "StatefulSet",
        "owner_name": "rank",
    }
    assert matched("x", series) == "shop/rank"


def test_a_gpu_without_a_pod_is_nobodys():
    assert source_of({"UUID": "GPU-1", "namespace": "gpu-operator", "pod": "dcgm"}, exported=True) is None
