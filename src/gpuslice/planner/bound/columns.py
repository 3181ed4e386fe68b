"""Column generation: the cheapest fractional mix of patterns, found pattern by pattern, and the bound that it proves.

The linear master chooses how many nodes of each known pattern; its duals say what a replica of each class is worth;
pricing finds patterns worth more than their node costs. Duals are smoothed towards the best ones so far, since raw
ones swing (Wentges 1997). At any duals, scaled down until no pattern is worth more than its node, total worth is a
lower bound (Farley 1990): true at every round, not only at the end. Limits on options altogether have prices too, their
tolls: nodes cost what they cost and their tolls, and what the limits are worth is taken off the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner import budget
from gpuslice.planner.bound.exchange import exchange_column, exchanges_of, made
from gpuslice.planner.bound.first_prices import first_prices
from gpuslice.planner.bound.links import Links
from gpuslice.planner.loads.enumeration import Listed, listed
from gpuslice.planner.loads.pricing import Patience, Priced, Pricing
from gpuslice.planner.model.limits import Limits
from gpuslice.planner.model.patterns import Pattern, capacity, usage
from gpuslice.planner.model.places import ONLY_SLICE, PodsAtPlace
from gpuslice.planner.programs.highs import Column, Ended, LinearMaster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.limits import Limit
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.places import ClassNumber
    from gpuslice.planner.programs.arrays import Floats

_SMOOTHING = 0.4  # weight of the best duals so far; of 0.3 to 0.8 the quickest on large traces and fleets
_COLUMNS_A_ROUND = 1000
_MANY = 100  # new ones a round: as long as so many are found in little time, no more is taken
_PROMISING = 0.95  # of a node's price: what its load has to be worth, for whole nodes
_GOOD = 0.97  # and for homes: of 0.9 to 0.998 what leads to the cheapest, in no more time
_ROUNDS = 400
_MOST_TO_EXCHANGE = (
    1_000  # classes: of more, finding who is easier than whom takes seconds that pricing is short of
)
_STANDSTILL = 1e-5  # of the bound
_FIRST = 3  # options to begin with for each class
_UNCOVERED = 10.0  # times the dearest node: what a replica without a place costs
_PASSED = 1_000.0  # and what a limit passed by one costs: more than any node carries replicas of worth
_LEAST_USD = 1e-3  # of the dearest node, where all are free
_GRACE_SECONDS = 0.5  # of work for one linear program when there is none left: small fleets always have a mix
_ROUGH = 0.002  # tolerance where patterns are wanted, not proof


def _untold(_value: float, _bound: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Relaxation:
    """What column generation came to.

    Attributes:
        patterns: all that were found, but for those hardly worth their nodes at the last prices.
        amounts: of each, in the last fractional solution.
        value: its cost, dollars per hour.
        bound: proven: no plan costs less, dollars per hour.
        duals: at which the bound was proven: dollars per hour that one more replica of each class costs.
        tolls: at which the bound was proven: dollars per hour that one more unit of each limit saves.
        short: replicas of each class for which the limits leave no room in that solution.
        converged: whether the bound is within the tolerance of the value.
    """

    patterns: tuple[Pattern, ...]
    amounts: Floats
    value: float
    bound: float
    duals: Floats
    tolls: Floats
    short: Floats
    converged: bool


def column_of(pattern: Pattern, limits: Limits, classes: int) -> Column:
    """The pattern as a column over so many classes and, in the rows after them, the limits."""
    counts = sorted(pattern.counts().items())
    taken = [
        (classes + row, taken_of_limit)
        for row, taken_of_limit in enumerate(limits.entries(pattern.option))
        if taken_of_limit
    ]
    return Column(
        pattern.option.usd,
        (*(row for row, _ in counts), *(row for row, _ in taken)),
        (*(float(count) for _, count in counts), *(value for _, value in taken)),
    )


class ColumnGeneration:
    """The patterns found so far, for one set of options and classes, and the means to find more."""

    def __init__(
        self,
        options: Sequence[NodeOption],
        classes: Sequence[WorkloadClass],
        links: Links | None = None,
        limits: Sequence[Limit] = (),
        told: Callable[[float, float], None] = _untold,
    ) -> None:
        """Begin with nodes that carry one class each, so that there is always an answer.

        Args:
            options: to choose from.
            classes: to place: all replicas of each, unless links say otherwise.
            links: of services, which need only some of the classes' replicas.
            limits: on options altogether.
            told: called with each round's value and bound, dollars per hour.
        """
        self._links = links
        self._options = options
        self._classes = classes
        self._told = told
        self.limits = Limits(limits, options)
        self._pricing = Pricing(options, classes)
        self._pricing.reprice(self.limits.tolled(self.limits.first_tolls()))
        many = len(classes) > _MOST_TO_EXCHANGE
        self.exchanges = () if many else exchanges_of(self._pricing.easier())
        self._known: dict[Pattern, None] = {}
        everything = np.ones(len(options), dtype=np.bool_)
        begin = self._pricing.cheapest_alone(_FIRST, everything)
        if not self.limits.free.all():  # where limits are used up, there must be something else
            begin += self._pricing.cheapest_alone(1, self.limits.free)
        first = (alone(option, number, classes) for option, number in begin)
        self._known.update(dict.fromkeys(pattern for pattern in first if pattern is not None))

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """All that were found so far."""
        return tuple(self._known)

    def relax(self, *, tolerance: float, clock: Clock) -> Relaxation:
        """Generate patterns until the bound is within the tolerance of the fractional optimum for all replicas.

        Args:
            tolerance: relative, of bound against value.
            clock: work left; a feasible mix and a true bound come out whenever it ends.
        """
        demand = np.asarray([a_class.replicas for a_class in self._classes], dtype=np.float64)
        tolls = self.limits.first_tolls()
        self._pricing.reprice(self.limits.tolled(tolls))
        prices, centre, used = first_prices(self._pricing, demand, clock)
        if not clock.over():
            self._known.update(dict.fromkeys(self._pricing.loads(used, prices, clock)))
        return self._rounds(
            demand,
            self.limits.most,
            np.concatenate([centre, tolls]),
            _ROUNDS,
            tolerance=tolerance,
            clock=clock,
            patience=Patience.ENOUGH,
            told=self._told,
        )

    def listed(self, prices: Floats, slack: float, clock: Clock) -> Listed:
        """The loads that lack no more than so much of what their nodes cost, or than as little as leaves few of them.

        Args:
            prices: of the proof: no load is worth more than its node.
            slack: dollars an hour.
            clock: work left.
        """
        demand = np.asarray([a_class.replicas for a_class in self._classes], dtype=np.int64)
        return listed(self._pricing.nodes(demand), prices, slack, clock)

    def plainest(self, pattern: Pattern) -> Pattern:
        """A pattern with its MIG instances as like as can be: listed ones are cut in a hurry."""
        return self._pricing.plainest(pattern)

    def again(
        self,
        demand: Floats,
        room: Floats,
        relaxed: Relaxation,
        *,
        rounds: int,
        clock: Clock,
    ) -> Relaxation:
        """A few rounds more, for what is left to place. Its bound is one for these replicas alone.

        Args:
            demand: replicas of each class, at most all of them.
            room: what is left of the limits, in the solver's units.
            relaxed: whose prices and tolls are a good start, since no pattern is worth more than its node there.
            rounds: at most.
            clock: work left.
        """
        centre = np.concatenate([relaxed.duals, relaxed.tolls])
        return self._rounds(
            demand, room, centre, rounds, tolerance=_ROUGH, clock=clock, patience=Patience.LITTLE
        )

    def proper(self, demand: Floats, centre: Floats | None = None) -> dict[Pattern, None]:
        """The patterns known, without replicas beyond the demand.

        A pattern that carries more than is left would look cheap: half of a node for one of its two replicas.

        Args:
            demand: replicas of each class.
            centre: prices and tolls; patterns hardly worth their nodes at these are left out. None: all stay.
        """
        proper: dict[Pattern, None] = {}
        left: list[int] = demand.astype(np.int64).tolist()
        # Whose load isn't worth it with surplus replicas isn't without.
        for pattern in self._known if centre is None else self._worth(self._known, centre, _PROMISING):
            kept = pattern
            if pattern.geometries or any(count > left[number] for number, _, count in pattern.pods):
                surplus = {
                    number: count - left[number]
                    for number, count in pattern.counts().items()
                    if count > left[number]
                }
                kept = pattern.without(surplus) if surplus else pattern
            if kept.pods:
                proper[kept] = None
        return proper if centre is None else dict.fromkeys(self._worth(proper, centre, _PROMISING))

    def _worth(self, patterns: Iterable[Pattern], centre: Floats, share: float) -> list[Pattern]:
        """The patterns worth so much of their nodes' prices, tolls included, and those that carry one class alone."""
        classes = len(self._classes)
        prices: list[float] = centre[:classes].tolist()
        usd = dict(zip(self._options, self.limits.tolled(centre[classes:]).tolist(), strict=True))
        return [
            pattern
            for pattern in patterns
            if len(pattern.pods) == 1
            or sum(prices[number] * count for number, _, count in pattern.pods) > share * usd[pattern.option]
        ]

    def _master(self, links: Links, demand: Floats, room: Floats) -> LinearMaster:
        """The linear master before it has a pattern: its columns are the links, then the exchanges."""
        penalty = _UNCOVERED * (max(option.usd for option in self._options) + _LEAST_USD)
        most = max(float(demand.max()), 1.0)
        master = LinearMaster(
            [*map(float, links.fixed), *[1.0] * links.services],
            [penalty] * len(links.fixed) + [penalty * most] * links.services,
            [float(entry) for entry in room],
            toll=penalty * _PASSED,
        )
        for column in links.columns():
            master.add(column)
        for exchange in self.exchanges:
            master.add(exchange_column(exchange))
        return master

    def _priced(
        self,
        priced_at: Floats,
        demand: Floats,
        tolerance: float,
        patience: Patience,
        clock: Clock,
    ) -> tuple[Priced, Floats]:
        """Patterns worth more than their nodes at prices and tolls, and both brought to where none is."""
        classes = len(self._classes)
        prices, tolls = priced_at[:classes], self.limits.proper(priced_at[classes:])
        self._pricing.reprice(self.limits.tolled(tolls))
        priced = self._pricing.solve(prices, demand, tolerance=tolerance / 4, patience=patience, clock=clock)
        return priced, np.concatenate([prices * priced.shares, tolls])

    def _rounds(
        self,
        demand: Floats,
        room: Floats,
        centre: Floats,
        rounds: int,
        *,
        tolerance: float,
        clock: Clock,
        patience: Patience,
        told: Callable[[float, float], None] = _untold,
    ) -> Relaxation:
        links = self._links or Links(tuple(int(entry) for entry in demand))
        master = self._master(links, demand, room)
        classes, first = len(demand), len(demand) + links.services  # the limits' rows come last
        known = self.proper(demand, centre if patience is Patience.LITTLE else None)
        for pattern in known:
            master.add(column_of(pattern, self.limits, first))
        clock.spend(len(known) * budget.COLUMN + len(self._known) * budget.PATTERN)

        def worth(prices_and_tolls: Floats) -> float:
            return links.worth(prices_and_tolls[:classes]) - float(room @ prices_and_tolls[classes:])

        bound = worth(centre)
        # Whoever has no time for even this has no mix, only patterns.
        nothing = math.inf, np.zeros(len(self.exchanges) + len(links.kinds)), centre, np.zeros(classes)
        value, amounts, duals, short = _solved(master, classes, first, clock) or nothing
        easy = patience is Patience.ENOUGH
        for _ in range(rounds):
            if bound >= value * (1 - tolerance) or clock.over():
                break
            new, moved = 0, False
            # Where the smoothed prices teach nothing new, the master's own may.
            smooth = _SMOOTHING * centre + (1 - _SMOOTHING) * duals
            tries = [(smooth, patience), (duals, patience), (smooth, Patience.ALL)]
            if easy:
                tries.insert(0, (smooth, Patience.LITTLE))
            for priced_at, with_patience in tries:
                priced, scaled = self._priced(priced_at, demand, tolerance, with_patience, clock)
                proven = worth(scaled)
                moved |= proven > bound + abs(bound) * _STANDSTILL
                if proven > bound:
                    bound, centre = proven, scaled
                patterns = [
                    pattern for _, pattern in priced.patterns[:_COLUMNS_A_ROUND] if pattern not in known
                ]
                for pattern in dict.fromkeys(patterns):
                    known[pattern] = None
                    master.add(column_of(pattern, self.limits, first))
                    new += 1
                clock.spend(len(patterns) * budget.COLUMN)
                if new or patience is Patience.LITTLE:
                    break
            easy = easy and new >= _MANY
            if new:
                last = value, amounts, duals, short
                value, amounts, duals, short = _solved(master, classes, first, clock) or last
            elif not moved:
                break
            told(value, max(bound, 0.0))
        amounts = amounts[len(links.kinds) :]
        exchanged = len(self.exchanges)
        mix = made(
            # What was found after the last solution has no amount in it.
            dict(zip(known, amounts[exchanged:].tolist(), strict=False)),
            self.exchanges,
            amounts[:exchanged].tolist(),
        )
        known |= dict.fromkeys(mix)
        self._known |= known
        good = tuple(dict.fromkeys([*self._worth(known, centre, _GOOD), *mix]))
        clock.spend(len(known) * budget.PATTERN)
        return Relaxation(
            good,
            np.asarray([mix.get(pattern, 0.0) for pattern in good]),
            value,
            min(bound, value),
            centre[:classes],
            centre[classes:],
            short,
            converged=bound >= value * (1 - tolerance),
        )


def _solved(
    master: LinearMaster, classes: int, first: int, clock: Clock
) -> tuple[float, Floats, Floats, Floats] | None:
    """Value, amounts of the columns, prices with tolls, and what is short; None where that takes too much work."""
    a_step = budget.PIVOT * max(first, 1)
    steps = int(max(clock.left(), _GRACE_SECONDS) / a_step) + 1
    answer = master.solve(steps=steps, seconds=max(clock.on_the_wall, _GRACE_SECONDS))
    clock.spend(budget.MASTER + a_step * answer.steps)
    if answer.ended is Ended.TIME:
        clock.stop()
    mix = answer.mix
    if mix is None:
        return None
    prices = np.concatenate([mix.duals[:classes], mix.duals[first:]])
    return mix.value, mix.amounts, prices, mix.short[:classes]


def alone(option: NodeOption, number: ClassNumber, classes: Sequence[WorkloadClass]) -> Pattern | None:
    """A node with as many replicas of one class as it carries, at most those there are; None if not one."""
    return max(
        each_alone(option, number, classes), key=lambda pattern: pattern.pods[0].replicas, default=None
    )


def each_alone(option: NodeOption, number: ClassNumber, classes: Sequence[WorkloadClass]) -> list[Pattern]:
    """Nodes with as many replicas of one class as they carry: one at most, with MIG one for each profile that fits."""
    room = [
        have // need
        for have, need in zip(capacity(option), usage(number, option, classes), strict=True)
        if need
    ]
    count = min([*room, classes[number].replicas])
    if option.cut.mechanism is not Mechanism.MIG:
        return [Pattern(option, (PodsAtPlace(number, ONLY_SLICE, count),))] if count else []
    patterns = []
    for where, _ in option.cut.fits[number]:
        geometry = max(option.cut.geometries, key=lambda geometry: (dict(geometry).get(where, 0), geometry))
        here = min(count, dict(geometry).get(where, 0) * option.units)
        if here:
            pods = PodsAtPlace(number, where, here)
            patterns.append(Pattern(option, (pods,), (geometry,) * option.units))
    return patterns
