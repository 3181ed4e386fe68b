"""Ways to run the same workloads, as Karpenter's pools and the pods' requests; here a plan's own.

whole-gpu       each pod asks for whole GPUs of the model that it runs on; one NodePool a model, with all its sizes.
time-slicing-4  the same nodes, every GPU in four equal slots, as tutorials do it; each tenant has its own nodes.
all-1g-mig      every pod on the smallest MIG instance, wherever a replica is cheapest.
plan            a plan's pools and pods, as `gpuslice render` writes them, limits included.
(For the first three see `simulator.baselines`; for replan-6h and the like `simulator.replanning`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.carriers.table import carrier_asked
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.karpenter.templates import Pools
from gpuslice.launches.pools import ask_of, daemons_of, karpenter_pools, offers_of, pod_class
from gpuslice.plan.layouts import mechanism, replicas
from gpuslice.workloads.slice_names import parse_slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.karpenter.model import PodClass
    from gpuslice.launches.pools import PoolOffer
    from gpuslice.plan.artefact import Assignment, Plan, Pool
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class Share:
    """What a pod has of a card.

    Attributes:
        gpus: the share that its slices are, several whole GPUs counting as such.
        memory_mib: what it holds of a GPU's memory at its peak, where nothing but neighbours limits it; 0 where the
            mechanism enforces, or where it is not known.
        slots: how many pods a GPU has slots for, for counting who shares one; 0: nobody shares.
    """

    gpus: float
    memory_mib: int = 0
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where pods of a workload go under a policy.

    Attributes:
        kind: their requests, and by what they choose their pool.
        shares: what they have of a card, by the pools in which they may be: one, or with seats several.
    """

    kind: PodClass
    shares: Mapping[str, Share]


@dataclass(frozen=True, slots=True)
class ReplayPolicy:
    """A way to run workloads.

    Attributes:
        name, note: in words.
        offers: what its pools offer.
        pools: its pools as the model of Karpenter takes them.
        places: by workload; who isn't there has no place.
        misfits: workloads that have a place outside their rules.
        standing: replicas of services sized by their load, which is one figure: as many at all times.
        together: for each pool the pools that share pods with it, itself included, in the order in which Karpenter
            prefers them.
    """

    name: str
    note: str
    offers: tuple[PoolOffer, ...]
    pools: Pools
    places: Mapping[str, Place]
    misfits: tuple[str, ...] = ()
    standing: Mapping[str, int] = field(default_factory=dict)
    together: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "together", _together(self.offers, self.places.values()))


def pools_of(offers: Iterable[PoolOffer], overhead: DaemonsetOverhead, consolidate_after: float) -> Pools:
    """Karpenter's pools.

    Args:
        offers: of all pools.
        overhead: of daemonsets.
        consolidate_after: seconds, of every pool.
    """
    pools, overlays = karpenter_pools(offers, consolidate_after)
    return Pools(pools, overlays=overlays, daemons=daemons_of(overhead))


def of_plan(
    plan: Plan,
    workloads: Sequence[Workload],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    consolidate_after: float,
    named: Callable[[Pool], str] = lambda pool: pool.name,
) -> ReplayPolicy:
    """A plan, kept as it is: demand beyond it goes as far as the pools' limits let it.

    Args:
        plan: to be run.
        workloads: of the demand; whom the plan doesn't know has no place.
        catalog: with the plan's types.
        overhead: of daemonsets.
        consolidate_after: seconds, of every pool.
        named: what a pool is called here.
    """
    names = {pool.name: named(pool) for pool in plan.pools}
    offers = tuple(
        replace(offer, name=names[offer.name])
        for offer in offers_of(plan.pools, plan.assignments, plan.stack, catalog, workloads).values()
    )
    known = {workload.name: workload for workload in workloads}
    by_name = {pool.name: pool for pool in plan.pools}
    places: dict[str, Place] = {}
    standing: dict[str, int] = {}
    # Replicas with a template each may have several homes; here all go to the one that most of them have.
    for assignment in sorted(plan.assignments, key=lambda one: one.replicas):
        workload = known.get(assignment.workload)
        if workload is None:
            continue
        homes = [by_name[assignment.pool]]
        if assignment.asks.seat:
            homes = [pool for pool in plan.pools if _has_seat(pool, assignment)]
        kind = pod_class("" if assignment.asks.seat else names[assignment.pool], ask_of(assignment, workload))
        shares = {names[pool.name]: _share(assignment, workload, pool) for pool in homes}
        places[workload.name] = Place(kind, shares)
        if workload.service is not None:
            standing[workload.name] = standing.get(workload.name, 0) + assignment.replicas
    return ReplayPolicy(
        "plan",
        "a plan for the most replicas that there are at once, kept as it is",
        offers,
        pools_of(offers, overhead, consolidate_after),
        places,
        standing=standing,
    )


def _has_seat(pool: Pool, assignment: Assignment) -> bool:
    workload = assignment.workload
    return workload in pool.seats and pool.seat_of(workload) == assignment.asks.seat


def _share(assignment: Assignment, workload: Workload, pool: Pool) -> Share:
    """What one of its pods has of a card in a pool."""
    layout, held = pool.layout, workload.need.memory_mib or 0
    if layout.metered is not UNSET:
        # Who has a seat asks for no memory, and holds what it was planned with.
        share = carrier_asked(assignment.asks).share(assignment.asks)
        asked = held if share is None else share.memory_mib
        return Share(min(asked / GPUS[layout.gpu].memory_mib, 1.0), held, replicas(layout))
    match mechanism(layout):
        case Mechanism.TIME_SLICING:
            return Share(assignment.asks.count / replicas(layout), held, replicas(layout))
        case Mechanism.MPS:
            return Share(assignment.asks.count / replicas(layout))
        case Mechanism.WHOLE:
            return Share(float(assignment.asks.count))
        case _:
            return Share(float(assignment.asks.count * parse_slice(assignment.slice).share))


def _together(offers: Iterable[PoolOffer], places: Iterable[Place]) -> dict[str, tuple[str, ...]]:
    """By pool, all that pods tie to it, directly or through others."""
    weights = {offer.name: offer.weight for offer in offers}
    groups = {name: {name} for name in weights}
    for place in places:
        joined = set().union(*(groups[name] for name in place.shares))
        for name in joined:
            groups[name] = joined
    return {
        name: tuple(sorted(group, key=lambda member: (weights[member], member), reverse=True))
        for name, group in groups.items()
    }
