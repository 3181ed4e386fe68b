"""How full the nodes of each pool are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuslice.carriers.table import carrier_asked
from gpuslice.cloud.catalog import Purchase
from gpuslice.units import parse_cpu_milli, parse_memory_mib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Assignment, Plan
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class PoolUse:
    """How full the nodes of a pool are.

    Attributes:
        pool: its name.
        price: micro-dollars per hour of all its nodes.
        used: share used, by resource: "slots", "cpu", "memory", and on metered pools "gpu-memory" and "gpu-time".
        idle: micro-dollars per hour of what its fullest resource leaves unused.
        parts: by workload, the largest share that it takes of any one resource.
    """

    pool: str
    price: int
    used: dict[str, float]
    idle: int
    parts: dict[str, float]

    @property
    def binds(self) -> str:
        """The resource that is used most; "" in a pool without nodes."""
        return max(self.used, key=lambda resource: self.used[resource], default="")


def pool_uses(plan: Plan, workloads: Sequence[Workload], catalog: Catalog) -> tuple[PoolUse, ...]:
    """What binds each pool, and what stays idle, dearest first.

    Args:
        plan: to explain.
        workloads: that it was made for.
        catalog: that it was made with.
    """
    by_name, types = {workload.name: workload for workload in workloads}, catalog.by_name()
    overhead_cpu, overhead_memory = parse_cpu_milli(plan.overhead.cpu), _mib(plan.overhead.memory)
    found = []
    for pool in plan.pools:
        uses: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))  # by workload
        have: dict[str, int] = defaultdict(int)
        price = 0
        assigned = {
            assignment.workload: assignment for assignment in plan.assignments if assignment.pool == pool.name
        }
        for node in pool.nodes:
            each = types[node.instance_type]
            price += each.prices[Purchase(node.purchase)] * node.count
            have["cpu"] += (each.allocatable_cpu_milli - overhead_cpu) * node.count
            have["memory"] += (each.allocatable_memory_mib - overhead_memory) * node.count
            have["slots"] += _slots(plan, pool.name, max(each.gpu_count, 1)) * node.count
            for name, count in node.pods.items():
                workload = by_name[name]
                use, pods = uses[name], count * node.count
                use["cpu"] += workload.cpu_milli * pods
                use["memory"] += workload.memory_mib * pods
                use["slots"] += workload.need.gpus * pods
                if pool.layout.metered and name in assigned:
                    memory, time = _metered(assigned[name], workload)
                    use["gpu-memory"] += memory * pods
                    use["gpu-time"] += time * pods
            if pool.layout.metered:
                have["gpu-memory"] += _mib(pool.layout.metered.memory) * node.count
                have["gpu-time"] += pool.layout.metered.time * node.count
        if pool.layout.metered:
            have.pop("slots", None)  # only a cap there
        have = {name: amount for name, amount in have.items() if amount}
        shares = {name: sum(use[name] for use in uses.values()) / have[name] for name in have}
        parts = {name: max(use[each] / have[each] for each in have) for name, use in uses.items()}
        fullest = max(shares.values(), default=0.0)
        found.append(PoolUse(pool.name, price, shares, int(price * max(0.0, 1 - fullest)), parts))
    return tuple(sorted(found, key=lambda each: (-each.price, each.pool)))


def _metered(assignment: Assignment, workload: Workload) -> tuple[int, int]:
    """MiB and thousandths of a metered GPU that one pod takes: as it asks, or, with a seat, as it needs."""
    share = carrier_asked(assignment.asks).share(assignment.asks)
    if share is not None:
        return share.memory_mib, share.time_milli
    return workload.need.memory_mib or 0, round(1000 * (assignment.utilisation or 0))


def _slots(plan: Plan, pool_name: str, gpus: int) -> int:
    """Slots of one node."""
    layout = next(pool.layout for pool in plan.pools if pool.name == pool_name)
    if layout.geometries:
        return sum(entry.count for geometry in layout.geometries for entry in geometry)
    if layout.geometry:
        return sum(entry.count for entry in layout.geometry) * gpus
    return (layout.replicas or 1) * gpus


def _mib(text: str) -> int:
    return 0 if text.startswith("0") else parse_memory_mib(text)
