"""What a NodeClaim is launched as: Karpenter names the types that are left, EC2 takes the cheapest.

Karpenter v1.14.1 (ToNodeClaim) and its AWS provider v1.14.1 (pkg/providers/instance): filters, at most 60 types, one
capacity type for the launch. On demand, EC2 takes the lowest price. For spot it weighs price against the risk of being
interrupted, which nobody can foresee: the model takes the lowest price there too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.karpenter.model import Launch
from gpuslice.karpenter.requirements import CAPACITY_TYPE, Requirement, Requirements, among
from gpuslice.karpenter.templates import bits, offerings

if TYPE_CHECKING:
    from gpuslice.karpenter.model import InstanceType, Offering, Settings
    from gpuslice.karpenter.scheduler import Claim
    from gpuslice.karpenter.templates import Pools

RESERVED: Final = "reserved"
SPOT: Final = "spot"
ON_DEMAND: Final = "on-demand"
_MOST_NAMED: Final = 600
"""Instance types that a NodeClaim lists at most (core, MaxInstanceTypes)."""
_EXOTIC: Final = (
    "nvidia.com/gpu",
    "amd.com/gpu",
    "aws.amazon.com/neuron",
    "aws.amazon.com/neuroncore",
    "habana.ai/gaudi",
)


def launch(pools: Pools, claim: Claim) -> Launch | None:
    """What a NodeClaim becomes; None where EC2 has nothing to give."""
    key = (claim.template, claim.types, claim.state)
    if key not in pools.launches:
        types = [claim.template.types[at] for at in bits(claim.types)]
        pools.launches[key] = choose(types, pools.claims[claim.state], pools.settings)
    return pools.launches[key]


def choose(types: list[InstanceType], requirements: Requirements, settings: Settings) -> Launch | None:
    """What EC2 gives of these types under these requirements."""
    named = by_price(types, requirements)[:_MOST_NAMED]
    min_values = any(requirement.min_values is not None for requirement in requirements.values())
    if not min_values:
        named = _plain(named) or named
    allowed = requirements.get(CAPACITY_TYPE, Requirement(CAPACITY_TYPE, frozenset(), complement=True))
    dearest = _dearest_spot(named, requirements) if not min_values else None
    if dearest is not None:
        kept = [listed for listed in named if any(_worth(offer, dearest) for offer in listed.offerings)]
        named = kept or named
    named = named[: settings.launch_types]
    for capacity_type in (RESERVED, SPOT, ON_DEMAND):
        if not allowed.has(capacity_type):
            continue
        narrowed = {**requirements, CAPACITY_TYPE: among(CAPACITY_TYPE, capacity_type)}
        offers = [
            (offer, kind)
            for kind in named
            for offer in offerings(kind, narrowed)
            if dearest is None or _worth(offer, dearest)
        ]
        if offers:
            offer, kind = min(offers, key=lambda pair: (pair[0].price, pair[1].name, pair[0].zone))
            return Launch(kind, capacity_type, offer.zone, offer.price, tuple(kind.name for kind in named))
    return None


def by_price(types: list[InstanceType], requirements: Requirements) -> list[InstanceType]:
    """Cheapest first, by what can be bought under these requirements; equals by name."""
    priced = [
        (min((offer.price for offer in offerings(kind, requirements)), default=None), kind) for kind in types
    ]
    return [
        kind
        for price, kind in sorted(
            ((price, kind) for price, kind in priced if price is not None),
            key=lambda priced: (priced[0], priced[1].name),
        )
    ]


def worst_price(kind: InstanceType, requirements: Requirements) -> int | None:
    """The highest price at which a type may be launched: of reserved offerings, else of spot, else of on-demand."""
    offered = offerings(kind, requirements)
    for capacity_type in (RESERVED, SPOT, ON_DEMAND):
        prices = [offering.price for offering in offered if offering.capacity_type == capacity_type]
        if prices:
            return max(prices)
    return None


def _plain(types: list[InstanceType]) -> list[InstanceType]:
    """Types without accelerators that Karpenter knows by name, and not bare metal. Slices are no such accelerators."""
    return [
        kind
        for kind in types
        if "metal" not in kind.name.partition(".")[2] and not any(kind.capacity.get(key) for key in _EXOTIC)
    ]


def _dearest_spot(types: list[InstanceType], requirements: Requirements) -> int | None:
    """Above which price spot is not taken: the cheapest on-demand one, where both are allowed and to be had."""
    offered = [offering for kind in types for offering in offerings(kind, requirements)]
    on_demand = [offering.price for offering in offered if offering.capacity_type == ON_DEMAND]
    has_spot = any(offering.capacity_type == SPOT for offering in offered)
    return min(on_demand) if on_demand and has_spot else None


def _worth(offer: Offering, dearest_spot: int) -> bool:
    return offer.capacity_type != SPOT or offer.price <= dearest_spot
