"""The pools of a plan, and the pods that go there, as the model of Karpenter knows them.

They are what `render` writes: NodePools and NodeOverlays with the same requirements, weights, limits, taints and
capacities, pods that name their pool, and pods with a seat that may go to any pool that has one for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuslice.carriers.carrier import amounts
from gpuslice.carriers.pools import POOL_LABEL, weight
from gpuslice.carriers.table import carrier_asked, carrier_of
from gpuslice.cloud.catalog import Purchase
from gpuslice.karpenter.machines import machine
from gpuslice.karpenter.model import CPU, MEMORY, NodePool, Overlay, PodClass, Taint, Toleration
from gpuslice.karpenter.requirements import ARCH, CAPACITY_TYPE, INSTANCE_TYPE, NODE_POOL, OS, among
from gpuslice.launches.limits import limits_of, seated_replicas
from gpuslice.plan.defaults import CONSOLIDATE_AFTER_SECONDS
from gpuslice.workloads.node_limits import room_of, taken_by

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.plan.artefact import Assignment, Plan, Pool
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.node_limits import Take


@dataclass(frozen=True, slots=True, eq=False)
class PoolOffer:
    """A pool, as far as launching its nodes goes. Compared as an object.

    Attributes:
        name: of the pool.
        machines: instance types, and what one node of each promises by extended resource.
        purchases: in which it may buy.
        weight: pools with more come first.
        limits: the most of each resource that its nodes may offer together.
    """

    name: str
    machines: tuple[tuple[InstanceType, Mapping[str, int]], ...]
    purchases: frozenset[Purchase]
    weight: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodAsk:
    """What one replica of a workload asks for.

    Attributes:
        workload: its name.
        cpu_milli, memory_mib: milli-CPU and MiB.
        slices: (resource, amount) of everything else that a node has so much of, ascending: slices above all, and
            what limits how many pods a node holds.
    """

    workload: str
    cpu_milli: int
    memory_mib: int
    slices: tuple[tuple[str, int], ...]


PoolLoad = tuple[tuple[PodAsk, int], ...]
"""Replicas by what they ask for, in the order in which their workloads are applied."""


def offers_of(
    pools: Iterable[Pool],
    assignments: Iterable[Assignment],
    stack: str,
    catalog: Catalog,
    workloads: Iterable[Workload],
) -> dict[str, PoolOffer]:
    """The pools of a plan, by name.

    Args:
        pools: of the plan.
        assignments: of the plan; by the replicas of workloads with seats their own pools are limited.
        stack: of the plan.
        catalog: that it was made with.
        workloads: that it was made for: what limits how many of their pods a node holds counts on every node.
    """
    kinds, replicas = catalog.by_name(), seated_replicas(assignments)
    taken = taken_by(take for workload in workloads for take in workload.takes)
    offers = {}
    for pool in pools:
        types = [kinds[name] for name in pool.instance_types]
        offers[pool.name] = PoolOffer(
            pool.name,
            tuple(
                (
                    kind,
                    {**carrier_of(pool, stack).offers(pool, kind).amounts, **dict(room_of(kind, taken))},
                )
                for kind in types
            ),
            frozenset(Purchase(purchase) for purchase in pool.purchases),
            weight(pool),
            limits_of(pool, stack, types, replicas),
        )
    return offers


def loads_of(plan: Plan, workloads: Iterable[Workload]) -> dict[str, PoolLoad]:
    """What each pool of a plan carries, by name.

    Args:
        plan: whose assignments they are.
        workloads: that it was made for.
    """
    known = {workload.name: workload for workload in workloads}
    loads: dict[str, list[tuple[PodAsk, int]]] = {}
    for assignment in plan.assignments:
        ask = ask_of(assignment, known[assignment.workload])
        loads.setdefault(assignment.pool, []).append((ask, assignment.replicas))
    return {name: tuple(load) for name, load in loads.items()}


def ask_of(assignment: Assignment, workload: Workload) -> PodAsk:
    """What one of its pods asks for."""
    slices = amounts(carrier_asked(assignment.asks).requests(assignment.asks))
    return pod_ask(workload.name, workload.cpu_milli, workload.memory_mib, slices, workload.takes)


def pod_ask(
    workload: str, cpu_milli: int, memory_mib: int, slices: Mapping[str, int], takes: Iterable[Take]
) -> PodAsk:
    """What a pod asks for that takes other resources beside its slices."""
    others = {take.resource: take.amount for take in takes}
    return PodAsk(workload, cpu_milli, memory_mib, tuple(sorted({**slices, **others}.items())))


def pods_of(assignments: Iterable[Assignment], workloads: Iterable[Workload]) -> list[tuple[PodClass, int]]:
    """The pods of a plan and how many there are of each: one class for all that have one template.

    Args:
        assignments: of the plan.
        workloads: that it was made for.
    """
    known = {workload.name: workload for workload in workloads}
    counts: Counter[tuple[str, PodAsk]] = Counter()
    for assignment in assignments:
        pool = "" if assignment.asks.seat else assignment.pool
        counts[pool, ask_of(assignment, known[assignment.workload])] += assignment.replicas
    return [(pod_class(pool, ask), count) for (pool, ask), count in counts.items()]


def pod_class(pool: str, ask: PodAsk) -> PodClass:
    """The pods that ask for so much.

    Args:
        pool: that they name; empty for pods with a seat, which may go wherever there is one for them.
        ask: of one pod.
    """
    return PodClass(
        ask.workload,
        {CPU: ask.cpu_milli, MEMORY: ask.memory_mib, **dict(ask.slices)},
        selector={POOL_LABEL: pool} if pool else {},
        tolerations=(Toleration(POOL_LABEL, "Equal" if pool else "Exists", pool, "NoSchedule"),),
    )


def daemons_of(overhead: DaemonsetOverhead) -> tuple[PodClass, ...]:
    """Daemonsets that take so much of each node."""
    taken = {CPU: overhead.cpu_milli, MEMORY: overhead.memory_mib}
    anywhere = (Toleration(operator="Exists"),)
    return tuple(
        PodClass(f"daemonset-{at}", taken if at == 0 else {}, tolerations=anywhere)
        for at in range(max(1, overhead.pods))
    )


def karpenter_pools(
    offers: Iterable[PoolOffer], consolidate_after: float = CONSOLIDATE_AFTER_SECONDS
) -> tuple[list[NodePool], list[Overlay]]:
    """The NodePools and their overlays. Weights of overlays differ within a pool; no overlay is for two pools.

    Args:
        offers: all pools of the cluster.
        consolidate_after: seconds that they wait after a change of their pods.
    """
    pools: list[NodePool] = []
    overlays: list[Overlay] = []
    for offer in offers:
        kinds = [kind for kind, _ in offer.machines]
        pools.append(
            NodePool(
                offer.name,
                tuple(machine(kind) for kind in kinds),
                requirements=(
                    among(INSTANCE_TYPE, *(kind.name for kind in kinds)),
                    among(CAPACITY_TYPE, *(purchase.value for purchase in offer.purchases)),
                    among(ARCH, *(kind.arch for kind in kinds)),
                    among(OS, "linux"),
                ),
                weight=offer.weight,
                limits=offer.limits,
                labels={POOL_LABEL: offer.name},
                taints=(Taint(POOL_LABEL, offer.name),),
                consolidate_after=consolidate_after,
            )
        )
        overlays += _overlays(offer)
    return pools, overlays


def _overlays(offer: PoolOffer) -> Sequence[Overlay]:
    """One for the types whose nodes promise alike."""
    alike: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for kind, promised in offer.machines:
        alike.setdefault(tuple(promised.items()), []).append(kind.name)
    return [
        Overlay(
            f"{offer.name}-{at}",
            (among(NODE_POOL, offer.name), among(INSTANCE_TYPE, *names)),
            dict(promised),
            weight=at,
        )
        for at, (promised, names) in enumerate(alike.items(), 1)
    ]
