"""Provisioning: what Karpenter does with the pods that are pending at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpuslice.karpenter.launch import launch
from gpuslice.karpenter.model import Launch, Node, Pod
from gpuslice.karpenter.requirements import Requirements
from gpuslice.karpenter.scheduler import Claim, Pass
from gpuslice.karpenter.templates import Pools, bits


@dataclass(frozen=True, slots=True, eq=False)
class NewNode:
    """A NodeClaim to be made.

    Attributes:
        pool: its NodePool.
        pods: for which it is made, in the order in which they came.
        types: instance types on which all of them fit, cheapest first.
        requirements: of the node.
        launch: what it becomes; None where EC2 has none of these to give.
        claim: how it came about.
    """

    pool: str
    pods: tuple[Pod, ...]
    types: tuple[str, ...]
    requirements: Requirements
    launch: Launch | None
    claim: Claim


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What one pass decides.

    Attributes:
        to_nodes: pods by the node that is there for them, or on its way.
        new: NodeClaims, in the order in which they were opened.
        failed: pods that nothing fits.
    """

    to_nodes: dict[str, tuple[Pod, ...]]
    new: tuple[NewNode, ...]
    failed: tuple[Pod, ...]

    @property
    def price(self) -> int:
        """Micro-dollars an hour of what is launched."""
        return sum(node.launch.price for node in self.new if node.launch is not None)


def provision(pools: Pools, nodes: Sequence[Node], pending: Iterable[Pod]) -> Decision:
    """Decide where pending pods go.

    Args:
        pools: of the cluster.
        nodes: all of them, also those on their way; those that are going take no pods.
        pending: without a node, also those for whom a node is on its way.
    """
    done = Pass(pools, [node for node in nodes if not node.deleting])
    done.place(pending)
    return Decision(
        {held.node.name: tuple(held.pods) for held in done.existing if held.pods},
        tuple(new_node(pools, claim) for claim in done.claims),
        tuple(done.failed),
    )


def new_node(pools: Pools, claim: Claim) -> NewNode:
    """A NodeClaim, with what it will be launched as."""
    chosen = launch(pools, claim)
    names = [claim.template.types[at].name for at in bits(claim.types)]
    named = () if chosen is None else chosen.named
    rest = sorted(set(names) - set(named))
    return NewNode(
        claim.template.pool.name,
        tuple(claim.pods),
        (*named, *rest),
        pools.claims[claim.state],
        chosen,
        claim,
    )
