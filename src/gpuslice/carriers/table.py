"""The carriers by name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from gpuslice.carriers.device_plugin.carrier import NAME, DevicePlugin
from gpuslice.hardware.stacks import Stack
from gpuslice.plan.artefact import Extended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuslice.carriers.carrier import Carrier, Kind
    from gpuslice.plan.artefact import Asks, Plan, Pool

DEVICE_PLUGIN: Final = NAME
_CARRIERS: Final[Mapping[str, Callable[[Stack], Carrier]]] = {DEVICE_PLUGIN: DevicePlugin}
_ASKED: Final[Mapping[type[Asks], str]] = {Extended: DEVICE_PLUGIN}

NAMES: Final = tuple(_CARRIERS)
"""The names of all carriers."""


@cache
def carrier(name: str, stack: str) -> Carrier:
    """A carrier on nodes of a stack.

    Args:
        name: of NAMES.
        stack: "al2023" or "bottlerocket".
    """
    return _CARRIERS[name](Stack(stack))


def carrier_of(pool: Pool, stack: str) -> Carrier:
    """The carrier of a pool of a plan for a stack."""
    return carrier(pool.carrier, stack)


def kinds() -> tuple[Kind, ...]:
    """The kinds of all carriers' own objects, in the order in which they are written."""
    return tuple(dict.fromkeys(kind for name in NAMES for kind in carrier(name, Stack.AL2023).kinds))


def carriers_of(plan: Plan) -> list[tuple[Carrier, list[Pool]]]:
    """The carriers of a plan, each with its pools."""
    return [
        (carrier(name, plan.stack), [pool for pool in plan.pools if pool.carrier == name]) for name in NAMES
    ]


def carrier_asked(asks: Asks) -> Carrier:
    """The carrier that is asked so; what pods say doesn't depend on what nodes run."""
    return carrier(_ASKED[type(asks)], Stack.AL2023)
