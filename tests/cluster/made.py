"""Objects of a cluster, made short: what a test says of them is what matters to it."""

from gpuslice.cluster.client import objects as live
from gpuslice.cluster.seen.snapshot import Snapshot, objects_of
from gpuslice.workloads.objects import convert


def metadata(name, namespace="", *, labels=None, annotations=None, owner=None):
    made = {"name": name, "uid": f"uid-{namespace}-{name}", "labels": labels or {}}
    if namespace:
        made["namespace"] = namespace
    if annotations:
        made["annotations"] = annotations
    if owner:
        kind, owner_name = owner
        made["ownerReferences"] = [
            {"apiVersion": "apps/v1", "kind": kind, "name": owner_name, "controller": True, "uid": "x"}
        ]
    return made


def pod_spec(
    asks=None, *, node="", selector=None, tolerations=(), env=(), args=(), image="shop/app:1", more=()
):
    container = {
        "name": "main",
        "image": image,
        "args": list(args),
        "env": list(env),
        "resources": {"limits": dict(asks or {}), "requests": {"cpu": "1", "memory": "1Gi"}},
    }
    spec = {
        "containers": [container, *more],
        "nodeSelector": dict(selector or {}),
        "tolerations": list(tolerations),
    }
    return spec | ({"nodeName": node} if node else {})


def deployment(
    name="search", namespace="shop", *, asks=None, replicas=1, annotations=None, labels=None, **spec
):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(name, namespace, annotations=annotations, labels=labels),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(asks, **spec)},
        },
    }


def pod(
    name="search-1",
    namespace="shop",
    *,
    asks=None,
    owner=None,
    phase="Running",
    conditions=(),
    labels=None,
    **spec,
):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, namespace, owner=owner, labels=labels),
        "spec": pod_spec(asks, **spec),
        "status": {"phase": phase, "conditions": list(conditions)},
    }


def node(name="n1", instance_type="g5.xlarge", *, labels=None, capacity=None, allocatable=None, taints=()):
    offered = {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"} if capacity is None else capacity
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata(
            name,
            labels={
                "node.kubernetes.io/instance-type": instance_type,
                "topology.kubernetes.io/region": "us-east-1",
                "karpenter.sh/capacity-type": "on-demand",
            }
            | (labels or {}),
        ),
        "spec": {"taints": list(taints)},
        "status": {"capacity": offered, "allocatable": offered if allocatable is None else allocatable},
    }


def snapshot(*objects, **fields):
    """A snapshot of plain objects."""
    rest = [each for each in objects if each["kind"] not in {"Pod", "Node"}]
    served = {f"{each['kind']}.{each['apiVersion'].rpartition('/')[0]}" for each in rest}
    return Snapshot(
        where="test",
        taken="2026-11-23T00:00:00+00:00",
        version="v1.35.4",
        served=frozenset(served | set(fields.pop("served", ()))),
        pods=tuple(convert(each, live.Pod, "test") for each in objects if each["kind"] == "Pod"),
        nodes=tuple(convert(each, live.Node, "test") for each in objects if each["kind"] == "Node"),
        objects=objects_of(rest, "test"),
        **fields,
    )
