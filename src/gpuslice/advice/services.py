"""Why a service is served as it is: each of its profiles, whether it meets the objective, and what it would cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpuslice.costs.alternatives import alternatives, offers
from gpuslice.workloads.policy import FREE, Policy
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
        price: micro-dollars an hour of these, on whole nodes of their own; None: nothing offers so many.
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
    workload: Workload,
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    stack: Stack,
    policy: Policy = FREE,
) -> tuple[Choice, ...]:
    """Every profile of a service: those that can be chosen by price, then those that can't.

    Args:
        workload: sized by its load.
        catalog: types and prices.
        overhead: of daemonsets.
        stack: what nodes run.
        policy: what may be bought.
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
        replicas = as_replicas(workload, kind, kind.replicas)
        could_have = alternatives(replicas, catalog, overhead, stack, policy=policy)
        alternative = next((one for one in could_have if one.slice == profile.slice), None)
        offer = next(iter(offers([alternative], kind.replicas)), None) if alternative is not None else None
        if offer is None or offer.alone is None:
            reason = "no instance type with a price offers it and holds a pod"
            if alternative is not None and not alternative.answer.fits:
                reason = alternative.answer.reason
            listed.append(Choice(profile, done, kind.replicas, reason=reason))
        else:
            listed.append(Choice(profile, done, kind.replicas, offer.alone_price, offer.alone.instance_type))
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
