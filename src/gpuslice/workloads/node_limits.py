"""What limits the pods that a node may hold beside its CPU, memory and GPUs; the names that go with it.

A resource here is anything that a node has so much of and that each pod takes some of: ephemeral storage, an extended
resource of somebody else's, a host port, which is there once, or the room that an anti-affinity or a topology spread
leaves for pods of one kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gpuslice.cloud.allocatable import EFA, EPHEMERAL_STORAGE

__all__ = ["EFA", "EPHEMERAL_STORAGE", "Take", "apart", "by_rule", "host_port", "spread"]

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
