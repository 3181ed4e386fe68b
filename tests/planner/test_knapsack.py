"""The most valuable load, its proven bound, and the relaxed bounds before it, against trying every load."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.planner.loads.knapsack import Effort, Load, best_load
from gpuslice.planner.loads.relaxation import RelaxedLoad


@st.composite
def knapsacks(draw):
    """Values, sizes, capacity and most of each item: small enough to try everything."""
    items, resources = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    capacity = tuple(draw(st.integers(1, 20)) for _ in range(resources))
    sizes = [tuple(draw(st.integers(0, 12)) for _ in range(resources)) for _ in range(items)]
    values = [draw(st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0, 1.7, 3.0])) for _ in range(items)]
    most = [draw(st.integers(0, 4)) for _ in range(items)]
    prices = [draw(st.sampled_from([0.0, 0.01, 0.1, 0.4])) for _ in range(resources)]
    return values, sizes, capacity, most, prices


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


PATIENT = (Effort(2, 200, 10_000), Effort(3, 5_000, 10_000))
COARSE = Effort(resources=2, cells=6, width=10_000)


def _best(knapsack, threshold: float, *efforts: Effort) -> Load:
    """Items that don't fit are left out, as their `most` of 0 says."""
    values, sizes, capacity, most, prices = knapsack
    fitting = [n if _fits([1], [size], capacity) else 0 for n, size in zip(most, sizes, strict=True)]
    return best_load(
        np.asarray(values),
        np.asarray(sizes),
        np.asarray(capacity),
        np.asarray(fitting),
        np.asarray(prices),
        threshold=threshold,
        efforts=efforts,
    )


@pytest.mark.parametrize("efforts", [PATIENT, (COARSE,)], ids=["fine table", "coarse table"])
@given(knapsacks(), st.sampled_from([0.0, 0.3, 1.0, 4.0]))
def test_the_best_load_is_the_best_of_all_loads(efforts, knapsack, threshold):
    values, sizes, capacity, most, _ = knapsack
    load = _best(knapsack, threshold, *efforts)
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
    for other, of_other in load.others:
        taken = [dict(of_other).get(item, 0) for item in range(len(values))]
        assert _fits(taken, sizes, capacity)
        assert all(count <= each for count, each in zip(taken, most, strict=True))
        assert threshold < other <= load.value
        assert abs(other - sum(value * count for value, count in zip(values, taken, strict=True))) < 1e-9


@given(knapsacks(), st.sampled_from([0.0, 0.5]), st.integers(1, 3))
def test_a_search_too_narrow_still_bounds_the_best_load(knapsack, threshold, width):
    values, sizes, capacity, most, _ = knapsack
    load = _best(knapsack, threshold, Effort(1, 4, width))
    best = most_valuable(values, sizes, capacity, most)
    assert load.bound >= best - 1e-6
    assert load.value <= max(best, threshold) + 1e-6
    assert _fits([dict(load.counts).get(item, 0) for item in range(len(values))], sizes, capacity)


def test_pieces_that_do_not_go_together_keep_apart_in_a_coarse_table():
    # Four of these take 1.008 of the node. Cells counted by plain rounding down would let them in, and a search that
    # keeps one load would have to leave that open.
    knapsack = [1.0], [(12_000,)], (47_625,), [4], [0.0]
    load = _best(knapsack, 3.5, Effort(resources=1, cells=40, width=1))
    assert load == Load((), 3.5, 3.5)


@given(knapsacks(), st.lists(st.floats(0, 3), min_size=4, max_size=4), st.sampled_from([0.5, 1.0, 5.0]))
def test_a_tariff_bounds_the_best_load_at_any_values(knapsack, others, usd):
    values, sizes, capacity, most, _ = knapsack
    relaxed = RelaxedLoad(np.asarray(sizes), np.asarray(capacity), np.asarray(most), usd)
    here = np.asarray(values)
    tightest = relaxed.tariff(here).most(here, np.asarray(most))
    assert tightest <= relaxed.quick_tariff(here).most(here, np.asarray(most)) + 1e-6
    for tariff in (relaxed.tariff(here), relaxed.quick_tariff(here)):
        for worth in (values, others[: len(values)]):
            best = most_valuable(worth, sizes, capacity, most)
            assert tariff.most(np.asarray(worth), np.asarray(most)) >= best - 1e-6


def test_a_tariff_knows_when_there_is_less_to_carry():
    relaxed = RelaxedLoad(np.asarray([(1,), (1,)]), np.asarray([4]), np.asarray([4, 4]), 1.0)
    values = np.asarray([1.0, 0.1])
    assert relaxed.tariff(values).most(values, np.asarray([4, 4])) == pytest.approx(4.0)
    relaxed.limit(np.asarray([1, 4]))
    assert relaxed.tariff(values).most(values, np.asarray([1, 4])) == pytest.approx(1.3)
