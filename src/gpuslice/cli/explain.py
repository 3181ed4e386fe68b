"""`gpuslice explain`: what binds the whole plan, or, by another module, why a workload is where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from gpuslice.cli.console import (
    CatalogOption,
    Output,
    OutputOption,
    print_data,
    print_list,
    print_names,
    print_table,
    print_text,
    say,
)
from gpuslice.cli.explain_workload import dollars, explain_workload, named
from gpuslice.cli.models_today import ModelsOption
from gpuslice.cli.planning import (
    DEFAULT_TIME_LIMIT,
    AssumedOption,
    EffortOption,
    FallbackOption,
    GapOption,
    Moment,
    MomentOption,
    OverheadOption,
    Planned,
    SeatsOption,
    StackOption,
    TimeLimitOption,
    WithoutOption,
    WorkloadsOption,
    make_plan,
)
from gpuslice.cli.savings import (
    DEFAULT_SAVINGS_LIMIT,
    SavingsLimitOption,
    SavingsOption,
    exit_after,
    find_savings,
    print_savings,
    savings_data,
)
from gpuslice.errors import InputError
from gpuslice.hardware.stack import Stack
from gpuslice.plan.defaults import DEFAULT_GAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.advice.habits import Habits
    from gpuslice.advice.pool_use import PoolUse
    from gpuslice.cli.savings import Savings
    from gpuslice.plan.artefact import MissingType, Summary

_RESOURCES: Final = ("slots", "cpu", "memory", "gpu-memory", "gpu-time")
_DRIVERS_SHOWN: Final = 15
_SHOWN: Final = 0.005  # dollars an hour: less isn't worth a line
_HABITS: Final = {
    "template": "pods of one template all go to one pool: --seats avoids that",
    "packing": "Karpenter packs by CPU, memory and age, and kube-scheduler spreads pods over nodes",
    "chance": "the order of arrival that the plan is priced by, against the mean",
}
_CHOICES: Final = {
    "instanceTypes": "since pools list few instance types: of all with their GPUs, batches would get larger ones",
    "moves": "since workloads are in pools where Karpenter packs them better",
}


def explain(
    *,
    workload: Annotated[
        str, typer.Argument(metavar="[WORKLOAD]", help="namespace/name; left out: the whole plan.")
    ] = "",
    file: WorkloadsOption,
    stack: StackOption = Stack.AL2023,
    catalog_file: CatalogOption = "",
    overhead: OverheadOption = "",
    at: MomentOption = Moment.NOW,
    today: ModelsOption = None,
    accept_assumed: AssumedOption = False,
    without: WithoutOption = None,
    fallback: FallbackOption = True,
    seats: SeatsOption = False,
    gap: GapOption = DEFAULT_GAP,
    effort: EffortOption = 1.0,
    time_limit: TimeLimitOption = DEFAULT_TIME_LIMIT,
    savings: SavingsOption = False,
    savings_limit: SavingsLimitOption = DEFAULT_SAVINGS_LIMIT,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the alternatives of one workload and what each would cost or break, or what binds the whole plan."""
    if savings and output is Output.NAME:
        raise InputError("names have no savings", where="-o", fix="with --savings, write table, json or yaml")
    planned = make_plan(
        file,
        catalog_file=catalog_file,
        stack=stack,
        overhead=overhead,
        at=at,
        today=today or (),
        accept_assumed=accept_assumed,
        without=without,
        fallback=fallback,
        seats=seats,
        gap=gap,
        effort=effort,
        time_limit=time_limit,
    )
    if workload:
        named(planned, workload)
    found_savings = None
    if savings:
        found_savings = find_savings(
            planned, effort=effort, time_limit=time_limit, limit=savings_limit, name=workload
        )
    if workload:
        explain_workload(planned, workload, output, found_savings)
    else:
        _explain_plan(planned, output, found_savings)
    exit_after(found_savings)


def _explain_plan(planned: Planned, output: Output, savings: Savings | None) -> None:
    from gpuslice.advice.habits import habits
    from gpuslice.advice.pool_use import pool_uses

    made = planned.solution.plan
    uses = pool_uses(made, planned.workloads.workloads, planned.catalog)
    drivers = _drivers(planned)
    carried = planned.solution.carried
    costs = None
    if carried is not None:
        costs = habits(made, carried, planned.workloads.workloads, planned.catalog, planned.settings.overhead)
    match output:
        case Output.NAME:
            print_names(use.pool for use in uses)
        case Output.TABLE:
            _print_prices(made.summary, costs)
            if uses:
                _print_uses(uses)
            if drivers:
                _print_drivers(drivers)
            _print_missing(made.missing)
            print_list(
                "Not placed", [f"{left_out.workload}: {left_out.reason}" for left_out in made.unplaced]
            )
            if savings is not None:
                print_savings(savings, planned)
        case _:
            print_data(
                {
                    "summary": made.summary,
                    "pools": [
                        {
                            "name": use.pool,
                            "usdPerHour": use.price / 1e6,
                            "binds": use.binds,
                            "used": {name: round(share, 4) for name, share in use.used.items()},
                            "idleUsdPerHour": use.idle / 1e6,
                        }
                        for use in uses
                    ],
                    "drivers": [
                        {"workload": name, "usdPerHourPerReplica": one, "usdPerHour": total}
                        for name, one, total in drivers
                    ],
                    "habits": {} if costs is None else {"cost": _parts(costs), "avoided": _avoided(costs)},
                    "missing": made.missing,
                    "unplaced": made.unplaced,
                    **({} if savings is None else {"savings": savings_data(savings)}),
                },
                output,
            )


def _print_missing(missing: Sequence[MissingType]) -> None:
    if missing:
        print_text("\nWhat it means while EC2 is out of an instance type:")
        print_table(
            ("missing", "$ an hour more", "pods that wait"),
            [
                (instance_type.instance_type, f"{instance_type.usd_per_hour:+.2f}", instance_type.waiting)
                for instance_type in missing
            ],
            right=("$ an hour more", "pods that wait"),
        )


def _print_prices(summary: Summary, costs: Habits | None) -> None:
    from msgspec import UNSET

    planned, optimal, bound = summary.usd_per_hour, summary.optimal_usd_per_hour, summary.bound_usd_per_hour
    print_text(f"planned: ${planned:,.2f} an hour")
    if planned - optimal >= _SHOWN:
        parts = (
            {} if costs is None else {name: usd for name, usd in _parts(costs).items() if abs(usd) >= _SHOWN}
        )
        print_text(
            f"  ${planned - optimal:,.2f} more than the cheapest packing, ${optimal:,.2f}{':' if parts else ''}"
        )
        for name, usd in parts.items():
            print_text(f"    {usd:+,.2f}  {_HABITS[name]}")
    if costs is not None:
        for name, usd in _avoided(costs).items():
            if usd >= _SHOWN:
                print_text(f"  avoided: ${usd:,.2f}, {_CHOICES[name]}")
    if summary.spread is not UNSET and summary.spread.highest - summary.spread.lowest >= _SHOWN:
        low, high = summary.spread.lowest, summary.spread.highest
        print_text(f"  as pods arrive, Karpenter's bill comes to ${low:,.2f} to ${high:,.2f}")
    print_text(f"  proven: no plan within the rules costs less than ${bound:,.2f}")


def _parts(costs: Habits) -> dict[str, float]:
    """What habits cost, dollars an hour, by name."""
    return {
        "template": costs.template / 1e6,
        "packing": costs.packing / 1e6,
        "chance": costs.chance / 1e6,
    }


def _avoided(costs: Habits) -> dict[str, float]:
    """What choices avoid, dollars an hour, by name."""
    return {"instanceTypes": costs.by_types / 1e6, "moves": costs.by_moves / 1e6}


def _print_uses(uses: Sequence[PoolUse]) -> None:
    shown = [name for name in _RESOURCES if any(name in use.used for use in uses)]
    print_text(
        "\nHow full the nodes of each pool are, what binds them, and what its fullest resource leaves idle:"
    )
    print_table(
        ("pool", "$ an hour", "binds", *shown, "idle $"),
        [
            (
                use.pool,
                dollars(use.price),
                use.binds,
                *(f"{use.used[name]:.0%}" if name in use.used else None for name in shown),
                dollars(use.idle),
            )
            for use in uses
            if use.used
        ],
        right=("$ an hour", *shown, "idle $"),
    )
    spare = sum(not use.used for use in uses)
    if spare:
        say(f"{spare} more pool{'s' * (spare != 1)} without nodes, where pods go that find no other seat")


def _print_drivers(drivers: Sequence[tuple[str, float, float]]) -> None:
    print_text(
        "\nWhat the money goes to: what one more replica adds to the least possible bill, times replicas:"
    )
    print_table(
        ("workload", "$ an hour per replica", "$ an hour"),
        [(name, f"{one:.4f}", f"{total:.2f}") for name, one, total in drivers[:_DRIVERS_SHOWN]],
        right=("$ an hour per replica", "$ an hour"),
    )
    if len(drivers) > _DRIVERS_SHOWN:
        say(f"{len(drivers) - _DRIVERS_SHOWN} more workloads: -o json lists them all")


def _drivers(planned: Planned) -> list[tuple[str, float, float]]:
    """Workloads by what they add to the least possible bill: the duals of the bound are prices per replica."""
    solution = planned.solution
    if solution.relaxation is None:
        return []
    drivers = [
        (member.name, float(price), float(price) * member.replicas)
        for a_class, price in zip(solution.classes, solution.relaxation.duals, strict=True)
        for member in a_class.members
    ]
    return sorted(drivers, key=lambda entry: (-entry[2], entry[0]))
