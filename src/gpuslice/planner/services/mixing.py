"""Services sized by load, turned into workloads with replicas: once with one kind each, and once as cheap as can be.

A Deployment has one template, so that all its pods ask for one slice: what is carried out has one kind a service. What
the cheapest packing may do, and what the bound is for, mixes kinds freely.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gpuslice.plan.artefact import Unplaced
from gpuslice.planner import budget
from gpuslice.planner.bound.columns import ColumnGeneration
from gpuslice.planner.bound.links import Links
from gpuslice.planner.model.classes import WorkloadClass, classes_of
from gpuslice.planner.packing.programme import Packings
from gpuslice.planner.services.sizing import Sizing, Supply, cheapest_alone, size
from gpuslice.workloads.service_kinds import Kind, as_replicas, exactly, kinds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.limits import Limit
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.workloads.model import Service, Workload

    Offer = Callable[[Sequence[WorkloadClass]], tuple[NodeOption, ...]]

_SMALL: Final = (
    4_000  # columns of the program over the options, beyond which its relaxation alone takes seconds
)

SCALABLE: Final = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "Rollout"})
"""Kinds whose spec.replicas is the number of their pods, so that a patch can set it."""


@dataclass(frozen=True, slots=True)
class Sized:
    """Services as workloads with replicas.

    Attributes:
        workloads: services of one kind each, in the order given; those that can't be served left out.
        unplaced: these, with their reasons.
        bound: proven: no plan for everybody who can be placed costs less, dollars per hour.
        cheapest: all services with several kinds of each where that is cheaper: (classes, nodes that carry them, or
            None where these are still to be found).
    """

    workloads: tuple[Workload, ...]
    unplaced: tuple[Unplaced, ...]
    bound: float
    cheapest: tuple[tuple[WorkloadClass, ...], Packing | None]


def size_services(
    services: Sequence[Workload],
    others: Sequence[Workload],
    offer: Offer,
    *,
    limits: Sequence[Limit] = (),
    gap: float,
    clock: Clock,
) -> Sized:
    """Choose kinds and replicas for services, together with what everybody else needs.

    Args:
        services: workloads with a demand above 0.
        others: workloads that state their replicas.
        offer: the node options for some classes.
        limits: on options altogether, under which the bound holds.
        gap: relative, at which to stop.
        clock: work left for the whole plan.
    """
    reasons: dict[str, str] = {}
    candidates: list[Workload] = []
    named: dict[tuple[str, frozenset[str]], Kind] = {}
    for workload in services:
        kinds, reasons[workload.name] = kinds_of(workload)
        for kind in kinds:
            named[workload.name, kind.slices] = kind
            candidates.append(as_replicas(workload, kind, kind.replicas))
    classes = classes_of([*others, *candidates])
    options = offer(classes)
    placeable = {number for option in options for number in option.classes}
    if len(placeable) < len(classes):
        classes = tuple(a_class for number, a_class in enumerate(classes) if number in placeable)
        options = offer(classes)
    supplies = [_supply(a_class, named) for a_class in classes]
    served = {kind.service for supply in supplies for kind in supply.kinds}
    unplaced = tuple(
        Unplaced(service.name, 0, reasons[service.name] or _nowhere(service, named))
        for service in services
        if service.name not in served
    )
    demands = {
        service.name: service.service
        for service in services
        if service.name in served and service.service is not None
    }
    if not demands:
        return Sized((), unplaced, 0.0, ((), None))
    problem = _Problem(demands, supplies, classes)
    proven: list[float] = []
    mixed: Sizing | None = None
    if sum(len(option.classes) for option in options) <= _SMALL:
        mixed = problem.size(options, one_kind=False, gap=gap, clock=clock)
        proven += [] if mixed is None else [mixed.bound]
    if mixed is None or mixed.packing is None or _usd(mixed.packing) * (1 - gap) > mixed.bound:
        relaxation = ColumnGeneration(options, classes, problem.links(), limits).relax(
            tolerance=gap, clock=clock.share(budget.SERVICES_BOUND)
        )
        proven.append(relaxation.bound)
        used = {pattern.option for pattern in relaxation.patterns}
        options = tuple(option for option in options if option in used)
        mixed = mixed or problem.size(options, one_kind=False, gap=gap, clock=clock)
    alone = problem.size(options, one_kind=True, gap=gap, clock=clock)
    one_kind = cheapest_alone(supplies, options, classes) if alone is None else alone.replicas
    chosen, packing = (one_kind, None) if mixed is None else (mixed.replicas, mixed.packing)
    by_name = {service.name: service for service in services}
    return Sized(
        tuple(
            as_replicas(by_name[kind.service], kind, count)
            for kind, count in _in_order(one_kind, demands)
            if count
        ),
        unplaced,
        max(proven),
        (_with_replicas(classes, named, chosen), packing),
    )


@dataclass(frozen=True, slots=True)
class _Problem:
    """What the programs are about."""

    demands: Mapping[str, Service]
    supplies: Sequence[Supply]
    classes: Sequence[WorkloadClass]

    def links(self) -> Links:
        """The services, for column generation."""
        numbers = {name: number for number, name in enumerate(self.demands)}
        return Links(
            tuple(supply.fixed for supply in self.supplies),
            tuple(
                (
                    number,
                    numbers[kind.service],
                    kind.replicas,
                    float(kind.throughput / exactly(self.demands[kind.service].rate)),
                )
                for number, supply in enumerate(self.supplies)
                for kind in supply.kinds
            ),
            len(numbers),
        )

    def size(
        self, options: Sequence[NodeOption], *, one_kind: bool, gap: float, clock: Clock
    ) -> Sizing | None:
        """Choose kinds and replicas over some options."""
        return size(
            self.demands, self.supplies, options, self.classes, one_kind=one_kind, gap=gap, clock=clock
        )


def mixed_kinds(
    sized: Sized,
    offer: Offer,
    *,
    limits: Sequence[Limit],
    gap: float,
    clock: Clock,
) -> tuple[Packing, tuple[WorkloadClass, ...]] | None:
    """The cheapest packing of services in several kinds each, and the classes that it is of; None: none was found.

    Args:
        sized: the services.
        offer: the node options for some classes.
        limits: on options altogether.
        gap: relative, at which to stop.
        clock: work left.
    """
    classes, packing = sized.cheapest
    if packing is not None and not limits:
        return packing, classes
    classes = tuple(a_class for a_class in classes if a_class.replicas)
    options = offer(classes)
    columns = ColumnGeneration(options, classes, limits=limits)
    relaxation = columns.relax(tolerance=gap / 3, clock=clock.share(0.5))
    mixed = Packings(columns, relaxation, options, classes, gap=gap, clock=clock).cheapest()
    return None if mixed is None else (mixed, classes)


def _usd(packing: Packing) -> float:
    return sum(pattern.option.usd * count for pattern, count in packing.items())


def _supply(workload_class: WorkloadClass, named: Mapping[tuple[str, frozenset[str]], Kind]) -> Supply:
    kinds = tuple(
        kind
        for member in workload_class.members
        if (kind := named.get((member.name, member.need.slices))) is not None
    )
    return Supply(workload_class.replicas - sum(kind.replicas for kind in kinds), kinds)


def _with_replicas(
    classes: Sequence[WorkloadClass],
    named: Mapping[tuple[str, frozenset[str]], Kind],
    replicas: Mapping[Kind, int],
) -> tuple[WorkloadClass, ...]:
    """Classes whose services' members have so many replicas."""
    resized = []
    for a_class in classes:
        members = tuple(
            member if kind is None else replace(member, replicas=replicas[kind])
            for member in a_class.members
            for kind in (named.get((member.name, member.need.slices)),)
        )
        resized.append(replace(a_class, members=members, replicas=sum(member.replicas for member in members)))
    return tuple(resized)


def _in_order(replicas: Mapping[Kind, int], demands: Mapping[str, Service]) -> list[tuple[Kind, int]]:
    by_service: dict[str, list[tuple[Kind, int]]] = defaultdict(list)
    for kind, count in replicas.items():
        by_service[kind.service].append((kind, count))
    return [pair for name in demands for pair in by_service[name]]


def _nowhere(workload: Workload, named: Mapping[tuple[str, frozenset[str]], Kind]) -> str:
    measured = sorted({kind.profile.slice for (name, _), kind in named.items() if name == workload.name})
    return (
        f"it was measured on {', '.join(measured)}: nothing that may be bought offers that and holds its pod"
    )
