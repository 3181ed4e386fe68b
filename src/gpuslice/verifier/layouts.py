"""What the verifier knows of layouts: which are possible, what they offer, and what one node of them has room for.

Like the rest of the verifier it shares no code with the parts of the planner that make plans.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.cloud.catalog import Purchase
from gpuslice.errors import InputError
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.mig import Geometry, check_geometry
from gpuslice.hardware.sharing import MEMORY_MARGIN, sustained_milli
from gpuslice.hardware.stacks import why_not
from gpuslice.units import MIB, micro_usd, parse_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.slices import Slice
    from gpuslice.plan.artefact import Layout, Metered, Node, OptimalNode

SLOTTED = frozenset({Mechanism.TIME_SLICING, Mechanism.MPS})


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a plan breaks, where, and by how much."""

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Ask:
    """What one pod asks of its node.

    Attributes:
        slices: names of those that will do.
        units: how many of them.
        cpu_milli, memory_mib: of the machine.
        gpu_memory, gpu_time: of a metered GPU, bytes and thousandths; else 0.
    """

    slices: frozenset[str]
    units: int
    cpu_milli: int
    memory_mib: int
    gpu_memory: Fraction = Fraction(0)
    gpu_time: int = 0


def layout_violations(layout: Layout, stack: str, where: str) -> Iterator[Violation]:
    """What is impossible about a layout, on whatever machine."""
    gpu, mechanism = GPUS.get(layout.gpu), Mechanism(layout.mechanism)
    if gpu is None:
        yield Violation("layout", where, f"no GPU is called {layout.gpu}")
        return
    if mechanism not in gpu.mechanisms:
        yield Violation("layout", where, f"{gpu.name} has no {mechanism.value}")
        return
    geometries = [Geometry.of(count) for count in _counts(layout)]
    if (mechanism is Mechanism.MIG) != bool(geometries) or UNSET not in {layout.geometry, layout.geometries}:
        yield Violation(
            "geometry", where, "one geometry, or one for each GPU, belongs to MIG and to nothing else"
        )
        return
    for geometry in geometries:
        try:
            check_geometry(gpu, geometry)
        except InputError as error:
            yield Violation("geometry", where, error.message)
    metered = layout.metered is not UNSET
    if refused := why_not(stack, gpu.name, mechanism, metered=metered, geometries=geometries):
        yield Violation("stack", where, refused)
    yield from _sharing(layout, gpu, mechanism, where)


def _sharing(layout: Layout, gpu: Gpu, mechanism: Mechanism, where: str) -> Iterator[Violation]:
    if mechanism not in SLOTTED:
        if {layout.replicas, layout.slot_time, layout.metered} != {UNSET}:
            yield Violation("layout", where, f"{mechanism.value} has no replicas, slotTime or metered")
        return
    most = cuts.most_slots(gpu, mechanism)
    if layout.replicas is UNSET or not 2 <= layout.replicas <= most:
        yield Violation(
            "layout", where, f"{mechanism.value} needs 2 to {most} replicas, not {layout.replicas}"
        )
        return
    if layout.metered is UNSET:
        ceiling = cuts.slot_time_milli(mechanism, layout.replicas)
        if layout.slot_time is not UNSET and layout.slot_time > ceiling:
            yield Violation("load", where, f"slotTime is {layout.slot_time}, sustained is {ceiling} at most")
        return
    if mechanism is not Mechanism.TIME_SLICING or layout.slot_time is not UNSET:
        yield Violation("layout", where, "metered is for time-slicing, and has no slotTime")
    yield from _promise(layout.metered, gpu, where)


def _promise(metered: Metered, gpu: Gpu, where: str) -> Iterator[Violation]:
    if parse_quantity(metered.memory) > int(gpu.memory_mib * (1 - MEMORY_MARGIN)) * MIB:
        yield Violation("memory", where, f"promises {metered.memory}, more than the GPU less its margin")
    most = sustained_milli(Mechanism.TIME_SLICING)
    if metered.time > most:
        yield Violation("load", where, f"promises {metered.time} thousandths, sustained are {most}")


def slices_of(layout: Layout, fractions: frozenset[Fraction]) -> dict[str, Slice]:
    """The slices of a layout by name, each with the heaviest neighbours admitted; none if it is impossible.

    Args:
        layout: of a pool or node.
        fractions: `gpu_fraction` of its instance types, which a fractional layout doesn't say itself.
    """
    gpu, mechanism = GPUS.get(layout.gpu), Mechanism(layout.mechanism)
    if gpu is None:
        return {}
    slices: list[Slice] = []
    try:
        match mechanism:
            case Mechanism.WHOLE:
                slices.append(cuts.whole(gpu))
            case Mechanism.FRACTIONAL:
                slices += [cuts.fractional(gpu, fraction) for fraction in fractions if len(fractions) == 1]
            case Mechanism.MIG if gpu.mig is not None:
                offered = {name for count in _counts(layout) for name in count}
                slices += [cuts.mig(gpu, profile) for profile in gpu.mig.profiles if profile.name in offered]
            case _ if layout.replicas is UNSET:
                pass
            case _ if layout.metered is not UNSET:
                slices.append(cuts.metered(gpu, layout.metered.time, layout.replicas))
            case _:
                time = None if layout.slot_time is UNSET else layout.slot_time
                slices.append(cuts.slot(gpu, mechanism, layout.replicas, time))
    except InputError:
        return {}
    return {slice_.name: slice_ for slice_ in slices}


def type_violations(layout: Layout, instance_type: InstanceType, where: str) -> Iterator[Violation]:
    """Why a machine can't have a layout, possible as that may be elsewhere."""
    gpus = instance_type.gpu_count
    if instance_type.gpu != layout.gpu or (gpus == 0) != (layout.mechanism == "fractional"):
        yield Violation(
            "instance-types", where, f"{instance_type.name} has no {layout.gpu} {layout.mechanism}"
        )
    if layout.metered is not UNSET and gpus != 1:
        yield Violation("metered", where, f"{instance_type.name} has {gpus} GPUs: only one can be metered")
    if layout.geometries is not UNSET and len(layout.geometries) != gpus:
        yield Violation("geometry", where, f"{len(layout.geometries)} geometries for {gpus} GPUs")


def node_violations(
    node: Node | OptimalNode,
    layout: Layout,
    instance_type: InstanceType,
    asks: Mapping[str, Ask],
    room: tuple[int, int, int],
    where: str,
) -> Iterator[Violation]:
    """What one node costs other than stated, and what doesn't fit on it.

    Args:
        node: with its pods.
        layout: of its GPUs.
        instance_type: the catalog's.
        asks: of each of its pods, by workload; pods of workloads that aren't there are left out.
        room: CPU, memory and pods for workloads, milli-CPU and MiB.
        where: for messages.
    """
    price = instance_type.prices.get(Purchase(node.purchase))
    if price is None or price != micro_usd(node.usd_per_hour):
        yield Violation("price", where, f"{node.usd_per_hour} is not the catalog's price {price}")
    pods = {name: count for name, count in node.pods.items() if name in asks}
    cpu = sum(asks[name].cpu_milli * count for name, count in pods.items())
    memory = sum(asks[name].memory_mib * count for name, count in pods.items())
    for rule, used, have in zip(
        ("cpu", "node-memory", "pods"), (cpu, memory, sum(pods.values())), room, strict=True
    ):
        if used > have:
            yield Violation(rule, where, f"{used} is asked for, {have} is left")
    yield from _slots(_offered(layout, instance_type), pods, asks, where)
    if layout.metered is not UNSET:
        gpu_memory = sum((asks[name].gpu_memory * count for name, count in pods.items()), Fraction(0))
        if gpu_memory > parse_quantity(layout.metered.memory):
            yield Violation(
                "memory",
                where,
                f"{int(gpu_memory / MIB)} MiB of GPU memory are asked for, {layout.metered.memory} are there",
            )
        gpu_time = sum(asks[name].gpu_time * count for name, count in pods.items())
        if gpu_time > layout.metered.time:
            yield Violation(
                "load", where, f"{gpu_time} thousandths are asked for, {layout.metered.time} are there"
            )


def _slots(
    offered: Counter[str], pods: Mapping[str, int], asks: Mapping[str, Ask], where: str
) -> Iterator[Violation]:
    """Whether every pod can have a slice that will do: by Hall's theorem, if no set of slices is wanted too much."""
    for size in range(len(offered) + 1):
        for chosen in combinations(sorted(offered), size):
            have = sum(offered[name] for name in chosen)
            used = sum(
                asks[name].units * count
                for name, count in pods.items()
                if asks[name].slices & offered.keys() <= set(chosen)
            )
            if used > have:
                what = " or ".join(chosen) or "something else"
                yield Violation("slots", where, f"{used} are asked for of {what}, {have} are there")
                return


def _offered(layout: Layout, instance_type: InstanceType) -> Counter[str]:
    """How many slices of each name one node has."""
    gpus = max(instance_type.gpu_count, 1)
    offered: Counter[str] = Counter()
    for counts in _counts(layout) * (1 if layout.geometry is UNSET else gpus):
        offered.update({f"{layout.gpu}/mig/{profile}": count for profile, count in counts.items()})
    if layout.mechanism != "mig":
        for name in slices_of(layout, frozenset({instance_type.gpu_fraction})):
            offered[name] = gpus * (1 if layout.replicas is UNSET else layout.replicas)
    return offered


def _counts(layout: Layout) -> list[Counter[str]]:
    """Instances by profile: of every GPU alike, or of each."""
    listed = layout.geometries
    if listed is UNSET:
        listed = () if layout.geometry is UNSET else (layout.geometry,)
    counted: list[Counter[str]] = []
    for geometry in listed:
        counts: Counter[str] = Counter()
        for entry in geometry:
            counts[entry.profile] += entry.count
        counted.append(counts)
    return counted
