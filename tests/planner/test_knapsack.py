"""The most valuable load, and its proven bound, against trying every load."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.planner.knapsack import best_load, surrogate_bounds


@st.composite
def knapsacks(draw):
    """Values, sizes, capacity and most of each item: small enough to try everything."""
    items, resources = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    capacity = tuple(draw(st.integers(1, 20)) for _ in range(resources))
    sizes = [tuple(draw(st.integers(0, 12)) for _ in range(resources)) for _ in range(items)]
    values = [draw(st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0, 1.7, 3.0])) for _ in range(items)]
    most = [draw(st.integers(0, 4)) for _ in range(items)]
    weights = [draw(st.floats(0.05, 1)) for _ in range(resources)]
    return values, sizes, capacity, most, [each / sum(weights) for each in weights]


def most_valuable(
    values: Sequence[float], sizes: Sequence[Sequence[int]], capacity: Sequence[int], most: Sequence[int]
) -> float:
    return max(
        sum(value * count for value, count in zip(values, counts, strict=True))
        for counts in product(*(range(each + 1) for each in most))
        if _fits(counts, sizes, capacity)
    )


def _fits(counts: Sequence[int], sizes: Sequence[Sequence[int]], capacity: Sequence[int]) -> bool:
    return all(
        sum(count * size[resource] for count, size in zip(counts, sizes, strict=True)) <= have
        for resource, have in enumerate(capacity)
    )


@given(knapsacks(), st.sampled_from([0.0, 0.3, 1.0, 4.0]))
def test_the_best_load_is_the_best_of_all_loads(knapsack, threshold):
    values, sizes, capacity, most, multipliers = knapsack
    load = best_load(values, sizes, capacity, most, multipliers, threshold=threshold, budget=100_000)
    best = most_valuable(values, sizes, capacity, most)
    counts = [dict(load.counts).get(item, 0) for item in range(len(values))]
    assert _fits(counts, sizes, capacity)
    assert all(count <= each for count, each in zip(counts, most, strict=True))
    worth = sum(value * count for value, count in zip(values, counts, strict=True))
    if load.counts:
        assert abs(load.value - worth) < 1e-9
        assert load.value > threshold
        assert abs(load.value - best) < 1e-6
    else:
        assert load.value == threshold
        assert best <= threshold + 1e-6
    assert load.bound >= best - 1e-6
    assert abs(load.bound - max(best, threshold)) < 1e-6  # nothing was left open


@given(knapsacks(), st.sampled_from([0.0, 0.5]), st.integers(0, 6))
def test_a_search_cut_short_still_bounds_the_best_load(knapsack, threshold, budget):
    values, sizes, capacity, most, multipliers = knapsack
    load = best_load(values, sizes, capacity, most, multipliers, threshold=threshold, budget=budget)
    best = most_valuable(values, sizes, capacity, most)
    assert load.bound >= best - 1e-6
    assert load.value <= max(best, threshold) + 1e-6
    assert _fits([dict(load.counts).get(item, 0) for item in range(len(values))], sizes, capacity)


@given(st.lists(knapsacks(), min_size=1, max_size=3), st.integers(1, 12))
def test_surrogate_bounds_are_never_below_the_best_load(drawn, steps):
    # Together they share their items' values: pad all to the same shape.
    items = max(len(values) for values, *_ in drawn)
    resources = max(len(capacity) for _, _, capacity, *_ in drawn)
    values = np.asarray([*drawn[0][0], *[0.5] * (items - len(drawn[0][0]))])
    weights = np.full((len(drawn), resources, items), np.inf)
    most = np.zeros((len(drawn), items))
    multipliers = np.full((len(drawn), resources), 1 / resources)
    exact = []
    for row, (_, sizes, capacity, counts, _) in enumerate(drawn):
        for item, size in enumerate(sizes):
            weights[row, :, item] = 0
            weights[row, : len(capacity), item] = [s / c for s, c in zip(size, capacity, strict=True)]
            # What doesn't fit alone isn't admitted.
            most[row, item] = counts[item] if all(s <= c for s, c in zip(size, capacity, strict=True)) else 0
        admitted = [int(each) for each in most[row, : len(sizes)]]
        exact.append(most_valuable([float(each) for each in values[: len(sizes)]], sizes, capacity, admitted))
    bounds, better = surrogate_bounds(values, weights, most, multipliers, steps=steps)
    assert (bounds >= np.asarray(exact) - 1e-6).all()
    assert np.allclose(better.sum(axis=1), 1)
    assert (better > 0).all()
