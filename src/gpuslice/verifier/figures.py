"""What the verifier asks of a plan's figures: that they are figures, and that sums and ratios are what they are called.

Like the rest of the verifier it shares no code with the parts of the planner that make plans.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from gpuslice.errors import InputError
from gpuslice.plan.artefact import Plan
from gpuslice.units import micro_usd, parse_quantity
from gpuslice.verifier.layouts import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuslice.hardware.fit import Fit
    from gpuslice.plan.artefact import Assignment, Node, OptimalNode


def form_violations(plan: Plan) -> Iterator[Violation]:
    """Figures outside the schema, such as structs made in code may hold, and quantities that are none.

    A plan that breaks these can't be asked anything else.
    """
    try:
        # By JSON, which has no NaN and no infinity: they become null, and null is no number.
        msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        yield Violation("schema", "plan", str(error))
        return
    quantities = [("overhead.cpu", plan.overhead.cpu), ("overhead.memory", plan.overhead.memory)]
    layouts = (*(pool.layout for pool in plan.pools), *(node.layout for node in plan.optimal_nodes))
    quantities += [
        ("metered.memory", layout.metered.memory) for layout in layouts if layout.metered is not UNSET
    ]
    for assignment in plan.assignments:
        if assignment.asks.gpu_memory is not UNSET:
            quantities.append((f"asks.gpuMemory of {assignment.workload}", assignment.asks.gpu_memory))
        if assignment.memory_limit is not UNSET:
            quantities.append((f"memoryLimit of {assignment.workload}", assignment.memory_limit))
    for where, text in quantities:
        try:
            if parse_quantity(text) < 0:
                yield Violation("quantity", where, f"{text} is negative")
        except InputError as error:
            yield Violation("quantity", where, error.message)


def sum_violations(plan: Plan) -> Iterator[Violation]:
    """What the summary says that its nodes don't."""
    summary = plan.summary
    bill = _bill(node for pool in plan.pools for node in pool.nodes)
    best = _bill(plan.optimal_nodes)
    bound = micro_usd(summary.bound_usd_per_hour)
    for word, stated, summed in (
        ("usdPerHour", summary.usd_per_hour, bill),
        ("optimalUsdPerHour", summary.optimal_usd_per_hour, best),
    ):
        if micro_usd(stated) != summed:
            yield Violation("sum", f"summary.{word}", f"{stated} is not the nodes' sum, {summed / 1e6}")
    if not bound <= best <= bill:
        yield Violation("bound", "summary", "bound, optimal and realised price are out of order")
    gap = float(Fraction(best - bound, best)) if best else 0.0
    if _differs(summary.gap, gap, digits=6):
        yield Violation("gap", "summary.gap", f"{summary.gap} is not (optimal - bound) / optimal")
    if any(not left.stays for left in plan.unplaced) != (summary.status == "infeasible"):
        yield Violation(
            "status", "summary.status", "infeasible means that somebody is unplaced, and not by choice"
        )


def figure_violations(assignment: Assignment, answer: Fit) -> Iterator[Violation]:
    """What is said of an assignment's slice that `fit` doesn't say, as far as its digits go."""
    for word, stated, computed, digits in (
        ("expectedSlowdown", assignment.expected_slowdown, answer.slowdown, 2),
        ("utilisation", assignment.utilisation, answer.utilisation, 3),
    ):
        if stated is not UNSET and (computed is None or _differs(stated, float(computed), digits)):
            yield Violation("figures", assignment.workload, f"{word} is {stated}, computed is {computed}")


def _bill(nodes: Iterable[Node | OptimalNode]) -> int:
    """Micro-dollars per hour."""
    return sum(micro_usd(node.usd_per_hour) * node.count for node in nodes)


def _differs(stated: float, computed: float, digits: int) -> bool:
    """Whether a figure rounded to so many digits can't stand for another one."""
    return abs(stated - computed) > 0.6 * 10.0**-digits
