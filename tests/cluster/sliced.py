"""A healthy cluster that slices GPUs, and ways to break it: one part changed, everything else as it should be."""

import copy

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.carriers.objects.naming import content_name
from tests.cluster.made import deployment, metadata, node, pod, snapshot

TS4 = {
    "version": "v1",
    "flags": {"migStrategy": "none"},
    "sharing": {
        "timeSlicing": {"renameByDefault": True, "resources": [{"name": "nvidia.com/gpu", "replicas": 4}]}
    },
}
MPS4 = {"version": "v1", "sharing": {"mps": {"renameByDefault": True}}}
MIG = {"version": "v1", "flags": {"migStrategy": "mixed"}}
KEY = content_name("l4-ts4", dump_yaml(TS4))
MPS_KEY = content_name("l4-mps4", dump_yaml(MPS4))
MIG_KEY = content_name("mig-mixed", dump_yaml(MIG))
MIG_NAME = "h100-7x1g.10gb-abc123"
TOLERATION = {"key": "gpuslice.io/pool", "operator": "Exists", "effect": "NoSchedule"}
ONE = {"nvidia.com/gpu.shared": "1"}
SEAT = "gpuslice.io/seat-search.search"
SEATS = {
    "nvidia.com/gpu": "0",
    "nvidia.com/gpu.shared": "4",
    SEAT: "3",
    "gpuslice.io/seat-vision.tagger": "1",
}
"""What a node of a pool with seats offers."""
METERED = {
    "nvidia.com/gpu": "0",
    "nvidia.com/gpu.shared": "16",
    "gpuslice.io/gpu-memory": "22Gi",
    "gpuslice.io/gpu-time": "704",
}
"""What a node of a metered pool offers."""
ASKS = {"nvidia.com/gpu.shared": "1", "gpuslice.io/gpu-memory": "6Gi", "gpuslice.io/gpu-time": "180"}
"""What a pod on it asks for."""


def node_pool(name="l4-ts4", *, types=("g6.xlarge", "g6.2xlarge"), labels=None, taint=True, node_class="gpu"):
    taints = [{"key": "gpuslice.io/pool", "value": name, "effect": "NoSchedule"}] if taint else []
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": metadata(name),
        "spec": {
            "template": {
                "metadata": {
                    "labels": {"gpuslice.io/pool": name, "nvidia.com/device-plugin.config": KEY}
                    | (labels or {})
                },
                "spec": {
                    "requirements": [
                        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(types)}
                    ],
                    "taints": taints,
                    "nodeClassRef": {
                        "group": "karpenter.k8s.aws",
                        "kind": "EC2NodeClass",
                        "name": node_class,
                    },
                },
            }
        },
    }


def overlay(name="l4-ts4-1gpu", *, pools=("l4-ts4",), capacity=None, weight=1000, more=(), status=None):
    scope = [{"key": "karpenter.sh/nodepool", "operator": "In", "values": list(pools)}] if pools else []
    said = {"type": "ValidationSucceeded", "status": "True"} if status is None else status
    return {
        "apiVersion": "karpenter.sh/v1alpha1",
        "kind": "NodeOverlay",
        "metadata": metadata(name),
        "spec": {
            "weight": weight,
            "requirements": [*scope, *more],
            "capacity": {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "4"}
            if capacity is None
            else capacity,
        },
        "status": {"conditions": [said] if said else []},
    }


def node_class(name="gpu", *, alias="al2023@v20260801", size="200Gi", **spec):
    volumes = [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": size}}] if size else []
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": metadata(name),
        "spec": {"amiSelectorTerms": [{"alias": alias}], "blockDeviceMappings": volumes, **spec},
    }


def cluster_policy(**spec):
    made = {
        "driver": {"enabled": False},
        "devicePlugin": {"config": {"name": "gpuslice-device-plugin", "default": "default"}},
        "migManager": {"config": {"name": "gpuslice-mig-parted", "default": "all-disabled"}},
        "daemonsets": {"tolerations": [TOLERATION]},
    }
    return {
        "apiVersion": "nvidia.com/v1",
        "kind": "ClusterPolicy",
        "metadata": metadata("cluster-policy"),
        "spec": made | spec,
    }


def config_map(name="gpuslice-device-plugin", data=None):
    entries = {
        "default": dump_yaml(MIG),
        KEY: dump_yaml(TS4),
        MIG_KEY: dump_yaml(MIG),
        MPS_KEY: dump_yaml(MPS4),
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, "gpu-operator"),
        "data": entries if data is None else data,
    }


def mig_map():
    entries: dict[str, list[object]] = {"all-disabled": [], MIG_NAME: []}
    return config_map(
        "gpuslice-mig-parted", {"config.yaml": dump_yaml({"version": "v1", "mig-configs": entries})}
    )


def karpenter(gates="NodeOverlay=true", image="public.ecr.aws/karpenter/controller:1.14.1", args=()):
    env = [{"name": "FEATURE_GATES", "value": gates}] if gates is not None else []
    return deployment("karpenter", "kube-system", image=image, env=env, args=args)


def daemon_set(
    name, namespace="gpu-operator", *, image="nvcr.io/nvidia/k8s-device-plugin:v0.20.0", tolerations=()
):
    made = deployment(name, namespace, image=image, tolerations=tolerations)
    return made | {"kind": "DaemonSet"}


def plugin_pod(name, owner, on):
    return pod(name, "gpu-operator", owner=("DaemonSet", owner), node=on)


def sliced_node(
    name="n1", *, pool="l4-ts4", allocatable=None, labels=None, created="2026-11-22T00:00:00Z", **fields
):
    made = node(
        name,
        "g6.xlarge",
        labels={
            "karpenter.sh/nodepool": pool,
            "gpuslice.io/pool": pool,
            "nvidia.com/device-plugin.config": KEY,
        }
        | (labels or {}),
        capacity={"nvidia.com/gpu.shared": "4"},
        allocatable={"cpu": "4", "nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "4"}
        if allocatable is None
        else allocatable,
        **fields,
    )
    made["metadata"]["creationTimestamp"] = created
    return made


def sliced_pod(name="search-1", namespace="search", *, pool="l4-ts4", asks=None, on="n1", **fields):
    fields.setdefault("tolerations", [TOLERATION])
    return pod(
        name,
        namespace,
        asks=ONE if asks is None else asks,
        selector={"gpuslice.io/pool": pool},
        node=on,
        **fields,
    )


def claiming(name, namespace="search", *, template="one", on="", **fields):
    """A pod that claims a GPU, and waits unless it is on a node."""
    made = pod(name, namespace, node=on, **fields)
    made["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": template}]
    return made


def claim_template(name="one", device_class="gpu.nvidia.com", namespace="search"):
    request = {"name": "gpu", "exactly": {"deviceClassName": device_class}}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": metadata(name, namespace),
        "spec": {"spec": {"devices": {"requests": [request]}}},
    }


def seated_pod(name="search-1", namespace="search", *, seat=SEAT, **fields):
    """A pod that goes wherever there is a seat for it."""
    made = sliced_pod(name, namespace, asks=ONE | {seat: "1"}, **fields)
    del made["spec"]["nodeSelector"]["gpuslice.io/pool"]
    return made


def seated():
    """The parts of a healthy cluster whose pool has seats."""
    return {
        "overlay": overlay(capacity=SEATS),
        "node": sliced_node(allocatable=SEATS),
        "pod": seated_pod(),
        "other": seated_pod("tagger-1", seat="gpuslice.io/seat-vision.tagger"),
    }


def healthy():
    """By name, so that a test can replace a part."""
    return {
        "karpenter": karpenter(),
        "pool": node_pool(),
        "overlay": overlay(),
        "class": node_class(),
        "policy": cluster_policy(),
        "plugin config": config_map(),
        "mig config": mig_map(),
        "plugin": daemon_set("nvidia-device-plugin-daemonset", tolerations=[TOLERATION]),
        "nfd": daemon_set(
            "gpu-operator-node-feature-discovery-worker", image="nfd:v0.19.0", tolerations=[TOLERATION]
        ),
        "node": sliced_node(),
        "plugin pod": plugin_pod("plugin-1", "nvidia-device-plugin-daemonset", "n1"),
        # The GPU Operator runs it from the device plugin's image.
        "discovery": daemon_set("gpu-feature-discovery", tolerations=[TOLERATION]),
        "discovery pod": plugin_pod("gpu-feature-discovery-1", "gpu-feature-discovery", "n1"),
        "pod": sliced_pod(),
    }


def cluster(changes=None, **fields):
    """The healthy cluster with parts replaced, added, or, where None, left out."""
    parts = healthy() | (changes or {})
    return snapshot(*(copy.deepcopy(each) for each in parts.values() if each is not None), **fields)
