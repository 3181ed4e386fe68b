"""What a plan says of the cheapest packing: its nodes carry everybody, by the rules that pools keep."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.labels import node_facts
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.verifier.entry import together_violations
from gpuslice.verifier.layouts import SLOTTED, Violation, layout_violations
from gpuslice.verifier.machines import carried_by, machine_violations
from gpuslice.verifier.services import neighbour_violations, packing_violations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuslice.plan.artefact import Layout
    from gpuslice.verifier.evidence import Evidence


def cheapest_packing_violations(evidence: Evidence) -> Iterator[Violation]:
    """What is wrong with the cheapest packing: its nodes, who shares them, and whether they carry everybody."""
    checked: set[Layout] = set()
    for node in evidence.plan.optimal_nodes:
        where = f"optimal node {node.instance_type}"
        if node.layout not in checked:
            checked.add(node.layout)
            yield from layout_violations(node.layout, evidence.plan.stack, where)
        fraction = (
            evidence.types[node.instance_type].gpu_fraction
            if node.instance_type in evidence.types
            else Fraction(1)
        )
        workloads = [evidence.workloads[name] for name in node.pods if name in evidence.workloads]
        asks = {
            workload.name: evidence.ask_optimal(workload, node.layout, fraction) for workload in workloads
        }
        yield from machine_violations(evidence, node.layout, node, asks, where)
        if node.instance_type in evidence.types:
            kind = evidence.types[node.instance_type]
            labels = node_facts(kind, Purchase(node.purchase), evidence.catalog.region)
            yield from together_violations(workloads, labels, where)
        tenants = {workload.tenant for workload in workloads}
        if Mechanism(node.layout.mechanism) in SLOTTED:
            yield from neighbour_violations(workloads, where)
            if len(tenants) > 1:
                yield Violation("tenants", where, f"{', '.join(sorted(tenants))} would share a GPU")
    sized = {name for name, workload in evidence.workloads.items() if workload.service is not None}
    served = [name for name, assigned in evidence.assigned.items() if name in sized and assigned]
    yield from packing_violations(evidence.plan.optimal_nodes, evidence.workloads, served)
    carried = carried_by(evidence.plan.optimal_nodes)
    for name in sorted((carried.keys() | evidence.assigned.keys()) - sized):
        wanted = sum(assignment.replicas for assignment in evidence.assigned.get(name, ()))
        if carried[name] != wanted:
            yield Violation("replicas", name, f"the cheapest packing carries {carried[name]}, not {wanted}")
