"""The verifier: recomputes every constraint of a plan in integers, from plan.yaml and workloads.yaml alone.

It shares no code with the parts of the planner that make plans (options, patterns, pricing, master, realise): only the
tables of hardware and the rule `fit`. Every plan passes it before it leaves the planner, and anyone can run it on a
plan that was edited by hand: whatever is wrong with it, the answer is a list, never an exception.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuslice.plan.models_today import as_planned
from gpuslice.verifier.assignments import assignment_violations
from gpuslice.verifier.evidence import Evidence
from gpuslice.verifier.figures import form_violations, sum_violations
from gpuslice.verifier.layouts import Violation, layout_violations, node_violations, type_violations
from gpuslice.verifier.machines import carried_by
from gpuslice.verifier.packing import cheapest_packing_violations
from gpuslice.verifier.policy import policy_violations
from gpuslice.verifier.pools import pool_violations
from gpuslice.verifier.seats import seat_violations
from gpuslice.verifier.services import replica_violations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Plan
    from gpuslice.workloads.model import Workload

__all__ = ["Violation", "verify", "verify_alone"]


def verify(plan: Plan, workloads: Sequence[Workload], catalog: Catalog) -> list[Violation]:
    """Every rule that the plan breaks; none: it may be carried out.

    Args:
        plan: to check.
        workloads: that it was made for.
        catalog: that it names.
    """
    # What isn't even a plan can't be asked the other questions.
    return list(form_violations(plan)) or list(_all(Evidence(plan, as_planned(workloads, plan), catalog)))


def verify_alone(plan: Plan, catalog: Catalog) -> list[Violation]:
    """What is wrong with a plan by itself: all that can be said without the workloads that it was made for.

    None found is no proof: whether slices fit needs, only `verify` can tell.
    """
    return list(form_violations(plan)) or list(_alone(Evidence(plan, (), catalog)))


def _all(evidence: Evidence) -> Iterator[Violation]:
    yield from _catalog(evidence)
    yield from _everyone_placed(evidence)
    yield from _nodes_carry_the_assigned(evidence)
    for pool in evidence.plan.pools:
        yield from pool_violations(evidence, pool)
    for assignment in evidence.plan.assignments:
        yield from assignment_violations(evidence, assignment)
    yield from cheapest_packing_violations(evidence)
    yield from policy_violations(evidence.plan)
    yield from sum_violations(evidence.plan)
    yield from seat_violations(evidence.plan)


def _alone(evidence: Evidence) -> Iterator[Violation]:
    yield from _catalog(evidence)
    yield from _nodes_carry_the_assigned(evidence)
    for pool in evidence.plan.pools:
        where = f"pool {pool.name}"
        yield from layout_violations(pool.layout, evidence.plan.stack, where)
        for name in sorted({*pool.instance_types, *(node.instance_type for node in pool.nodes)}):
            if name in evidence.types:
                yield from type_violations(pool.layout, evidence.types[name], where)
            else:
                yield Violation("instance-types", where, f"the catalog has no {name}")
        for node in pool.nodes:
            if node.instance_type in evidence.types:
                machine = evidence.types[node.instance_type]
                yield from node_violations(node, pool.layout, machine, {}, (0, 0, 0), where)
    for assignment in evidence.plan.assignments:
        if assignment.pool not in evidence.pools:
            yield Violation("pool-names", assignment.workload, f"no pool is called {assignment.pool}")
        elif assignment.slice not in evidence.slices[assignment.pool]:
            yield Violation(
                "slice", assignment.workload, f"{assignment.pool} has no slice {assignment.slice}"
            )
    yield from policy_violations(evidence.plan)
    yield from sum_violations(evidence.plan)
    yield from seat_violations(evidence.plan)


def _catalog(evidence: Evidence) -> Iterator[Violation]:
    here = (evidence.catalog.region, evidence.catalog.prices_date)
    if (evidence.plan.catalog.region, evidence.plan.catalog.prices) != here:
        yield Violation("catalog", "catalog", f"made with another catalog than {here[0]} of {here[1]}")
    if len(evidence.pools) != len(evidence.plan.pools):
        yield Violation("pool-names", "pools", "two pools have one name")


def _everyone_placed(evidence: Evidence) -> Iterator[Violation]:
    unplaced = Counter(unplaced.workload for unplaced in evidence.plan.unplaced)
    for name, workload in evidence.workloads.items():
        placed = sum(assignment.replicas for assignment in evidence.assigned[name])
        wanted = 0 if name in unplaced else workload.replicas
        if workload.service is not None:
            yield from replica_violations(workload, evidence.assigned[name], unplaced=name in unplaced)
        elif placed != wanted:
            yield Violation("replicas", name, f"{placed} replicas are assigned, not {wanted}")
        if placed and workload.stays:
            yield Violation("stays", name, f"is planned, and stays where it is: {workload.stays[0]}")
        seated = all(evidence.seats(assignment.pool) for assignment in evidence.assigned[name])
        if len(evidence.assigned[name]) > 1 and not workload.splittable and not seated:
            yield Violation("one-home", name, "its replicas share a template and can't go to several pools")
    for name in evidence.assigned:
        if name not in evidence.workloads:
            yield Violation("unknown-workload", name, "no such workload")
    for left_out in evidence.plan.unplaced:
        known = evidence.workloads.get(left_out.workload)
        if unplaced[left_out.workload] > 1 or (known is not None and known.replicas != left_out.replicas):
            yield Violation("unplaced", left_out.workload, "not once, with all its replicas")
        if not left_out.reason.strip():
            yield Violation("unplaced", left_out.workload, "no reason is given")


def _nodes_carry_the_assigned(evidence: Evidence) -> Iterator[Violation]:
    carried: Counter[tuple[str, str]] = Counter()
    for pool in evidence.plan.pools:
        for name, count in carried_by(pool.nodes).items():
            carried[name, pool.name] += count
    wanted: Counter[tuple[str, str]] = Counter()
    for assignment in evidence.plan.assignments:
        wanted[assignment.workload, assignment.pool] += assignment.replicas
    for key in sorted(carried.keys() | wanted.keys()):
        if carried[key] != wanted[key]:
            yield Violation(
                "replicas",
                f"{key[0]} in {key[1]}",
                f"nodes carry {carried[key]}, assigned are {wanted[key]}",
            )
