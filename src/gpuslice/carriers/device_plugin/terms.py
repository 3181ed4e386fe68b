"""What a layout promises of one node, and the names by which pods find it."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.mig import Geometry, check_geometry
from gpuslice.hardware.slices import SHARED_GPU, WHOLE_GPU
from gpuslice.hardware.stacks import mig_resource
from gpuslice.units import parse_quantity

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.plan import artefact as plan

POOL_LABEL: Final = "gpuslice.io/pool"
"""On a pool's nodes as label and taint; what a workload's node selector and toleration name."""
GPU_MEMORY: Final = "gpuslice.io/gpu-memory"
GPU_TIME: Final = "gpuslice.io/gpu-time"
SEAT: Final = "gpuslice.io/seat-"
"""How the resources begin that stand for places of a workload."""

_FIRST: Final = (
    100  # the highest of Karpenter: it tries these first, as long as their limits leave room; and …
)
_LAST: Final = 1  # … the lowest
_NAME_LENGTH: Final = 63  # of an extended resource, after its prefix
_HEX: Final = 6


def seat_of(workload: str, size: str = "") -> str:
    """The extended resource of a workload's seats: "gpuslice.io/seat-search.embedder-3fa2".

    Namespaces have no dots, so names that Kubernetes allows give one resource each; any other one is told apart by a
    hash.

    Args:
        workload: its name.
        size: a few letters that say for which need a seat is.
    """
    end = f"-{size}" if size else ""
    plain = workload.replace("/", ".", 1)
    slug = re.sub(r"[^a-z0-9.]+", "-", plain.lower()).strip("-.")
    most = _NAME_LENGTH - len(SEAT.partition("/")[2]) - len(end)
    if slug == plain and len(slug) <= most:
        return SEAT + slug + end
    digest = hashlib.sha256(workload.encode()).hexdigest()[:_HEX]
    return f"{SEAT}{slug[: most - _HEX - 1]}-{digest}{end}"


def seat_in(pool: plan.Pool, workload: str) -> str:
    """The extended resource of a workload's seats in a pool that has some."""
    return pool.seat_names.get(workload, seat_of(workload))


def seats_offered(pool: plan.Pool) -> dict[str, int]:
    """The seats of one node of a pool, by extended resource."""
    return {seat_in(pool, workload): count for workload, count in sorted(pool.seats.items())}


def requested(assignment: plan.Assignment) -> dict[str, str]:
    """What a pod's container asks for, by extended resource."""
    asked = {assignment.resource: str(assignment.quantity)}
    if assignment.request is not UNSET:
        asked |= {GPU_MEMORY: assignment.request.memory, GPU_TIME: str(assignment.request.time)}
    if assignment.seat:
        asked[assignment.seat] = "1"
    return asked


def weight(pool: plan.Pool) -> int:
    """The NodePool's weight: pools of few seats come before those of one workload alone; 0: it has no seats."""
    if not pool.seats:
        return 0
    return _LAST if pool.max_nodes is UNSET else _FIRST


def seat_limits(pool: plan.Pool) -> dict[str, int]:
    """The most seats that all nodes of a pool together may offer, by resource; empty where there is no such limit.

    Karpenter counts nodes only between batches, and what they offer as it opens them (seen with v1.14.1).
    """
    if pool.max_nodes is UNSET:
        return {}
    return {name: count * pool.max_nodes for name, count in seats_offered(pool).items()}


def configured(pool: plan.Pool) -> plan.Layout:
    """How the device plugin is to offer a pool's GPUs.

    A workload that is alone on some GPUs and shares others has one template, and asks for `nvidia.com/gpu.shared`
    everywhere. So a whole GPU with one seat may be offered under that name, as two replicas, of which the seat lets
    only one be used.
    """
    layout = pool.layout
    if layout.mechanism != Mechanism.WHOLE.value or pool.resource != SHARED_GPU:
        return layout
    return structs.replace(layout, mechanism=Mechanism.TIME_SLICING.value, replicas=2)


def offered(pool: plan.Pool, stack: str, instance_type: InstanceType) -> dict[str, str]:
    """What one node of a pool offers, by extended resource: as `resources`, and its seats.

    Seats are counted where a metered GPU's memory and time otherwise would be: how many fit was reckoned before.
    """
    found = resources(configured(pool), stack, instance_type)
    if not pool.seats:
        return found
    slices = {name: amount for name, amount in found.items() if name not in {GPU_MEMORY, GPU_TIME}}
    return slices | {name: str(count) for name, count in seats_offered(pool).items()}


def mechanism(layout: plan.Layout) -> Mechanism:
    """The layout's mechanism."""
    return Mechanism(layout.mechanism)


def replicas(layout: plan.Layout) -> int:
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


def geometries(layout: plan.Layout) -> tuple[Geometry, ...]:
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
    found = []
    for each in listed:
        names = [entry.profile for entry in each for _ in range(entry.count)]
        found.append(Geometry.of(names))
    for geometry in found:
        if geometry.counts or layout.geometry is not UNSET:
            check_geometry(GPUS[layout.gpu], geometry)
    if not any(geometry.counts for geometry in found):
        raise InputError("MIG without an instance", where=".layout", fix="use the mechanism whole")
    return tuple(found)


def gpu_memory_bytes(metered: plan.Metered) -> int:
    """`gpuslice.io/gpu-memory` of a node, in bytes.

    Raises:
        InputError: no positive whole number of bytes.
    """
    value = parse_quantity(metered.memory, field="memory")
    if value <= 0 or value.denominator != 1:
        raise InputError(
            f"memory {metered.memory!r} is no amount", where=".layout.metered", fix='write such as "21Gi"'
        )
    return int(value)


def resources(layout: plan.Layout, stack: str, instance_type: InstanceType) -> dict[str, str]:
    """What one node offers, by extended resource; whole GPUs as "0" where the layout leaves none.

    Args:
        layout: of the node, accepted by `check`.
        stack: "al2023" or "bottlerocket".
        instance_type: whose GPUs are cut.

    Returns:
        Kubernetes quantities. `nvidia.com/gpu` always comes first.
    """
    kind = mechanism(layout)
    gpus = instance_type.gpu_count
    if kind is Mechanism.WHOLE:
        return {WHOLE_GPU: str(gpus)}
    if kind is Mechanism.FRACTIONAL:
        return {WHOLE_GPU: "1"}
    if kind is Mechanism.MIG:
        cut = geometries(layout)
        per_gpu = cut * gpus if layout.geometries is UNSET else cut
        counts = {WHOLE_GPU: sum(not each.counts for each in per_gpu)}
        for geometry in per_gpu:
            for profile, count in geometry:
                resource = mig_resource(stack, profile)
                counts[resource] = counts.get(resource, 0) + count
        return {resource: str(count) for resource, count in counts.items()}
    offered = {WHOLE_GPU: "0", SHARED_GPU: str(replicas(layout) * gpus)}
    if layout.metered is not UNSET:
        offered |= {GPU_MEMORY: layout.metered.memory, GPU_TIME: str(layout.metered.time)}
    return offered
