"""Pools with seats: from a packing to pools whose nodes have a place for each replica, and for nobody else.

Karpenter and kube-scheduler put a pod wherever it fits. So that a packing comes true, each of its nodes offers, beside
its slices, a resource for every workload on it, as many as it has places there, and each pod asks for one of its
workload's. Pods of one workload are alike, and there are as many seats as pods: in whatever order they come, and
wherever they are bound, in the end all seats are taken, on just these nodes.

Nodes that are alike are a pool, which may have no more of them. Each workload has a pool of its own beside that, last
in order and without that limit: there go its pods beyond those planned, in a rollout or because it has grown.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

from gpuslice.hardware.fit import fit
from gpuslice.hardware.resource_names import seat_of
from gpuslice.plan import artefact
from gpuslice.planner.model.layouts import layout_of
from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import ONLY_SLICE, Place, numbered, pods_at
from gpuslice.planner.writing.assemble import Dealer, assignment, base_name
from gpuslice.units import parse_quantity, usd
from gpuslice.workloads.requirements import needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gpuslice.carriers.carrier import Ask
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.cuts import GpuGeometry
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.places import SliceIndex
    from gpuslice.planner.seats.requests import Seating
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.requirements import Term

    Counts = tuple[tuple[str, int], ...]  # replicas by workload, ascending

_STEM: Final = 48  # letters of a pool's name that say what it is
_HEX: Final = 8
_SIZE: Final = 4  # hexadecimal digits that tell the needs of one workload apart


@dataclass(frozen=True, slots=True)
class SeatKind:
    """Nodes that are alike but for whom they carry. Equal where one plan's pool would be the other's.

    Attributes:
        instance_type, purchase, layout: as in a plan.
        option: one of those that come to this: there may be several, for different classes.
        geometries: of its GPUs, with MIG.
    """

    instance_type: str
    purchase: str
    layout: artefact.Layout
    option: NodeOption = field(compare=False)
    geometries: tuple[GpuGeometry, ...] = field(compare=False)


def seat_kind(pattern: Pattern) -> SeatKind:
    """What kind of node has this load."""
    option = pattern.option
    layout = layout_of(option.cut, pattern.geometries)
    return SeatKind(option.instance_type.name, option.purchase.value, layout, option, pattern.geometries)


@dataclass(frozen=True, slots=True)
class Own:
    """The pool of one workload alone, as there is one.

    Attributes:
        kind: of its nodes.
        full: seats of each.
        replicas: on them.
    """

    kind: SeatKind
    full: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Had:
    """Seats that stay as they are.

    Attributes:
        pools: with a limit, and the nodes that stay of each.
        own: by workload.
        asks: by workload, what its pods ask for.
    """

    pools: tuple[SeatPool, ...] = ()
    own: Mapping[str, Own] = field(default_factory=dict)
    asks: Mapping[str, Ask] = field(default_factory=dict)


NOTHING_HAD: Final = Had()


@dataclass(frozen=True, slots=True)
class SeatPool:
    """A pool to be.

    Attributes:
        kind: of its nodes.
        seats: of each node.
        nodes: what each carries, and how many such there are.
        own: whose own it is; empty: it has no more nodes than these, all full.
    """

    kind: SeatKind
    seats: Counts
    nodes: tuple[tuple[Counts, int], ...]
    own: str = ""


class SeatedFleet:
    """Pools and assignments of nodes with seats."""

    def __init__(
        self,
        classes: Sequence[WorkloadClass],
        seating: Seating,
        second: Callable[[NodeOption], Iterable[NodeOption]],
        had: Had = NOTHING_HAD,
    ) -> None:
        """Make nodes that are alike one pool, and one for each workload.

        Args:
            classes: of everybody.
            seating: who asks for what, and the nodes; of those who have no seat yet.
            second: nodes to fall back to where EC2 is out of one; none where that isn't wanted.
            had: seats of the others.
        """
        self._second = second
        self._numbers = {
            member.name: number for number, a_class in numbered(classes) for member in a_class.members
        }
        self._workloads = {member.name: member for a_class in classes for member in a_class.members}
        seated = {
            member.name: a_class.kept_to
            for a_class in seating.classes
            for member in a_class.members
            if a_class.kept_to is not None
        }
        self._asks = {**had.asks, **seated}
        self._pools = {self._name(pool): pool for pool in _pools(seating, had)}

    def packing(self) -> Packing:
        """All nodes, by numbers of the classes."""
        nodes: Packing = Counter()
        for pool in self._pools.values():
            for counts, alike in pool.nodes:
                pods: Counter[Place] = Counter()
                for name, count in counts:
                    pods[Place(self._numbers[name], self._slice(pool.kind, name))] += count
                nodes[Pattern(pool.kind.option, pods_at(pods), pool.kind.geometries)] += alike
        return nodes

    def pools(self) -> tuple[artefact.Pool, ...]:
        """The pools, by name."""
        return tuple(self._pool(name, seat_pool) for name, seat_pool in sorted(self._pools.items()))

    def assignments(self) -> tuple[artefact.Assignment, ...]:
        """Who goes where, by workload and pool."""
        by_workload: dict[str, list[artefact.Assignment]] = defaultdict(list)
        for name, pool in sorted(self._pools.items()):
            # Whoever has seats, also where nobody is yet: the template has to do there, too.
            carried = Counter(dict.fromkeys(dict(pool.seats), 0))
            for counts, alike in pool.nodes:
                carried.update({workload: count * alike for workload, count in counts})
            for workload, count in carried.items():
                by_workload[workload].append(self._assignment(name, pool, self._workloads[workload], count))
        return tuple(
            one_assignment
            for name in sorted(by_workload)
            for one_assignment in _one_template(by_workload[name])
            if one_assignment.replicas
        )

    def _assignment(self, name: str, pool: SeatPool, workload: Workload, count: int) -> artefact.Assignment:
        option = pool.kind.option
        slice_ = option.cut.slices[self._slice(pool.kind, workload.name)]
        answer = fit(workload.need, slice_)
        return assignment(
            workload,
            name,
            option,
            slice_,
            answer,
            count,
            ask=self._second_ask(pool),
            seat=seat_name(workload),
        )

    def _slice(self, kind: SeatKind, workload: str) -> SliceIndex:
        """Which of the cut's slices it asks for: of MIG there is one for each profile, and a resource for each."""
        cut = kind.option.cut
        return next(
            (at for at in cut.indices if cut.carrier.ask(cut.slices[at]) == self._asks.get(workload)),
            ONLY_SLICE,
        )

    def _pool(self, name: str, pool: SeatPool) -> artefact.Pool:
        option, cut = pool.kind.option, pool.kind.option.cut
        others = sorted(self._second(option), key=lambda other: (other.price, other.instance_type.name))
        types = (option.instance_type.name, *(other.instance_type.name for other in others[:1]))
        return artefact.Pool(
            name=name,
            layout=pool.kind.layout,
            instance_types=types,
            purchases=(option.purchase.value,),
            nodes=tuple(
                artefact.Node(
                    option.instance_type.name, option.purchase.value, alike, usd(option.price), dict(counts)
                )
                for counts, alike in pool.nodes
            ),
            carrier=cut.carrier.name,
            requires=self._pins(pool),
            as_shared=self._second_ask(pool) is not None,
            tenant=cut.tenant,
            seats=dict(pool.seats),
            seat_names={name: seat_name(self._workloads[name]) for name, _ in pool.seats},
            max_nodes=UNSET if pool.own else sum(alike for _, alike in pool.nodes),
        )

    def _pins(self, pool: SeatPool) -> Term:
        """What it is bound to, as somebody with seats there requires that."""
        group = pool.kind.option.cut.group
        return needed(group.pins, (self._workloads[name].requires for name, _ in pool.seats))

    def _second_ask(self, pool: SeatPool) -> Ask | None:
        """By what else its slices are offered, as somebody there asks for that; None: by what is usual."""
        option = pool.kind.option
        ask = option.cut.carrier.second_ask(option.cut.slices[0], option.instance_type.gpu_count)
        return ask if any(self._asks.get(name) == ask for name, _ in pool.seats) else None

    def _name(self, pool: SeatPool) -> str:
        """A name that says what it is, and changes with its seats: a node keeps those of its first boot."""
        kind = pool.kind
        stem = base_name(Pattern(kind.option, (), kind.geometries))
        if pool.own:
            stem = re.sub(r"[^a-z0-9]+", "-", pool.own.lower()).strip("-")
        names = tuple(seat_name(self._workloads[name]) for name, _ in pool.seats)
        pins = self._pins(pool)
        said = (
            pool.own,
            pool.seats,
            names,
            self._second_ask(pool) is not None,
            kind.layout,
            kind.instance_type,
            kind.purchase,
            *(pins and (pins,)),
        )
        digest = hashlib.sha256(str(said).encode()).hexdigest()[:_HEX]
        return f"{stem[:_STEM].strip('-') or 'pool'}-{digest}"


def seat_name(workload: Workload) -> str:
    """The resource of a workload's seats: another one for another need, or pods would stay on seats too small."""
    need = workload.need
    said = [
        sorted(map(str, value)) if isinstance(value, frozenset) else value
        for value in (getattr(need, fact.name) for fact in fields(need) if fact.name != "source")
    ]
    return seat_of(workload.name, hashlib.sha256(str(said).encode()).hexdigest()[:_SIZE])


def _pools(seating: Seating, had: Had) -> list[SeatPool]:
    """The pools with a limit, and each workload's own."""
    nodes: dict[tuple[SeatKind, Counts], int] = defaultdict(int)
    dealer = Dealer(
        (number, None, member, member.replicas)
        for number, a_class in numbered(seating.classes)
        for member in a_class.members
    )
    for pattern, dealt, alike in dealer.nodes(seating.packing):
        carried: Counter[str] = Counter()
        for workload, _, count in dealt:
            carried[workload] += count
        nodes[seat_kind(pattern), tuple(sorted(carried.items()))] += alike
    for pool in had.pools:
        for counts, alike in pool.nodes:
            nodes[pool.kind, counts] += alike
    own = dict(had.own)
    for number, one in numbered(seating.classes):
        for member in one.members:
            if member.name not in own:
                own[member.name] = _own(member, seating.alone[number], nodes)
    for kind, counts in [*nodes]:
        (workload, count), *others = counts
        here = own[workload]
        if not others and kind == here.kind and count <= here.full:
            own[workload] = replace(here, replicas=here.replicas + count * nodes.pop((kind, counts)))
    _without_spare(nodes, own)
    return [
        *(_filled(workload, own_pool) for workload, own_pool in own.items()),
        *(SeatPool(kind, seats, ((seats, alike),)) for (kind, seats), alike in nodes.items() if alike),
    ]


def _own(workload: Workload, alone: Iterable[Pattern], nodes: Iterable[tuple[SeatKind, Counts]]) -> Own:
    """A workload's own pool, empty: of the nodes that carry nobody else, where a replica is cheapest.

    Args:
        workload: whose it is.
        alone: nodes on which a replica of its class is cheap with no others.
        nodes: of everybody.
    """
    most: dict[SeatKind, int] = {}
    for kind, counts in nodes:
        if [name for name, _ in counts] == [workload.name]:
            most[kind] = max(counts[0][1], most.get(kind, 0))
    for pattern in alone:
        most[seat_kind(pattern)] = max(pattern.pods[0].replicas, most.get(seat_kind(pattern), 0))

    def a_replica(kind: SeatKind) -> tuple[float, int]:
        return kind.option.price / min(most[kind], workload.replicas), kind.option.price

    own = min(most, key=a_replica)  # of equals the first: those that there are nodes of
    return Own(own, most[own], 0)


def _without_spare(nodes: dict[tuple[SeatKind, Counts], int], own: dict[str, Own]) -> None:
    """Take away nodes whose pods all fit on seats that their own pools have left: Karpenter might do without them."""
    for kind, counts in sorted(nodes, key=lambda node: -node[0].option.price):
        while nodes[kind, counts] and all(
            count <= -own[name].replicas % own[name].full for name, count in counts
        ):
            nodes[kind, counts] -= 1
            for name, count in counts:
                own[name] = replace(own[name], replicas=own[name].replicas + count)


def _filled(workload: str, own: Own) -> SeatPool:
    """A workload's own pool with its nodes."""
    whole, rest = divmod(own.replicas, own.full)
    nodes = [
        (((workload, count),), alike) for count, alike in ((own.full, whole), (rest, 1)) if count and alike
    ]
    return SeatPool(own.kind, ((workload, own.full),), tuple(nodes), workload)


def _one_template(assignments: list[artefact.Assignment]) -> list[artefact.Assignment]:
    """The assignments of one workload with what is one for all of its pods: the least memory that any leaves it."""
    limits = [assignment.memory_limit for assignment in assignments if assignment.memory_limit is not UNSET]
    if not limits:
        return assignments
    least = min(limits, key=parse_quantity)
    return [structs.replace(assignment, memory_limit=least) for assignment in assignments]
