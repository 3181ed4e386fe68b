"""Node options: instance type x purchase x cut, with the classes that each may carry; dominated ones left out."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from operator import le
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.description import mig_offered
from gpuslice.hardware.cut import metered_memory_mib
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.model.cuts import Cut, cuts_of
from gpuslice.planner.model.groups import groups_of
from gpuslice.units import MICRO_USD
from gpuslice.workloads.node_limits import room_of, taken_by
from gpuslice.workloads.policy import FREE, Policy, forbids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.carriers.carrier import Carrier
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.places import ClassNumber


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
        others: what pods of the fleet take of nodes beside all that, and how much of it the node has.
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
    classes: tuple[ClassNumber, ...]
    others: tuple[tuple[str, int], ...] = ()

    @property
    def usd(self) -> float:
        """Dollars per hour, for the solver."""
        return self.price / MICRO_USD

    def admits(self, number: ClassNumber) -> bool:
        """Whether it may carry a class."""
        at = bisect_left(self.classes, number)
        return at < len(self.classes) and self.classes[at] == number


def node_options(
    classes: Sequence[WorkloadClass],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    carrier: Carrier,
    without: frozenset[str] = frozenset(),
    policy: Policy = FREE,
) -> tuple[NodeOption, ...]:
    """All node options worth having, cheapest first.

    Args:
        classes: to place; options name them by their position.
        catalog: with prices; types without one are no option.
        overhead: of daemonsets, on every node.
        carrier: by which pods get slices: cuts that it can't do are no option.
        without: mechanisms that are not wanted; "metered" stands for metered time-slicing alone.
        policy: what may be bought. Types whose nodes it counts stand in for no other.
    """
    by_gpu: dict[str, list[InstanceType]] = defaultdict(list)
    for kind in catalog.instance_types:
        if kind.prices and not forbids(policy, kind):
            by_gpu[kind.gpu].append(kind)
    found: list[NodeOption] = []
    for name in sorted(by_gpu):
        offered = [
            cut
            for group in groups_of(classes, by_gpu[name], catalog.region)
            for cut in cuts_of(GPUS[name], by_gpu[name], classes, carrier, group)
            if cut.mechanism.value not in without and not (cut.metered and METERED in without)
        ]
        for instance_type in by_gpu[name]:
            for purchase in sorted(instance_type.prices):
                bought = _Bought(instance_type, purchase, classes, overhead)
                here = [option for cut in offered if (option := bought.cut(cut)) is not None]
                found += _undominated_cuts(here, classes)
    kept = _undominated_types(found, frozenset(policy.max_nodes))
    return tuple(sorted(kept, key=lambda option: (option.price, option.instance_type.name, option.purchase)))


def by_class(options: Iterable[NodeOption]) -> dict[ClassNumber, list[NodeOption]]:
    """For each class that any of the options may carry, those that may, in their order."""
    found: dict[ClassNumber, list[NodeOption]] = defaultdict(list)
    for option in options:
        for number in option.classes:
            found[number].append(option)
    return found


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
        self._others = room_of(instance_type, taken_by(take for a_class in classes for take in a_class.takes))
        have = dict(self._others)
        self._may = [
            a_class.arch == instance_type.arch
            and (purchase is not Purchase.SPOT or a_class.interruptible)
            and a_class.cpu_milli <= cpu
            and a_class.memory_mib <= memory
            and a_class.need.gpus <= gpus
            and all(take.amount <= have[take.resource] for take in a_class.takes)
            for a_class in classes
        ]

    def cut(self, cut: Cut) -> NodeOption | None:
        """The node when it is cut; None where it carries nobody or can't be cut so."""
        instance_type, fraction = self._instance_type, cut.slices[0].fraction
        if (fraction is None) != (instance_type.gpu_count > 0):
            return None
        if not cut.group.has(instance_type, self._purchase):
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
            self._others,
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
        for option in sorted(group, key=lambda node: (node.price, node.instance_type.name)):
            if not any(
                other.cpu_milli >= option.cpu_milli
                and other.memory_mib >= option.memory_mib
                and other.pods >= option.pods
                and all(map(le, option.others, other.others))
                for other in standing
            ):
                standing.append(option)
        kept += standing
    return kept
