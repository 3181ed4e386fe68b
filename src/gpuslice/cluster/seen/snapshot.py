"""Everything about a cluster that scanning, the checks and status look at, at one moment, with types.

It comes from the API server or from a dump; who looks at it can't tell which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

import msgspec

from gpuslice.cluster.client import objects as live
from gpuslice.cluster.client.resources import (
    AUTO_NODE_CLASS,
    CLUSTER_POLICY,
    CONFIG_MAP,
    DAEMON_SET,
    DEPLOYMENT,
    NODE_CLAIM,
    NODE_CLASS,
    NODE_OVERLAY,
    NODE_POOL,
    Resource,
)
from gpuslice.hardware.resource_names import is_gpu
from gpuslice.workloads.objects import Metadata, convert
from gpuslice.workloads.owners import Object

T = TypeVar("T")

_KARPENTER_IMAGE: Final = "karpenter"
_OPERATOR_NAMES: Final = ("gpu-operator",)
_OF_THE_SAME_IMAGE: Final = ("mps-control-daemon", "gpu-feature-discovery")
"""DaemonSets of the GPU Operator and of NVIDIA's chart that run other programs of the device plugin's image."""
_PLUGIN_IMAGES: Final = ("k8s-device-plugin", "nvidia-device-plugin", "nvidia-gpu-device-plugin")


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that couldn't be read, and why; what depends on it is not known."""

    what: str
    why: str


@dataclass(frozen=True)
class Snapshot:
    """A cluster at one moment.

    Attributes:
        where: the context, or the dump's directory.
        taken: when, ISO 8601, UTC.
        version: of Kubernetes, "v1.35.4"; empty: not known.
        namespaces: those that were read; empty: all.
        served: kinds of CRDs that the API server serves, as "NodeOverlay.karpenter.sh".
        unread: what couldn't be read.
        pods, nodes: those of the namespaces, and all nodes.
        objects: everything else, as plain data.
    """

    where: str
    taken: str
    version: str = ""
    namespaces: tuple[str, ...] = ()
    served: frozenset[str] = frozenset()
    unread: tuple[Unread, ...] = ()
    pods: tuple[live.Pod, ...] = ()
    nodes: tuple[live.Node, ...] = ()
    objects: tuple[Object, ...] = ()

    def could_read(self, resource: Resource) -> bool:
        """Whether the absence of such objects means that there are none."""
        return all(unread.what != resource.title for unread in self.unread)

    def _typed(self, resource: Resource, kind: type[T]) -> tuple[T, ...]:
        return tuple(
            convert(object_.data, kind, object_.where)
            for object_ in self.objects
            if object_.kind == resource.kind
            and str(object_.data.get("apiVersion", "")).startswith(resource.group)
        )

    @cached_property
    def node_pools(self) -> tuple[live.NodePool, ...]:
        """Karpenter's NodePools."""
        return self._typed(NODE_POOL, live.NodePool)

    @cached_property
    def node_claims(self) -> tuple[live.NodeClaim, ...]:
        """Karpenter's NodeClaims."""
        return self._typed(NODE_CLAIM, live.NodeClaim)

    @cached_property
    def node_overlays(self) -> tuple[live.NodeOverlay, ...]:
        """Karpenter's NodeOverlays."""
        return self._typed(NODE_OVERLAY, live.NodeOverlay)

    @cached_property
    def node_classes(self) -> tuple[live.NodeClass, ...]:
        """The EC2NodeClasses."""
        return self._typed(NODE_CLASS, live.NodeClass)

    @cached_property
    def auto_mode(self) -> bool:
        """Whether EKS Auto Mode makes nodes here."""
        return any(obj.kind == AUTO_NODE_CLASS.kind for obj in self.objects) or any(
            node.labels.get("eks.amazonaws.com/compute-type") == "auto" for node in self.nodes
        )

    @cached_property
    def cluster_policies(self) -> tuple[live.ClusterPolicy, ...]:
        """The GPU Operator's ClusterPolicies."""
        return self._typed(CLUSTER_POLICY, live.ClusterPolicy)

    @cached_property
    def config_maps(self) -> Mapping[tuple[str, str], live.ConfigMap]:
        """Those that were read, by namespace and name."""
        maps = self._typed(CONFIG_MAP, live.ConfigMap)
        return {(config_map.metadata.namespace, config_map.metadata.name): config_map for config_map in maps}

    @cached_property
    def daemon_sets(self) -> tuple[live.Runner, ...]:
        """All DaemonSets that were read."""
        return self._typed(DAEMON_SET, live.Runner)

    @cached_property
    def karpenter(self) -> live.Runner | None:
        """The Deployment of Karpenter's controller."""
        return self._running(_KARPENTER_IMAGE)

    @cached_property
    def gpu_operator(self) -> live.Runner | None:
        """The Deployment of the GPU Operator."""
        return self._running(*_OPERATOR_NAMES)

    @cached_property
    def device_plugins(self) -> tuple[live.Runner, ...]:
        """The DaemonSets that run NVIDIA's device plugin."""
        return tuple(
            runner
            for runner in self.daemon_sets
            if not any(word in runner.metadata.name for word in _OF_THE_SAME_IMAGE)
            and (
                any(name in container.image for container in runner.pod.containers for name in _PLUGIN_IMAGES)
                or any(name in runner.metadata.name for name in _PLUGIN_IMAGES)
            )
        )

    @cached_property
    def gpu_pods(self) -> tuple[live.Pod, ...]:
        """Pods that ask for a GPU and haven't ended."""
        return tuple(pod for pod in self.pods if not pod.ended and asks_for_gpu(pod))

    @cached_property
    def claiming_pods(self) -> tuple[live.Pod, ...]:
        """Pods that claim devices, ask for no GPU otherwise, and haven't ended."""
        return tuple(
            pod for pod in self.pods if not pod.ended and pod.spec.resource_claims and not asks_for_gpu(pod)
        )

    @cached_property
    def pods_by_node(self) -> Mapping[str, tuple[live.Pod, ...]]:
        """Pods that haven't ended, by the node that they are bound to."""
        by_node: dict[str, list[live.Pod]] = {}
        for pod in self.pods:
            if pod.spec.node_name and not pod.ended:
                by_node.setdefault(pod.spec.node_name, []).append(pod)
        return {name: tuple(pods) for name, pods in by_node.items()}

    def _running(self, *words: str) -> live.Runner | None:
        for runner in self._typed(DEPLOYMENT, live.Runner):
            images = " ".join(container.image for container in runner.pod.containers)
            if any(word in images or runner.metadata.name == word for word in words):
                return runner
        return None


def asks_for_gpu(pod: live.Pod) -> bool:
    """Whether some container of it asks for a GPU or a part of one."""
    return any(
        is_gpu(name)
        for container in (*pod.spec.containers, *pod.spec.init_containers)
        for name in (*container.resources.limits, *container.resources.requests)
    )


def pod_objects(pods: Iterable[live.Pod], where: str) -> list[Object]:
    """Pods as the workloads' reader takes them: plain data, the same spec shared by all that have it."""
    specs: dict[bytes, object] = {}
    objects = []
    for pod in pods:
        text = msgspec.json.encode(msgspec.structs.replace(pod.spec, node_name=""))
        if text not in specs:
            specs[text] = msgspec.json.decode(text)
        data = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": msgspec.json.decode(msgspec.json.encode(pod.metadata)),
            "spec": specs[text],
            "status": {"phase": pod.status.phase},
        }
        objects.append(object_of(data, where))
    return objects


def object_of(data: Mapping[str, object], where: str) -> Object:
    """Plain data as an object with its metadata."""
    kind = str(data.get("kind", ""))
    metadata = convert(data.get("metadata") or {}, Metadata, f"{where}: {kind}")
    return Object(data, metadata, kind, metadata.namespace, where)


def objects_of(items: Iterable[Mapping[str, object]], where: str) -> tuple[Object, ...]:
    """Plain data of many objects, each with its metadata."""
    return tuple(object_of(item, where) for item in items)
