"""The kinds of moves that a search over homes tries: what may move together, and to where.

Each kind is a generator of neighbourhoods for `LocalSearch`. It reads who lives where at the moment, and so goes on
from what the moves before have come to.
"""

from __future__ import annotations

import random
from itertools import combinations
from typing import TYPE_CHECKING, Final

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.homes.packing import POOL_FEE
from gpuslice.planner.homes.residence import Move
from gpuslice.planner.model.places import ONLY_SLICE
from gpuslice.planner.model.pools import Home

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from gpuslice.planner.homes.local_search import LocalSearch, Neighbourhood
    from gpuslice.planner.homes.packing import PoolPacking
    from gpuslice.planner.homes.residence import Residence, Resident, Residents
    from gpuslice.planner.model.pools import PoolKey

_ROUNDS: Final = 3  # of taking out and putting back, for each workload
_MOST_TAKEN_OUT: Final = 6


class Moves:
    """Moves of all kinds."""

    def __init__(self, packings: PoolPacking, candidates: Sequence[Sequence[Home]] = ()) -> None:
        """Keep what they need.

        Args:
            packings: of pools: who fits where; and how much fewer of them are worth.
            candidates: by class number, the homes that column generation found worth a look.
        """
        self._packings = packings
        self._candidates = candidates

    def homes_for(self, search: LocalSearch, name: str) -> list[Home]:
        """Candidates for a workload, and what is open."""
        residence = search.residence
        number = residence.numbers[name]
        homes = dict.fromkeys(self._candidates[number])
        homes |= dict.fromkeys(Home(pool, ONLY_SLICE) for pool in residence.pools if not pool.geometries)
        return [home for home in homes if number in home.pool.cut.fits]

    def one_elsewhere(self, search: LocalSearch) -> Iterator[Neighbourhood]:
        """Each workload, to a candidate or what is open."""
        for name in search.residence.movable:
            yield name, (Move((name,), home) for home in self.homes_for(search, name))

    def two_pools_together(self, search: LocalSearch) -> Iterator[Neighbourhood]:
        """Everybody of two pools, to one of these or elsewhere."""
        for pair in combinations(list(search.residence.pools), 2):
            yield pair, self._merged(pair, search.residence)

    def _merged(self, pair: tuple[PoolKey, PoolKey], residence: Residence) -> Iterator[Move]:
        living = [resident for pool in pair for resident in residence.pools[pool].residents]
        group = [resident for resident in living if resident.name in residence.numbers]
        numbers = {resident.number for resident in group}
        if len(group) < 2 or not residence.movable >= set(_names(group)):
            return
        homes = dict.fromkeys([*(Home(pool, ONLY_SLICE) for pool in pair), *self._candidates[min(numbers)]])
        if self._packings.wishes.fee > POOL_FEE:  # pools are to be few: wherever all of them fit
            homes |= dict.fromkeys(Home(pool, ONLY_SLICE) for pool in self._packings.pools_for(numbers))
        for home in homes:
            if not home.pool.geometries and numbers <= home.pool.cut.fits.keys():
                yield Move(_names(group), home)

    def out_of_a_pool(self, search: LocalSearch) -> Iterator[Neighbourhood]:
        """One workload of a pool, or all of them, to any other: first of the pool that is most above what was hoped."""
        while news := [pool for pool in search.residence.open_pools if search.is_news(pool, [pool])]:
            pool = max(news, key=search.excess)
            yield pool, self._out_of(pool, search.residence)

    def _out_of(self, pool: PoolKey, residence: Residence) -> Iterator[Move]:
        residents = residence.pools[pool].residents
        groups: list[Residents] = [(resident,) for resident in residents]
        for group in [*groups, residents] if len(residents) > 1 else groups:
            if residence.movable >= set(_names(group)):
                for other in self._packings.pools_for(resident.number for resident in group):
                    if other != pool:
                        yield Move(_names(group), Home(other, ONLY_SLICE))

    def somewhere_safer(self, search: LocalSearch) -> Iterator[Neighbourhood]:
        """To where more keeps workloads apart, or is plainer, and nobody is slower: all of a pool, to any other.

        Else one by one, to those that there are.
        """
        for pool in sorted(search.residence.open_pools, key=_looseness, reverse=True):
            residents = search.residence.pools[pool].residents
            anywhere = self._packings.pools_for(resident.number for resident in residents)
            yield pool, _to_safer(search.residence, pool, residents, anywhere)
            if len(residents) > 1 and search.residence.pools[pool].residents:
                for resident in residents:
                    open_pools = search.residence.open_pools
                    yield resident, _to_safer(search.residence, pool, (resident,), open_pools)

    def related(self, search: LocalSearch) -> Iterator[Sequence[str]]:
        """Some workloads of one pool and some that could live there, to be taken out together: again and again."""
        chance = random.Random(0)
        movable = list(search.residence.movable)
        for _ in range(_ROUNDS * len(movable) if len(movable) > 1 else 0):
            first = chance.choice(movable)
            size = chance.randint(2, _MOST_TAKEN_OUT)
            pool_of = {name: search.residence.homes[name].pool for name in movable}
            here = pool_of[first]
            pools = {home.pool for home in self._candidates[search.residence.numbers[first]]} - {here}
            beside = [name for name in movable if name != first and pool_of[name] == here]
            near = [name for name in movable if pool_of[name] in pools]
            group = [first, *chance.sample(beside, min(len(beside), size // 2))]
            group += chance.sample(near, min(len(near), size - len(group)))
            chance.shuffle(group)
            yield group


def _to_safer(
    residence: Residence, pool: PoolKey, group: Residents, others: Iterable[PoolKey]
) -> Iterator[Move]:
    names = _names(group)
    if not residence.movable >= set(names):
        return
    tighter = [
        other
        for other in others
        if _looseness(other)[0] < _looseness(pool)[0]
        and other.spot == pool.spot
        and not other.geometries
        and all(resident.number in other.cut.fits for resident in group)
        and not any(_is_slower(resident, pool, other) for resident in group)
    ]
    for other in sorted(tighter, key=_looseness):
        yield Move(names, Home(other, ONLY_SLICE))


def _names(group: Collection[Resident]) -> tuple[str, ...]:
    return tuple(resident.name for resident in group)


def _looseness(pool: PoolKey) -> tuple[int, int]:
    """The more, the less neighbours are kept apart; then, the more there is to set up; then, the more they are."""
    kinds = (
        Mechanism.WHOLE,
        Mechanism.FRACTIONAL,
        Mechanism.MIG,
        Mechanism.MPS,
        Mechanism.TIME_SLICING,
    )
    return kinds.index(pool.cut.mechanism) + pool.cut.metered, pool.cut.slots_per_gpu


def _is_slower(resident: Resident, here: PoolKey, there: PoolKey) -> bool:
    """Whether somebody would run slower there, or nobody can say."""
    now = dict(here.cut.fits[resident.number])[resident.slice_index].slowdown
    then = dict(there.cut.fits[resident.number])[ONLY_SLICE].slowdown
    return now != then and (now is None or then is None or then > now)
