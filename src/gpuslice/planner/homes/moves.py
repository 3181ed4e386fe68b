"""The search over homes: workloads move and pools merge as long as that makes the bill smaller that is to be expected.

Where no such move is left, some workloads that have to do with each other are taken out and put back one by one, each
where that is cheapest just then; what comes out no dearer is kept (ruin and recreate: Schrimpf et al., "Record breaking
optimization results using the ruin and recreate principle", 2000).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Final

from gpuslice.planner.homes.packing import POOL_FEE
from gpuslice.planner.model.places import ONLY_SLICE, Place, load_from
from gpuslice.planner.model.pools import Home, PoolKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.planner.clock import Clock
    from gpuslice.planner.homes.packing import PoolPacking
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.places import ClassNumber, Member
    from gpuslice.workloads.model import Workload

    Spread = dict[ClassNumber, list[tuple[Workload, Home, int]]]

_ROUNDS: Final = 3  # of taking out and putting back, for each workload
_MOST_TAKEN_OUT: Final = 6


class Homes:
    """The state of the search: who lives where, and what that costs.

    Attributes:
        home: of each workload that needs one.
        members: of each pool, replicas by place.
        spread: replicas of workloads that need none, by class number.
    """

    def __init__(
        self,
        pools: PoolPacking,
        homes: dict[Member, Home],
        candidates: list[list[Home]],
        classes: Sequence[WorkloadClass],
        spread: Spread,
    ) -> None:
        self._classes = classes
        self._pools = pools
        self.spread = spread
        self._candidates = candidates
        self.members: dict[PoolKey, Counter[Place]] = defaultdict(Counter)
        # Moves between pools that are as they were when these moves saved nothing need no second look.
        self._moves = 0
        self._changed: dict[PoolKey, int] = {}
        self._costs: dict[PoolKey, int] = {}
        for number, dealt in spread.items():
            for _, home, count in dealt:
                self.members[home.pool][Place(number, home.slice_index)] += count
        self.home: dict[Member, Home] = {}
        for member, home in homes.items():
            self._settle(member, home)

    def _settle(self, member: Member, home: Home) -> None:
        self.home[member] = home
        self.members[home.pool][Place(member.class_number, home.slice_index)] += self._replicas(member)
        self._costs.pop(home.pool, None)

    def _leave(self, member: Member) -> None:
        home = self.home[member]
        self.members[home.pool][Place(member.class_number, home.slice_index)] -= self._replicas(member)
        self._costs.pop(home.pool, None)

    def total(self) -> int:
        """Micro-dollars per hour, fees included."""
        return sum(self._now(pool) for pool in self.members)

    def _now(self, pool: PoolKey) -> int:
        """The cost of a pool as it is."""
        if pool not in self._costs:
            self._costs[pool] = self._cost(pool, self.members.get(pool, Counter())) or 0
        return self._costs[pool]

    def _cost(self, pool: PoolKey, members: Counter[Place]) -> int | None:
        load = load_from(members)
        if not load:
            return 0
        price = self._pools.likely(pool, load)
        return None if price is None else price + self._pools.wishes.fee

    def _least(self, pool: PoolKey, members: Counter[Place]) -> float:
        """What `_cost` is at least: sooner known."""
        load = load_from(members)
        return self._pools.least(pool, load) + self._pools.wishes.fee if load else 0.0

    def improve(self, clock: Clock) -> None:
        """Look for a smaller bill while there is time."""
        self._move(clock)
        movable = sorted(each for each in self.home if not self._stays(each))
        if len(movable) > 1:
            self._take_out_and_put_back(movable, clock)

    def _move(self, clock: Clock) -> None:
        """Move workloads, one by one and a pool or two at a time, while that saves anything."""
        looked: dict[Member, int] = {}
        merged: dict[tuple[PoolKey, PoolKey], int] = {}
        moved = True
        while moved:
            moved = False
            for member in sorted(each for each in self.home if not self._stays(each)):
                if clock.over():
                    return
                since = looked.get(member, -1)
                looked[member] = self._moves
                here = self.home[member].pool
                choices = (
                    {member: home}
                    for home in self._homes_for(member[0])
                    if self._is_new((here, home.pool), since)
                )
                moved |= self._best_of(choices, clock)
            if moved:
                continue  # merging costs more to try: only where single moves are at their end
            for pair in combinations(list(self.members), 2):
                if clock.over():
                    return
                since = merged.get(pair, -1)
                merged[pair] = self._moves
                moved |= self._merge(pair, since, clock)

    def _is_new(self, pools: Iterable[PoolKey], since: int) -> bool:
        """Whether any of these pools has changed after so many moves."""
        return any(self._changed.get(pool, 0) > since for pool in pools)

    def _merge(self, pools: tuple[PoolKey, PoolKey], since: int, clock: Clock) -> bool:
        """Bring everybody of two pools together, in one of these or elsewhere."""
        members = [member for member, home in self.home.items() if home.pool in pools]
        if len(members) < 2 or any(self._stays(member) for member in members):
            return False
        homes = dict.fromkeys(
            [*(Home(pool, ONLY_SLICE) for pool in pools), *self._candidates[members[0].class_number]]
        )
        if self._pools.wishes.fee > POOL_FEE:  # pools are to be few: wherever all of them fit
            anywhere = self._pools.pools_for(number for number, _ in members)
            homes |= dict.fromkeys(Home(pool, ONLY_SLICE) for pool in anywhere)
        choices = (
            dict.fromkeys(members, home)
            for home in homes
            if not home.pool.geometries
            and self._is_new((*pools, home.pool), since)
            and all(number in home.pool.cut.fits for number, _ in members)
        )
        return self._best_of(choices, clock)

    def _stays(self, member: Member) -> bool:
        return self._classes[member[0]].members[member[1]].name in self._pools.wishes.kept

    def _homes_for(self, number: ClassNumber) -> list[Home]:
        """Homes worth a look for a class: what column generation found for it, and what is open."""
        found = dict.fromkeys(self._candidates[number])
        found |= dict.fromkeys(Home(pool, ONLY_SLICE) for pool in self.members if not pool.geometries)
        return [home for home in found if number in home.pool.cut.fits]

    def _best_of(self, choices: Iterable[dict[Member, Home]], clock: Clock) -> bool:
        """Make the moves that save most, if any saves; of those that there is time to look at."""
        best, chosen = 0, None
        for moves in choices:
            if clock.over():
                break
            saving = self._saving(moves, best)
            if saving is not None and saving > best:
                best, chosen = saving, moves
        if chosen is None:
            return False
        self._moves += 1
        for member, home in chosen.items():
            here = self.home[member]
            self._changed[here.pool] = self._changed[home.pool] = self._moves
            self._leave(member)
            self._settle(member, home)
        return True

    def _saving(self, moves: dict[Member, Home], least: int) -> int | None:
        """Micro-dollars an hour that moves save; None: not more than the least, or somebody doesn't fit there."""
        after: dict[PoolKey, Counter[Place]] = {}
        for member, home in moves.items():
            here, number = self.home[member], member[0]
            for pool, where, change in (
                (here.pool, here.slice_index, -self._replicas(member)),
                (home.pool, home.slice_index, self._replicas(member)),
            ):
                if pool not in after:
                    after[pool] = self.members.get(pool, Counter()).copy()
                after[pool][Place(number, where)] += change
        saving = sum(self._now(pool) for pool in after)
        if saving - sum(self._least(pool, members) for pool, members in after.items()) <= least:
            return None
        for pool, members in after.items():
            cost = self._cost(pool, members)
            if cost is None:
                return None
            saving -= cost
        return saving

    def _take_out_and_put_back(self, movable: Sequence[Member], clock: Clock) -> None:
        chance = random.Random(0)
        for _ in range(_ROUNDS * len(movable)):
            if clock.over():
                return
            group = self._related(chance, movable)
            before = {member: self.home[member] for member in group}
            costs = {home.pool: self._now(home.pool) for home in before.values()}
            for member in group:
                self._leave(member)
            for member in group:
                home = self._cheapest_home(member)
                costs.setdefault(home.pool, self._now(home.pool))
                self._settle(member, home)
            if sum(self._now(pool) for pool in costs) > sum(costs.values()):
                for member in group:
                    self._leave(member)
                for member, home in before.items():
                    self._settle(member, home)

    def _related(self, chance: random.Random, movable: Sequence[Member]) -> list[Member]:
        """Some workloads of one pool, and some that could live there."""
        first = chance.choice(movable)
        size = chance.randint(2, _MOST_TAKEN_OUT)
        pools = {home.pool for home in self._candidates[first[0]]}
        here = self.home[first].pool
        beside = [each for each in movable if each != first and self.home[each].pool == here]
        near = [each for each in movable if self.home[each].pool in pools and self.home[each].pool != here]
        group = [first, *chance.sample(beside, min(len(beside), size // 2))]
        group += chance.sample(near, min(len(near), size - len(group)))
        chance.shuffle(group)
        return group

    def _cheapest_home(self, member: Member) -> Home:
        """Where a workload that lives nowhere adds least."""
        number, replicas = member[0], self._replicas(member)
        choices: list[tuple[float, int, Home, Counter[Place]]] = []
        for at, home in enumerate(self._homes_for(number)):
            members = self.members.get(home.pool, Counter()).copy()
            members[Place(number, home.slice_index)] += replicas
            choices.append((self._least(home.pool, members) - self._now(home.pool), at, home, members))
        best: tuple[int, int, Home] | None = None
        for least, at, home, members in sorted(choices, key=lambda choice: choice[:2]):
            if best is not None and least > best[0]:
                break
            cost = self._cost(home.pool, members)
            if cost is not None:
                added = cost - self._now(home.pool), at, home
                best = added if best is None else min(best, added, key=lambda choice: choice[:2])
        if best is None:
            raise AssertionError("a workload fits nowhere, not even where it was")
        return best[-1]

    def _replicas(self, member: Member) -> int:
        return self._classes[member[0]].members[member[1]].replicas
