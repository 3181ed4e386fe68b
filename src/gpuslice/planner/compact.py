"""The compact linear program: a bound without patterns, and the prices that column generation starts from.

Its variables are nodes of each option and replicas of each class on them. On average over an option's nodes, replicas
keep within the resources, and of no class are there more than go on a node alone. Real nodes do so one by one, so this
costs no more than any plan. Options come in only as they turn out to be worth their price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gpuslice.planner.solver import Column, LinearMaster

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuslice.planner.knapsack import Floats
    from gpuslice.planner.pricing import Node, Pricing

_ROUNDS: Final = 12
_OPTIONS_A_ROUND: Final = 40
_TOLERANCE: Final = 0.002  # it only has to be a good start


def first_prices(
    pricing: Pricing, demand: Floats, remaining: Callable[[], float]
) -> tuple[Floats, Floats, list[int]]:
    """Prices per replica at which hardly any option is worth more than its node, by relaxation.

    Args:
        pricing: of all options.
        demand: replicas of each class.
        remaining: seconds left. Where they end, the prices are those of nodes filled to the brim with each resource.

    Returns:
        The prices; the same brought down to where no node is worth more than it costs; the rows of the options that
        the program uses.
    """
    least, rows = pricing.least_shares()
    program = LinearMaster([float(each) for each in demand], [float(1e3 * least.max() + 1.0)] * len(demand))
    used: dict[int, None] = {}
    prices = least
    # Whoever pays an equal part of a node for each resource pays for no more than there is: a price that is never too
    # high, if often too low.
    safe = pricing.even_shares()
    entering = sorted({int(row) for row in rows})
    for _ in range(_ROUNDS):
        if remaining() <= 0:
            return prices, safe, list(used)
        for row in entering:
            used[row] = None
            _add(program, pricing.node(row), pricing.usd(row))
        program.limit_time(remaining())
        _, _, solved = program.solve()
        if not program.solved:
            return prices, safe, list(used)
        prices = solved
        over = pricing.relaxed(
            prices, demand, tolerance=_TOLERANCE, most=_OPTIONS_A_ROUND + len(used), remaining=remaining
        )
        if remaining() <= 0:
            return prices, safe, list(used)
        entering = [row for row, _ in over if row not in used]
        if not entering:
            break
    return prices, pricing.feasible(prices, over, tolerance=_TOLERANCE), list(used)


def _add(program: LinearMaster, node: Node, usd: float) -> None:
    """Nodes of one option, and replicas on them."""
    shares = node.sizes / node.capacity
    limits = [program.add_limit() for _ in node.capacity]
    # Where a resource already says that no more go on one node, a row of their own would say nothing new.
    tight = np.flatnonzero(node.most * shares.max(axis=1) < 1.0 - 1e-6)
    own = {int(member): program.add_limit() for member in tight}
    program.add(
        Column(
            usd,
            (*limits, *own.values()),
            (*[-1.0] * len(limits), *[-float(node.most[member]) for member in own]),
        )
    )
    for member, number in enumerate(node.option.classes):
        entries = [(number, 1.0)]
        entries += [
            (limit, float(share)) for limit, share in zip(limits, shares[member], strict=True) if share
        ]
        if member in own:
            entries.append((own[member], 1.0))
        program.add(Column(0.0, tuple(row for row, _ in entries), tuple(value for _, value in entries)))
