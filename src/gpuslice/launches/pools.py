"""The pools of a plan, and the pods that go there, as the model of Karpenter knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gpuslice.carriers.pools import POOL_LABEL, weight
from gpuslice.carriers.table import carrier_asked, carrier_of
from gpuslice.cloud.catalog import Purchase
from gpuslice.karpenter.machines import machine
from gpuslice.karpenter.model import CPU, MEMORY, NodePool, Overlay, PodClass, Taint, Toleration
from gpuslice.karpenter.requirements import CAPACITY_TYPE, INSTANCE_TYPE, NODE_POOL, requirement
from gpuslice.units import parse_quantity

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.plan.artefact import Assignment, Plan, Pool
    from gpuslice.workloads.model import Workload


CONSOLIDATE_AFTER_SECONDS: Final = 300.0
"""What rendered pools wait after a change of their pods."""


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
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
class Ask:
    """What one replica of a workload asks for: milli-CPU, MiB, and (extended resource, amount)."""

    workload: str
    cpu_milli: int
    memory_mib: int
    slices: tuple[tuple[str, int], ...]


Load = tuple[tuple[Ask, int], ...]
"""Replicas by what they ask for, in the order in which their workloads are applied."""


def offers_of(pools: Iterable[Pool], stack: str, catalog: Catalog) -> dict[str, Offer]:
    """The pools of a plan, by name.

    Args:
        pools: of the plan.
        stack: of the plan.
        catalog: that it was made with.
    """
    kinds = catalog.by_name()
    return {
        pool.name: Offer(
            pool.name,
            tuple(
                (kinds[name], carrier_of(pool, stack).offers(pool, kinds[name]).amounts)
                for name in pool.instance_types
            ),
            frozenset(Purchase(each) for each in pool.purchases),
            weight(pool),
            carrier_of(pool, stack).limits(pool),
        )
        for pool in pools
    }


def loads_of(plan: Plan, workloads: Iterable[Workload]) -> dict[str, Load]:
    """What each pool of a plan carries, by name.

    Args:
        plan: whose assignments they are.
        workloads: that it was made for.
    """
    known = {each.name: each for each in workloads}
    found: dict[str, list[tuple[Ask, int]]] = {}
    for each in plan.assignments:
        found.setdefault(each.pool, []).append((ask_of(each, known[each.workload]), each.replicas))
    return {name: tuple(load) for name, load in found.items()}


def ask_of(assignment: Assignment, workload: Workload) -> Ask:
    """What one of its pods asks for."""
    requests = carrier_asked(assignment.asks).requests(assignment.asks)
    slices = {key: int(parse_quantity(amount)) for key, amount in requests.items()}
    return Ask(workload.name, workload.cpu_milli, workload.memory_mib, tuple(sorted(slices.items())))


def daemons_of(overhead: DaemonsetOverhead) -> tuple[PodClass, ...]:
    """Daemonsets that take so much of each node."""
    taken = {CPU: overhead.cpu_milli, MEMORY: overhead.memory_mib}
    anywhere = (Toleration(operator="Exists"),)
    return tuple(
        PodClass(f"daemonset-{at}", taken if at == 0 else {}, tolerations=anywhere)
        for at in range(max(1, overhead.pods))
    )


def pod_class(offer: Offer, ask: Ask) -> PodClass:
    """The pods of a pool that ask for so much, as they are rendered."""
    return PodClass(
        ask.workload,
        {CPU: ask.cpu_milli, MEMORY: ask.memory_mib, **dict(ask.slices)},
        selector={POOL_LABEL: offer.name},
        tolerations=(Toleration(POOL_LABEL, "Equal", offer.name, "NoSchedule"),),
    )


def karpenter_pool(offer: Offer) -> tuple[NodePool, list[Overlay]]:
    """The NodePool and its overlays, as they are rendered."""
    pool = NodePool(
        offer.name,
        tuple(machine(kind) for kind, _ in offer.machines),
        requirements=(
            requirement(INSTANCE_TYPE, "In", [kind.name for kind, _ in offer.machines]),
            requirement(CAPACITY_TYPE, "In", sorted(each.value for each in offer.purchases)),
        ),
        weight=offer.weight,
        limits=offer.limits,
        labels={POOL_LABEL: offer.name},
        taints=(Taint(POOL_LABEL, offer.name),),
        consolidate_after=CONSOLIDATE_AFTER_SECONDS,
    )
    overlays = [
        Overlay(
            f"{offer.name}-{kind.name}",
            (requirement(NODE_POOL, "In", [offer.name]), requirement(INSTANCE_TYPE, "In", [kind.name])),
            promised,
            weight=at,
        )
        for at, (kind, promised) in enumerate(offer.machines, 1)
    ]
    return pool, overlays
