"""Layouts as plans write them, read into the types of `hardware`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.mig import Geometry, check_geometry

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Layout


def mechanism(layout: Layout) -> Mechanism:
    """The layout's mechanism."""
    return Mechanism(layout.mechanism)


def replicas(layout: Layout) -> int:
    """Slots per GPU of a layout by time-slicing or MPS.

    Raises:
        InputError: the layout doesn't say.
    """
    if layout.replicas is UNSET:
        raise InputError(
            f"{layout.mechanism} without replicas",
            where=".layout",
            fix="write how many pods share a GPU, 2 to 48",
        )
    return layout.replicas


def geometries(layout: Layout) -> tuple[Geometry, ...]:
    """How MIG cuts the GPUs of a node: one geometry for all, or one for each GPU; an empty one leaves it whole.

    Raises:
        InputError: the layout says neither, or both, or what the GPU can't have.
    """
    if (layout.geometry is UNSET) == (layout.geometries is UNSET):
        raise InputError(
            "MIG needs either a geometry or geometries",
            where=".layout",
            fix="write geometry: [{profile: …, count: …}]",
        )
    listed = (layout.geometry,) if layout.geometry is not UNSET else layout.geometries
    assert listed is not UNSET  # noqa: S101  one of the two is set, as checked above
    cuts = [
        Geometry.of([entry.profile for entry in entries for _ in range(entry.count)]) for entries in listed
    ]
    for geometry in cuts:
        if geometry.counts or layout.geometry is not UNSET:
            check_geometry(GPUS[layout.gpu], geometry)
    if not any(geometry.counts for geometry in cuts):
        raise InputError("MIG without an instance", where=".layout", fix="use the mechanism whole")
    return tuple(cuts)
