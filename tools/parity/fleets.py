"""Plans for random fleets, and what the real Karpenter launches for them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.allocatable import EPHEMERAL_STORAGE, allocatable_of, daemonset_overhead
from gpuslice.cloud.selection import choose
from gpuslice.cloud.snapshot import bundled
from gpuslice.karpenter.model import PodTerm, Spread
from gpuslice.karpenter.requirements import HOSTNAME
from gpuslice.karpenter.rollout import Arrivals, arrivals
from gpuslice.launches.pools import daemons_of, karpenter_pools, offers_of, pods_of
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.units import MICRO_USD, micro_usd
from gpuslice.workloads.node_limits import SPREAD, by_rule
from tests.random_fleets import read_fleet
from tools.parity.compare import Comparison, answers, compare
from tools.parity.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.karpenter.model import NodePool, Overlay, PodClass
    from gpuslice.plan.artefact import Plan
    from gpuslice.workloads.model import Workload

SIZES: Final = (10, 10, 12, 14, 16, 18, 20, 20, 22, 25, 28, 30, 30, 35, 40, 40, 45, 50, 55, 60)
"""Workloads of each fleet."""
_FIRST_SEED: Final = 100
_ORDERS: Final = 3  # of arrival, of which the plan knows none
_FIRST_ORDER: Final = 1_000
_SECONDS: Final = 60.0  # told to the planner, which never gets there


@dataclass(frozen=True, slots=True)
class PlannedFleet:
    """A fleet, its plan, and what Karpenter made of it.

    Attributes:
        seed, workloads, pods: of the fleet.
        cheapest: packing found, dollars an hour.
        planned: bill, dollars an hour.
        launched: bill of the real Karpenter, the mean over orders of arrival, dollars an hour.
        compared: the model beside it, for each order.
    """

    seed: int
    workloads: int
    pods: int
    cheapest: float
    planned: float
    launched: float
    compared: tuple[Comparison, ...]

    @property
    def above(self) -> float:
        """What Karpenter's bill is above the cheapest packing, relative."""
        return self.launched / self.cheapest - 1


def planned_fleets(
    binary: str, sizes: Iterable[int] = SIZES, *, seats: bool = False, limits: bool = False
) -> Iterator[PlannedFleet]:
    """Random fleets: planned, and all their pods put before the real Karpenter at once, in an empty cluster.

    Args:
        binary: the real one's driver.
        sizes: workloads of each fleet.
        seats: whether plans may have seats.
        limits: whether some pods are kept apart or spread by host, have host ports, or take storage of their node.
    """
    overhead = daemonset_overhead()
    for seed, size in enumerate(sizes, _FIRST_SEED):
        workloads = read_fleet(seed, size, limits=limits)
        catalog = choose("", workloads.region)
        settings = Settings(overhead, seats=seats)
        plan = solve(workloads.workloads, catalog, settings, clock=Clock(_SECONDS)).plan
        listed = [
            scenario_of(f"fleet {seed}", plan, workloads.workloads, catalog, overhead, _FIRST_ORDER + order)
            for order in range(_ORDERS)
        ]
        compared = tuple(compare(scenario, answer) for scenario, answer in answers(binary, listed))
        yield PlannedFleet(
            seed,
            size,
            len(listed[0].pods),
            micro_usd(plan.summary.optimal_usd_per_hour) / MICRO_USD,
            micro_usd(plan.summary.usd_per_hour) / MICRO_USD,
            sum(each.theirs for each in compared) / len(compared) / MICRO_USD,
            compared,
        )


def scenario_of(
    name: str,
    plan: Plan,
    workloads: Iterable[Workload],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    seed: int,
) -> Scenario:
    """All pools and pods of a plan, the pods in an order by the seed."""
    workloads = tuple(workloads)
    offers = offers_of(plan.pools, plan.assignments, plan.stack, catalog, workloads)
    pools, overlays = karpenter_pools(offers.values())
    counts = pods_of(plan.assignments, workloads)
    most = {take.resource: take.most for workload in workloads for take in workload.takes}
    if most:
        pools, overlays = [_with_disk(pool) for pool in pools], [_of_slices(overlay) for overlay in overlays]
        counts = [(_ruled(pod, most), count) for pod, count in counts]
    pods = tuple(arrival.pod for arrival in arrivals(counts, Arrivals.AT_ONCE, seed))
    return Scenario(name, tuple(pools), pods, tuple(overlays), daemons_of(overhead))


def _with_disk(pool: NodePool) -> NodePool:
    """The pool with disks as Karpenter knows them: of instance types, not of overlays."""
    kinds = {kind.name: kind for kind in bundled().instance_types}
    return replace(
        pool,
        instance_types=tuple(
            replace(
                each,
                capacity={
                    **each.capacity,
                    EPHEMERAL_STORAGE: allocatable_of(kinds[each.name], EPHEMERAL_STORAGE),
                },
            )
            for each in pool.instance_types
        ),
    )


def _of_slices(overlay: Overlay) -> Overlay:
    """The overlay as it is rendered: slices alone."""
    kept = {
        name: amount
        for name, amount in overlay.capacity.items()
        if name != EPHEMERAL_STORAGE and not by_rule(name)
    }
    return replace(overlay, capacity=kept)


def _ruled(pod: PodClass, most: Mapping[str, int]) -> PodClass:
    """The pods with their rules as Kubernetes writes them: a port keeps apart all who have it.

    Args:
        pod: with a resource for each rule.
        most: of these, on each node.
    """
    named = {name: re.sub(r"[^a-z0-9]+", "-", name.lower()) for name in pod.requests if by_rule(name)}
    spreads = {name: label for name, label in named.items() if name.startswith(f"{SPREAD}/")}
    return replace(
        pod,
        requests={name: amount for name, amount in pod.requests.items() if not by_rule(name)},
        labels={**pod.labels, **dict.fromkeys(named.values(), "true")},
        apart=tuple(
            PodTerm(HOSTNAME, ((label, "true"),)) for name, label in named.items() if name not in spreads
        ),
        spreads=tuple(Spread(HOSTNAME, most[name], ((label, "true"),)) for name, label in spreads.items()),
    )


def table(found: Iterable[PlannedFleet]) -> str:
    """Rows of a table in Markdown, and their mean."""
    listed = tuple(found)
    rows = [
        f"| {each.seed} | {each.workloads} | {each.pods} | {each.cheapest:,.2f} | {each.planned:,.2f} "
        f"| {each.launched:,.2f} | {each.above:.1%} "
        f"| {sum(one.exact for one in each.compared)} of {len(each.compared)} |"
        for each in listed
    ]
    mean = sum(each.above for each in listed) / len(listed)
    worst = max(each.above for each in listed)
    rows.append(f"| mean | | | | | | {mean:.1%} | |")
    rows.append(f"| worst | | | | | | {worst:.1%} | |")
    return "\n".join(rows)
