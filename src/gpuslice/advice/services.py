"""Why a service is served as it is: each of its profiles, whether it meets the objective, and what it would cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpuslice.advice.alternatives import alternatives
from gpuslice.workloads.service_kinds import admissible, as_replicas, kind_by, latency_limit, throughput

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.hardware.stacks import Stack
    from gpuslice.workloads.model import ServiceProfile, Workload


@dataclass(frozen=True, slots=True)
class Choice:
    """One profile of a service.

    Attributes:
        profile: as it was measured.
        throughput: of one replica, in the unit of the demand.
        replicas: that would carry the demand; 0: it misses the objective.
        price: micro-dollars an hour of these, at what one costs on nodes that it fills alone; None: nothing offers it.
        instance_type: that this is of; empty: none.
        reason: why it can't be chosen; empty where it can.
    """

    profile: ServiceProfile
    throughput: float
    replicas: int = 0
    price: int | None = None
    instance_type: str = ""
    reason: str = ""


def choices(
    workload: Workload, catalog: Catalog, overhead: DaemonsetOverhead, stack: Stack
) -> tuple[Choice, ...]:
    """Every profile of a service: those that can be chosen by price, then those that can't.

    Args:
        workload: sized by its load.
        catalog: types and prices.
        overhead: of daemonsets.
        stack: what nodes run.
    """
    service = workload.service
    if service is None:
        return ()
    good = set(admissible(service))
    listed = []
    for profile in service.profiles:
        done = float(throughput(profile))
        if profile not in good:
            limit = float(latency_limit(service))
            listed.append(
                Choice(profile, done, reason=f"{profile.latency_ms:g} ms, and below {limit:g} is wanted")
            )
            continue
        kind = replace(kind_by(workload.name, service, profile), slices=frozenset({profile.slice}))
        offers = alternatives(as_replicas(workload, kind, kind.replicas), catalog, overhead, stack)
        offer = next((offer for offer in offers if offer.slice == profile.slice), None)
        if offer is None or offer.price is None:
            reason = "no instance type with a price offers it and holds a pod"
            if offer is not None and not offer.answer.fits:
                reason = offer.answer.reason
            listed.append(Choice(profile, done, kind.replicas, reason=reason))
        else:
            listed.append(
                Choice(profile, done, kind.replicas, offer.price * kind.replicas, offer.instance_type)
            )
    return tuple(
        sorted(
            listed,
            key=lambda choice: (
                choice.price is None,
                choice.price or 0,
                choice.profile.slice,
                -choice.throughput,
            ),
        )
    )
