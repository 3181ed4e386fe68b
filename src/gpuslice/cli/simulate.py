"""`gpuslice simulate`: demand over time replayed against policies, as a table and as simulation.json."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gpuslice.cli.console import CatalogOption, Output, OutputOption, print_data, print_names, say
from gpuslice.cli.planning import (
    DEFAULT_TIME_LIMIT,
    AssumedOption,
    OverheadOption,
    StackOption,
    TimeLimitOption,
)
from gpuslice.cli.replay import PLAN, Replay, read, run
from gpuslice.errors import InputError
from gpuslice.hardware.stack import Stack
from gpuslice.karpenter.times import BOOT_SECONDS
from gpuslice.plan.defaults import CONSOLIDATE_AFTER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.plan.artefact import Plan
    from gpuslice.simulator.result import Simulation

_POLICIES: Final = "whole-gpu,time-slicing-4,all-1g-mig,plan"


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
    asked = Replay(
        files=tuple(files or ()),
        trace=trace,
        today=today,
        days=days,
        catalog=catalog_file,
        overhead=overhead,
        accept_assumed=accept_assumed,
        consolidate_after=consolidate_after,
        boot=boot,
        stack=stack.value,
        time_limit=time_limit,
        policies=policies,
        seed=seed,
        allow=allow,
        isolation=isolation,
        prices=prices,
        spot_interruptions=spot_interruptions,
    )
    if sweep:
        from gpuslice.cli.sweep import run as run_sweep

        _check_sweep(asked, plan_out)
        run_sweep(sweep, asked, jobs, out, output, ray=ray)
        return
    _check_alone(ray, jobs)
    course = read(asked, partial(_check_outputs, out, plan_out, prices))
    replayed, plan = run(course)
    _print(replayed, out, output)
    _say_written(asked, out, plan_out, plan, made=course.plan is None)


def _print(replayed: Simulation, out: str, output: Output) -> None:
    from gpuslice.artefacts.documents import dump_json
    from gpuslice.artefacts.output import write_atomically
    from gpuslice.cli.shown.simulation import print_simulation

    if out:
        write_atomically(out, dump_json(replayed))
    match output:
        case Output.NAME:
            print_names(outcome.name for outcome in replayed.outcomes)
        case Output.TABLE:
            print_simulation(replayed)
        case _:
            print_data(replayed, output)


def _say_written(asked: Replay, out: str, plan_out: str, plan: Plan | None, *, made: bool) -> None:
    from gpuslice.cli.plan_file import write_plan

    if plan_out and plan is not None:
        write_plan(plan, plan_out)
        say(f"the plan is written to {plan_out}")
    if out:
        named = "" if made else "PLAN" if len(asked.files) > 1 else "".join(asked.files)
        shown = plan_out or named
        say(f"written to {out}" + (f"; next: gpuslice report -f {shown} --simulation {out}" if shown else ""))


def _check_sweep(asked: Replay, plan_out: str) -> None:
    """Accept options that say nothing of what the sweep's file says."""
    given = {
        "--policies": asked.policies != _POLICIES,
        "--seed": asked.seed != 0,
        "--allow": bool(asked.allow),
        "--isolation": bool(asked.isolation),
        "--prices": bool(asked.prices),
        "--spot-interruptions": bool(asked.spot_interruptions),
        "--plan-out": bool(plan_out),
    }
    if named := [name for name, is_given in given.items() if is_given]:
        raise InputError(
            f"{', '.join(named)}: the sweep's file says that", where="--sweep", fix="write it there"
        )


def _check_alone(ray: str, jobs: int | None) -> None:
    if ray or jobs is not None:
        raise InputError("is for a sweep", where="--ray" if ray else "--jobs", fix="name one: --sweep FILE")


def _check_outputs(out: str, plan_out: str, prices: str, plan: Plan | None, names: Sequence[str]) -> None:
    """Before anything is replayed: that what is to be written will be there, and in files of their own."""
    if plan_out and (plan is not None or PLAN not in names):
        raise InputError(
            "no plan is made here", where="--plan-out", fix="name no plan, and the policy `plan`"
        )
    if plan_out and prices:
        raise InputError(
            "a plan for other prices than its catalog's",
            where="--plan-out with --prices",
            fix="write the prices into a catalog, and name it with --catalog",
        )
    if out and out == plan_out:
        raise InputError("is named twice", where="--out and --plan-out", fix="write two files")
