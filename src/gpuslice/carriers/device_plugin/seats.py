"""Seats: how a node comes to offer places for replicas of certain workloads.

A seat is an extended resource of one workload, `gpuslice.io/seat-<namespace>.<name>` (see `node_features`). Each pod
asks for one beside its slice, so that one template leads to many pools, and nobody else takes the place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.carriers.device_plugin import node_features
from gpuslice.carriers.device_plugin.terms import seats_offered
from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.objects.naming import content_name

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Pool

FEATURE: Final = "gpuslice.io/seats"
_DIGITS: Final = (
    10  # a mixed fleet has hundreds of different sets, of which nothing else tells one from another
)


def offered(pool: Pool) -> dict[str, str]:
    """The extended resources that stand for a pool's seats."""
    return {name: str(count) for name, count in seats_offered(pool).items()}


def seats_name(pool: Pool) -> str:
    """The feature's value: one for each set of seats."""
    content = "\n".join(f"{seat} {count}" for seat, count in offered(pool).items())
    return content_name("seats", content, digits=_DIGITS)


def rule(pool: Pool) -> Object:
    """The NodeFeatureRule that gives nodes the seats that their overlay promises."""
    return node_features.rule(FEATURE, seats_name(pool), offered(pool))


def user_data(pool: Pool) -> str:
    """User data of nodes with these seats."""
    return node_features.user_data(FEATURE, seats_name(pool))
