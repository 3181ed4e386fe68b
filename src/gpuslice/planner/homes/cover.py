"""Which few pools can be home to everybody: a small integer program over the pools that there can be.

Who is put where later is the search's business: it is given the nodes of these pools and no others, so that there can't
be more of them, however little time is left.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.programs.highs import INFINITY, Column, Status, Stop, solve_mixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.cuts import Cut
    from gpuslice.planner.model.options import NodeOption

    Nodes = tuple[Cut, bool]  # how they are cut, and whether they are spot: nodes of one pool

_NODES: Final = 200  # of branch and bound
_GAP: Final = 0.01
_MOST_CHOICES: Final = 5_000  # of nodes for classes: beyond, only their number matters


def few_kinds(
    options: Iterable[NodeOption], classes: Sequence[WorkloadClass], most: int
) -> set[Nodes] | None:
    """Ways to cut and buy nodes, no more than so many, of which some can carry every class; the cheapest found.

    MIG's are left out: whoever fits an instance fits the whole GPU, for which fewer kinds do.

    Args:
        options: nodes to choose from.
        classes: to place.
        most: kinds.

    Returns:
        None: there is no such choice.
    """
    prices = _prices(options, classes)
    stop = Stop(_GAP, _NODES)
    answer = None
    if sum(map(len, prices.values())) <= _MOST_CHOICES:
        answer = solve_mixed(*_with_choices(prices, len(classes), most), stop)
    if answer is None or (answer.point is None and answer.status is not Status.INFEASIBLE):
        answer = solve_mixed(*_of_any_price(prices, len(classes), most), stop)
    if answer.point is None:
        return None
    return {kind for kind, taken in zip(prices, answer.point.values, strict=False) if taken > 0.5}


def _of_any_price(
    prices: Mapping[Nodes, Mapping[int, float]], classes: int, most: int
) -> tuple[list[Column], list[float], list[float]]:
    """The program for as few kinds as can be: columns, and least and most of each row."""
    columns = [
        Column(1.0, (0, *sorted(1 + number for number in carried)), (1.0,) * (1 + len(carried)), upper=1.0)
        for carried in prices.values()
    ]
    return columns, [0.0, *[1.0] * classes], [float(most), *[INFINITY] * classes]


def _with_choices(
    prices: Mapping[Nodes, Mapping[int, float]], classes: int, most: int
) -> tuple[list[Column], list[float], list[float]]:
    """Kinds that are open, and for each class one of them: columns, and least and most of each row."""
    lower, upper = [0.0, *[1.0] * classes], [float(most), *[1.0] * classes]
    choices: list[Column] = []
    open_rows: list[list[int]] = []
    for carried in prices.values():
        rows = []
        for number, price in carried.items():
            rows.append(len(lower))
            lower.append(-INFINITY)
            upper.append(0.0)
            choices.append(Column(price, (1 + number, len(lower) - 1), (1.0, 1.0), upper=1.0, integer=False))
        open_rows.append(rows)
    kinds = [Column(0.0, (0, *rows), (1.0, *[-1.0] * len(rows)), upper=1.0) for rows in open_rows]
    return [*kinds, *choices], lower, upper


def _prices(options: Iterable[NodeOption], classes: Sequence[WorkloadClass]) -> dict[Nodes, dict[int, float]]:
    """By kind of nodes, the classes that some can carry, and dollars an hour of all replicas by their largest share."""
    prices: dict[Nodes, dict[int, float]] = defaultdict(dict)
    for option in options:
        if option.cut.mechanism is Mechanism.MIG:
            continue
        kind = option.cut, option.purchase is Purchase.SPOT
        for number in option.classes:
            member = classes[number]
            units = member.need.gpus if option.cut.slots_per_gpu == 1 else 1
            share = max(
                units / option.units,
                member.cpu_milli / max(option.cpu_milli, 1),
                member.memory_mib / max(option.memory_mib, 1),
                *(member.taken(name) / max(have, 1) for name, have in option.others),
            )
            price = option.usd * share * member.replicas
            prices[kind][number] = min(price, prices[kind].get(number, price))
    return prices
