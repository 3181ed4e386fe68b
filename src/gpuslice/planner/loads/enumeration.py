"""The loads that a cheaper packing could have, for fleets so small that most of them can be listed.

Prices at which no load is worth more than its node prove the bound. Then a packing costs the bound and what its loads
are worth less than their nodes, together: a load that lacks more than what the best packing is above the bound is in
none that is cheaper (Baldacci, Christofides and Mingozzi, "An exact algorithm for the vehicle routing problem based on
the set partitioning formulation", 2008, list routes so). With all others at hand, an integer program proves what column
generation can't. Where they are too many, those that lack least still prove something: a packing with any other costs
the bound and what that lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from gpuslice.planner import budget
from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import pods_in_slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.planner.clock import Clock
    from gpuslice.planner.loads.pricing import Node
    from gpuslice.planner.loads.relaxation import Tariff
    from gpuslice.planner.model.places import ClassNumber
    from gpuslice.planner.programs.arrays import Floats, Integers

    Load = tuple[tuple[ClassNumber, int], ...]  # replicas by class, ascending

_MOST_LOOKS: Final = 300_000
"""At loads, whole ones or in part: a tenth of a second, and perhaps again with less slack."""
_TRIES: Final = 4
_LESS: Final = 2  # times the slack each time
_MOST_LOADS: Final = 2_500
"""Of more, the program takes many seconds."""
_ROUNDING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Listed:
    """Loads, each on the cheapest node for it.

    Attributes:
        patterns: at least all that lack less than the slack, but for those that can be added to.
        slack: dollars an hour, perhaps none.
    """

    patterns: tuple[Pattern, ...]
    slack: float


def listed(nodes: Iterable[Node], values: Floats, slack: float, clock: Clock) -> Listed:
    """The loads that lack no more than a slack: the one given, or as much as leaves few enough to be listed.

    Args:
        nodes: all there are to choose from, cheapest first.
        values: what a replica of each class is worth, dollars an hour, such that no load is worth more than its node.
        slack: dollars an hour.
        clock: work left; nothing is listed after.
    """
    loads = None
    for _ in range(_TRIES):
        loads = _found(nodes, values, slack, clock)
        if loads is not None:
            break
        slack /= _LESS
    if loads is None:  # of loads that lack nothing there may be millions
        return Listed((), 0.0)
    lacks = np.concatenate([[], *(lack for _, _, lack in loads)])
    rows = [(node, row) for node, counts, _ in loads for row in counts]
    patterns: dict[Load, Pattern] = {}
    # Among equals the cheapest node comes first.
    for at in np.argsort(lacks, kind="stable").tolist():
        node, row = rows[at]
        load = tuple((node.option.classes[item], int(row[item])) for item in np.flatnonzero(row).tolist())
        if load in patterns:
            continue
        if len(patterns) == _MOST_LOADS:
            slack = float(lacks[at]) - 2 * _ROUNDING
            break
        patterns[load] = _pattern(node, load)
    return Listed(tuple(patterns.values()), max(slack, 0.0))


def _found(
    nodes: Iterable[Node], values: Floats, slack: float, clock: Clock
) -> list[tuple[Node, Integers, Floats]] | None:
    """By node, its loads as replicas of its members, and what they lack; None: that takes too long."""
    loads_of_nodes = []
    looks = 0
    for node in nodes:
        if clock.over():
            return None
        least = node.option.usd - slack - _ROUNDING
        bound, tariff = node.bound(values, least, clock)
        if bound < least:
            continue
        here = values[node.members]
        counts, more = _loads(node, tariff, here, least, _MOST_LOOKS - looks)
        looks += more
        clock.spend(budget.LISTED * more * len(node.members))
        if looks > _MOST_LOOKS:
            return None
        counts = _full(node, counts)
        if len(counts):
            loads_of_nodes.append((node, counts, node.option.usd - counts @ here))
    return loads_of_nodes


def _loads(node: Node, tariff: Tariff, values: Floats, least: float, most_looks: int) -> tuple[Integers, int]:
    """The loads worth so much, as replicas of the node's members, shape (loads, members); and the looks it took.

    Of no use where the looks came to their end.
    """
    # What each is worth beyond the resources that it takes, and what those still to come can add to the node's price.
    beyond = values - tariff.replica
    # Whoever takes most of the node first: then soon nothing else has room.
    order = np.argsort(-(node.sizes / node.capacity).max(axis=1), kind="stable")
    ahead = np.append(np.cumsum((np.maximum(beyond, 0.0) * node.most)[order][::-1])[::-1], 0.0)
    counts = np.zeros((1, len(order)), dtype=np.int64)
    free = node.capacity[None, :]
    most = np.asarray([tariff.node])
    looks = 0
    for at, member in enumerate(order.tolist()):
        size = node.sizes[member]
        needed = size > 0
        highest = np.minimum((free[:, needed] // size[needed]).min(axis=1), node.most[member])
        looks += int(highest.sum()) + len(highest)
        if looks > most_looks:
            break
        before = np.repeat(np.arange(len(highest)), highest + 1)
        count = np.arange(len(before)) - np.repeat(np.cumsum(highest + 1) - highest - 1, highest + 1)
        after = most[before] + beyond[member] * count
        good = after + ahead[at + 1] >= least
        before, count, most = before[good], count[good], after[good]
        free = free[before] - size * count[:, None]
        counts = counts[before]
        counts[:, member] = count
    return counts[counts @ values >= least], looks


def _full(node: Node, counts: Integers) -> Integers:
    """The loads that the node carries and that nothing can be added to."""
    counts = counts[counts.any(axis=1)]
    if node.mig is not None:
        counts = counts[node.mig.carried(counts)]
    free = node.capacity - counts @ node.sizes
    room = (free[:, None, :] >= node.sizes[None, :, :]).all(axis=2) & (counts < node.most)
    full: Integers = counts[~room.any(axis=1) if node.mig is None else node.mig.full(counts, room)]
    return full


def _pattern(node: Node, load: Load) -> Pattern:
    if node.mig is not None:
        return node.mig.carrying(dict(load))
    return Pattern(node.option, pods_in_slots(dict(load)))
