"""What a plan says of its pools: all that Karpenter may launch for one has to keep every rule."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.labels import node_facts
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.plan.artefact import Node
from gpuslice.units import usd
from gpuslice.verifier.assignments import memory_limit_violations
from gpuslice.verifier.entry import entry_violations
from gpuslice.verifier.layouts import SLOTTED, Ask, Violation, layout_violations, type_violations
from gpuslice.verifier.machines import arch_violations, interruption_violations, machine_violations
from gpuslice.verifier.seats import misnamed, renamed
from gpuslice.verifier.services import neighbour_violations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuslice.plan.artefact import Assignment, Pool
    from gpuslice.verifier.evidence import Evidence
    from gpuslice.workloads.model import Workload


def pool_violations(evidence: Evidence, pool: Pool) -> Iterator[Violation]:
    """What is wrong with a pool: its layout, who shares it, what Karpenter may launch for it, and its nodes."""
    layout, where, admitted = pool.layout, f"pool {pool.name}", evidence.admitted[pool.name]
    yield from layout_violations(layout, evidence.plan.stack, where)
    names = dict.fromkeys([*(assignment.workload for assignment in admitted), *pool.seats])
    workloads = [evidence.workloads[name] for name in names if name in evidence.workloads]
    tenants = {workload.tenant for workload in workloads}
    if (Mechanism(layout.mechanism) in SLOTTED or pool.tenant) and tenants - {pool.tenant}:
        yield Violation(
            "tenants", where, f"{', '.join(sorted(tenants))} would share what is for {pool.tenant!r} only"
        )
    if Mechanism(layout.mechanism) in SLOTTED:
        yield from neighbour_violations(workloads, where)
    if pool.as_shared and not (pool.seats and renamed(pool)):
        yield Violation("resource", where, "offers as shared what are no whole GPUs with seats")
    yield from _choice(evidence, pool, workloads, where)
    by_workload: dict[str, list[Assignment]] = defaultdict(list)
    for assignment in admitted:
        by_workload[assignment.workload].append(assignment)
    asks = {
        name: evidence.ask_assigned(evidence.workloads[name], assigned)
        for name, assigned in by_workload.items()
        if name in evidence.workloads
    }
    if pool.seats:
        (fraction, *_) = evidence.fractions(pool) or (Fraction(1),)
        asks = {workload.name: evidence.ask_seated(workload, pool, fraction) for workload in workloads}
        yield from _full_nodes(evidence, pool, asks, where)
    for node in pool.nodes:
        if node.instance_type not in pool.instance_types:
            yield Violation("instance-types", where, f"{node.instance_type} is not among the pool's types")
        if node.purchase not in pool.purchases:
            yield Violation("purchases", where, f"{node.purchase} is not among the pool's purchases")
        yield from machine_violations(evidence, layout, node, asks, f"{where}, {node.instance_type}")


def _full_nodes(evidence: Evidence, pool: Pool, asks: Mapping[str, Ask], where: str) -> Iterator[Violation]:
    """Whether every node that Karpenter may launch carries all that it has seats for."""
    types = [evidence.types[name] for name in pool.instance_types if name in evidence.types]
    if misnamed(pool, types):
        yield Violation(
            "resource", where, "whole GPUs by the name of shared ones: one of one node, with one seat"
        )
    for name in sorted({*pool.seats} - evidence.workloads.keys()):
        yield Violation("unknown-workload", where, f"has seats for {name}, which isn't there")
    here = {assignment.workload for assignment in evidence.admitted[pool.name]}
    for name in sorted(
        (pool.seats.keys() & asks.keys()) - here
    ):  # nobody yet, as in an own pool without nodes
        for assignment in evidence.assigned[name][:1]:
            for slice_ in sorted(asks[name].slices):
                yield from memory_limit_violations(
                    assignment, evidence.workloads[name], evidence.slices[pool.name][slice_]
                )
    for name in pool.instance_types:
        for purchase in pool.purchases:
            price = evidence.types[name].prices.get(Purchase(purchase)) if name in evidence.types else None
            if price is not None:
                full = Node(name, purchase, 1, usd(price), dict(pool.seats))
                yield from machine_violations(
                    evidence, pool.layout, full, asks, f"{where}, {name} with all seats taken"
                )


def _choice(evidence: Evidence, pool: Pool, workloads: Sequence[Workload], where: str) -> Iterator[Violation]:
    """Karpenter may launch any type that the pool lists, bought in any way that it lists."""
    types = [evidence.types[name] for name in pool.instance_types if name in evidence.types]
    for name in pool.instance_types:
        if name not in evidence.types:
            yield Violation("instance-types", where, f"the catalog has no {name}")
    for instance_type in types:
        yield from type_violations(pool.layout, instance_type, where)
        yield from arch_violations(instance_type, workloads, where)
        for purchase in pool.purchases:
            if Purchase(purchase) in instance_type.prices:
                labels = node_facts(instance_type, Purchase(purchase), evidence.catalog.region)
                yield from entry_violations(
                    workloads, labels, pool.requires, f"{where}, {instance_type.name}"
                )
    for purchase in pool.purchases:
        if not any(Purchase(purchase) in kind.prices for kind in types):
            yield Violation("price", where, f"none of its types has a price {purchase}")
        yield from interruption_violations(purchase, workloads, where)
