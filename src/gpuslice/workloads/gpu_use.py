"""Every way in which an object can use GPUs, found below any kind: known or not.

A plan needs a pod template that it understands. But what uses a GPU and can't be planned is named, never taken for an
object without one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import shorten
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.resource_names import SHARED_GPU, WHOLE_GPU, is_gpu
from gpuslice.units import parse_quantity
from gpuslice.workloads.annotations import PREFIX
from gpuslice.workloads.frameworks import server_in_image
from gpuslice.workloads.objects import Fields, fields_of
from gpuslice.workloads.use import Use

if TYPE_CHECKING:
    from gpuslice.workloads.claims import Claims

# Counts of pods, by the names that kinds have for them; the first that is there says how many.
_COUNTS: Final = ("replicas", "instances", "numNodes", "parallelism", "maxReplicaCount", "minReplicas")
_AMOUNTS: Final = ("quantity", "amount", "count")
_RESOURCES: Final = frozenset({"limits", "requests", "resources"})
# What speaks of GPUs without using one: where a pod may go, what there is, what it may cost, what was seen.
_ELSEWHERE: Final = frozenset(
    {"metadata", "status", "nodeSelector", "tolerations", "affinity", "taints", "capacity", "allocatable"}
    | {"hard", "labels", "annotations", "nodeAffinity", "topologySpreadConstraints"}
)
_NO_USERS: Final = frozenset(
    {"NodePool", "Provisioner", "EC2NodeClass", "NodeClass", "NodeOverlay", "NodeClaim", "ClusterPolicy"}
    | {"ResourceQuota", "LimitRange", "ClusterQueue", "LocalQueue", "Cohort", "ResourceFlavor", "Queue"}
    | {"Node", "DeviceClass", "ResourceSlice", "ResourceClaim", "ResourceClaimTemplate", "Topology"}
    | {"CustomResourceDefinition", "ConfigMap", "Secret", "Kustomization", "HorizontalPodAutoscaler"}
    | {"ScaledObject", "NodeFeatureRule", "NodeFeature", "PodGroup"}
    | {"ClusterServingRuntime", "ServingRuntime", "ClusterTrainingRuntime", "TrainingRuntime"}
    | {"PodTemplate", "ClusterPolicyReport", "PolicyReport", "ControllerRevision"}
)
"""Kinds that only describe GPUs, limit them, or serve as templates of others."""

_SPARK_AMOUNT: Final = re.compile(r"spark\.(?:executor|driver)\.resource\.gpu\.amount")
_OTHER_MAKERS: Final = re.compile(
    r"amd\.com/|gpu\.intel\.com/|intel\.com/|habana\.ai/|google\.com/|aws\.amazon\.com/|xilinx\.com/|huawei\.com/"
    r"|cambricon|enflame|metax|mthreads|iluvatar|hygon"
)
_NO_GPUS: Final = re.compile(r"nvidia\.com/.*(?:rdma|hostdev|sriov|mlnx|roce|bf[23]|imex)", re.IGNORECASE)
_NAMED_LIKE_GPUS: Final = re.compile(r"gpu|vcuda", re.IGNORECASE)

_A_SLIP: Final = 2  # letters more or fewer

_VISIBLE: Final = "NVIDIA_VISIBLE_DEVICES"
_SEES_NOTHING: Final = frozenset({"", "void", "none"})
# What runs on GPU nodes to serve GPUs to others, and sees them all on purpose.
_INFRASTRUCTURE: Final = re.compile(
    r"device-plugin|dcgm|gpu-feature-discovery|gpu-operator|mig-manager|k8s-driver|container-toolkit|vgpu-device|"
    r"mps-control|dra-driver|node-feature-discovery|(?:cuda|operator)-validator|nvidia/driver|kata-gpu|vfio-manager"
)


def uses(data: Fields, claims: Claims, namespace: str) -> tuple[Use, ...]:
    """All uses of GPUs below an object; none for kinds that only speak of them."""
    if str(data.get("kind")) in _NO_USERS:
        return ()
    return tuple(_Walk(claims, namespace).below(data, 1, ""))


def pod_uses(
    pod: Fields, pods: int, claims: Claims, namespace: str, *, servers: bool = True
) -> tuple[Use, ...]:
    """The uses of GPUs of a pod, however it comes to them.

    Args:
        pod: its spec.
        pods: how many there are of it.
        claims: of the input.
        namespace: of the pod.
        servers: whether an image of a server that runs on GPUs is use enough.
    """
    return tuple(_Walk(claims, namespace, servers).below(pod, pods, ""))


def looks_like_gpu(resource: str) -> bool:
    """Whether a resource that isn't known here is named like an NVIDIA GPU or a part of one."""
    if is_gpu(resource) or resource.startswith(PREFIX) or _OTHER_MAKERS.match(resource):
        return False
    if resource.startswith("nvidia.com/"):
        return _NO_GPUS.match(resource) is None
    return _NAMED_LIKE_GPUS.search(resource) is not None


def not_understood(resource: str) -> str:
    """Words for a resource that looks like a GPU and isn't known as one."""
    close = nearest(resource, (WHOLE_GPU, SHARED_GPU))
    if close and abs(len(resource) - len(WHOLE_GPU)) <= _A_SLIP:
        hint = f": {close}"
    elif resource.startswith("nvidia.com/"):
        hint = ": is it a name set in the device plugin's configuration?"
    else:
        hint = ""
    return f"{shorten(resource)} is not understood{hint}"


def quantity_of(resource: str, value: object) -> int:
    """How many of a resource are asked for, rounded up; 0 where it isn't a number, but 1 of a GPU."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return 0
    try:
        number = parse_quantity(value)
    except InputError:
        return 1 if is_gpu(resource) else 0  # whatever it says, it asks for some
    return max(0, -int(-number // 1))


@dataclass(frozen=True, slots=True)
class _Walk:
    claims: Claims
    namespace: str
    servers: bool = True

    def below(self, data: object, pods: int, key: str) -> Iterator[Use]:
        if isinstance(data, list):
            for entry in data:
                yield from self.below(entry, pods, key)
            return
        if not isinstance(data, dict):
            return
        pods *= _count(data)
        yield from _resources(data, pods, key)
        yield from _named(data, pods)
        is_pod = isinstance(data.get("containers"), list)
        limits = fields_of(data, "limits")
        inner: list[Use] = []
        for name, value in data.items():
            counted = value
            if name == "requests" and isinstance(value, dict):
                counted = {key: amount for key, amount in value.items() if key not in limits}
            if name not in _ELSEWHERE:
                inner += self.below(counted, pods, str(name))
        yield from _summed(inner) if is_pod else inner
        if isinstance(data.get("resourceClaims"), list):
            yield from self.claims.uses(data, pods, self.namespace)
        if (
            is_pod
            and not inner
            and not data.get("resourceClaims")
            and _takes_unasked(data, servers=self.servers)
        ):
            why = f"nothing counts it: ask for one in resources.limits, {WHOLE_GPU}: 1"
            yield Use("a GPU that isn't asked for", 0, pods, why)


def _count(data: Fields) -> int:
    for name in _COUNTS:
        value = data.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return 1


def _resources(data: Fields, pods: int, key: str) -> Iterator[Use]:
    """What a list of resources, limits or requests asks for."""
    for resource, value in data.items():
        name = str(resource)
        amount = 0 if isinstance(value, dict | list) else quantity_of(name, value)
        if not amount:
            continue
        if is_gpu(name):
            yield Use(name, amount, pods)
        elif key in _RESOURCES and looks_like_gpu(name) and "memory" not in name.lower():
            yield Use(shorten(name), amount, pods, not_understood(name))
        elif _SPARK_AMOUNT.fullmatch(name):
            yield Use(WHOLE_GPU, amount, pods)


def _named(data: Fields, pods: int) -> Iterator[Use]:
    """A resource by its name, with how many of it beside: as Spark's operator has it."""
    name = data.get("name") or data.get("resourceName")
    if isinstance(name, str) and is_gpu(name):
        amount = next((data[key] for key in _AMOUNTS if key in data), None)
        if amount is not None:
            yield Use(name, quantity_of(name, amount), pods)


def _summed(inner: list[Use]) -> Iterator[Use]:
    """The uses of a pod's containers together, each resource once; limits and requests of one aren't added."""
    totals: dict[str, Use] = {}
    for use in inner:
        before = totals.get(use.what)
        amount = use.amount + (before.amount if before else 0)
        totals[use.what] = Use(use.what, amount, use.pods, use.why)
    yield from totals.values()


def _takes_unasked(pod: Fields, *, servers: bool) -> bool:
    """Whether a pod that asks for no GPU will use one, where it finds one."""
    listed = [*_list(pod.get("containers")), *_list(pod.get("initContainers"))]
    containers = [fields_of(container) for container in listed]
    if any(_INFRASTRUCTURE.search(str(container.get("image", "")).lower()) for container in containers):
        return False
    # NVIDIA's runtime gives an image made for CUDA every GPU of the node.
    if str(pod.get("runtimeClassName", "")).startswith("nvidia"):
        return True
    return any(_sees_devices(container) or (servers and _serves(container)) for container in containers)


def _sees_devices(container: Fields) -> bool:
    return any(
        fields_of(variable).get("name") == _VISIBLE
        and str(fields_of(variable).get("value", "")).lower() not in _SEES_NOTHING
        for variable in _list(container.get("env"))
    )


def _serves(container: Fields) -> bool:
    """Whether it is a server that runs on GPUs only, and asks for no other accelerator."""
    resources = {
        str(name) for kind in ("limits", "requests") for name in fields_of(container, "resources", kind)
    }
    if any(_OTHER_MAKERS.match(name) for name in resources):
        return False
    return bool(server_in_image(str(container.get("image", ""))))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
