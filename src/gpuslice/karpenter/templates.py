"""NodePools made ready for placing pods: which instance types fit what, as sets of bits.

A set of instance types is an integer, bit i for the i-th type. What still fits a number of pods is then a few
bisections and bitwise ANDs, however many types a pool has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gpuslice.karpenter.model import PODS, MinValues, PodClass, Settings
from gpuslice.karpenter.overlays import overlaid
from gpuslice.karpenter.requirements import HOSTNAME, NODE_POOL, combined, conflict, labelled, obstacle
from gpuslice.karpenter.shapes import Shape, queue_key, shapes
from gpuslice.karpenter.states import States

if TYPE_CHECKING:
    from gpuslice.karpenter.model import InstanceType, Launch, Node, NodePool, Offering, Overlay, Taint
    from gpuslice.karpenter.requirements import Requirements

_READY_LABELS: Final = {"karpenter.sh/registered": "true", "karpenter.sh/initialized": "true"}


class Template:
    """A NodePool, and which of its instance types are left under which requirements.

    Attributes:
        pool: with overlays applied.
        types: those that it may launch.
        all: the set of them.
        state: number of its own requirements.
        daemons: what daemonsets take, for each type.
        labels: that any node of a type has, for each type: those that can have one value only.
    """

    def __init__(
        self, pool: NodePool, daemons: Sequence[tuple[PodClass, tuple[Shape, ...]]], states: States
    ) -> None:
        """Choose the types that the pool may launch, and what fits them.

        Args:
            pool: with overlays applied.
            daemons: of the cluster, each as it is and as it is relaxed.
            states: in which its requirements are numbered.
        """
        self.pool = pool
        self._states = states
        own = combined(
            pool.requirements, labelled({**pool.labels, NODE_POOL: pool.name, **_READY_LABELS}).values()
        )
        self.state = states.number(own)
        fitting = [
            kind
            for kind in pool.instance_types
            if conflict(kind.requirements(), own) is None and _offered(kind, own)
        ]
        self.types: tuple[InstanceType, ...] = tuple(fitting)
        self.daemons = tuple(_daemons(pool, kind, own, daemons) for kind in fitting)
        self._labels = tuple(kind.requirements() for kind in fitting)
        self.labels = tuple(
            {
                key: next(iter(requirement.values))
                for key, requirement in labels.items()
                if len(requirement.values) == 1 and not requirement.complement
            }
            for labels in self._labels
        )
        self.all = (1 << len(fitting)) - 1
        self.room: dict[str, tuple[list[int], list[int]]] = {}
        self._usable = self.all
        self._fit()
        self._under: dict[int, int] = {}

    def _fit(self) -> None:
        rooms = []
        for at, (kind, taken) in enumerate(zip(self.types, self.daemons, strict=True)):
            allocatable = kind.allocatable()
            room = {
                key: allocatable.get(key, 0) - taken.get(key, 0) for key in allocatable.keys() | taken.keys()
            }
            if any(amount < 0 for amount in (*allocatable.values(), *room.values())):
                self._usable &= ~(1 << at)
            rooms.append(room)
        for resource in {key for room in rooms for key in room}:
            amounts = sorted({room.get(resource, 0) for room in rooms})
            masks = [
                sum(1 << at for at, room in enumerate(rooms) if room.get(resource, 0) >= amount)
                & self._usable
                for amount in amounts
            ]
            self.room[resource] = (amounts, masks)

    def fitting(self, resource: str, amount: int) -> int:
        """The types that have so much of a resource for pods."""
        amounts, masks = self.room.get(resource, ((), ()))
        at = bisect_left(amounts, amount)
        return masks[at] if at < len(masks) else 0

    def under(self, state: int) -> int:
        """The types that satisfy requirements and can be bought under them."""
        state_under = self._under.get(state)
        if state_under is None:
            requirements = self._states[state]
            state_under = sum(
                1 << at
                for at, (kind, labels) in enumerate(zip(self.types, self._labels, strict=True))
                if conflict(labels, requirements) is None and _offered(kind, requirements)
            )
            self._under[state] = state_under
        return state_under

    def within(self, remaining: Mapping[str, int]) -> int:
        """The types that limits leave room for."""
        return sum(
            1 << at
            for at, kind in enumerate(self.types)
            if all(kind.capacity.get(key, 0) <= left for key, left in remaining.items())
        )

    def enough_values(self, state: int, types: int) -> bool:
        """Whether a set of types keeps the minValues of its requirements."""
        return not self.short_of(state, types)

    def short_of(self, state: int, types: int) -> dict[str, int]:
        """Labels of which a set of types has fewer values than minValues asks for, and how many it has."""
        short = {}
        for requirement in self._states[state].values():
            if requirement.min_values is not None:
                values = {
                    value
                    for at in bits(types)
                    if requirement.key in self._labels[at]
                    for value in self._labels[at][requirement.key].values
                }
                if len(values) < requirement.min_values:
                    short[requirement.key] = len(values)
        return short

    def has_min_values(self, state: int) -> bool:
        """Whether minValues are asked for at all."""
        return any(requirement.min_values is not None for requirement in self._states[state].values())


class Pools:
    """All NodePools of a cluster, in the order in which Karpenter tries them, and what is remembered of them.

    Attributes:
        templates: by weight, the highest first, equals by name, the last first; pools without any type are left out.
        by_name: all pools, with overlays applied.
        priced: (pool, instance type) whose price an overlay sets.
        refused: overlays in conflict.
        claims, nodes: requirements of nodes to be made and of nodes that are there.
        launches: what launches came to, by pool, types and requirements: kept by `launch`.
        suits: whether a shape may be on a node, by its labels and taints: kept by `Binder`.
    """

    def __init__(
        self,
        pools: Iterable[NodePool],
        *,
        overlays: Iterable[Overlay] = (),
        daemons: Sequence[PodClass] = (),
        settings: Settings | None = None,
    ) -> None:
        """Make pools ready.

        Args:
            pools: of the cluster.
            overlays: of the cluster.
            daemons: pods of the cluster's daemonsets, one class each.
            settings: Karpenter's.
        """
        self.settings = settings or Settings()
        applied = overlaid(tuple(pools), overlays)
        self.priced, self.refused = applied.priced, applied.refused
        self.claims, self.nodes = States(undefined=True), States(undefined=False)
        for states in (self.claims, self.nodes):
            states.number(())  # number 0 is "nothing asked for"
        self.by_name = {pool.name: pool for pool in applied.pools}
        ordered = sorted(applied.pools, key=lambda pool: (pool.weight, pool.name), reverse=True)
        steps = [(daemon, shapes(daemon, Settings().preferences, prefer_taints=True)) for daemon in daemons]
        made = (Template(node_pool, steps, self.claims) for node_pool in ordered)
        strict = self.settings.min_values is MinValues.STRICT
        self.templates = tuple(
            template
            for template in made
            if template.all and (not strict or template.enough_values(template.state, template.all))
        )
        self.daemons = tuple(daemons)
        self._prefer_taints = any(
            taint.effect == "PreferNoSchedule" for pool in applied.pools for taint in pool.taints
        )
        self._shapes: dict[PodClass, tuple[Shape, ...]] = {}
        self._shared: dict[tuple[object, ...], Shape] = {}
        self._tolerated: dict[tuple[Shape, Template], bool] = {}
        self._taints: dict[int, tuple[Taint, ...]] = {}  # by identity: nodes of a pool share theirs
        self._tolerates: dict[tuple[Shape, int], bool] = {}
        self._on_claims: dict[Shape, int] = {}
        self._on_nodes: dict[Shape, int] = {}
        self._labels: dict[frozenset[tuple[str, str]], int] = {}
        self.launches: dict[tuple[Template, int, int], Launch | None] = {}
        self.suits: dict[tuple[Shape, int, tuple[Taint, ...]], bool] = {}

    def shapes(self, kind: PodClass) -> tuple[Shape, ...]:
        """A pod as it is and as it is relaxed: equal ones are the same objects."""
        known = self._shapes.get(kind)
        if known is None:
            made = shapes(kind, self.settings.preferences, prefer_taints=self._prefer_taints)
            known = tuple(self._shared.setdefault(shape.key(), shape) for shape in made)
            self._shapes[kind] = known
        return known

    def want_of_claim(self, shape: Shape) -> int:
        """What a shape asks of a node to be made, by number. Its name is left out: nobody can know that yet."""
        number = self._on_claims.get(shape)
        if number is None:
            number = self._on_claims[shape] = self.claims.number(shape.wanted)
        return number

    def want_of_node(self, shape: Shape) -> int:
        """What a shape asks of a node that is there, by number."""
        number = self._on_nodes.get(shape)
        if number is None:
            number = self._on_nodes[shape] = self.nodes.number(shape.wanted)
        return number

    def state_of(self, node: Node) -> int:
        """A node's labels by number, but for its name: nodes of a kind share theirs."""
        key = frozenset(node.labels.items())
        state = self._labels.get(key)
        if state is None:
            own = {name: value for name, value in node.labels.items() if name != HOSTNAME}
            state = self._labels[key] = self.nodes.number(labelled(own))
        return state

    def tolerated(self, shape: Shape, template: Template) -> bool:
        """Whether a shape tolerates the taints of a pool."""
        key = (shape, template)
        known = self._tolerated.get(key)
        if known is None:
            known = self._tolerated[key] = shape.tolerates(template.pool.taints)
        return known

    def tolerates(self, shape: Shape, taints: tuple[Taint, ...]) -> bool:
        """Whether a shape tolerates the taints of a node."""
        key = (shape, id(taints))
        tolerated = self._tolerates.get(key)
        if tolerated is None:
            self._taints[id(taints)] = taints  # kept, so that nothing else gets its identity
            tolerated = self._tolerates[key] = shape.tolerates(taints)
        return tolerated

    def key(self, kind: PodClass) -> tuple[int, int]:
        """By which the queue is sorted."""
        return queue_key(kind)


def bits(mask: int) -> Iterator[int]:
    """Indices of a set of types, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def offerings(kind: InstanceType, requirements: Requirements) -> list[Offering]:
    """The offerings of a type that are available and allowed."""
    return [
        offering
        for offering in kind.offerings
        if offering.available and obstacle(requirements, offering.requirements(), undefined=True) is None
    ]


def _offered(kind: InstanceType, requirements: Requirements) -> bool:
    return bool(offerings(kind, requirements))


def _daemons(
    pool: NodePool,
    kind: InstanceType,
    own: Requirements,
    daemons: Iterable[tuple[PodClass, tuple[Shape, ...]]],
) -> dict[str, int]:
    """What daemonsets take of a node of this type."""
    taken: dict[str, int] = {}
    labels = kind.requirements()
    for daemon, steps in daemons:
        if not _tolerates(daemon, pool):
            continue
        for shape in steps:
            strict = {want.key: want for want in shape.strict}
            if obstacle(own, strict, undefined=True) is None and conflict(labels, strict) is None:
                for key, amount in (*daemon.requests.items(), (PODS, 1)):
                    taken[key] = taken.get(key, 0) + amount
                break
    return taken


def _tolerates(daemon: PodClass, pool: NodePool) -> bool:
    return all(
        taint.effect == "PreferNoSchedule"
        or any(toleration.tolerates(taint) for toleration in daemon.tolerations)
        for taint in pool.taints
    )
