"""What the verifier knows of seats: that there is one for each planned replica, on nodes that can carry all of them.

Like the rest of the verifier it shares no code with the parts of the planner that make plans.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import is_seat
from gpuslice.hardware.stacks import Stack
from gpuslice.verifier.layouts import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.plan.artefact import Asks, Assignment, Plan, Pool


def renamed(pool: Pool) -> bool:
    """Whether a pool's whole GPUs are offered under the name of shared ones."""
    return Mechanism(pool.layout.mechanism) is Mechanism.WHOLE and pool.as_shared


def counted(asks: Asks) -> bool:
    """Whether a pod asks for memory or time of a metered GPU."""
    return asks.gpu_memory is not UNSET or asks.gpu_time is not UNSET


def misnamed(pool: Pool, types: Iterable[InstanceType]) -> bool:
    """Whether they are so, and may not: the kubelet could give two pods the same GPU, if there are two of either."""
    return renamed(pool) and (sum(pool.seats.values()) != 1 or any(kind.gpu_count != 1 for kind in types))


def seat_violations(plan: Plan) -> Iterator[Violation]:
    """What is wrong with seats, whatever they are for."""
    pools = {pool.name: pool for pool in plan.pools}
    own: Counter[str] = Counter()
    for pool in plan.pools:
        where = f"pool {pool.name}"
        if not pool.seats:
            if pool.max_nodes is not UNSET:
                yield Violation("seats", where, "has no seats, and yet no more than so many nodes")
            continue
        if Stack(plan.stack) is Stack.BOTTLEROCKET:
            yield Violation("seats", where, "nothing tells Bottlerocket's nodes of seats")
        if pool.max_nodes is UNSET:
            own.update(pool.seats.keys())
            yield from _own(pool, where)
        else:
            yield from _limited(pool, where)
    yield from _names(plan)
    by_workload: dict[str, list[Assignment]] = defaultdict(list)
    for assignment in plan.assignments:
        by_workload[assignment.workload].append(assignment)
    for name, assigned in sorted(by_workload.items()):
        yield from _workload(name, assigned, pools, own)


def _names(plan: Plan) -> Iterator[Violation]:
    """Nobody takes somebody else's seat, nor anything else by that name."""
    whose: dict[str, str] = {}
    for pool in plan.pools:
        for workload in pool.seats:
            name = pool.seat_of(workload)
            if not is_seat(name) or whose.setdefault(name, workload) != workload:
                yield Violation("seats", f"pool {pool.name}", f"{name} is no seat of {workload} alone")
        if not pool.seat_names.keys() <= pool.seats.keys():
            yield Violation("seats", f"pool {pool.name}", "names seats that it hasn't")


def _own(pool: Pool, where: str) -> Iterator[Violation]:
    """Of the pool of one workload all nodes are full, but for one."""
    if len(pool.seats) != 1:
        yield Violation("seats", where, f"may grow, and has seats for {len(pool.seats)} workloads: one may")
        return
    ((name, seats),) = pool.seats.items()
    rest = [node for node in pool.nodes if node.pods != {name: seats}]
    if sum(node.count for node in rest) > 1 or any(
        node.pods.keys() != {name} or node.pods[name] > seats for node in rest
    ):
        yield Violation(
            "seats", where, "more than one of its nodes is not full, or carries others than it may"
        )


def _limited(pool: Pool, where: str) -> Iterator[Violation]:
    """With a seat left free, there would be a pod that could go elsewhere, and Karpenter would choose."""
    if sum(node.count for node in pool.nodes) != pool.max_nodes:
        yield Violation("seats", where, f"may have {pool.max_nodes} nodes, and has others planned")
    if any(node.pods != pool.seats for node in pool.nodes):
        yield Violation("seats", where, "a node carries something else than it has seats for")


def _workload(
    name: str, assigned: list[Assignment], pools: Mapping[str, Pool], own: Counter[str]
) -> Iterator[Violation]:
    seated = [bool(pools[assignment.pool].seats) for assignment in assigned if assignment.pool in pools]
    if not any(seated):
        if any(assignment.asks.seat for assignment in assigned):
            yield Violation("seats", name, "asks for a seat where there are none")
        return
    if not all(seated):
        yield Violation("seats", name, "has seats in one pool and none in another")
    names = {pool.seat_of(name) for pool in pools.values() if name in pool.seats}
    if {assignment.asks.seat for assignment in assigned} != names or len(names) != 1:
        yield Violation("seats", name, f"asks for another seat than its own: {', '.join(sorted(names))}")
    if any(counted(assignment.asks) for assignment in assigned):
        yield Violation("request", name, "has a seat: what that is sized for isn't asked for again")
    if (
        len(
            {
                (assignment.asks.resource, assignment.asks.count, assignment.memory_limit)
                for assignment in assigned
            }
        )
        > 1
    ):
        yield Violation("one-template", name, "its pods are alike, and can't ask for different things")
    # Frameworks are told a share of the memory that they see: of another GPU that is something else.
    limited = any(assignment.memory_limit is not UNSET for assignment in assigned)
    if limited and len({pool.layout.gpu for pool in pools.values() if name in pool.seats}) > 1:
        yield Violation(
            "one-template", name, "its memory's limit is a share of one GPU, and it has seats on others"
        )
    if own[name] != 1:
        yield Violation("seats", name, f"has {own[name]} pools of its own: one is where more of it may go")
