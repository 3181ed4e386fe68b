"""Where the money goes: what each workload costs before and in the plan, and what is paid for and nobody uses.

A node is shared, so its price has to be split. The part of it that its fullest resource leaves unused is idle; the
rest falls to the workloads on it, each by the largest share that it takes of any one resource there. Nothing is lost:
workloads and idle add up to the bill, before and in the plan.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.allocatable import left_for_workloads
from gpuslice.cloud.catalog import DaemonsetOverhead, Purchase
from gpuslice.costs.pool_use import pool_uses
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.plan.comparison import comparison
from gpuslice.plan.paid_now import paid_now
from gpuslice.units import MIB, parse_cpu_milli, parse_quantity
from gpuslice.workloads.node_limits import room_for
from gpuslice.workloads.service_kinds import on_whole_gpus
from gpuslice.workloads.today import bill as bill_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gpuslice.cloud.catalog import Catalog, InstanceType
    from gpuslice.costs.pool_use import PoolUse
    from gpuslice.plan.artefact import Plan
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.today import Today

_A_CENT: Final = 0.01


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars an hour of one workload, or of one tenant's workloads.

    Attributes:
        name: the workload's or the tenant's.
        before: now, or with whole GPUs, as the bill says; None: not known.
        planned: in the plan, idle left out.
    """

    name: str
    before: float | None
    planned: float


@dataclass(frozen=True, slots=True)
class Before:
    """The bill that a plan's is put beside, dollars an hour.

    Attributes:
        name: "now", or "whole GPUs" where nothing is known of now.
        total: all of it.
        workloads: its parts by workload; empty: not known.
        idle: what falls to no workload, as no pod has it or packing wastes it; None: not known.
        left: of pods that the plan leaves where they are.
    """

    name: str
    total: float
    workloads: Mapping[str, float]
    idle: float | None = None
    left: float = 0.0


@dataclass(frozen=True, slots=True)
class Bill:
    """The whole bill, split.

    Attributes:
        workloads, tenants: the dearest in the plan first.
        idle: dollars an hour that the plan pays and no workload uses.
        planned: the sum, with nodes that go on beside the plan's.
        before: what it is put beside; None: nothing is known.
        left: of `planned`, nodes that go on for pods which the plan leaves where they are.
    """

    workloads: tuple[Cost, ...]
    tenants: tuple[Cost, ...]
    idle: float
    planned: float
    before: Before | None = None
    left: float = 0.0


def bill(plan: Plan, workloads: Sequence[Workload], catalog: Catalog, today: Today | None = None) -> Bill:
    """Split a plan's bill and what it is put beside.

    Args:
        plan: that keeps the rules.
        workloads: that it was made for.
        catalog: that it names.
        today: what runs and is paid for, as it was read with the workloads; None: not known.
    """
    planned: dict[str, float] = defaultdict(float)
    uses = pool_uses(plan, workloads, catalog)
    for (name, _), usd in paid(uses).items():
        planned[name] += usd
    idle = sum((use.idle if sum(use.parts.values()) else use.price) / 1e6 for use in uses)
    before = _before(plan, workloads, catalog, today)
    parts = {} if before is None else before.workloads
    placed = {assignment.workload for assignment in plan.assignments}
    costs = [
        Cost(workload.name, parts.get(workload.name), planned[workload.name])
        for workload in workloads
        if workload.name in placed
    ]
    tenant_of = {workload.name: workload.tenant for workload in workloads}
    left = 0.0
    if before is not None and before.name == "now":
        left = plan.summary.after_usd_per_hour - plan.summary.usd_per_hour
    return Bill(
        _dearest(costs),
        _dearest(_together(costs, tenant_of)),
        idle,
        sum(planned.values()) + idle + left,
        before,
        left,
    )


def paid(uses: Iterable[PoolUse]) -> dict[tuple[str, str], float]:
    """What each workload pays in each pool, dollars an hour, idle left out, by workload and pool.

    Args:
        uses: of all pools of a plan.
    """
    found = {}
    for use in uses:
        total = sum(use.parts.values())
        for name, part in use.parts.items():
            found[name, use.pool] = (use.price - use.idle) / 1e6 * part / total if total else 0.0
    return found


def paid_by_slice(plan: Plan, uses: Iterable[PoolUse]) -> dict[tuple[str, str], float]:
    """What each workload pays for each kind of slice, dollars an hour, idle left out, by workload and slice.

    Args:
        plan: in question.
        uses: of all its pools.
    """
    in_pool = paid(uses)
    replicas: dict[tuple[str, str], int] = defaultdict(int)
    for assignment in plan.assignments:
        replicas[assignment.workload, assignment.pool] += assignment.replicas
    found: dict[tuple[str, str], float] = defaultdict(float)
    for assignment in plan.assignments:
        key = (assignment.workload, assignment.pool)
        found[assignment.workload, assignment.slice] += (
            in_pool.get(key, 0.0) * assignment.replicas / replicas[key]
        )
    return dict(found)


def _before(
    plan: Plan, workloads: Sequence[Workload], catalog: Catalog, today: Today | None
) -> Before | None:
    """What the plan is put beside, by workload where that is known."""
    beside = comparison(plan.summary)
    if beside is None:
        return None
    placed = {assignment.workload for assignment in plan.assignments}
    if beside.name == "now":
        if today is None or abs(bill_of(today.nodes) - beside.before) >= _A_CENT:  # of another scan
            return Before(beside.name, beside.before, {})
        paid = paid_now(today, workloads, placed, catalog)
        return Before(beside.name, beside.before, paid.workloads, paid.idle, paid.left)
    alone = _alone_on_whole_gpus(workloads, placed, overhead(plan), catalog)
    if alone.keys() != placed:
        return Before(beside.name, beside.before, {})
    # A node may hold pods of several kinds that it couldn't hold as many of one kind of.
    most = min(1.0, beside.before / (sum(alone.values()) or 1.0))
    parts = {name: usd * most for name, usd in alone.items()}
    return Before(beside.name, beside.before, parts, beside.before - sum(parts.values()))


def _alone_on_whole_gpus(
    workloads: Sequence[Workload], placed: Collection[str], taken: DaemonsetOverhead, catalog: Catalog
) -> dict[str, float]:
    """Dollars an hour by workload of whole GPUs on nodes that its pods fill; who has no machine is absent."""
    found = {}
    for stated in workloads:
        workload = stated if stated.service is None else on_whole_gpus(stated, catalog)
        if workload is None or workload.name not in placed:
            continue
        price = whole_price(workload, taken, catalog)
        if price is not None:
            found[workload.name] = price * workload.replicas
    return found


def whole_price(workload: Workload, taken: DaemonsetOverhead, catalog: Catalog) -> float | None:
    """Dollars an hour of one replica that has whole GPUs: of the model that it runs on, else of the cheapest that fits.

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
    return min(
        machine.gpu_count // workload.need.gpus,
        left.holds(workload.cpu_milli, workload.memory_mib),
        *(room_for(take, machine) // take.amount for take in workload.takes),
    )


def _together(costs: Iterable[Cost], tenant_of: dict[str, str]) -> list[Cost]:
    grouped: dict[str, list[Cost]] = defaultdict(list)
    for cost in costs:
        grouped[tenant_of[cost.name]].append(cost)
    return [
        Cost(
            tenant,
            None
            if any(member.before is None for member in members)
            else sum(member.before or 0.0 for member in members),
            sum(member.planned for member in members),
        )
        for tenant, members in grouped.items()
    ]


def _dearest(costs: Iterable[Cost]) -> tuple[Cost, ...]:
    return tuple(sorted(costs, key=lambda cost: (-cost.planned, cost.name)))
