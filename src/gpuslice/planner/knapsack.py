"""The most valuable load of one node: a bounded knapsack with several resources, solved exactly or with a proven bound.

Depth first over items by value per surrogate weight (the resources weighed together, by weights near their prices in
the linear relaxation). What can't beat a given threshold is cut off; so is every load that takes an item while one
that is worth as much and no larger is left out, which is most of them where pods are alike. Where the budget of steps
runs out, the best bound among the branches not taken is still a proof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Load:
    """A load and its proof.

    Attributes:
        counts: (item, count) pairs; empty: nothing beats the threshold.
        value: of `counts`; the threshold where it is empty.
        bound: no load is worth more.
    """

    counts: tuple[tuple[int, int], ...]
    value: float
    bound: float


def surrogate_bounds(
    values: Floats, weights: Floats, most: Floats, multipliers: Floats, *, steps: int = 12
) -> tuple[Floats, Floats]:
    """Upper bounds of many knapsacks at once, by weighing their resources together.

    Args:
        values: of the items, shape (items,), not negative.
        weights: share of each resource that an item takes, shape (knapsacks, resources, items); infinite where an
            item isn't admitted.
        most: of each item in each knapsack, shape (knapsacks, items).
        multipliers: to begin with, shape (knapsacks, resources), each row positive and summing to 1.
        steps: of improvement.

    Returns:
        The bounds, shape (knapsacks,), and the multipliers that gave them.
    """
    knapsacks = np.arange(len(weights))[:, None]
    best = np.full(len(weights), np.inf)
    best_multipliers = multipliers
    finite = np.where(np.isfinite(weights), weights, 0.0)
    barred = ~np.isfinite(weights[:, 0, :])
    current = multipliers
    for step in range(steps):
        weight = np.einsum("kr,kri->ki", current, finite)
        weight[barred] = np.inf
        order = np.argsort(-values / np.maximum(weight, 1e-15), axis=1, kind="stable")
        worth = (values * most)[knapsacks, order]
        load = np.where(barred, np.inf, np.where(barred, 0.0, weight) * most)[knapsacks, order]
        before = np.concatenate([np.zeros((len(load), 1)), np.cumsum(load, axis=1)[:, :-1]], axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            taken = np.clip(np.where(load > 0, (1.0 - before) / load, 1.0), 0.0, 1.0)
        taken = np.where(np.isfinite(load), taken, 0.0)
        bound = (worth * taken).sum(axis=1)
        better = bound < best - _EPSILON
        best = np.where(better, bound, best)
        best_multipliers = np.where(better[:, None], current, best_multipliers)
        # Resources used beyond their capacity get dearer, the others cheaper.
        counts = np.zeros_like(most)
        counts[knapsacks, order] = taken * most[knapsacks, order]
        used = np.einsum("ki,kri->kr", counts, finite)
        current = current * np.exp(np.clip((used - 1.0) * (1.5 / (1 + step)), -3.0, 3.0)) + 1e-12
        current = current / current.sum(axis=1, keepdims=True)
    return best, best_multipliers


def best_load(
    values: list[float],
    sizes: list[tuple[int, ...]],
    capacity: tuple[int, ...],
    most: list[int],
    multipliers: list[float],
    *,
    threshold: float,
    budget: int,
) -> Load:
    """The most valuable load worth more than `threshold`, or the proof that there is none.

    Args:
        values: of the items.
        sizes: of the items, integers, one a resource.
        capacity: one a resource.
        most: of each item.
        multipliers: weights of the resources, not negative; any give a right answer, good ones a quick one.
        threshold: loads worth no more don't interest.
        budget: steps to take; where they run out, `bound` says what may have been missed.
    """
    resources = [r for r, have in enumerate(capacity) if any(size[r] for size in sizes) and have >= 0]
    scale = {r: multipliers[r] / capacity[r] if capacity[r] else 0.0 for r in resources}
    total = sum(multipliers[r] for r in resources if capacity[r]) or 1.0
    ranked = []
    for item, (value, size) in enumerate(zip(values, sizes, strict=True)):
        if value > _EPSILON and most[item] > 0 and all(size[r] <= capacity[r] for r in resources):
            weight = sum(scale[r] * size[r] for r in resources) / total
            ranked.append((value / weight if weight > 0 else float("inf"), item, value, weight))
    ranked.sort(key=lambda each: (-each[0], each[1]))
    if not ranked:
        return Load((), threshold, threshold)
    order = [each[1] for each in ranked]
    chosen_sizes = [tuple(sizes[item][r] for r in resources) for item in order]
    search = _Search(
        [each[2] for each in ranked],
        [each[3] for each in ranked],
        chosen_sizes,
        [most[item] for item in order],
        _beaten(np.asarray([each[2] for each in ranked]), np.asarray(chosen_sizes)),
        threshold,
        budget,
    )
    search.descend(0, 0.0, 1.0, tuple(capacity[r] for r in resources), 0)
    best = search.best
    counts = tuple(sorted((order[position], count) for position, count in search.counts))
    return Load(counts, best, max(best, search.missed))


def _beaten(values: Floats, sizes: NDArray[np.int64]) -> list[int]:
    """For each item, a bit for every later one that is worth no more and is no smaller.

    Of two that are equal, the earlier beats the later.
    """
    beats = (values[:, None] >= values[None, :]) & (sizes[:, None, :] <= sizes[None, :, :]).all(axis=2)
    beats &= np.triu(np.ones_like(beats), k=1)
    packed = np.packbits(beats, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


class _Search:
    """The state of one depth-first search: what is chosen so far, the best found, the best bound not followed."""

    def __init__(
        self,
        values: list[float],
        weights: list[float],
        sizes: list[tuple[int, ...]],
        most: list[int],
        beaten: list[int],
        threshold: float,
        budget: int,
    ) -> None:
        self.values, self.weights, self.sizes, self.most, self.beaten = values, weights, sizes, most, beaten
        self.ratios = [v / w if w > 0 else math.inf for v, w in zip(values, weights, strict=True)]
        self.best = threshold
        self.missed = threshold
        self.counts: list[tuple[int, int]] = []
        self.chosen: list[tuple[int, int]] = []
        self.steps = budget

    def bound(self, position: int, room: float, barred: int) -> float:
        """What the items from a position on can add at most, in so much surrogate room."""
        gain = 0.0
        for i in range(position, len(self.values)):
            if barred >> i & 1:
                continue
            weight = self.weights[i] * self.most[i]
            if weight >= room:
                return gain + (self.values[i] / self.weights[i] * room if self.weights[i] > 0 else 0.0)
            room -= weight
            gain += self.values[i] * self.most[i]
        return gain

    def descend(self, position: int, value: float, room: float, left: tuple[int, ...], barred: int) -> None:
        """Try all loads that add items from a position on, those with the most of the best item first."""
        if value > self.best + _EPSILON:
            self.best = value
            self.counts = list(self.chosen)
        while position < len(self.values):
            if barred >> position & 1:
                position += 1
                continue
            if value + self.ratios[position] * room <= self.best + _EPSILON:
                return  # items are ranked: none of the rest is worth more for its weight
            size, most = self.sizes[position], self.most[position]
            fits = most
            for have, need in zip(left, size, strict=True):
                if need and have // need < fits:
                    fits = have // need
            if fits:
                reach = value + self.bound(position, room, barred)
                if reach <= self.best + _EPSILON:
                    return
                if self.steps <= 0:
                    self.missed = max(self.missed, reach)
                    return
                self.steps -= 1
            for count in range(fits, 0, -1):
                self.chosen.append((position, count))
                self.descend(
                    position + 1,
                    value + self.values[position] * count,
                    max(room - self.weights[position] * count, 0.0),
                    tuple([have - need * count for have, need in zip(left, size, strict=True)]),
                    barred if count == most else barred | self.beaten[position],
                )
                self.chosen.pop()
            # And none of this item: whoever it beats has no place either.
            barred |= self.beaten[position]
            position += 1
