"""What Kubernetes can give to pods on an EKS node, computed from the machine's size, and what daemonsets take of it.

Two deductions, in this order: what is reserved on the node before any pod (`allocatable`), and what the
daemonsets of an EKS node with GPUs ask for (`daemonset_overhead`). What is left is for workloads
(`left_for_workloads`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.catalog import DaemonsetOverhead
from gpuslice.errors import InputError, nearest
from gpuslice.units import MIB, parse_cpu_milli, parse_quantity

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType

EPHEMERAL_STORAGE: Final = "ephemeral-storage"
EFA: Final = "vpc.amazonaws.com/efa"
# Of a node's root volume, as it is rendered where nobody says otherwise: Karpenter's 20 GiB don't hold two CUDA images
# (5 to 15 GiB each, unpacked). On types with local NVMe disks images live there, and this volume stays almost empty.
ROOT_VOLUME_GIB: Final = 200
# kube-reserved ephemeral storage, as Karpenter v1.14.1 takes it off (pkg/providers/instancetype/types.go).
KUBE_RESERVED_STORAGE_MIB: Final = 1024
# The kubelet's hard eviction threshold nodefs.available, in per cent, which Karpenter v1.14.1 takes off too.
EVICTION_STORAGE_PERCENT: Final = 10
# Karpenter's setting VM_MEMORY_OVERHEAD_PERCENT, its default, in thousandths: hypervisor, kernel and firmware keep
# part of what EC2 sells. The real share is smaller on most types (Karpenter learns it from the first node of a
# type that it sees), so that planning with it errs on the safe side.
VM_MEMORY_OVERHEAD_MILLI: Final = 75
# Graviton machines keep 64 MiB for the kernel's contiguous memory allocator (Karpenter v1.14.1, instance types).
ARM64_CMA_MIB: Final = 64
# The kubelet's hard eviction threshold on EKS nodes, memory.available.
EVICTION_THRESHOLD_MIB: Final = 100
# kube-reserved memory on EKS nodes: a base, and a share for each pod that the node may hold.
KUBE_RESERVED_BASE_MIB: Final = 255
KUBE_RESERVED_PER_POD_MIB: Final = 11
# kube-reserved CPU on EKS nodes: (from, to, taken of that range in hundred-thousandths), milli-CPU.
_KUBE_RESERVED_CPU: Final = (
    (0, 1_000, 6_000),
    (1_000, 2_000, 1_000),
    (2_000, 4_000, 500),
    (4_000, None, 250),
)
# The VPC CNI: the first address of every interface is the node's own, and two pods use the host's network.
_HOST_NETWORK_PODS: Final = 2


@dataclass(frozen=True, slots=True)
class Allocatable:
    """What pods can ask for on one node: milli-CPU, MiB, number of pods. Never negative."""

    cpu_milli: int
    memory_mib: int
    pods: int

    def holds(self, cpu_milli: int, memory_mib: int) -> int:
        """How many pods of one size fit, of which each asks for so much."""
        most = self.pods
        if cpu_milli:
            most = min(most, self.cpu_milli // cpu_milli)
        return min(most, self.memory_mib // memory_mib) if memory_mib else most


def max_pods(interfaces: int, addresses: int) -> int:
    """Pods that the VPC CNI has addresses for, without prefix delegation.

    Args:
        interfaces: network interfaces of the default network card (the CNI uses no other).
        addresses: IPv4 addresses per interface.
    """
    return interfaces * (addresses - 1) + _HOST_NETWORK_PODS


def kube_reserved_cpu_milli(vcpu: int) -> int:
    """Milli-CPU that an EKS node keeps for the kubelet and the system: 6 %, 1 %, 0.5 %, then 0.25 %.

    Each range is rounded down on its own, as Karpenter does.
    """
    milli = vcpu * 1000
    return sum(
        (min(milli, end or milli) - start) * share // 100_000
        for start, end, share in _KUBE_RESERVED_CPU
        if milli >= start
    )


def kube_reserved_memory_mib(pods: int) -> int:
    """MiB that an EKS node keeps for the kubelet and the system.

    Args:
        pods: what the node's interfaces allow. EKS's AMIs and Karpenter reckon with that number even where
            the node's own limit of pods is set to another.
    """
    return KUBE_RESERVED_BASE_MIB + KUBE_RESERVED_PER_POD_MIB * pods


def machine_memory_mib(memory_mib: int, arch: str) -> int:
    """MiB that the node's operating system sees, of those that EC2 sells, by Karpenter's estimate."""
    usable = memory_mib - (ARM64_CMA_MIB if arch == "arm64" else 0)
    return usable - -(-usable * VM_MEMORY_OVERHEAD_MILLI // 1000)


def allocatable(*, vcpu: int, memory_mib: int, pods: int, arch: str) -> Allocatable:
    """What Kubernetes can allocate on an EKS node, daemonsets included: Karpenter v1.14.1's estimate, to the MiB.

    Args:
        vcpu: of the machine.
        memory_mib: of the machine, as EC2 reports it.
        pods: the most that the kubelet admits, which `max_pods` says.
        arch: "amd64" or "arm64".
    """
    memory = machine_memory_mib(memory_mib, arch) - kube_reserved_memory_mib(pods) - EVICTION_THRESHOLD_MIB
    return Allocatable(
        cpu_milli=max(0, vcpu * 1000 - kube_reserved_cpu_milli(vcpu)), memory_mib=max(0, memory), pods=pods
    )


def allocatable_of(instance_type: InstanceType, resource: str) -> int:
    """What a node of a type has for pods of a resource other than CPU, memory and GPUs; 0 of what it doesn't have.

    Nodes put all their instance stores together to one disk (instanceStorePolicy RAID0, as gpuslice renders it), and
    Karpenter reckons with that or else with the root volume, of ROOT_VOLUME_GIB.

    Args:
        instance_type: of the node.
        resource: ephemeral storage, in MiB, or EFA interfaces; no EKS node has other resources of its own.
    """
    if resource == EFA:
        return instance_type.efa
    if resource != EPHEMERAL_STORAGE:
        return 0
    disk = instance_type.local_storage_gb * 10**9 or ROOT_VOLUME_GIB * 1024 * MIB
    kept = disk - -(-disk * EVICTION_STORAGE_PERCENT // 100)
    return max(kept // MIB - KUBE_RESERVED_STORAGE_MIB, 0)


@dataclass(frozen=True, slots=True)
class Daemonset:
    """One daemonset of an EKS node with GPUs, and what a pod of it asks for.

    Attributes:
        name: of the daemonset.
        cpu_milli, memory_mib: requests of all its containers, which is what the scheduler counts.
        source: where the figures come from.
    """

    name: str
    cpu_milli: int
    memory_mib: int
    source: str


# Assumed, for a node as EKS and the GPU Operator set it up by default: no list of daemonsets fits every cluster.
# Zero means that the chart asks for nothing; such a pod still takes one of the node's pods. Drivers and container
# toolkit are not here, because they are part of the AMIs. The MIG manager runs only where a GPU has MIG; it asks
# for nothing, so that counting it everywhere costs one pod.
ASSUMED_DAEMONSETS: Final = (
    Daemonset("aws-node", 50, 0, "Amazon VPC CNI add-on: 25m each for aws-node and aws-eks-nodeagent"),
    Daemonset("kube-proxy", 100, 0, "kube-proxy add-on"),
    Daemonset("ebs-csi-node", 30, 120, "EBS CSI driver's chart: 10m and 40Mi for each of three containers"),
    Daemonset("eks-pod-identity-agent", 0, 0, "its chart sets no requests"),
    Daemonset("node-feature-discovery-worker", 5, 64, "Node Feature Discovery's chart"),
    Daemonset("gpu-feature-discovery", 0, 0, "GPU Operator: no requests by default"),
    Daemonset("nvidia-device-plugin-daemonset", 0, 0, "GPU Operator: no requests by default"),
    Daemonset("nvidia-dcgm-exporter", 0, 0, "GPU Operator: no requests by default"),
    Daemonset("nvidia-operator-validator", 0, 0, "GPU Operator: no requests by default"),
    Daemonset("nvidia-mig-manager", 0, 0, "GPU Operator: no requests by default"),
)


def daemonset_overhead() -> DaemonsetOverhead:
    """What daemonsets take on each node, as far as nothing better is known: the sum of ASSUMED_DAEMONSETS.

    A plan that uses it has to list it among its assumptions.
    """
    return DaemonsetOverhead(
        cpu_milli=sum(daemonset.cpu_milli for daemonset in ASSUMED_DAEMONSETS),
        memory_mib=sum(daemonset.memory_mib for daemonset in ASSUMED_DAEMONSETS),
        pods=len(ASSUMED_DAEMONSETS),
    )


def left_for_workloads(instance_type: InstanceType, overhead: DaemonsetOverhead) -> Allocatable:
    """What of a node is left for workloads. Zero, not less, where the daemonsets alone don't fit."""
    return Allocatable(
        cpu_milli=max(0, instance_type.allocatable_cpu_milli - overhead.cpu_milli),
        memory_mib=max(0, instance_type.allocatable_memory_mib - overhead.memory_mib),
        pods=max(0, instance_type.max_pods - overhead.pods),
    )


_MOST_DAEMONSET_PODS: Final = 1_000
_OVERHEAD_FIX: Final = 'write it as "cpu=500m,memory=1Gi,pods=9"; what is left out keeps its default'


def parse_overhead(text: str) -> DaemonsetOverhead:
    """What daemonsets take on each node, as a person writes it: "cpu=500m,memory=1Gi,pods=9".

    What is left out keeps the figure of `daemonset_overhead`. Memory is rounded up to MiB.

    Raises:
        InputError: an unknown or repeated key, or a value that is no quantity, negative, or absurd.
    """
    figures: dict[str, int] = {}
    for part in text.split(","):
        key, equals, value = (name.strip() for name in part.partition("="))
        if key not in {"cpu", "memory", "pods"} or not equals:
            shown = repr(part.strip()[:60])
            hint = nearest(key, ("cpu", "memory", "pods")) if equals and key else ""
            raise InputError(f"daemonset overhead: {shown} is not understood", fix=hint or _OVERHEAD_FIX)
        if key in figures:
            raise InputError(f"daemonset overhead: {key} is given twice", fix="give it once")
        figures[key] = _overhead_figure(key, value)
    default = daemonset_overhead()
    return DaemonsetOverhead(
        cpu_milli=figures.get("cpu", default.cpu_milli),
        memory_mib=figures.get("memory", default.memory_mib),
        pods=figures.get("pods", default.pods),
    )


def _overhead_figure(key: str, value: str) -> int:
    field = f"daemonset overhead: {key}"
    if key == "cpu":
        return parse_cpu_milli(value, field=field)
    amount = parse_quantity(value, field=field)
    if amount < 0:
        raise InputError(f"{field} {value!r} is negative", fix=_OVERHEAD_FIX)
    if key == "memory":
        if amount and not value[-1:].isalpha():
            raise InputError(f"{field} {value!r} has no unit", fix=f'write "{value}Mi" or "{value}Gi"')
        return -int(-amount // MIB)
    if amount.denominator != 1 or amount > _MOST_DAEMONSET_PODS:
        raise InputError(
            f"{field} {value!r} is not a whole number up to {_MOST_DAEMONSET_PODS}", fix=_OVERHEAD_FIX
        )
    return int(amount)
