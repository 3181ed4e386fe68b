"""In which order a plan's objects are written, so that no pool gets nodes that aren't what Karpenter takes them for.

Karpenter (v1.14.1) plans nothing for a NodePool until it has looked at all overlays together with it, and judges an
overlay also before there is a NodePool that it is for. One that it refuses it leaves out, and plans the pool without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gpuslice.cluster.apply.journal import Edit, Put, Work
from gpuslice.cluster.client.objects import Requirement
from gpuslice.cluster.client.resources import NODE_OVERLAY, NODE_POOL
from gpuslice.workloads.objects import convert, fields_of

_POOL: Final = "karpenter.sh/nodepool"


def in_turn(setting: Sequence[Put | Edit]) -> tuple[list[Put | Edit], list[Put | Edit]]:
    """What is written before any pool, its overlays among it; then the pools.

    Where a pool is there already, it and its overlays change one right after the other: between the two, Karpenter may
    launch nodes that are promised to be what they are not.
    """
    there = {write.ref.name for write in setting if write.ref.is_a(NODE_POOL) and not _created(write)}
    beside = [
        write for write in setting if write.ref.is_a(NODE_OVERLAY) and (of := _scope(write)) and of <= there
    ]
    first = [write for write in setting if not write.ref.is_a(NODE_POOL) and write not in beside]
    pools: list[Put | Edit] = []
    for pool in setting:
        if pool.ref.is_a(NODE_POOL):
            pools += [
                overlay for overlay in beside if pool.ref.name in _scope(overlay) and overlay not in pools
            ]
            pools.append(pool)
    return first, pools


def _created(work: Work) -> bool:
    return isinstance(work, Put) and work.created


def _scope(work: Work) -> frozenset[str]:
    """The NodePools that an overlay of ours is for."""
    requirements = fields_of(work.object, "spec").get("requirements") if isinstance(work, Put) else None
    return frozenset(
        name
        for one in convert(requirements or [], tuple[Requirement, ...], work.ref.title)
        if one.key == _POOL and one.operator == "In"
        for name in one.values
    )
