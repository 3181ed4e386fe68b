"""What NodeOverlays make of instance types, pool by pool, and which overlays Karpenter refuses.

Karpenter v1.14.1, pkg/controllers/nodeoverlay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from gpuslice.karpenter.model import InstanceType, NodePool, Offering, Overlay
from gpuslice.karpenter.requirements import NODE_POOL, Requirements, among, combined, labelled, obstacle


@dataclass(frozen=True, slots=True)
class Overlaid:
    """Pools whose instance types are as overlays make them.

    Attributes:
        pools: as given, with other instance types.
        priced: (pool, instance type) whose price an overlay has set: EC2 is then asked to take the cheapest by these.
        refused: names of the overlays that conflict with another one: they serve no pool at all.
    """

    pools: tuple[NodePool, ...]
    priced: frozenset[tuple[str, str]]
    refused: tuple[str, ...]


@dataclass(slots=True)
class _Change:
    """What overlays have set so far for one instance type of one pool, and the last of them."""

    capacity: dict[str, int] = field(default_factory=dict)
    last: frozenset[str] = frozenset()
    last_weight: int = 0
    prices: dict[tuple[str, str], Overlay] = field(default_factory=dict)
    price_weights: dict[tuple[str, str], int] = field(default_factory=dict)


def overlaid(pools: Sequence[NodePool], overlays: Iterable[Overlay]) -> Overlaid:
    """Apply overlays: by weight, the highest first, equals by name, the last first; what is set stays.

    An overlay that sets what another one of its weight has set for the same instance type of a pool is refused, for
    all pools.
    """
    changes: dict[tuple[str, str], _Change] = {}
    refused = []
    labelled_types = [
        (
            pool.name,
            among(NODE_POOL, pool.name),
            [(kind, _labels(pool, kind)) for kind in pool.instance_types],
        )
        for pool in pools
    ]
    for overlay in sorted(overlays, key=lambda overlay: (overlay.weight, overlay.name), reverse=True):
        wanted = combined(overlay.requirements)
        of = wanted.get(NODE_POOL)
        touched = [
            (pool, kind, offerings)
            for pool, name, kinds in labelled_types
            if of is None or name.intersects(of)  # most are for one pool, and there may be hundreds
            for kind, labels in kinds
            if (offerings := _matching(kind, labels, wanted))
        ]
        if any(
            _conflicts(changes.get((pool, kind.name)), overlay, offerings)
            for pool, kind, offerings in touched
        ):
            refused.append(overlay.name)
            continue
        for pool, kind, offerings in touched:
            _note(changes.setdefault((pool, kind.name), _Change()), overlay, offerings)
    return Overlaid(
        tuple(
            replace(
                pool,
                instance_types=tuple(
                    _changed(kind, changes.get((pool.name, kind.name))) for kind in pool.instance_types
                ),
            )
            for pool in pools
        ),
        frozenset(key for key, change in changes.items() if change.prices),
        tuple(refused),
    )


def _labels(pool: NodePool, kind: InstanceType) -> Requirements:
    """What an overlay can choose a type of a pool by: of the pool itself its labels, not its requirements."""
    return combined(
        (among(NODE_POOL, pool.name),), labelled(pool.labels).values(), kind.requirements().values()
    )


def _matching(kind: InstanceType, labels: Requirements, wanted: Requirements) -> list[Offering]:
    """The offerings that an overlay with these requirements is for."""
    if obstacle(labels, wanted, undefined=False) is not None:
        return []
    return [
        offering
        for offering in kind.offerings
        if obstacle(wanted, offering.requirements(), undefined=True) is None
    ]


def _conflicts(change: _Change | None, overlay: Overlay, offerings: Iterable[Offering]) -> bool:
    if change is None:
        return False
    if change.last_weight == overlay.weight and change.last & overlay.capacity.keys():
        return True
    return _sets_price(overlay) and any(
        change.price_weights.get((offering.capacity_type, offering.zone)) == overlay.weight
        for offering in offerings
    )


def _note(change: _Change, overlay: Overlay, offerings: Iterable[Offering]) -> None:
    if _sets_price(overlay):
        for offering in offerings:
            key = (offering.capacity_type, offering.zone)
            change.prices.setdefault(key, overlay)
            change.price_weights[key] = overlay.weight
    if overlay.capacity:
        change.capacity = {**overlay.capacity, **change.capacity}
        change.last, change.last_weight = frozenset(overlay.capacity), overlay.weight


def _sets_price(overlay: Overlay) -> bool:
    return overlay.price is not None or bool(overlay.adjustment)


def _changed(kind: InstanceType, change: _Change | None) -> InstanceType:
    if change is None:
        return kind
    return replace(
        kind,
        capacity={**kind.capacity, **change.capacity},
        offerings=tuple(
            replace(offering, price=_price(offering.price, change.prices[key]))
            if (key := (offering.capacity_type, offering.zone)) in change.prices
            else offering
            for offering in kind.offerings
        ),
    )


def _price(price: int, overlay: Overlay) -> int:
    if overlay.price is not None:
        return overlay.price
    text = overlay.adjustment
    if text.endswith("%"):
        return max(0, round(price * (1 + float(text[:-1]) / 100)))
    return max(0, price + round(float(text) * 1_000_000))
