"""What is preferred to the cheapest pools: no more than so many, or those that there are already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from gpuslice.errors import AnswerIsNoError
from gpuslice.plan import artefact
from gpuslice.planner.homes.packing import Wishes
from gpuslice.planner.homes.previous import homes_kept, traded
from gpuslice.planner.model.packing import cost
from gpuslice.planner.writing.assemble import Assembly
from gpuslice.units import usd

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.planner.bound.columns import Relaxation
    from gpuslice.planner.homes.search import Search, Within
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.settings import Settings
    from gpuslice.workloads.policy import Policy


def few_pools(
    search: Search, relaxation: Relaxation, packing: Packing, carried: Within, policy: Policy
) -> tuple[Within, float | UnsetType]:
    """No more pools than the policy allows, and what it costs with any number, if there would be more.

    Raises:
        AnswerIsNoError: no so few were found.
    """
    most = policy.max_pools
    if most is UNSET or len(carried.carried.options) <= most:
        return carried, UNSET
    fewer = search.with_few_pools(relaxation, packing, carried, most)
    count = len(fewer.carried.options)
    # Pools that merge as they get dearer may stop merging too early: kinds chosen together never do.
    chosen = search.with_few_kinds(relaxation, packing, most)
    if chosen is not None and len(chosen.carried.options) <= most:
        cheaper = cost(chosen.carried.packing) < cost(fewer.carried.packing)
        fewer = chosen if count > most or cheaper else fewer
    elif count > most:
        raise AnswerIsNoError(
            f"the fewest pools found are {count}, and policy.maxPools is {most}",
            fix="allow that many; tenants and kinds of needs that may not share keep pools apart",
        )
    return fewer, usd(min(cost(carried.carried.packing), cost(fewer.carried.packing)))


def steady(
    search: Search,
    relaxation: Relaxation,
    packing: Packing,
    free: Within,
    catalog: Catalog,
    settings: Settings,
) -> tuple[Within, artefact.Change | UnsetType]:
    """Pools with everybody who may where the previous plan has it, unless moving saves enough; and the trade."""
    previous = settings.previous
    if previous is None:
        return free, UNSET
    homes, nodes = homes_kept(
        previous, search.classes, catalog, settings.overhead, settings.policy, settings.stack
    )
    if not homes:
        return free, UNSET
    kept = search.with_more(nodes).carried(relaxation, packing, Wishes(kept=homes))
    most = settings.policy.max_pools
    if kept is None or (most is not UNSET and len(kept.carried.options) > most):
        return free, UNSET
    stayed, moved = (
        (
            cost(within.carried.packing),
            Assembly(within.carried, search.classes, previous).assignments(),
        )
        for within in (kept, free)
    )
    change = traded(previous, stayed, moved, settings.min_saving)
    return (kept if change.kept else free), change
