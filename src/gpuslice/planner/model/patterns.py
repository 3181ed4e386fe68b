"""Patterns: what one node of an option carries."""

from __future__ import annotations

from dataclasses import dataclass
from operator import le
from typing import TYPE_CHECKING, Final

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.model.places import PodsAtPlace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.cuts import GpuGeometry
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.places import ClassNumber


@dataclass(frozen=True, slots=True)
class Pattern:
    """One node's load.

    Attributes:
        option: the node.
        pods: by class and slice of the option's cut, ascending.
        geometries: for MIG, how each GPU is cut, in a canonical order; else empty.
    """

    option: NodeOption
    pods: tuple[PodsAtPlace, ...]
    geometries: tuple[GpuGeometry, ...] = ()

    def counts(self) -> dict[ClassNumber, int]:
        """Replicas by class number."""
        total: dict[ClassNumber, int] = {}
        for number, _, count in self.pods:
            total[number] = total.get(number, 0) + count
        return total

    def without(self, surplus: Mapping[ClassNumber, int]) -> Pattern:
        """The node with so many replicas of each class taken off."""
        left = dict(surplus)
        pods = []
        for number, index, count in self.pods:
            off = min(left.get(number, 0), count)
            left[number] = left.get(number, 0) - off
            if count > off:
                pods.append(PodsAtPlace(number, index, count - off))
        return Pattern(self.option, tuple(pods), self.geometries)


Amounts = tuple[int, ...]
"""Of a node's resources: units, milli-CPU, MiB of memory, pods, two that depend on the mechanism, then `others`.

The two are, on a metered node, GPU memory in MiB and GPU time in thousandths; with MIG, memory slices and compute
slices; else 0 and 0.
"""
FIRST_OTHER: Final = 6
"""Where in `Amounts` the resources begin that only some fleets take: storage, ports, rules among pods."""


def usage(number: ClassNumber, option: NodeOption, classes: Sequence[WorkloadClass]) -> Amounts:
    """What one replica takes of a node.

    With MIG, whose units depend on the geometry, these are 0, and the slices are the fewest that it can do with, which
    is necessary but not enough.
    """
    a_class, cut = classes[number], option.cut
    size = a_class.cpu_milli, a_class.memory_mib, 1
    others = others_taken(a_class, option)
    if cut.metered:
        ((_, answer),) = cut.fits[number]
        return 1, *size, a_class.need.memory_mib or 0, max(answer.time_milli or 0, 1), *others
    if cut.mechanism is Mechanism.MIG:
        profiles = [
            profile for where, _ in cut.fits[number] if (profile := cut.slices[where].profile) is not None
        ]
        return (
            0,
            *size,
            min(profile.memory_slices for profile in profiles),
            min(profile.compute_slices for profile in profiles),
            *others,
        )
    return a_class.need.gpus if cut.mechanism is Mechanism.WHOLE else 1, *size, 0, 0, *others


def others_taken(a_class: WorkloadClass, option: NodeOption) -> Amounts:
    """What one replica takes of the node's `others`, in their order."""
    return tuple(a_class.taken(name) for name, _ in option.others) if option.others else ()


def capacity(option: NodeOption) -> Amounts:
    """What a node has."""
    room = option.cpu_milli, option.memory_mib, option.pods
    others = [have for _, have in option.others]
    table = option.cut.gpu.mig
    if option.cut.mechanism is Mechanism.MIG and table is not None:
        return 0, *room, table.grid * option.units, table.compute_slices * option.units, *others
    return option.units, *room, option.gpu_memory_mib, option.gpu_time_milli, *others


def carries(option: NodeOption, counts: Mapping[ClassNumber, int], classes: Sequence[WorkloadClass]) -> bool:
    """Whether a node of an option other than MIG can carry so many of each class."""
    if not all(map(option.admits, counts)):
        return False
    most = capacity(option)
    totals = [0] * len(most)
    for number, count in counts.items():
        for resource, amount in enumerate(usage(number, option, classes)):
            totals[resource] += amount * count
    return all(map(le, totals, most))


def holds(option: NodeOption, counts: Mapping[ClassNumber, int], classes: Sequence[WorkloadClass]) -> bool:
    """Whether a node has CPU, memory, pods and `others` for so many of each class, whatever its GPUs are cut into."""
    if not all(map(option.admits, counts)):
        return False
    room = (option.cpu_milli, option.memory_mib, option.pods, *(have for _, have in option.others))
    totals = [0] * len(room)
    for number, count in counts.items():
        a_class = classes[number]
        taken = (a_class.cpu_milli, a_class.memory_mib, 1, *others_taken(a_class, option))
        for resource, amount in enumerate(taken):
            totals[resource] += amount * count
    return all(map(le, totals, room))
