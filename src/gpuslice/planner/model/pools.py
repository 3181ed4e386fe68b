"""Pools, and where replicas go."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from gpuslice.cloud.catalog import Purchase
from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import pods_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuslice.planner.model.cuts import Cut, GpuGeometry
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.places import Place, SliceIndex


class PoolKey(NamedTuple):
    """What makes nodes one pool: the same cut, for the same group; with MIG the same geometry.

    Attributes:
        cut: options of one cut share the object.
        geometries: MIG's: one where all GPUs of a node are cut alike, else one per GPU.
        spot: whether its nodes are spot: who may not be interrupted must never land there.
    """

    cut: Cut
    geometries: tuple[GpuGeometry, ...]
    spot: bool


class Home(NamedTuple):
    """Where replicas go: a pool, and the slice that they ask for there."""

    pool: PoolKey
    slice_index: SliceIndex


def pool_of(pattern: Pattern) -> PoolKey:
    """The pool that a node with this load belongs to."""
    geometries = pattern.geometries
    if len(set(geometries)) == 1:
        geometries = geometries[:1]
    return PoolKey(pattern.option.cut, geometries, pattern.option.purchase is Purchase.SPOT)


def instances_of(option: NodeOption, geometries: tuple[GpuGeometry, ...]) -> tuple[int, ...]:
    """MIG instances of a node, by slice index of its cut."""
    total: Counter[int] = Counter()
    for geometry in geometries if len(geometries) > 1 else geometries * option.units:
        total.update(dict(geometry))
    return tuple(total[where] for where in range(len(option.cut.slices)))


def pattern_of(option: NodeOption, pool: PoolKey, counts: Mapping[Place, int]) -> Pattern:
    """A node of a pool that carries so many replicas by place."""
    geometries = pool.geometries * option.units if len(pool.geometries) == 1 else pool.geometries
    return Pattern(option, pods_at(counts), geometries)
