"""What a NodePool may grow to: rendered, and reckoned with in the model of Karpenter."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuslice.carriers.table import carrier_of
from gpuslice.karpenter.model import NODES
from gpuslice.plan.defaults import NODE_ROOM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.plan.artefact import Assignment, Pool


def limits_of(
    pool: Pool, stack: str, types: Iterable[InstanceType], replicas: Mapping[str, int]
) -> dict[str, int]:
    """What the pool may grow to: nodes, and slices; with so many nodes and no more, their seats.

    Karpenter counts nodes only between batches: a thousand new pods at once would pass the first limit (seen with
    v1.14.1). What nodes offer it takes off as it opens them, each as if it were of the type that offers most; so it is
    that type's slices that the room is reckoned in, and the planned nodes are never held up.

    Args:
        pool: of the plan.
        stack: "al2023" or "bottlerocket".
        types: the pool's instance types.
        replicas: of each workload with seats, in all pools together; see `seated_replicas`.

    Returns:
        By resource, `NODES` among them; empty where nobody is planned there.
    """
    carrier = carrier_of(pool, stack)
    if seats_only := carrier.limits(pool):
        return dict(seats_only)
    # A workload's own pool takes all of it, if it must.
    alone = [-(-replicas.get(workload, 0) // count) for workload, count in pool.seats.items()]
    room = NODE_ROOM * max(sum(node.count for node in pool.nodes), *alone, 0)
    if not room:
        return {}
    most: Counter[str] = Counter()
    for machine in types:
        most |= Counter(carrier.offers(pool, machine).pieces)
    return {NODES: room} | {name: room * amount for name, amount in sorted(most.items()) if amount}


def seated_replicas(assignments: Iterable[Assignment]) -> Counter[str]:
    """The replicas of each workload with seats, in all pools together."""
    replicas: Counter[str] = Counter()
    for assignment in assignments:
        if assignment.asks.seat:
            replicas[assignment.workload] += assignment.replicas
    return replicas
