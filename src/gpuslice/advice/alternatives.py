"""Why the plan is what it is: the alternatives of one workload, and what binds the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuslice.carriers import table
from gpuslice.cloud.allocatable import left_for_workloads
from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import Fit, fit, slot_times
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.sharing import METERED_TIMES
from gpuslice.planner.model.options import metered_memory_mib

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gpuslice.carriers.carrier import Carrier
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.slices import Slice
    from gpuslice.hardware.stacks import Stack
    from gpuslice.plan.artefact import Layout
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class Alternative:
    """One slice that a workload could have, and what it would cost or break.

    Attributes:
        slice: its name; where several counts of replicas are possible, the most that fit and the one that it has.
        answer: of `fit`.
        instance_type: on which a replica is cheapest, if all replicas there were this workload's; empty: none.
        price: micro-dollars per hour and replica there; None where it doesn't fit or nothing offers it.
        per_node: replicas on such a node.
    """

    slice: str
    answer: Fit
    instance_type: str = ""
    price: int | None = None
    per_node: int = 0


def alternatives(
    workload: Workload,
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    stack: Stack,
    given: Collection[Layout] = (),
) -> tuple[Alternative, ...]:
    """Every mechanism on every GPU of the catalog: those that fit by price, then those that don't.

    Args:
        workload: in question.
        catalog: types and prices.
        overhead: of daemonsets.
        stack: what nodes run; what it can't do isn't listed.
        given: layouts of the pools that a plan has it in: each is listed as it is there.
    """
    carrier = table.carrier(table.DEVICE_PLUGIN, stack)
    listed = []
    for name in sorted({kind.gpu for kind in catalog.instance_types}):
        gpu = GPUS[name]
        types = [kind for kind in catalog.instance_types if kind.gpu == name]
        for slice_, per_gpu in _slices(gpu, types, workload, carrier, given):
            listed.append(_alternative(workload, slice_, per_gpu, types, overhead, carrier))
    return tuple(
        sorted(
            listed,
            key=lambda alternative: (
                not alternative.answer.fits,
                alternative.price is None,
                alternative.price or 0,
                alternative.slice,
            ),
        )
    )


def _slices(
    gpu: Gpu,
    types: Sequence[InstanceType],
    workload: Workload,
    carrier: Carrier,
    given: Collection[Layout],
) -> Iterator[tuple[Slice, int]]:
    """Slices of one GPU, each with how many there are on a GPU."""
    yield cuts.whole(gpu), 1
    for fraction in sorted({kind.gpu_fraction for kind in types if not kind.gpu_count}):
        if carrier.refuses_slice(slice_ := cuts.fractional(gpu, fraction)) is None:
            yield slice_, 1
    if gpu.mig is not None:
        uniform = carrier.instances(gpu.name)
        for profile in gpu.mig.plain:
            if uniform is None:
                yield cuts.mig(gpu, profile), profile.most
            elif profile.name in uniform:
                yield cuts.mig(gpu, profile), uniform[profile.name]
    for mechanism in (Mechanism.TIME_SLICING, Mechanism.MPS):
        if mechanism not in gpu.mechanisms:
            continue
        if workload.need.slices:
            counts = range(2, cuts.most_slots(gpu, mechanism) + 1)
            yield from (
                (cuts.slot(gpu, mechanism, count), count)
                for count in counts
                if f"{gpu.name}/{mechanism.value}/{count}" in workload.need.slices
            )
            continue
        times = slot_times(workload.need, gpu, mechanism)
        replicas = max(times, default=2)
        had = {
            layout.replicas: layout.slot_time or None
            for layout in given
            if (layout.gpu, layout.mechanism) == (gpu.name, mechanism.value)
            and layout.replicas
            and not layout.metered
        }
        if replicas not in had:
            own = times[replicas][0] if times and mechanism is Mechanism.TIME_SLICING else None
            yield cuts.slot(gpu, mechanism, replicas, own), replicas
        yield from ((cuts.slot(gpu, mechanism, count, time), count) for count, time in had.items())
    if any(carrier.meters(kind.gpu_count) for kind in types):
        yield from _metered(gpu, workload, carrier, given)


def _metered(
    gpu: Gpu, workload: Workload, carrier: Carrier, given: Collection[Layout]
) -> Iterator[tuple[Slice, int]]:
    """A metered GPU, with as much time as a plan gives it, or with the most in which the workload fits."""
    had = [layout.metered.time for layout in given if layout.gpu == gpu.name and layout.metered]
    offers = [cuts.metered(gpu, time) for time in had[:1] or METERED_TIMES]
    if carrier.refuses_slice(offers[0]) is None:
        fitting = [offer for offer in offers if fit(workload.need, offer).fits]
        yield (fitting or offers)[-1], 0


def _alternative(
    workload: Workload,
    slice_: Slice,
    per_gpu: int,
    types: Sequence[InstanceType],
    overhead: DaemonsetOverhead,
    carrier: Carrier,
) -> Alternative:
    answer = fit(workload.need, slice_)
    if not answer.fits:
        return Alternative(slice_.name, answer)
    best: tuple[int, str, int] | None = None
    for kind in types:
        if (
            not _offers(kind, slice_, carrier)
            or Purchase.ON_DEMAND not in kind.prices
            or kind.arch != workload.arch
        ):
            continue
        count = _per_node(workload, slice_, per_gpu, kind, overhead, answer)
        if count:
            candidate = (kind.prices[Purchase.ON_DEMAND] // count, kind.name, count)
            best = candidate if best is None else min(best, candidate)
    if best is None:
        return Alternative(slice_.name, answer)
    return Alternative(slice_.name, answer, best[1], best[0], best[2])


def _offers(instance_type: InstanceType, slice_: Slice, carrier: Carrier) -> bool:
    if slice_.fraction is not None:
        return instance_type.gpu_count == 0 and instance_type.gpu_fraction == slice_.fraction
    if slice_.metered_milli is not None:
        return carrier.meters(instance_type.gpu_count)
    return instance_type.gpu_count > 0


def _per_node(
    workload: Workload,
    slice_: Slice,
    per_gpu: int,
    instance_type: InstanceType,
    overhead: DaemonsetOverhead,
    answer: Fit,
) -> int:
    gpus = max(instance_type.gpu_count, 1)
    left = left_for_workloads(instance_type, overhead)
    rooms = [left.holds(workload.cpu_milli, workload.memory_mib)]
    if slice_.metered_milli is not None:
        rooms.append(slice_.sharers)
        rooms.append(slice_.metered_milli // max(answer.time_milli or 1, 1))
        rooms.append(metered_memory_mib(slice_.gpu) // max(workload.need.memory_mib or 1, 1))
    else:
        rooms.append(per_gpu * gpus // workload.need.gpus)
    return min(rooms)
