"""Which pools the device plugin's way can carry: layouts on instance types, and seats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.carriers.carrier import Refusal
from gpuslice.carriers.device_plugin.terms import configured, seats_offered
from gpuslice.errors import nearest
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.sharing import sustained_milli
from gpuslice.hardware.stacks import Stack, why_not
from gpuslice.plan.layouts import geometries, mechanism, replicas
from gpuslice.units import MIB, format_memory, parse_quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.plan import artefact as plan


def refusal(pool: plan.Pool, stack: Stack, types: Sequence[InstanceType]) -> Refusal | None:
    """Why a pool can't be carried on machines of these types; None where it can.

    Raises:
        InputError: the layout contradicts itself.
    """
    return (
        _of_layout(pool.layout, stack)
        or next((why for kind in types if (why := _of_machine(pool.layout, kind)) is not None), None)
        or _of_seats(pool, stack, types)
    )


def meters(gpus: int) -> bool:
    """Whether a node's sums of memory and time say something about one GPU: the kubelet chooses among several."""
    return gpus == 1


def _of_layout(layout: plan.Layout, stack: Stack) -> Refusal | None:
    if layout.gpu not in GPUS:
        return Refusal(
            f"unknown GPU {layout.gpu[:60]!r}",
            ".layout.gpu",
            nearest(layout.gpu, GPUS) or "name a GPU of EC2",
        )
    kind = mechanism(layout)
    metered = layout.metered is not UNSET
    cut = geometries(layout) if kind is Mechanism.MIG else ()
    reason = why_not(stack, layout.gpu, kind, metered=metered, geometries=cut)
    if reason is not None:
        return Refusal(reason, ".layout", f"plan for {stack} alone: gpuslice plan --stack {stack}")
    if kind in {Mechanism.TIME_SLICING, Mechanism.MPS}:
        replicas(layout)
    if metered and kind is not Mechanism.TIME_SLICING:
        return Refusal(f"{kind.value} can't be metered", ".layout", "meter time-slicing")
    return None if layout.metered is UNSET else _of_promise(layout.metered, GPUS[layout.gpu])


def _of_machine(layout: plan.Layout, machine: InstanceType) -> Refusal | None:
    out = "take it out of the pool"
    if machine.gpu != layout.gpu:
        return Refusal(f"{machine.name} has {machine.gpu}, not {layout.gpu}", ".instanceTypes", out)
    kind, gpus = mechanism(layout), machine.gpu_count
    if (kind is Mechanism.FRACTIONAL) != (gpus == 0):
        return Refusal(
            f"{machine.name} can't be {kind.value}: it has {gpus} whole GPUs", ".instanceTypes", out
        )
    if layout.metered is not UNSET and not meters(gpus):
        return Refusal(
            f"{machine.name} has {gpus} GPUs, and only nodes with one GPU can be metered",
            ".instanceTypes",
            out,
        )
    if layout.geometries is not UNSET and len(layout.geometries) != gpus:
        return Refusal(
            f"{machine.name} has {gpus} GPUs, and geometries lists {len(layout.geometries)}",
            ".layout.geometries",
            "write one list for each GPU",
        )
    return None


def _of_seats(pool: plan.Pool, stack: Stack, types: Sequence[InstanceType]) -> Refusal | None:
    again = "plan again"
    # As two replicas of one GPU: what keeps the second one free is that there is no seat for it.
    renamed = mechanism(pool.layout) is Mechanism.WHOLE and configured(pool) is not pool.layout
    if renamed and (sum(pool.seats.values()) != 1 or any(kind.gpu_count != 1 for kind in types)):
        return Refusal(
            "a whole GPU under the name of a shared one takes a node with one GPU and one seat",
            ".seats",
            again,
        )
    if not pool.seats:
        return Refusal("maxNodes without seats", ".maxNodes", again) if pool.max_nodes is not UNSET else None
    if stack is not Stack.AL2023:
        return Refusal(f"{stack} has no seats", ".seats", "plan for al2023")
    if len(seats_offered(pool)) < len(pool.seats):
        return Refusal("two workloads have one resource for their seats", ".seats", "rename one")
    if pool.max_nodes is UNSET and len(pool.seats) > 1:
        return Refusal("seats of several workloads without maxNodes", ".seats", again)
    return None


def _of_promise(metered: plan.Metered, gpu: Gpu) -> Refusal | None:
    """More than nodes have: somebody may have edited the plan, and nothing but sums stands behind a promise.

    Whether the margin is kept, the verifier says.
    """
    if parse_quantity(metered.memory) > gpu.memory_mib * MIB:
        return Refusal(
            f"promises {metered.memory} of an {gpu.name}, which has {format_memory(gpu.memory_mib)}",
            ".layout.metered.memory",
            "plan again",
        )
    most = sustained_milli(Mechanism.TIME_SLICING)
    if metered.time > most:
        return Refusal(
            f"promises {metered.time} thousandths of the GPU's time, sustained are {most} at most",
            ".layout.metered.time",
            "plan again",
        )
    return None
