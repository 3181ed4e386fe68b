"""What one more unit of an allowance would save: estimated by the prices of the proof, confirmed by planning again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from gpuslice.advice.allowances import Kind, PolicyStep, Step, policy_steps, steps
from gpuslice.advice.reduced_costs import Part, reduced_costs, reduced_together
from gpuslice.errors import AnswerIsNoError
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.planner.loads.pricing import Patience, Pricing
from gpuslice.planner.model.limits import Limits, limits_of
from gpuslice.planner.model.places import numbered
from gpuslice.planner.solve import offered
from gpuslice.units import HOURS_A_MONTH, micro_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Plan
    from gpuslice.planner.bound.columns import Relaxation
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.settings import Settings
    from gpuslice.planner.solve import Solution
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.policy import Policy

LEAST_WORTH: Final = 1.0  # dollars a month: less is no reason to touch anything
_AS_GOOD: Final = 0.99  # of what the bolder step saves: then the milder one is enough
_EXACT: Final = 1e-9
_TOGETHER: Final = frozenset({Kind.SLOWDOWN, Kind.SPOT})  # one decision, that a tenant may take for many


@dataclass(frozen=True, slots=True)
class Change:
    """One change, and what it may save.

    Attributes:
        kind: which rule is loosened.
        whose: "health/radiology", "tenant health" or "policy".
        words: what its owner would do.
        workloads: those that change, as they would be.
        policy: as it would be.
        estimate: dollars per hour, by the prices of the proof.
        gpu: the model that is allowed; empty for all other kinds.
    """

    kind: Kind
    whose: str
    words: str
    workloads: tuple[Workload, ...]
    policy: Policy
    estimate: float
    gpu: str = ""

    @property
    def usd_per_month(self) -> float:
        """The estimate, dollars a month."""
        return self.estimate * HOURS_A_MONTH


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes that may save something.

    Attributes:
        promising: those worth a look, the best estimate first.
        asked: how many changes were priced.
        missed: names of workloads that there was no time to ask about.
        most: dollars per hour that a change of any of these could save at most: what its replicas cost now.
    """

    promising: tuple[Change, ...]
    asked: int
    missed: tuple[str, ...] = ()
    most: float = 0.0


@dataclass(frozen=True, slots=True)
class Saving:
    """A change that was planned with.

    Attributes:
        change: in question.
        usd_per_hour: what the plan with it costs less than the plan without, as Karpenter would launch both.
        proven: so much of that, dollars per hour, no plan without the change can save: what the plan with it costs
            less than the proven least without.
    """

    change: Change
    usd_per_hour: float
    proven: float

    @property
    def agreed(self) -> float:
        """What both the bills and the prices of the proof say, dollars per hour.

        Bills may differ by more, since nodes come whole and one search is luckier than another: no reason to look at
        that change first.
        """
        return min(self.usd_per_hour, self.change.estimate)


def changes(
    solution: Solution,
    workloads: Sequence[Workload],
    catalog: Catalog,
    settings: Settings,
    *,
    clock: Clock,
    name: str = "",
) -> Changes:
    """Every single change that may save something, with its estimate.

    Args:
        solution: the plan, and the prices that prove its bound.
        workloads: that it was made for.
        catalog: that it was made with.
        settings: that it was made under.
        clock: work left.
        name: of a workload, to look at alone: then each model of GPU is listed; else the best for each workload, and
            changes for whole tenants and of the policy too.
    """
    classes, relaxation = solution.classes, solution.relaxation
    if relaxation is None:
        return Changes((), 0)
    named = {workload.name: workload for workload in workloads}
    members = {
        member.name: Part(number, member.replicas)
        for number, a_class in numbered(classes)
        for member in a_class.members
        if not name or member.name == name
    }
    paid = {part: float(relaxation.duals[part.class_number]) * part.replicas for part in members.values()}
    asked_of = {
        part: steps(classes[part.class_number], catalog)
        for part in sorted(paid, key=lambda part_of_class: (-paid[part_of_class], part_of_class))
    }
    costs = reduced_costs(
        classes,
        relaxation,
        asked_of,
        lambda some: offered(some, catalog, settings),
        limits=limits_of(settings.policy),
        clock=clock,
    )
    promising: list[Change] = []
    missed: list[str] = []
    alone: list[_Taken] = []
    for member, part in members.items():
        priced = {step: costs[part, step] * part.replicas for step in asked_of[part] if (part, step) in costs}
        if len(priced) < len(asked_of[part]):
            missed.append(member)
        here = [_Taken(named[member], part, step, usd) for step, usd in priced.items()]
        alone += here
        promising += [
            Change(
                taken.step.kind,
                member,
                taken.step.words,
                (taken.step.taken(taken.workload),),
                settings.policy,
                taken.usd,
                taken.step.gpu,
            )
            for taken in (here if name else _mildest(here))
        ]
    most = max((paid[members[name]] for name in missed), default=0.0)
    asked = len(alone)
    if not name:
        more = [
            *_of_tenants(alone, solution, relaxation, catalog, settings, clock),
            *_of_policy(solution, relaxation, catalog, settings, clock),
        ]
        asked += len(more)
        promising += more
    worth = [change for change in promising if change.usd_per_month >= LEAST_WORTH]
    worth.sort(key=lambda change: (-round(change.estimate, 6), change.whose, change.words))
    return Changes(tuple(worth), asked, tuple(missed), most)


def saving(
    change: Change,
    plan: Plan,
    workloads: Sequence[Workload],
    again: Callable[[Sequence[Workload], Policy], Plan],
) -> Saving | None:
    """What a change saves, by planning again with it and nothing else changed.

    Args:
        change: to be made.
        plan: without it.
        workloads: that the plan was made for; those that it doesn't place are left out, so that both serve the same.
        again: makes a plan, with as much time and under the same settings as the first.

    Returns:
        The saving, which may be none or less than none; None where no plan for everybody was found.
    """
    placed = {assignment.workload for assignment in plan.assignments}
    changed = {workload.name: workload for workload in change.workloads}
    try:
        after = again(
            [changed.get(workload.name, workload) for workload in workloads if workload.name in placed],
            change.policy,
        )
    except AnswerIsNoError:
        return None
    if after.unplaced:
        return None
    paid = micro_usd(after.summary.usd_per_hour)
    return Saving(
        change,
        (micro_usd(plan.summary.usd_per_hour) - paid) / 1e6,
        max(micro_usd(plan.summary.bound_usd_per_hour) - paid, 0) / 1e6,
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    """A step of one workload, with what it is estimated to save: dollars per hour."""

    workload: Workload
    part: Part
    step: Step
    usd: float


def _mildest(priced: Sequence[_Taken]) -> list[_Taken]:
    """The best model, and of several steps away from isolation none that a smaller one does as well as."""
    models = [taken for taken in priced if taken.step.kind is Kind.GPU]
    best = max(models, key=lambda model: model.usd, default=None)
    kept = [taken for taken in priced if taken.step.kind is not Kind.GPU or taken is best]
    isolated = sorted(
        (taken for taken in kept if taken.step.kind is Kind.ISOLATION),
        key=lambda taken: -taken.step.taken(taken.workload).need.isolation.rank,
    )
    for milder, bolder in pairwise(isolated):
        if milder.usd >= _AS_GOOD * bolder.usd:
            kept.remove(bolder)
    return kept


def _of_tenants(
    alone: Sequence[_Taken],
    solution: Solution,
    relaxation: Relaxation,
    catalog: Catalog,
    settings: Settings,
    clock: Clock,
) -> list[Change]:
    """Steps that several workloads of a tenant take together, which may then share GPUs with each other."""
    together: dict[tuple[str, str], list[_Taken]] = {}
    for taken in alone:
        need, worth = taken.step.taken(taken.workload).need, taken.usd * HOURS_A_MONTH >= LEAST_WORTH
        if taken.step.kind is Kind.ISOLATION and need.isolation is Isolation.NONE:
            words = "no isolation"
        elif taken.step.kind in _TOGETHER or (taken.step.kind is Kind.GPU and worth):
            words = taken.step.words
        else:
            continue
        together.setdefault((taken.workload.tenant, words), []).append(taken)
    joint = []
    for (tenant, words), some in together.items():
        if len(some) == 1:
            continue
        estimate = sum(taken.usd for taken in some)
        if estimate * HOURS_A_MONTH < LEAST_WORTH and not clock.over():
            # Each by itself has nobody to share with: only together they may.
            estimate = reduced_together(
                solution.classes,
                relaxation,
                [(step_taken.part, step_taken.step) for step_taken in some],
                lambda classes: offered(classes, catalog, settings),
                limits=limits_of(settings.policy),
                clock=clock,
            )
        joint.append(
            Change(
                some[0].step.kind,
                f"tenant {tenant}",
                f"{words}, for {len(some)} workloads",
                tuple(step_taken.step.taken(step_taken.workload) for step_taken in some),
                settings.policy,
                estimate,
                some[0].step.gpu,
            )
        )
    return joint


def _of_policy(
    solution: Solution, relaxation: Relaxation, catalog: Catalog, settings: Settings, clock: Clock
) -> list[Change]:
    return [
        Change(
            Kind.POLICY,
            "policy",
            step.words,
            (),
            step.policy,
            _policy_estimate(step, solution, relaxation, catalog, settings, clock),
        )
        for step in policy_steps(settings.policy)
    ]


def _policy_estimate(
    step: PolicyStep,
    solution: Solution,
    relaxation: Relaxation,
    catalog: Catalog,
    settings: Settings,
    clock: Clock,
) -> float:
    """Dollars per hour that the bound falls by, at most or nearly."""
    limits = limits_of(settings.policy)
    if step.rule:
        toll = next(
            float(toll)
            for limit, toll in zip(limits, relaxation.tolls, strict=True)
            if limit.rule == step.rule
        )
        # A limit on a share grows with the bill.
        return toll * (1.0 if step.units == 1.0 else step.units * relaxation.value)
    summary = solution.plan.summary
    if step.policy.max_pools != settings.policy.max_pools:
        any_pools = summary.any_pools_usd_per_hour
        return summary.usd_per_hour - any_pools if isinstance(any_pools, float) else 0.0
    options = offered(solution.classes, catalog, replace(settings, policy=step.policy))
    tolled = Limits(limits, options)
    pricing = Pricing(options, solution.classes)
    pricing.reprice(tolled.tolled(tolled.proper(relaxation.tolls)))
    demand = np.asarray([a_class.replicas for a_class in solution.classes], dtype=np.float64)
    priced = pricing.solve(
        relaxation.duals, demand, tolerance=_EXACT, patience=Patience.ENOUGH, clock=clock.in_full()
    )
    return float((relaxation.duals * (1 - np.minimum(priced.shares * (1 + _EXACT), 1.0))) @ demand)
