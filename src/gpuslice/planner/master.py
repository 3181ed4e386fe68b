"""Whole nodes: from fractional amounts of patterns to integers, and the trimming of what is left over."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.hardware.slices import Mechanism
from gpuslice.planner.columns import column_of
from gpuslice.planner.patterns import Pattern, carries
from gpuslice.planner.solver import INFINITY, solve_mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.columns import Relaxation
    from gpuslice.planner.options import NodeOption

    Packing = Counter[Pattern]


def cost(packing: Packing) -> int:
    """Micro-dollars per hour of all nodes."""
    return sum(pattern.option.price * count for pattern, count in packing.items())


def cheapest_packing(
    relaxation: Relaxation,
    options: Sequence[NodeOption],
    classes: Sequence[WorkloadClass],
    *,
    gap: float,
    remaining: Callable[[], float],
) -> Packing:
    """The cheapest whole-number packing found over the patterns known: always a feasible one.

    Args:
        relaxation: patterns, and the bound at which to stop looking.
        options: for smaller nodes where the last ones are half empty.
        classes: to place.
        gap: relative, at which a packing is good enough.
        remaining: seconds left.
    """
    demand = [each.replicas for each in classes]
    rounded = _rounded(relaxation, demand)
    best = trimmed(rounded, options, classes)
    good_enough = relaxation.bound / (1 - gap)
    if cost(best) / 1e6 > good_enough and remaining() > 0:
        answer = solve_mixed(
            [column_of(pattern) for pattern in relaxation.patterns],
            [float(each) for each in demand],
            [INFINITY] * len(demand),
            seconds=remaining(),
            gap=gap / 4,
            start=np.asarray([float(rounded.get(pattern, 0)) for pattern in relaxation.patterns]),
        )
        if answer.values is not None:
            found = Counter(
                {
                    pattern: round(amount)
                    for pattern, amount in zip(relaxation.patterns, answer.values, strict=True)
                    if amount > 0.5
                }
            )
            best = min(best, trimmed(found, options, classes), key=cost)
    return best


def _rounded(relaxation: Relaxation, demand: Sequence[int]) -> Packing:
    """Round down, then cover what is left by the pattern that covers most of it for its price."""
    packing: Packing = Counter()
    left = list(demand)
    counts = [pattern.counts() for pattern in relaxation.patterns]
    for pattern, amount, load in zip(relaxation.patterns, relaxation.amounts, counts, strict=True):
        whole = int(amount + 1e-6)
        if whole:
            packing[pattern] += whole
            for number, count in load.items():
                left[number] -= count * whole
    duals = relaxation.duals
    while any(each > 0 for each in left):
        worth = [
            sum(
                float(duals[number]) * min(count, max(left[number], 0)) + 1e-9
                for number, count in load.items()
                if left[number] > 0
            )
            / pattern.option.usd
            for pattern, load in zip(relaxation.patterns, counts, strict=True)
        ]
        chosen = int(np.argmax(worth))
        load = counts[chosen]
        times = max(1, min(left[number] // count for number, count in load.items()))
        packing[relaxation.patterns[chosen]] += times
        for number, count in load.items():
            left[number] -= count * times
    return packing


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
