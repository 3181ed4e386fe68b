"""Whatever uses a GPU is counted, or named with the reason why it isn't: never taken for an object without one."""

import json
from typing import Any

import pytest
import yaml

from gpuslice.artefacts.documents import parse_documents
from gpuslice.workloads.artefact import WorkloadSet, parse_workloads
from gpuslice.workloads.dump import dump
from gpuslice.workloads.manifests import from_manifests
from gpuslice.workloads.sources import read

Object = dict[str, Any]  # a manifest, as free as YAML


@pytest.fixture
def scan(tmp_path):
    def read_all(text: str, **options: Any) -> WorkloadSet:
        path = tmp_path / "manifests.yaml"
        path.write_text(text)
        return from_manifests([str(path)], **options)

    return read_all


def thing(api: str, kind: str, spec: str) -> str:
    return f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: x, namespace: a}}\nspec: {spec}\n"


ONE = "{containers: [{name: c, image: i, resources: {limits: {nvidia.com/gpu: 1}}}]}"


@pytest.mark.parametrize(
    ("api", "kind", "spec", "says"),
    [
        (
            "apps.nvidia.com/v1alpha1",
            "NIMService",
            "{replicas: 3, resources: {limits: {nvidia.com/gpu: 2}, requests: {nvidia.com/gpu: 2}}}",
            "3 pods with 2 nvidia.com/gpu each",
        ),
        (
            "apps.nvidia.com/v1alpha1",
            "NIMService",
            "{replicas: 2, image: {}}",
            "2 pods with the GPUs that its model needs",
        ),
        ("apps.nvidia.com/v1alpha1", "NIMCache", "{source: {}}", "1 pod with a GPU, perhaps"),
        (
            "trainer.kubeflow.org/v1alpha1",
            "TrainJob",
            "{trainer: {numNodes: 4, resourcesPerNode: {limits: {nvidia.com/gpu: 2}}}}",
            "4 pods with 2 nvidia.com/gpu each",
        ),
        (
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            "{driver: {cores: 1}, executor: {instances: 6, gpu: {name: nvidia.com/gpu, quantity: 1}}}",
            "6 pods with 1 nvidia.com/gpu each",
        ),
        (
            "argoproj.io/v1alpha1",
            "WorkflowTemplate",
            "{templates: [{name: s, container: {image: t, resources: {limits: {nvidia.com/mig-1g.5gb: 1}}}}]}",
            "1 pod with 1 nvidia.com/mig-1g.5gb",
        ),
        (
            "argoproj.io/v1alpha1",
            "CronWorkflow",
            "{workflowSpec: {templates: [{script: {image: t, resources: {limits: {nvidia.com/gpu: 1}}}}]}}",
            "1 pod with 1 nvidia.com/gpu",
        ),
        (
            "nvidia.com/v1alpha1",
            "DynamoGraphDeployment",
            '{services: {decode: {replicas: 2, resources: {limits: {gpu: "1"}}}}}',
            "2 pods with 1 gpu each",
        ),
        (
            "serving.kserve.io/v1alpha1",
            "LLMInferenceService",
            f"{{replicas: 3, template: {ONE}}}",
            "3 pods with 1 nvidia.com/gpu each",
        ),
        (
            "machinelearning.seldon.io/v1",
            "SeldonDeployment",
            f"{{predictors: [{{replicas: 2, componentSpecs: [{{spec: {ONE}}}]}}]}}",
            "2 pods with 1 nvidia.com/gpu each",
        ),
        (
            "workload.codeflare.dev/v1beta2",
            "AppWrapper",
            f"{{components: [{{template: {{kind: Job, spec: {{parallelism: 5, template: {{spec: {ONE}}}}}}}}}]}}",
            "5 pods with 1 nvidia.com/gpu each",
        ),
        (
            "batch.volcano.sh/v1alpha1",
            "Job",
            f"{{tasks: [{{replicas: 4, template: {{spec: {ONE}}}}}, {{replicas: 1, template: {{spec: {ONE}}}}}]}}",
            "5 pods with 1 nvidia.com/gpu each",
        ),
        (
            "keda.sh/v1alpha1",
            "ScaledJob",
            f"{{maxReplicaCount: 10, jobTargetRef: {{template: {{spec: {ONE}}}}}}}",
            "10 pods with 1 nvidia.com/gpu each",
        ),
        (
            "tekton.dev/v1",
            "Task",
            "{steps: [{image: t, computeResources: {limits: {nvidia.com/gpu: 1}}}]}",
            "1 pod with 1 nvidia.com/gpu",
        ),
        (
            "example.com/v7",
            "Tomorrow",
            f"{{shape: [[{ONE}]]}}",
            "Tomorrow (example.com/v7) is not understood",
        ),
    ],
)
def test_a_kind_that_no_plan_moves_is_named_with_its_gpus(scan, api, kind, spec, says):
    found = scan(thing(api, kind, spec))
    assert not found.workloads
    (note,) = found.notes
    assert note.startswith(f"{kind} a/x holds ")
    assert "left out, " in note
    assert says in note


@pytest.mark.parametrize(
    ("api", "kind", "spec"),
    [
        ("apps/v1", "Deployment", "{template: {spec: {containers: [{image: vllm/vllm-openai-cpu:1}]}}}"),
        ("karpenter.sh/v1", "NodePool", "{limits: {nvidia.com/gpu: 8}}"),
        ("v1", "ResourceQuota", "{hard: {requests.nvidia.com/gpu: 4}}"),
        ("kueue.x-k8s.io/v1beta1", "ClusterQueue", "{resourceGroups: [{name: nvidia.com/gpu, quantity: 4}]}"),
        (
            "apps/v1",
            "Deployment",
            "{template: {spec: {tolerations: [{key: nvidia.com/gpu}], containers: [{name: c}]}}}",
        ),
        (
            "apps/v1",
            "Deployment",
            "{template: {spec: {containers: [{resources: {limits: {aws.amazon.com/neuron: 1}}}]}}}",
        ),
        (
            "apps/v1",
            "Deployment",
            "{template: {spec: {containers: [{resources: {limits: {amd.com/gpu: 1}}}]}}}",
        ),
        (
            "apps/v1",
            "Deployment",
            "{template: {spec: {containers: [{resources: {limits: {nvidia.com/gpu: 0}}}]}}}",
        ),
        (
            "apps/v1",
            "DaemonSet",
            (
                "{template: {spec: {containers: [{image: nvidia/dcgm-exporter:4, "
                "env: [{name: NVIDIA_VISIBLE_DEVICES, value: all}]}]}}}"
            ),
        ),
        ("apps/v1", "Deployment", "{template: {spec: {containers: [{image: lmcache/vllm-router:1}]}}}"),
    ],
)
def test_what_only_speaks_of_gpus_is_not_named(scan, api, kind, spec):
    found = scan(thing(api, kind, spec))
    assert not found.workloads
    assert not any("holds" in note for note in found.notes)


@pytest.mark.parametrize(
    ("resource", "says"),
    [
        ("nvidia.com/gpus", "did you mean 'nvidia.com/gpu'?"),
        ("nvidia.com/gpu.10gb", "is it a name set in the device plugin's configuration?"),
        ("nvidia.com/gpumem-percentage", "nvidia.com/gpumem-percentage is not understood"),
        ("alpha.kubernetes.io/nvidia-gpu", "alpha.kubernetes.io/nvidia-gpu is not understood"),
        ("k8s.amazonaws.com/vgpu", "k8s.amazonaws.com/vgpu is not understood"),
        ("tencent.com/vcuda-core", "tencent.com/vcuda-core is not understood"),
        ("gpu", "gpu is not understood"),
    ],
)
def test_a_resource_named_like_a_gpu_is_named(scan, resource, says):
    limits = json.dumps({resource: "2"})
    pod = f"{{containers: [{{name: c, resources: {{limits: {limits}}}}}]}}"
    (note,) = scan(thing("v1", "Pod", pod)).notes
    assert f"1 pod with 2 {resource}" in note
    assert says in note


def test_a_strange_resource_beside_a_gpu_is_told_with_the_workload(scan):
    pod = "{containers: [{name: c, resources: {limits: {nvidia.com/gpu: 1, nvidia.com/gpumem: 3000}}}]}"
    (workload,) = scan(thing("v1", "Pod", pod)).workloads
    assert any("nvidia.com/gpumem is not understood" in note for note in workload.notes)


@pytest.mark.parametrize(
    "container",
    [
        "{image: vllm/vllm-openai:v0.11.0}",
        "{image: nvcr.io/nim/meta/llama3-8b:1.0}",
        "{image: app, env: [{name: NVIDIA_VISIBLE_DEVICES, value: all}]}",
        "{image: app, env: [{name: NVIDIA_VISIBLE_DEVICES, value: '0,1'}]}",
    ],
)
def test_what_uses_a_gpu_and_asks_for_none_is_named(scan, container):
    (note,) = scan(
        thing("apps/v1", "Deployment", f"{{replicas: 2, template: {{spec: {{containers: [{container}]}}}}}}")
    ).notes
    assert "2 pods with a GPU that isn't asked for" in note
    assert "ask for one in resources.limits" in note


def test_what_runs_under_nvidias_runtime_sees_all_gpus(scan):
    pod = "{runtimeClassName: nvidia, containers: [{image: nvidia/cuda:13}]}"
    (note,) = scan(thing("v1", "Pod", pod)).notes
    assert "1 pod with a GPU that isn't asked for" in note


def test_a_ray_head_with_the_image_of_its_workers_is_none(scan):
    head = "{template: {spec: {containers: [{name: h, image: rayproject/ray-llm:2, resources: {}}]}}}"
    worker = f"{{groupName: g, replicas: 2, template: {{spec: {ONE}}}}}"
    found = scan(thing("ray.io/v1", "RayCluster", f"{{headGroupSpec: {head}, workerGroupSpecs: [{worker}]}}"))
    assert [each.name for each in found.workloads] == ["a/x-g"]
    assert not found.notes


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ("{name: g, exactly: {deviceClassName: gpu.nvidia.com, count: 2}}", "2 GPUs (gpu.nvidia.com) by DRA"),
        ("{name: g, deviceClassName: gpu.nvidia.com}", "a GPU (gpu.nvidia.com) by DRA"),
        (
            "{name: g, firstAvailable: [{deviceClassName: mig.nvidia.com}, {deviceClassName: gpu.nvidia.com}]}",
            "a MIG instance (mig.nvidia.com) or a GPU (gpu.nvidia.com) by DRA",
        ),
        (
            (
                "{name: g, exactly: {deviceClassName: mig.nvidia.com, selectors: "
                "[{cel: {expression: \"device.attributes['gpu.nvidia.com'].profile == '1g.10gb'\"}}]}}"
            ),
            "a 1g.10gb (mig.nvidia.com) by DRA",
        ),
        ("{name: g, exactly: {deviceClassName: fast}}", "a GPU (fast) by DRA"),
    ],
)
def test_a_claim_of_a_gpu_is_named(scan, request_, says):
    claim = thing(
        "resource.k8s.io/v1", "ResourceClaimTemplate", f"{{spec: {{devices: {{requests: [{request_}]}}}}}}"
    )
    fast = (
        "apiVersion: resource.k8s.io/v1\nkind: DeviceClass\nmetadata: {name: fast}\n"
        "spec: {selectors: [{cel: {expression: \"device.driver == 'gpu.nvidia.com'\"}}]}\n"
    )
    pod = "{resourceClaims: [{name: g, resourceClaimTemplateName: x}], containers: [{name: c}]}"
    user = thing("apps/v1", "Deployment", f"{{replicas: 5, template: {{spec: {pod}}}}}")
    (note,) = scan(f"{claim}---\n{fast}---\n{user}").notes
    assert f"Deployment a/x holds 5 pods with {says}" in note
    assert "claims aren't planned" in note


def test_a_claim_of_something_else_is_no_gpu(scan):
    claim = thing(
        "resource.k8s.io/v1",
        "ResourceClaimTemplate",
        "{spec: {devices: {requests: [{name: n, exactly: {deviceClassName: dranet}}]}}}",
    )
    pod = "{resourceClaims: [{name: n, resourceClaimTemplateName: x}], containers: [{name: c}]}"
    found = scan(f"{claim}---\n{thing('v1', 'Pod', pod)}")
    assert found.notes == ("1 other object with pods, without a GPU: left out",)


# --- autoscaling -------------------------------------------------------------------------------------------------


def deployment(replicas: str = "") -> str:
    return thing("apps/v1", "Deployment", f"{{{replicas} template: {{spec: {ONE}}}}}")


SCALED_OBJECT = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: s, namespace: a}\n"


@pytest.mark.parametrize(
    ("replicas", "bounds", "now", "most"),
    [
        ("", "minReplicaCount: 6, maxReplicaCount: 24", 6, 24),
        ("replicas: 9,", "minReplicaCount: 6, maxReplicaCount: 24", 9, 24),
        ("replicas: 0,", "maxReplicaCount: 24", 1, 24),
        ("", "minReplicaCount: 2", 2, 100),
    ],
)
def test_keda_tells_the_replicas_as_an_hpa_does(scan, tmp_path, replicas, bounds, now, most):
    text = f"{deployment(replicas)}---\n{SCALED_OBJECT}spec: {{scaleTargetRef: {{name: x}}, {bounds}}}\n"
    found = scan(text)
    (workload,) = found.workloads
    assert (workload.replicas, workload.most_replicas) == (now, most)
    assert f"planned for {now} (" in workload.notes[0]
    assert parse_workloads(parse_documents(dump(found).encode(), "w.yaml")) == found
    (at_peak,) = read(str(tmp_path), at="peak").workloads
    assert at_peak.replicas == most


def test_ray_and_kserve_scale_by_their_own_fields(scan):
    ray = thing(
        "ray.io/v1",
        "RayCluster",
        "{enableInTreeAutoscaling: true, workerGroupSpecs: [{groupName: g, replicas: 0, minReplicas: 0, "
        f"maxReplicas: 20, numOfHosts: 2, template: {{spec: {ONE}}}}}]}}",
    )
    kserve = thing(
        "serving.kserve.io/v1beta1",
        "InferenceService",
        f"{{predictor: {{minReplicas: 2, maxReplicas: 30, {ONE[1:-1]}}}}}",
    )
    found = scan(f"{ray}---\n{kserve}")
    assert [(each.name, each.replicas, each.most_replicas) for each in found.workloads] == [
        ("a/x-g", 2, 40),
        ("a/x-predictor", 2, 30),
    ]
    assert "between 0 and 20 replicas: planned for 1 (it may be none" in found.workloads[0].notes[0]


def test_knative_scales_by_annotations_of_its_template(scan):
    annotations = '{autoscaling.knative.dev/min-scale: "2", autoscaling.knative.dev/maxScale: "8"}'
    service = thing(
        "serving.knative.dev/v1",
        "Service",
        f"{{template: {{metadata: {{annotations: {annotations}}}, spec: {ONE}}}}}",
    )
    (workload,) = scan(service).workloads
    assert (workload.replicas, workload.most_replicas) == (2, 8)
    assert "autoscaled between 2 and 8 replicas: planned for 2 (the least" in workload.notes[0]


def test_a_ray_group_that_nothing_scales_stays_as_it_is(scan):
    ray = thing(
        "ray.io/v1",
        "RayCluster",
        "{workerGroupSpecs: [{groupName: g, replicas: 4, minReplicas: 4, maxReplicas: 9, "
        f"template: {{spec: {ONE}}}}}]}}",
    )
    (workload,) = scan(ray).workloads
    assert (workload.replicas, workload.most_replicas, workload.notes[0]) == (
        4,
        0,
        "it requests no CPU and no memory: a node may be filled beyond what it has",
    )


# --- pods that a program makes -----------------------------------------------------------------------------------


def bare(name: str, labels: Object, gpus: int = 1) -> str:
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "hub", "labels": labels},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": gpus}}}]},
    }
    return yaml.safe_dump(pod)


@pytest.mark.parametrize(
    ("names", "labels", "kind", "setting"),
    [
        (
            ("jupyter-ann", "jupyter-bo"),
            {"component": "singleuser-server"},
            "KubeSpawner",
            "extra_resource_limits",
        ),
        (("jupyter-ann", "jupyter-bo"), {}, "KubeSpawner", "profileList"),
        (("etl-1", "etl-2"), {"dag_id": "d", "task_id": "t"}, "Airflow", "KubernetesPodOperator"),
    ],
)
def test_pods_that_a_program_makes_are_one_workload_that_no_patch_changes(scan, names, labels, kind, setting):
    (workload,) = scan("---\n".join(bare(name, labels) for name in names)).workloads
    assert (workload.target.kind, workload.replicas) == (kind, 2)
    assert setting in workload.notes[-1]


def test_users_with_another_profile_are_another_workload(scan):
    labels = {"component": "singleuser-server"}
    found = scan(f"{bare('jupyter-ann', labels)}---\n{bare('jupyter-bo', labels, gpus=2)}")
    assert [(each.replicas, each.need.gpus) for each in found.workloads] == [(1, 1), (1, 2)]


def test_other_bare_pods_stay_what_they_are(scan):
    found = scan(f"{bare('a', {})}---\n{bare('b', {'app': 'b'})}")
    assert [(each.name, each.target.kind) for each in found.workloads] == [("hub/a", "Pod"), ("hub/b", "Pod")]
