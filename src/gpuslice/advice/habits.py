"""What Karpenter's habits cost a plan, and what the plan's choices avoid of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.description import mig_offered
from gpuslice.launches.bill import priced_orders, realised_spread
from gpuslice.units import micro_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.plan.artefact import Plan, Pool
    from gpuslice.planner.homes.bill_search import CarriedOut
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class Habits:
    """Micro-dollars an hour. What a plan costs above the cheapest packing is `template + packing + chance`.

    Attributes:
        template: more, because all pods of one template go to one pool.
        packing: more, because Karpenter takes pods by CPU, memory and age, and kube-scheduler binds them by scores of
            its own; below nothing where it packs better than we do.
        chance: more (or less), since the order of arrival that the plan is priced by isn't quite the mean.
        by_types: avoided, as pools list few instance types: with all that have their GPUs, batches would grow.
        by_moves: avoided, as workloads are in other pools than a packing would have them in.
    """

    template: int
    packing: int
    chance: int
    by_types: int
    by_moves: int


def habits(
    plan: Plan,
    carried: CarriedOut,
    workloads: Sequence[Workload],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
) -> Habits | None:
    """What habits cost; None where pools were searched within limits, whose prices aren't dollars.

    Args:
        plan: in question.
        carried: what it was made from.
        workloads: that it was made for.
        catalog: that it was made with.
        overhead: of daemonsets.
    """
    if carried.packed is None:
        return None
    paid, optimal = micro_usd(plan.summary.usd_per_hour), micro_usd(plan.summary.optimal_usd_per_hour)
    mean = carried.spread.mean
    wide = structs.replace(plan, pools=tuple(_widened(pool, catalog) for pool in plan.pools))
    placed = {assignment.workload for assignment in plan.assignments}
    there = [workload for workload in workloads if workload.name in placed]
    orders = priced_orders(sum(assignment.replicas for assignment in plan.assignments))
    spread = realised_spread(wide, there, catalog, overhead, orders=orders)
    return Habits(
        carried.packed - optimal,
        mean - carried.packed,
        paid - mean,
        spread.mean - mean,
        0 if carried.at_first is None else carried.at_first - mean,
    )


def _widened(pool: Pool, catalog: Catalog) -> Pool:
    """The pool with all instance types of its GPU that can be cut as it says."""
    types = catalog.by_name()
    first = types[pool.instance_types[0]]
    bought = {Purchase(purchase) for purchase in pool.purchases}
    more = [
        kind.name
        for kind in catalog.instance_types
        if (kind.gpu, kind.gpu_fraction, kind.arch) == (first.gpu, first.gpu_fraction, first.arch)
        and not bought.isdisjoint(kind.prices)
        and _can_be_cut(pool, kind, first)
    ]
    return structs.replace(pool, instance_types=tuple(dict.fromkeys((*pool.instance_types, *more))))


def _can_be_cut(pool: Pool, kind: InstanceType, first: InstanceType) -> bool:
    layout = pool.layout
    if layout.metered is not UNSET:
        return kind.gpu_count == 1
    if layout.mechanism == "mig":
        return mig_offered(kind) and (layout.geometries is UNSET or kind.gpu_count == first.gpu_count)
    return (kind.gpu_count == 0) == (first.gpu_count == 0)
