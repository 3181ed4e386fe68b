"""Whole nodes: from fractional amounts of patterns to integers, and the trimming of what is left over."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.hardware.slices import Mechanism
from gpuslice.planner.columns import column_of
from gpuslice.planner.exchange import column_of as exchange_column
from gpuslice.planner.exchange import made_whole
from gpuslice.planner.limits import moved
from gpuslice.planner.options import by_class
from gpuslice.planner.patterns import Pattern, carries
from gpuslice.planner.solver import INFINITY, begin_mixed
from gpuslice.planner.within_limits import reserved_first, within
from gpuslice.units import MICRO_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.columns import ColumnGeneration, Relaxation
    from gpuslice.planner.knapsack import Floats
    from gpuslice.planner.limits import Limits
    from gpuslice.planner.options import NodeOption
    from gpuslice.planner.solver import Answer

    Packing = Counter[Pattern]


_NEARLY = 0.3  # a pattern wanted 0.7 times is taken for one node
_ROUNDS_A_DIVE = 4
_ROUNDS_BEFORE_PROGRAM = 1  # which mends what a quick dive leaves
_NODES = 20  # of branch and bound
_FEW_CLASSES = 160  # of more, branch and bound takes seconds for what the dive has found
_LEAST_WORTH = 1e-6  # dollars an hour of a replica, where its price is nought
_LAST_RESORT_SECONDS = 1.0  # for any packing at all, where limits leave the dive without one


def cost(packing: Packing) -> int:
    """Micro-dollars per hour of all nodes."""
    return sum(pattern.option.price * count for pattern, count in packing.items())


class Packings:
    """Whole-number packings of everybody: one at once, and a cheaper one, perhaps, that is looked for on another core.

    First a dive: fix the patterns that the fractional solution is surest of, generate patterns for what is left, and
    so on. Then, if that isn't good enough and classes are few, a mixed-integer program over the patterns known.

    Attributes:
        dived: what the dive came to; None where the limits left it no room for somebody.
    """

    def __init__(
        self,
        columns: ColumnGeneration,
        relaxation: Relaxation,
        options: Sequence[NodeOption],
        classes: Sequence[WorkloadClass],
        *,
        gap: float,
        remaining: Callable[[], float],
    ) -> None:
        """Dive, and begin with the program.

        Args:
            columns: to find patterns for what is left.
            relaxation: the fractional solution, and the bound at which to stop looking.
            options: for smaller nodes where the last ones are half empty, cheapest first.
            classes: to place.
            gap: relative, at which a packing is good enough.
            remaining: seconds left.
        """
        self._limits, self._exchanges = columns.limits, columns.exchanges
        self._options, self._classes, self._remaining = options, classes, remaining
        few = len(classes) <= _FEW_CLASSES
        dived, left = _dive(
            columns, relaxation, classes, _ROUNDS_BEFORE_PROGRAM if few else _ROUNDS_A_DIVE, remaining
        )
        self.dived = None if left.any() else self._within(dived)
        self._patterns: list[Pattern] = []
        self._begun: Future[Answer] | None = None
        good_enough = relaxation.bound / (1 - gap) * MICRO_USD
        if self.dived is None or (few and cost(self.dived) > good_enough and remaining() > 0):
            self._begin(columns, relaxation, dived, gap)

    def _within(self, packing: Packing) -> Packing | None:
        """The same, trimmed, with what is reserved in use; None: no limits allow that."""
        small = trimmed(packing, self._options, self._classes, self._limits)
        found = within(small, self._options, self._classes, self._limits, remaining=self._remaining)
        return None if found is None else reserved_first(found, self._options, self._limits)

    def _begin(self, columns: ColumnGeneration, relaxation: Relaxation, dived: Packing, gap: float) -> None:
        demand = [float(each.replicas) for each in self._classes]
        promising = (
            columns.patterns
            if self.dived is None
            else columns.proper(np.asarray(demand), np.concatenate([relaxation.duals, relaxation.tolls]))
        )
        self._patterns = list(dict.fromkeys([*promising, *dived]))
        amounts = [float(dived.get(pattern, 0)) for pattern in self._patterns] + [0.0] * len(self._exchanges)
        limits, remaining = self._limits, self._remaining()
        self._begun = begin_mixed(
            [
                *(column_of(pattern, limits, len(demand)) for pattern in self._patterns),
                *(exchange_column(exchange) for exchange in self._exchanges),
            ],
            [*demand, *(-INFINITY for _ in limits.all)],
            [*(INFINITY for _ in demand), *limits.most.tolist()],
            nodes=_NODES if self.dived is not None else None,
            hasty=self.dived is not None,
            seconds=remaining if self.dived is not None else max(remaining, _LAST_RESORT_SECONDS),
            gap=gap / 2,
            start=None if self.dived is None else np.asarray(amounts),
        )

    def cheapest(self) -> Packing | None:
        """The cheapest one found, once there is an answer; None where none was found within the limits."""
        answer = None if self._begun is None else self._begun.result()
        if answer is None or answer.values is None:
            return self.dived
        whole = [round(amount) for amount in answer.values]
        nodes = Counter(
            {pattern: amount for pattern, amount in zip(self._patterns, whole, strict=False) if amount}
        )
        other = self._within(made_whole(nodes, self._exchanges, whole[len(self._patterns) :]))
        return min((each for each in (self.dived, other) if each is not None), key=cost, default=None)


def _dive(
    columns: ColumnGeneration,
    relaxation: Relaxation,
    classes: Sequence[WorkloadClass],
    rounds: int,
    remaining: Callable[[], float],
) -> tuple[Packing, Floats]:
    """Nodes for everybody, and replicas of each class for which the limits left no room."""
    limits = columns.limits
    packing: Packing = Counter()
    left = np.asarray([float(each.replicas) for each in classes])
    relaxed = relaxation
    while left.any():
        totals = limits.totals(packing)
        chosen = _surest(relaxed, left, limits, totals)
        if not chosen:
            break
        for pattern, times in chosen.items():
            for number, count in pattern.counts().items():
                left[number] = max(left[number] - count * times, 0.0)
        packing.update(chosen)
        if left.any() and remaining() <= 0:
            return _at_once(packing, columns.patterns, relaxation.duals, left, limits), left
        if left.any():
            used = limits.totals(packing)
            room = [(each.most - total) / each.unit for each, total in zip(limits.all, used, strict=True)]
            relaxed = columns.again(left, np.asarray(room), relaxation, rounds=rounds, remaining=remaining)
    return packing, left


def _at_once(
    packing: Packing, patterns: Sequence[Pattern], duals: Floats, left: Floats, limits: Limits
) -> Packing:
    """The packing, and for whoever is left the nodes that are cheapest for what they still carry, class by class.

    For want of time to do better. Where limits leave no room, replicas stay left.
    """
    result = Counter(packing)
    totals = limits.totals(result)
    carrying: dict[int, list[tuple[Pattern, dict[int, int]]]] = defaultdict(list)
    for pattern in patterns:
        counts = pattern.counts()
        if any(left[number] > 0 for number in counts):
            for number in counts:
                carrying[number].append((pattern, counts))

    prices: list[float] = np.maximum(duals, _LEAST_WORTH).tolist()

    def worth(counts: dict[int, int]) -> float:
        return float(sum(prices[number] * min(count, left[number]) for number, count in counts.items()))

    for number in np.flatnonzero(left).tolist():
        while left[number] > 0:
            rooms = [limits.room(pattern.option, totals) for pattern, _ in carrying[number]]
            allowed = [
                (pattern.option.usd / worth(counts), at)
                for at, ((pattern, counts), room) in enumerate(zip(carrying[number], rooms, strict=True))
                if room != 0
            ]
            if not allowed:
                break
            _, at = min(allowed)
            (pattern, counts), room = carrying[number][at], rooms[at]
            # Nobody beyond who is left: else a million nodes would be taken one by one, for one replica on them.
            surplus = {each: count - int(left[each]) for each, count in counts.items() if count > left[each]}
            chosen = pattern.without(surplus) if surplus else pattern
            whole = min(int(left[each] // count) for each, count in chosen.counts().items())
            times = whole if room is None else min(whole, room)
            result[chosen] += times
            for row, weight in enumerate(limits.weights(pattern.option)):
                totals[row] += weight * times
            for each, count in chosen.counts().items():
                left[each] -= count * times
    return result


def _surest(relaxed: Relaxation, left: Floats, limits: Limits, totals: list[int]) -> Packing:
    """The whole part of the fractional solution; where there is none, the patterns nearest to a whole node.

    None at all: no count leaves room for another node. A cap on spot's share is seen to in the end.
    """
    chosen: Packing = Counter()
    after = left.copy()

    def fits(pattern: Pattern) -> int:
        room = limits.room(pattern.option, totals)
        most = int(min(after[number] // count for number, count in pattern.counts().items()))
        return most if room is None else min(most, room)

    def take(pattern: Pattern, times: int) -> None:
        chosen[pattern] += times
        for row, weight in enumerate(limits.weights(pattern.option)):
            totals[row] += weight * times
        for number, count in pattern.counts().items():
            after[number] = max(after[number] - count * times, 0.0)

    order = np.argsort(-relaxed.amounts, kind="stable")
    for index in order:
        whole = min(int(relaxed.amounts[index] + _NEARLY), fits(relaxed.patterns[index]))
        if whole:
            take(relaxed.patterns[index], whole)
    if not chosen:
        for index in order:
            if limits.room(relaxed.patterns[index].option, totals) != 0:
                take(relaxed.patterns[index], 1)
                break
    return chosen


def trimmed(
    packing: Packing, options: Sequence[NodeOption], classes: Sequence[WorkloadClass], limits: Limits
) -> Packing:
    """The packing without surplus replicas, its emptier nodes made as small and cheap as the limits let them be."""
    totals = limits.totals(packing)
    surplus = Counter({number: -each.replicas for number, each in enumerate(classes)})
    for pattern, count in packing.items():
        for number, carried in pattern.counts().items():
            surplus[number] += carried * count
    result: Packing = Counter()
    carriers = by_class(options)
    # Dear nodes first: what comes off there may make them a cheaper type, or none.
    for pattern, count in sorted(packing.items(), key=lambda each: (-each[0].option.price, each[0].pods)):
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
    """The same load on the cheapest node that carries it and that the limits, used up to these totals, allow.

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
            return Pattern(option, tuple((number, 0, count) for number, count in sorted(counts.items())))
    return pattern
