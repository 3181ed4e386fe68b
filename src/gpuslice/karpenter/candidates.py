"""Which nodes Karpenter would consider taking away, and how many of a pool may be going at once.

Karpenter v1.14.1, pkg/controllers/disruption and pkg/controllers/nodeclaim/disruption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gpuslice.karpenter.model import Node, NodePool, PodClass, Policy, Reason
from gpuslice.karpenter.templates import Pools

_UNLIMITED: Final = 2**31 - 1
_MOST_COST: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A node that may go.

    Attributes:
        node: itself.
        price: of what it runs on, as Karpenter knows it now; 0 where it doesn't.
        cost: of disrupting it: 1 for the node, and for each pod 1 as changed by priority and deletion cost.
    """

    node: Node
    price: int
    cost: float

    @property
    def empty(self) -> bool:
        """Whether no pod counts against taking it away."""
        return self.cost <= 1

    @property
    def worth(self) -> float:
        """Dollars for each unit of disruption: the most worthwhile is tried first."""
        return self.price / self.cost


def candidates(pools: Pools, nodes: Iterable[Node], now: float, reason: Reason) -> list[Candidate]:
    """The nodes that may be taken away for a reason, the most worthwhile first, equals by name.

    Karpenter orders equals in any way: it walks a Go map.
    """
    listed = []
    for node in nodes:
        pool = pools.by_name.get(node.pool)
        if pool is None or why_stays(pool, node, now) is not None:
            continue
        candidate = Candidate(
            node, _price(pool, node), 1 + sum(max(0.0, _eviction(pod.kind)) for pod in node.pods)
        )
        if candidate.empty != (reason is Reason.EMPTY):
            continue
        if reason is Reason.UNDERUTILIZED and (
            pool.policy is Policy.WHEN_EMPTY
            or all(kind.name != node.instance_type for kind in pool.instance_types)
        ):
            continue
        listed.append(candidate)
    return sorted(listed, key=lambda candidate: (-candidate.worth, candidate.node.name))


def why_stays(pool: NodePool, node: Node, now: float) -> str | None:
    """Why a node isn't considered at all; None where it is."""
    if not node.initialized:
        return "it is not initialized"
    if node.deleting:
        return "it is going already"
    if node.nominated_until > now:
        return "pods were promised to it a moment ago"
    if node.do_not_disrupt:
        return "it has karpenter.sh/do-not-disrupt"
    for pod in node.pods:
        if pod.kind.do_not_disrupt:
            return f"a pod of {pod.kind.name} has karpenter.sh/do-not-disrupt"
        if pod.kind.unavailable == 0:
            return f"a PodDisruptionBudget lets no pod of {pod.kind.name} go"
    if pool.consolidate_after is None:
        return "its pool's consolidateAfter is Never"
    if settling(pool, node, now):
        return f"its pool waits {pool.consolidate_after:g} s after the last change of its pods"
    return None


def settling(pool: NodePool, node: Node, now: float) -> bool:
    """Whether the pool's consolidateAfter isn't over since pods last came or went."""
    if not node.initialized or not pool.consolidate_after:
        return False
    since = node.last_pod_event if node.last_pod_event is not None else node.initialized_at
    return now - (since or 0) < pool.consolidate_after


def budgets(pools: Pools, nodes: Sequence[Node], reason: Reason) -> dict[str, int]:
    """How many more nodes of each pool may go for a reason."""
    there = Counter(node.pool for node in nodes if node.initialized)
    going = Counter(node.pool for node in nodes if node.initialized and node.deleting)
    return {
        name: max(0, allowed(pool, there[name], reason) - going[name]) for name, pool in pools.by_name.items()
    }


def allowed(pool: NodePool, nodes: int, reason: Reason) -> int:
    """How many of so many nodes a pool's budgets let go at once. A share is rounded up."""
    least = _UNLIMITED
    for budget in pool.budgets:
        if budget.reasons and reason not in budget.reasons:
            continue
        text = budget.nodes
        most = -(-nodes * int(text[:-1]) // 100) if text.endswith("%") else int(text)
        least = min(least, most)
    return least


def _price(pool: NodePool, node: Node) -> int:
    """What the node's offering costs by what Karpenter knows now, available or not."""
    for kind in pool.instance_types:
        if kind.name == node.instance_type:
            for offering in kind.offerings:
                if (offering.zone, offering.capacity_type) == (node.zone, node.capacity_type):
                    return offering.price
    return 0


def _eviction(kind: PodClass) -> float:
    cost = 1 + kind.deletion_cost / 2**27 + kind.priority / 2**25
    return max(-_MOST_COST, min(_MOST_COST, cost))


def within_budgets(listed: Iterable[Candidate], left: Mapping[str, int]) -> tuple[list[Candidate], bool]:
    """The candidates that budgets let go, in their order, and whether any was held back."""
    remaining = dict(left)
    let_go, held = [], False
    for candidate in listed:
        if remaining.get(candidate.node.pool, 0) == 0:
            held = True
            continue
        remaining[candidate.node.pool] -= 1
        let_go.append(candidate)
    return let_go, held
