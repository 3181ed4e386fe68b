"""From a packing to pools: each workload goes to one pool and asks for one resource there.

The cheapest packing may send replicas of one workload to several cuts. A Deployment has one pod template, and so one
node selector and one resource: here each is given one home, whole, and nodes are chosen again for that. Workloads whose
replicas have a template each (bare pods) stay where the packing has them.

A search over homes: each workload starts where the fractional solution has most of it; then workloads move, and pools
merge, as long as that makes the bill smaller. Only the pools that a move touches are packed again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.planner.patterns import Pattern
from gpuslice.planner.pool_packing import PoolKey, PoolPacking, pool_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.columns import Relaxation
    from gpuslice.planner.master import Packing
    from gpuslice.planner.options import NodeOption
    from gpuslice.planner.pool_packing import Load
    from gpuslice.workloads.model import Workload

_POOL_FEE: Final = 20_000
"""Micro-dollars an hour that a pool must save to be worth having: each is three objects to look after."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where replicas go: a pool, and the slice that they ask for there."""

    pool: PoolKey
    slice_index: int


@dataclass(frozen=True, slots=True)
class Realisation:
    """Nodes, and the home of each workload.

    Attributes:
        packing: the nodes, by pattern over the class numbers.
        homes: by class number, (workload, home, replicas).
    """

    packing: Packing
    homes: dict[int, tuple[tuple[Workload, Home, int], ...]]


def realise(
    relaxation: Relaxation,
    packing: Packing,
    options: Sequence[NodeOption],
    classes: Sequence[WorkloadClass],
    *,
    remaining: Callable[[], float],
) -> Realisation:
    """Give every workload one home, and choose nodes for that.

    Args:
        relaxation: where replicas would best be, and what they are worth.
        packing: the cheapest one, to begin with as well, and for what may be spread.
        options: nodes to choose from, cheapest first.
        classes: to place.
        remaining: seconds left.
    """
    spread = _spread_homes(packing, classes)
    pools = PoolPacking(options, classes, relaxation.duals)
    pools.remember(packing)
    candidates = _candidates(relaxation.patterns, classes)
    fractional = zip(relaxation.patterns, relaxation.amounts, strict=True)
    starts = [
        _Homes(pools, amounts, candidates, classes, spread) for amounts in (packing.items(), fractional)
    ]
    for start in starts:
        start.improve(remaining)
    return min(starts, key=lambda each: each.total()).realisation()


class _Homes:
    """The state of the search: who lives where, and what that costs."""

    def __init__(
        self,
        pools: PoolPacking,
        amounts: Iterable[tuple[Pattern, float]],
        candidates: list[list[Home]],
        classes: Sequence[WorkloadClass],
        spread: dict[int, list[tuple[Workload, Home, int]]],
    ) -> None:
        self._classes = classes
        self._pools = pools
        self._spread = spread
        self._candidates = candidates
        self._members: dict[PoolKey, Counter[tuple[int, int]]] = defaultdict(Counter)
        for number, homes in spread.items():
            for _, home, count in homes:
                self._members[home.pool][number, home.slice_index] += count
        self._home: dict[tuple[int, int], Home] = {}  # of each member: (class number, position)
        mass: dict[int, dict[Home, float]] = defaultdict(lambda: defaultdict(float))
        for pattern, amount in amounts:
            for number, where, count in pattern.pods:
                mass[number][Home(pool_of(pattern), where)] += count * amount
        for number, each in enumerate(classes):
            if each.splittable:
                continue
            ranked = sorted(mass[number], key=lambda home: -mass[number][home])
            for position, workload in enumerate(each.members):
                home = next(
                    home
                    for home in [*ranked, *self._candidates[number]]
                    if self._pools.pack(home.pool, (((number, home.slice_index), workload.replicas),))
                    is not None
                )
                self._settle(number, position, home)

    def _settle(self, number: int, position: int, home: Home) -> None:
        self._home[number, position] = home
        self._members[home.pool][number, home.slice_index] += self._classes[number].members[position].replicas

    def total(self) -> int:
        """Micro-dollars per hour, fees included."""
        return sum(self._cost(pool, members) or 0 for pool, members in self._members.items())

    def _cost(self, pool: PoolKey, members: Counter[tuple[int, int]]) -> int | None:
        load = _load(members)
        if not load:
            return 0
        packed = self._pools.pack(pool, load)
        return None if packed is None else packed.price + _POOL_FEE

    def improve(self, remaining: Callable[[], float]) -> None:
        """Move workloads and merge pools while that saves anything and there is time."""
        moved = True
        while moved and remaining() > 0:
            moved = False
            for number, position in sorted(self._home):
                if remaining() <= 0:
                    return
                moved |= self._move(number, position)
            moved |= self._merge(remaining)

    def _move(self, number: int, position: int) -> bool:
        """Take one workload to the home that saves most."""
        here = self._home[number, position]
        replicas = self._classes[number].members[position].replicas
        without = self._members[here.pool].copy()
        without[number, here.slice_index] -= replicas
        now, emptier = self._cost(here.pool, self._members[here.pool]), self._cost(here.pool, without)
        if now is None or emptier is None:
            return False
        best, target = 0, None
        open_homes = [
            Home(pool, here.slice_index)
            for pool in self._members
            if number in pool.cut.fits and not pool.geometries
        ]
        for home in dict.fromkeys([*self._candidates[number], *open_homes]):
            if home == here:
                continue
            start = without if home.pool == here.pool else self._members.get(home.pool, Counter())
            fuller = start.copy()
            fuller[number, home.slice_index] += replicas
            before = emptier if home.pool == here.pool else self._cost(home.pool, start)
            after = self._cost(home.pool, fuller)
            if before is None or after is None:
                continue
            saving = now - emptier - (after - before)
            if saving > best:
                best, target = saving, home
        if target is None:
            return False
        self._members[here.pool] = without
        self._settle(number, position, target)
        return True

    def _merge(self, remaining: Callable[[], float]) -> bool:
        """Move all workloads of a pool into another that takes them."""
        moved = False
        for source in list(self._members):
            tenants = [each for each, home in self._home.items() if home.pool == source]
            others = [pool for pool in self._members if pool != source and not pool.geometries]
            if not tenants or source.geometries or remaining() <= 0:
                continue
            for target in others:
                if not all(number in target.cut.fits for number, _ in tenants):
                    continue
                fuller, emptier = self._members[target].copy(), self._members[source].copy()
                for number, position in tenants:
                    replicas = self._classes[number].members[position].replicas
                    emptier[number, self._home[number, position].slice_index] -= replicas
                    fuller[number, 0] += replicas
                costs = [
                    self._cost(source, self._members[source]),
                    self._cost(target, self._members[target]),
                    self._cost(source, emptier),
                    self._cost(target, fuller),
                ]
                now, there, after, together = costs
                if now is None or there is None or after is None or together is None:
                    continue
                if after + together < now + there:
                    self._members[source] = emptier
                    for number, position in tenants:
                        self._settle(number, position, Home(target, 0))
                    moved = True
                    break
        return moved

    def realisation(self) -> Realisation:
        """The nodes and homes found."""
        packing: Packing = Counter()
        for pool, members in self._members.items():
            packed = self._pools.pack(pool, load) if (load := _load(members)) else None
            if packed is not None:
                packing.update(dict(packed.nodes))
        homes: dict[int, list[tuple[Workload, Home, int]]] = defaultdict(list)
        for (number, position), home in self._home.items():
            workload = self._classes[number].members[position]
            homes[number].append((workload, home, workload.replicas))
        for number, spread in self._spread.items():
            homes[number] += spread
        return Realisation(packing, {number: tuple(found) for number, found in sorted(homes.items())})


def _load(members: Counter[tuple[int, int]]) -> Load:
    return tuple(sorted((place, count) for place, count in members.items() if count > 0))


def _candidates(patterns: Iterable[Pattern], classes: Sequence[WorkloadClass]) -> list[list[Home]]:
    """For each class, the homes that column generation found worth a look."""
    found: list[dict[Home, None]] = [{} for _ in classes]
    for pattern in patterns:
        for number, where, _ in pattern.pods:
            found[number][Home(pool_of(pattern), where)] = None
    return [list(homes) for homes in found]


def _spread_homes(
    packing: Packing, classes: Sequence[WorkloadClass]
) -> dict[int, list[tuple[Workload, Home, int]]]:
    """Replicas of the splittable classes, dealt to their members as the packing has places for them."""
    places: dict[int, Counter[Home]] = defaultdict(Counter)
    for pattern, nodes in packing.items():
        for number, where, count in pattern.pods:
            if classes[number].splittable:
                places[number][Home(pool_of(pattern), where)] += count * nodes
    found: dict[int, list[tuple[Workload, Home, int]]] = {}
    for number, homes in places.items():
        queue = list(homes.items())
        dealt: list[tuple[Workload, Home, int]] = []
        for workload in classes[number].members:
            left = workload.replicas
            while left:
                home, free = queue.pop()
                take = min(left, free)
                dealt.append((workload, home, take))
                left -= take
                if free > take:
                    queue.append((home, free - take))
        found[number] = dealt
    return found
