"""What counts as a part of a GPU among the resources of nodes, overlays and pods, and how much of it there is."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.resource_names import METERED, WHOLE_GPU, is_gpu, is_mig, is_seat
from gpuslice.units import parse_quantity

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.cluster.client.objects import Node, Pod
    from gpuslice.workloads.objects import Quantity

_GPU_LABEL: Final = "nvidia.com/gpu"
_SHARED: Final = ".shared"
_UNCUT: Final = frozenset({"", "none"})


def is_slice(resource: str) -> bool:
    """Whether it is a GPU, a part of one, what metered GPUs are counted by, or a workload's place on a node."""
    return is_gpu(resource) or resource in METERED or is_seat(resource)


def seats_asked(pod: Pod) -> set[str]:
    """The seats that a pod asks for; Kubernetes has extended resources among the limits."""
    spec = pod.spec
    return {
        name
        for container in (*spec.containers, *spec.init_containers)
        for name in container.resources.limits
        if is_seat(name)
    }


def amount(quantity: Quantity) -> Fraction:
    """A quantity in its own unit (bytes, thousandths, pieces); nothing where it is none."""
    try:
        return parse_quantity(quantity)
    except InputError:
        return Fraction(0)


def sharing(node: Node, kind: InstanceType | None) -> str:
    """By what one sees that several pods get the same GPU of a node, in words; empty: by nothing.

    A device plugin may share GPUs without another name for them: then GPU Feature Discovery's labels tell, of which
    those before v0.15 don't name the strategy, or, without it, a node that offers more GPUs than it was bought with.

    Args:
        node: with or without GPUs.
        kind: of machine; None: not known.
    """
    for name, quantity in node.status.allocatable.items():
        if is_gpu(name) and name.endswith(_SHARED) and amount(quantity):
            return name
    labels = node.labels
    strategy = labels.get(f"{_GPU_LABEL}.sharing-strategy", "")
    if strategy in {"time-slicing", "mps"}:
        return f"{_GPU_LABEL}.sharing-strategy={strategy}"
    for key, value in sorted(labels.items()):
        resource = key.removesuffix(".replicas")
        known = resource == _GPU_LABEL or is_mig(resource)
        if resource != key and known and value.isdecimal() and int(value) > 1:
            return f"{key}={value}"
    product = labels.get(f"{_GPU_LABEL}.product", "")
    if product.endswith("-SHARED"):
        return f"{_GPU_LABEL}.product={product}"
    offered = amount(node.status.allocatable.get(WHOLE_GPU, "0"))
    cards = 0 if kind is None else kind.gpu_count
    if kind is not None and cards and offered >= 2 * cards and not offered % cards and _whole(node, kind):
        return f"{int(offered)} {WHOLE_GPU} on {kind.name}, which has {cards}"
    return ""


def _whole(node: Node, kind: InstanceType) -> bool:
    """Whether the GPUs of a node are surely not cut into MIG instances, which a node may offer as GPUs too."""
    return GPUS[kind.gpu].mig is None or (
        "nvidia.com/mig.config" not in node.labels
        and node.labels.get("nvidia.com/mig.strategy", "unknown") in _UNCUT
    )
