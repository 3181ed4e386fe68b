"""Which layouts the stack can do on which instance types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.carriers.device_plugin.terms import geometries, mechanism, replicas
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.sharing import sustained_milli
from gpuslice.hardware.stacks import why_not
from gpuslice.units import MIB, format_memory, parse_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.plan import artefact as plan


def check(layout: plan.Layout, stack: str, types: Iterable[InstanceType]) -> None:
    """Accept a layout that the stack can do on these instance types.

    Raises:
        InputError: it can't, with the reason.
    """
    if layout.gpu not in GPUS:
        raise InputError(
            f"unknown GPU {layout.gpu[:60]!r}",
            where=".layout.gpu",
            fix=nearest(layout.gpu, GPUS) or "name a GPU of EC2",
        )
    kind = mechanism(layout)
    metered = layout.metered is not UNSET
    cut = geometries(layout) if kind is Mechanism.MIG else ()
    reason = why_not(stack, layout.gpu, kind, metered=metered, geometries=cut)
    if reason is not None:
        raise InputError(
            reason, where=".layout", fix=f"plan for {stack} alone: gpuslice plan --stack {stack}"
        )
    if kind in {Mechanism.TIME_SLICING, Mechanism.MPS}:
        replicas(layout)
    if metered and kind is not Mechanism.TIME_SLICING:
        raise InputError(f"{kind.value} can't be metered", where=".layout", fix="meter time-slicing")
    if layout.metered is not UNSET:
        _check_promise(layout.metered, GPUS[layout.gpu])
    for each in types:
        if each.gpu != layout.gpu:
            raise InputError(
                f"{each.name} has {each.gpu}, not {layout.gpu}",
                where=".instanceTypes",
                fix="take it out of the pool",
            )
        if (kind is Mechanism.FRACTIONAL) != (each.gpu_count == 0):
            raise InputError(
                f"{each.name} can't be {kind.value}: it has {each.gpu_count} whole GPUs",
                where=".instanceTypes",
                fix="take it out of the pool",
            )
        if metered and each.gpu_count != 1:
            raise InputError(
                f"{each.name} has {each.gpu_count} GPUs, and only nodes with one GPU can be metered",
                where=".instanceTypes",
                fix="take it out of the pool",
            )
        if layout.geometries is not UNSET and len(cut) != each.gpu_count:
            raise InputError(
                f"{each.name} has {each.gpu_count} GPUs, and geometries lists {len(cut)}",
                where=".layout.geometries",
                fix="write one list for each GPU",
            )


def _check_promise(metered: plan.Metered, gpu: Gpu) -> None:
    """Accept no more than nodes have: somebody may have edited the plan, and nothing but sums stands behind a promise.

    Whether the margin is kept, the verifier says.
    """
    if parse_quantity(metered.memory) > gpu.memory_mib * MIB:
        raise InputError(
            f"promises {metered.memory} of an {gpu.name}, which has {format_memory(gpu.memory_mib)}",
            where=".layout.metered.memory",
            fix="plan again",
        )
    most = sustained_milli(Mechanism.TIME_SLICING)
    if metered.time > most:
        raise InputError(
            f"promises {metered.time} thousandths of the GPU's time, sustained are {most} at most",
            where=".layout.metered.time",
            fix="plan again",
        )
