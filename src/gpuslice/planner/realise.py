"""From a packing to pools: each workload goes to one pool and asks for one resource there.

The cheapest packing may send replicas of one workload to several cuts. A Deployment has one pod template, and so one
node selector and one resource: here each is given one home, whole, and nodes are chosen again for that. Workloads whose
replicas have a template each (bare pods) stay where the packing has them.

A search over homes begins where a mixed-integer program over the patterns known puts everybody, or where the packing
has most of each workload, whichever is cheaper. Then workloads move, and pools merge, as long as that makes the bill
smaller; only the pools that a move touches are packed again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from gpuslice.planner.home_program import choose_homes
from gpuslice.planner.patterns import Pattern
from gpuslice.planner.pool_packing import POOL_FEE, Home, PoolKey, pool_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.columns import Relaxation
    from gpuslice.planner.master import Packing
    from gpuslice.planner.pool_packing import Load, PoolPacking
    from gpuslice.workloads.model import Workload


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
    pools: PoolPacking,
    classes: Sequence[WorkloadClass],
    *,
    gap: float,
    remaining: Callable[[], float],
) -> Realisation:
    """Give every workload one home, and choose nodes for that.

    Args:
        relaxation: where replicas would best be, and what they are worth.
        packing: the cheapest one, to begin with as well, and for what may be spread.
        pools: packs loads.
        classes: to place.
        gap: relative, at which the first choice of homes is good enough.
        remaining: seconds left.
    """
    spread = _spread_homes(packing, classes)
    pools.remember(packing)
    patterns = tuple(dict.fromkeys([*relaxation.patterns, *packing]))
    candidates = _candidates(patterns, classes)
    kept = {
        (number, position): pools.wishes.kept[workload.name]
        for number, each in enumerate(classes)
        for position, workload in enumerate(() if each.splittable else each.members)
        if workload.name in pools.wishes.kept
    }
    start = _Homes(pools, _homes_in(packing, candidates, classes, pools) | kept, candidates, classes, spread)
    if not kept and not all(each.splittable for each in classes) and remaining() > 0:
        chosen = choose_homes(patterns, classes, seconds=remaining(), gap=gap)
        if chosen is not None:
            homes, nodes = chosen
            pools.remember(nodes)
            better = _Homes(pools, homes, candidates, classes, _spread_homes(nodes, classes))
            start = min(start, better, key=lambda each: each.total())
    start.improve(remaining)
    return start.realisation()


class _Homes:
    """The state of the search: who lives where, and what that costs."""

    def __init__(
        self,
        pools: PoolPacking,
        homes: dict[tuple[int, int], Home],
        candidates: list[list[Home]],
        classes: Sequence[WorkloadClass],
        spread: dict[int, list[tuple[Workload, Home, int]]],
    ) -> None:
        self._classes = classes
        self._pools = pools
        self._spread = spread
        self._candidates = candidates
        self._members: dict[PoolKey, Counter[tuple[int, int]]] = defaultdict(Counter)
        # Moves between pools that are as they were when these moves saved nothing need no second look.
        self._moves = 0
        self._changed: dict[PoolKey, int] = {}
        for number, dealt in spread.items():
            for _, home, count in dealt:
                self._members[home.pool][number, home.slice_index] += count
        self._home: dict[tuple[int, int], Home] = {}  # of each member: (class number, position)
        for (number, position), home in homes.items():
            self._settle(number, position, home)

    def _settle(self, number: int, position: int, home: Home) -> None:
        self._home[number, position] = home
        self._members[home.pool][number, home.slice_index] += self._replicas((number, position))

    def total(self) -> int:
        """Micro-dollars per hour, fees included."""
        return sum(self._cost(pool, members) or 0 for pool, members in self._members.items())

    def _cost(self, pool: PoolKey, members: Counter[tuple[int, int]]) -> int | None:
        load = _load(members)
        if not load:
            return 0
        packed = self._pools.pack(pool, load)
        return None if packed is None else packed.price + self._pools.wishes.fee

    def improve(self, remaining: Callable[[], float]) -> None:
        """Move workloads, one by one and a pool or two at a time, while that saves anything and there is time."""
        looked: dict[tuple[int, int], int] = {}
        merged: dict[tuple[PoolKey, PoolKey], int] = {}
        moved = True
        while moved:
            moved = False
            for member in sorted(each for each in self._home if not self._stays(each)):
                if remaining() <= 0:
                    return
                since = looked.get(member, -1)
                looked[member] = self._moves
                here = self._home[member].pool
                choices = (
                    {member: home}
                    for home in self._homes_for(member[0])
                    if self._is_new((here, home.pool), since)
                )
                moved |= self._best_of(choices, remaining)
            if moved:
                continue  # merging costs more to try: only where single moves are at their end
            for pair in combinations(list(self._members), 2):
                if remaining() <= 0:
                    return
                since = merged.get(pair, -1)
                merged[pair] = self._moves
                moved |= self._merge(pair, since, remaining)

    def _is_new(self, pools: Iterable[PoolKey], since: int) -> bool:
        """Whether any of these pools has changed after so many moves."""
        return any(self._changed.get(pool, 0) > since for pool in pools)

    def _merge(self, pools: tuple[PoolKey, PoolKey], since: int, remaining: Callable[[], float]) -> bool:
        """Bring everybody of two pools together, in one of these or elsewhere."""
        members = [member for member, home in self._home.items() if home.pool in pools]
        if len(members) < 2 or any(self._stays(member) for member in members):
            return False
        homes = dict.fromkeys([*(Home(pool, 0) for pool in pools), *self._candidates[members[0][0]]])
        if self._pools.wishes.fee > POOL_FEE:  # pools are to be few: wherever all of them fit
            anywhere = self._pools.pools_for(number for number, _ in members)
            homes |= dict.fromkeys(Home(pool, 0) for pool in anywhere)
        choices = (
            dict.fromkeys(members, home)
            for home in homes
            if not home.pool.geometries
            and self._is_new((*pools, home.pool), since)
            and all(number in home.pool.cut.fits for number, _ in members)
        )
        return self._best_of(choices, remaining)

    def _stays(self, member: tuple[int, int]) -> bool:
        return self._classes[member[0]].members[member[1]].name in self._pools.wishes.kept

    def _homes_for(self, number: int) -> list[Home]:
        """Homes worth a look for a class: what column generation found for it, and what is open."""
        found = dict.fromkeys(self._candidates[number])
        found |= dict.fromkeys(Home(pool, 0) for pool in self._members if not pool.geometries)
        return [home for home in found if number in home.pool.cut.fits]

    def _best_of(
        self, choices: Iterable[dict[tuple[int, int], Home]], remaining: Callable[[], float]
    ) -> bool:
        """Make the moves that save most, if any saves; of those that there is time to look at."""
        best, chosen = 0, None
        for moves in choices:
            if remaining() <= 0:
                break
            saving = self._saving(moves)
            if saving is not None and saving > best:
                best, chosen = saving, moves
        if chosen is None:
            return False
        self._moves += 1
        for member, home in chosen.items():
            here = self._home[member]
            self._changed[here.pool] = self._changed[home.pool] = self._moves
            self._members[here.pool][member[0], here.slice_index] -= self._replicas(member)
            self._settle(*member, home)
        return True

    def _saving(self, moves: dict[tuple[int, int], Home]) -> int | None:
        """Micro-dollars an hour that moves save; None where somebody doesn't fit there."""
        after: dict[PoolKey, Counter[tuple[int, int]]] = {}
        for member, home in moves.items():
            here, number = self._home[member], member[0]
            for pool, where, change in (
                (here.pool, here.slice_index, -self._replicas(member)),
                (home.pool, home.slice_index, self._replicas(member)),
            ):
                if pool not in after:
                    after[pool] = self._members.get(pool, Counter()).copy()
                after[pool][number, where] += change
        saving = 0
        for pool, members in after.items():
            before, now = self._cost(pool, self._members.get(pool, Counter())), self._cost(pool, members)
            if before is None or now is None:
                return None
            saving += before - now
        return saving

    def _replicas(self, member: tuple[int, int]) -> int:
        return self._classes[member[0]].members[member[1]].replicas

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


def _homes_in(
    packing: Packing, candidates: list[list[Home]], classes: Sequence[WorkloadClass], pools: PoolPacking
) -> dict[tuple[int, int], Home]:
    """For every workload that needs one, the home that has most of its class in a packing and takes all of it."""
    found: dict[tuple[int, int], Home] = {}
    places: dict[int, Counter[Home]] = defaultdict(Counter)
    for pattern, nodes in packing.items():
        for number, where, count in pattern.pods:
            places[number][Home(pool_of(pattern), where)] += count * nodes
    for number, each in enumerate(classes):
        ranked = [home for home, _ in places[number].most_common()]
        for position, workload in enumerate(() if each.splittable else each.members):
            found[number, position] = next(
                home
                for home in [*ranked, *candidates[number]]
                if pools.pack(home.pool, (((number, home.slice_index), workload.replicas),)) is not None
            )
    return found


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
