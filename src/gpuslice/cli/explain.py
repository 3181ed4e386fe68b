"""`gpuslice explain`: why a workload is where it is, or what binds the whole plan."""

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
from gpuslice.cli.planning import (
    DEFAULT_GAP,
    DEFAULT_TIME_LIMIT,
    AssumedOption,
    FallbackOption,
    GapOption,
    Moment,
    MomentOption,
    OverheadOption,
    Planned,
    StackName,
    StackOption,
    TimeLimitOption,
    WithoutOption,
    WorkloadsOption,
    make_plan,
)
from gpuslice.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.planner.explain import Alternative, PoolUse
    from gpuslice.planner.habits import Habits
    from gpuslice.planner.plan import MissingType, Summary
    from gpuslice.workloads.model import Workload

_RESOURCES: Final = ("slots", "cpu", "memory", "gpu-memory", "gpu-time")
_DRIVERS_SHOWN: Final = 15
_SHOWN: Final = 0.005  # dollars an hour: less isn't worth a line
_HABITS: Final = {
    "template": "pods of one template all go to one pool",
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
    stack: StackOption = StackName.AL2023,
    catalog_file: CatalogOption = "",
    overhead: OverheadOption = "",
    at: MomentOption = Moment.NOW,
    accept_assumed: AssumedOption = False,
    without: WithoutOption = None,
    fallback: FallbackOption = True,
    gap: GapOption = DEFAULT_GAP,
    time_limit: TimeLimitOption = DEFAULT_TIME_LIMIT,
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
        without=without,
        fallback=fallback,
        gap=gap,
        time_limit=time_limit,
    )
    if workload:
        _explain_workload(planned, workload, output)
    else:
        _explain_plan(planned, output)


def _explain_workload(planned: Planned, name: str, output: Output) -> None:
    from gpuslice.artefacts.quoting import quoted
    from gpuslice.planner.explain import alternatives
    from gpuslice.planner.words import need_in_words

    by_name = {each.name: each for each in planned.workloads.workloads}
    if name not in by_name:
        raise InputError(
            f"no workload is called {quoted(name)}",
            fix=nearest(name, by_name) or f"there are {', '.join(list(by_name)[:3])}, …",
        )
    workload, made = by_name[name], planned.solution.plan
    if workload.service is not None:
        _explain_service(planned, workload, output)
        return
    found = alternatives(workload, planned.catalog, planned.settings.overhead, planned.settings.stack)
    placed = [each for each in made.assignments if each.workload == name]
    missed = [each for each in made.unplaced if each.workload == name]
    match output:
        case Output.NAME:
            print_names(each.slice for each in found if each.answer.fits)
        case Output.TABLE:
            for each in placed:
                print_text(f"{name}: {_pods(each.replicas)} on {each.slice}, in pool {each.pool}")
                print_text(f"  why: {each.because}")
            for miss in missed:
                print_text(f"{name}: not placed\n  why: {miss.reason}")
            if not placed and not missed:
                print_text(f"{name}: no replicas, so nothing to place")
            print_text(f"  need: {need_in_words(workload.need)}")
            _print_alternatives(found, {each.slice for each in placed})
        case _:
            print_data(
                {
                    "workload": name,
                    "assignments": placed,
                    "unplaced": missed,
                    "alternatives": [_plain(each) for each in found],
                },
                output,
            )


def _explain_service(planned: Planned, workload: Workload, output: Output) -> None:
    """Its load, what serves it, and what each of its profiles would take."""
    from msgspec import UNSET

    from gpuslice.planner.explain_services import choices
    from gpuslice.planner.words import load_in_words

    settings, made, service = planned.settings, planned.solution.plan, workload.service
    assert service is not None  # noqa: S101  asked only for services
    found = choices(workload, planned.catalog, settings.overhead, settings.stack)
    placed = [each for each in made.assignments if each.workload == workload.name]
    missed = [each for each in made.unplaced if each.workload == workload.name]
    if output not in {Output.TABLE, Output.NAME}:
        listed = [
            {
                "slice": each.profile.slice,
                "batch": each.profile.batch,
                "processes": each.profile.processes,
                "latencyMs": each.profile.latency_ms,
                "throughput": each.throughput,
                **({"replicas": each.replicas} if each.replicas else {}),
                **(
                    {}
                    if each.price is None
                    else {"usdPerHour": each.price / 1e6, "instanceType": each.instance_type}
                ),
                **({"reason": each.reason} if each.reason else {}),
            }
            for each in found
        ]
        data = {"workload": workload.name, "assignments": placed, "unplaced": missed, "profiles": listed}
        print_data(data, output)
        return
    if output is Output.NAME:
        print_names(dict.fromkeys(each.profile.slice for each in found if not each.reason))
        return
    for each in placed:
        print_text(f"{workload.name}: {_pods(each.replicas)} on {each.slice}, in pool {each.pool}")
        print_text(f"  why: {each.because}")
        if each.service is not UNSET:
            spare = each.service.throughput * each.replicas / service.rate - 1
            print_text(f"  headroom: {spare:.0%} above the load")
    for miss in missed:
        print_text(f"{workload.name}: not placed\n  why: {miss.reason}")
    if not placed and not missed:
        print_text(f"{workload.name}: no load, so nothing to place")
    print_text(f"  load: {load_in_words(service)}")
    offered = [each for each in found if not each.reason]
    chosen = {
        (each.service.batch, each.service.processes, each.service.latency_ms)
        for each in placed
        if each.service
    }
    if offered:
        print_text("")
        print_table(
            ("", "profile on", "batch", "processes", "ms", "a pod does", "pods", "$ an hour", "cheapest on"),
            [
                (
                    "*"
                    if (each.profile.batch, each.profile.processes, each.profile.latency_ms) in chosen
                    else "",
                    each.profile.slice,
                    each.profile.batch,
                    each.profile.processes,
                    f"{each.profile.latency_ms:g}",
                    f"{each.throughput:g}",
                    each.replicas,
                    _dollars(each.price),
                    each.instance_type,
                )
                for each in offered
            ],
            right=("batch", "processes", "ms", "a pod does", "pods", "$ an hour"),
        )
        say(
            "* chosen; prices are of nodes that it would fill alone: the plan mixes workloads, often for less"
        )
    print_list(
        "Won't do",
        [
            f"{each.profile.slice}, batch {each.profile.batch}, processes {each.profile.processes}: {each.reason}"
            for each in found
            if each.reason
        ],
    )


def _print_alternatives(found: Sequence[Alternative], chosen: set[str]) -> None:
    """What would do, cheapest first, and below it what would not and why."""
    from gpuslice.planner.words import refusals

    offered = [each for each in found if each.price is not None]
    if offered:
        print_text("")
        print_table(
            ("", "slice", "$ an hour per pod", "pods a node", "slowdown", "cheapest on"),
            [
                (
                    "*" if each.slice in chosen else "",
                    each.slice,
                    _dollars(each.price, 4),
                    each.per_node,
                    None if each.answer.slowdown is None else f"{float(each.answer.slowdown):.2f}x",
                    each.instance_type,
                )
                for each in offered
            ],
            right=("$ an hour per pod", "pods a node", "slowdown"),
        )
        say(
            "* chosen; prices are of nodes that it would fill alone: the plan mixes workloads, often for less"
        )
    print_list("Won't do", [f"{slices}: {reason}" for slices, reason in refusals(found)])


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
    from gpuslice.planner.habits import habits

    made = planned.solution.plan
    uses = pool_uses(made, planned.workloads.workloads, planned.catalog)
    drivers = _drivers(planned)
    carried = planned.solution.carried
    costs = None
    if carried is not None:
        costs = habits(made, carried, planned.workloads.workloads, planned.catalog, planned.settings.overhead)
    match output:
        case Output.NAME:
            print_names(each.pool for each in uses)
        case Output.TABLE:
            _print_prices(made.summary, costs)
            if uses:
                _print_uses(uses)
            if drivers:
                _print_drivers(drivers)
            _print_missing(made.missing)
            print_list("Not placed", [f"{each.workload}: {each.reason}" for each in made.unplaced])
        case _:
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
                    "drivers": [
                        {"workload": name, "usdPerHourPerReplica": one, "usdPerHour": total}
                        for name, one, total in drivers
                    ],
                    "habits": {} if costs is None else {"cost": _parts(costs), "avoided": _avoided(costs)},
                    "missing": made.missing,
                    "unplaced": made.unplaced,
                },
                output,
            )


def _print_missing(missing: Sequence[MissingType]) -> None:
    if missing:
        print_text("\nWhat it means while EC2 is out of an instance type:")
        print_table(
            ("missing", "$ an hour more", "pods that wait"),
            [(each.instance_type, f"{each.usd_per_hour:+.2f}", each.waiting) for each in missing],
            right=("$ an hour more", "pods that wait"),
        )


def _print_prices(summary: Summary, costs: Habits | None) -> None:
    from msgspec import UNSET

    planned, optimal, bound = summary.usd_per_hour, summary.optimal_usd_per_hour, summary.bound_usd_per_hour
    print_text(f"planned: ${planned:,.2f} an hour")
    if planned - optimal >= _SHOWN:
        print_text(f"  ${planned - optimal:,.2f} more than the cheapest packing, ${optimal:,.2f}:")
        for name, usd in _parts(costs).items() if costs is not None else ():
            if abs(usd) >= _SHOWN:
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
    shown = [name for name in _RESOURCES if any(name in each.used for each in uses)]
    print_text(
        "\nHow full the nodes of each pool are, what binds them, and what its fullest resource leaves idle:"
    )
    print_table(
        ("pool", "$ an hour", "binds", *shown, "idle $"),
        [
            (
                each.pool,
                _dollars(each.price),
                each.binds,
                *(f"{each.used[name]:.0%}" if name in each.used else None for name in shown),
                _dollars(each.idle),
            )
            for each in uses
        ],
        right=("$ an hour", *shown, "idle $"),
    )


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
    found = [
        (member.name, float(price), float(price) * member.replicas)
        for each, price in zip(solution.classes, solution.relaxation.duals, strict=True)
        for member in each.members
    ]
    return sorted(found, key=lambda entry: (-entry[2], entry[0]))


def _dollars(micro: int | None, digits: int = 2) -> str:
    return "-" if micro is None else f"{micro / 1e6:,.{digits}f}"


def _pods(count: int) -> str:
    return f"{count} pod{'s' * (count != 1)}"
