"""A workload's patch changes its GPU request, node selector, tolerations and memory limit, and nothing else."""

import copy
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.errors import InputError
from gpuslice.plan.artefact import Layout
from gpuslice.render.manifests import render
from gpuslice.render.patches import patch
from tests.render.apply_patch import apply_patch
from tests.render.plans import (
    CATALOG,
    METERED_500,
    SETTINGS,
    SHARED,
    TS4,
    VLLM,
    WHOLE,
    assignment,
    plan,
    pool,
)

OWN = {"key": "gpuslice.io/pool", "operator": "Equal", "value": "p", "effect": "NoSchedule"}
SPOT = {"key": "spot", "operator": "Exists"}


def made(target, layout=TS4, resource=SHARED, **more) -> Any:
    return patch(
        assignment("ns/name", "p", resource, target=target, **more),
        msgspec.convert(layout, Layout),
        "name",
        "ns",
    )


def pod_of(limits, requests=None, **more) -> Any:
    resources = {"limits": limits} | ({"requests": requests} if requests else {})
    main = {"name": "main", "image": "i", "resources": resources, "args": ["--a"]}
    return {"containers": [{"name": "proxy", "image": "p"}, main], "serviceAccountName": "sa"} | more


def deployment(pod) -> Any:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "name", "namespace": "ns"},
        "spec": {"replicas": 3, "template": {"spec": pod}},
    }


def notebook(pod) -> Any:
    return {"apiVersion": "kubeflow.org/v1", "kind": "Notebook", "spec": {"template": {"spec": pod}}}


NOTEBOOK = {
    "kind": "Notebook",
    "apiVersion": "kubeflow.org/v1",
    "podSpec": "/spec/template/spec",
    "containerIndex": 1,
}
# The same pods as a built-in kind, whose container is found by name, and as a custom resource.
KINDS = pytest.mark.parametrize(
    ("kind", "target"),
    [(deployment, {"container": "main"}), (notebook, NOTEBOOK)],
    ids=["merge", "operations"],
)


@KINDS
def test_the_gpu_request_becomes_the_slices_and_nothing_else_changes(kind, target):
    today = kind(pod_of({"nvidia.com/gpu": 1, "memory": "4Gi"}))
    expected = copy.deepcopy(today)
    pod = expected["spec"]["template"]["spec"]
    pod["containers"][1]["resources"]["limits"] = {"memory": "4Gi", "nvidia.com/gpu.shared": "1"}
    pod |= {"nodeSelector": {"gpuslice.io/pool": "p"}, "tolerations": [OWN]}
    after = apply_patch(today, made(target))
    if after["spec"]["template"]["spec"]["containers"][1]["resources"].get("requests") == {}:
        del after["spec"]["template"]["spec"]["containers"][1]["resources"]["requests"]
    assert after == expected


@KINDS
def test_a_request_beside_the_limit_goes_too(kind, target):
    today = kind(pod_of({"nvidia.com/gpu": 1}, {"nvidia.com/gpu": 1, "cpu": 1}))
    after = apply_patch(today, made({**target, "gpuRequests": [WHOLE]}))
    resources = after["spec"]["template"]["spec"]["containers"][1]["resources"]
    assert resources == {"limits": {"nvidia.com/gpu.shared": "1"}, "requests": {"cpu": 1}}


@KINDS
def test_what_a_workload_has_of_an_earlier_slice_goes_too(kind, target):
    today = kind(pod_of({"nvidia.com/mig-1g.5gb": 1}, {"nvidia.com/mig-1g.5gb": 1}))
    mig = "nvidia.com/mig-1g.5gb"
    after = apply_patch(today, made({**target, "gpuLimits": [mig], "gpuRequests": [mig]}))
    resources = after["spec"]["template"]["spec"]["containers"][1]["resources"]
    assert resources == {"limits": {"nvidia.com/gpu.shared": "1"}, "requests": {}}


@KINDS
@pytest.mark.parametrize("today_requests", [None, {"nvidia.com/gpu": 8}])
def test_whole_gpus_stay_whole_gpus(kind, target, today_requests):
    today = kind(pod_of({"nvidia.com/gpu": 8}, today_requests))
    present = [WHOLE] if today_requests else []
    after = apply_patch(
        today,
        made({**target, "gpuRequests": present}, {"gpu": "L4", "mechanism": "whole"}, WHOLE, count=4),
    )
    resources = after["spec"]["template"]["spec"]["containers"][1]["resources"]
    # Which container asks for how many is not the patch's affair.
    assert resources["limits"] == {"nvidia.com/gpu": 8}
    assert resources.get("requests") == today_requests


@KINDS
def test_a_metered_workload_asks_for_memory_and_time(kind, target):
    today = kind(pod_of({"nvidia.com/gpu": 1}))
    after = apply_patch(today, made(target, METERED_500, gpuMemory="6Gi", gpuTime=180))
    assert after["spec"]["template"]["spec"]["containers"][1]["resources"]["limits"] == {
        "nvidia.com/gpu.shared": "1",
        "gpuslice.io/gpu-memory": "6Gi",
        "gpuslice.io/gpu-time": "180",
    }


@KINDS
def test_what_pinned_todays_machines_goes_and_the_rest_of_the_selector_stays(kind, target):
    pin = "node.kubernetes.io/instance-type"
    today = kind(pod_of({"nvidia.com/gpu": 1}, nodeSelector={pin: "g5.xlarge", "team": "a"}))
    after = apply_patch(today, made({**target, "dropNodeSelector": [pin], "hasNodeSelector": True}))
    assert after["spec"]["template"]["spec"]["nodeSelector"] == {"team": "a", "gpuslice.io/pool": "p"}


@KINDS
def test_todays_tolerations_survive_though_the_list_is_replaced(kind, target):
    seconds = {
        "key": "down",
        "operator": "Equal",
        "value": "x",
        "effect": "NoExecute",
        "tolerationSeconds": 30,
    }
    everything = {"operator": "Exists"}
    stale = {**OWN, "value": "old-pool"}
    today = [SPOT, seconds, everything, stale]
    after = apply_patch(
        kind(pod_of({"nvidia.com/gpu": 1}, tolerations=today)), made({**target, "tolerations": today})
    )
    assert after["spec"]["template"]["spec"]["tolerations"] == [SPOT, seconds, everything, OWN]


@KINDS
def test_the_frameworks_limit_is_set_in_the_gpu_container(kind, target):
    today = kind(pod_of({"nvidia.com/gpu": 1}))
    after = apply_patch(today, made({**target, "framework": VLLM}, memoryLimit="5600Mi"))
    proxy, main = after["spec"]["template"]["spec"]["containers"]
    assert main["args"] == ["--model", "m", "--port=8000", "--gpu-memory-utilization=0.24"]
    assert proxy == {"name": "proxy", "image": "p"}


@KINDS
@pytest.mark.parametrize("env", [None, [{"name": "A", "value": "b"}]])
def test_a_limit_by_variable_joins_the_others(kind, target, env):
    pod = pod_of({"nvidia.com/gpu": 1})
    if env:
        pod["containers"][1]["env"] = env
    jax = {"name": "jax", "limit": "environment"}
    after = apply_patch(
        kind(pod), made({**target, "framework": jax, "hasEnv": bool(env)}, memoryLimit="5600Mi")
    )
    assert after["spec"]["template"]["spec"]["containers"][1]["env"] == [
        *(env or []),
        {"name": "XLA_PYTHON_CLIENT_MEM_FRACTION", "value": "0.24"},
    ]


def test_a_sidecar_among_the_init_containers_is_found_there():
    pod = pod_of({})
    pod["initContainers"] = [pod["containers"].pop()]
    pod["initContainers"][0]["resources"]["limits"] = {"nvidia.com/gpu": 1}
    after = apply_patch(deployment(pod), made({"container": "main", "containerPath": "/initContainers/0"}))
    limits = after["spec"]["template"]["spec"]["initContainers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/gpu.shared": "1"}


def test_a_model_of_kserve_is_found_at_its_own_place():
    today = {"spec": {"predictor": {"model": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}}}
    target = {
        "kind": "InferenceService",
        "apiVersion": "serving.kserve.io/v1beta1",
        "podSpec": "/spec/predictor",
        "containerPath": "/model",
    }
    after = apply_patch(today, made(target))
    assert after["spec"]["predictor"]["model"]["resources"]["limits"] == {"nvidia.com/gpu.shared": "1"}
    assert after["spec"]["predictor"]["nodeSelector"] == {"gpuslice.io/pool": "p"}


def test_a_container_without_a_known_name_is_patched_by_its_place():
    assert isinstance(made({}), list)


def test_a_kind_whose_pods_are_nowhere_known_is_refused():
    with pytest.raises(InputError, match="where a Widget keeps"):
        made({"kind": "Widget", "apiVersion": "example.com/v1"})


keys = st.sampled_from(["nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.5gb"])


@given(
    limits=st.sets(keys, min_size=1),
    requested=st.booleans(),
    selector=st.dictionaries(st.sampled_from(["a", "b/c", "d~e"]), st.just("x")),
    dropped=st.integers(0, 3),
    custom=st.booleans(),
)
def test_after_the_patch_the_pod_asks_for_its_slice_and_for_no_other_gpu(
    limits, requested, selector, dropped, custom
):
    amounts = dict.fromkeys(limits, 1)
    more = {"nodeSelector": selector} if selector else {}
    pod = pod_of(amounts | {"memory": "1Gi"}, amounts if requested else None, **more)
    target = (NOTEBOOK if custom else {"container": "main"}) | {
        "gpuLimits": sorted(limits),
        "gpuRequests": sorted(limits) if requested else [],
        "hasNodeSelector": bool(selector),
        "dropNodeSelector": sorted(selector)[:dropped],
    }
    after = apply_patch((notebook if custom else deployment)(pod), made(target))
    pod = after["spec"]["template"]["spec"]
    assert pod["containers"][1]["resources"]["limits"] == {"memory": "1Gi", "nvidia.com/gpu.shared": "1"}
    assert not pod["containers"][1]["resources"].get("requests")
    assert pod["nodeSelector"] == dict.fromkeys(sorted(selector)[dropped:], "x") | {"gpuslice.io/pool": "p"}


# Which workloads get one, and where it goes.


def files(*assignments) -> Any:
    pools = (pool("p", TS4, ("g6.xlarge",)), pool("q", TS4, ("g6.2xlarge",)))
    return {
        path: text
        for path, text in render(plan(pools, assignments), CATALOG, SETTINGS).items()
        if path.startswith("workloads/")
    }


def test_the_component_targets_each_object_by_group_kind_name_and_namespace():
    written = files(
        assignment("a-b/c.d", "p", SHARED, target={"container": "x"}),
        assignment("a/b-c.d", "p", SHARED, target={"container": "x", "kind": "Pod"}, replicas=1),
        assignment("a/ray-workers", "p", SHARED, target={"kind": "RayCluster", "apiVersion": "ray.io/v1", "name": "ray",
                   "podSpec": "/spec/workerGroupSpecs/0/template/spec"}),
    )  # fmt: skip
    component = yaml.safe_load(written["workloads/kustomization.yaml"])
    assert component["patches"] == [
        {
            "path": "a-b.c.d.yaml",
            "target": {"group": "apps", "kind": "Deployment", "name": "c\\.d", "namespace": "a-b"},
        },
        {
            "path": "a.b-c.d.yaml",
            "target": {"version": "v1", "kind": "Pod", "name": "b-c\\.d", "namespace": "a"},
        },
        {
            "path": "a.ray-workers.yaml",
            "target": {"group": "ray.io", "kind": "RayCluster", "name": "ray", "namespace": "a"},
        },
    ]
    assert {f"workloads/{each['path']}" for each in component["patches"]} | {
        "workloads/kustomization.yaml"
    } == set(written)


@pytest.mark.parametrize(
    ("assignments", "reason"),
    [
        (
            [
                assignment("a/b", "p", SHARED, target={"kind": "Pod"}, replicas=1),
                assignment("a/b", "q", SHARED, target={"kind": "Pod"}, replicas=1),
            ],
            "several pools",
        ),
        ([assignment("openb/pod-1", "p", SHARED, target={"kind": "Pod"}, replicas=7)], "several bare pods"),
        (
            [assignment("hub/jupyter-users", "p", SHARED, target={"kind": "KubeSpawner"}, replicas=4)],
            "let them ask for nvidia.com/gpu.shared: 1, select nodes by gpuslice.io/pool: p and tolerate",
        ),
        ([assignment("../../etc/passwd", "p", SHARED, target={"container": "x"})], "its name is none"),
        ([assignment("Trace/Task_1", "p", SHARED)], "its name is none"),
        ([assignment("a/b", "p", SHARED, target={"kind": "Widget", "podSpec": "/spec"})], "API version"),
    ],
)
def test_what_cannot_be_patched_is_listed_with_the_reason(assignments, reason):
    written = files(*assignments)
    assert list(written) == ["workloads/unpatched.txt"]
    assert written["workloads/unpatched.txt"].count(reason) == len(assignments)


def test_a_framework_that_cannot_be_limited_is_refused_by_the_workloads_name():
    triton = {"container": "x", "framework": {"name": "triton"}}
    with pytest.raises(InputError, match=r"^a/b: triton takes most of the GPU memory"):
        files(assignment("a/b", "p", SHARED, target=triton))


def test_a_limit_that_only_the_program_can_set_is_said():
    written = files(assignment("a/b", "p", SHARED, target={"container": "x"}, memoryLimit="5600Mi"))
    assert "Nothing keeps it to 5600Mi" in written["workloads/a.b.yaml"]


SERVED = {
    "demand": 25,
    "unit": "requests/s",
    "throughput": 10,
    "latencyMs": 20,
    "limitMs": 45,
    "batch": 4,
    "processes": 1,
}
ROLLOUT = {
    "kind": "Rollout",
    "apiVersion": "argoproj.io/v1alpha1",
    "podSpec": "/spec/template/spec",
    "containerIndex": 1,
}


@pytest.mark.parametrize("target", [{"container": "main"}, ROLLOUT], ids=["merge", "operations"])
def test_replicas_are_set_where_the_plan_chose_them_and_nowhere_else(target):
    today = deployment(pod_of({"nvidia.com/gpu": 1}))
    sized = apply_patch(today, made(target, replicas=5, service=SERVED))
    assert sized["spec"]["replicas"] == 5
    assert apply_patch(today, made(target, replicas=5))["spec"]["replicas"] == 3
    del sized["spec"]["replicas"], today["spec"]["replicas"]
    assert sized == apply_patch(today, made(target, replicas=5))


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PRESENT = {"key": "nvidia.com/gpu.present", "operator": "Exists"}
TEAM = {"key": "team", "operator": "In", "values": ["vision"]}


@pytest.mark.parametrize("kind", ["Deployment", "Rollout"])
@pytest.mark.parametrize(
    ("left", "after"),
    [
        ([], {"preferredDuringSchedulingIgnoredDuringExecution": []}),
        (
            [[TEAM]],
            {
                "preferredDuringSchedulingIgnoredDuringExecution": [],
                REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [TEAM]}]},
            },
        ),
    ],
)
def test_of_the_affinity_only_required_terms_change_whatever_kind_of_patch_it_is(kind, left, after):
    node_affinity = {
        "preferredDuringSchedulingIgnoredDuringExecution": [],
        REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [TEAM, PRESENT]}]},
    }
    near = {"podAffinity": {"x": 1}}
    pod = pod_of({"nvidia.com/gpu": 1}, affinity={"nodeAffinity": node_affinity} | near)
    target = {"kind": kind, "container": "main", "containerIndex": 1, "patchedAffinity": left}
    target |= {"nodeAffinity": [[TEAM, PRESENT]]} | (
        {"apiVersion": "argoproj.io/v1alpha1"} if kind == "Rollout" else {}
    )
    changed = apply_patch(deployment(pod), made(target))["spec"]["template"]["spec"]
    assert changed["affinity"] == {"nodeAffinity": after} | near
