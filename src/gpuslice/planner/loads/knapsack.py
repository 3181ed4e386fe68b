"""The most valuable load of one node: a bounded knapsack with several resources, solved exactly or with a proven bound.

Best branch first, item by item. What the items still to come can add at most is looked up in a table: the same
knapsack by dynamic programming, over two or three of the resources counted in coarse cells, the other resources paid
for at their prices in the linear relaxation. Cells are counted by a dual feasible function, u(x) = ceil((cells + 1) x)
- 1 out of `cells` for a share x: loads that fit still fit, and pieces that don't go together at all keep apart, as
four that take 0.252 of a node each (Fekete and Schepers, "New classes of fast lower bounds for bin packing problems",
2001). Left out are items that enough others beat, and of loads that leave the same room all but the best.
Where the budget of steps runs out, the best bound among the branches not taken is still a proof.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from gpuslice.planner import budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gpuslice.planner.programs.arrays import Floats, Integers, Singles


_EPSILON: Final = 1e-9
_ROUNDED_UP: Final = 1.0 + 1e-5  # more than single precision can lose in a hundred sums
_FEWEST_CELLS: Final = 24.0  # of a resource, however cheap: in whole pieces it may bind all the same
_A_POSITION: Final = 3  # good loads that are kept of each position, and of a search
_A_SEARCH: Final = 8
_COUNTED_ONE_BY_ONE: Final = 32  # a resource of which a node has so few needs no cells


@dataclass(frozen=True, slots=True)
class Load:
    """A load and its proof.

    Attributes:
        counts: (item, count) pairs; empty: nothing beats the threshold.
        value: of `counts`; the threshold where it is empty.
        bound: no load is worth more.
        others: good ones that were met on the way, with their values, the best first.
        work: that it took, seconds of a usual machine.
    """

    counts: tuple[tuple[int, int], ...]
    value: float
    bound: float
    others: tuple[tuple[float, tuple[tuple[int, int], ...]], ...] = ()
    work: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to look.

    Attributes:
        resources: in the table; the dearest ones.
        cells: of the table.
        width: loads that the search keeps side by side.
    """

    resources: int
    cells: int
    width: int


def alone(sizes: Integers, capacity: Integers) -> Integers:
    """How many of each item go on a node that carries nothing else, shape (items,).

    Args:
        sizes: what one of each item takes, shape (items, resources).
        capacity: of the node, shape (resources,); may be 0.
    """
    most: Integers = np.where(sizes > 0, capacity // np.maximum(sizes, 1), np.iinfo(np.int64).max).min(axis=1)
    return most


def best_load(
    values: Floats,
    sizes: Integers,
    capacity: Integers,
    most: Integers,
    prices: Floats,
    *,
    threshold: float,
    efforts: Sequence[Effort],
) -> Load:
    """The most valuable load worth more than `threshold`, or the proof that there is none.

    Args:
        values: of the items, shape (items,).
        sizes: of the items, shape (items, resources), not negative.
        capacity: of the node, shape (resources,), positive.
        most: of each item.
        prices: of a unit of each resource, not negative; any give a right answer, those of the linear relaxation a
            quick one.
        threshold: loads worth no more don't interest.
        efforts: each is made only where the ones before left something open; `bound` says what may still be missed.
    """
    gains = values - sizes @ prices  # over what an item takes
    relaxed = float(prices @ capacity + np.maximum(gains, 0.0) @ most)
    if relaxed <= threshold + _EPSILON:
        return Load((), threshold, threshold)
    # An item that loses so much against the relaxation that nothing above the threshold is left can't be taken.
    bearable = np.floor((relaxed - threshold) / np.maximum(-gains, _EPSILON))
    most = np.where(gains < 0, np.minimum(most, bearable), most).astype(np.int64)
    items = np.flatnonzero((most > 0) & (values > _EPSILON))
    paid = np.maximum(sizes[items] @ prices, _EPSILON)
    items = items[np.argsort(-values[items] / paid, kind="stable")]
    items = items[_undominated(values[items], sizes[items], capacity, most[items])]
    load, work = Load((), threshold, relaxed), 0.0
    for effort in efforts:
        here = values[items], sizes[items], capacity, most[items], prices
        table = _Table(*here, effort)
        search = _Search(*here, table, load.value, effort.width)
        search.run()
        work += table.work + search.work
        loads = [
            (value, tuple(sorted((int(items[position]), count) for position, count in counts)))
            for value, counts in search.found()
        ]
        counts, others = load.counts, load.others
        if loads:
            counts, others = loads[0][1], (*loads[1:], *load.others)
        load = Load(counts, search.best, max(search.best, min(load.bound, search.missed)), others, work)
        if load.bound <= load.value + _EPSILON:
            break
        # Only what may be part of a better load is worth a finer table.
        left = (capacity - sizes[items]).astype(np.float64)
        reach = values[items] + table.most(0, left) + left @ np.asarray(table.prices)
        items = items[reach > load.value + _EPSILON]
    return load


def _undominated(values: Floats, sizes: Integers, capacity: Integers, most: Integers) -> NDArray[np.bool_]:
    """Which items a best load may need: not those that leave enough others, worth no less and no larger, untaken.

    A load with such an item has one of the others left over, to take its place.
    """
    better = (sizes[:, None, :] <= sizes).all(axis=2) & (values[:, None] >= values)
    # Of two that are equal, the first counts as the better.
    better &= ~(better.T & np.tri(len(values), dtype=np.bool_))
    others = most.astype(np.float32) @ better.astype(np.float32)
    least = sizes.min(axis=0, initial=np.iinfo(np.int64).max)
    beside = np.where(least > 0, (capacity - sizes) // np.maximum(least, 1), np.iinfo(np.int64).max).min(
        axis=1
    )
    needed: NDArray[np.bool_] = others <= beside
    return needed


def _best_of_equals(left: Floats, worth: Floats) -> Integers:
    """Of loads that leave the same, the row of one that is worth the most."""
    order = np.lexsort((-worth, left @ np.sqrt(np.arange(2, 2 + left.shape[1]))))
    same = np.zeros(len(order), dtype=np.bool_)
    same[1:] = (left[order[1:]] == left[order[:-1]]).all(axis=1)
    return order[~same]


class _Table:
    """For each position in the order of items, what it and all later ones can add in so much room.

    Attributes:
        prices: of the resources that aren't counted.
        work: that it took to fill, seconds of a usual machine.
    """

    def __init__(
        self,
        values: Floats,
        sizes: Integers,
        capacity: Integers,
        most: Integers,
        prices: Floats,
        effort: Effort,
    ) -> None:
        counted = [int(r) for r in np.argsort(-prices * capacity, kind="stable")[: effort.resources]]
        self._axes = []
        left = float(effort.cells)
        for position, r in enumerate(counted):
            # The dearer a resource, the finer it is counted.
            paid = np.maximum(prices[counted[position:]] * capacity[counted[position:]], _EPSILON)
            side = left ** (1 / len(paid)) * paid[0] / float(np.exp(np.log(paid).mean()))
            coarsest = min(max(side, 2.0), max(left / _FEWEST_CELLS ** (len(paid) - 1), 2.0))
            cells = _cells(sizes[:, r], int(capacity[r]), most, int(coarsest))
            self._axes.append((r, int(capacity[r]), cells))
            left /= cells + 1
        # What isn't counted is paid for.
        self.prices = [0.0 if r in counted else float(price) for r, price in enumerate(prices)]
        gains = values - sizes @ np.asarray(self.prices)
        steps = [_steps(sizes[:, r], have, cells) for r, have, cells in self._axes]
        # Half as wide as usual, for speed: `_ROUNDED_UP` makes up for it.
        rows: Singles = np.zeros(tuple(cells + 1 for _, _, cells in self._axes), dtype=np.float32)
        self._rows = [rows]
        for item in range(len(values) - 1, -1, -1):
            if gains[item] > 0:
                size = tuple(int(step[item]) for step in steps)
                rows = _with_item(rows, float(gains[item]), size, int(most[item]))
            self._rows.append(rows)
        self._rows.reverse()
        self.work = budget.TABLE + budget.CELL * rows.size * len(values)

    def most(self, position: int, left: Floats) -> Floats:
        """What the items from a position on are worth at most, but for what is paid beside the table.

        Args:
            position: of the first item that may still come.
            left: whole numbers of each resource, shape (loads, resources).
        """
        where = np.zeros(len(left), dtype=np.intp)
        for r, have, cells in self._axes:
            # Up where in doubt: more room is worth no less.
            cell = (
                left[:, r] if cells == have else np.ceil(left[:, r] * ((cells + 1) / have) + _EPSILON) - 1.0
            )
            where *= cells + 1
            where += np.minimum(np.maximum(cell, 0.0), cells).astype(np.intp)
        return self._rows[position].take(where).astype(np.float64) * _ROUNDED_UP


def _cells(sizes: Integers, have: int, most: Integers, at_most: int) -> int:
    """Into how many cells to divide a resource: those in which the items keep most of their sizes."""
    if have <= max(at_most, _COUNTED_ONE_BY_ONE):
        return have
    taken = sizes[sizes > 0]
    if not len(taken):
        return 1
    cells = np.arange(max(at_most // 2, 1), at_most + 1)
    kept = _steps(taken[None, :], have, cells[:, None]) / cells[:, None] / (taken / have)
    weight = np.minimum(most[sizes > 0] * taken / have, 1.0)
    return int(cells[np.argmax(kept @ weight)])


def _steps(sizes: Integers, have: int, cells: Integers | int) -> Integers:
    """Cells that items of these sizes take."""
    if isinstance(cells, int) and cells == have:
        return sizes
    steps: Integers = np.maximum(-(-(cells + 1) * sizes // have) - 1, 0)
    return steps


def _with_item(rows: Singles, gain: float, size: tuple[int, ...], most: int) -> Singles:
    """The table with one more item, of which there are so many: in pieces of 1, 2, 4, … of it."""
    better = rows.copy()
    piece, left = 1, most
    while left > 0:
        piece = min(piece, left)
        shift = [piece * step for step in size]
        if any(step >= side for step, side in zip(shift, rows.shape, strict=True)):
            break
        to = tuple([slice(step, None) for step in shift])
        of = tuple([slice(0, side - step) for step, side in zip(shift, rows.shape, strict=True)])
        np.maximum(better[to], better[of] + np.float32(piece * gain), out=better[to])
        left -= piece
        piece *= 2
    return better


class _Search:
    """Item by item, all loads that may still come to more than the best one known, the most promising if too many.

    Loads are rows: what is left of each resource, what the load is worth, what is left to pay for at all prices, and
    at those beside the table.

    Attributes:
        best: value of the best load known.
        missed: no load that was left out is worth more.
        work: that it took so far, seconds of a usual machine.
    """

    def __init__(
        self,
        values: Floats,
        sizes: Integers,
        capacity: Integers,
        most: Integers,
        prices: Floats,
        table: _Table,
        threshold: float,
        width: int,
    ) -> None:
        beside = np.asarray(table.prices)
        self._sizes, self._most = sizes.astype(np.float64), most
        self._table, self._width = table, width
        self._node = np.asarray([*capacity, 0.0, prices @ capacity, beside @ capacity])
        self._items = np.column_stack([-sizes, values, -(sizes @ prices), -(sizes @ beside)])
        gains = np.maximum(values - sizes @ prices, 0.0) * most
        self._later = [*np.cumsum(gains[::-1])[::-1].tolist(), 0.0]
        self.best = self.missed = threshold
        self._threshold = threshold + _EPSILON
        self._history: list[tuple[Integers, Integers]] = []
        self._met: list[tuple[float, int, int]] = []
        self.work = 0.0

    def run(self) -> None:
        """Look for the best load."""
        loads = self._node[None, :]
        for position in range(len(self._items)):
            loads, parent, count = self._extended(loads, position)
            if not len(loads):
                break
            self._history.append((parent, count))
            self.work += budget.LOOKS + budget.LOOK * len(parent)
            worth = loads[:, -3]
            good = ((worth > self._threshold) & (count > 0)).nonzero()[0]
            if len(good) > _A_POSITION:
                good = good[np.argpartition(-worth[good], _A_POSITION)[:_A_POSITION]]
            self._met += [(float(worth[row]), position, int(row)) for row in good]
            self.best = max(self.best, float(worth.max()))

    def found(self) -> list[tuple[float, list[tuple[int, int]]]]:
        """Good loads and their values, the best first."""
        self._met.sort(key=lambda load: -load[0])
        return [(value, self._counts(position, row)) for value, position, row in self._met[:_A_SEARCH]]

    def _counts(self, position: int, row: int) -> list[tuple[int, int]]:
        counts = []
        for parents, taken in reversed(self._history[: position + 1]):
            if taken[row]:
                counts.append((position, int(taken[row])))
            row = parents[row]
            position -= 1
        return counts

    def _extended(self, loads: Floats, position: int) -> tuple[Floats, Integers, Integers]:
        """The loads with none, one, two, … of the item, but those that can't come to more than the best.

        And of each, which load it was, and how many of the item were added.
        """
        size, item, later = self._sizes[position], self._items[position], self._later[position + 1]
        most = self._most[position]
        fits = np.full(len(loads), most)
        for r, need in enumerate(size.tolist()):
            if need:
                fits = np.minimum(fits, loads[:, r] // need)
        fits = fits.astype(np.int64) + 1
        ends = fits.cumsum()
        parent = np.arange(len(loads)).repeat(fits)
        count = np.arange(ends[-1]) - (ends - fits).repeat(fits)
        bar = self.best + _EPSILON
        worth = (loads[:, -3] + loads[:, -2] + later)[parent] + count * (item[-3] + item[-2])
        keep = (worth > bar).nonzero()[0]
        parent, count, worth = parent[keep], count[keep], worth[keep]
        more = loads[parent] + count[:, None] * item
        reach = np.minimum(worth, more[:, -3] + more[:, -1] + self._table.most(position + 1, more))
        keep = (reach > bar).nonzero()[0]
        if len(keep) > self._width:
            keep = keep[_best_of_equals(more[keep, :-3], more[keep, -3])]
        if len(keep) > self._width:
            keep = keep[np.argsort(-reach[keep], kind="stable")]
            self.missed = max(self.missed, float(reach[keep[self._width]]))
            keep = keep[: self._width]
        return more[keep], parent[keep], count[keep]
