"""Nodes changed until they keep the limits: bought otherwise, or of another type, at the least that this costs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.model.limits import moved
from gpuslice.planner.model.options import by_class
from gpuslice.planner.model.patterns import Pattern, carries, holds
from gpuslice.planner.model.places import pods_in_slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.limits import Limits
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.places import ClassNumber


def within(
    packing: Packing,
    options: Sequence[NodeOption],
    classes: Sequence[WorkloadClass],
    limits: Limits,
    *,
    clock: Clock,
    same_pool: bool = False,
) -> Packing | None:
    """The packing with as few nodes as possible changed so that it keeps the limits; None: no single change does it.

    Args:
        packing: that may pass limits.
        options: to change nodes to.
        classes: that they carry.
        limits: to be kept.
        clock: work left; without any, the first change found is made, not the cheapest.
        same_pool: change to nodes of the same cut alone, bought spot or not as before.
    """
    result = Counter(packing)
    totals = limits.totals(result)
    if all(total <= limit.most for total, limit in zip(totals, limits.all, strict=True)):
        return result
    carriers = by_class(options)
    for row, limit in enumerate(limits.all):
        while totals[row] > limit.most:
            best = _cheapest_change(
                result, row, carriers, classes, limits, totals, clock=clock, same_pool=same_pool
            )
            if best is None:
                return None
            pattern, other = best
            # As many at once as it takes, but one by one where other limits are near.
            eased = limits.weights(pattern.option)[row] - limits.weights(other.option)[row]
            wanted = min(-(-(totals[row] - limit.most) // eased), result[pattern])
            for _ in range(wanted):
                if not limits.allows(totals, pattern.option, other.option):
                    break
                moved(totals, limits, pattern.option, other.option)
                result[pattern] -= 1
                result[other] += 1
            if not result[pattern]:
                del result[pattern]
    return result


def _cheapest_change(
    packing: Packing,
    row: int,
    carriers: Mapping[ClassNumber, Sequence[NodeOption]],
    classes: Sequence[WorkloadClass],
    limits: Limits,
    totals: Sequence[int],
    *,
    clock: Clock,
    same_pool: bool,
) -> tuple[Pattern, Pattern] | None:
    """The node to change and what to, that costs least for what it eases the limit of a row."""
    best: tuple[float, Pattern, Pattern] | None = None
    for pattern in packing:
        if limits.weights(pattern.option)[row] <= 0:
            continue
        if best is not None and clock.over():
            break
        fewest = min((carriers[number] for number, _, _ in pattern.pods), key=len)
        for other in _others(pattern, fewest, classes, same_pool=same_pool):
            eased = limits.weights(pattern.option)[row] - limits.weights(other.option)[row]
            if eased > 0 and limits.allows(totals, pattern.option, other.option):
                paid = (other.option.price - pattern.option.price) / eased
                if best is None or paid < best[0]:
                    best = paid, pattern, other
    return None if best is None else best[1:]


def reserved_first(packing: Packing, options: Sequence[NodeOption], limits: Limits) -> Packing:
    """The packing with reserved nodes in the place of others of the type, as long as there are any: dear ones first.

    Karpenter does the same: it launches what is reserved before anything else that the pool allows.
    """
    by_cut = {
        (option.cut, option.instance_type.name): option
        for option in options
        if option.purchase is Purchase.RESERVED
    }
    result = Counter(packing)
    totals = limits.totals(result)
    for pattern, count in sorted(packing.items(), key=lambda entry: (-entry[0].option.price, entry[0].pods)):
        reserved = by_cut.get((pattern.option.cut, pattern.option.instance_type.name))
        if reserved is None or pattern.option.purchase is not Purchase.ON_DEMAND:
            continue
        for _ in range(count):
            if not limits.allows(totals, pattern.option, reserved):
                break
            moved(totals, limits, pattern.option, reserved)
            result[pattern] -= 1
            result[Pattern(reserved, pattern.pods, pattern.geometries)] += 1
    return +result


def _others(
    pattern: Pattern, options: Iterable[NodeOption], classes: Sequence[WorkloadClass], *, same_pool: bool
) -> Iterable[Pattern]:
    """The load of a pattern on every other option that carries it."""
    counts = pattern.counts()
    cut = pattern.option.cut
    spot = pattern.option.purchase is Purchase.SPOT
    for option in options:
        if option is pattern.option or (
            same_pool and (option.cut is not cut or (option.purchase is Purchase.SPOT) != spot)
        ):
            continue
        if option.cut is cut and cut.mechanism is Mechanism.MIG:
            if option.units == pattern.option.units and holds(option, counts, classes):
                yield Pattern(option, pattern.pods, pattern.geometries)
        elif option.cut.mechanism is not Mechanism.MIG and carries(option, counts, classes):
            yield Pattern(option, pods_in_slots(counts))
