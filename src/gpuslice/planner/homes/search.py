"""Pools within limits: homes are chosen at prices that have the limits' tolls in them, and counted afterwards.

Karpenter launches what is reserved before anything else, so that a pool's reserved nodes and others of the type are one
to the search: at the lower of the two prices with tolls, whole fleets are searched as ever. Tolls tell it what a
limited node is worth elsewhere, but hold nothing to a count: what passes one is searched again, with more toll, and in
the end without.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from gpuslice.cloud.catalog import Purchase
from gpuslice.errors import AnswerIsNoError
from gpuslice.launches.bill import priced_orders
from gpuslice.planner.bound.columns import alone
from gpuslice.planner.clock import Clock
from gpuslice.planner.homes.bill_search import CarriedOut, carried_out
from gpuslice.planner.homes.bills import PoolBills
from gpuslice.planner.homes.cover import few_kinds
from gpuslice.planner.homes.packing import NO_WISHES, PoolPacking, Wishes
from gpuslice.planner.homes.program import HomeProgram
from gpuslice.planner.homes.start import Realisation, realise
from gpuslice.planner.homes.tolls import Tolled, beyond, leaves_some, raised_tolls
from gpuslice.planner.model.classes import homes_of
from gpuslice.planner.model.limits import Limits
from gpuslice.planner.model.options import by_class
from gpuslice.planner.model.packing import cost
from gpuslice.planner.model.places import numbered
from gpuslice.planner.model.pools import Home, pool_of
from gpuslice.planner.packing.repair import within
from gpuslice.units import MICRO_USD, first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from gpuslice.planner.bound.columns import Relaxation
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.limits import Limit
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.patterns import Pattern
    from gpuslice.planner.model.places import ClassNumber
    from gpuslice.planner.model.pools import PoolKey
    from gpuslice.planner.programs.arrays import Floats
    from gpuslice.planner.settings import Settings

_STEEPER: Final = 4  # times as much for a pool, until they are few enough
_NEAR: Final = 1.3  # of two prices of a pool: nothing is looked for between
_HURRIED_TRIES: Final = 2  # to keep the limits, after the time is up
_TRIES: Final = 4  # to keep the limits, beside one for each
_FEW_HOMES: Final = 30  # workloads that need one
_NAMED: Final = 3  # workloads without room that a message lists


@dataclass(frozen=True, slots=True)
class Within:
    """Pools that keep the limits.

    Attributes:
        carried: what Karpenter makes of them.
        packing: the nodes of the same homes as we would pack them; None where those would pass a limit.
    """

    carried: CarriedOut
    packing: Packing | None


class Search:
    """What all attempts share: the options, and what is asked of a plan."""

    def __init__(
        self,
        options: Sequence[NodeOption],
        classes: Sequence[WorkloadClass],
        limits: Limits,
        settings: Settings,
        clock: Clock,
        kept: float,
        second: Callable[[NodeOption], Iterable[NodeOption]],
    ) -> None:
        """Keep what all searches share.

        Args:
            options: nodes to choose from, cheapest first.
            classes: to place.
            limits: on options altogether.
            settings: the gap that will do, and what nodes are like.
            clock: work left.
            kept: seconds of it, left to Karpenter's model by the search over homes.
            second: nodes to fall back to. Where there are limits, none are: what stands in would have to keep them too.
        """
        self.options = options
        self.classes = classes
        self.limits = limits
        self._settings = settings
        self._clock = clock
        self._kept = kept
        self._second = second
        self._begun: HomeProgram | None = None

    def with_more(self, nodes: Sequence[NodeOption]) -> Search:
        """A search with more nodes to choose from."""
        options = sorted(
            [*self.options, *nodes],
            key=lambda option: (option.price, option.instance_type.name, option.purchase),
        )
        return self._among(options)

    def _among(self, options: Sequence[NodeOption]) -> Search:
        """The search with other nodes to choose from, cheapest first."""
        limits = Limits(self.limits.all, options)
        return Search(options, self.classes, limits, self._settings, self._clock, self._kept, self._second)

    def begin(self, relaxation: Relaxation) -> bool:
        """Begin to choose homes, beside what comes next; whether that was done.

        Not where there are limits, by which prices change; nor for few workloads, where it takes no time, and the
        patterns of the cheapest packing help.

        Args:
            relaxation: where replicas would best be, and what they are worth.
        """
        if not self.limits.all and homes_of(self.classes) > _FEW_HOMES and not self._clock.over():
            self._begun = HomeProgram(
                relaxation.patterns,
                self.classes,
                relaxation.duals,
                gap=self._gap,
                clock=self._clock,
            )
        return self._begun is not None

    @property
    def _gap(self) -> float:
        """At which the first choice of homes is good enough."""
        return self._settings.gap / 2

    def with_few_pools(
        self, relaxation: Relaxation, packing: Packing, carried: Within, most: int, wishes: Wishes = NO_WISHES
    ) -> Within:
        """The cheapest pools found of which there are no more than so many; else the fewest found.

        Each pool is made to cost something, and then more, until they merge.

        Args:
            relaxation: where replicas would best be, what they are worth, and the limits' tolls.
            packing: the cheapest one.
            carried: what was found without a cap.
            most: pools.
            wishes: that it was found with.
        """
        fewest, best = carried, None
        low, high = float(wishes.fee), None
        dearest = _STEEPER * (cost(carried.carried.packing) + MICRO_USD)
        while low <= dearest and (high is None or high > _NEAR * low):
            hurried = self._clock.over()
            if hurried and high is not None:
                break
            fee = (dearest if hurried else low * _STEEPER) if high is None else (low * high) ** 0.5
            within_fee = self.carried(relaxation, packing, replace(wishes, fee=round(fee)))
            count = dearest if within_fee is None else len(within_fee.carried.options)
            if within_fee is not None and count < len(fewest.carried.options):
                fewest = within_fee
            if within_fee is None or count > most:
                low = fee
                if hurried:
                    break
            else:
                high = fee
                if best is None or cost(within_fee.carried.packing) < cost(best.carried.packing):
                    best = within_fee
        return best or fewest

    def with_few_kinds(self, relaxation: Relaxation, packing: Packing, most: int) -> Within | None:
        """Pools of no more than so many kinds of nodes, chosen beforehand; None: no such choice holds everybody.

        Args:
            relaxation: prices and patterns.
            packing: the cheapest one.
            most: kinds, and so pools.
        """
        kinds = few_kinds(self.options, self.classes, most)
        if kinds is None:
            return None
        options = [
            option for option in self.options if (option.cut, option.purchase is Purchase.SPOT) in kinds
        ]
        search = self._among(options)
        there = set(options)
        known = tuple(pattern for pattern in relaxation.patterns if pattern.option in there)
        start = search._start(packing, options, relaxation)  # noqa: SLF001  its own class
        return None if start is None else search.carried(replace(relaxation, patterns=known), start)

    def carried(self, relaxation: Relaxation, packing: Packing, wishes: Wishes = NO_WISHES) -> Within | None:
        """The cheapest pools found that keep the limits; None: none were found.

        Args:
            relaxation: where replicas would best be, what they are worth, and the limits' tolls.
            packing: the cheapest one.
            wishes: beside a low price.
        """
        if not self.limits.all:
            return self._once(relaxation, packing, self.options, wishes)
        tolls = self.limits.proper(relaxation.tolls)
        best = self._at(tolls, relaxation, packing, wishes)
        if (
            best is not None
            and leaves_some(self.limits, tolls, best.carried.packing)
            and not self._clock.over()
        ):
            # Homes are whole: at a toll that is right for fractions, nobody may want what is limited.
            other = self._at(self.limits.proper(np.zeros_like(tolls)), relaxation, packing, wishes, best=best)
            best = other or best
        return best

    def _at(
        self,
        tolls: Floats,
        relaxation: Relaxation,
        packing: Packing,
        wishes: Wishes,
        best: Within | None = None,
    ) -> Within | None:
        """The cheapest pools found that keep the limits, and the best before, beginning with these tolls."""
        barred: set[NodeOption] = set()
        shared: set[Limit] = set()
        hurried = 0
        for left in reversed(range(2 * len(self.limits.all) + _TRIES)):
            hurried += self._clock.over()
            if hurried > (_HURRIED_TRIES if best is None else 0):
                break
            tried = self._tried(tolls, relaxation, packing, wishes, barred)
            if tried is None:
                break
            within_toll, broken, passed = tried
            best = _cheaper(best, within_toll, broken)
            raised = raised_tolls(tolls, self.limits, passed)
            if not passed or (best is not None and not broken and (raised == tolls).all()):
                break
            if (raised == tolls).all():
                # Some pools go on with what is limited, as long as there is time to see whether that is few enough.
                share = left > len(self.limits.all) and not hurried
                shared |= {*broken} if share else set()
                for limit in broken:
                    barred |= beyond(limit, self.options, within_toll.carried.packing if share else Counter())
            tolls = raised
        if best is not None and shared and not self._clock.over():
            none = {option for option in self.options for limit in shared if limit.weigh(option) > 0}
            tried = self._tried(tolls, relaxation, packing, wishes, none)
            best = best if tried is None else _cheaper(best, *tried[:2])
        return best

    def _tried(
        self,
        tolls: Floats,
        relaxation: Relaxation,
        packing: Packing,
        wishes: Wishes,
        barred: Collection[NodeOption],
    ) -> tuple[Within, Sequence[Limit], set[Limit]] | None:
        """Pools at these tolls without some options; the limits that they break; those of which too much is wanted.

        None where the options that are left carry not everybody.
        """
        offered = [option for option in self.options if option not in barred]
        start = self._start(packing, offered, relaxation)
        if start is None:
            return None
        tolled = Tolled(offered, self.limits, tolls)
        within_toll = self._once(
            tolled.relaxation(relaxation), tolled.packing(start), tolled.options, wishes, tolled
        )
        broken = self.limits.broken(within_toll.carried.packing)
        return within_toll, broken, {*broken, *tolled.wanted_too_much(within_toll.carried.packing)}

    def _once(
        self,
        relaxation: Relaxation,
        packing: Packing,
        options: Sequence[NodeOption],
        wishes: Wishes,
        tolled: Tolled | None = None,
    ) -> Within:
        settings, clock = self._settings, self._clock
        pools = PoolPacking(options, self.classes, relaxation.duals, clock, wishes)
        homes = realise(
            relaxation,
            packing,
            pools,
            self.classes,
            gap=self._gap,
            clock=clock.keeping(self._kept),
            begun=self._begun,
        )
        bills = PoolBills(
            self.classes,
            settings.overhead,
            priced_orders(sum(a_class.replicas for a_class in self.classes)),
            packings=pools,
            clock=clock,
        )
        carried_so = carried_out(
            homes,
            self.classes,
            packings=pools,
            bills=bills,
            second=self._second if tolled is None else _no_second,
            clock=clock,
        )
        if tolled is None:
            return Within(carried_so, homes.packing)
        carried = tolled.untolled(carried_so)
        while any(not limit.counts for limit in self.limits.broken(carried.packing)):
            fewer = _with_less_spot(carried_so, options)
            if fewer is None:
                break
            carried_so = carried_out(
                fewer,
                self.classes,
                packings=pools,
                bills=bills,
                second=_no_second,
                clock=Clock(0.0),
            )
            carried = tolled.untolled(carried_so)
        packed = tolled.bought(homes.packing)
        return Within(carried, None if self.limits.broken(packed) else packed)

    def _start(
        self, packing: Packing, offered: Sequence[NodeOption], relaxation: Relaxation
    ) -> Packing | None:
        """The packing; where it has options that aren't offered any more, each class by itself on those that are."""
        there = set(offered)
        if all(pattern.option in there for pattern in packing):
            return within(packing, offered, self.classes, self.limits, clock=self._clock)
        known: dict[ClassNumber, list[Pattern]] = defaultdict(list)
        for pattern in relaxation.patterns:
            counts = pattern.counts()
            if len(counts) == 1 and pattern.option in there:
                known[next(iter(counts))].append(pattern)
        carriers = by_class(offered)
        result: Packing = Counter()
        for number, a_class in numbered(self.classes):
            patterns = known[number]
            if not patterns or not self._clock.over():
                alones = (alone(option, number, self.classes) for option in carriers.get(number, ()))
                patterns = [pattern for pattern in alones if pattern is not None]
            if not patterns:
                return None
            best = min(patterns, key=lambda pattern: pattern.option.price / pattern.counts()[number])
            full, rest = divmod(a_class.replicas, best.counts()[number])
            if full:
                result[best] += full
            if rest:
                result[best.without({number: best.counts()[number] - rest})] += 1
        return result


def _cheaper(best: Within | None, other: Within, broken: Sequence[Limit]) -> Within | None:
    """The cheaper of two, where the new one breaks nothing."""
    if broken or (best is not None and cost(best.carried.packing) <= cost(other.carried.packing)):
        return best
    return other


def no_room(relaxation: Relaxation, search: Search) -> AnswerIsNoError:
    """What to tell where limits leave no room for everybody."""
    tight = [limit.rule for limit, toll in zip(search.limits.all, relaxation.tolls, strict=True) if toll > 0]
    rules = ", ".join(tight or [limit.rule for limit in search.limits.all])
    short = [
        member.name
        for a_class, count in zip(search.classes, relaxation.short, strict=True)
        if count > 1e-6  # replicas: more than the solver's tolerance
        for member in a_class.members
    ]
    if not short:
        fix = "raise a count, allow other types, or give it more --time-limit"
        return AnswerIsNoError(f"no plan was found within {rules}", fix=fix)
    return AnswerIsNoError(
        f"no room for all of {first_of(short, _NAMED)} within {rules}",
        fix="raise a count, or allow other types",
    )


def _no_second(_: NodeOption) -> tuple[NodeOption, ...]:
    return ()


def _with_less_spot(carried: CarriedOut, options: Sequence[NodeOption]) -> Realisation | None:
    """The homes with one pool less on spot, that for which this costs least; None where no pool can be changed.

    A pool that may buy both is all spot whenever there is any: only whole pools hold to a share.
    """
    dearer = {
        (option.cut, option.instance_type.name): option.price
        for option in options
        if option.purchase is Purchase.ON_DEMAND
    }
    pools: dict[PoolKey, list[tuple[Pattern, int]]] = defaultdict(list)
    for pattern, count in carried.packing.items():
        if pattern.option.purchase is Purchase.SPOT:
            pools[pool_of(pattern)].append((pattern, count))
    ranked = []
    for at, (pool, nodes) in enumerate(pools.items()):
        prices = [dearer.get((pool.cut, pattern.option.instance_type.name)) for pattern, _ in nodes]
        known = [price for price in prices if price is not None]
        if len(known) == len(prices):
            paid = sum(
                (price - pattern.option.price) * count
                for price, (pattern, count) in zip(known, nodes, strict=True)
            )
            ranked.append((paid, at, pool))
    if not ranked:
        return None
    _, _, chosen = min(ranked, key=lambda change: change[:2])
    homes = {
        number: tuple(
            (
                workload,
                Home(home.pool._replace(spot=False), home.slice_index) if home.pool == chosen else home,
                count,
            )
            for workload, home, count in here
        )
        for number, here in carried.homes.items()
    }
    return Realisation(carried.packing, homes)
