"""Where the money goes: what each workload costs today and in the plan, and what the plan pays for and nobody uses.

A node is shared, so its price has to be split. The part of a pool that its fullest resource leaves unused is idle;
the rest falls to the workloads in it, each by the largest share that it takes of any one resource. Nothing is lost:
workloads and idle add up to the bill.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuslice.advice.pool_use import pool_uses
from gpuslice.cloud.allocatable import left_for_workloads
from gpuslice.cloud.catalog import DaemonsetOverhead, Purchase
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.plan.tutorials import WHOLE_GPUS
from gpuslice.units import MIB, parse_cpu_milli, parse_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.cloud.catalog import Catalog, InstanceType
    from gpuslice.plan.artefact import Plan
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars an hour of one workload, or of one tenant's workloads.

    Attributes:
        name: the workload's or the tenant's.
        today: with whole GPUs; None: not known.
        planned: in the plan, idle left out.
    """

    name: str
    today: float | None
    planned: float


@dataclass(frozen=True, slots=True)
class Bill:
    """The whole bill, split.

    Attributes:
        workloads, tenants: the dearest in the plan first.
        idle: dollars an hour that the plan pays and no workload uses.
        today, planned: the sums; today is None where the plan has no such baseline.
    """

    workloads: tuple[Cost, ...]
    tenants: tuple[Cost, ...]
    idle: float
    today: float | None
    planned: float


def bill(plan: Plan, workloads: Sequence[Workload], catalog: Catalog) -> Bill:
    """Split a plan's bill and today's.

    Args:
        plan: that keeps the rules.
        workloads: that it was made for.
        catalog: that it names.
    """
    planned: dict[str, float] = defaultdict(float)
    idle = 0.0
    for use in pool_uses(plan, workloads, catalog):
        total = sum(use.parts.values())
        idle += use.idle / 1e6 if total else use.price / 1e6
        for name, part in use.parts.items():
            planned[name] += (use.price - use.idle) / 1e6 * part / total if total else 0.0
    today = _today(plan, workloads, catalog)
    placed = {assignment.workload for assignment in plan.assignments}
    costs = [
        Cost(workload.name, today.get(workload.name), planned[workload.name])
        for workload in workloads
        if workload.name in placed
    ]
    tenant_of = {workload.name: workload.tenant for workload in workloads}
    sums = sum(today.values()) if today else None
    return Bill(
        _dearest(costs),
        _dearest(_together(costs, tenant_of)),
        idle,
        sums,
        sum(planned.values()) + idle,
    )


def _today(plan: Plan, workloads: Iterable[Workload], catalog: Catalog) -> dict[str, float]:
    """The baseline's dollars an hour by workload, split by what the whole GPUs of each cost alone."""
    total = next(
        (baseline.usd_per_hour for baseline in plan.summary.baselines if baseline.name == WHOLE_GPUS), None
    )
    placed = {assignment.workload for assignment in plan.assignments}
    taken = overhead(plan)
    weights = {
        workload.name: price * workload.replicas
        for workload in workloads
        if workload.name in placed and (price := whole_price(workload, taken, catalog)) is not None
    }
    if total is None or weights.keys() != placed:
        return {}
    whole = sum(weights.values())
    return {name: total * weight / whole for name, weight in weights.items()} if whole else {}


def whole_price(workload: Workload, taken: DaemonsetOverhead, catalog: Catalog) -> float | None:
    """Dollars an hour of one replica that has whole GPUs: of today's model, else of the cheapest that fits.

    Args:
        workload: in question.
        taken: by daemonsets, of every node.
        catalog: on-demand prices.
    """
    need = workload.need
    priced = [
        (kind, kind.prices[Purchase.ON_DEMAND] / count)
        for kind in catalog.instance_types
        if Purchase.ON_DEMAND in kind.prices
        and kind.arch == workload.arch
        and (count := _per_node(workload, taken, kind))
    ]
    same = [price for kind, price in priced if kind.gpu == need.on]
    fitting = same or [price for kind, price in priced if fit(need, cuts.whole(GPUS[kind.gpu])).fits]
    return min(fitting) / 1e6 if fitting else None


def overhead(plan: Plan) -> DaemonsetOverhead:
    """What daemonsets take of each node."""
    stated = plan.overhead
    memory_mib = -int(-parse_quantity(stated.memory) // MIB)
    return DaemonsetOverhead(parse_cpu_milli(stated.cpu), memory_mib, stated.pods)


def _per_node(workload: Workload, taken: DaemonsetOverhead, machine: InstanceType) -> int:
    left = left_for_workloads(machine, taken)
    return min(machine.gpu_count // workload.need.gpus, left.holds(workload.cpu_milli, workload.memory_mib))


def _together(costs: Iterable[Cost], tenant_of: dict[str, str]) -> list[Cost]:
    grouped: dict[str, list[Cost]] = defaultdict(list)
    for cost in costs:
        grouped[tenant_of[cost.name]].append(cost)
    return [
        Cost(
            tenant,
            None
            if any(member.today is None for member in members)
            else sum(member.today or 0.0 for member in members),
            sum(member.planned for member in members),
        )
        for tenant, members in grouped.items()
    ]


def _dearest(costs: Iterable[Cost]) -> tuple[Cost, ...]:
    return tuple(sorted(costs, key=lambda cost: (-cost.planned, cost.name)))
