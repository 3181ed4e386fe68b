"""What limits the pods on a node beside CPU, memory and GPUs: storage, ports, other resources, rules among pods."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuslice.verifier.layouts import Violation
from gpuslice.workloads.node_limits import room_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.workloads.model import Workload


def limit_violations(
    pods: Mapping[str, int], instance_type: InstanceType, workloads: Mapping[str, Workload], where: str
) -> Iterator[Violation]:
    """Of what do the pods of one node take more than it has.

    Args:
        pods: replicas by workload.
        instance_type: of the node.
        workloads: by name.
        where: to name in violations.
    """
    taken: Counter[str] = Counter()
    have: dict[str, int] = {}
    for name, replicas in pods.items():
        for take in workloads[name].takes if name in workloads else ():
            taken[take.resource] += take.amount * replicas
            most = room_for(take, instance_type)
            have[take.resource] = min(most, have.get(take.resource, most))
    for resource, amount in sorted(taken.items()):
        if amount > have[resource]:
            yield Violation(
                "node-limits", where, f"its pods take {amount} of {resource}, it has {have[resource]}"
            )
