"""The labels that a node has by its machine and how that is bought, as Karpenter and AWS give them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.gpus import GPUS

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType

_NAME: Final = re.compile(r"([a-z]+)(\d+)[^.]*\.(.+)")
_PREFIX: Final = "karpenter.k8s.aws/instance-"
_AUTO_MODE: Final = "eks.amazonaws.com/instance-"
_NODE_GROUPS: Final = {
    Purchase.ON_DEMAND: "ON_DEMAND",
    Purchase.SPOT: "SPOT",
    Purchase.RESERVED: "CAPACITY_BLOCK",
}


def machine_labels(kind: InstanceType) -> dict[str, str]:
    """Labels by which Karpenter's pools and pods choose an instance type, its name and how it is bought apart.

    Left out is what the catalog doesn't know: bandwidths, the CPU's maker, the hypervisor.
    """
    labels = {
        "kubernetes.io/arch": kind.arch,
        "kubernetes.io/os": "linux",
        f"{_PREFIX}family": kind.family,
        f"{_PREFIX}cpu": str(kind.vcpu),
        f"{_PREFIX}memory": str(kind.memory_mib),
        f"{_PREFIX}gpu-count": str(kind.gpu_count),
        f"{_PREFIX}gpu-manufacturer": "nvidia",
        f"{_PREFIX}gpu-memory": str(kind.gpu_memory_mib),
        f"{_PREFIX}gpu-name": GPUS[kind.gpu].instance_gpu_name,
    }
    parts = _NAME.fullmatch(kind.name)
    if parts is not None:
        category, generation, size = parts.groups()
        labels |= {
            f"{_PREFIX}category": category,
            f"{_PREFIX}generation": generation,
            f"{_PREFIX}size": size,
        }
    if kind.local_storage_gb:
        labels[f"{_PREFIX}local-nvme"] = str(kind.local_storage_gb)
    return labels


def node_labels(kind: InstanceType, purchase: Purchase, region: str) -> dict[str, str | None]:
    """All that is certain of a node before it is there; None: a label that other machines have, and this one hasn't."""
    return {
        f"{_PREFIX}local-nvme": None,
        **machine_labels(kind),
        "beta.kubernetes.io/arch": kind.arch,
        "beta.kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": kind.name,
        "beta.kubernetes.io/instance-type": kind.name,
        "karpenter.sh/capacity-type": purchase.value,
        "topology.kubernetes.io/region": region,
        "failure-domain.beta.kubernetes.io/region": region,
    }


def node_facts(kind: InstanceType, purchase: Purchase, region: str) -> dict[str, str | None]:
    """What `node_labels` says, also by the names that EKS and GPU Feature Discovery have for it on their nodes."""
    labels = node_labels(kind, purchase, region)
    major, minor = GPUS[kind.gpu].compute_capability
    return {
        **labels,
        **{
            _AUTO_MODE + key.removeprefix(_PREFIX): value
            for key, value in labels.items()
            if key.startswith(_PREFIX)
        },
        "eks.amazonaws.com/capacityType": _NODE_GROUPS[purchase],
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.count": str(max(kind.gpu_count, 1)),
        "nvidia.com/gpu.compute.major": str(major),
        "nvidia.com/gpu.compute.minor": str(minor),
    }
