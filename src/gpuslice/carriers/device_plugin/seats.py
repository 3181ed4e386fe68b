"""Seats: how a node comes to offer places for replicas of certain workloads, and what a plan must say of them.

A seat is an extended resource of one workload, `gpuslice.io/seat-<namespace>.<name>` (see `node_features`). Each pod
asks for one beside its slice, so that one template leads to many pools, and nobody else takes the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.carriers.device_plugin import node_features
from gpuslice.carriers.device_plugin.terms import configured, mechanism, seats_offered
from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.objects.naming import content_name
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.stacks import Stack

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.plan.artefact import Assignment, Pool

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


def check_pool(pool: Pool, stack: str, types: Sequence[InstanceType]) -> None:
    """Accept a pool whose seats its nodes can offer.

    Raises:
        InputError: they can't, or the seats don't say whose the pool is.
    """
    # As two replicas of one GPU: what keeps the second one free is that there is no seat for it.
    renamed = mechanism(pool.layout) is Mechanism.WHOLE and configured(pool) is not pool.layout
    if renamed and (sum(pool.seats.values()) != 1 or any(each.gpu_count != 1 for each in types)):
        raise InputError(
            "a whole GPU under the name of a shared one takes a node with one GPU and one seat",
            where=".seats",
            fix="plan again",
        )
    if not pool.seats:
        if pool.max_nodes is not UNSET:
            raise InputError("maxNodes without seats", where=".maxNodes", fix="plan again")
        return
    if Stack(stack) is not Stack.AL2023:
        raise InputError(f"{stack} has no seats", where=".seats", fix="plan for al2023")
    if len(offered(pool)) < len(pool.seats):
        raise InputError("two workloads have one resource for their seats", where=".seats", fix="rename one")
    if pool.max_nodes is UNSET and len(pool.seats) > 1:
        raise InputError("seats of several workloads without maxNodes", where=".seats", fix="plan again")


def check_template(parts: Sequence[Assignment]) -> None:
    """Accept a workload whose assignments can have one template.

    Args:
        parts: all assignments of one workload.

    Raises:
        InputError: some have a seat and others none, or pods of different pools would differ.
    """
    if not any(each.seat for each in parts):
        return
    first = _template(parts[0])
    for each in parts:
        for what, value in _template(each).items():
            if value != first[what]:
                raise InputError(
                    f"its pods in {parts[0].pool} and {each.pool} differ in their {what}, and have one template",
                    where=each.workload,
                    fix="plan again",
                )


def _template(assignment: Assignment) -> dict[str, object]:
    """What a workload's patch is made of, by its name for people."""
    return {
        "seat": assignment.seat,
        "resource": assignment.resource,
        "quantity": assignment.quantity,
        "memory limit": assignment.memory_limit,
        "target": assignment.target,
        "size by load": assignment.service is not UNSET,
    }
