"""Manifests as people have them, into workloads."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.artefacts.documents import dump_yaml, parse_documents, read_documents
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import Source
from gpuslice.workloads.artefact import WorkloadSet, parse_workloads
from gpuslice.workloads.dump import dump
from gpuslice.workloads.manifests import from_manifests
from gpuslice.workloads.model import Workload
from gpuslice.workloads.models_today import stated
from gpuslice.workloads.repository import repository

EXAMPLES = Path(__file__).parents[2] / "examples"
Object = dict[str, Any]  # a manifest, as free as YAML


def pod_spec(gpu: object = 1, **more: object) -> Object:
    resources = {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {} if gpu is None else {"nvidia.com/gpu": gpu},
    }
    return {"containers": [{"name": "main", "image": "app:1", "resources": resources}], **more}


def template(gpu: object = 1, annotations: object = None, **more: object) -> Object:
    return {"metadata": {"annotations": annotations}, "spec": pod_spec(gpu, **more)}


def thing(kind: str, name: str, spec: object, api: str = "apps/v1", **metadata: object) -> Object:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": "a", **metadata},
        "spec": spec,
    }


def deployment(name: str = "web", replicas: int = 3, annotations: object = None) -> Object:
    return thing("Deployment", name, {"replicas": replicas, "template": template()}, annotations=annotations)


def owned(obj: Object, kind: str, name: str, api: str = "apps/v1") -> Object:
    obj["metadata"]["ownerReferences"] = [{"apiVersion": api, "kind": kind, "name": name, "controller": True}]
    return obj


@pytest.fixture
def scan(tmp_path):
    def read(*objects: object, **options: Any) -> WorkloadSet:
        path = tmp_path / "manifests.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        return from_manifests([str(path)], **options)

    return read


def only(found: WorkloadSet) -> Workload:
    (workload,) = found.workloads
    return workload


def shape(found: WorkloadSet) -> list[tuple[str, str, int]]:
    return [(each.name, each.target.kind, each.replicas) for each in found.workloads]


@pytest.mark.parametrize(
    ("obj", "name", "replicas", "pod_spec_at"),
    [
        (thing("Deployment", "x", {"replicas": 3, "template": template()}), "a/x", 3, ""),
        (thing("Deployment", "x", {"template": template()}), "a/x", 1, ""),
        (thing("StatefulSet", "x", {"replicas": 0, "template": template()}), "a/x", 0, ""),
        (thing("ReplicaSet", "x", {"replicas": 2, "template": template()}), "a/x", 2, ""),
        (thing("DaemonSet", "x", {"template": template()}), "a/x", 1, ""),
        (
            thing("Job", "x", {"parallelism": 8, "completions": 5, "template": template()}, "batch/v1"),
            "a/x",
            5,
            "",
        ),
        (
            thing(
                "CronJob",
                "x",
                {"jobTemplate": {"spec": {"parallelism": 2, "template": template()}}},
                "batch/v1",
            ),
            "a/x",
            2,
            "",
        ),
        (thing("Pod", "x", pod_spec(), "v1"), "a/x", 1, ""),
        (
            thing("Rollout", "x", {"replicas": 4, "template": template()}, "argoproj.io/v1alpha1"),
            "a/x",
            4,
            "",
        ),
        (
            thing(
                "RayCluster",
                "x",
                {
                    "workerGroupSpecs": [
                        {"groupName": "G1", "replicas": 2, "numOfHosts": 2, "template": template()}
                    ]
                },
                "ray.io/v1",
            ),
            "a/x-g1",
            4,
            "/spec/workerGroupSpecs/0/template/spec",
        ),
        (
            thing(
                "RayService",
                "x",
                {"rayClusterConfig": {"headGroupSpec": {"template": template()}}},
                "ray.io/v1",
            ),
            "a/x-head",
            1,
            "/spec/rayClusterConfig/headGroupSpec/template/spec",
        ),
        (
            thing(
                "RayJob",
                "x",
                {
                    "rayClusterSpec": {
                        "workerGroupSpecs": [{"groupName": "w", "minReplicas": 3, "template": template()}]
                    }
                },
                "ray.io/v1",
            ),
            "a/x-w",
            3,
            "/spec/rayClusterSpec/workerGroupSpecs/0/template/spec",
        ),
        (
            thing(
                "PyTorchJob",
                "x",
                {"pytorchReplicaSpecs": {"Worker": {"replicas": 2, "template": template(8)}}},
                "kubeflow.org/v1",
            ),
            "a/x-worker",
            2,
            "/spec/pytorchReplicaSpecs/Worker/template/spec",
        ),
        (
            thing(
                "JobSet",
                "x",
                {
                    "replicatedJobs": [
                        {
                            "name": "w",
                            "replicas": 2,
                            "template": {"spec": {"parallelism": 3, "template": template()}},
                        }
                    ]
                },
                "jobset.x-k8s.io/v1alpha2",
            ),
            "a/x-w",
            6,
            "/spec/replicatedJobs/0/template/spec/template/spec",
        ),
        (
            thing(
                "LeaderWorkerSet",
                "x",
                {"replicas": 2, "leaderWorkerTemplate": {"size": 4, "workerTemplate": template()}},
                "leaderworkerset.x-k8s.io/v1",
            ),
            "a/x-worker",
            8,
            "/spec/leaderWorkerTemplate/workerTemplate/spec",
        ),
        (
            thing(
                "InferenceService",
                "x",
                {"predictor": {"minReplicas": 2, **pod_spec()}},
                "serving.kserve.io/v1beta1",
            ),
            "a/x-predictor",
            2,
            "/spec/predictor",
        ),
    ],
)
def test_each_kind_gives_its_pods_and_says_where_its_template_is(scan, obj, name, replicas, pod_spec_at):
    found = only(scan(obj))
    assert (found.name, found.replicas, found.target.pod_spec) == (name, replicas, pod_spec_at)
    assert found.target.kind == obj["kind"]
    assert (found.target.name or "x") == "x"
    assert found.target.api_version == (
        "" if obj["apiVersion"] in {"v1", "apps/v1", "batch/v1"} else obj["apiVersion"]
    )


def test_a_leader_and_its_workers_are_two_workloads(scan):
    spec = {
        "replicas": 2,
        "leaderWorkerTemplate": {"size": 4, "leaderTemplate": template(), "workerTemplate": template()},
    }
    found = scan(thing("LeaderWorkerSet", "x", spec, "leaderworkerset.x-k8s.io/v1"))
    assert [(each.name, each.replicas) for each in found.workloads] == [("a/x-leader", 2), ("a/x-worker", 6)]


def test_kserve_models_without_containers_are_patched_where_they_stand(scan):
    model = {
        "modelFormat": {"name": "huggingface"},
        "args": ["--model_id=m"],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    }
    found = only(
        scan(thing("InferenceService", "x", {"predictor": {"model": model}}, "serving.kserve.io/v1beta1"))
    )
    assert found.target.container_path == "/model"
    assert found.target.framework is not None
    assert (found.target.framework.name, found.target.framework.arguments) == ("vllm", ("--model_id=m",))


def test_a_container_beside_a_kserve_model_is_patched_where_the_object_has_it(scan):
    predictor = {"model": {"modelFormat": {"name": "onnx"}}, **pod_spec()}
    target = only(
        scan(thing("InferenceService", "x", {"predictor": predictor}, "serving.kserve.io/v1beta1"))
    ).target
    assert (target.container, target.container_index, target.container_path) == ("main", 0, "")


def test_needs_come_from_annotations_and_the_template_wins(scan):
    obj = deployment(annotations={"gpuslice.io/gpu-memory": "4Gi", "gpuslice.io/gpu-duty": "0.2"})
    obj["spec"]["template"] = template(
        annotations={"gpuslice.io/gpu-memory": "5Gi", "gpuslice.io/isolation": "memory"}
    )
    need = only(scan(obj, today=stated(["a10g"]))).need
    assert (need.memory_mib, need.duty_ppm, need.on, need.isolation) == (
        5120,
        200_000,
        "A10G",
        Isolation.MEMORY,
    )
    assert need.known


def test_what_an_annotation_says_of_the_gpu_stands_above_the_selector_and_that_above_the_flag(scan):
    selected = thing(
        "Deployment", "x", {"template": template(nodeSelector={"karpenter.k8s.aws/instance-family": "g6"})}
    )
    assert only(scan(selected, today=stated(["T4"]))).need.on == "L4"
    selected["metadata"]["annotations"] = {"gpuslice.io/gpu-model": "H100"}
    assert only(scan(selected, today=stated(["T4"]))).need.on == "H100"


def test_a_workload_without_annotations_is_unknown_and_a_tenant_by_its_namespace(scan):
    found = only(scan(deployment()))
    assert not found.need.known
    assert found.tenant == "a"


def test_services_bear_half_speed_and_jobs_any_unless_they_say(scan):
    job = thing("Job", "j", {"template": template()}, "batch/v1")
    once = thing("Pod", "once", pod_spec(restartPolicy="Never"), "v1")
    always = thing("Pod", "always", pod_spec(), "v1")
    stated = deployment("stated", annotations={"gpuslice.io/max-slowdown": "none"})
    found = scan(deployment(), job, once, always, stated)
    limits = {each.name: (each.need.max_slowdown_milli, each.slowdown_defaulted) for each in found.workloads}
    assert limits == {
        "a/web": (2000, True),
        "a/j": (None, False),
        "a/once": (None, False),
        "a/always": (2000, True),
        "a/stated": (None, False),
    }


def test_a_spot_selector_alone_makes_nothing_interruptible(scan):
    spot = {"karpenter.sh/capacity-type": "spot"}
    found = only(scan(thing("Deployment", "x", {"template": template(nodeSelector=spot)})))
    assert not found.interruptible
    assert "gpuslice.io/interruptible" in found.notes[0]


def test_a_measured_need_of_a_preallocator_is_not_believed_and_a_stated_one_is(scan):
    obj = deployment(annotations={"gpuslice.io/gpu-memory": "20Gi", "gpuslice.io/need-source": "measured"})
    obj["spec"]["template"]["spec"]["containers"][0]["image"] = "vllm/vllm-openai:v0.11.0"
    measured = only(scan(obj))
    obj["metadata"]["annotations"]["gpuslice.io/need-source"] = "declared"
    declared = only(scan(obj))
    assert measured.preallocates
    assert measured.need.memory_mib is None
    assert "a measured figure is no need" in measured.notes[0]
    assert (declared.need.memory_mib, declared.need.source) == (20480, Source.DECLARED)


def test_a_preallocator_whose_limit_is_out_of_reach_is_told_to_the_planner(scan):
    obj = deployment()
    obj["spec"]["template"]["spec"]["containers"][0].update(
        image="vllm/vllm-openai:v1", command=["sh", "-c", "vllm serve m"]
    )
    assert not only(scan(obj)).need.limitable


def test_owner_and_affinity_must_agree_on_the_models(scan):
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {
                                "key": "karpenter.k8s.aws/instance-family",
                                "operator": "In",
                                "values": ["g5", "g6"],
                            }
                        ]
                    }
                ]
            }
        }
    }
    obj = thing(
        "Deployment",
        "x",
        {"template": template(affinity=affinity)},
        annotations={"gpuslice.io/allow-gpus": "L4,T4"},
    )
    assert only(scan(obj)).need.allow == {"L4"}
    obj["metadata"]["annotations"]["gpuslice.io/allow-gpus"] = "T4"
    with pytest.raises(InputError, match="admits only A10G, L4"):
        scan(obj)


def test_what_a_patch_must_know_is_in_the_target(scan):
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    spec = pod_spec(tolerations=[toleration], nodeSelector={"karpenter.k8s.aws/instance-family": "g5"})
    spec["containers"].insert(0, {"name": "proxy", "image": "envoy:1"})
    target = only(scan(thing("Deployment", "x", {"template": {"spec": spec}}))).target
    assert (target.container, target.container_index, target.container_path) == ("main", 1, "")
    assert target.drop_node_selector == ("karpenter.k8s.aws/instance-family",)
    assert [each.key for each in target.tolerations] == ["nvidia.com/gpu"]
    assert (target.gpu_limits, target.has_node_selector, target.has_env) == (("nvidia.com/gpu",), True, False)


def test_what_an_earlier_plan_had_the_pod_ask_for_is_in_the_target_and_changes_no_need(scan):
    seat = "gpuslice.io/seat-search.embedder"
    for beside in ({seat: "1"}, {"gpuslice.io/gpu-memory": "3Gi", "gpuslice.io/gpu-time": "200"}):
        spec = pod_spec(nodeSelector={"gpuslice.io/pool": "l4-ts4"})
        spec["containers"][0]["resources"] = {
            "limits": {"nvidia.com/gpu.shared": "1", **beside},
            "requests": {"cpu": "1", **beside},
        }
        found = only(scan(thing("Deployment", "x", {"template": {"spec": spec}})))
        assert found.need.gpus == 1
        assert found.target.container == "main"
        assert found.target.gpu_limits == (*beside, "nvidia.com/gpu.shared")
        assert found.target.gpu_requests == tuple(beside)
        assert found.target.drop_node_selector == ("gpuslice.io/pool",)
        assert not [each for each in found.notes if "gpuslice.io/pool" in each or "never sliced" in each]


@pytest.mark.parametrize(
    ("model", "name", "limit"),
    [
        ({"modelFormat": {"name": "nvidia-nim-rerank"}, "runtime": "nvidia-nim-rerank-1.3.0"}, "nim", "none"),
        ({"modelFormat": {"name": "huggingface"}, "runtime": "kserve-huggingfaceserver"}, "vllm", "argument"),
        ({"modelFormat": {"name": "huggingface"}, "runtime": "our-vllm"}, "vllm", "none"),
        ({"modelFormat": {"name": "onnx"}, "runtime": "kserve-tritonserver"}, "triton", "none"),
        ({"modelFormat": {"name": "sglang"}}, "sglang", "none"),
    ],
)
def test_a_kserve_model_says_its_framework_by_runtime_or_format(scan, model, name, limit):
    predictor = {"model": {**model, "resources": {"limits": {"nvidia.com/gpu": 1}}}}
    found = only(scan(thing("InferenceService", "x", {"predictor": predictor}, "serving.kserve.io/v1beta1")))
    assert found.target.framework is not None
    assert (found.target.framework.name, found.target.framework.limit) == (name, limit)
    assert found.need.limitable is (limit != "none")


@pytest.mark.parametrize(
    ("kind", "spec", "api", "gang"),
    [
        (
            "PyTorchJob",
            {"pytorchReplicaSpecs": {"Worker": {"replicas": 8, "template": template()}}},
            "kubeflow.org/v1",
            True,
        ),
        (
            "PyTorchJob",
            {"pytorchReplicaSpecs": {"Master": {"template": template()}}},
            "kubeflow.org/v1",
            False,
        ),
        (
            "LeaderWorkerSet",
            {"replicas": 2, "leaderWorkerTemplate": {"size": 2, "workerTemplate": template()}},
            "leaderworkerset.x-k8s.io/v1",
            True,
        ),
        (
            "LeaderWorkerSet",
            {"replicas": 2, "leaderWorkerTemplate": {"size": 1, "workerTemplate": template()}},
            "leaderworkerset.x-k8s.io/v1",
            False,
        ),
        ("Deployment", {"replicas": 8, "template": template()}, "apps/v1", False),
    ],
)
def test_ranks_of_one_job_never_share_a_gpu_unless_they_say_so(scan, kind, spec, api, gang):
    assert only(scan(thing(kind, "x", spec, api))).need.gang is gang
    stated = scan(thing(kind, "x", spec, api, annotations={"gpuslice.io/gang": "false"}))
    assert only(stated).need.gang is False


# --- dumps -------------------------------------------------------------------------------------------------------


def test_a_dump_counts_each_pod_once_at_its_top_owner(scan):
    replica_set = owned(
        thing("ReplicaSet", "web-5d9c7", {"replicas": 3, "template": template()}), "Deployment", "web"
    )
    pods = [
        owned(thing("Pod", f"web-5d9c7-{n}", pod_spec(), "v1"), "ReplicaSet", "web-5d9c7") for n in range(3)
    ]
    found = scan({"apiVersion": "v1", "kind": "List", "items": [*pods, replica_set, deployment()]})
    assert shape(found) == [("a/web", "Deployment", 3)]


def test_pods_of_an_owner_that_is_not_there_are_one_workload(scan):
    pods = [
        owned(thing("Pod", f"etl-{n}", pod_spec(), "v1"), "Workflow", "etl", "argoproj.io/v1alpha1")
        for n in range(4)
    ]
    found = scan(*pods)
    assert shape(found) == [("a/etl", "Workflow", 4)]
    assert "can't be patched" in only(found).notes[-1]


def test_pods_whose_replica_set_and_deployment_are_not_there_are_the_deployments(scan):
    labels = {"pod-template-hash": "5d9c7"}
    pods = [
        owned(thing("Pod", f"p{n}", pod_spec(), "v1", labels=labels), "ReplicaSet", "web-5d9c7")
        for n in range(2)
    ]
    assert shape(scan(*pods)) == [("a/web", "Deployment", 2)]


def test_an_owner_whose_kind_is_not_understood_does_not_swallow_its_children(scan):
    strange = thing("ModelServer", "m", {"size": "large"}, "example.com/v1")
    child = owned(deployment(), "ModelServer", "m", "example.com/v1")
    assert shape(scan(strange, child)) == [("a/web", "Deployment", 3)]


def test_pods_of_a_kind_that_is_not_understood_are_one_workload_of_it(scan):
    workflow = thing(
        "Workflow", "etl", {"templates": [{"containers": [{"image": "x"}]}]}, "argoproj.io/v1alpha1"
    )
    pods = [owned(thing("Pod", f"etl-{n}", pod_spec(), "v1"), "Workflow", "etl") for n in range(4)]
    assert shape(scan(workflow, *pods)) == [("a/etl", "Workflow", 4)]


def test_a_kserve_service_that_takes_its_gpu_from_a_runtime_is_counted_at_its_deployment(scan):
    service = thing(
        "InferenceService",
        "m",
        {"predictor": {"model": {"modelFormat": {"name": "onnx"}}}},
        "serving.kserve.io/v1beta1",
    )
    child = owned(deployment("m-predictor"), "InferenceService", "m", "serving.kserve.io/v1beta1")
    assert shape(scan(service, child)) == [("a/m-predictor", "Deployment", 3)]


def test_finished_jobs_and_pods_hold_no_gpu(scan):
    pod = thing("Pod", "done", pod_spec(), "v1") | {"status": {"phase": "Succeeded"}}
    job = thing("Job", "old", {"template": template()}, "batch/v1")
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    found = scan(pod, job, deployment())
    assert shape(found) == [("a/web", "Deployment", 3)]
    assert found.notes == ("2 finished Jobs or Pods: left out",)


def test_a_status_of_the_wrong_type_ends_nothing(scan):
    pod = thing("Pod", "odd", pod_spec(), "v1") | {"status": {"phase": []}}
    job = thing("Job", "older", {"template": template()}, "batch/v1")
    job["status"] = {"conditions": [{"type": {}, "status": "True"}]}
    assert {name for name, _, _ in shape(scan(pod, job))} == {"a/odd", "a/older"}


def test_an_unknown_kind_that_holds_gpu_pods_is_named(scan):
    found = scan(
        thing("ModelServer", "m", {"roles": [{"template": template()}]}, "example.com/v1"), deployment()
    )
    assert found.notes == (
        "ModelServer a/m holds 1 pod with 1 nvidia.com/gpu: left out, ModelServer (example.com/v1) is not understood",
    )


def test_objects_without_a_gpu_are_counted_and_left_out(scan):
    cpu_only = [
        thing("Deployment", f"c{n}", {"template": template(gpu)}) for n, gpu in enumerate((None, 0, "0"))
    ]
    found = scan(*cpu_only, deployment(), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}})
    assert shape(found) == [("a/web", "Deployment", 3)]
    assert found.notes == ("3 other objects with pods, without a GPU: left out",)


def test_an_autoscaler_tells_the_replicas_where_the_manifest_does_not(scan):
    scaler = thing(
        "HorizontalPodAutoscaler",
        "h",
        {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 2, "maxReplicas": 9},
        "autoscaling/v2",
    )
    unwritten = thing("Deployment", "web", {"template": template()})
    assert only(scan(scaler, unwritten)).replicas == 2
    assert only(scan(scaler, deployment())).replicas == 3
    assert "between 2 and 9" in only(scan(scaler, deployment())).notes[0]


def test_a_rollout_that_borrows_a_deployments_template_brings_its_replicas(scan):
    rollout = thing(
        "Rollout",
        "r",
        {"replicas": 5, "workloadRef": {"kind": "Deployment", "name": "web"}},
        "argoproj.io/v1alpha1",
    )
    assert shape(scan(rollout, deployment(replicas=0))) == [("a/web", "Deployment", 5)]


def test_two_kinds_of_one_name_get_names_of_their_own(scan):
    found = scan(deployment(), thing("StatefulSet", "web", {"template": template()}))
    assert [(each.name, each.target.name) for each in found.workloads] == [
        ("a/web-deployment", "web"),
        ("a/web-statefulset", "web"),
    ]


def test_pods_of_a_dump_without_replica_sets_are_their_deployments(scan):
    pods = [
        owned(thing("Pod", f"web-5d9c7-{n}", pod_spec(), "v1"), "ReplicaSet", "web-5d9c7") for n in range(3)
    ]
    assert shape(scan(*pods, deployment())) == [("a/web", "Deployment", 3)]


# --- inputs ------------------------------------------------------------------------------------------------------


def test_directories_are_read_to_the_bottom_and_hidden_files_are_not(tmp_path):
    for path in (
        "a.yaml",
        "sub/deep/b.yml",
        "c.json",
        ".hidden.yaml",
        ".git/d.yaml",
        "values.yaml",
        "notes.txt",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        name = Path(path).stem.strip(".")
        (tmp_path / path).write_text("image: x" if name == "values" else json.dumps(deployment(name)))
    found = from_manifests([str(tmp_path)])
    assert [each.name for each in found.workloads] == ["a/a", "a/b", "a/c"]


def test_what_gpuslice_rendered_beside_manifests_is_no_workload(tmp_path):
    (tmp_path / "app.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
    patches = tmp_path / "manifests" / "workloads"
    patches.mkdir(parents=True)
    for each in (".gpuslice", "kustomization.yaml"):
        (tmp_path / "manifests" / each).write_text("")
    (patches / "a.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: a}\n"
    )
    assert repository(tmp_path).manifests == (tmp_path / "app.yaml",)
    with pytest.raises(
        InputError, match="manifests: was written by gpuslice: it holds patches, and no workloads"
    ):
        repository(tmp_path / "manifests")


def test_a_directory_without_manifests_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("#")
    with pytest.raises(InputError, match="no manifests"):
        from_manifests([str(tmp_path)])


def test_a_file_that_is_no_manifest_is_refused(scan):
    with pytest.raises(InputError, match="no Kubernetes object"):
        scan({"replicas": 3})
    with pytest.raises(InputError, match="gpuslice plan -f"):
        scan({"apiVersion": "gpuslice.io/v1alpha1", "kind": "Workloads", "workloads": []})


def test_an_object_given_twice_in_a_file_counts_once_or_is_refused(scan):
    assert shape(scan(deployment(), deployment())) == [("a/web", "Deployment", 3)]
    assert "given twice" in scan(deployment(), deployment()).notes[-1]
    with pytest.raises(InputError, match="given twice"):
        scan(deployment(), deployment(), strict=True)


def test_items_of_a_typed_list_need_no_kind(scan):
    item = deployment()
    del item["kind"], item["apiVersion"]
    assert shape(scan({"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [item]})) == [
        ("a/web", "Deployment", 3)
    ]


def test_objects_without_a_namespace_are_in_the_one_given(scan):
    obj = deployment()
    del obj["metadata"]["namespace"]
    assert only(scan(obj)).name == "default/web"
    assert only(scan(obj, namespace="prod")).name == "prod/web"


def test_workloads_can_be_left_out_by_pattern(scan):
    assert scan(deployment("web"), deployment("kube-x"), exclude=["a/kube-*"]).workloads[0].name == "a/web"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"replicas": -1}, "replicas is -1"),
        ({"replicas": 10**9}, "replicas is 1000000000"),
        ({"replicas": "three"}, "replicas is 'three'"),
        ({"template": template("1000000")}, "1,000,000 GPUs"),
    ],
)
def test_numbers_that_nobody_runs_are_refused_with_the_object(scan, change, says):
    with pytest.raises(InputError, match=says) as raised:
        scan(thing("Deployment", "web", {"template": template(), **change}))
    assert "Deployment a/web" in str(raised.value)


def test_a_name_that_kubernetes_would_refuse_is_refused(scan):
    with pytest.raises(InputError, match="name"):
        scan(deployment("\x1b[31mred"))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1", "nvidia.com/gpu"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "spec", "limits"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.sampled_from(sorted((EXAMPLES / "fleet").glob("*.yaml"))), st.data())
def test_no_damage_to_a_manifest_does_worse_than_a_message(tmp_path_factory, path, data):
    objects = [each.data for each in read_documents(path)]
    node = data.draw(st.sampled_from(objects))
    while isinstance(node, dict | list) and node:
        key = data.draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or data.draw(st.integers(0, 5)) == 0:
            node[key] = data.draw(values)
            break
        node = node[key]
    damaged = tmp_path_factory.mktemp("damaged") / "manifests.yaml"
    damaged.write_text(dump_yaml(*objects))
    try:
        found = from_manifests([str(damaged)])
    except InputError as error:
        assert len(str(error).splitlines()) <= 2  # noqa: PT017  either answer is right
    else:
        assert parse_workloads(parse_documents(dump(found).encode(), "w.yaml"), accept_assumed=True) == found


# --- the example -------------------------------------------------------------------------------------------------


def test_the_example_fleet_is_understood_whole():
    found = from_manifests([str(EXAMPLES / "fleet")])
    assert sum(each.replicas for each in found.workloads) == 104
    assert len({each.tenant for each in found.workloads}) == 4
    unknown = [each.name for each in found.workloads if not each.need.known and each.need.gpus == 1]
    assert unknown == ["search/playground"]
    assert {each.name for each in found.workloads if each.need.gpus == 8} == {
        "research/pretraining-master",
        "research/pretraining-worker",
    }
    assert [each.name for each in found.workloads if each.interruptible] == ["search/index-backfill"]


def test_what_is_found_can_be_written_and_read_back():
    found = from_manifests([str(EXAMPLES / "fleet")])
    assert parse_workloads(parse_documents(dump(found).encode(), "workloads.yaml")) == found
