"""The dive: whole nodes of what the fractional solution is surest of, and other patterns for what is left."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.planner.model.places import ClassNumber

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.planner.bound.columns import ColumnGeneration, Relaxation
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.limits import Limits
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.patterns import Pattern
    from gpuslice.planner.programs.arrays import Floats


_NEARLY = 0.3  # a pattern wanted 0.7 times is taken for one node
_LEAST_WORTH = 1e-6  # dollars an hour of a replica, where its price is nought


def dive(
    columns: ColumnGeneration,
    relaxation: Relaxation,
    classes: Sequence[WorkloadClass],
    rounds: int,
    clock: Clock,
) -> tuple[Packing, Floats]:
    """Nodes for everybody, and replicas of each class for which the limits left no room.

    Args:
        columns: to find patterns for what is left.
        relaxation: the fractional solution to begin with.
        classes: to place.
        rounds: of finding patterns, in each step.
        clock: work left.
    """
    limits = columns.limits
    packing: Packing = Counter()
    left = np.asarray([float(a_class.replicas) for a_class in classes])
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
        if left.any() and clock.over():
            return _at_once(packing, columns.patterns, relaxation.duals, left, limits), left
        if left.any():
            used = limits.totals(packing)
            room = [(limit.most - total) / limit.unit for limit, total in zip(limits.all, used, strict=True)]
            relaxed = columns.again(left, np.asarray(room), relaxation, rounds=rounds, clock=clock)
    return packing, left


def _at_once(
    packing: Packing, patterns: Sequence[Pattern], duals: Floats, left: Floats, limits: Limits
) -> Packing:
    """The packing, and for whoever is left the nodes that are cheapest for what they still carry, class by class.

    For want of time to do better. Where limits leave no room, replicas stay left.
    """
    result = Counter(packing)
    totals = limits.totals(result)
    carrying: dict[int, list[tuple[Pattern, dict[ClassNumber, int]]]] = defaultdict(list)
    for pattern in patterns:
        counts = pattern.counts()
        if any(left[number] > 0 for number in counts):
            for number in counts:
                carrying[number].append((pattern, counts))

    prices: list[float] = np.maximum(duals, _LEAST_WORTH).tolist()

    def worth(counts: dict[ClassNumber, int]) -> float:
        return float(sum(prices[number] * min(count, left[number]) for number, count in counts.items()))

    for number in map(ClassNumber, np.flatnonzero(left).tolist()):
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
            surplus = {one: count - int(left[one]) for one, count in counts.items() if count > left[one]}
            chosen = pattern.without(surplus) if surplus else pattern
            whole = min(int(left[number] // count) for number, count in chosen.counts().items())
            times = whole if room is None else min(whole, room)
            result[chosen] += times
            for row, weight in enumerate(limits.weights(pattern.option)):
                totals[row] += weight * times
            for one, count in chosen.counts().items():
                left[one] -= count * times
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
