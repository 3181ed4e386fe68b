"""A fleet as a plan has it: nodes, pools, and who goes where; and the one in which each workload has one pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from gpuslice.planner.homes.search import no_room
from gpuslice.planner.model.packing import cost
from gpuslice.planner.writing.assemble import Assembly
from gpuslice.planner.writing.preferences import few_pools, steady

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.launches.bill import Spread
    from gpuslice.plan.artefact import Assignment, Change, OnePoolEach, Pool
    from gpuslice.planner.bound.columns import Relaxation
    from gpuslice.planner.homes.bill_search import CarriedOut
    from gpuslice.planner.homes.fallbacks import Missing
    from gpuslice.planner.homes.search import Search, Within
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.packing.programme import Packings
    from gpuslice.planner.settings import Settings


@dataclass(frozen=True, slots=True)
class Fleet:
    """What Karpenter launches, and for whom.

    Attributes:
        pools, assignments: of the plan.
        price: of its nodes, micro-dollars an hour.
        packing, classes: the cheapest nodes known for the same workloads, by numbers of these classes.
        spread: bills over orders of arrival.
        missing: what it means if EC2 is out of an instance type that is launched.
        by_packing: how many pools are priced by our own packing.
        carried: how pools were chosen, where each workload has one.
        change: against the previous plan, where there is one.
        one_pool_each: what it would be without seats, where it has some.
        any_pools: dollars an hour with as many pools as pay for themselves, where the policy allows fewer.
    """

    pools: tuple[Pool, ...]
    assignments: tuple[Assignment, ...]
    price: int
    packing: Packing
    classes: tuple[WorkloadClass, ...]
    spread: Spread
    missing: tuple[Missing, ...]
    by_packing: int = 0
    carried: CarriedOut | None = None
    change: Change | UnsetType = UNSET
    any_pools: float | UnsetType = UNSET
    one_pool_each: OnePoolEach | UnsetType = UNSET


def one_pool_each(
    packings: Packings,
    search: Search,
    relaxation: Relaxation,
    catalog: Catalog,
    settings: Settings,
    tell: Callable[[Packing], None],
    *,
    beside: bool,
) -> Fleet:
    """The fleet where the pods of a workload are in one pool.

    Args:
        packings: of everybody.
        search: for pools.
        relaxation: prices and loads.
        catalog: types and prices.
        settings: rules.
        tell: about packings as they are found.
        beside: whether pools are looked for while packings are.

    Raises:
        AnswerIsNoError: the policy's counts leave no room for everybody.
    """
    packing, carried = _packed_and_carried(packings, search, relaxation, tell, beside=beside)
    carried, any_pools = few_pools(search, relaxation, packing, carried, settings.policy)
    carried, change = steady(search, relaxation, packing, carried, catalog, settings)
    realised = carried.carried
    known = [packing, realised.packing, *([] if carried.packing is None else [carried.packing])]
    assembly = Assembly(realised, search.classes, settings.previous)
    return Fleet(
        assembly.pools(),
        assembly.assignments(),
        cost(realised.packing),
        min(known, key=cost),
        tuple(search.classes),
        realised.spread,
        realised.missing,
        realised.by_packing,
        realised,
        change,
        any_pools,
    )


def _packed_and_carried(
    packings: Packings,
    search: Search,
    relaxation: Relaxation,
    tell: Callable[[Packing], None],
    *,
    beside: bool,
) -> tuple[Packing, Within]:
    """The cheapest packing, and pools.

    Many homes are looked for while the program of whole nodes runs; few take no time, and are better for its nodes.

    Raises:
        AnswerIsNoError: the policy's counts leave no room for everybody.
    """
    early = packings.dived if beside else None
    carried = None
    if early is not None:
        tell(early)
        carried = search.carried(relaxation, early)
    packing = packings.cheapest()
    if packing is not None:
        tell(packing)
        packings.look_at_all(packing)
        carried = carried or search.carried(relaxation, packing)
    if packing is None or carried is None:
        raise no_room(relaxation, search)
    better = packings.cheapest_of_all(packing)
    if better != packing:
        tell(better)
        both = [carried, search.carried(relaxation, better)]
        carried = min(
            (within for within in both if within is not None), key=lambda within: cost(within.carried.packing)
        )
    return better, carried
