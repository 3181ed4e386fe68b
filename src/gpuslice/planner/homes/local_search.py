"""One local search over homes: moves of some kinds are made as long as they lower a price.

What a move is: `residence.Move`. Which are tried, and in which order: `moves`. What a pool costs: `price`. A descent
ends where no move of any kind saves anything (variable neighbourhood descent: Hansen and Mladenović, 2001); all of it
ends where its work is done, as `over` has it.
"""

from __future__ import annotations

from bisect import insort
from math import inf
from typing import TYPE_CHECKING

from gpuslice.planner.homes.residence import NOBODY, Move, Occupancy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from gpuslice.planner.homes.price import LikelyPrice
    from gpuslice.planner.homes.residence import Residence
    from gpuslice.planner.model.pools import Home, PoolKey

    Neighbourhood = tuple[
        Hashable, Iterable[Move]
    ]  # moves of which one at most is made, by what they are known as
    Kind = Callable[["LocalSearch"], Iterator[Neighbourhood]]


class LocalSearch:
    """A search over who lives where.

    Attributes:
        residence: as it is now.
    """

    def __init__(
        self, residence: Residence, price: LikelyPrice, over: Callable[[], bool], tried: int
    ) -> None:
        """Begin.

        Args:
            residence: to begin with.
            price: to be lowered.
            over: whether no more work may be done.
            tried: of a neighbourhood's moves, how many are asked for their exact price: those that look best.
        """
        self.residence = residence
        self._price = price
        self._over = over
        self._tried = tried
        self._priced: dict[PoolKey, tuple[Occupancy, float]] = {}
        self._looked: dict[Hashable, Mapping[PoolKey, Occupancy]] = {}

    def descend(self, *kinds: Kind) -> None:
        """Make the best move of each neighbourhood; of a kind only where those before it save nothing any more."""
        at = 0
        while at < len(kinds):
            begun = self.residence
            for known_as, moves in kinds[at](self):
                if self._over():
                    return
                fresh = (move for move in moves if self.is_news(known_as, self.residence.touched(move)))
                move = self._best(fresh, 0)
                self._looked[known_as] = self.residence.pools
                if move is not None:
                    self.residence = self.residence.moved(move)
            at = at + 1 if self.residence is begun else 0

    def sidestep(self, kind: Kind) -> None:
        """Make of each neighbourhood the first move that makes nothing dearer."""
        for _, moves in kind(self):
            for move in moves:
                if self._over():
                    return
                after = self.residence.after(move)
                # A sum of shares may be a little above what it stands for.
                if self._least(after) <= self._price_now(after) + 1 and self._change(after, 0) <= 0:
                    self.residence = self.residence.moved(move)
                    break

    def ruin_and_recreate(
        self, groups: Iterator[Sequence[str]], homes: Callable[[LocalSearch, str], Iterable[Home]]
    ) -> None:
        """Take workloads out, put them back one by one where each adds least, and keep what is no dearer.

        Schrimpf et al., "Record breaking optimization results using the ruin and recreate principle", 2000.

        Args:
            groups: of workloads that are taken out together.
            homes: that a workload may be put in.
        """
        for group in groups:
            if self._over():
                return
            before, total = self.residence, self.total()
            self.residence = before.moved(Move(tuple(group), None))
            backs = [Move((name,), before.homes[name]) for name in group]
            for back in backs:
                choices = (Move(back.names, home) for home in homes(self, *back.names))
                self.residence = self.residence.moved(self._best(choices) or back)
            if self.total() > total:
                for back in backs:
                    self.residence = self.residence.moved(back)

    def total(self) -> float:
        """The exact price of all pools together."""
        return self._price_now(self.residence.pools)

    def excess(self, pool: PoolKey) -> float:
        """By how much a pool is dearer than hoped for."""
        return self._price_now([pool]) - (self._price.hoped_for(pool, self.residence.pools[pool]) or 0)

    def is_news(self, known_as: Hashable, pools: Iterable[PoolKey]) -> bool:
        """Whether any of these pools has changed since a neighbourhood was looked at, if it ever was."""
        then, now = self._looked.get(known_as), self.residence.pools
        return then is None or any(then.get(pool, NOBODY) != now.get(pool, NOBODY) for pool in pools)

    def _best(self, moves: Iterable[Move], most: float = inf) -> Move | None:
        """The move that changes the price least, by less than so much; None where there is none."""
        chosen = None
        for promise, _, move in self._promising(moves, most):
            if promise >= most or self._over():
                break
            change = self._change(self.residence.after(move), most)
            if change < most:
                most, chosen = change, move
        return chosen

    def _promising(self, moves: Iterable[Move], most: float) -> list[tuple[float, int, Move]]:
        """Moves that look best, by what they are likely to change the price: the most promising first."""
        bounded = []
        for at, move in enumerate(moves):
            after = self.residence.after(move)
            now = self._price_now(after)
            least = self._least(after) - now
            if least < most:
                bounded.append((least, at, now, move, after))
        promising: list[tuple[float, int, Move]] = []
        for least, at, now, move, after in sorted(bounded, key=lambda entry: entry[:2]):
            if self._over() or (len(promising) == self._tried and least > promising[-1][0]):
                break
            likely = [self._price.likely(*entry) for entry in _inhabited(after)]
            known = [price for price in likely if price is not None]
            if len(known) == len(likely):
                insort(promising, (sum(known) - now, at, move), key=lambda entry: entry[:2])
                del promising[self._tried :]
        return promising

    def _change(self, after: Mapping[PoolKey, Occupancy], most: float) -> float:
        """By how much the exact price changes; infinite where that is more than the most, or somebody fits nowhere."""
        change = -self._price_now(after)
        hopes = []
        for entry in _inhabited(after):
            hope = self._price.hoped_for(*entry)
            if hope is None:
                return inf
            hopes.append((hope, entry))
            change += hope
        for hope, entry in hopes:
            exact = self._price.exact(*entry) if change <= most else None
            if exact is None:
                return inf
            change += exact - hope
        return change if change <= most else inf

    def _least(self, after: Mapping[PoolKey, Occupancy]) -> float:
        return sum(self._price.least(*entry) for entry in _inhabited(after))

    def _price_now(self, pools: Iterable[PoolKey]) -> float:
        """The exact price of pools as they are; infinite where somebody fits none of a pool's nodes."""
        total = 0.0
        for pool in pools:
            occupancy = self.residence.pools.get(pool, NOBODY)
            if pool not in self._priced or self._priced[pool][0] is not occupancy:
                exact = self._price.exact(pool, occupancy) if occupancy.residents else 0
                self._priced[pool] = occupancy, inf if exact is None else exact
            total += self._priced[pool][1]
        return total


def _inhabited(pools: Mapping[PoolKey, Occupancy]) -> list[tuple[PoolKey, Occupancy]]:
    return [(pool, occupancy) for pool, occupancy in pools.items() if occupancy.residents]
