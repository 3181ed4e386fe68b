"""The carriers by name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from gpuslice.carriers.device_plugin.carrier import NAME, DevicePlugin
from gpuslice.hardware.stacks import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuslice.carriers.carrier import Carrier, Kind
    from gpuslice.plan.artefact import Assignment, Plan, Pool

DEVICE_PLUGIN: Final = NAME
_CARRIERS: Final[Mapping[str, Callable[[Stack], Carrier]]] = {DEVICE_PLUGIN: DevicePlugin}

NAMES: Final = tuple(_CARRIERS)
"""All of them."""


@cache
def carrier(name: str, stack: str) -> Carrier:
    """A carrier on nodes of a stack.

    Args:
        name: of NAMES.
        stack: "al2023" or "bottlerocket".
    """
    return _CARRIERS[name](Stack(stack))


def carrier_of(pool: Pool, stack: str) -> Carrier:  # noqa: ARG001  there is one so far
    """The carrier of a pool of a plan for a stack."""
    return carrier(DEVICE_PLUGIN, stack)


def kinds() -> tuple[Kind, ...]:
    """The kinds of all carriers' own objects, in the order in which they are written."""
    return tuple(dict.fromkeys(kind for name in NAMES for kind in carrier(name, Stack.AL2023).kinds))


def carriers_of(plan: Plan) -> list[tuple[Carrier, list[Pool]]]:
    """The carriers of a plan, each with its pools."""
    return [(carrier(name, plan.stack), [*plan.pools]) for name in NAMES]


def carrier_asked(assignment: Assignment) -> Carrier:  # noqa: ARG001  there is one so far
    """The carrier by which an assignment's pods ask; what they say doesn't depend on what nodes run."""
    return carrier(DEVICE_PLUGIN, Stack.AL2023)
