"""A cut as plan.yaml writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.hardware.cut import metered_memory_mib
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.plan import artefact
from gpuslice.units import format_memory

if TYPE_CHECKING:
    from gpuslice.planner.model.cuts import Cut, GpuGeometry


def layout_of(cut: Cut, geometries: tuple[GpuGeometry, ...]) -> artefact.Layout:
    """A cut as it stands in plan.yaml.

    Args:
        cut: to describe.
        geometries: of a MIG node, one per GPU.
    """
    slice_ = cut.slices[0]
    shared = cut.mechanism in {Mechanism.TIME_SLICING, Mechanism.MPS}
    described = [
        tuple(
            artefact.GeometryEntry(profile.name, count)
            for where, count in geometry
            if (profile := cut.slices[where].profile) is not None
        )
        for geometry in geometries
    ]
    alike = len(set(described)) == 1
    metered = (
        artefact.Metered(format_memory(metered_memory_mib(cut.gpu)), slice_.metered_milli)
        if slice_.metered_milli is not None
        else UNSET
    )
    return artefact.Layout(
        gpu=cut.gpu.name,
        mechanism=cut.mechanism.value,
        replicas=slice_.sharers if shared else UNSET,
        slot_time=slice_.time_milli if shared and not cut.metered else UNSET,
        metered=metered,
        geometry=described[0] if described and alike else UNSET,
        geometries=tuple(described) if described and not alike else UNSET,
    )
