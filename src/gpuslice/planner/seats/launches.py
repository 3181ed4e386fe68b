"""What Karpenter launches for pools with seats: for all together, as a pod may go to any that has a seat for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuslice.karpenter.model import Settings
from gpuslice.karpenter.rollout import arrivals, rollout
from gpuslice.karpenter.templates import Pools
from gpuslice.launches.bill import Bill, Spread
from gpuslice.launches.pools import daemons_of, karpenter_pools, offers_of, pods_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.launches.bill import Order
    from gpuslice.launches.pools import PoolOffer
    from gpuslice.plan.artefact import Assignment, Pool
    from gpuslice.workloads.model import Workload


class SeatRealiser:
    """Asks the model of Karpenter about pools with seats."""

    def __init__(
        self,
        pools: Iterable[Pool],
        assignments: Iterable[Assignment],
        workloads: Iterable[Workload],
        catalog: Catalog,
        stack: str,
        overhead: DaemonsetOverhead,
    ) -> None:
        """Lay out the pools.

        Args:
            pools: with seats, all of them.
            assignments: to these pools.
            workloads: of the assignments.
            catalog: with the pools' types.
            stack: what nodes run.
            overhead: of daemonsets, on each node.
        """
        placed, workloads = tuple(assignments), tuple(workloads)
        self._offers = tuple(offers_of(pools, placed, stack, catalog, workloads).values())
        self._overhead = overhead
        self._pods = pods_of(placed, workloads)
        self._laid_out = self._lay_out(self._offers)

    def spread(self, orders: Iterable[Order]) -> Spread:
        """The bills over orders of arrival."""
        bills = [(self._bill(self._laid_out, order), order) for order in orders]
        return Spread(tuple(sorted(bills, key=lambda bill: (bill[0].price, bill[0].nodes))))

    def without(self, instance_type: str, order: Order) -> Bill:
        """The bill while EC2 is out of an instance type."""
        left = [
            replace(offer, machines=machines)
            for offer in self._offers
            if (machines := tuple(one for one in offer.machines if one[0].name != instance_type))
        ]
        return self._bill(self._lay_out(left), order)

    def _lay_out(self, offers: Iterable[PoolOffer]) -> Pools:
        pools, overlays = karpenter_pools(offers)
        return Pools(
            pools,
            overlays=overlays,
            daemons=daemons_of(self._overhead),
            settings=Settings(exact_ties=False),  # which pod gets which of equal seats is all the same
        )

    def _bill(self, pools: Pools, order: Order) -> Bill:
        pattern, seed = order
        fleet = rollout(pools, arrivals(self._pods, pattern, seed), seed)
        used = [node for node in fleet.nodes if node.pods]
        kinds = Counter((node.pool, node.instance_type, node.capacity_type) for node in used)
        return Bill(sum(node.price for node in used), tuple(sorted(kinds.items())), len(fleet.unbound))
