"""Why a workload fits nothing: the nearest miss, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.cloud.allocatable import EPHEMERAL_STORAGE
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.labels import node_facts
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import Binds, fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.planner.model.groups import unmet
from gpuslice.units import format_cpu, format_memory
from gpuslice.workloads.node_limits import room_for
from gpuslice.workloads.policy import FREE, Policy, forbids
from gpuslice.workloads.requirements import CAPACITY_TYPE, HOSTNAME, NODE_NAME

if TYPE_CHECKING:
    from gpuslice.carriers.carrier import Carrier
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.workloads.requirements import Requirement

# The later a rule is asked, the nearer was the miss.
_NEARNESS = list(Binds)


def reason_against(
    workload_class: WorkloadClass,
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    carrier: Carrier,
    policy: Policy = FREE,
) -> str:
    """The reason that stands in the way of the nearest miss.

    A whole GPU is the most that there is: who doesn't fit one fits no part of one either. Fractional types count only
    where the catalog has nothing else.
    """
    misses: list[tuple[int, int, str]] = []  # how near, how much it had of what was missing, in words
    with_gpus = [kind for kind in catalog.instance_types if kind.gpu_count]
    for instance_type in with_gpus or catalog.instance_types:
        gpu = GPUS[instance_type.gpu]
        name, beyond = instance_type.name, len(_NEARNESS)
        slice_ = (
            cuts.whole(gpu) if instance_type.gpu_count else cuts.fractional(gpu, instance_type.gpu_fraction)
        )
        if carrier.refuses_slice(slice_) is not None:
            continue
        answer = fit(workload_class.need, slice_)
        cpu = max(instance_type.allocatable_cpu_milli - overhead.cpu_milli, 0)
        memory = max(instance_type.allocatable_memory_mib - overhead.memory_mib, 0)
        count = instance_type.gpu_count
        if answer.binds is not None:
            misses.append((_NEARNESS.index(answer.binds), gpu.memory_mib, answer.reason))
        elif workload_class.arch != instance_type.arch:
            misses.append((beyond, 0, f"{name} is {instance_type.arch}, its pods are {workload_class.arch}"))
        elif workload_class.need.gpus > max(count, 1):
            misses.append((beyond + 1, count, f"needs {workload_class.need.gpus} GPUs, {name} has {count}"))
        elif workload_class.cpu_milli > cpu:
            words = f"asks for {format_cpu(workload_class.cpu_milli)} CPU, {name} has {format_cpu(cpu)} left"
            misses.append((beyond + 2, cpu, words))
        elif workload_class.memory_mib > memory:
            words = f"asks for {format_memory(workload_class.memory_mib)}, {name} has {format_memory(memory)} left"
            misses.append((beyond + 3, memory, words))
        elif (lacks := _lacks(workload_class, instance_type)) is not None:
            have, words = lacks
            misses.append((beyond + 4, have, words))
        elif (barred := _barred(workload_class, instance_type, policy, catalog.region)) is not None:
            near, words = barred
            misses.append((beyond + 5 + near, 0, words))
    if not misses:
        fits = "what would fit is not wanted, or this stack can't do it"
        return fits if catalog.instance_types else "the catalog has no GPU"
    return max(misses)[2]


def _barred(
    workload_class: WorkloadClass, instance_type: InstanceType, policy: Policy, region: str
) -> tuple[int, str] | None:
    """What keeps a class from machines that are large enough: how near a miss that is, and that in words."""
    name = instance_type.name
    if not instance_type.prices:
        return 0, f"{name} would do, but its price isn't known: refresh the catalog"
    if forbids(policy, instance_type):
        entry = name if name in policy.forbid else instance_type.family
        return 1, f"{name} would do, but policy.forbid has {entry}"
    requirement = _unmet(workload_class, instance_type, region)
    return None if requirement is None else (2, _against(requirement, workload_class))


def _lacks(workload_class: WorkloadClass, instance_type: InstanceType) -> tuple[int, str] | None:
    """How much of a resource beside CPU, memory and GPUs a type has, where one pod takes more; and that in words."""
    for take in workload_class.takes:
        have = room_for(take, instance_type)
        if take.amount <= have:
            continue
        if not have:
            return 0, f"asks for {take.resource}, and no planned node that would do otherwise has any"
        amounts = (
            (format_memory(take.amount), format_memory(have))
            if take.resource == EPHEMERAL_STORAGE
            else (f"{take.amount}", f"{have}")
        )
        return have, f"asks for {amounts[0]} of {take.resource}, {instance_type.name} has {amounts[1]}"
    return None


def _unmet(workload_class: WorkloadClass, instance_type: InstanceType, region: str) -> Requirement | None:
    """What its pods require and an instance type hasn't, however it is bought; None: nothing."""
    missing = [
        unmet(workload_class.requires, node_facts(instance_type, purchase, region))
        for purchase in sorted(instance_type.prices)
        if purchase is not Purchase.SPOT or workload_class.interruptible
    ]
    return None if None in missing or not missing else missing[0]


def _against(requirement: Requirement, workload_class: WorkloadClass) -> str:
    """What a pod requires in vain, and what to do about it."""
    key = requirement.key
    required = f"its pods require {requirement}"
    leave = f"drop it with --drop-selector {key}"
    if key in {HOSTNAME, NODE_NAME}:
        return f"{required}, which no new node has: correct it, or {leave}"
    if key == CAPACITY_TYPE and Purchase.SPOT.value in requirement.values:
        if not workload_class.interruptible:
            return f'{required}, and they may not be interrupted: state gpuslice.io/interruptible: "true", or {leave}'
        return f"{required}, and nothing that would do has a price of spot: refresh the catalog, or {leave}"
    return f"{required}, which no machine meets that would do otherwise: correct it, or {leave}"
