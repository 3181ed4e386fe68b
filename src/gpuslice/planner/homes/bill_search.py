"""Homes as Karpenter carries them out: its bill, and workloads moved as long as that makes the bill smaller.

A packing knows where each pod goes; Karpenter takes pods by CPU, memory and age, and kube-scheduler binds them by its
own scores. So pools that pack well may come out dear: those of metered pods of many sizes above all. Here the pools
that cost more than their packing are asked again: one workload or all of them go elsewhere if the model of Karpenter
says that this is cheaper, on average over orders of arrival.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.launches.bill import NOTHING, Spread
from gpuslice.planner.homes.fallbacks import Missing, missing_types, with_fallback
from gpuslice.planner.homes.local_search import LocalSearch
from gpuslice.planner.homes.moves import Moves
from gpuslice.planner.homes.price import BillPrice
from gpuslice.planner.homes.residence import Residence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuslice.launches.bill import Order
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.homes.bills import Outcome, PoolBills
    from gpuslice.planner.homes.packing import PoolPacking
    from gpuslice.planner.homes.residence import HomesByClass
    from gpuslice.planner.homes.start import Realisation
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.pools import PoolKey

_MOST_SIMULATED: Final = 10_000
"""Pods that the search may let arrive in the model: it ends after as much work on every machine."""
_KEPT_FOR_SAFETY: Final = 2_000  # more of them, for moves that cost nothing
_TRIED: Final = 8  # of the moves from one pool that look best by first fit


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """What Karpenter makes of the pools.

    Attributes:
        packing: the nodes that it launches in the order of arrival that the plan is priced by.
        homes: by class number, (workload, home, replicas).
        options: the nodes that each pool may have, cheapest first.
        spread: bills over orders of arrival.
        by_packing: how many pools are priced by our own packing, since the model couldn't be asked about them.
        missing: what it means if EC2 is out of an instance type that is launched.
        packed: micro-dollars an hour of the same pools as we would pack them; None where that isn't known.
        at_first: the mean bill before any workload moved; None where that isn't known.
    """

    packing: Packing
    homes: HomesByClass
    options: dict[PoolKey, tuple[NodeOption, ...]]
    spread: Spread
    by_packing: int
    missing: tuple[Missing, ...]
    packed: int | None = None
    at_first: int | None = None


def carried_out(
    realisation: Realisation,
    classes: Sequence[WorkloadClass],
    *,
    packings: PoolPacking,
    bills: PoolBills,
    second: Callable[[NodeOption], Iterable[NodeOption]],
    clock: Clock,
) -> CarriedOut:
    """Move workloads to where Karpenter's bill is smallest, and price the pools by it.

    Args:
        realisation: the homes to begin with.
        classes: to place.
        packings: tells which moves are worth a look.
        bills: of the model.
        second: nodes to fall back to where EC2 is out of one; none where that isn't wanted.
        clock: work left.

    Returns:
        Priced by the order of arrival whose bill is nearest to the mean.
    """
    residence = Residence(realisation.homes, classes, packings.wishes.kept)
    at_first = None if clock.over() else _mean(residence, bills)
    price, moves = BillPrice(packings, bills), Moves(packings)

    def search(residence: Residence, most: int) -> LocalSearch:
        return LocalSearch(residence, price, lambda: clock.over() or bills.simulated >= most, _TRIED)

    cheapest = search(residence, _MOST_SIMULATED)
    cheapest.descend(moves.out_of_a_pool)
    safest = search(cheapest.residence, _MOST_SIMULATED + _KEPT_FOR_SAFETY)
    safest.sidestep(moves.somewhere_safer)
    return _result(safest.residence, packings, bills, second, at_first)


def _mean(residence: Residence, bills: PoolBills) -> int | None:
    """Micro-dollars an hour of all pools as they are, on average; None where somebody fits nowhere."""
    outcomes = [bills.best(pool, residence.pools[pool]) for pool in residence.open_pools]
    totals = [outcome.total for outcome in outcomes if outcome is not None]
    return sum(totals) // len(bills.orders) if len(totals) == len(outcomes) else None


def _result(
    residence: Residence,
    packings: PoolPacking,
    bills: PoolBills,
    second: Callable[[NodeOption], Iterable[NodeOption]],
    at_first: int | None,
) -> CarriedOut:
    """The pools as they are now, with types to fall back to."""
    pools = {pool: residence.pools[pool].residents for pool in residence.open_pools}
    outcomes: dict[PoolKey, Outcome] = {}
    for pool, residents in pools.items():
        outcome = bills.best(pool, residence.pools[pool])
        if outcome is None:
            raise AssertionError(f"no node of a pool carries {residents[0].name}, which fits it")
        outcomes[pool] = with_fallback(pool, residents, outcome, bills=bills, second=second)
    spread = _spread(outcomes.values(), bills.orders)
    packing: Packing = Counter()
    for pool, outcome in outcomes.items():
        if outcome.packed:
            packing.update(dict(outcome.packed))
        else:
            packing.update(bills.patterns(pool, pools[pool], outcome.options, spread.typical))
    packed = [packings.pack(pool, residence.pools[pool].load) for pool in pools]
    return CarriedOut(
        packing,
        residence.by_class(),
        {pool: outcome.options for pool, outcome in outcomes.items()},
        spread,
        sum(bool(outcome.packed) for outcome in outcomes.values()),
        missing_types(pools, outcomes, bills),
        None if None in packed else sum(nodes.price for nodes in packed if nodes is not None),
        at_first,
    )


def _spread(outcomes: Iterable[Outcome], orders: Sequence[Order]) -> Spread:
    listed = tuple(outcomes)
    bills = [
        (sum((outcome.bills[at] for outcome in listed), NOTHING), order) for at, order in enumerate(orders)
    ]
    return Spread(tuple(sorted(bills, key=lambda bill: (bill[0].price, bill[0].nodes))))
