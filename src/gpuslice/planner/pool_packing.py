"""The nodes of one pool for one load: quick, good, and remembered, since a search over homes asks again and again."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.slices import Mechanism
from gpuslice.planner.patterns import Pattern, capacity, usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.knapsack import Floats
    from gpuslice.planner.master import Packing
    from gpuslice.planner.options import Cut, GpuGeometry, NodeOption

    Load = tuple[tuple[tuple[int, int], int], ...]  # ((class number, slice index), replicas), ascending


POOL_FEE: Final = 20_000
"""Micro-dollars an hour that a pool must save to be worth having: each is three objects to look after."""


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What makes nodes one pool: the same cut, for the same group; with MIG the same geometry.

    Attributes:
        cut: options of one cut share the object.
        geometries: MIG's: one where all GPUs of a node are cut alike, else one per GPU.
        spot: whether its nodes are spot: who may not be interrupted must never land there.
    """

    cut: Cut
    geometries: tuple[GpuGeometry, ...]
    spot: bool


@dataclass(frozen=True, slots=True)
class Home:
    """Where replicas go: a pool, and the slice that they ask for there."""

    pool: PoolKey
    slice_index: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Nodes for a load.

    Attributes:
        price: micro-dollars per hour of all.
        nodes: patterns and how many of each.
    """

    price: int
    nodes: tuple[tuple[Pattern, int], ...]


def pool_of(pattern: Pattern) -> PoolKey:
    """The pool that a node with this load belongs to."""
    geometries = pattern.geometries
    if len(set(geometries)) == 1:
        geometries = geometries[:1]
    return PoolKey(pattern.option.cut, geometries, pattern.option.purchase is Purchase.SPOT)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What matters beside the price of nodes.

    Attributes:
        fee: micro-dollars an hour that each pool counts for.
        kept: homes of workloads, by name, that are to stay where they are.
    """

    fee: int = POOL_FEE
    kept: Mapping[str, Home] = field(default_factory=dict)


NO_WISHES: Final = Wishes()


class PoolPacking:
    """Packs pools, and remembers."""

    def __init__(
        self,
        options: Sequence[NodeOption],
        classes: Sequence[WorkloadClass],
        values: Floats,
        wishes: Wishes = NO_WISHES,
    ) -> None:
        """Keep what all pools share.

        Args:
            options: nodes to choose from, cheapest first.
            classes: that they carry.
            values: what a replica of each class is worth, by which nodes are compared.
            wishes: of those who search over homes.
        """
        self.wishes = wishes
        self._classes = classes
        self._values = [max(float(each), 1e-6) for each in values]
        self._by_cut: dict[tuple[Cut, bool], list[NodeOption]] = defaultdict(list)
        for option in options:
            self._by_cut[option.cut, option.purchase is Purchase.SPOT].append(option)
        self._pools_for: dict[frozenset[int], list[PoolKey]] = {}
        self._known: dict[tuple[PoolKey, Load], Packed | None] = {}
        self._sizes: dict[tuple[NodeOption, int], tuple[int, ...]] = {}

    def remember(self, packing: Packing) -> None:
        """Take the nodes of a whole packing as an answer for the loads that its pools carry."""
        nodes: dict[PoolKey, list[tuple[Pattern, int]]] = defaultdict(list)
        loads: dict[PoolKey, Counter[tuple[int, int]]] = defaultdict(Counter)
        for pattern, count in packing.items():
            pool = pool_of(pattern)
            nodes[pool].append((pattern, count))
            for number, where, carried in pattern.pods:
                loads[pool][number, where] += carried * count
        for pool, load in loads.items():
            price = sum(pattern.option.price * count for pattern, count in nodes[pool])
            key = (pool, tuple(sorted(load.items())))
            found = self.pack(*key)
            if found is None or price < found.price:
                self._known[key] = Packed(price, tuple(nodes[pool]))

    def pack(self, pool: PoolKey, load: Load) -> Packed | None:
        """Nodes of the pool for the load; None where some replica fits none of them."""
        key = (pool, load)
        if key not in self._known:
            self._known[key] = self._packed(pool, load)
        return self._known[key]

    def pools_for(self, numbers: Iterable[int]) -> list[PoolKey]:
        """Pools, MIG's aside, that could be home to all these classes; they need not be open."""
        wanted = frozenset(numbers)
        if wanted not in self._pools_for:
            self._pools_for[wanted] = [
                PoolKey(cut, (), spot)
                for (cut, spot), options in self._by_cut.items()
                if cut.mechanism is not Mechanism.MIG
                and all(any(number in each.classes for each in options) for number in wanted)
            ]
        return self._pools_for[wanted]

    def _packed(self, pool: PoolKey, load: Load) -> Packed | None:
        nodes: Counter[Pattern] = Counter()
        left = dict(load)
        price = 0
        best: Packed | None = None
        options = [
            option
            for option in self._by_cut[pool.cut, pool.spot]
            if len(pool.geometries) <= 1 or option.units == len(pool.geometries)
        ]
        while left:
            finish = self._one_node(options, pool, left)
            if finish is not None and (best is None or price + finish.option.price < best.price):
                best = Packed(price + finish.option.price, tuple((nodes + Counter([finish])).items()))
            loads = ((option, self._fill(option, pool, left)) for option in options)
            filled = [
                (self._worth(counts) / max(option.usd, 1e-6), option, counts)
                for option, counts in loads
                if counts
            ]
            if not filled:
                return best
            _, option, counts = max(filled, key=lambda each: each[0])
            times = min(left[place] // count for place, count in counts.items())
            nodes[_pattern(option, pool, counts)] += times
            price += option.price * times
            for place, count in counts.items():
                left[place] -= count * times
                if not left[place]:
                    del left[place]
            if best is not None and price >= best.price:
                return best
        whole = Packed(price, tuple(nodes.items()))
        return whole if best is None or price < best.price else best

    def _worth(self, counts: Mapping[tuple[int, int], int]) -> float:
        return sum(self._values[number] * count for (number, _), count in counts.items())

    def _one_node(
        self, options: Iterable[NodeOption], pool: PoolKey, left: dict[tuple[int, int], int]
    ) -> Pattern | None:
        """The cheapest node that carries all that is left."""
        for option in options:
            sizes, have = self._dimensions(option, pool, left)
            if sizes is not None and all(
                sum(size[r] * count for size, count in zip(sizes, left.values(), strict=True)) <= most
                for r, most in enumerate(have)
            ):
                return _pattern(option, pool, left)
        return None

    def _fill(
        self, option: NodeOption, pool: PoolKey, left: dict[tuple[int, int], int]
    ) -> dict[tuple[int, int], int]:
        places = [place for place in left if place[0] in option.classes]
        sizes, have = self._dimensions(option, pool, places)
        if not places or sizes is None:
            return {}
        # What is worth most for the largest share that it takes goes in first, as often as it fits.
        shares = [max(need / max(most, 1) for need, most in zip(size, have, strict=True)) for size in sizes]
        ranked = sorted(
            range(len(places)), key=lambda i: (-self._values[places[i][0]] / shares[i], places[i])
        )
        room = list(have)
        counts: dict[tuple[int, int], int] = {}
        for i in ranked:
            count = min([left[places[i]], *(room[r] // need for r, need in enumerate(sizes[i]) if need)])
            if count:
                counts[places[i]] = count
                room = [free - need * count for free, need in zip(room, sizes[i], strict=True)]
        return counts

    def _dimensions(
        self, option: NodeOption, pool: PoolKey, places: Iterable[tuple[int, int]]
    ) -> tuple[list[tuple[int, ...]] | None, tuple[int, ...]]:
        """Sizes of the places and the node's capacity; with MIG, instances of each profile count."""
        places = list(places)
        if any(number not in option.classes for number, _ in places):
            return None, ()
        if option.cut.mechanism is not Mechanism.MIG:
            return [self._size(option, number) for number, _ in places], capacity(option)
        instances = instances_of(option, pool.geometries)
        sizes = [
            (
                self._classes[number].cpu_milli,
                self._classes[number].memory_mib,
                1,
                *(int(where == each) for each in range(len(instances))),
            )
            for number, where in places
        ]
        return sizes, (option.cpu_milli, option.memory_mib, option.pods, *instances)

    def _size(self, option: NodeOption, number: int) -> tuple[int, ...]:
        if (option, number) not in self._sizes:
            self._sizes[option, number] = usage(number, option, self._classes)
        return self._sizes[option, number]


def instances_of(option: NodeOption, geometries: tuple[GpuGeometry, ...]) -> tuple[int, ...]:
    """MIG instances of a node, by slice index of its cut."""
    total: Counter[int] = Counter()
    for geometry in geometries if len(geometries) > 1 else geometries * option.units:
        total.update(dict(geometry))
    return tuple(total[where] for where in range(len(option.cut.slices)))


def _pattern(option: NodeOption, pool: PoolKey, counts: dict[tuple[int, int], int]) -> Pattern:
    pods = tuple(sorted((number, where, count) for (number, where), count in counts.items()))
    geometries = pool.geometries * option.units if len(pool.geometries) == 1 else pool.geometries
    return Pattern(option, pods, geometries)
