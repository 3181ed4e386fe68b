"""The whole job of the planner, in order: classes, options, bound, columns, integers, pools, proof, baselines."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, Literal

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
from gpuslice.planner.seats.fleet import Offered, beside_one_pool, packed, refuse_seats, with_seats
from gpuslice.planner.services.mixing import SCALABLE, Sized, mixed_kinds, size_services
from gpuslice.planner.settings import Settings
from gpuslice.planner.writing.assemble import optimal_nodes
from gpuslice.planner.writing.assumptions import assumptions
from gpuslice.planner.writing.baselines import baselines
from gpuslice.planner.writing.fleet import Fleet, one_pool_each
from gpuslice.planner.writing.unplaced import reason_against
from gpuslice.units import MICRO_USD, format_cpu, format_memory, usd
from gpuslice.verifier.verify import verify
from gpuslice.workloads.policy import forbids, priced
from gpuslice.workloads.service_kinds import on_whole_gpus

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from gpuslice.cloud.catalog import Catalog
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
        clock: work left; a feasible, verified plan with a true bound comes out whenever they end.
        notes: of reading the workloads, for the plan's assumptions.
        told: called as the search goes on.
        interrupted: whether somebody wants no more than what was found so far.

    Raises:
        InputError: seats are wanted, and can't be had under these settings.
        AnswerIsNoError: the policy's counts leave no room for everybody.
        BrokenPlanError: the plan didn't pass the verifier.
    """
    if settings.seats:
        refuse_seats(settings)
    catalog = priced(settings.policy, catalog)
    refused = {each.name: reason for each in workloads if (reason := _not_planned(each))}
    wanted = [each for each in workloads if each.replicas and each.name not in refused]
    unplaced = [
        artefact.Unplaced(each.name, each.replicas, refused[each.name])
        for each in workloads
        if each.name in refused
    ]
    wanted, sized = _sized(workloads, wanted, refused, catalog, settings, clock)
    unplaced += sized.unplaced if sized is not None else ()
    everyone = classes_of(wanted)
    options = offered(everyone, catalog, settings)
    placeable = {number for option in options for number in option.classes}
    for number, each in enumerate(everyone):
        if number not in placeable:
            reason = reason_against(each, catalog, settings.overhead, settings.stack, settings.policy)
            unplaced += [artefact.Unplaced(member.name, member.replicas, reason) for member in each.members]
    classes = tuple(each for number, each in enumerate(everyone) if number in placeable)
    if not classes:
        return Solution(_empty(catalog, settings, unplaced, notes), (), (), None)
    if len(classes) < len(everyone):
        options = offered(classes, catalog, settings)
    whole = clock.left()
    columns = ColumnGeneration(
        options,
        classes,
        limits=limits_of(settings.policy),
        told=lambda value, bound: told(Found(value, bound, whole=False)),
    )
    relaxation, packings, fleet, said = _fleet(columns, options, classes, catalog, settings, clock, told)
    packing, packed = fleet.packing, fleet.classes
    proven = packings.bound
    if sized is not None:
        # What is proven for one choice of kinds isn't for the others; and others may be cheaper.
        proven = sized.bound
        if sized.cheapest[1] is not None or clock.left() > budget.LEFT_BY_MIXING * whole:
            mixed = mixed_kinds(
                sized,
                lambda some: offered(some, catalog, settings),
                limits=limits_of(settings.policy),
                gap=settings.gap,
                clock=clock,
            )
            if mixed is not None:
                packing, packed = min((packing, packed), mixed, key=lambda each: cost(each[0]))
    best = cost(packing)
    # Less what a solver's arithmetic may be wrong by: a bound may be too low, never too high. Every plan costs a
    # multiple of what divides all prices, so that it is the next one that nothing can be below.
    step = gcd(*(option.price for option in options)) or 1
    bound = max(min(-int(-proven * MICRO_USD * (1 - 1e-6) // step) * step, best), 0)
    gap = (best - bound) / best if best else 0.0
    plan = artefact.Plan(
        api_version=artefact.API_VERSION,
        kind="Plan",
        catalog=artefact.CatalogReference(catalog.region, catalog.prices_date),
        stack=settings.stack.value,
        overhead=_overhead(settings),
        policy=settings.policy,
        summary=artefact.Summary(
            status="infeasible" if unplaced else "optimal" if gap <= settings.gap else "feasible",
            termination=_termination(clock, relaxation, interrupted, near=gap <= settings.gap),
            usd_per_hour=usd(fleet.price),
            spread=artefact.BillSpread(
                usd(fleet.spread.least), usd(fleet.spread.mean), usd(fleet.spread.most)
            ),
            optimal_usd_per_hour=usd(best),
            bound_usd_per_hour=usd(bound),
            gap=round(gap, 6),
            baselines=baselines(_as_today(classes, catalog), catalog, settings.overhead),
            change=fleet.change,
            any_pools_usd_per_hour=fleet.any_pools,
            one_pool_each=fleet.one_pool_each,
        ),
        pools=fleet.pools,
        assignments=fleet.assignments,
        unplaced=tuple(sorted(unplaced, key=lambda each: each.workload)),
        optimal_nodes=optimal_nodes(packing, packed),
        missing=tuple(
            artefact.MissingType(each.instance_type, usd(each.price), each.unbound) for each in fleet.missing
        ),
        assumptions=assumptions(
            fleet.pools,
            classes,
            catalog,
            None if not settings.overhead_assumed else settings.overhead,
            (
                *_by_packing(fleet.by_packing, len(fleet.pools)),
                *_repaired(settings.previous, fleet.pools, workloads, catalog),
                *said,
                *notes,
            ),
        ),
    )
    violations = verify(plan, workloads, catalog)
    if violations:
        raise BrokenPlanError("; ".join(str(each) for each in violations[:3]))
    return Solution(plan, classes, options, relaxation, fleet.carried)


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
    allowed = [each for each in catalog.instance_types if not forbids(settings.policy, each)]

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
        nodes = Offered(lambda some, under: offered(some, catalog, under), second, catalog)
        packing = packed(packings, tell)
        found = with_seats(
            packing,
            relaxation,
            classes,
            options,
            nodes,
            settings,
            clock=clock.keeping(left_by_homes),
        )
        if isinstance(found, Fleet):
            # What they save is worth knowing, as they take many pools.
            other = search.carried(relaxation, packing)
            return relaxation, packings, found if other is None else beside_one_pool(found, other), said
        said = (found,)
    fleet = one_pool_each(packings, search, relaxation, catalog, settings, tell, beside=beside)
    return relaxation, packings, fleet, said


def _left_by_packing(classes: Sequence[WorkloadClass], seconds: float) -> float:
    """The share of so many seconds that homes are to have, and what comes after them."""
    for_homes = min(budget.A_HOME * homes_of(classes) / max(seconds, 0.1), budget.ALL_HOMES)
    return max(budget.LEFT_BY_PACKING, budget.LEFT_BY_HOMES + for_homes)


def _termination(
    clock: Clock, relaxation: Relaxation, interrupted: Callable[[], bool], *, near: bool
) -> Literal["interrupted", "time-limit", "gap", "work-limit", "exhausted"]:
    """Why the search ended; that it met the wall clock comes first, as another run may then end elsewhere."""
    if interrupted():
        return "interrupted"
    if clock.stopped:
        return "time-limit"
    if near:
        return "gap"
    return "work-limit" if clock.over() or not relaxation.converged else "exhausted"


def _repaired(
    previous: artefact.Plan | None,
    pools: Sequence[artefact.Pool],
    workloads: Sequence[Workload],
    catalog: Catalog,
) -> tuple[str, ...]:
    """What is to be said where the previous plan can't be kept to, or doesn't hold for these workloads."""
    if previous is not None and any(each.seats for each in previous.pools) > any(
        each.seats for each in pools
    ):
        return ("the previous plan has seats: who has one in it is placed anew",)
    broken = [] if previous is None else verify(previous, workloads, catalog)
    if not broken:
        return ()
    more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
    return (f"the previous plan doesn't hold as it is: {broken[0]}{more}; what this concerns is placed anew",)


def _by_packing(pools: int, of: int) -> tuple[str, ...]:
    """What is to be said where the model of Karpenter wasn't asked."""
    if not pools:
        return ()
    words = (
        f"{pools} of {of} pools are priced by our packing, as their pods are too many for the time that the model "
        "of Karpenter takes: it may launch others"
    )
    return (words,)


def _not_planned(workload: Workload) -> str:
    """Why a workload can't be planned at all; empty where it can."""
    kind = workload.target.kind
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
        each
        for each in workloads
        if each.service is not None and each.service.rate and each.name not in refused
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


def _as_today(classes: tuple[WorkloadClass, ...], catalog: Catalog) -> tuple[WorkloadClass, ...]:
    """The classes, with services on as many whole GPUs as they take."""
    workloads = [member for each in classes for member in each.members]
    if all(each.service is None for each in workloads):
        return classes
    return classes_of(on_whole_gpus(each, catalog) or each for each in workloads)


def offered(classes: Sequence[WorkloadClass], catalog: Catalog, settings: Settings) -> tuple[NodeOption, ...]:
    """The node options that settings leave for some classes."""
    return node_options(
        classes,
        catalog,
        settings.overhead,
        stack=settings.stack,
        without=settings.without,
        policy=settings.policy,
    )


def _empty(
    catalog: Catalog, settings: Settings, unplaced: list[artefact.Unplaced], notes: Sequence[str]
) -> artefact.Plan:
    """A plan for nothing: nobody to place, or nobody who can be placed."""
    return artefact.Plan(
        api_version=artefact.API_VERSION,
        kind="Plan",
        catalog=artefact.CatalogReference(catalog.region, catalog.prices_date),
        stack=settings.stack.value,
        overhead=_overhead(settings),
        policy=settings.policy,
        summary=artefact.Summary("infeasible" if unplaced else "optimal", "gap", 0.0, 0.0, 0.0, 0.0),
        pools=(),
        assignments=(),
        unplaced=tuple(sorted(unplaced, key=lambda each: each.workload)),
        assumptions=tuple(notes),
    )


def _overhead(settings: Settings) -> artefact.Overhead:
    each = settings.overhead
    return artefact.Overhead(format_cpu(each.cpu_milli), format_memory(each.memory_mib), each.pods)
