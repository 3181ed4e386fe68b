"""Why a workload fits nothing: the nearest miss, in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import Binds, fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.slices import Mechanism
from gpuslice.hardware.stacks import Stack, why_not
from gpuslice.units import format_cpu, format_memory

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.planner.classes import WorkloadClass

# The later a rule is asked, the nearer was the miss.
_NEARNESS = list(Binds)


def reason_against(each: WorkloadClass, catalog: Catalog, overhead: DaemonsetOverhead, stack: Stack) -> str:
    """The reason that stands in the way of the nearest miss.

    A whole GPU is the most that there is: who doesn't fit one fits no part of one either. Fractional types count only
    where the catalog has nothing else.
    """
    misses: Counter[tuple[int, str]] = Counter()
    with_gpus = [each for each in catalog.instance_types if each.gpu_count]
    for instance_type in with_gpus or catalog.instance_types:
        gpu = GPUS[instance_type.gpu]
        name = instance_type.name
        if instance_type.gpu_count:
            slice_ = cuts.whole(gpu)
        elif why_not(stack, gpu.name, Mechanism.FRACTIONAL) is None:
            slice_ = cuts.fractional(gpu, instance_type.gpu_fraction)
        else:
            continue
        answer = fit(each.need, slice_)
        cpu = instance_type.allocatable_cpu_milli - overhead.cpu_milli
        memory = instance_type.allocatable_memory_mib - overhead.memory_mib
        if answer.binds is not None:
            misses[_NEARNESS.index(answer.binds), answer.reason] += 1
        elif each.arch != instance_type.arch:
            misses[len(_NEARNESS), f"{name} is {instance_type.arch}, its pods are {each.arch}"] += 1
        elif each.need.gpus > max(instance_type.gpu_count, 1):
            misses[
                len(_NEARNESS) + 1, f"needs {each.need.gpus} GPUs, {name} has {instance_type.gpu_count}"
            ] += 1
        elif each.cpu_milli > cpu:
            misses[
                len(_NEARNESS) + 2,
                f"asks for {format_cpu(each.cpu_milli)} CPU, {name} has {format_cpu(max(cpu, 0))} left",
            ] += 1
        elif each.memory_mib > memory:
            misses[
                len(_NEARNESS) + 3,
                f"asks for {format_memory(each.memory_mib)}, {name} has {format_memory(max(memory, 0))} left",
            ] += 1
        elif not instance_type.prices:
            misses[
                len(_NEARNESS) + 4, f"{name} would do, but its price isn't known: refresh the catalog"
            ] += 1
    if not misses:
        fits = "what would fit is not wanted, or this stack can't do it"
        return fits if catalog.instance_types else "the catalog has no GPU"
    (_, reason), _ = max(misses.items(), key=lambda miss: (miss[0][0], miss[1], miss[0][1]))
    return reason
