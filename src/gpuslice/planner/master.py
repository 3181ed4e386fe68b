"""Whole nodes: from fractional amounts of patterns to integers, and the trimming of what is left over."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.hardware.slices import Mechanism
from gpuslice.planner.columns import column_of
from gpuslice.planner.exchange import column_of as exchange_column
from gpuslice.planner.exchange import made_whole
from gpuslice.planner.patterns import Pattern, carries
from gpuslice.planner.solver import INFINITY, solve_mixed
from gpuslice.units import MICRO_USD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.columns import ColumnGeneration, Relaxation
    from gpuslice.planner.knapsack import Floats
    from gpuslice.planner.options import NodeOption

    Packing = Counter[Pattern]


_NEARLY = 0.3  # a pattern wanted 0.7 times is taken for one node
_ROUNDS_A_DIVE = 6
_NODES = 30  # of branch and bound


def cost(packing: Packing) -> int:
    """Micro-dollars per hour of all nodes."""
    return sum(pattern.option.price * count for pattern, count in packing.items())


def cheapest_packing(
    columns: ColumnGeneration,
    relaxation: Relaxation,
    options: Sequence[NodeOption],
    classes: Sequence[WorkloadClass],
    *,
    gap: float,
    remaining: Callable[[], float],
) -> Packing:
    """The cheapest whole-number packing found: always a feasible one.

    First a dive: fix the patterns that the fractional solution is surest of, generate patterns for what is left, and
    so on. Then, if that isn't good enough, a mixed-integer program over all patterns known.

    Args:
        columns: to find patterns for what is left.
        relaxation: the fractional solution, and the bound at which to stop looking.
        options: for smaller nodes where the last ones are half empty, cheapest first.
        classes: to place.
        gap: relative, at which a packing is good enough.
        remaining: seconds left.
    """
    good_enough = relaxation.bound / (1 - gap) * MICRO_USD
    dived = _dive(columns, relaxation, classes, remaining)
    best = trimmed(dived, options, classes)
    if cost(best) > good_enough and remaining() > 0:
        patterns = columns.patterns
        answer = solve_mixed(
            [
                *(column_of(pattern) for pattern in patterns),
                *(exchange_column(exchange) for exchange in columns.exchanges),
            ],
            [float(each.replicas) for each in classes],
            [INFINITY] * len(classes),
            nodes=_NODES,
            seconds=remaining(),
            gap=gap / 2,
            start=np.asarray(
                [float(dived.get(pattern, 0)) for pattern in patterns] + [0.0] * len(columns.exchanges)
            ),
        )
        if answer.values is not None:
            whole = [round(amount) for amount in answer.values]
            nodes = Counter(
                {pattern: amount for pattern, amount in zip(patterns, whole, strict=False) if amount}
            )
            found = made_whole(nodes, columns.exchanges, whole[len(patterns) :])
            best = min(best, trimmed(found, options, classes), key=cost)
    return best


def _dive(
    columns: ColumnGeneration,
    relaxation: Relaxation,
    classes: Sequence[WorkloadClass],
    remaining: Callable[[], float],
) -> Packing:
    """Nodes for everybody."""
    packing: Packing = Counter()
    left = np.asarray([float(each.replicas) for each in classes])
    relaxed = relaxation
    while left.any():
        chosen = _surest(relaxed, left)
        for pattern, times in chosen.items():
            for number, count in pattern.counts().items():
                left[number] = max(left[number] - count * times, 0.0)
        packing.update(chosen)
        if left.any():
            relaxed = columns.again(left, relaxation.duals, rounds=_ROUNDS_A_DIVE, remaining=remaining)
    return packing


def _surest(relaxed: Relaxation, left: Floats) -> Packing:
    """The whole part of the fractional solution; where there is none, the patterns nearest to a whole node."""
    chosen: Packing = Counter()
    after = left.copy()

    def fits(pattern: Pattern) -> int:
        return int(min(after[number] // count for number, count in pattern.counts().items()))

    def take(pattern: Pattern, times: int) -> None:
        chosen[pattern] += times
        for number, count in pattern.counts().items():
            after[number] = max(after[number] - count * times, 0.0)

    order = np.argsort(-relaxed.amounts, kind="stable")
    for index in order:
        whole = min(int(relaxed.amounts[index] + _NEARLY), fits(relaxed.patterns[index]))
        if whole:
            take(relaxed.patterns[index], whole)
    if not chosen:
        take(relaxed.patterns[order[0]], 1)
    return chosen


def trimmed(packing: Packing, options: Sequence[NodeOption], classes: Sequence[WorkloadClass]) -> Packing:
    """The packing without surplus replicas, its emptier nodes made as small and cheap as they can be."""
    surplus = Counter({number: -each.replicas for number, each in enumerate(classes)})
    for pattern, count in packing.items():
        for number, carried in pattern.counts().items():
            surplus[number] += carried * count
    result: Packing = Counter()
    # Dear nodes first: what comes off there may make them a cheaper type, or none.
    for pattern, count in sorted(packing.items(), key=lambda each: (-each[0].option.price, each[0].pods)):
        load = pattern.counts()
        kept = count
        while kept and any(surplus[number] > 0 for number in load):
            off = {number: min(surplus[number], carried) for number, carried in load.items()}
            smaller = pattern.without(off)
            surplus.subtract(off)
            kept -= 1
            if smaller.pods:
                result[cheapest_home(smaller, options, classes)] += 1
        if kept:
            result[pattern] += kept
    return result


def cheapest_home(
    pattern: Pattern, options: Sequence[NodeOption], classes: Sequence[WorkloadClass]
) -> Pattern:
    """The same load on the cheapest node that carries it."""
    counts = pattern.counts()
    for option in options:  # cheapest first
        if option.price >= pattern.option.price:
            break
        if option.cut.mechanism is not Mechanism.MIG and carries(option, counts, classes):
            return Pattern(option, tuple((number, 0, count) for number, count in sorted(counts.items())))
    return pattern
