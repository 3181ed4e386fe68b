"""How much of a shared GPU a pod asked for: the memory and time that it names, or a slot's part of the memory.

Only of GPUs whose sharing is a promise: under time-slicing nothing enforces it, MPS and MIG do.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.cluster.seen.inventory import requests_of
from gpuslice.cluster.seen.offers import amount
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.resource_names import METERED, SHARED_GPU, is_seat
from gpuslice.units import MIB

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.cluster.client.objects import Node, Pod


def memory_asked(pod: Pod, node: Node, kind: InstanceType | None) -> int | None:
    """MiB of a shared GPU's memory that a pod asked for; None: it shares none, or that isn't a matter of memory.

    A slot is a part of the memory only in a pool of gpuslice's, which sizes it so: others share GPUs in slots without
    saying how much of it one may use. Nor does a seat say so, which stands for whatever its workload needs.

    Args:
        pod: on the node.
        node: that it runs on.
        kind: of machine; None: not known.
    """
    if METERED[0] in node.status.allocatable and (metered := _limit(pod, METERED[0])):
        return int(metered) // MIB
    slots = requests_of(pod).get(SHARED_GPU, 0)
    counted = METERED[0] in node.status.allocatable or any(is_seat(name) for name in node.status.allocatable)
    if not slots or kind is None or POOL_LABEL not in node.labels or counted:
        return None
    offered = amount(node.status.allocatable.get(SHARED_GPU, "0"))
    if node.labels.get("nvidia.com/gpu.sharing-strategy") == "mps" or not kind.gpu_count:
        return None
    replicas = int(offered) // kind.gpu_count
    return slots * (GPUS[kind.gpu].memory_mib // replicas) if replicas else None


def time_asked(pod: Pod) -> Fraction:
    """Thousandths of a GPU's time; nothing where it asks for none."""
    return _limit(pod, METERED[1])


def _limit(pod: Pod, resource: str) -> Fraction:
    return sum(
        (amount(container.resources.limits.get(resource, "0")) for container in pod.spec.containers),
        Fraction(0),
    )
