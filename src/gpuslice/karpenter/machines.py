"""Instance types of the catalog, as Karpenter's AWS provider describes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.allocatable import machine_memory_mib
from gpuslice.hardware.resource_names import WHOLE_GPU
from gpuslice.karpenter.model import CPU, MEMORY, PODS, InstanceType, Offering
from gpuslice.karpenter.requirements import ARCH, OS, Requirement, among

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.cloud import catalog

_NAME: Final = re.compile(r"([a-z]+)(\d+)[^.]*\.(.+)")
_PREFIX: Final = "karpenter.k8s.aws/instance-"


def machine(
    kind: catalog.InstanceType,
    zones: Sequence[str] = ("a",),
    *,
    missing: Iterable[tuple[str, str, str]] = (),
) -> InstanceType:
    """An instance type with all its offerings: each purchase that has a price, in each zone.

    Args:
        kind: of the catalog. CPU is in milli-CPU, memory in MiB.
        zones: of the cluster's subnets.
        missing: (instance type, purchase, zone) that EC2 is out of.
    """
    unavailable = set(missing)
    gpus = {WHOLE_GPU: kind.gpu_count} if kind.gpu_count else {}
    memory = machine_memory_mib(kind.memory_mib, kind.arch)
    return InstanceType(
        name=kind.name,
        capacity={CPU: kind.vcpu * 1000, MEMORY: memory, PODS: kind.max_pods, **gpus},
        overhead={
            CPU: kind.vcpu * 1000 - kind.allocatable_cpu_milli,
            MEMORY: memory - kind.allocatable_memory_mib,
        },
        offerings=tuple(
            Offering(purchase.value, zone, price, (kind.name, purchase.value, zone) not in unavailable)
            for purchase, price in kind.prices.items()
            for zone in zones
        ),
        labels=_labels(kind),
    )


def _labels(kind: catalog.InstanceType) -> tuple[Requirement, ...]:
    """Labels by which pools and pods choose it. The GPU's name is not among them: EC2 has its own names for GPUs."""
    labels = {
        ARCH: kind.arch,
        OS: "linux",
        f"{_PREFIX}family": kind.family,
        f"{_PREFIX}cpu": str(kind.vcpu),
        f"{_PREFIX}memory": str(kind.memory_mib),
        f"{_PREFIX}gpu-count": str(kind.gpu_count),
        f"{_PREFIX}gpu-manufacturer": "nvidia",
        f"{_PREFIX}gpu-memory": str(kind.gpu_memory_mib),
    }
    parts = _NAME.fullmatch(kind.name)
    if parts is not None:
        category, generation, size = parts.groups()
        labels |= {
            f"{_PREFIX}category": category,
            f"{_PREFIX}generation": generation,
            f"{_PREFIX}size": size,
        }
    return tuple(among(key, value) for key, value in labels.items())
