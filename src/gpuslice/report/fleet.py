"""Who is where on the fleet's GPUs: each node that a plan buys, its GPUs, and what is taken of each slice.

Shares only, of a GPU's memory and of time: `drawing` makes a picture of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.carriers.table import carrier_asked
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mig import Geometry, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuslice.cloud.catalog import Catalog, InstanceType
    from gpuslice.plan.artefact import Assignment, GeometryEntry, Layout, Node, Plan, Pool
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class Part:
    """A slice on its GPU, and the pod in it.

    Attributes:
        slice: its name.
        start, width: shares of the GPU's memory.
        workload: whose pod is in it; "": nobody's.
        memory: share of the slice's memory that the pod takes; None: not known.
        duty: share of the time that the pod keeps it busy; None: not known.
    """

    slice: str
    start: float
    width: float
    workload: str = ""
    memory: float | None = None
    duty: float | None = None


@dataclass(frozen=True, slots=True)
class GpuPicture:
    """One GPU. Parts go from left to right; what no part covers can't be had by anybody here.

    Attributes:
        parts: its slices.
        rented: the share of the card that the node has: less than 1 for fractional instance types.
    """

    parts: tuple[Part, ...]
    rented: float = 1.0


@dataclass(frozen=True, slots=True)
class NodePicture:
    """Nodes that are alike.

    Attributes:
        node: as the plan has it.
        gpus: of one such node.
        undrawn: pods by workload that found no part of their own; none in a plan that keeps the rules.
    """

    node: Node
    gpus: tuple[GpuPicture, ...]
    undrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolPicture:
    """A pool and its nodes, those that cost most first."""

    pool: Pool
    nodes: tuple[NodePicture, ...]

    @property
    def count(self) -> int:
        """How many nodes the pool has."""
        return sum(node.node.count for node in self.nodes)

    @property
    def usd_per_hour(self) -> float:
        """Dollars an hour of all its nodes."""
        return sum(node.node.usd_per_hour * node.node.count for node in self.nodes)


def fleet(plan: Plan, workloads: Sequence[Workload], catalog: Catalog) -> tuple[PoolPicture, ...]:
    """Every pool that has nodes, the dearest first.

    On a node with several GPUs the kubelet picks which pod gets which: shown is one way, filled from the left.

    Args:
        plan: that keeps the rules.
        workloads: for how much memory each takes; those that aren't there are drawn without it.
        catalog: that the plan names.
    """
    types = catalog.by_name()
    by_name = {workload.name: workload for workload in workloads}
    pictures = []
    for pool in filter(lambda pool: pool.nodes, plan.pools):
        assigned: dict[str, list[Assignment]] = {}
        for assignment in plan.assignments:
            if assignment.pool == pool.name:
                assigned.setdefault(assignment.workload, []).append(assignment)
        nodes = sorted(pool.nodes, key=lambda node: -node.usd_per_hour * node.count)
        pictures.append(
            PoolPicture(
                pool,
                tuple(
                    _picture(pool.layout, node, types[node.instance_type], assigned, by_name)
                    for node in nodes
                ),
            )
        )
    return tuple(sorted(pictures, key=lambda picture: (-picture.usd_per_hour, picture.pool.name)))


def _picture(
    layout: Layout,
    node: Node,
    instance_type: InstanceType,
    assigned: Mapping[str, Sequence[Assignment]],
    workloads: Mapping[str, Workload],
) -> NodePicture:
    if layout.metered is not UNSET:
        return NodePicture(node, (_metered(layout, node, assigned, workloads),))
    gpus = [list(parts) for parts in _empty(layout, instance_type)]
    undrawn: list[str] = []
    for name, count, wanted, units in _hardest_first(node, assigned):
        free = [
            (gpu, index)
            for gpu, parts in enumerate(gpus)
            for index, part in enumerate(parts)
            if not part.workload and part.slice in wanted
        ]
        memory_mib = workloads[name].need.memory_mib if name in workloads else None
        for gpu, index in free[: count * units]:
            part = gpus[gpu][index]
            room = _memory_mib(part, layout)
            gpus[gpu][index] = replace(
                part,
                workload=name,
                memory=None if memory_mib is None else min(memory_mib / room, 1.0),
                duty=_duty(assigned[name]),
            )
        undrawn += [name] * (count - len(free) // units)
    rented = float(instance_type.gpu_fraction)
    return NodePicture(node, tuple(GpuPicture(tuple(parts), rented) for parts in gpus), tuple(undrawn))


def _hardest_first(
    node: Node, assigned: Mapping[str, Sequence[Assignment]]
) -> Iterator[tuple[str, int, set[str], int]]:
    """Workload, pods, the slices that will do for one, and how many of them it takes.

    Who has the fewest slices to choose from comes first, so that nobody's only one is taken by another.
    """
    rows = [
        (
            name,
            count,
            {assignment.slice for assignment in assigned[name]},
            max(assignment.asks.count for assignment in assigned[name]),
        )
        for name, count in node.pods.items()
        if name in assigned
    ]
    yield from sorted(rows, key=lambda row: (len(row[2]), -row[3], -row[1], row[0]))


def _empty(layout: Layout, instance_type: InstanceType) -> Iterable[Iterable[Part]]:
    """The slices of each GPU of such a node, with nobody in them."""
    count = max(instance_type.gpu_count, 1)
    match layout.mechanism:
        case "fractional":
            fraction = instance_type.gpu_fraction
            name = f"{layout.gpu}/fractional/{fraction.numerator}-{fraction.denominator}"
            return [[Part(name, 0.0, float(fraction))]]
        case "time-slicing" | "mps":
            slots = 1 if layout.replicas is UNSET else layout.replicas
            name = f"{layout.gpu}/{layout.mechanism}/{slots}"
            return [[Part(name, slot / slots, 1 / slots) for slot in range(slots)] for _ in range(count)]
        case "mig":
            if layout.geometries is not UNSET:
                return [_instances(layout.gpu, geometry) for geometry in layout.geometries]
            geometry = () if layout.geometry is UNSET else layout.geometry
            return [_instances(layout.gpu, geometry) for _ in range(count)]
        case _:
            return [[Part(f"{layout.gpu}/whole", 0.0, 1.0)] for _ in range(count)]


def _instances(gpu: str, geometry: Sequence[GeometryEntry]) -> list[Part]:
    """MIG instances where they may be placed; a GPU without any is whole."""
    table = GPUS[gpu].mig
    counts = {entry.profile: entry.count for entry in geometry}
    placement = place(table, Geometry.of(counts)) if table is not None and counts else None
    if table is None or placement is None:
        return [Part(f"{gpu}/whole", 0.0, 1.0)]
    return [
        Part(f"{gpu}/mig/{profile.name}", start / table.grid, profile.memory_slices / table.grid)
        for profile, start in placement
    ]


def _memory_mib(part: Part, layout: Layout) -> int:
    """The memory of a slice, MiB."""
    gpu = GPUS[layout.gpu]
    profile = gpu.mig.profile(part.slice.rpartition("/")[2]) if gpu.mig is not None else None
    if layout.mechanism == "mig" and profile is not None:
        return profile.memory_mib
    return max(int(gpu.memory_mib * part.width), 1)


def _metered(
    layout: Layout,
    node: Node,
    assigned: Mapping[str, Sequence[Assignment]],
    workloads: Mapping[str, Workload],
) -> GpuPicture:
    """Pods side by side, each as wide as the memory that it asks for; behind them what is left.

    With seats they ask for none, and are as wide as the memory that they need; where that isn't known, all alike.
    """
    name = f"{layout.gpu}/time-slicing/metered"
    whole = GPUS[layout.gpu].memory_mib
    parts: list[Part] = []
    start = 0.0
    for workload, count in sorted(node.pods.items()):
        for assignment in assigned.get(workload, ())[:1]:
            need = workloads[workload].need.memory_mib if workload in workloads else None
            memory: float | None = 1.0
            share = carrier_asked(assignment.asks).share(assignment.asks)
            if share is not None:
                width = share.memory_mib / whole
                duty: float | None = share.time_milli / 1000
            elif assignment.asks.seat:
                memory = None if need is None else 1.0
                width = 1 / sum(node.pods.values()) if need is None else need / whole
                duty = _duty([assignment])
            else:
                continue
            for _ in range(count):
                parts.append(Part(name, start, width, workload, memory, duty))
                start += width
    return GpuPicture((*parts, Part(name, start, max(1.0 - start, 0.0))))


def _duty(assigned: Sequence[Assignment]) -> float | None:
    known = [assignment.utilisation for assignment in assigned if assignment.utilisation is not UNSET]
    return min(max(known), 1.0) if known else None
