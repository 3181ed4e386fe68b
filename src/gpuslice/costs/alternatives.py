"""What else a workload could have: every slice of every GPU, whether it would do, and what all replicas cost there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from gpuslice.carriers import table
from gpuslice.cloud.allocatable import left_for_workloads
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.description import mig_offered
from gpuslice.cloud.labels import node_facts
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import Fit, fit, slot_times
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.sharing import METERED_TIMES
from gpuslice.workloads.node_limits import room_for
from gpuslice.workloads.policy import FREE, Policy, forbids
from gpuslice.workloads.requirements import meetable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from fractions import Fraction

    from gpuslice.carriers.carrier import Carrier
    from gpuslice.cloud.allocatable import Allocatable
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.slices import Slice
    from gpuslice.hardware.stacks import Stack
    from gpuslice.plan.artefact import Layout
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of one kind, on which replicas of a workload could be.

    Attributes:
        instance_type, purchase: of each.
        price: micro-dollars an hour of one.
        per_node: replicas that one holds.
        most: that there may be; None: any number.
    """

    instance_type: str
    purchase: Purchase
    price: int
    per_node: int
    most: int | None = None

    def needed(self, replicas: int) -> int:
        """How many hold so many replicas."""
        return -(-replicas // self.per_node)

    def alone(self, replicas: int) -> int:
        """Micro-dollars an hour of as many whole nodes as so many replicas need."""
        return self.price * self.needed(replicas)

    def shared(self, replicas: int) -> int:
        """Micro-dollars an hour of the part of full nodes that so many replicas take, others having the rest."""
        return self.price * replicas // self.per_node


@dataclass(frozen=True, slots=True)
class Alternative:
    """One slice that a workload could have, and what it would cost or break.

    Attributes:
        slice: its name; where several counts of replicas are possible, the most that fit and the one that it has.
        answer: of `fit`.
        nodes: that offer it and hold a replica; none where it doesn't fit.
    """

    slice: str
    answer: Fit
    nodes: tuple[Nodes, ...] = ()

    @property
    def cheapest(self) -> Nodes | None:
        """Those on which a replica's part of a full node costs least; None: there are none."""
        return min(self.nodes, key=lambda nodes: (nodes.shared(1), *_names(nodes)), default=None)

    @property
    def price(self) -> int | None:
        """Micro-dollars an hour of that part; None: no nodes offer it."""
        return None if self.cheapest is None else self.cheapest.shared(1)


@dataclass(frozen=True, slots=True)
class Offer:
    """A slice that would do, for all replicas of a workload.

    Attributes:
        slice: its name.
        slowdown: expected; None: not known.
        alone: the nodes that cost least with nobody else on them; None: there may not be so many of any.
        shared: those that cost least if others fill what the replicas leave of them.
        replicas: how many.
    """

    slice: str
    slowdown: float | None
    alone: Nodes | None
    shared: Nodes
    replicas: int

    @property
    def alone_price(self) -> int | None:
        """Micro-dollars an hour of whole nodes; None: there may not be so many."""
        return None if self.alone is None else self.alone.alone(self.replicas)

    @property
    def shared_price(self) -> int:
        """Micro-dollars an hour of a part of full nodes."""
        return self.shared.shared(self.replicas)


def offers(found: Sequence[Alternative], replicas: int) -> tuple[Offer, ...]:
    """The alternatives that some nodes offer, for so many replicas: the cheapest alone first.

    Args:
        found: of one workload.
        replicas: that it has.
    """
    priced = []
    for alternative in found:
        if alternative.nodes:
            enough = [
                nodes
                for nodes in alternative.nodes
                if nodes.most is None or nodes.needed(replicas) <= nodes.most
            ]
            priced.append(
                Offer(
                    alternative.slice,
                    None if alternative.answer.slowdown is None else float(alternative.answer.slowdown),
                    min(enough, key=lambda nodes: (nodes.alone(replicas), *_names(nodes)), default=None),
                    min(alternative.nodes, key=lambda nodes: (nodes.shared(replicas), *_names(nodes))),
                    replicas,
                )
            )
    return tuple(
        sorted(
            priced,
            key=lambda offer: (offer.alone is None, offer.alone_price or 0, offer.shared_price, offer.slice),
        )
    )


def ranked(found: Iterable[Offer], paid: Mapping[str, float]) -> tuple[tuple[Offer, float | None], ...]:
    """Offers by dollars an hour: what a plan has the workload pay for a slice that it has; of the others, alone.

    Args:
        found: of one workload.
        paid: dollars an hour in the plan, by slice.

    Returns:
        Each with what is paid; None: the plan doesn't have it.
    """

    def dollars(offer: Offer) -> tuple[bool, float, float, str]:
        alone = offer.alone_price
        planned = paid.get(offer.slice)
        return (
            planned is None and alone is None,
            (alone or 0) / 1e6 if planned is None else planned,
            offer.shared_price / 1e6,
            offer.slice,
        )

    return tuple((offer, paid.get(offer.slice)) for offer in sorted(found, key=dollars))


def _names(nodes: Nodes) -> tuple[str, str]:
    return nodes.instance_type, nodes.purchase


def alternatives(
    workload: Workload,
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    stack: Stack,
    given: Collection[Layout] = (),
    *,
    policy: Policy = FREE,
    without: Collection[str] = (),
    in_order: bool = True,
) -> tuple[Alternative, ...]:
    """Every mechanism on every GPU of the catalog: those that fit by price, then those that don't.

    What is reserved is left out: there is only so much of it, and the plan says who has it.

    Args:
        workload: in question.
        catalog: types and prices.
        overhead: of daemonsets.
        stack: what nodes run; what it can't do isn't listed.
        given: layouts of the pools that a plan has it in: each is listed as it is there.
        policy: what may be bought.
        without: mechanisms that are not wanted, and "metered": not listed.
        in_order: False where `offers` puts them in order anyway, which is quicker.
    """
    carrier = table.carrier(table.DEVICE_PLUGIN, stack)
    machines: dict[str, list[_Machine]] = {}
    for kind in catalog.instance_types:
        if not forbids(policy, kind):
            machines.setdefault(kind.gpu, []).append(
                _machine(kind, workload, catalog.region, overhead, policy)
            )
    found = []
    for name in sorted(machines):
        gpu, here = GPUS[name], machines[name]
        for slice_, per_gpu in _slices(gpu, [machine.kind for machine in here], workload, stack, given):
            metered = slice_.metered_milli is not None
            if slice_.mechanism.value not in without and not (metered and "metered" in without):
                found.append(_alternative(workload, slice_, per_gpu, here, carrier))
    if not in_order:
        return tuple(found)
    return tuple(
        sorted(
            found,
            key=lambda alternative: (
                not alternative.answer.fits,
                not alternative.nodes,
                alternative.price or 0,
                alternative.slice,
            ),
        )
    )


@dataclass(frozen=True, slots=True)
class _Machine:
    """An instance type for a workload: how many of its pods it holds, slices aside, and how it may be bought.

    Attributes:
        kind: the instance type.
        pods: that it holds by CPU, memory, addresses and whatever else they take.
        prices: micro-dollars an hour by purchase.
        most: nodes that there may be; None: any number.
    """

    kind: InstanceType
    pods: int
    prices: tuple[tuple[Purchase, int], ...]
    most: int | None


def _machine(
    kind: InstanceType, workload: Workload, region: str, overhead: DaemonsetOverhead, policy: Policy
) -> _Machine:
    left: Allocatable = left_for_workloads(kind, overhead)
    rooms = [left.holds(workload.cpu_milli, workload.memory_mib)]
    rooms += [room_for(take, kind) // take.amount for take in workload.takes]
    bought = {Purchase.ON_DEMAND} | ({Purchase.SPOT} if workload.interruptible else set())
    prices = tuple(
        (purchase, price)
        for purchase, price in kind.prices.items()
        if purchase in bought
        and (not workload.requires or meetable(workload.requires, node_facts(kind, purchase, region)))
    )
    return _Machine(
        kind, max(min(rooms), 0) if kind.arch == workload.arch else 0, prices, policy.max_nodes.get(kind.name)
    )


def _slices(
    gpu: Gpu,
    types: Sequence[InstanceType],
    workload: Workload,
    stack: Stack,
    given: Collection[Layout],
) -> Iterator[tuple[Slice, int]]:
    """Slices of one GPU, each with how many there are on a GPU."""
    fractions = frozenset(kind.gpu_fraction for kind in types if not kind.gpu_count)
    yield from _apart(gpu.name, fractions, stack)
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
    carrier = table.carrier(table.DEVICE_PLUGIN, stack)
    if any(carrier.meters(kind.gpu_count) for kind in types):
        yield from _metered(gpu, workload, carrier, given)


@cache
def _apart(gpu_name: str, fractions: frozenset[Fraction], stack: Stack) -> tuple[tuple[Slice, int], ...]:
    """The slices that are the same for every workload: whole, fractional and MIG, each with how many a GPU has."""
    gpu, carrier = GPUS[gpu_name], table.carrier(table.DEVICE_PLUGIN, stack)
    slices = [(cuts.whole(gpu), 1)]
    slices += [
        (slice_, 1)
        for fraction in sorted(fractions)
        if carrier.refuses_slice(slice_ := cuts.fractional(gpu, fraction)) is None
    ]
    if gpu.mig is not None:
        uniform = carrier.instances(gpu.name)
        slices += [
            (cuts.mig(gpu, profile), profile.most if uniform is None else uniform[profile.name])
            for profile in gpu.mig.plain
            if uniform is None or profile.name in uniform
        ]
    return tuple(slices)


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
    workload: Workload, slice_: Slice, per_gpu: int, machines: Sequence[_Machine], carrier: Carrier
) -> Alternative:
    answer = fit(workload.need, slice_)
    if not answer.fits:
        return Alternative(slice_.name, answer)
    nodes = []
    for machine in machines:
        if machine.pods and machine.most != 0 and _offers(machine.kind, slice_, carrier):
            count = min(machine.pods, _slots(workload, slice_, per_gpu, machine.kind, answer))
            nodes += [
                Nodes(machine.kind.name, purchase, price, count, machine.most)
                for purchase, price in machine.prices
                if count
            ]
    return Alternative(slice_.name, answer, tuple(nodes))


def _offers(instance_type: InstanceType, slice_: Slice, carrier: Carrier) -> bool:
    if slice_.fraction is not None:
        return instance_type.gpu_count == 0 and instance_type.gpu_fraction == slice_.fraction
    if slice_.metered_milli is not None:
        return carrier.meters(instance_type.gpu_count)
    if slice_.mechanism is Mechanism.MIG and not mig_offered(instance_type):
        return False
    return instance_type.gpu_count > 0


def _slots(workload: Workload, slice_: Slice, per_gpu: int, instance_type: InstanceType, answer: Fit) -> int:
    """Replicas that the GPUs of one node hold."""
    if slice_.metered_milli is None:
        return per_gpu * max(instance_type.gpu_count, 1) // workload.need.gpus
    return min(
        slice_.sharers,
        slice_.metered_milli // max(answer.time_milli or 1, 1),
        cuts.metered_memory_mib(slice_.gpu) // max(workload.need.memory_mib or 1, 1),
    )
