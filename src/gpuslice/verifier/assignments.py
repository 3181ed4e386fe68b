"""What a plan says of each workload in each pool: its slice, what its pods ask for, its memory limit."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.hardware.fit import fit
from gpuslice.hardware.sharing import MEMORY_MARGIN, SEES_ALL
from gpuslice.units import MIB, parse_quantity
from gpuslice.verifier.figures import figure_violations
from gpuslice.verifier.layouts import Violation
from gpuslice.verifier.seats import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuslice.hardware.slices import Slice
    from gpuslice.plan.artefact import Assignment
    from gpuslice.verifier.evidence import Evidence
    from gpuslice.workloads.model import Workload


def assignment_violations(evidence: Evidence, assignment: Assignment) -> Iterator[Violation]:
    """What is wrong with one assignment: whether its slice is there and fits, and what its pods ask for."""
    workload, pool = evidence.workloads.get(assignment.workload), evidence.pools.get(assignment.pool)
    if pool is None:
        yield Violation("pool-names", assignment.workload, f"no pool is called {assignment.pool}")
    if workload is None or pool is None:
        return
    slice_ = evidence.slices[pool.name].get(assignment.slice)
    if slice_ is None:
        yield Violation("slice", assignment.workload, f"{assignment.pool} has no slice {assignment.slice}")
        return
    if assignment.target != workload.target:
        yield Violation("target", assignment.workload, "its pods come from elsewhere")
    asks = assignment.asks
    if asks.count != workload.need.gpus:
        yield Violation("quantity", assignment.workload, f"asks for {asks.count}, needs {workload.need.gpus}")
    if asks.resource != evidence.resource(pool, slice_):
        yield Violation(
            "resource", assignment.workload, f"{assignment.slice} is not asked for as {asks.resource}"
        )
    answer = fit(evidence.needs[workload.name], slice_)
    if not answer.fits:
        yield Violation(f"fit/{answer.binds}", assignment.workload, answer.reason)
        return
    yield from figure_violations(assignment, answer)
    metered = slice_.metered_milli is not None and not pool.seats
    if metered != counted(asks) or (asks.gpu_memory is UNSET) != (asks.gpu_time is UNSET):
        yield Violation(
            "request",
            assignment.workload,
            "memory and time are asked for on metered pools, and both of them",
        )
    elif (
        asks.gpu_memory is not UNSET
        and asks.gpu_time is not UNSET
        and (
            parse_quantity(asks.gpu_memory) < (workload.need.memory_mib or 0) * MIB
            or asks.gpu_time < (answer.time_milli or 0)
        )
    ):
        yield Violation("request", assignment.workload, "asks for less than it needs")
    yield from memory_limit_violations(assignment, workload, slice_)


def memory_limit_violations(assignment: Assignment, workload: Workload, slice_: Slice) -> Iterator[Violation]:
    """Whoever takes all memory that it sees is told how much is its own, where nothing else holds it back."""
    if assignment.memory_limit is UNSET:
        if workload.preallocates and slice_.mechanism in SEES_ALL:
            yield Violation(
                "memory-limit", assignment.workload, "takes all memory it sees, and is given no limit"
            )
        return
    own = Fraction(int(slice_.memory_mib * (1 - MEMORY_MARGIN)) * MIB)
    if assignment.asks.gpu_memory is not UNSET:
        own = parse_quantity(assignment.asks.gpu_memory)
    elif slice_.metered_milli is not None:
        own = Fraction((workload.need.memory_mib or 0) * MIB)  # with a seat: as much was reckoned for it
    limit = parse_quantity(assignment.memory_limit)
    if limit > own:
        yield Violation(
            "memory-limit", assignment.workload, f"may take {assignment.memory_limit}, more than its part"
        )
    elif limit < (workload.need.memory_mib or 0) * MIB:
        yield Violation(
            "memory-limit",
            assignment.workload,
            f"may take only {assignment.memory_limit}, less than it needs",
        )
