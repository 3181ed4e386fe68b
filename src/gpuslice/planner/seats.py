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
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

from gpuslice.hardware.fit import fit
from gpuslice.hardware.slices import SHARED_GPU, Mechanism
from gpuslice.planner import plan as artefact
from gpuslice.planner.assemble import Dealer, assignment, base_name
from gpuslice.planner.layouts import layout_of, resource_of
from gpuslice.planner.patterns import Pattern
from gpuslice.planner.promised import seat_of
from gpuslice.units import parse_quantity, usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gpuslice.hardware.stacks import Stack
    from gpuslice.planner.master import Packing
    from gpuslice.planner.options import GpuGeometry, NodeOption
    from gpuslice.planner.seating import Seating
    from gpuslice.workloads.model import Workload

    Counts = tuple[tuple[str, int], ...]  # replicas by workload, ascending

_STEM: Final = 48  # letters of a pool's name that say what it is
_HEX: Final = 6


@dataclass(frozen=True, slots=True)
class _Kind:
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


def _kind(pattern: Pattern) -> _Kind:
    option = pattern.option
    layout = layout_of(option.cut, pattern.geometries)
    return _Kind(option.instance_type.name, option.purchase.value, layout, option, pattern.geometries)


@dataclass(frozen=True, slots=True)
class _Seats:
    """A pool to be.

    Attributes:
        kind: of its nodes.
        seats: of each node.
        nodes: what each carries, and how many such there are.
        own: whose own it is; empty: it has no more nodes than these, all full.
    """

    kind: _Kind
    seats: Counts
    nodes: tuple[tuple[Counts, int], ...]
    own: str = ""


class SeatedFleet:
    """Pools and assignments of nodes with seats."""

    def __init__(
        self, seating: Seating, stack: Stack, second: Callable[[NodeOption], Iterable[NodeOption]]
    ) -> None:
        """Make nodes that are alike one pool, and one for each workload.

        Args:
            seating: who asks for what, and the nodes.
            stack: what nodes run.
            second: nodes to fall back to where EC2 is out of one; none where that isn't wanted.
        """
        self._stack, self._second = stack, second
        self._asks = {member.name: each.kept_to for each in seating.classes for member in each.members}
        self._workloads = {member.name: member for each in seating.classes for member in each.members}
        self._numbers = {member.name: n for n, each in enumerate(seating.classes) for member in each.members}
        self._pools = {self._name(each): each for each in _settled(_pools(seating))}

    def pools(self) -> tuple[artefact.Pool, ...]:
        """The pools, by name."""
        return tuple(self._pool(name, each) for name, each in sorted(self._pools.items()))

    def packing(self) -> Packing:
        """The nodes of all pools, by numbers of the seating's classes: at most those that it was made of."""
        found: Packing = Counter()
        for pool in self._pools.values():
            kind = pool.kind
            for counts, alike in pool.nodes:
                pods: Counter[tuple[int, int]] = Counter()
                for name, count in counts:
                    pods[self._numbers[name], self._slice(kind.option, name)] += count
                ordered = tuple((*place, count) for place, count in sorted(pods.items()))
                found[Pattern(kind.option, ordered, kind.geometries)] += alike
        return found

    def assignments(self) -> tuple[artefact.Assignment, ...]:
        """Who goes where, by workload and pool."""
        found: dict[str, list[artefact.Assignment]] = defaultdict(list)
        for name, pool in sorted(self._pools.items()):
            # Whoever has seats, also where nobody is yet: the template has to do there, too.
            carried = Counter(dict.fromkeys(dict(pool.seats), 0))
            for counts, alike in pool.nodes:
                carried.update({workload: count * alike for workload, count in counts})
            for workload, count in carried.items():
                found[workload].append(self._assignment(name, pool, self._workloads[workload], count))
        return tuple(each for name in sorted(found) for each in _one_template(found[name]) if each.replicas)

    def _assignment(self, name: str, pool: _Seats, workload: Workload, count: int) -> artefact.Assignment:
        option = pool.kind.option
        slice_ = option.cut.slices[self._slice(option, workload.name)]
        made = assignment(workload, name, option, slice_, fit(workload.need, slice_), count, self._stack)
        return structs.replace(
            made,
            request=UNSET,
            seat=seat_of(workload.name),
            resource=SHARED_GPU if self._renamed(pool) else made.resource,
        )

    def _slice(self, option: NodeOption, workload: str) -> int:
        """Which of the slices of a node it gets: of MIG there is one for each profile, and a resource for each."""
        asked = self._asks[workload]
        return next((n for n, each in enumerate(option.cut.slices) if each.resource == asked), 0)

    def _pool(self, name: str, pool: _Seats) -> artefact.Pool:
        option, cut = pool.kind.option, pool.kind.option.cut
        others = sorted(self._second(option), key=lambda each: (each.price, each.instance_type.name))
        types = (option.instance_type.name, *(each.instance_type.name for each in others[:1]))
        resource = SHARED_GPU if self._renamed(pool) else resource_of(cut.slices[0], self._stack)
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
            resource="" if cut.mechanism is Mechanism.MIG else resource,
            tenant=cut.tenant,
            seats=dict(pool.seats),
            max_nodes=UNSET if pool.own else sum(alike for _, alike in pool.nodes),
        )

    def _renamed(self, pool: _Seats) -> bool:
        """Whether its whole GPUs are offered under the name of shared ones."""
        whole = pool.kind.option.cut.mechanism is Mechanism.WHOLE
        return whole and any(self._asks[name] == SHARED_GPU for name, _ in pool.seats)

    def _name(self, pool: _Seats) -> str:
        """A name that says what it is, and changes with its seats: a node keeps those of its first boot."""
        kind = pool.kind
        stem = base_name(Pattern(kind.option, (), kind.geometries))
        if pool.own:
            stem = re.sub(r"[^a-z0-9]+", "-", pool.own.lower()).strip("-")
        said = (pool.own, pool.seats, kind.layout, kind.instance_type, kind.purchase)
        digest = hashlib.sha256(str(said).encode()).hexdigest()[:_HEX]
        return f"{stem[:_STEM].strip('-') or 'pool'}-{digest}"


def _pools(seating: Seating) -> list[_Seats]:
    """The pools with a limit, and each workload's own."""
    nodes: dict[tuple[_Kind, Counts], int] = defaultdict(int)
    dealer = Dealer(
        (number, None, member, member.replicas)
        for number, each in enumerate(seating.classes)
        for member in each.members
    )
    for pattern, dealt, alike in dealer.nodes(seating.packing):
        carried: Counter[str] = Counter()
        for workload, _, count in dealt:
            carried[workload] += count
        nodes[_kind(pattern), tuple(sorted(carried.items()))] += alike
    found = []
    for number, each in enumerate(seating.classes):
        for member in each.members:
            alone = {
                node: alike for node, alike in nodes.items() if [name for name, _ in node[1]] == [member.name]
            }
            own, kept = _own(member.name, seating.alone[number], alone)
            found.append(own)
            for node in kept:
                del nodes[node]
    found += [_Seats(kind, seats, ((seats, alike),)) for (kind, seats), alike in nodes.items()]
    return found


def _own(
    workload: str, alone: Pattern, nodes: Mapping[tuple[_Kind, Counts], int]
) -> tuple[_Seats, list[tuple[_Kind, Counts]]]:
    """A workload's own pool, and those of its nodes that are in it: where a replica is cheapest.

    Args:
        workload: its name.
        alone: the node on which its replicas are cheapest with no others.
        nodes: that carry it and nobody else.
    """
    most: dict[_Kind, int] = {}
    for kind, ((_, count),) in nodes:
        most[kind] = max(count, most.get(kind, 0))
    most[_kind(alone)] = max(alone.pods[0][2], most.get(_kind(alone), 0))
    own = min(
        most, key=lambda kind: (kind.option.price / most[kind], kind.option.price)
    )  # those with nodes first
    full = most[own]
    kept = [(kind, counts) for kind, counts in nodes if kind == own]
    replicas = sum(counts[0][1] * nodes[kind, counts] for kind, counts in kept)
    return _own_pool(own, workload, full, replicas), kept


def _own_pool(kind: _Kind, workload: str, full: int, replicas: int) -> _Seats:
    """So many replicas in a pool of their own, all of whose nodes are full but for one."""
    filled = [(((workload, full),), replicas // full)] if replicas >= full else []
    rest = [(((workload, replicas % full),), 1)] if replicas % full else []
    return _Seats(kind, ((workload, full),), (*filled, *rest), workload)


def _settled(pools: list[_Seats]) -> list[_Seats]:
    """The pools without nodes whose pods all find free seats in pools of their own.

    It depends on the order of arrival whether Karpenter launches those, and whether pods stay on them. A packing that
    was made in little time may have some.
    """
    planned: dict[str, int] = {}
    free: dict[str, int] = {}
    for pool in pools:
        if pool.own:
            ((_, full),) = pool.seats
            planned[pool.own] = sum(counts[0][1] * alike for counts, alike in pool.nodes)
            free[pool.own] = -planned[pool.own] % full
    settled = []
    for pool in sorted(pools, key=lambda each: -each.kind.option.price):
        if pool.own:
            continue
        ((seats, alike),) = pool.nodes
        spare = min(alike, *(free[name] // count for name, count in seats))
        for name, count in seats:
            free[name] -= spare * count
            planned[name] += spare * count
        if alike > spare:
            settled.append(replace(pool, nodes=((seats, alike - spare),)))
    return settled + [
        _own_pool(pool.kind, pool.own, pool.seats[0][1], planned[pool.own]) for pool in pools if pool.own
    ]


def _one_template(assignments: list[artefact.Assignment]) -> list[artefact.Assignment]:
    """The assignments of one workload with what is one for all of its pods: the least memory that any leaves it."""
    limits = [each.memory_limit for each in assignments if each.memory_limit is not UNSET]
    if not limits:
        return assignments
    least = min(limits, key=parse_quantity)
    return [structs.replace(each, memory_limit=least) for each in assignments]
