"""A simulation, and a sweep of them, as tables."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING

from gpuslice.cli.console import print_list, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.simulator.result import Outcome, Simulation
    from gpuslice.simulator.sweep import Cell, Sweep


def print_simulation(simulation: Simulation) -> None:
    """A row for each policy, then what was replayed and what is assumed."""
    interrupted = any(outcome.interruptions for outcome in simulation.outcomes)
    replanned = any(outcome.replanned for outcome in simulation.outcomes)
    print_table(
        (
            *("policy", "$ a month", "gpu-hours", "used", "p50 wait", "p95", "p99", "never placed", "moved"),
            *(("replanned",) if replanned else ()),
            *(("interrupted",) if interrupted else ()),
            *("exposed gpu-hours", "wrong for"),
        ),
        [_row(outcome, replanned=replanned, interrupted=interrupted) for outcome in simulation.outcomes],
        right=(
            *("$ a month", "gpu-hours", "used", "p50 wait", "p95", "p99"),
            *("never placed", "moved", "replanned", "interrupted", "exposed gpu-hours"),
        ),
    )
    hours = simulation.demand.seconds / 3600
    print_list("Replayed", (f"{simulation.demand.source}, over {hours:,.1f} hours", *simulation.demand.notes))
    print_list("Assumed", simulation.assumptions)


def _row(outcome: Outcome, *, replanned: bool, interrupted: bool) -> tuple[object, ...]:
    bought, wrong = outcome.gpu_hours_bought, outcome.misfits
    return (
        outcome.name,
        f"{outcome.usd_per_month:,.0f}",
        f"{bought:,.0f}",
        f"{outcome.gpu_hours_used / bought:.0%}" if bought else None,
        _seconds(outcome.pending.p50),
        _seconds(outcome.pending.p95),
        _seconds(outcome.pending.p99),
        f"{outcome.never_placed:,}",
        f"{outcome.evictions:,}",
        *((f"{outcome.replanned:,}",) if replanned else ()),
        *((f"{outcome.interruptions:,}",) if interrupted else ()),
        f"{outcome.exposed_gpu_hours:,.0f}",
        f"{wrong} workload{'s' * (wrong != 1)}" if wrong else None,
    )


def _seconds(value: float) -> str:
    return f"{value:,.0f} s"


def print_sweep(sweep: Sweep, cells: Sequence[Cell]) -> None:
    """A row for each what-if and policy: means over the seeds."""
    rows = []
    for what_if in sweep.what_ifs:
        for policy in sweep.policies:
            outcomes = [
                cell.outcome for cell in cells if (cell.what_if, cell.policy) == (what_if.name, policy)
            ]
            rows.append(
                (
                    what_if.name,
                    policy,
                    _mean([outcome.usd_per_month for outcome in outcomes]),
                    _mean([outcome.pending.p95 for outcome in outcomes]),
                    _mean([outcome.never_placed for outcome in outcomes]),
                    _mean([_restarts(outcome) for outcome in outcomes]),
                    _mean([outcome.exposed_gpu_hours for outcome in outcomes]),
                )
            )
    numbers = ("$ a month", "p95 wait, s", "never placed", "restarts", "exposed gpu-hours")
    print_table(("what if", "policy", *numbers), rows, right=numbers)
    if len(sweep.seeds) > 1:
        say(f"means over {len(sweep.seeds)} seeds, with the least and the most where they differ")


def _restarts(outcome: Outcome) -> int:
    return outcome.evictions + outcome.interruptions + outcome.replanned


def _mean(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    words = f"{mean(values):,.0f}"
    return words if f"{low:,.0f}" == f"{high:,.0f}" else f"{words} ({low:,.0f}–{high:,.0f})"
