"""Whole nodes: packings from a dive and from integer programs, and the trimming of what is left over."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner import budget
from gpuslice.planner.bound.columns import column_of
from gpuslice.planner.bound.exchange import exchange_column, made_whole
from gpuslice.planner.model.limits import moved
from gpuslice.planner.model.options import by_class
from gpuslice.planner.model.packing import Packing, cost
from gpuslice.planner.model.patterns import Pattern, carries
from gpuslice.planner.model.places import numbered, pods_in_slots
from gpuslice.planner.packing.dive import dive
from gpuslice.planner.packing.repair import reserved_first, within
from gpuslice.planner.programs.highs import INFINITY, Ended, Stop, begin_mixed
from gpuslice.units import MICRO_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from gpuslice.planner.bound.columns import ColumnGeneration, Relaxation
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.limits import Limits
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.programs.highs import Answer


_ROUNDS_A_DIVE = 4
_ROUNDS_BEFORE_PROGRAM = 1  # which mends what a quick dive leaves
_NODES = 20  # of branch and bound
_SMALL = 30  # classes: of more, loads are too many to be listed
_NODES_OF_ALL = 30  # of branch and bound over listed loads
_NODES_OF_LAST_RESORT = 10_000  # for any packing at all, where limits leave the dive without one
_LAST_RESORT_SECONDS = 1.0  # on the wall, for any packing at all
_FEW_CLASSES = 160  # of more, branch and bound takes seconds for what the dive has found


class Packings:
    """Whole-number packings of everybody: one at once, and a cheaper one, perhaps, that is looked for on another core.

    First a dive. Then, if that isn't good enough and classes are few, a mixed-integer program over the patterns known;
    and for small fleets, if that isn't good enough either, one over all loads that could make it cheaper.

    Attributes:
        dived: what the dive came to; None where the limits left it no room for somebody.
        bound: proven so far: no packing costs less, dollars an hour.
    """

    def __init__(
        self,
        columns: ColumnGeneration,
        relaxation: Relaxation,
        options: Sequence[NodeOption],
        classes: Sequence[WorkloadClass],
        *,
        gap: float,
        clock: Clock,
    ) -> None:
        """Dive, and begin with the program.

        Args:
            columns: to find patterns for what is left.
            relaxation: the fractional solution, and the bound at which to stop looking.
            options: for smaller nodes where the last ones are half empty, cheapest first.
            classes: to place.
            gap: relative, at which a packing is good enough.
            clock: work left.
        """
        self._columns, self._limits, self._exchanges = columns, columns.limits, columns.exchanges
        self._values, self.bound, self._gap = relaxation.duals, relaxation.bound, gap
        self._options, self._classes, self._clock = options, classes, clock
        few = len(classes) <= _FEW_CLASSES
        dived, left = dive(
            columns, relaxation, classes, _ROUNDS_BEFORE_PROGRAM if few else _ROUNDS_A_DIVE, clock
        )
        self.dived = None if left.any() else self._within(dived)
        self._best = self.dived
        self._looked = False
        self._patterns: list[Pattern] = []
        self._slack = 0.0
        self._begun: Future[Answer] | None = None
        if self.dived is None:
            self._begin(
                [*columns.patterns, *dived], None, _NODES_OF_LAST_RESORT, budget.CHECKS_OF_LAST_RESORT
            )
        elif few and not self._good_enough(self.dived) and not clock.over():
            prices = np.concatenate([relaxation.duals, relaxation.tolls])
            demand = np.asarray([float(a_class.replicas) for a_class in classes])
            self._begin([*columns.proper(demand, prices), *dived], dived, _NODES)

    def _good_enough(self, packing: Packing) -> bool:
        return cost(packing) <= self.bound / (1 - self._gap) * MICRO_USD

    def _within(self, packing: Packing) -> Packing | None:
        """A packing trimmed, with what is reserved in use; None: no limits allow that."""
        small = trimmed(packing, self._options, self._classes, self._limits)
        kept = within(small, self._options, self._classes, self._limits, clock=self._clock)
        return None if kept is None else reserved_first(kept, self._options, self._limits)

    def _begin(
        self,
        patterns: Iterable[Pattern],
        start: Packing | None,
        nodes: int,
        checks: int | None = None,
    ) -> None:
        """Begin with the program over these patterns."""
        self._patterns = list(dict.fromkeys(patterns))
        limits, seconds = self._limits, self._clock.on_the_wall
        if start is None:
            seconds = max(seconds, _LAST_RESORT_SECONDS)
        demand = [float(a_class.replicas) for a_class in self._classes]
        self._begun = begin_mixed(
            [
                *(column_of(pattern, limits, len(demand)) for pattern in self._patterns),
                *(exchange_column(exchange) for exchange in self._exchanges),
            ],
            [*demand, *(-INFINITY for _ in limits.all)],
            [*(INFINITY for _ in demand), *limits.most.tolist()],
            Stop(self._gap / 2, nodes, checks, seconds),
            hasty=nodes == _NODES,
            start=None
            if start is None
            else np.asarray(
                [float(start.get(pattern, 0)) for pattern in self._patterns] + [0.0] * len(self._exchanges)
            ),
        )

    def cheapest(self) -> Packing | None:
        """The cheapest one found, once there is an answer; None where none was found within the limits."""
        self._best = self._cheaper(self._best)
        return self._best

    def look_at_all(self, best: Packing) -> None:
        """Begin, once, to look at all loads that a cheaper packing could have, where it pays and they are few.

        Loads that pay only beside each other are not what prices lead to.

        Args:
            best: of `cheapest`.
        """
        if self._looked:
            return
        self._looked, self._begun = True, None
        small = len(self._classes) <= _SMALL and not self._limits.all
        if small and not self._good_enough(best) and not self._clock.over():
            slack = cost(best) / MICRO_USD - self.bound
            loads = self._columns.listed(self._values, slack, self._clock)
            if not loads.slack or self._clock.over():
                return
            self._slack = loads.slack
            self._begin(
                [*self._patterns, *loads.patterns, *best], best, _NODES_OF_ALL, budget.CHECKS_OF_LISTED
            )

    def cheapest_of_all(self, best: Packing) -> Packing:
        """The cheapest one now, once there is an answer; the bound may be higher then.

        Args:
            best: so far.
        """
        answer = self._answer()
        if answer is not None and answer.bound is not None:
            # A packing with a load that isn't listed costs more than the bound by all that the load lacks.
            self.bound = max(self.bound, min(answer.bound, self.bound + self._slack))
        return self._cheaper(best) or best

    def _answer(self) -> Answer | None:
        """Of the program, once there is one; None where none was begun."""
        answer = None if self._begun is None else self._begun.result()
        if answer is not None and answer.ended is Ended.TIME:
            self._clock.stop()
        return answer

    def _cheaper(self, best: Packing | None) -> Packing | None:
        """What the program has found, if that is cheaper."""
        answer = self._answer()
        if answer is None or answer.point is None:
            return best
        whole = [round(amount) for amount in answer.point.values]
        nodes: Packing = Counter()
        for pattern, amount in zip(self._patterns, whole, strict=False):
            if amount:
                nodes[self._columns.plainest(pattern)] += amount
        other = self._within(made_whole(nodes, self._exchanges, whole[len(self._patterns) :]))
        return min(
            (candidate for candidate in (best, other) if candidate is not None), key=cost, default=None
        )


def cheapest_of(
    packings: Packings, tell: Callable[[Packing], None] = lambda _packing: None
) -> Packing | None:
    """The cheapest packing, once everything is looked at that pays; None where none was found within the limits.

    Args:
        packings: begun.
        tell: what is found on the way.
    """
    packing = packings.cheapest()
    if packing is None:
        return None
    tell(packing)
    packings.look_at_all(packing)
    return packings.cheapest_of_all(packing)


def trimmed(
    packing: Packing, options: Sequence[NodeOption], classes: Sequence[WorkloadClass], limits: Limits
) -> Packing:
    """The packing without surplus replicas, its emptier nodes made as small and cheap as the limits let them be."""
    totals = limits.totals(packing)
    surplus = Counter({number: -a_class.replicas for number, a_class in numbered(classes)})
    for pattern, count in packing.items():
        for number, carried in pattern.counts().items():
            surplus[number] += carried * count
    result: Packing = Counter()
    carriers = by_class(options)
    # Dear nodes first: what comes off there may make them a cheaper type, or none.
    for pattern, count in sorted(packing.items(), key=lambda entry: (-entry[0].option.price, entry[0].pods)):
        load = pattern.counts()
        kept = count
        while kept and any(surplus[number] > 0 for number in load):
            off = {number: min(surplus[number], carried) for number, carried in load.items()}
            smaller = pattern.without(off)
            surplus.subtract(off)
            kept -= 1
            home = None
            if smaller.pods:
                fewest = min((carriers[number] for number, _, _ in smaller.pods), key=len)
                home = cheapest_home(smaller, fewest, classes, limits, totals)
            moved(totals, limits, pattern.option, None if home is None else home.option)
            if home is not None:
                result[home] += 1
        if kept:
            result[pattern] += kept
    return result


def cheapest_home(
    pattern: Pattern,
    options: Sequence[NodeOption],
    classes: Sequence[WorkloadClass],
    limits: Limits,
    totals: Sequence[int],
) -> Pattern:
    """The load of a pattern on the cheapest node that carries it and that the limits, used up to these totals, allow.

    The options, cheapest first, need be those alone that may carry one of its classes.
    """
    counts = pattern.counts()
    for option in options:
        if option.price >= pattern.option.price:
            break
        if (
            option.cut.mechanism is not Mechanism.MIG
            and limits.allows(totals, pattern.option, option)
            and carries(option, counts, classes)
        ):
            return Pattern(option, pods_in_slots(counts))
    return pattern
