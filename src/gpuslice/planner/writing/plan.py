"""plan.yaml's struct, of a fleet and what is proven: figures, pools, who goes where, baselines, assumptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType, structs

from gpuslice.plan import artefact
from gpuslice.plan.models_today import assumed_in_words
from gpuslice.planner.model.classes import classes_of
from gpuslice.planner.model.packing import cost
from gpuslice.planner.writing.assemble import optimal_nodes
from gpuslice.planner.writing.assumptions import assumptions
from gpuslice.planner.writing.baselines import baselines
from gpuslice.planner.writing.reasons import with_prices
from gpuslice.units import format_cpu, format_memory, usd
from gpuslice.verifier.verify import verify
from gpuslice.workloads.service_kinds import on_whole_gpus
from gpuslice.workloads.today import bill

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Termination
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.settings import Settings
    from gpuslice.planner.writing.fleet import Fleet
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.today import Today


@dataclass(frozen=True, slots=True)
class Proof:
    """How good a plan is.

    Attributes:
        packing, classes: the cheapest whole nodes known, by numbers of these classes.
        bound: micro-dollars an hour below which no plan is.
        termination: why no more was looked for.
    """

    packing: Packing
    classes: tuple[WorkloadClass, ...]
    bound: int
    termination: Termination


def written(
    fleet: Fleet,
    proof: Proof,
    classes: tuple[WorkloadClass, ...],
    unplaced: tuple[artefact.Unplaced, ...],
    catalog: Catalog,
    settings: Settings,
    notes: Sequence[str],
) -> artefact.Plan:
    """The plan for a fleet.

    Args:
        fleet: that is planned.
        proof: of how good it is.
        classes: that are placed.
        unplaced: workloads that aren't, by name.
        catalog: types and prices.
        settings: that it was made under.
        notes: for its assumptions.
    """
    plan = structs.replace(
        empty(catalog, settings, unplaced, ()),
        summary=_summary(fleet, proof, classes, catalog, settings, all_placed=_all_placed(unplaced)),
        pools=fleet.pools,
        assignments=fleet.assignments,
        optimal_nodes=optimal_nodes(proof.packing, proof.classes),
        missing=tuple(
            artefact.MissingType(missing.instance_type, usd(missing.price), missing.unbound)
            for missing in fleet.missing
        ),
        assumptions=assumptions(
            fleet.pools,
            classes,
            catalog,
            None if not settings.overhead_assumed else settings.overhead,
            (*_by_packing(fleet.by_packing, len(fleet.pools)), *notes),
            assumed_in_words(settings.models_today),
        ),
    )
    return structs.replace(plan, assignments=with_prices(plan, classes, catalog, settings))


def _summary(
    fleet: Fleet,
    proof: Proof,
    classes: tuple[WorkloadClass, ...],
    catalog: Catalog,
    settings: Settings,
    *,
    all_placed: bool,
) -> artefact.Summary:
    """The plan in numbers."""
    best = cost(proof.packing)
    gap = (best - proof.bound) / best if best else 0.0
    return artefact.Summary(
        status="infeasible" if not all_placed else "optimal" if gap <= settings.gap else "feasible",
        termination=proof.termination,
        usd_per_hour=usd(fleet.price),
        spread=artefact.BillSpread(usd(fleet.spread.least), usd(fleet.spread.mean), usd(fleet.spread.most)),
        optimal_usd_per_hour=usd(best),
        bound_usd_per_hour=usd(proof.bound),
        gap=round(gap, 6),
        now=_now(settings.today, {assignment.workload for assignment in fleet.assignments}),
        baselines=baselines(_on_whole_gpus(classes, catalog), catalog, settings.overhead),
        change=fleet.change,
        any_pools_usd_per_hour=fleet.any_pools,
        one_pool_each=fleet.one_pool_each,
    )


def repaired(
    previous: artefact.Plan | None,
    pools: Sequence[artefact.Pool],
    workloads: Sequence[Workload],
    catalog: Catalog,
) -> tuple[str, ...]:
    """What is to be said where the previous plan can't be kept to, or doesn't hold for these workloads."""
    if previous is not None and any(pool.seats for pool in previous.pools) > any(
        pool.seats for pool in pools
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


def _on_whole_gpus(classes: tuple[WorkloadClass, ...], catalog: Catalog) -> tuple[WorkloadClass, ...]:
    """The classes, with services on as many whole GPUs as they take."""
    workloads = [member for a_class in classes for member in a_class.members]
    if all(workload.service is None for workload in workloads):
        return classes
    return classes_of(on_whole_gpus(workload, catalog) or workload for workload in workloads)


def empty(
    catalog: Catalog, settings: Settings, unplaced: tuple[artefact.Unplaced, ...], notes: Sequence[str]
) -> artefact.Plan:
    """A plan for nothing: nobody to place, or nobody who can be placed."""
    return artefact.Plan(
        api_version=artefact.API_VERSION,
        kind="Plan",
        catalog=artefact.CatalogReference(catalog.region, catalog.prices_date),
        stack=settings.stack.value,
        overhead=_overhead(settings),
        policy=settings.policy,
        models_today=settings.models_today,
        summary=artefact.Summary(
            "optimal" if _all_placed(unplaced) else "infeasible",
            "gap",
            0.0,
            0.0,
            0.0,
            0.0,
            now=_now(settings.today, ()),
        ),
        pools=(),
        assignments=(),
        unplaced=unplaced,
        assumptions=tuple(notes),
    )


def _all_placed(unplaced: Sequence[artefact.Unplaced]) -> bool:
    """Whether nobody is without a place who isn't left where it is."""
    return all(left.stays for left in unplaced)


def _now(today: Today | None, leaving: Collection[str]) -> artefact.Now | UnsetType:
    """What is paid now, and what of it goes on where these workloads go to the plan's nodes."""
    if today is None:
        return UNSET
    return artefact.Now(
        usd_per_hour=bill(today.nodes),
        unpriced=today.unpriced,
        unpriced_on_demand_usd_per_hour=today.on_demand_usd,
        staying_usd_per_hour=bill(today.staying(leaving)),
        idle_usd_per_hour=today.idle_usd,
        nodes=sum(node.count for node in today.nodes),
        read=today.read,
        prices=today.prices,
    )


def _overhead(settings: Settings) -> artefact.Overhead:
    taken = settings.overhead
    return artefact.Overhead(format_cpu(taken.cpu_milli), format_memory(taken.memory_mib), taken.pods)
