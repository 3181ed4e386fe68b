"""What limits the pods that a node may hold beside its CPU, memory and GPUs; the names that go with it.

A resource here is anything that a node has so much of and that each pod takes some of: ephemeral storage, an extended
resource of somebody else's, a host port, which is there once, or the room that an anti-affinity or a topology spread
leaves for pods of one kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.allocatable import EFA, EPHEMERAL_STORAGE, allocatable_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.cloud.catalog import InstanceType

__all__ = [
    "EFA",
    "EPHEMERAL_STORAGE",
    "Room",
    "Take",
    "apart",
    "by_rule",
    "host_port",
    "room_for",
    "room_of",
    "spread",
    "taken_by",
]

Room = tuple[tuple[str, int], ...]
"""Resources by name, and how much of each a node has."""

HOST_PORT: Final = "host-port"
APART: Final = "apart"
SPREAD: Final = "spread"
_BY_RULE: Final = (HOST_PORT, APART, SPREAD)


@dataclass(frozen=True, slots=True, order=True)
class Take:
    """What one pod takes of a resource of its node.

    Attributes:
        resource: ephemeral storage in MiB; an extended resource by its name; "host-port/TCP/8080"; "apart/<who>" and
            "spread/<most>/<who>", of which pods that a rule keeps apart take one each.
        amount: at least 1.
        most: what any node has of it, whatever its type; 0: that depends on the instance type.
    """

    resource: str
    amount: int
    most: int = 0


def host_port(protocol: str, port: int) -> Take:
    """A port of the node's, which one pod can have."""
    return Take(f"{HOST_PORT}/{protocol}/{port}", 1, 1)


def apart(who: str) -> Take:
    """Of these, no two on one node."""
    return Take(f"{APART}/{who}", 1, 1)


def spread(who: str, most: int) -> Take:
    """Of these, so many on one node and no more."""
    return Take(f"{SPREAD}/{most}/{who}", 1, most)


def by_rule(resource: str) -> bool:
    """Whether a rule among pods makes it a resource, and not something that a machine has."""
    return resource.partition("/")[0] in _BY_RULE


def room_for(take: Take, instance_type: InstanceType) -> int:
    """How much of what is taken a node of a type has."""
    return take.most or allocatable_of(instance_type, take.resource)


def taken_by(takes: Iterable[Take]) -> Room:
    """The resources that are taken, and how much of each any node has; 0: that depends on its type."""
    return tuple(sorted({(take.resource, take.most) for take in takes}))


def room_of(instance_type: InstanceType, taken: Room) -> Room:
    """What a node of a type has of the resources that `taken_by` lists, in their order."""
    return tuple((name, most or allocatable_of(instance_type, name)) for name, most in taken)
