"""`gpuslice simulate`: demand over time replayed against policies, as a table and as simulation.json."""

from __future__ import annotations

from functools import partial
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
    progress,
    say,
)
from gpuslice.cli.demand import check_policies, inputs_of, market_of, timeline_of, what_if
from gpuslice.cli.planning import (
    DEFAULT_TIME_LIMIT,
    AssumedOption,
    OverheadOption,
    StackOption,
    TimeLimitOption,
)
from gpuslice.errors import InputError
from gpuslice.hardware.stack import Stack
from gpuslice.karpenter.times import BOOT_SECONDS
from gpuslice.plan.defaults import CONSOLIDATE_AFTER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.plan.artefact import Plan
    from gpuslice.simulator.policies import Policy
    from gpuslice.simulator.result import Simulation
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.policy import Policy as Rules
    from gpuslice.workloads.timelines import Timeline

_POLICIES: Final = "whole-gpu,time-slicing-4,all-1g-mig,plan"
_PLAN: Final = "plan"


def simulate(
    *,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--filename",
            metavar="FILE",
            help="workloads.yaml, for --days and for counts of replicas; in another -f a plan to replay.",
        ),
    ] = None,
    trace: Annotated[
        str,
        typer.Option(
            "--trace",
            metavar="FILE",
            help="openb, GenTD26, or counts: a CSV with time,workload,replicas, or an answer of Prometheus.",
        ),
    ] = "",
    today: Annotated[
        str, typer.Option("--today", metavar="GPU", help="The GPU model that GenTD26's pods ran on.")
    ] = "",
    days: Annotated[
        int,
        typer.Option(
            "--days",
            metavar="N",
            help="Without a trace: replicas that rise from now to peak each day.",
            min=0,
            max=3660,
        ),
    ] = 0,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Of the daily wave, and of spot interruptions.")
    ] = 0,
    policies: Annotated[
        str, typer.Option("--policies", metavar="NAMES", help="Which to replay, in this order.")
    ] = _POLICIES,
    allow: Annotated[
        str, typer.Option("--allow", metavar="GPUS", help="What if every workload might run on these models?")
    ] = "",
    isolation: Annotated[
        str,
        typer.Option(
            "--isolation", metavar="LEVEL", help="What if all asked for none, memory or hardware isolation?"
        ),
    ] = "",
    prices: Annotated[
        str,
        typer.Option(
            "--prices",
            metavar="FILE",
            help="What if these instance types cost that? A line each: g5.xlarge: {on-demand: 0.61, spot: 0.3}",
        ),
    ] = "",
    spot_interruptions: Annotated[
        float,
        typer.Option(
            "--spot-interruptions",
            metavar="RATE",
            help="How often EC2 takes a spot node back: times per hour of its life, such as 0.05.",
            min=0,
            max=60,
        ),
    ] = 0,
    consolidate_after: Annotated[
        float, typer.Option("--consolidate-after", metavar="SECONDS", help="Of every pool.", min=0)
    ] = CONSOLIDATE_AFTER_SECONDS,
    boot: Annotated[
        float,
        typer.Option(
            "--boot", metavar="SECONDS", help="From a node's launch until pods run on it.", min=0, max=86_400
        ),
    ] = BOOT_SECONDS,
    sweep: Annotated[
        str,
        typer.Option(
            "--sweep",
            metavar="FILE",
            help="Replay a grid of policies, what-ifs and seeds; kept beside it, and gone on with if cut off.",
        ),
    ] = "",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            help="Replays of a sweep at once; default: 2, and with --ray as many as its CPUs.",
            min=1,
            max=1000,
        ),
    ] = None,
    ray: Annotated[
        str,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Replay a sweep on this Ray cluster: HOST:PORT, or ray://HOST:PORT (needs gpuslice[ray]).",
        ),
    ] = "",
    stack: StackOption = Stack.AL2023,
    catalog_file: CatalogOption = "",
    overhead: OverheadOption = "",
    accept_assumed: AssumedOption = False,
    time_limit: TimeLimitOption = DEFAULT_TIME_LIMIT,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Write simulation.json.")] = "",
    plan_out: Annotated[
        str,
        typer.Option("--plan-out", metavar="FILE", help="Write the plan that was made, where -f names none."),
    ] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Replay demand over time: what each policy would have cost, who would have waited, what would have moved.

    The policy `plan` is the plan named with -f, else one made for the most replicas that there are at once;
    `replan-6h` plans anew every 6 hours for who was there since, and counts whom that moves.
    """
    from pathlib import Path

    from gpuslice.artefacts.documents import dump_json
    from gpuslice.artefacts.output import write_atomically
    from gpuslice.cli.plan import write_plan
    from gpuslice.cloud.allocatable import daemonset_overhead, parse_overhead
    from gpuslice.simulator.replanning import Replanning, hours_of
    from gpuslice.simulator.replay import look_seconds, replay, simulation

    if sweep:
        from gpuslice.cli.sweep import run

        _check_sweep(
            {
                "--policies": policies != _POLICIES,
                "--seed": seed != 0,
                "--allow": bool(allow),
                "--isolation": bool(isolation),
                "--prices": bool(prices),
                "--spot-interruptions": bool(spot_interruptions),
                "--plan-out": bool(plan_out),
            }
        )
        common = [
            *_given("-f", *(files or ())),
            *_given("--trace", trace),
            *_given("--today", today),
            *_given("--days", str(days or "")),
            *_given("--catalog", catalog_file),
            *_given("--overhead", overhead),
            *(["--accept-assumed"] * accept_assumed),
            *_given("--consolidate-after", f"{consolidate_after:g}"),
            *_given("--boot", f"{boot:g}"),
            *_given("--stack", stack.value),
            *_given("--time-limit", f"{time_limit:g}"),
        ]
        run(sweep, common, jobs, out, output, ray=ray)
        return
    _check_alone(ray, jobs)
    plan, workloads, peaks = inputs_of(files or [], accept_assumed=accept_assumed)
    names = _names(policies)
    _check_outputs(out, plan_out, planned=plan is None and _PLAN in names, what_if=prices)
    given = plan is not None
    timeline = what_if(timeline_of(trace, today, days, seed, workloads, peaks), allow, isolation)
    catalog, rules = market_of(plan, workloads, catalog_file, prices)
    taken = parse_overhead(overhead) if overhead else daemonset_overhead()
    look = look_seconds(timeline.seconds)
    outcomes = []
    for name in names:
        with progress(f"replaying {name} …"):
            made = partial(
                _planned,
                catalog=catalog,
                taken=taken,
                stack=stack,
                rules=rules,
                seconds=time_limit,
                assumed=not overhead,
            )
            replanning = None
            if (hours := hours_of(name)) is not None:
                replanning = Replanning(timeline, made, hours, catalog, taken, consolidate_after)
            elif name == _PLAN:
                plan = plan or made(timeline.workloads)
            policy = (
                replanning.policy(0.0)
                if replanning
                else _policy(name, plan, timeline, catalog, taken, consolidate_after)
            )
            outcomes.append(
                replay(
                    timeline,
                    policy,
                    catalog,
                    boot=boot,
                    look=look,
                    spot_interruptions=spot_interruptions,
                    seed=seed,
                    replanning=replanning,
                )
            )
    assumptions = (
        f"a node takes {boot:g} s from its launch until pods run on it",
        f"Karpenter looks for something to consolidate every {look:g} s, one pool at a time, or those that share pods",
        f"pools wait {consolidate_after:g} s after a change of pods before they are consolidated",
        "the scheduler takes the first node with room; a pod that is moved runs again at once where there is room",
        "whole, time-slicing and MIG nodes are bought on demand, a plan's as the plan says",
        _spot(spot_interruptions, seed),
        "daemonsets as they are planned for; EC2 is never out of a type",
        *((f"prices of {Path(prices).name} in place of the catalog's",) if prices else ()),
    )
    found = simulation(timeline, outcomes, catalog, plan if _PLAN in names else None, assumptions)
    if out:
        write_atomically(out, dump_json(found))
    match output:
        case Output.NAME:
            print_names(each.name for each in found.outcomes)
        case Output.TABLE:
            _print(found)
        case _:
            print_data(found, output)
    if plan_out and plan is not None:
        write_plan(plan, plan_out)
        say(f"the plan is written to {plan_out}")
    if out:
        shown = plan_out or (
            "PLAN" if given and len(files or ()) > 1 else "".join(files or ()) if given else ""
        )
        say(f"written to {out}" + (f"; next: gpuslice report -f {shown} --simulation {out}" if shown else ""))


def _given(option: str, *values: str) -> list[str]:
    """The option with each value that there is."""
    return [word for value in values if value for word in (option, value)]


def _check_sweep(given: dict[str, bool]) -> None:
    if named := [name for name, each in given.items() if each]:
        raise InputError(
            f"{', '.join(named)}: the sweep's file says that", where="--sweep", fix="write it there"
        )


def _check_alone(ray: str, jobs: int | None) -> None:
    if ray or jobs is not None:
        raise InputError("is for a sweep", where="--ray" if ray else "--jobs", fix="name one: --sweep FILE")


def _names(policies: str) -> list[str]:
    """The policies, each once."""
    from gpuslice.plan.tutorials import tutorial_name

    names = [tutorial_name(name.strip()) for name in policies.split(",") if name.strip()]
    if not names:
        raise InputError("names no policy", where="--policies", fix=f"such as {_POLICIES}")
    if twice := [each for each in names if names.count(each) > 1]:
        raise InputError(f"names {twice[0][:40]!r} twice", where="--policies", fix="name each once")
    check_policies(names, "--policies")
    return names


def _check_outputs(out: str, plan_out: str, *, planned: bool, what_if: str) -> None:
    """Before anything is replayed: that what is to be written will be there, and in files of their own."""
    if plan_out and not planned:
        raise InputError(
            "no plan is made here", where="--plan-out", fix="name no plan, and the policy `plan`"
        )
    if plan_out and what_if:
        raise InputError(
            "a plan for other prices than its catalog's",
            where="--plan-out with --prices",
            fix="write the prices into a catalog, and name it with --catalog",
        )
    if out and out == plan_out:
        raise InputError("is named twice", where="--out and --plan-out", fix="write two files")


def _spot(rate: float, seed: int) -> str:
    if not rate:
        return "EC2 never takes a spot node back"
    return (
        f"EC2 takes a spot node back {rate:g} times per hour of its life, by chance (seed {seed}); its pods leave at "
        "the notice and start again"
    )


def _planned(
    workloads: Sequence[Workload],
    catalog: Catalog,
    taken: DaemonsetOverhead,
    stack: Stack,
    rules: Rules,
    seconds: float,
    *,
    assumed: bool,
) -> Plan:
    import time

    from gpuslice.planner import budget
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.settings import Settings
    from gpuslice.planner.solve import solve

    started = time.monotonic()
    return solve(
        workloads,
        catalog,
        Settings(taken, overhead_assumed=assumed, stack=stack, policy=rules),
        clock=Clock(budget.SECONDS, lambda: started + seconds - time.monotonic()),
    ).plan


def _policy(
    name: str,
    plan: Plan | None,
    timeline: Timeline,
    catalog: Catalog,
    taken: DaemonsetOverhead,
    consolidate_after: float,
) -> Policy:
    from gpuslice.simulator.baselines import baseline
    from gpuslice.simulator.policies import of_plan

    if name == _PLAN and plan is not None:
        return of_plan(plan, timeline.workloads, catalog, taken, consolidate_after)
    return baseline(name, timeline.workloads, catalog, taken, consolidate_after)


def _print(found: Simulation) -> None:
    interrupted = any(each.interruptions for each in found.outcomes)
    replanned = any(each.replanned for each in found.outcomes)
    print_table(
        (
            "policy",
            "$ a month",
            "gpu-hours",
            "used",
            "p50 wait",
            "p95",
            "p99",
            "never placed",
            "moved",
            *(("replanned",) if replanned else ()),
            *(("interrupted",) if interrupted else ()),
            "exposed gpu-hours",
            "wrong for",
        ),
        [
            (
                each.name,
                f"{each.usd_per_month:,.0f}",
                f"{each.gpu_hours_bought:,.0f}",
                f"{each.gpu_hours_used / each.gpu_hours_bought:.0%}" if each.gpu_hours_bought else None,
                _seconds(each.pending.p50),
                _seconds(each.pending.p95),
                _seconds(each.pending.p99),
                f"{each.never_placed:,}",
                f"{each.evictions:,}",
                *((f"{each.replanned:,}",) if replanned else ()),
                *((f"{each.interruptions:,}",) if interrupted else ()),
                f"{each.exposed_gpu_hours:,.0f}",
                f"{each.misfits} workload{'s' * (each.misfits != 1)}" if each.misfits else None,
            )
            for each in found.outcomes
        ],
        right=(
            *("$ a month", "gpu-hours", "used", "p50 wait", "p95", "p99"),
            *("never placed", "moved", "replanned", "interrupted", "exposed gpu-hours"),
        ),
    )
    hours = found.demand.seconds / 3600
    print_list("Replayed", (f"{found.demand.source}, over {hours:,.1f} hours", *found.demand.notes))
    print_list("Assumed", found.assumptions)


def _seconds(value: float) -> str:
    return f"{value:,.0f} s"
