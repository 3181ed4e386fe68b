"""Instance types of the catalog, as Karpenter's AWS provider describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.cloud.allocatable import machine_memory_mib
from gpuslice.cloud.labels import machine_labels
from gpuslice.hardware.resource_names import WHOLE_GPU
from gpuslice.karpenter.model import CPU, MEMORY, PODS, InstanceType, Offering
from gpuslice.karpenter.requirements import among

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.cloud import catalog


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
        labels=tuple(among(key, value) for key, value in machine_labels(kind).items()),
    )
