"""`gpuslice explain`: why a workload is where it is, or what binds the whole plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import CatalogOption, Output, OutputOption, print_data, print_table, print_text, say
from gpuslice.cli.planning import (
    AssumedOption,
    Moment,
    MomentOption,
    OverheadOption,
    Planned,
    StackName,
    StackOption,
    TimeLimitOption,
    WorkloadsOption,
    make_plan,
)
from gpuslice.errors import InputError, nearest

if TYPE_CHECKING:
    from gpuslice.planner.explain import Alternative, PoolUse


def explain(
    *,
    workload: Annotated[str, typer.Argument(metavar="[WORKLOAD]", help="namespace/name; left out: the whole plan.")] = "",
    file: WorkloadsOption,
    stack: StackOption = StackName.AL2023,
    catalog_file: CatalogOption = "",
    overhead: OverheadOption = "",
    at: MomentOption = Moment.NOW,
    accept_assumed: AssumedOption = False,
    time_limit: TimeLimitOption = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the alternatives of one workload and what each would cost or break, or what binds the whole plan."""
    planned = make_plan(
        file,
        catalog_file=catalog_file,
        stack=stack,
        overhead=overhead,
        at=at,
        accept_assumed=accept_assumed,
        time_limit=time_limit,
    )
    if workload:
        _explain_workload(planned, workload, output)
    else:
        _explain_plan(planned, output)


def _explain_workload(planned: Planned, name: str, output: Output) -> None:
    from gpuslice.planner.explain import alternatives

    by_name = {each.name: each for each in planned.workloads.workloads}
    if name not in by_name:
        raise InputError(f"no workload is called {name[:100]!r}", fix=nearest(name, by_name) or "gpuslice plan lists them")
    workload = by_name[name]
    found = alternatives(workload, planned.catalog, planned.settings.overhead, planned.settings.stack)
    placed = [each for each in planned.solution.plan.assignments if each.workload == name]
    missed = [each for each in planned.solution.plan.unplaced if each.workload == name]
    if output is Output.NAME:
        print_text("\n".join(each.slice for each in found if each.answer.fits))
        return
    if output is not Output.TABLE:
        print_data(
            {
                "workload": name,
                "assignments": placed,
                "unplaced": missed,
                "alternatives": [_plain(each) for each in found],
            },
            output,
        )
        return
    for each in placed:
        print_text(f"{name}: {each.replicas} pods on {each.slice}, in pool {each.pool}\n  {each.because}")
    for each in missed:
        print_text(f"{name}: not placed\n  {each.reason}")
    chosen = {each.slice for each in placed}
    print_text("")
    print_table(
        ("", "slice", "$ an hour per pod", "cheapest on", "pods a node", "slowdown", "or why not"),
        [
            (
                "*" if each.slice in chosen else "",
                each.slice,
                None if each.price is None else f"{each.price / 1e6:.4f}",
                each.instance_type or None,
                each.per_node or None,
                None if each.answer.slowdown is None else f"{float(each.answer.slowdown):.2f}x",
                each.answer.reason or ("" if each.price is not None else "no instance type with a price holds a pod"),
            )
            for each in found
        ],
        right=("$ an hour per pod", "pods a node", "slowdown"),
    )
    say("prices are of nodes that it would fill alone; the plan mixes workloads, which is often cheaper")


def _plain(each: Alternative) -> dict[str, object]:
    found: dict[str, object] = {"slice": each.slice, "fits": each.answer.fits}
    if each.answer.binds is not None:
        found |= {"binds": each.answer.binds.value, "reason": each.answer.reason}
    if each.price is not None:
        found |= {
            "usdPerHourPerPod": each.price / 1e6,
            "instanceType": each.instance_type,
            "podsPerNode": each.per_node,
        }
    if each.answer.slowdown is not None:
        found["expectedSlowdown"] = round(float(each.answer.slowdown), 3)
    return found


def _explain_plan(planned: Planned, output: Output) -> None:
    from gpuslice.planner.explain import pool_uses

    made = planned.solution.plan
    uses = pool_uses(made, planned.workloads.workloads, planned.catalog)
    if output is Output.NAME:
        print_text("\n".join(each.pool for each in uses))
        return
    drivers = _drivers(planned)
    if output is not Output.TABLE:
        print_data(
            {
                "summary": made.summary,
                "pools": [
                    {
                        "name": each.pool,
                        "usdPerHour": each.price / 1e6,
                        "binds": each.binds,
                        "used": {name: round(share, 4) for name, share in each.used.items()},
                        "idleUsdPerHour": each.idle / 1e6,
                    }
                    for each in uses
                ],
                "drivers": [{"workload": name, "usdPerHourPerReplica": one, "usdPerHour": total} for name, one, total in drivers],
                "unplaced": made.unplaced,
            },
            output,
        )
        return
    summary = made.summary
    print_text(
        f"Planned ${summary.usd_per_hour:,.2f} an hour. One pool for each workload costs "
        f"${summary.usd_per_hour - summary.optimal_usd_per_hour:,.2f} of that; proven is that no plan costs less than "
        f"${summary.bound_usd_per_hour:,.2f}."
    )
    print_text("\nWhat binds each pool (share of its nodes in use):")
    _print_uses(uses)
    if drivers:
        print_text("\nWhat the money goes to (what one more replica adds to the least possible bill):")
        print_table(
            ("workload", "$ an hour per replica", "$ an hour"),
            [(name, f"{one:.4f}", f"{total:.2f}") for name, one, total in drivers[:15]],
            right=("$ an hour per replica", "$ an hour"),
        )


def _print_uses(uses: tuple[PoolUse, ...]) -> None:
    resources = ("slots", "cpu", "memory", "gpu-memory", "gpu-time")
    print_table(
        ("pool", "$ an hour", *resources, "binds", "idle $ an hour"),
        [
            (
                each.pool,
                f"{each.price / 1e6:,.2f}",
                *(f"{each.used[name]:.0%}" if name in each.used else None for name in resources),
                each.binds,
                f"{each.idle / 1e6:,.2f}",
            )
            for each in uses
        ],
        right=("$ an hour", *resources, "idle $ an hour"),
    )


def _drivers(planned: Planned) -> list[tuple[str, float, float]]:
    """Workloads by what they add to the least possible bill: the duals of the bound are prices per replica."""
    solution = planned.solution
    if solution.relaxation is None:
        return []
    found = [
        (member.name, float(price), float(price) * member.replicas)
        for each, price in zip(solution.classes, solution.relaxation.duals, strict=True)
        for member in each.members
    ]
    return sorted(found, key=lambda entry: (-entry[2], entry[0]))
