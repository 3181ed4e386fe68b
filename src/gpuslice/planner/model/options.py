"""Node options: instance type x purchase x cut, with the classes that each may carry; dominated ones left out."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from gpuslice.carriers import table
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.description import mig_offered
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import Fit, fit, slot_times
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation, Mechanism
from gpuslice.hardware.mig import maximal_geometries
from gpuslice.hardware.sharing import METERED_TIMES, less_margin
from gpuslice.hardware.slices import Slice
from gpuslice.units import MICRO_USD
from gpuslice.workloads.policy import FREE, Policy, forbids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from fractions import Fraction

    from gpuslice.carriers.carrier import Carrier
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.mig_profiles import MigTable
    from gpuslice.hardware.stacks import Stack
    from gpuslice.planner.model.classes import WorkloadClass

    Fits = Mapping[int, tuple[tuple[int, Fit], ...]]
    GpuGeometry = tuple[
        tuple[int, int], ...
    ]  # (index of the profile among the cut's slices, count), ascending


class Cut:
    """How the GPUs of a node are cut, and for whom. Equal only to itself.

    Attributes:
        slices: what it offers; one, but for MIG one per profile.
        tenant: the only one admitted; empty: tenants may mix.
        geometries: for MIG, the ways in which one GPU may be cut; else empty.
        carrier: by which pods get the slices.
        renamed: whether a slice is offered by what else it can be had, for those who ask for that.
    """

    def __init__(
        self,
        slices: tuple[Slice, ...],
        classes: Sequence[WorkloadClass],
        members: Iterable[int],
        carrier: Carrier,
        *,
        tenant: str = "",
        geometries: tuple[GpuGeometry, ...] = (),
        renamed: bool = False,
    ) -> None:
        """Cut into slices, for those of the members (numbers of classes) that fit."""
        self.slices = slices
        self.carrier = carrier
        self.tenant = tenant
        self.geometries = geometries
        self.renamed = renamed
        self._classes = classes
        self._members = tuple(members)

    @cached_property
    def fits(self) -> Fits:
        """By class number, the slices (by index) that fit it, and how. Only classes that fit.

        Asked late: most cuts are found to be beaten before.
        """
        found: dict[int, tuple[tuple[int, Fit], ...]] = {}
        for number in self._members:
            each_class = self._classes[number]
            need = each_class.need
            least = need.memory_mib or 0
            good = tuple(
                [
                    (index, answer)
                    for index, slice_ in enumerate(self.slices)
                    # Most slices are too small for most: that needs no reasons.
                    if least <= slice_.memory_mib
                    and each_class.may_have(slice_, self.carrier)
                    and (answer := fit(need, slice_)).fits
                ]
            )
            if good:
                found[number] = good
        return found

    @property
    def gpu(self) -> Gpu:
        """The model that is cut."""
        return self.slices[0].gpu

    @property
    def mechanism(self) -> Mechanism:
        """How."""
        return self.slices[0].mechanism

    @property
    def metered(self) -> bool:
        """Whether memory and time are counted instead of slots."""
        return self.slices[0].metered_milli is not None

    @property
    def slots_per_gpu(self) -> int:
        """Pods per GPU, for all but MIG."""
        return self.slices[0].sharers

    def admitted(self) -> Iterable[int]:
        """Numbers of the classes that fit."""
        shared = self.mechanism in {Mechanism.TIME_SLICING, Mechanism.MPS} and not self.metered
        return self._members if shared else self.fits  # slots were sized for their members


METERED: Final = "metered"  # a way of time-slicing, refused apart from the rest of it


@dataclass(frozen=True, slots=True, eq=False)
class NodeOption:
    """One way to buy and cut one node. Equal only to itself.

    Attributes:
        price: micro-dollars per hour.
        cpu_milli, memory_mib, pods: left for workloads after the daemonsets.
        units: whole GPUs or slots; for MIG the number of GPUs.
        gpu_memory_mib, gpu_time_milli: to be shared out on a metered node; else 0.
        classes: numbers of the classes that it may carry, ascending.
    """

    instance_type: InstanceType
    purchase: Purchase
    cut: Cut
    price: int
    cpu_milli: int
    memory_mib: int
    pods: int
    units: int
    gpu_memory_mib: int
    gpu_time_milli: int
    classes: tuple[int, ...]

    @property
    def usd(self) -> float:
        """Dollars per hour, for the solver."""
        return self.price / MICRO_USD

    def admits(self, number: int) -> bool:
        """Whether it may carry a class."""
        at = bisect_left(self.classes, number)
        return at < len(self.classes) and self.classes[at] == number


def metered_memory_mib(gpu: Gpu) -> int:
    """What a metered node promises of its GPU's memory: the usable, less the margin."""
    return less_margin(gpu.memory_mib)


def node_options(
    classes: Sequence[WorkloadClass],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    stack: Stack,
    without: frozenset[str] = frozenset(),
    policy: Policy = FREE,
) -> tuple[NodeOption, ...]:
    """All node options worth having, cheapest first.

    Args:
        classes: to place; options name them by their position.
        catalog: with prices; types without one are no option.
        overhead: of daemonsets, on every node.
        stack: what nodes run: cuts that it can't do are no option.
        without: mechanisms that are not wanted; "metered" stands for metered time-slicing alone.
        policy: what may be bought. Types whose nodes it counts stand in for no other.
    """
    by_gpu: dict[str, list[InstanceType]] = defaultdict(list)
    for kind in catalog.instance_types:
        if kind.prices and not forbids(policy, kind):
            by_gpu[kind.gpu].append(kind)
    found: list[NodeOption] = []
    carrier = table.carrier(table.DEVICE_PLUGIN, stack)
    for name in sorted(by_gpu):
        offered = [
            cut
            for cut in _cuts(GPUS[name], by_gpu[name], classes, carrier)
            if cut.mechanism.value not in without and not (cut.metered and METERED in without)
        ]
        for instance_type in by_gpu[name]:
            for purchase in sorted(instance_type.prices):
                bought = _Bought(instance_type, purchase, classes, overhead)
                here = [option for cut in offered if (option := bought.cut(cut)) is not None]
                found += _undominated_cuts(here, classes)
    kept = _undominated_types(found, frozenset(policy.max_nodes))
    return tuple(sorted(kept, key=lambda option: (option.price, option.instance_type.name, option.purchase)))


def by_class(options: Iterable[NodeOption]) -> dict[int, list[NodeOption]]:
    """For each class that any of the options may carry, those that may, in their order."""
    found: dict[int, list[NodeOption]] = defaultdict(list)
    for option in options:
        for number in option.classes:
            found[number].append(option)
    return found


def _cuts(
    gpu: Gpu, types: Sequence[InstanceType], classes: Sequence[WorkloadClass], carrier: Carrier
) -> list[Cut]:
    everyone = range(len(classes))
    whole = cuts.whole(gpu)
    renamed = [number for number, a_class in enumerate(classes) if a_class.renames(whole, carrier)]
    by_own_name = sorted({*everyone} - {*renamed})
    offered = [
        Cut((whole,), classes, by_own_name, carrier),
        Cut((whole,), classes, renamed, carrier, renamed=True),
    ]
    if gpu.mig is not None:
        offered += _mig_cuts(gpu, gpu.mig, classes, carrier)
    fractions: set[Fraction] = {kind.gpu_fraction for kind in types if not kind.gpu_count}
    offered += [
        Cut((cuts.fractional(gpu, fraction),), classes, everyone, carrier) for fraction in sorted(fractions)
    ]
    # Different tenants never share what isn't isolated in hardware: each has cuts of its own.
    tenants: dict[str, list[int]] = defaultdict(list)
    for number, a_class in enumerate(classes):
        if a_class.need.slices:
            offered += _measured_cuts(gpu, number, classes, carrier)
        elif a_class.need.known and a_class.need.isolation is not Isolation.HARDWARE:
            tenants[a_class.tenant].append(number)
    for tenant, members in tenants.items():
        offered += _slot_cuts(gpu, tenant, members, classes, carrier)
        if any(carrier.meters(kind.gpu_count) for kind in types):
            offered += [
                Cut((cuts.metered(gpu, time),), classes, members, carrier, tenant=tenant)
                for time in METERED_TIMES
            ]
    return [cut for cut in offered if cut.admitted() and carrier.refuses_slice(cut.slices[0]) is None]


def _mig_cuts(gpu: Gpu, table: MigTable, classes: Sequence[WorkloadClass], carrier: Carrier) -> list[Cut]:
    """All profiles in any geometry; where there are uniform ones only, a cut for each profile."""
    everyone = range(len(classes))
    instances = carrier.instances(gpu.name)
    if instances is not None:
        return [
            Cut((cuts.mig(gpu, profile),), classes, everyone, carrier, geometries=(((0, count),),))
            for name, count in instances.items()
            if (profile := table.profile(name)) is not None
        ]
    index = {profile.name: i for i, profile in enumerate(table.plain)}
    # Cutting more never hurts, an instance may stay empty: the geometries to which nothing can be added are enough.
    geometries = sorted(
        tuple(sorted((index[name], count) for name, count in geometry))
        for geometry in maximal_geometries(table)
    )
    slices = tuple(cuts.mig(gpu, profile) for profile in table.plain)
    return [Cut(slices, classes, everyone, carrier, geometries=tuple(geometries))]


def _measured_cuts(gpu: Gpu, number: int, classes: Sequence[WorkloadClass], carrier: Carrier) -> list[Cut]:
    """Equal slots for a class that was measured on them, beside replicas of its own and nobody else."""
    each = classes[number]
    return [
        Cut((sized,), classes, (number,), carrier, tenant=each.tenant)
        for mechanism in (Mechanism.TIME_SLICING, Mechanism.MPS)
        for replicas in range(2, cuts.most_slots(gpu, mechanism) + 1)
        if f"{gpu.name}/{mechanism.value}/{replicas}" in each.need.slices
        and each.may_have(sized := cuts.slot(gpu, mechanism, replicas), carrier)
        and fit(each.need, sized).fits
    ]


def _slot_cuts(
    gpu: Gpu, tenant: str, members: Sequence[int], classes: Sequence[WorkloadClass], carrier: Carrier
) -> list[Cut]:
    """Equal slots: for each count of replicas, the slot times at which the set of classes admitted changes."""
    offered: list[Cut] = []
    for mechanism in (Mechanism.TIME_SLICING, Mechanism.MPS):
        times = {number: slot_times(classes[number].need, gpu, mechanism) for number in members}
        kept: list[frozenset[int]] = []
        found: list[list[Cut]] = []
        # Most replicas first: fewer are of use only for whom they admit beside those.
        for replicas in range(max(map(len, times.values()), default=0) + 1, 1, -1):
            plain = cuts.slot(gpu, mechanism, replicas)
            ranges = {
                number: here[replicas]
                for number, here in times.items()
                if replicas in here and classes[number].may_have(plain, carrier)
            }
            cuts_here: list[Cut] = []
            sets_here: list[frozenset[int]] = []
            for most in sorted({most for _, most in ranges.values()}):
                admitted = [number for number, (own, bearable) in ranges.items() if own <= most <= bearable]
                if any(others.issuperset(admitted) for others in kept):
                    continue
                # No lighter than the heaviest pod admitted: its neighbours then are as light as can be said.
                heaviest = (
                    None if mechanism is Mechanism.MPS else max(ranges[number][0] for number in admitted)
                )
                sized = cuts.slot(gpu, mechanism, replicas, heaviest)
                cuts_here.append(Cut((sized,), classes, admitted, carrier, tenant=tenant))
                sets_here.append(frozenset(admitted))
            kept += sets_here
            found.append(cuts_here)
        offered += [cut for cuts_here in reversed(found) for cut in cuts_here]
    return offered


def node_option(
    instance_type: InstanceType,
    purchase: Purchase,
    cut: Cut,
    classes: Sequence[WorkloadClass],
    overhead: DaemonsetOverhead,
) -> NodeOption | None:
    """One way to buy and cut a node; None where it carries nobody or can't be cut so."""
    return _Bought(instance_type, purchase, classes, overhead).cut(cut)


class _Bought:
    """An instance type as it is bought, before it is cut: what is left of it, and whose pods may run there."""

    def __init__(
        self,
        instance_type: InstanceType,
        purchase: Purchase,
        classes: Sequence[WorkloadClass],
        overhead: DaemonsetOverhead,
    ) -> None:
        self._instance_type = instance_type
        self._purchase = purchase
        self._cpu = cpu = instance_type.allocatable_cpu_milli - overhead.cpu_milli
        self._memory = memory = instance_type.allocatable_memory_mib - overhead.memory_mib
        self._pods = instance_type.max_pods - overhead.pods
        self._gpus = gpus = max(instance_type.gpu_count, 1)
        self._may = [
            a_class.arch == instance_type.arch
            and (purchase is not Purchase.SPOT or a_class.interruptible)
            and a_class.cpu_milli <= cpu
            and a_class.memory_mib <= memory
            and a_class.need.gpus <= gpus
            for a_class in classes
        ]

    def cut(self, cut: Cut) -> NodeOption | None:
        """The node when it is cut; None where it carries nobody or can't be cut so."""
        instance_type, fraction = self._instance_type, cut.slices[0].fraction
        if (fraction is None) != (instance_type.gpu_count > 0):
            return None
        if fraction is not None and fraction != instance_type.gpu_fraction:
            return None
        gpus, carrier = instance_type.gpu_count, cut.carrier
        if cut.renamed and carrier.second_ask(cut.slices[0], gpus) is None:
            return None
        if cut.metered and not carrier.meters(gpus):
            return None
        if cut.mechanism is Mechanism.MIG and not mig_offered(instance_type):
            return None
        may = self._may
        admitted = tuple(sorted([number for number in cut.admitted() if may[number]]))
        if not admitted or self._pods <= 0:
            return None
        return NodeOption(
            instance_type,
            self._purchase,
            cut,
            instance_type.prices[self._purchase],
            self._cpu,
            self._memory,
            self._pods,
            self._gpus if cut.mechanism is Mechanism.MIG else self._gpus * cut.slots_per_gpu,
            metered_memory_mib(cut.gpu) if cut.metered else 0,
            cut.slices[0].metered_milli or 0,
            admitted,
        )


def _most_pods(option: NodeOption, cpu_milli: Sequence[int], memory_mib: Sequence[int]) -> int:
    """The most pods of any mix that its CPU, memory and pod count let it carry, by all classes' sizes; slots aside."""
    least_cpu = max(min([cpu_milli[number] for number in option.classes]), 1)
    least_memory = max(min([memory_mib[number] for number in option.classes]), 1)
    return min(option.cpu_milli // least_cpu, option.memory_mib // least_memory, option.pods)


def _undominated_cuts(options: Sequence[NodeOption], classes: Sequence[WorkloadClass]) -> list[NodeOption]:
    """Of equal slots on one type, those that no other beats: as many pods, at least the same classes."""
    slots = [
        option
        for option in options
        if option.cut.mechanism in {Mechanism.TIME_SLICING, Mechanism.MPS} and not option.cut.metered
    ]
    # Only who has the tenant's classes can beat one of its cuts.
    metered: dict[str, list[tuple[NodeOption, frozenset[int]]]] = defaultdict(list)
    for option in options:
        if option.cut.metered:
            metered[option.cut.tenant].append((option, frozenset(option.classes)))
    equal = set(slots)
    kept = [option for option in options if option not in equal]
    cpu, memory = [a_class.cpu_milli for a_class in classes], [a_class.memory_mib for a_class in classes]
    shared: dict[str, list[tuple[int, frozenset[int]]]] = defaultdict(list)
    # Most classes first, so that whoever dominates is met before whom it dominates. Of equals, time-slicing: it has
    # the lower slowdown, and whoever wants enforced memory says so by isolation.
    for option in sorted(
        slots, key=lambda slot: (-len(slot.classes), -slot.units, slot.cut.mechanism is Mechanism.MPS)
    ):
        capacity, admitted = min(option.units, _most_pods(option, cpu, memory)), frozenset(option.classes)
        if any(capacity <= most and admitted <= others for most, others in shared[option.cut.tenant]):
            continue
        # Whatever fills the slots of a single GPU keeps within the sums of a metered one that has as much time.
        if any(
            capacity <= counted.units
            and admitted <= others
            and option.units * option.cut.slices[0].time_milli <= counted.gpu_time_milli
            for counted, others in metered[option.cut.tenant]
        ):
            continue
        shared[option.cut.tenant].append((capacity, admitted))
        kept.append(option)
    return kept


def _undominated_types(options: Sequence[NodeOption], counted: frozenset[str]) -> list[NodeOption]:
    """Of types with the same cut, bought alike, those that no other beats in price and every size.

    Where there is a limit to one (a counted type, what is reserved), it beats none and none beats it.
    """
    groups: dict[tuple[object, ...], list[NodeOption]] = defaultdict(list)
    for option in options:
        # The same cut object is offered to every type of its GPU.
        name = option.instance_type.name
        limited = name if name in counted or option.purchase is Purchase.RESERVED else ""
        groups[id(option.cut), option.units, option.classes, option.purchase, limited].append(option)
    kept: list[NodeOption] = []
    for group in groups.values():
        standing: list[NodeOption] = []
        for option in sorted(group, key=lambda each: (each.price, each.instance_type.name)):
            if not any(
                other.cpu_milli >= option.cpu_milli
                and other.memory_mib >= option.memory_mib
                and other.pods >= option.pods
                for other in standing
            ):
                standing.append(option)
        kept += standing
    return kept
