"""The order of open NodeClaims: fewest pods first, and equals as Go's sort leaves them.

Before each pod Karpenter sorts its open NodeClaims by their number of pods, with a sort that doesn't keep the order of
equals: Go's sort.Slice, a pattern-defeating quicksort (arxiv.org/pdf/2106.05123). Which of two equal NodeClaims gets
the next pod can decide how many nodes there will be, so the model sorts the same way. Up to 12 elements that is an
insertion sort, which is stable, and from 50 on it nearly always is too, as only one NodeClaim has changed.
"""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

_INSERTION: Final = 12
_SHIFTING: Final = 50


class Counted(Protocol):
    """What is sorted: something with a number of pods."""

    count: int


C = TypeVar("C", bound=Counted)


def restore(order: list[C], changed: int) -> None:
    """Sort again after the element at `changed` has got one more pod, or was appended with its first.

    Args:
        order: sorted but for that element.
        changed: its index.
    """
    size = len(order)
    if size <= _INSERTION or (size >= _SHIFTING and not _seen_by_pivot(order, changed)):
        _slide(order, changed)
    elif not _sorted_around(order, changed):
        go_sort(order)


def restore_stable(order: list[C], changed: int) -> None:
    """Sort after one claim has got a pod, claims with as many pods in the order in which they came."""
    _slide(order, changed)


def _sorted_around(order: list[C], at: int) -> bool:
    count = order[at].count
    return (at == 0 or order[at - 1].count <= count) and (
        at + 1 == len(order) or count <= order[at + 1].count
    )


def _slide(order: list[C], at: int) -> None:
    """Move one element past its neighbours, not past its equals."""
    element = order[at]
    count = element.count
    to, last = at, len(order) - 1
    while to < last and order[to + 1].count < count:
        to += 1
    if to == at:
        while to > 0 and order[to - 1].count > count:
            to -= 1
    if to != at:
        del order[at]
        order.insert(to, element)


def _seen_by_pivot(order: list[C], changed: int) -> bool:
    """Whether the nine elements among which a pivot is chosen show that the list isn't sorted."""
    quarter = len(order) // 4
    return any(
        order[at - 1].count > order[at].count or order[at].count > order[at + 1].count
        for at in (quarter, 2 * quarter, 3 * quarter)
        if at - 2 <= changed <= at + 2
    )


def go_sort(items: list[C]) -> None:
    """Sort by count as Go's sort.Slice does, equals included."""
    _quicksort(items, 0, len(items), len(items).bit_length())


def _quicksort(items: list[C], start: int, end: int, limit: int) -> None:
    balanced = partitioned = True
    while True:
        length = end - start
        if length <= _INSERTION:
            _insertion(items, start, end)
            return
        if limit == 0:
            _heapsort(items, start, end)
            return
        if not balanced:
            _scatter(items, start, end)
            limit -= 1
        pivot, swaps, most = _pivot(items, start, end)
        if swaps == most:
            items[start:end] = items[start:end][::-1]
            pivot = (end - 1) - (pivot - start)
            swaps = 0
        if balanced and partitioned and swaps == 0 and _nearly_sorted(items, start, end):
            return
        if start > 0 and not items[start - 1].count < items[pivot].count:
            start = _partition_equal(items, start, end, pivot)
            continue
        middle, partitioned = _partition(items, start, end, pivot)
        left, right = middle - start, end - middle
        if left < right:
            balanced = left >= length // 8
            _quicksort(items, start, middle, limit)
            start = middle + 1
        else:
            balanced = right >= length // 8
            _quicksort(items, middle + 1, end, limit)
            end = middle


def _insertion(items: list[C], start: int, end: int) -> None:
    for at in range(start + 1, end):
        element, to = items[at], at
        while to > start and element.count < items[to - 1].count:
            items[to] = items[to - 1]
            to -= 1
        items[to] = element


def _heapsort(items: list[C], start: int, end: int) -> None:
    size = end - start

    def sift(root: int, most: int) -> None:
        while (child := 2 * root + 1) < most:
            if child + 1 < most and items[start + child].count < items[start + child + 1].count:
                child += 1
            if not items[start + root].count < items[start + child].count:
                return
            _swap(items, start + root, start + child)
            root = child

    for root in range((size - 1) // 2, -1, -1):
        sift(root, size)
    for last in range(size - 1, -1, -1):
        _swap(items, start, start + last)
        sift(0, last)


def _scatter(items: list[C], start: int, end: int) -> None:
    """Swap three elements of the middle with pseudo-random others; the same ones for every list of a length."""
    length = end - start
    if length < 8:
        return
    mask = (1 << length.bit_length()) - 1
    random = length
    for at in range(start + length // 4 * 2 - 1, start + length // 4 * 2 + 2):
        random ^= (random << 13) & 0xFFFF_FFFF_FFFF_FFFF
        random ^= random >> 7
        random ^= (random << 17) & 0xFFFF_FFFF_FFFF_FFFF
        other = random & mask
        _swap(items, at, start + (other - length if other >= length else other))


def _pivot(items: list[C], start: int, end: int) -> tuple[int, int, int]:
    """Index of the pivot, the swaps that finding it took, and the most that it could take."""
    length = end - start
    quarter = length // 4
    swaps = 0

    def median(one: int, two: int, three: int) -> int:
        nonlocal swaps
        if items[two].count < items[one].count:
            one, two = two, one
            swaps += 1
        if items[three].count < items[two].count:
            two, three = three, two
            swaps += 1
        if items[two].count < items[one].count:
            one, two = two, one
            swaps += 1
        return two

    low, middle, high = start + quarter, start + 2 * quarter, start + 3 * quarter
    if length >= _SHIFTING:
        low = median(low - 1, low, low + 1)
        middle = median(middle - 1, middle, middle + 1)
        high = median(high - 1, high, high + 1)
    return median(low, middle, high), swaps, 12


def _nearly_sorted(items: list[C], start: int, end: int) -> bool:
    """Whether the list is sorted now: up to five elements that stand out of order are moved, if it is long."""
    at = start + 1
    for _ in range(5):
        while at < end and not items[at].count < items[at - 1].count:
            at += 1
        if at == end:
            return True
        if end - start < _SHIFTING:
            return False
        _swap(items, at, at - 1)
        if at - start >= 2:
            to = at - 1
            while to >= 1 and items[to].count < items[to - 1].count:
                _swap(items, to, to - 1)
                to -= 1
        if end - at >= 2:
            to = at + 1
            while to < end and items[to].count < items[to - 1].count:
                _swap(items, to, to - 1)
                to += 1
    return False


def _partition(items: list[C], start: int, end: int, pivot: int) -> tuple[int, bool]:
    """Smaller ones before the pivot, others after it: its new index, and whether that was so already."""
    _swap(items, start, pivot)
    count = items[start].count
    low, high = start + 1, end - 1
    swapped = False
    while True:
        while low <= high and items[low].count < count:
            low += 1
        while low <= high and not items[high].count < count:
            high -= 1
        if low > high:
            break
        _swap(items, low, high)
        low, high, swapped = low + 1, high - 1, True
    _swap(items, high, start)
    return high, not swapped


def _partition_equal(items: list[C], start: int, end: int, pivot: int) -> int:
    """Equals of the pivot first, greater ones after them, where none is smaller: index of the first greater one."""
    _swap(items, start, pivot)
    count = items[start].count
    low, high = start + 1, end - 1
    while True:
        while low <= high and not count < items[low].count:
            low += 1
        while low <= high and count < items[high].count:
            high -= 1
        if low > high:
            return low
        _swap(items, low, high)
        low, high = low + 1, high - 1


def _swap(items: list[C], one: int, other: int) -> None:
    items[one], items[other] = items[other], items[one]
