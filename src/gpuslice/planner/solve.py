"""The whole job of the planner, in order: classes, options, bound, columns, integers, pools, proof, baselines."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.plan import artefact
from gpuslice.planner import budget
from gpuslice.planner.bound.columns import ColumnGeneration, Relaxation
from gpuslice.planner.homes.fallbacks import stand_ins
from gpuslice.planner.homes.search import Search
from gpuslice.planner.model.classes import WorkloadClass, classes_of, homes_of
from gpuslice.planner.model.limits import limits_of
from gpuslice.planner.model.options import NodeOption, node_options
from gpuslice.planner.model.packing import cost
from gpuslice.planner.packing.programme import Packings
from gpuslice.planner.services.mixing import SCALABLE, Sized, mixed_kinds, size_services
from gpuslice.planner.settings import Settings
from gpuslice.planner.writing.baselines import whole_gpus_for
from gpuslice.planner.writing.fleet import Fleet, one_pool_each
from gpuslice.planner.writing.plan import Proof, empty, repaired, written
from gpuslice.planner.writing.unplaced import reason_against
from gpuslice.units import MICRO_USD
from gpuslice.verifier.verify import verify
from gpuslice.workloads.policy import forbids, priced

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Termination
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.homes.bill_search import CarriedOut
    from gpuslice.planner.model.packing import Packing
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class Found:
    """How far a search has come.

    Attributes:
        usd: what the best so far costs, dollars per hour.
        bound: proven so far: no plan costs less, dollars per hour.
        whole: whether the best is a plan, of whole nodes, or still a mix of fractions of nodes.
    """

    usd: float
    bound: float
    whole: bool


class BrokenPlanError(RuntimeError):
    """The planner made a plan that its own verifier refuses: a fault of gpuslice, never of the input."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A plan, and what explains it.

    Attributes:
        plan: verified.
        classes: that were placed.
        options: that were to choose from.
        relaxation: prices per replica, and the proof of the bound.
        carried: what Karpenter makes of it; None where there was nothing to place.
    """

    plan: artefact.Plan
    classes: tuple[WorkloadClass, ...]
    options: tuple[NodeOption, ...]
    relaxation: Relaxation | None
    carried: CarriedOut | None = None


def solve(
    workloads: Sequence[Workload],
    catalog: Catalog,
    settings: Settings,
    *,
    clock: Clock,
    notes: Sequence[str] = (),
    told: Callable[[Found], None] = lambda _found: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Solution:
    """Plan: every workload that fits anything is placed, the others are named with their reasons.

    Args:
        workloads: names unique.
        catalog: types and prices.
        settings: rules.
        clock: work left; a feasible, verified plan with a true bound comes out wherever it ends.
        notes: of reading the workloads, for the plan's assumptions.
        told: called as the search goes on.
        interrupted: whether somebody wants no more than what was found so far.

    Raises:
        InputError: seats are wanted, and can't be had under these settings.
        AnswerIsNoError: the policy's counts leave no room for everybody.
        BrokenPlanError: the plan didn't pass the verifier.
    """
    if settings.seats:
        from gpuslice.planner.seats.fleet import refuse_seats

        refuse_seats(settings)
    catalog = priced(settings.policy, catalog)
    laid = _laid_out(workloads, catalog, settings, clock)
    if not laid.classes:
        return Solution(empty(catalog, settings, laid.unplaced, notes), (), (), None)
    whole = clock.left()
    columns = ColumnGeneration(
        laid.options,
        laid.classes,
        limits=limits_of(settings.policy),
        told=lambda value, bound: told(Found(value, bound, whole=False)),
    )
    relaxation, packings, fleet, said = _fleet(
        columns, laid.options, laid.classes, catalog, settings, clock, told
    )
    packing, packed, proven = fleet.packing, fleet.classes, packings.bound
    if laid.sized is not None:
        # What is proven for one choice of kinds isn't for the others; and others may be cheaper.
        proven = laid.sized.bound
        if laid.sized.cheapest[1] is not None or clock.left() > budget.LEFT_BY_MIXING * whole:
            mixed = mixed_kinds(
                laid.sized,
                lambda some: offered(some, catalog, settings),
                limits=limits_of(settings.policy),
                gap=settings.gap,
                clock=clock,
            )
            if mixed is not None:
                packing, packed = min((packing, packed), mixed, key=lambda pair: cost(pair[0]))
    bound = _in_whole_steps(proven, laid.options, at_most=cost(packing))
    near = cost(packing) - bound <= settings.gap * cost(packing)
    plan = written(
        fleet,
        Proof(packing, packed, bound, _termination(clock, relaxation, interrupted, near=near)),
        laid.classes,
        laid.unplaced,
        catalog,
        settings,
        (*repaired(settings.previous, fleet.pools, workloads, catalog), *said, *notes),
    )
    violations = verify(plan, workloads, catalog)
    if violations:
        raise BrokenPlanError("; ".join(str(violation) for violation in violations[:3]))
    return Solution(plan, laid.classes, laid.options, relaxation, fleet.carried)


@dataclass(frozen=True, slots=True)
class _LaidOut:
    """What there is to choose, and for whom.

    Attributes:
        classes: that some node can carry.
        options: nodes for them.
        unplaced: workloads that none can carry, or that can't be planned, with their reasons.
        sized: services by their load, where there are any.
    """

    classes: tuple[WorkloadClass, ...]
    options: tuple[NodeOption, ...]
    unplaced: tuple[artefact.Unplaced, ...]
    sized: Sized | None


def _laid_out(workloads: Sequence[Workload], catalog: Catalog, settings: Settings, clock: Clock) -> _LaidOut:
    """Classes, the nodes for them, and who is left out and why."""
    refused = {workload.name: reason for workload in workloads if (reason := _not_planned(workload))}
    wanted = [workload for workload in workloads if workload.replicas and workload.name not in refused]
    unplaced = [
        artefact.Unplaced(
            workload.name,
            workload.replicas,
            refused[workload.name],
            bool(workload.stays),
            whole_gpus_for(workload, catalog, settings.overhead) if workload.stays else UNSET,
        )
        for workload in workloads
        if workload.name in refused
    ]
    wanted, sized = _sized(workloads, wanted, refused, catalog, settings, clock)
    unplaced += sized.unplaced if sized is not None else ()
    everyone = classes_of(wanted)
    options = offered(everyone, catalog, settings)
    placeable = {number for option in options for number in option.classes}
    for number, a_class in enumerate(everyone):
        if number not in placeable:
            reason = reason_against(a_class, catalog, settings.overhead, settings.carrier, settings.policy)
            unplaced += [
                artefact.Unplaced(member.name, member.replicas, reason) for member in a_class.members
            ]
    classes = tuple(a_class for number, a_class in enumerate(everyone) if number in placeable)
    if classes and len(classes) < len(everyone):
        options = offered(classes, catalog, settings)
    unplaced.sort(key=lambda left_out: left_out.workload)
    return _LaidOut(classes, options, tuple(unplaced), sized)


def _in_whole_steps(proven: float, options: Iterable[NodeOption], *, at_most: int) -> int:
    """The bound in micro-dollars an hour, of one proven in dollars.

    Less what a solver's arithmetic may be wrong by: a bound may be too low, never too high. Every plan costs a multiple
    of what divides all prices, so that it is the next one that nothing can be below.
    """
    step = gcd(*(option.price for option in options)) or 1
    return max(min(-int(-proven * MICRO_USD * (1 - 1e-6) // step) * step, at_most), 0)


def _fleet(
    columns: ColumnGeneration,
    options: tuple[NodeOption, ...],
    classes: tuple[WorkloadClass, ...],
    catalog: Catalog,
    settings: Settings,
    clock: Clock,
    told: Callable[[Found], None],
) -> tuple[Relaxation, Packings, Fleet, tuple[str, ...]]:
    """The proof, packings of everybody, the fleet, and what is to be said of it.

    Raises:
        AnswerIsNoError: the policy's counts leave no room for everybody.
    """
    # Each step leaves some time to those after it: a bound without a plan is of no use.
    whole = clock.left()
    left_by_packing = _left_by_packing(classes, whole)
    left_by_bound = left_by_packing + budget.LEFT_BY_BOUND
    left_by_homes = budget.LEFT_BY_HOMES * whole
    relaxation = columns.relax(tolerance=settings.gap / 3, clock=clock.keeping(left_by_bound * whole))
    allowed = [kind for kind in catalog.instance_types if not forbids(settings.policy, kind)]

    def second(option: NodeOption) -> Iterable[NodeOption]:
        return stand_ins(option, allowed, settings.overhead) if settings.fallback else ()

    search = Search(options, classes, columns.limits, settings, clock, left_by_homes, second)
    beside = not settings.seats and search.begin(relaxation)
    packings = Packings(
        columns,
        relaxation,
        options,
        classes,
        gap=settings.gap,
        clock=clock.keeping(left_by_packing * whole),
    )

    def tell(packing: Packing) -> None:
        told(Found(cost(packing) / MICRO_USD, max(packings.bound, 0.0), whole=True))

    said: tuple[str, ...] = ()
    if settings.seats:
        # Few want seats, and everybody would wait for the modules.
        from gpuslice.planner.seats.fleet import Offered, beside_one_pool, packed, with_seats

        nodes = Offered(lambda some, under: offered(some, catalog, under), second, catalog)
        packing = packed(packings, tell)
        seated = with_seats(
            packing,
            relaxation,
            classes,
            options,
            nodes,
            settings,
            clock=clock.keeping(left_by_homes),
        )
        if isinstance(seated, Fleet):
            # What they save is worth knowing, as they take many pools.
            other = search.carried(relaxation, packing)
            return relaxation, packings, seated if other is None else beside_one_pool(seated, other), said
        said = (seated,)
    fleet = one_pool_each(packings, search, relaxation, catalog, settings, tell, beside=beside)
    return relaxation, packings, fleet, said


def _left_by_packing(classes: Sequence[WorkloadClass], seconds: float) -> float:
    """The share of so many seconds that homes are to have, and what comes after them."""
    for_homes = min(budget.A_HOME * homes_of(classes) / max(seconds, 0.1), budget.ALL_HOMES)
    return max(budget.LEFT_BY_PACKING, budget.LEFT_BY_HOMES + for_homes)


def _termination(
    clock: Clock, relaxation: Relaxation, interrupted: Callable[[], bool], *, near: bool
) -> Termination:
    """Why the search ended; that it met the wall clock comes first, as another run may then end elsewhere."""
    if interrupted():
        return "interrupted"
    if clock.stopped:
        return "time-limit"
    if near:
        return "gap"
    return "work-limit" if clock.over() or not relaxation.converged else "exhausted"


def _not_planned(workload: Workload) -> str:
    """Why a workload can't be planned at all; empty where it can."""
    kind = workload.target.kind
    if workload.stays:
        return "it stays where it is: " + "; ".join(workload.stays)
    if workload.service is not None and kind not in SCALABLE:
        return (
            f"it is sized by its load, and a {kind} has no number of pods in spec.replicas that could follow"
        )
    if kind == "DaemonSet" and workload.replicas:
        return (
            "a DaemonSet runs on every node that it tolerates, so no number of replicas can be planned for it"
        )
    return ""


def _sized(
    workloads: Sequence[Workload],
    wanted: list[Workload],
    refused: Container[str],
    catalog: Catalog,
    settings: Settings,
    clock: Clock,
) -> tuple[list[Workload], Sized | None]:
    """Those with replicas, and with them the services that have a load, as the replicas which that takes."""
    services = [
        workload
        for workload in workloads
        if workload.service is not None and workload.service.rate and workload.name not in refused
    ]
    if not services:
        return wanted, None
    sized = size_services(
        services,
        wanted,
        lambda classes: offered(classes, catalog, settings),
        limits=limits_of(settings.policy),
        gap=settings.gap / 2,
        clock=clock,
    )
    return [*wanted, *sized.workloads], sized


def offered(classes: Sequence[WorkloadClass], catalog: Catalog, settings: Settings) -> tuple[NodeOption, ...]:
    """The node options that settings leave for some classes."""
    return node_options(
        classes,
        catalog,
        settings.overhead,
        settings.carrier,
        without=settings.without,
        policy=settings.policy,
    )
