"""What Karpenter launches for pools with seats: for all together, as a pod may go to any that has a seat for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.karpenter.model import CPU, MEMORY, PodClass, Settings, Toleration
from gpuslice.karpenter.rollout import arrivals, rollout
from gpuslice.karpenter.templates import Pools
from gpuslice.launches.bill import Bill, Spread
from gpuslice.launches.pools import ask_of, daemons_of, karpenter_pool, offers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.launches.bill import Order
    from gpuslice.launches.pools import Ask, Offer
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
        self._offers = tuple(offers_of(pools, stack, catalog).values())
        self._overhead = overhead
        self._pods = seated_pods(assignments, workloads)
        self._laid_out = self._lay_out(self._offers)

    def spread(self, orders: Iterable[Order]) -> Spread:
        """The bills over orders of arrival."""
        bills = [(self._bill(self._laid_out, order), order) for order in orders]
        return Spread(tuple(sorted(bills, key=lambda each: (each[0].price, each[0].nodes))))

    def without(self, instance_type: str, order: Order) -> Bill:
        """The bill while EC2 is out of an instance type."""
        left = [
            replace(each, machines=machines)
            for each in self._offers
            if (machines := tuple(one for one in each.machines if one[0].name != instance_type))
        ]
        return self._bill(self._lay_out(left), order)

    def _lay_out(self, offers: Iterable[Offer]) -> Pools:
        made = [karpenter_pool(each) for each in offers]
        return Pools(
            [pool for pool, _ in made],
            overlays=[overlay for _, overlays in made for overlay in overlays],
            daemons=daemons_of(self._overhead),
            settings=Settings(exact_ties=False),  # which pod gets which of equal seats is all the same
        )

    def _bill(self, pools: Pools, order: Order) -> Bill:
        pattern, seed = order
        fleet = rollout(pools, arrivals(self._pods, pattern, seed), seed)
        used = [each for each in fleet.nodes if each.pods]
        kinds = Counter((each.pool, each.instance_type, each.capacity_type) for each in used)
        return Bill(sum(each.price for each in used), tuple(sorted(kinds.items())), len(fleet.unbound))


def seated_pods(
    assignments: Iterable[Assignment], workloads: Iterable[Workload]
) -> list[tuple[PodClass, int]]:
    """The pods of workloads that have seats, as they are rendered, and how many there are of each."""
    known = {each.name: each for each in workloads}
    counts: Counter[Ask] = Counter()
    for each in assignments:
        counts[ask_of(each, known[each.workload])] += each.replicas
    tolerated = (Toleration(POOL_LABEL, "Exists", "", "NoSchedule"),)
    return [
        (
            PodClass(
                ask.workload,
                {CPU: ask.cpu_milli, MEMORY: ask.memory_mib, **dict(ask.slices)},
                tolerations=tolerated,
            ),
            count,
        )
        for ask, count in counts.items()
    ]
