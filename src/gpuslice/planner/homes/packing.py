"""The nodes of one pool for one load: quick, good, and remembered, since a search over homes asks again and again."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from operator import le, mul, sub
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner import budget
from gpuslice.planner.homes.filling import Filling
from gpuslice.planner.homes.first_fit import first_fit
from gpuslice.planner.model.patterns import Pattern, capacity, others_taken, usage
from gpuslice.planner.model.places import Place, load_from
from gpuslice.planner.model.pools import Home, PoolKey, instances_of, pattern_of, pool_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.cuts import Cut
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.places import ClassNumber, Load, LoadEntry
    from gpuslice.planner.programs.arrays import Floats


POOL_FEE: Final = 20_000
"""Micro-dollars an hour that a pool must save to be worth having: each is three objects to look after."""
_MOST_PLACES: Final = 50
"""Kinds of pods in a load, beyond which packing takes less time than filling nodes one after another."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Nodes for a load.

    Attributes:
        price: micro-dollars per hour of all.
        nodes: patterns and how many of each.
    """

    price: int
    nodes: tuple[tuple[Pattern, int], ...]


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
        clock: Clock,
        wishes: Wishes = NO_WISHES,
    ) -> None:
        """Keep what all pools share.

        Args:
            options: nodes to choose from, cheapest first.
            classes: that they carry.
            values: what a replica of each class is worth, by which nodes are compared.
            clock: that the work is told to.
            wishes: of those who search over homes.
        """
        self.wishes = wishes
        self._clock = clock
        self._classes = classes
        self._values = [max(float(value), 1e-6) for value in values]
        self._by_cut: dict[tuple[Cut, bool], list[NodeOption]] = defaultdict(list)
        for option in options:
            self._by_cut[option.cut, option.purchase is Purchase.SPOT].append(option)
        self._open_to = {
            PoolKey(cut, (), spot): frozenset(number for option in offered for number in option.classes)
            for (cut, spot), offered in self._by_cut.items()
            if cut.mechanism is not Mechanism.MIG
        }
        self._pools_for: dict[frozenset[ClassNumber], list[PoolKey]] = {}
        self._by_pool: dict[PoolKey, list[tuple[NodeOption, tuple[int, ...]]]] = {}
        self._known: dict[tuple[PoolKey, Load], Packed | None] = {}
        self._sizes: dict[tuple[NodeOption, ClassNumber], tuple[int, ...]] = {}
        self._admitted: dict[NodeOption, frozenset[ClassNumber]] = {}
        self._likely: dict[tuple[PoolKey, Load], int | None] = {}
        self._rates: dict[PoolKey, tuple[float, ...]] = {}
        self._shares: dict[tuple[PoolKey, Place], tuple[float, ...]] = {}

    def remember(self, packing: Packing) -> None:
        """Take the nodes of a whole packing as an answer for the loads that its pools carry."""
        nodes: dict[PoolKey, list[tuple[Pattern, int]]] = defaultdict(list)
        loads: dict[PoolKey, Counter[Place]] = defaultdict(Counter)
        for pattern, count in packing.items():
            pool = pool_of(pattern)
            nodes[pool].append((pattern, count))
            for number, where, carried in pattern.pods:
                loads[pool][Place(number, where)] += carried * count
        for pool, load in loads.items():
            price = sum(pattern.option.price * count for pattern, count in nodes[pool])
            key = (pool, load_from(load))
            packed = self.pack(*key)
            if packed is None or price < packed.price:
                self._known[key] = Packed(price, tuple(nodes[pool]))

    def pack(self, pool: PoolKey, load: Load) -> Packed | None:
        """Nodes of the pool for the load; None where some replica fits none of them."""
        key = (pool, load)
        if key not in self._known:
            self._known[key] = self._packed(pool, load)
        return self._known[key]

    def options_of(self, pool: PoolKey) -> list[NodeOption]:
        """The nodes that a pool may have, cheapest first."""
        return [option for option, _ in self._offered(pool)]

    def _offered(self, pool: PoolKey) -> list[tuple[NodeOption, tuple[int, ...]]]:
        """The nodes that a pool may have, cheapest first, each with what it has."""
        options = self._by_pool.get(pool)
        if options is None:
            options = self._by_pool[pool] = [
                (option, self._capacities(option, pool))
                for option in self._by_cut[pool.cut, pool.spot]
                if len(pool.geometries) <= 1 or option.units == len(pool.geometries)
            ]
        return options

    def pools_for(self, numbers: Iterable[ClassNumber]) -> list[PoolKey]:
        """Pools, MIG's aside, that could be home to all these classes; they need not be open."""
        wanted = frozenset(numbers)
        if wanted not in self._pools_for:
            self._pools_for[wanted] = [pool for pool, admitted in self._open_to.items() if wanted <= admitted]
        return self._pools_for[wanted]

    def likely(self, pool: PoolKey, load: Load) -> int | None:
        """What Karpenter's nodes for the load are likely to cost; None where some replica fits none.

        Soon known, and near what its model says: a search that goes by it finds loads that Karpenter packs well.
        """
        key = (pool, load)
        if key not in self._likely:
            price = self._filled(pool, load) if len(load) <= _MOST_PLACES else None
            if price is None and (packed := self.pack(pool, load)) is not None:
                price = packed.price
            self._likely[key] = price
        return self._likely[key]

    def _filled(self, pool: PoolKey, load: Load) -> int | None:
        """Micro-dollars an hour, on average over two orders, with the best largest type; None: none will do.

        All pods at once come by CPU and memory, or workload after workload. Nodes are filled as the largest type
        listed; each then is of the cheapest that carries its pods.
        """
        numbers = {number for (number, _), _ in load}
        rooms = [
            (option, room) for option, room in self._offered(pool) if numbers <= self._admitted_by(option)
        ]
        if not rooms:
            return None
        at_once = sorted(load, key=self._karpenters_order)
        orders = [at_once] if len(load) == 1 else [at_once, list(load)]
        option, room = rooms[0]  # what a replica takes is the same on all of them
        sized = [
            [(self._sized(option, place, len(room)), count) for place, count in order] for order in orders
        ]
        whole = [
            sum(map(mul, needs, [count for _, count in load]))
            for needs in zip(*(size for size, _ in sized[-1]), strict=True)
        ]
        alone = next((option.price for option, room in rooms if all(map(le, whole, room))), None)
        best = alone
        for _, room in rooms:
            if all(map(le, whole, room)):
                continue  # one node for all
            total = 0
            for pods in sized:
                nodes = first_fit(room, pods)
                tried = len(pods) * (len(nodes or ()) + 1)
                self._clock.spend(budget.FILLED + budget.STEP * tried)
                if nodes is None or (best is not None and total >= best * len(orders)):
                    break
                for (_, free), count in nodes.items():
                    used = tuple(map(sub, room, free))
                    total += count * next(option.price for option, have in rooms if all(map(le, used, have)))
            else:
                price = total // len(orders)
                best = price if best is None else min(best, price)
        return best

    def _karpenters_order(self, entry: LoadEntry) -> tuple[int, int]:
        a_class = self._classes[entry.place.class_number]
        return -a_class.cpu_milli, -a_class.memory_mib

    def least(self, pool: PoolKey, load: Load) -> float:
        """Micro-dollars an hour below which no nodes carry the load, by the resource that comes dearest."""
        self._clock.spend(budget.LEAST * len(load))
        amounts = [[value * count for value in self._share(pool, place)] for place, count in load]
        return max(map(sum, zip(*amounts, strict=True)), default=0.0)

    def _share(self, pool: PoolKey, place: Place) -> tuple[float, ...]:
        """By resource, what one replica takes of it where it is cheapest: micro-dollars an hour."""
        share = self._shares.get((pool, place))
        if share is None:
            options = self.options_of(pool)
            if pool not in self._rates:
                rooms = [(option.price, self._capacities(option, pool)) for option in options]
                self._rates[pool] = tuple(
                    min((price / room[at] for price, room in rooms if room[at]), default=0.0)
                    for at in range(len(rooms[0][1]))
                )
            rates = self._rates[pool]
            size = self._sized(options[0], place, len(rates))
            share = tuple(need * rate for need, rate in zip(size, rates, strict=True))
            self._shares[pool, place] = share
        return share

    def _capacities(self, option: NodeOption, pool: PoolKey) -> tuple[int, ...]:
        """What a node of the pool has; with MIG, instances of each profile count."""
        if option.cut.mechanism is Mechanism.MIG:
            others = (have for _, have in option.others)
            instances = instances_of(option, pool.geometries)
            return option.cpu_milli, option.memory_mib, option.pods, *others, *instances
        return capacity(option)

    def _sized(self, option: NodeOption, place: Place, resources: int) -> tuple[int, ...]:
        """What one replica takes of each of so many resources, in the order of `_capacities`."""
        number, where = place
        if option.cut.mechanism is not Mechanism.MIG:
            return self._size(option, number)
        a_class = self._classes[number]
        others = others_taken(a_class, option)
        instances = (int(where == at) for at in range(resources - 3 - len(others)))
        return a_class.cpu_milli, a_class.memory_mib, 1, *others, *instances

    def _packed(self, pool: PoolKey, load: Load) -> Packed | None:
        nodes: Counter[Pattern] = Counter()
        left = dict(load)
        price = 0
        best: Packed | None = None
        fillings = [self._filling(option, pool, load) for option in self.options_of(pool)]
        self._clock.spend(budget.PACKED * len(load))
        while left:
            # The cheapest node that carries all that is left.
            finish = next((filling.option for filling in fillings if filling.carries_the_rest()), None)
            if finish is not None and (best is None or price + finish.price < best.price):
                last = pattern_of(finish, pool, left)
                best = Packed(price + finish.price, tuple((nodes + Counter([last])).items()))
            loads = ((filling.option, filling.fill(left)) for filling in fillings)
            filled = [
                (self._worth(counts) / max(option.usd, 1e-6), option, counts)
                for option, counts in loads
                if counts
            ]
            if not filled:
                return best
            _, option, counts = max(filled, key=lambda node: node[0])
            times = min(left[place] // count for place, count in counts.items())
            nodes[pattern_of(option, pool, counts)] += times
            price += option.price * times
            for place, count in counts.items():
                left[place] -= count * times
                for filling in fillings:
                    filling.taken(place, count * times, left[place])
                if not left[place]:
                    del left[place]
            if best is not None and price >= best.price:
                return best
        whole = Packed(price, tuple(nodes.items()))
        return whole if best is None or price < best.price else best

    def _worth(self, counts: Mapping[Place, int]) -> float:
        return sum(self._values[number] * count for (number, _), count in counts.items())

    def _filling(self, option: NodeOption, pool: PoolKey, load: Load) -> Filling:
        """A node as it is filled."""
        admitted = self._admitted_by(option)
        here = [(place, count) for place, count in load if place.class_number in admitted]
        capacities = self._capacities(option, pool)
        sizes = [self._sized(option, place, len(capacities)) for place, _ in here]
        # What is worth most for the largest share that it takes goes in first, as often as it fits.
        shares = [
            max(need / max(most, 1) for need, most in zip(size, capacities, strict=True)) for size in sizes
        ]
        ranked = sorted(
            range(len(here)),
            key=lambda at: (-self._values[here[at][0].class_number] / shares[at], here[at][0]),
        )
        return Filling(
            option,
            capacities,
            [(*here[at], sizes[at]) for at in ranked],
            sum(count for _, count in load) - sum(count for _, count in here),
        )

    def _admitted_by(self, option: NodeOption) -> frozenset[ClassNumber]:
        """The classes that a node may carry."""
        if option not in self._admitted:
            self._admitted[option] = frozenset(option.classes)
        return self._admitted[option]

    def _size(self, option: NodeOption, number: ClassNumber) -> tuple[int, ...]:
        if (option, number) not in self._sizes:
            self._sizes[option, number] = usage(number, option, self._classes)
        return self._sizes[option, number]
