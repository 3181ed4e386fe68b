"""Workload classes: replicas that no rule of planning can tell apart are one class, whatever they are called.

The planner's cost depends on the number of classes, not of workloads or pods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpuslice.hardware.sharing import SEES_ALL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.carriers.carrier import Ask, Carrier
    from gpuslice.hardware.mechanisms import Mechanism
    from gpuslice.hardware.need import Need
    from gpuslice.hardware.slices import Slice
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.node_limits import Take
    from gpuslice.workloads.requirements import Terms


@dataclass(frozen=True, slots=True)
class WorkloadClass:
    """Replicas alike in need, pod size, tenant and rules.

    Attributes:
        need, cpu_milli, memory_mib, tenant, arch, interruptible, splittable, requires: what all members have alike.
        members: the workloads, in the order given.
        replicas: of all members together.
        takes: what each pod takes of its node beside CPU, memory and GPUs, ascending.
        kept_to: what their pods ask for, as `asks_for` has it, when nothing else will do; None: anything.
    """

    need: Need
    cpu_milli: int
    memory_mib: int
    tenant: str
    arch: str
    interruptible: bool
    splittable: bool
    requires: Terms
    members: tuple[Workload, ...]
    replicas: int
    takes: tuple[Take, ...] = ()
    kept_to: Ask | None = None

    @property
    def limited(self) -> bool:
        """Whether a framework of theirs is told how much of the memory that it sees is its own."""
        return any(member.preallocates for member in self.members)

    def taken(self, resource: str) -> int:
        """What each pod takes of a resource other than CPU, memory and GPUs."""
        return next((take.amount for take in self.takes if take.resource == resource), 0)

    def asks_for(self, slice_: Slice, carrier: Carrier) -> Ask:
        """What a pod template has to say to get a slice."""
        return self.told(carrier.ask(slice_), slice_.mechanism, slice_.gpu.name)

    def told(self, ask: Ask, mechanism: Mechanism, gpu: str) -> Ask:
        """An ask for what a mechanism makes of a GPU, with the GPU where the template depends on it.

        It does where a framework is told its share of the memory that it sees.
        """
        return replace(ask, gpu=gpu) if self.limited and mechanism in SEES_ALL else ask

    def asks_otherwise(self, slice_: Slice, carrier: Carrier, gpus: int = 1) -> Ask | None:
        """By what else a slice can be had, on a node with so many GPUs where seats keep others away; None: nothing."""
        return None if self.limited else carrier.second_ask(slice_, gpus)

    def renames(self, slice_: Slice, carrier: Carrier) -> bool:
        """Whether their pods get a slice only by what else it can be had."""
        return self.kept_to is not None and self.kept_to == self.asks_otherwise(slice_, carrier)

    def may_have(self, slice_: Slice, carrier: Carrier) -> bool:
        """Whether a slice can be had by what their pods ask for."""
        return (
            self.kept_to is None
            or self.kept_to == self.asks_for(slice_, carrier)
            or self.renames(slice_, carrier)
        )


def classes_of(workloads: Iterable[Workload]) -> tuple[WorkloadClass, ...]:
    """Workloads grouped into classes, in the order of each class's first member; those without replicas left out."""
    groups: dict[
        tuple[tuple[Need, int, int, str, str, bool, bool, Terms], tuple[Take, ...]], list[Workload]
    ] = {}
    for workload in workloads:
        if workload.replicas:
            key = (
                (
                    workload.need,
                    workload.cpu_milli,
                    workload.memory_mib,
                    workload.tenant,
                    workload.arch,
                    workload.interruptible,
                    workload.splittable,
                    workload.requires,
                ),
                workload.takes,
            )
            groups.setdefault(key, []).append(workload)
    return tuple(
        WorkloadClass(
            *key, members=tuple(members), replicas=sum(member.replicas for member in members), takes=takes
        )
        for (key, takes), members in groups.items()
    )


def homes_of(classes: Iterable[WorkloadClass]) -> int:
    """How many workloads need one home: those whose replicas share a template."""
    return sum(len(a_class.members) for a_class in classes if not a_class.splittable)
