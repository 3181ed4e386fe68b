"""What a pool promises of one node, by extended resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from gpuslice.carriers.carrier import Offer
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import GPU_MEMORY, GPU_TIME, SHARED_GPU, WHOLE_GPU, mig_instance
from gpuslice.hardware.stacks import Stack
from gpuslice.plan.layouts import geometries, mechanism, replicas
from gpuslice.units import parse_quantity

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.plan import artefact as plan


def mig_resource(stack: Stack, profile: str) -> str:
    """By what a pod asks for a MIG instance: under the mixed strategy by its profile, on Bottlerocket as for a GPU."""
    return WHOLE_GPU if stack is Stack.BOTTLEROCKET else mig_instance(profile)


def seats_offered(pool: plan.Pool) -> dict[str, int]:
    """The seats of one node of a pool, by extended resource."""
    return {pool.seat_of(workload): count for workload, count in sorted(pool.seats.items())}


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
    if not pool.as_shared or mechanism(layout) is not Mechanism.WHOLE:
        return layout
    return structs.replace(layout, mechanism=Mechanism.TIME_SLICING.value, replicas=2)


def offer(pool: plan.Pool, stack: Stack, instance_type: InstanceType) -> Offer:
    """What one node of a pool offers: its slices, and its seats.

    Seats are counted where a metered GPU's memory and time otherwise would be: how many fit was reckoned before. Whole
    GPUs come first, 0 of them where the layout leaves none.

    Args:
        pool: that the carrier doesn't refuse.
        stack: what its nodes run.
        instance_type: whose GPUs are cut.
    """
    layout = configured(pool)
    slices = _slices(layout, stack, instance_type.gpu_count)
    if pool.seats:
        return Offer(slices | seats_offered(pool))
    if layout.metered is UNSET:
        return Offer(slices)
    return Offer(slices, {GPU_MEMORY: layout.metered.memory, GPU_TIME: str(layout.metered.time)})


def _slices(layout: plan.Layout, stack: Stack, gpus: int) -> dict[str, int]:
    match mechanism(layout):
        case Mechanism.WHOLE:
            return {WHOLE_GPU: gpus}
        case Mechanism.FRACTIONAL:
            return {WHOLE_GPU: 1}
        case Mechanism.MIG:
            cut = geometries(layout)
            per_gpu = cut * gpus if layout.geometries is UNSET else cut
            counts = {WHOLE_GPU: sum(not geometry.counts for geometry in per_gpu)}
            for geometry in per_gpu:
                for profile, count in geometry:
                    resource = mig_resource(stack, profile)
                    counts[resource] = counts.get(resource, 0) + count
            return counts
        case _:
            return {WHOLE_GPU: 0, SHARED_GPU: replicas(layout) * gpus}


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
