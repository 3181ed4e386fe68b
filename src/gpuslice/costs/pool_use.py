"""How full the nodes of each pool are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuslice.carriers.table import carrier_asked
from gpuslice.cloud.catalog import Purchase
from gpuslice.units import parse_cpu_milli, parse_memory_mib

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Assignment, Plan, Pool
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class PoolUse:
    """How full the nodes of a pool are.

    Attributes:
        pool: its name.
        price: micro-dollars per hour of all its nodes.
        used: share used, by resource: "slots", "cpu", "memory", and on metered pools "gpu-memory" and "gpu-time".
        idle: micro-dollars per hour of what the fullest resource of each node leaves unused.
        parts: the rest, by workload, micro-dollars per hour: of each node that it is on, by the largest share that it
            takes of any one resource there.
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
    uses_of_pools = []
    for pool in plan.pools:
        assigned = {
            assignment.workload: assignment for assignment in plan.assignments if assignment.pool == pool.name
        }
        together = _Amounts()
        price, idle = 0, 0.0
        parts: dict[str, float] = defaultdict(float)
        for node in pool.nodes:
            kind = types[node.instance_type]
            has = {
                "cpu": kind.allocatable_cpu_milli - overhead_cpu,
                "memory": kind.allocatable_memory_mib - overhead_memory,
            }
            if pool.layout.metered:  # slots are only a cap there
                has |= {"gpu-memory": _mib(pool.layout.metered.memory), "gpu-time": pool.layout.metered.time}
            else:
                has["slots"] = _slots(plan, pool.name, max(kind.gpu_count, 1))
            taken = {
                name: {
                    resource: amount * count
                    for resource, amount in _takes(by_name[name], assigned.get(name), pool).items()
                }
                for name, count in node.pods.items()
            }
            bill = kind.prices[Purchase(node.purchase)] * node.count
            left, paid = _split(bill, has, taken)
            price, idle = price + bill, idle + left
            for name, part in paid.items():
                parts[name] += part
            together.add(has, taken.values(), node.count)
        uses_of_pools.append(PoolUse(pool.name, price, together.shares(), int(idle), dict(parts)))
    return tuple(sorted(uses_of_pools, key=lambda pool_use: (-pool_use.price, pool_use.pool)))


class _Amounts:
    """What nodes have of each resource, and what of it is taken."""

    def __init__(self) -> None:
        self._has: dict[str, int] = defaultdict(int)
        self._taken: dict[str, int] = defaultdict(int)

    def add(self, has: Mapping[str, int], taken: Iterable[Mapping[str, int]], nodes: int) -> None:
        """So many nodes that are alike: what each has, and what each of those on it takes."""
        for resource, amount in has.items():
            self._has[resource] += amount * nodes
        for takes in taken:
            for resource, amount in takes.items():
                self._taken[resource] += amount * nodes

    def shares(self) -> dict[str, float]:
        """The share of each resource that is taken."""
        return {resource: self._taken[resource] / amount for resource, amount in self._has.items() if amount}


def _takes(workload: Workload, assignment: Assignment | None, pool: Pool) -> dict[str, int]:
    """What one pod takes of each resource of a node."""
    takes = {"cpu": workload.cpu_milli, "memory": workload.memory_mib}
    if not pool.layout.metered:
        return takes | {"slots": workload.need.gpus}
    memory, time = (0, 0) if assignment is None else _metered(assignment, workload)
    return takes | {"gpu-memory": memory, "gpu-time": time}


def _split(
    price: int, has: Mapping[str, int], taken: Mapping[str, Mapping[str, int]]
) -> tuple[float, dict[str, float]]:
    """A node's price: what its fullest resource leaves unused, and the rest by workload."""
    counted = [resource for resource, amount in has.items() if amount]
    fullest = max(
        (sum(takes[resource] for takes in taken.values()) / has[resource] for resource in counted),
        default=0.0,
    )
    largest = {
        name: max((takes[resource] / has[resource] for resource in counted), default=0.0)
        for name, takes in taken.items()
    }
    total = sum(largest.values())
    idle = price * max(0.0, 1 - fullest) if total else float(price)
    return idle, {name: (price - idle) * part / total if total else 0.0 for name, part in largest.items()}


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
