"""The prices per replica that column generation starts from, and which kinds of node matter at them.

A replica costs no more than its share of the scarcest resource of the node that is cheapest for it, if others use up
the rest. Where a node may then be worth more than it costs, by relaxation, those whom it carries come down in price,
and so on. A linear program over all options was no better a start, and for thousands of classes had no end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.loads.pricing import Pricing
    from gpuslice.planner.programs.arrays import Floats

_STEPS: Final = 3
_STEP: Final = 0.7  # of the way to where no node is worth more, in proportions
_RISE: Final = 1.02  # for whom others have come down too far
_TOLERANCE: Final = 0.002  # it only has to be a good start
_OPTIONS: Final = 60  # the most promising ones, besides those where somebody is cheapest


def first_prices(pricing: Pricing, demand: Floats, clock: Clock) -> tuple[Floats, Floats, list[int]]:
    """Prices per replica at which hardly any option is worth more than its node, by relaxation.

    Args:
        pricing: of all options.
        demand: replicas of each class.
        clock: work left. Where it ends, the prices are the best so far.

    Returns:
        The prices; the best ones at which no node is worth more than it costs; the rows of options to begin with.
    """
    prices, rows = pricing.least_shares()
    used = dict.fromkeys(sorted({int(row) for row in rows}))
    # Whoever pays an equal part of a node for each resource pays for no more than there is: a price that is never too
    # high, if often too low.
    safe = pricing.even_shares()
    over: list[tuple[int, float]] = []
    for _ in range(_STEPS):
        too_cheap = pricing.relaxed(prices, demand, tolerance=_TOLERANCE, clock=clock)
        if clock.over():  # perhaps before all options were asked
            break
        over = too_cheap
        feasible = pricing.feasible(prices, over, tolerance=_TOLERANCE)
        if feasible @ demand > safe @ demand:
            safe = feasible
        prices = prices ** (1 - _STEP) * feasible**_STEP * _RISE
    return prices, safe, list(used | dict.fromkeys(row for row, _ in over[:_OPTIONS]))
