"""What a plan says of its nodes, each as one machine with its pods."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuslice.cloud.catalog import Purchase
from gpuslice.plan.artefact import Node
from gpuslice.verifier.layouts import Ask, Violation, node_violations, type_violations
from gpuslice.verifier.node_limits import limit_violations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.plan.artefact import Layout, OptimalNode
    from gpuslice.verifier.evidence import Evidence
    from gpuslice.workloads.model import Workload


def machine_violations(
    evidence: Evidence, layout: Layout, node: Node | OptimalNode, asks: Mapping[str, Ask], where: str
) -> Iterator[Violation]:
    """What is wrong with a node of the plan: with its machine, for its workloads, and what doesn't fit on it.

    Args:
        evidence: the plan and what it was made of.
        layout: of the node's GPUs.
        node: with its pods.
        asks: of each of its pods, by workload.
        where: for messages.
    """
    instance_type = evidence.types.get(node.instance_type)
    if instance_type is None:
        yield Violation("instance-types", where, f"the catalog has no {node.instance_type}")
        return
    if not node.pods.keys() <= evidence.workloads.keys():
        yield Violation("unknown-workload", where, "carries a workload that isn't there")
    workloads = [evidence.workloads[name] for name in node.pods if name in evidence.workloads]
    yield from type_violations(layout, instance_type, where)
    yield from arch_violations(instance_type, workloads, where)
    yield from interruption_violations(node.purchase, workloads, where)
    cpu, memory, pods = evidence.overhead
    room = (
        instance_type.allocatable_cpu_milli - cpu,
        instance_type.allocatable_memory_mib - memory,
        instance_type.max_pods - pods,
    )
    yield from node_violations(node, layout, instance_type, asks, room, where)
    yield from limit_violations(node.pods, instance_type, evidence.workloads, where)


def arch_violations(
    instance_type: InstanceType, workloads: Iterable[Workload], where: str
) -> Iterator[Violation]:
    """Workloads whose images are of another architecture than a machine."""
    for workload in workloads:
        if workload.arch != instance_type.arch:
            yield Violation(
                "arch",
                where,
                f"{workload.name} is {workload.arch}, {instance_type.name} {instance_type.arch}",
            )


def interruption_violations(purchase: str, workloads: Iterable[Workload], where: str) -> Iterator[Violation]:
    """Workloads on spot that may not be interrupted."""
    for workload in workloads:
        if purchase == Purchase.SPOT and not workload.interruptible:
            yield Violation(
                "interruptible", where, f"{workload.name} may not be interrupted, and spot may be"
            )


def carried_by(nodes: Iterable[Node | OptimalNode]) -> Counter[str]:
    """Replicas by workload on all nodes."""
    carried: Counter[str] = Counter()
    for node in nodes:
        for name, count in node.pods.items():
            carried[name] += count * node.count
    return carried
