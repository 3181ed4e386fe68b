"""Patterns: what one node of an option carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuslice.hardware.mechanisms import Mechanism

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.cuts import GpuGeometry
    from gpuslice.planner.model.options import NodeOption


@dataclass(frozen=True, slots=True)
class Pattern:
    """One node's load.

    Attributes:
        option: the node.
        pods: (class number, index of the slice in the option's cut, count), ascending, counts positive.
        geometries: for MIG, how each GPU is cut, in a canonical order; else empty.
    """

    option: NodeOption
    pods: tuple[tuple[int, int, int], ...]
    geometries: tuple[GpuGeometry, ...] = ()

    def counts(self) -> dict[int, int]:
        """Replicas by class number."""
        total: dict[int, int] = {}
        for number, _, count in self.pods:
            total[number] = total.get(number, 0) + count
        return total

    def without(self, surplus: Mapping[int, int]) -> Pattern:
        """The same node with so many replicas of each class taken off."""
        left = dict(surplus)
        pods = []
        for number, index, count in self.pods:
            off = min(left.get(number, 0), count)
            left[number] = left.get(number, 0) - off
            if count > off:
                pods.append((number, index, count - off))
        return Pattern(self.option, tuple(pods), self.geometries)


def usage(
    number: int, option: NodeOption, classes: Sequence[WorkloadClass]
) -> tuple[int, int, int, int, int, int]:
    """What one replica takes of a node: units, CPU, memory, pods, and two more by mechanism.

    Metered: GPU memory, MiB, and GPU time, thousandths. MIG, whose units depend on the geometry: the fewest memory
    slices and compute slices that it can do with, which is necessary but not enough. Else 0 and 0.
    """
    each, cut = classes[number], option.cut
    size = each.cpu_milli, each.memory_mib, 1
    if cut.metered:
        ((_, answer),) = cut.fits[number]
        return 1, *size, each.need.memory_mib or 0, max(answer.time_milli or 0, 1)
    if cut.mechanism is Mechanism.MIG:
        profiles = [
            profile for where, _ in cut.fits[number] if (profile := cut.slices[where].profile) is not None
        ]
        return (
            0,
            *size,
            min(profile.memory_slices for profile in profiles),
            min(profile.compute_slices for profile in profiles),
        )
    return each.need.gpus if cut.mechanism is Mechanism.WHOLE else 1, *size, 0, 0


def capacity(option: NodeOption) -> tuple[int, int, int, int, int, int]:
    """What a node has of each, in the order of `usage`."""
    room = option.cpu_milli, option.memory_mib, option.pods
    table = option.cut.gpu.mig
    if option.cut.mechanism is Mechanism.MIG and table is not None:
        return 0, *room, table.grid * option.units, table.compute_slices * option.units
    return option.units, *room, option.gpu_memory_mib, option.gpu_time_milli


def carries(option: NodeOption, counts: Mapping[int, int], classes: Sequence[WorkloadClass]) -> bool:
    """Whether a node of an option other than MIG can carry so many of each class."""
    if not all(map(option.admits, counts)):
        return False
    totals = [0] * 6
    for number, count in counts.items():
        for resource, each in enumerate(usage(number, option, classes)):
            totals[resource] += each * count
    return all(total <= most for total, most in zip(totals, capacity(option), strict=True))
