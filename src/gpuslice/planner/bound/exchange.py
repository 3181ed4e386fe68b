"""Exchanges: where a replica of one class goes, one of an easier class goes in its place, at no cost.

The linear master may make them. It then needs far fewer patterns, since each stands for all its easier variants, and
its prices never value an easier class above a harder one (Ben Amor, Desrosiers and Valério de Carvalho, "Dual-optimal
inequalities for stabilized column generation", 2006). What it decided so is turned into patterns in the end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np

from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import ClassNumber, Place, pods_at
from gpuslice.planner.programs.highs import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Exchange = tuple[ClassNumber, ClassNumber]  # the easier, the harder

_NOTHING: Final = 1e-9


def exchanges_of(easier: NDArray[np.bool_]) -> tuple[Exchange, ...]:
    """The exchanges that all others are made of, those of the hardest classes first.

    Args:
        easier: whether a replica of the first class goes wherever one of the second goes, shape (classes, classes).
    """
    # Of two that are equal, the first counts as the easier.
    strictly = easier & ~(easier.T & np.tril(np.ones_like(easier), k=-1))
    # Floats, which have a fast product: of ones and noughts it is exact, or at least not nought.
    as_floats = strictly.astype(np.float32)
    between = (as_floats @ as_floats) > 0.5
    rank = strictly.sum(axis=0)
    pairs = [
        (ClassNumber(int(first)), ClassNumber(int(second)))
        for first, second in np.argwhere(strictly & ~between)
    ]
    return tuple(sorted(pairs, key=lambda pair: (-rank[pair[1]], pair)))


def made(
    amounts: dict[Pattern, float], exchanges: Sequence[Exchange], times: Sequence[float]
) -> dict[Pattern, float]:
    """A fractional mix of patterns and exchanges with its exchanges made: patterns alone.

    Args:
        amounts: of the patterns.
        exchanges: in the order of `exchanges_of`.
        times: how often each.
    """
    mixed = {pattern: amount for pattern, amount in amounts.items() if amount > _NOTHING}
    # In order, not as a set: patterns are told apart by their options' identity, and so would be the order of a set.
    holders: dict[ClassNumber, dict[Pattern, None]] = defaultdict(dict)
    for pattern in mixed:
        for number in pattern.counts():
            holders[number][pattern] = None
    for (easier, harder), wanted in zip(exchanges, times, strict=True):
        left = wanted
        # The patterns with most of the harder class first: few are split.
        for pattern in sorted(
            holders[harder], key=lambda holder: (-mixed[holder], holder.option.price, holder.pods)
        ):
            if left <= _NOTHING:
                break
            count = pattern.counts()[harder]
            taken = min(mixed[pattern], left / count)
            other = _replaced(pattern, harder, easier)
            left -= taken * count
            mixed[pattern] -= taken
            mixed[other] = mixed.get(other, 0.0) + taken
            for number in other.counts():
                holders[number][other] = None
            if mixed[pattern] <= _NOTHING:
                del mixed[pattern]
                for number in pattern.counts():
                    holders[number].pop(pattern, None)
    return mixed


def made_whole(
    packing: Counter[Pattern], exchanges: Sequence[Exchange], times: Sequence[int]
) -> Counter[Pattern]:
    """Whole nodes with whole exchanges made, no more than there are places for: the nodes after that.

    Args:
        packing: the nodes.
        exchanges: in the order of `exchanges_of`.
        times: how often each.
    """
    nodes = Counter(packing)
    for (easier, harder), wanted in zip(exchanges, times, strict=True):
        left = wanted
        while left > 0:
            holders = [pattern for pattern in +nodes if pattern.counts().get(harder, 0)]
            if not holders:
                break  # the program took a place that nobody has any more: the harder class was covered twice
            pattern = min(
                holders, key=lambda holder: (-holder.counts()[harder], holder.option.price, holder.pods)
            )
            count = pattern.counts()[harder]
            same = min(nodes[pattern], left // count) if left >= count else 1
            moved = min(count, left)
            nodes[pattern] -= same
            nodes[_replaced(pattern, harder, easier, moved)] += same
            left -= same * moved
    return +nodes


def exchange_column(exchange: Exchange) -> Column:
    """The exchange as a column over the classes."""
    easier, harder = exchange
    entries = sorted(((easier, 1.0), (harder, -1.0)))
    return Column(0.0, tuple(row for row, _ in entries), tuple(value for _, value in entries))


def _replaced(pattern: Pattern, harder: ClassNumber, easier: ClassNumber, most: int | None = None) -> Pattern:
    pods: dict[Place, int] = defaultdict(int)
    left = pattern.counts()[harder] if most is None else most
    for number, index, count in pattern.pods:
        moved = min(count, left) if number == harder else 0
        left -= moved
        if moved:
            pods[Place(easier, index)] += moved
        if count > moved:
            pods[Place(number, index)] += count - moved
    return Pattern(pattern.option, pods_at(pods), pattern.geometries)
