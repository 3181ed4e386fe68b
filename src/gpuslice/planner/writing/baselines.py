"""What the same workloads would cost as tutorials run them: whole GPUs, uniform time-slicing, all-1g MIG.

All of it is hypothetical: what is paid now is read from a cluster, or isn't known.

Each is packed first-fit onto the types that are cheapest per pod, or onto those that are cheapest for the pods of
each kind alone, whichever comes to less: a node of eight GPUs may cost no more per GPU than a node of one, and is no
place for a single pod. Replicas that a baseline would run outside their rules are in its price and counted as misfits.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from gpuslice.cloud.allocatable import Allocatable, left_for_workloads
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.labels import node_facts
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.plan.artefact import Baseline
from gpuslice.plan.tutorials import TUTORIALS, WHOLE_GPUS
from gpuslice.planner.model.classes import classes_of
from gpuslice.planner.model.groups import unmet
from gpuslice.units import usd
from gpuslice.workloads.node_limits import room_of, taken_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.hardware.slices import Slice
    from gpuslice.plan.tutorials import Tutorial
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.node_limits import Room


_Room = tuple[int, ...]
"""Units, milli-CPU, MiB, pods, and then what some pods take beside that."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """An instance type as a baseline cuts it: what a pod gets, and how many of those a node has."""

    instance_type: InstanceType
    slice_: Slice
    units: int
    left: Allocatable
    others: tuple[tuple[str, int], ...] = ()

    @property
    def price(self) -> int:
        return self.instance_type.prices[Purchase.ON_DEMAND]

    def holds(self, workload_class: WorkloadClass, units: int, room: _Room) -> int:
        """How many replicas, each with so many units, the room holds."""
        most = min(room[0] // units, room[3])
        if workload_class.cpu_milli:
            most = min(most, room[1] // workload_class.cpu_milli)
        if workload_class.memory_mib:
            most = min(most, room[2] // workload_class.memory_mib)
        for (name, _), have in zip(self.others, room[4:], strict=True):
            amount = workload_class.taken(name)
            most = min(most, have // amount) if amount else most
        return most

    @property
    def room(self) -> _Room:
        room = self.units, self.left.cpu_milli, self.left.memory_mib, self.left.pods
        return (*room, *(have for _, have in self.others)) if self.others else room

    def sizes(self, workload_class: WorkloadClass) -> _Room:
        """What one replica takes of the room."""
        others = (workload_class.taken(name) for name, _ in self.others)
        size = workload_class.cpu_milli, workload_class.memory_mib, 1
        return workload_class.need.gpus, *size, *others


def baselines(
    classes: Sequence[WorkloadClass], catalog: Catalog, overhead: DaemonsetOverhead
) -> tuple[Baseline, ...]:
    """All baselines that the catalog can price.

    Args:
        classes: that the plan places.
        catalog: on-demand prices.
        overhead: of daemonsets.
    """
    taken = taken_by(take for a_class in classes for take in a_class.takes)
    whole = _machines(TUTORIALS[WHOLE_GPUS], catalog, overhead, taken)
    priced = []
    for tutorial in TUTORIALS.values():
        sliced = None if tutorial.name == WHOLE_GPUS else _machines(tutorial, catalog, overhead, taken)
        if sliced is None or sliced:
            priced.append(_priced(tutorial, classes, whole, sliced, catalog.region))
    return tuple(baseline for baseline in priced if baseline is not None)


def whole_gpus_for(workload: Workload, catalog: Catalog, overhead: DaemonsetOverhead) -> float | UnsetType:
    """Dollars an hour of whole GPUs for one workload, on nodes of its own; UNSET: no machine can be named for it."""
    tutorial = TUTORIALS[WHOLE_GPUS]
    classes = classes_of([workload])
    machines = _machines(tutorial, catalog, overhead, taken_by(workload.takes))
    priced = _priced(tutorial, classes, machines, None, catalog.region)
    return UNSET if priced is None else priced.usd_per_hour


def _machines(
    tutorial: Tutorial,
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    taken: Room,
) -> list[_Machine]:
    """The types that can be cut so, with what they have of resources that some pods take."""
    machines = []
    for kind in catalog.instance_types:
        gpu = GPUS[kind.gpu]
        slice_ = tutorial.slice_of(gpu)
        if kind.gpu_count and Purchase.ON_DEMAND in kind.prices and slice_ is not None:
            machines.append(
                _Machine(
                    kind,
                    slice_,
                    kind.gpu_count * tutorial.per_gpu(gpu),
                    left_for_workloads(kind, overhead),
                    room_of(kind, taken),
                )
            )
    return machines


def _priced(
    tutorial: Tutorial,
    classes: Sequence[WorkloadClass],
    whole: Sequence[_Machine],
    sliced: Sequence[_Machine] | None,
    region: str,
) -> Baseline | None:
    """The cheaper of two ways to pack everybody; None where somebody has no machine at all."""
    packed = [
        baseline
        for alone in (False, True)
        if (baseline := _packed(tutorial, classes, whole, sliced, region=region, alone=alone)) is not None
    ]
    return min(packed, key=lambda baseline: baseline.usd_per_hour, default=None)


def _packed(
    tutorial: Tutorial,
    classes: Sequence[WorkloadClass],
    whole: Sequence[_Machine],
    sliced: Sequence[_Machine] | None,
    *,
    region: str,
    alone: bool,
) -> Baseline | None:
    """Pack everybody; None where somebody has no machine at all."""
    groups: dict[tuple[str, Mechanism, str], list[WorkloadClass]] = defaultdict(list)
    chosen: dict[tuple[str, Mechanism, str], _Machine] = {}
    misfits = 0
    for a_class in classes:
        cut = sliced is not None and a_class.need.gpus == 1
        offered = sliced if cut and sliced is not None else whole
        machine = _cheapest(a_class, offered, region=region, anywhere=tutorial.anywhere and cut, alone=alone)
        if machine is None and cut:
            machine = _cheapest(a_class, whole, region=region, anywhere=False, alone=alone)
        if machine is None:
            return None
        shares = machine.slice_.mechanism is Mechanism.TIME_SLICING
        key = (machine.instance_type.name, machine.slice_.mechanism, a_class.tenant if shares else "")
        groups[key].append(a_class)
        chosen[key] = machine
        if not fit(a_class.need, machine.slice_).fits:
            misfits += len(a_class.members)
    price = sum(_nodes(chosen[key], group) * chosen[key].price for key, group in groups.items())
    spot = sum(member.on_spot or member.interruptible for a_class in classes for member in a_class.members)
    return Baseline(tutorial.name, usd(price), misfits, tutorial.note, spot)


def _cheapest(
    a_class: WorkloadClass, machines: Sequence[_Machine], *, region: str, anywhere: bool, alone: bool
) -> _Machine | None:
    """The machine with the lowest price: of the model that it runs on, else of one that fits whole.

    Args:
        a_class: to run.
        machines: to choose from.
        region: that they are in.
        anywhere: whether another model than the one that it runs on will do.
        alone: whether the price is that of nodes for its replicas alone; else of a replica's part of a full node.
    """
    candidates: list[tuple[bool, float, str, _Machine]] = []
    fits: dict[str, bool] = {}
    for machine in machines:
        if machine.instance_type.arch != a_class.arch:
            continue
        if a_class.requires and not _may_run(a_class, machine.instance_type, region):
            continue
        count = machine.holds(a_class, a_class.need.gpus, machine.room)
        if not count:
            continue
        gpu = machine.slice_.gpu
        same = a_class.need.on == gpu.name
        if gpu.name not in fits:
            fits[gpu.name] = anywhere or same or fit(a_class.need, cuts.whole(gpu)).fits
        if not fits[gpu.name]:
            continue
        price = machine.price * -(-a_class.replicas // count) if alone else machine.price / count
        candidates.append((not same and not anywhere, price, machine.instance_type.name, machine))
    return min(candidates, key=lambda candidate: candidate[:3])[3] if candidates else None


def _may_run(a_class: WorkloadClass, kind: InstanceType, region: str) -> bool:
    """Whether its pods may run on an instance type at all; how that is bought is no part of the question."""
    return any(
        unmet(a_class.requires, node_facts(kind, purchase, region)) is None
        for purchase in (Purchase.ON_DEMAND, Purchase.SPOT, Purchase.RESERVED)
    )


def _nodes(machine: _Machine, group: Sequence[WorkloadClass]) -> int:
    """How many such machines first-fit needs, the largest pods first."""
    open_nodes: list[tuple[_Room, int]] = []  # room left, and how many nodes are alike
    filled_up = 0  # nodes that hold nobody any more, which nobody has to look at
    cpu, memory = min(member.cpu_milli for member in group), min(member.memory_mib for member in group)
    for a_class in sorted(group, key=lambda c: (-c.need.gpus, -c.cpu_milli, -c.memory_mib)):
        left = a_class.replicas
        sizes = machine.sizes(a_class)
        after: list[tuple[_Room, int]] = []
        for room, alike in open_nodes:
            count = machine.holds(a_class, a_class.need.gpus, room)
            full, rest = divmod(left, count) if count else (0, 0)
            filled = min(full, alike)
            if filled:
                after.append((_less(room, sizes, count), filled))
                left -= filled * count
            if filled < alike and rest and full < alike and left:
                after.append((_less(room, sizes, left), 1))
                left, filled = 0, filled + 1
            if filled < alike:
                after.append((room, alike - filled))
        count = machine.holds(a_class, a_class.need.gpus, machine.room)
        full, rest = divmod(left, count)
        if full:
            after.append((_less(machine.room, sizes, count), full))
        if rest:
            after.append((_less(machine.room, sizes, rest), 1))
        open_nodes = []
        for room, alike in after:
            if room[0] and room[3] and room[1] >= cpu and room[2] >= memory:
                open_nodes.append((room, alike))
            else:
                filled_up += alike
    return filled_up + sum(alike for _, alike in open_nodes)


def _less(room: _Room, sizes: _Room, count: int) -> _Room:
    return tuple(have - size * count for have, size in zip(room, sizes, strict=True))
