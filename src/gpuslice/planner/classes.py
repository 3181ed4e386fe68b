"""Workload classes: replicas that no rule of planning can tell apart are one class, whatever they are called.

The planner's cost depends on the number of classes, not of workloads or pods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.hardware.need import Need
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class WorkloadClass:
    """Replicas alike in need, pod size, tenant and rules.

    Attributes:
        need, cpu_milli, memory_mib, tenant, arch, interruptible, splittable: as of each member.
        members: the workloads, in the order given.
        replicas: of all members together.
        kept_to: the one resource that their pods may ask for, or the one slice by its name; empty: any.
    """

    need: Need
    cpu_milli: int
    memory_mib: int
    tenant: str
    arch: str
    interruptible: bool
    splittable: bool
    members: tuple[Workload, ...]
    replicas: int
    kept_to: str = ""


def classes_of(workloads: Iterable[Workload]) -> tuple[WorkloadClass, ...]:
    """Workloads grouped into classes, in the order of each class's first member; those without replicas left out."""
    groups: dict[tuple[Need, int, int, str, str, bool, bool], list[Workload]] = {}
    for each in workloads:
        if each.replicas:
            key = (
                each.need,
                each.cpu_milli,
                each.memory_mib,
                each.tenant,
                each.arch,
                each.interruptible,
                each.splittable,
            )
            groups.setdefault(key, []).append(each)
    return tuple(
        WorkloadClass(*key, members=tuple(members), replicas=sum(each.replicas for each in members))
        for key, members in groups.items()
    )


def homes_of(classes: Iterable[WorkloadClass]) -> int:
    """How many workloads need one home: those whose replicas share a template."""
    return sum(len(each.members) for each in classes if not each.splittable)
