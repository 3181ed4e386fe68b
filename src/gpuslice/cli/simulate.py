"""`gpuslice simulate`: demand over time replayed against policies, as a table and as simulation.json."""

from __future__ import annotations

from dataclasses import replace
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
from gpuslice.cli.planning import (
    DEFAULT_TIME_LIMIT,
    AssumedOption,
    OverheadOption,
    StackName,
    StackOption,
    TimeLimitOption,
)
from gpuslice.errors import AnswerIsNoError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.planner.plan import Plan
    from gpuslice.simulator.policies import Policy
    from gpuslice.simulator.result import Simulation
    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.timelines import Timeline

_POLICIES: Final = "whole,time-slicing-4,all-1g-mig,plan"
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
            "--trace", metavar="FILE", help="openb, GenTD26, or counts: a CSV with time,workload,replicas."
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
    ] = 300,
    boot: Annotated[
        float,
        typer.Option("--boot", metavar="SECONDS", help="From a node's launch until pods run on it.", min=0),
    ] = 180,
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
    stack: StackOption = StackName.AL2023,
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
    from gpuslice.cloud.selection import choose
    from gpuslice.simulator.replanning import Replanning, hours_of
    from gpuslice.simulator.replay import look_seconds, replay, simulation
    from gpuslice.workloads.policy import priced

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
    plan, workloads, peaks = _inputs(files or [], accept_assumed=accept_assumed)
    names = [each.strip() for each in policies.split(",") if each.strip()]
    _check_outputs(out, plan_out, planned=plan is None and _PLAN in names, what_if=prices)
    given = plan is not None
    timeline = _what_if(_timeline(trace, today, days, seed, workloads, peaks), allow, isolation)
    catalog = choose(catalog_file, workloads.region if workloads is not None else "")
    if plan is not None:
        catalog = priced(plan.policy, catalog)
        _accept(plan, catalog, catalog_file)
    if prices:
        from gpuslice.cloud.what_if import with_prices

        catalog = with_prices(catalog, prices)
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
        f"Karpenter looks for something to consolidate every {look:g} s, one pool at a time",
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
        shown = plan_out or ("plan.yaml" if given else "")
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


def _inputs(
    files: list[str], *, accept_assumed: bool
) -> tuple[Plan | None, WorkloadSet | None, dict[str, int]]:
    """The plan and the workloads among the files, and the workloads' peaks."""
    from gpuslice.artefacts.documents import read_documents
    from gpuslice.artefacts.strict import decode
    from gpuslice.planner.plan import Plan
    from gpuslice.workloads.artefact import parse_workloads

    plan: Plan | None = None
    workloads: WorkloadSet | None = None
    peaks: dict[str, int] = {}
    for path in files:
        documents = read_documents(path)
        match documents[0].data:
            case {"kind": "Plan"} if plan is None:
                plan = decode(documents[0].data, Plan, where=documents[0].where)
            case _ if workloads is None:
                workloads = parse_workloads(documents, accept_assumed=accept_assumed)
                peak = parse_workloads(documents, at="peak", accept_assumed=accept_assumed)
                peaks = {each.name: each.replicas for each in peak.workloads}
            case _:
                raise InputError(
                    "is one file too many", where=path, fix="name one plan and one workloads.yaml"
                )
    for each in workloads.workloads if workloads is not None else ():
        if each.service is not None:
            raise InputError(
                f"{each.name} is sized by its load, and what is replayed is numbers of replicas",
                where="-f",
                fix="plan it, and write the plan's replicas and a need in place of its service",
            )
    return plan, workloads, peaks


def _spot(rate: float, seed: int) -> str:
    if not rate:
        return "EC2 never takes a spot node back"
    return (
        f"EC2 takes a spot node back {rate:g} times per hour of its life, by chance (seed {seed}); its pods leave at "
        "the notice and start again"
    )


def _accept(plan: Plan, catalog: Catalog, catalog_file: str) -> None:
    """A plan that breaks a rule, or is of other prices, is not replayed as if it were one."""
    from gpuslice.planner.verify import verify_alone

    if (catalog.region, catalog.prices_date) != (plan.catalog.region, plan.catalog.prices):
        raise InputError(
            f"has prices of {catalog.region} of {catalog.prices_date}, the plan is of "
            f"{plan.catalog.region[:40]} of {plan.catalog.prices[:40]}",
            where=catalog_file or "the bundled catalog",
            fix="name the catalog that the plan was made with: --catalog FILE; or plan again",
        )
    violations = verify_alone(plan, catalog)
    if violations:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise AnswerIsNoError(
            f"the plan breaks a rule: {violations[0]}{more}",
            fix="plan again; gpuslice report shows every rule that it breaks",
        )


def _timeline(
    trace: str, today: str, days: int, seed: int, workloads: WorkloadSet | None, peaks: dict[str, int]
) -> Timeline:
    from gpuslice.workloads.timelines import from_file, wave

    if bool(trace) == bool(days):
        raise InputError(
            "neither a trace nor days are named" if not trace else "a trace and days are both named",
            where="--trace",
            fix="name --trace FILE, or --days N with -f workloads.yaml",
        )
    if trace:
        return from_file(trace, workloads=workloads, today=today or None)
    if workloads is None:
        raise InputError("days are replayed of workloads", where="--days", fix="name them: -f workloads.yaml")
    return wave(workloads, peaks, days, seed)


def _what_if(timeline: Timeline, allow: str, isolation: str) -> Timeline:
    """The same demand of workloads with other rules."""
    from gpuslice.hardware.gpus import gpu_named
    from gpuslice.hardware.slices import Isolation

    models = frozenset(gpu_named(each).name for each in allow.split(",") if each.strip())
    levels = [str(each.value) for each in Isolation]
    if isolation and isolation not in levels:
        raise InputError(
            f"no isolation is called {isolation[:40]!r}",
            where="--isolation",
            fix=f"write {', '.join(levels)}",
        )
    changed = []
    for each in timeline.workloads:
        need = replace(each.need, allow=models) if models else each.need
        changed.append(
            replace(each, need=replace(need, isolation=Isolation(isolation)) if isolation else need)
        )
    return replace(timeline, workloads=tuple(changed))


def _planned(
    workloads: Sequence[Workload],
    catalog: Catalog,
    taken: DaemonsetOverhead,
    stack: StackName,
    seconds: float,
    *,
    assumed: bool,
) -> Plan:
    import time

    from gpuslice.hardware.stacks import Stack
    from gpuslice.planner.solve import Settings, solve

    started = time.monotonic()
    return solve(
        workloads,
        catalog,
        Settings(taken, overhead_assumed=assumed, stack=Stack(stack.value)),
        remaining=lambda: started + seconds - time.monotonic(),
    ).plan


def _policy(
    name: str,
    plan: Plan | None,
    timeline: Timeline,
    catalog: Catalog,
    taken: DaemonsetOverhead,
    consolidate_after: float,
) -> Policy:
    from gpuslice.simulator.policies import baseline, of_plan

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
