"""From a NodeClaim to a node: launched, then ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.karpenter.model import Node
from gpuslice.karpenter.requirements import CAPACITY_TYPE, INSTANCE_TYPE, NODE_POOL, ZONE

if TYPE_CHECKING:
    from gpuslice.karpenter.provision import NewNode
    from gpuslice.karpenter.templates import Pools


def started(pools: Pools, new: NewNode, name: str, now: float) -> Node:
    """The NodeClaim of a new node, launched: what Karpenter counts on until the node has come up.

    Args:
        pools: of the cluster.
        new: what was decided. It must have been launched.
        name: of the NodeClaim; nodes are ordered by name.
        now: seconds.
    """
    assert new.launch is not None  # noqa: S101  nothing is started that EC2 didn't give
    pool, template, kind = pools.by_name[new.pool], new.claim.template, new.launch.instance_type
    # One value known is the value; of several that a label may have, Karpenter takes any one.
    required = {
        key: min(requirement.values)
        for key, requirement in sorted(new.requirements.items())
        if requirement.values and not requirement.complement
    }
    at = next(at for at, listed in enumerate(template.types) if listed.name == kind.name)
    labels = {
        **required,
        **template.labels[at],
        **pool.labels,
        NODE_POOL: pool.name,
        INSTANCE_TYPE: kind.name,
        CAPACITY_TYPE: new.launch.capacity_type,
        ZONE: new.launch.zone,
    }
    return Node(
        name=name,
        pool=pool.name,
        labels=labels,
        capacity=dict(template.types[at].capacity),
        allocatable=template.types[at].allocatable(),
        instance_type=kind.name,
        capacity_type=new.launch.capacity_type,
        zone=new.launch.zone,
        price=new.launch.price,
        taints=pool.taints,
        daemons=dict(template.daemons[at]),
        initialized=False,
        created=now,
        initialized_at=None,
    )


def come_up(node: Node, now: float) -> None:
    """The node is ready, and offers what its NodeClaim promised."""
    node.initialized = True
    node.initialized_at = now
