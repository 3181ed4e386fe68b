"""The order of equals: as Go leaves it. The orders expected here were printed by Go 1.26's sort.Slice."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.karpenter.claim_order import go_sort, restore, restore_stable


@dataclass(eq=False)
class Counted:
    count: int
    place: int


def counted(counts):
    return [Counted(count, place) for place, count in enumerate(counts)]


def places(items):
    return [each.place for each in items]


GOLDEN = [
    (
        "1 1 3 3 3",
        "0 1 2 3 4",
    ),
    (
        "1 1 1 1 2 3 2 3 3 3 4 4 4",
        "0 1 2 3 6 4 5 7 8 9 10 11 12",
    ),
    (
        "1 1 1 1 1 1 1 1 1 1 2 2 2 2 2 2 2 2 2 2 3 3 3 3 3 3 3 4 3 3 4 4 4 4 4 4 4 4 4 4",
        (
            "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 29 22 23 24 25 26 21 28 27 30 31 32 33 34 35 36 "
            "37 38 39"
        ),
    ),
    (
        "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2 2 2 2 2 2 2 2 2 2 2 2 2 3 3 3 3 3 3 3 3 3 4 4 4 4 4 4 4 4 4",
        (
            "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 "
            "37 38 39 40 41 42 43 44 45 46 47 48"
        ),
    ),
    (
        (
            "1 1 1 1 1 1 1 1 1 1 1 1 1 1 3 1 1 1 1 1 1 1 1 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 3 3 3 3 3 3 3 3 3 3 "
            "3 3 3 3 3 3 3 3 3 3"
        ),
        (
            "22 1 2 3 4 5 6 7 8 9 10 11 12 13 0 15 16 17 18 19 20 21 30 39 24 25 26 27 28 29 23 31 32 33 34 35 36 "
            "37 38 41 50 14 42 43 44 45 46 47 48 49 40 51 52 53 54 55 56 57 58 59"
        ),
    ),
    (
        (
            "1 3 2 0 1 0 0 2 3 1 0 0 3 2 1 2 0 3 1 1 2 3 0 2 2 2 2 1 0 2 1 2 1 0 2 3 0 3 2 1 1 0 0 2 0 1 3 0 3 0 "
            "2 2 1 0 1 3 2 3 1 2 1 0 3 1"
        ),
        (
            "22 61 53 3 49 5 6 47 44 42 10 11 41 36 33 28 16 32 39 19 63 60 58 54 52 4 45 27 9 18 30 40 0 14 29 "
            "25 13 20 38 34 31 59 15 43 56 26 23 7 2 24 50 51 35 48 46 55 8 57 17 12 21 1 62 37"
        ),
    ),
]


@pytest.mark.parametrize(("counts", "expected"), GOLDEN)
def test_equals_are_ordered_as_go_orders_them(counts, expected):
    items = counted(int(each) for each in counts.split())
    go_sort(items)
    assert places(items) == [int(each) for each in expected.split()]


def test_many_equals_do_not_stay_in_their_order():
    items = counted([1, 1, 1, 1, 2, 3, 2, 3, 3, 3, 4, 4, 4])
    go_sort(items)
    assert places(items) != sorted(range(13), key=lambda at: (items[at].count, at))


@given(st.data())
def test_restoring_after_one_change_is_sorting_again(data):
    counts = sorted(data.draw(st.lists(st.integers(1, data.draw(st.sampled_from([2, 5, 40]))), max_size=130)))
    items = counted(counts)
    if not items or data.draw(st.booleans()):
        items.append(Counted(1, len(items)))
        changed = len(items) - 1
    else:
        changed = data.draw(st.integers(0, len(items) - 1))
        items[changed].count += 1
    again = list(items)
    go_sort(again)
    restore(items, changed)
    assert places(items) == places(again)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=80), st.data())
def test_a_stable_order_keeps_equals_in_place(counts, data):
    items = counted(sorted(counts))
    changed = data.draw(st.integers(0, len(items) - 1))
    items[changed].count += 1
    expected = sorted(items, key=lambda each: (each.count, each.place))
    restore_stable(items, changed)
    assert places(items) == places(expected)
