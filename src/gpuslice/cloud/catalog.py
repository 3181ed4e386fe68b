"""The catalog: instance types with GPUs, what pods get of them, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Purchase(StrEnum):
    """How an instance is bought; the words of Karpenter's label `karpenter.sh/capacity-type`."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One EC2 instance type with NVIDIA GPUs.

    Attributes:
        name, family, arch: as EC2 writes them ("amd64" or "arm64").
        gpu: a name in `gpuslice.hardware.gpus.GPUS`.
        gpu_count: whole GPUs; 0 for fractional types (what Karpenter reports).
        gpu_fraction: the part of a card, for fractional types (g6f.large: 1/8); else 1.
        gpu_memory_mib: as EC2 reports it, per GPU (a fraction's own for fractional types): not the usable memory.
        vcpu, memory_mib: of the machine.
        allocatable_cpu_milli, allocatable_memory_mib, max_pods: what Kubernetes can give to pods, daemonsets
            included.
        prices: micro-dollars per hour by purchase; a purchase without a known price is absent.
        local_storage_gb: of all its instance stores together, in GB of 10^9 bytes; 0: it has none.
        efa: Elastic Fabric Adapter interfaces that it can have.
    """

    name: str
    family: str
    arch: str
    gpu: str
    gpu_count: int
    gpu_fraction: Fraction
    gpu_memory_mib: int
    vcpu: int
    memory_mib: int
    allocatable_cpu_milli: int
    allocatable_memory_mib: int
    max_pods: int
    prices: Mapping[Purchase, int]
    local_storage_gb: int = 0
    efa: int = 0


@dataclass(frozen=True, slots=True)
class DaemonsetOverhead:
    """What daemonsets take on every node before any workload."""

    cpu_milli: int
    memory_mib: int
    pods: int


@dataclass(frozen=True, slots=True)
class Catalog:
    """All instance types of one region at one date.

    Attributes:
        region: such as "us-east-1".
        prices_date: ISO date of the prices.
        source: one line on where it comes from.
        instance_types: sorted by name; names unique.
    """

    region: str
    prices_date: str
    source: str
    instance_types: tuple[InstanceType, ...]

    def by_name(self) -> dict[str, InstanceType]:
        """Instance types by their names."""
        return {kind.name: kind for kind in self.instance_types}
