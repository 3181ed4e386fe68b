"""`gpuslice plan`: from workloads to the cheapest safe plan, as tables for people and plan.yaml for all else."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuslice.cli.console import CatalogOption, Output, OutputOption, say
from gpuslice.cli.interruption import INTERRUPTED
from gpuslice.cli.models_today import ModelsOption
from gpuslice.cli.plan_file import write_plan
from gpuslice.cli.planning import (
    DEFAULT_TIME_LIMIT,
    AssumedOption,
    Buying,
    DropSelectorOption,
    EffortOption,
    FallbackOption,
    ForbidOption,
    GapOption,
    MaxNodesOption,
    MaxPoolsOption,
    MinSavingOption,
    Moment,
    MomentOption,
    OverheadOption,
    PolicyFileOption,
    PreviousOption,
    ReservedOption,
    SeatsOption,
    SpotShareOption,
    StackOption,
    TimeLimitOption,
    Unknown,
    UnknownOption,
    WithoutOption,
    WorkloadsOption,
    make_plan,
)
from gpuslice.cli.shown.plan import print_plan, verdict
from gpuslice.hardware.stack import Stack
from gpuslice.plan.comparison import dearer_than_now
from gpuslice.plan.defaults import DEFAULT_GAP, DEFAULT_MIN_SAVING


def plan(
    *,
    file: WorkloadsOption,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Write plan.yaml.")] = "",
    stack: StackOption = Stack.AL2023,
    catalog_file: CatalogOption = "",
    overhead: OverheadOption = "",
    at: MomentOption = Moment.NOW,
    today: ModelsOption = None,
    accept_assumed: AssumedOption = False,
    unknown: UnknownOption = Unknown.KEEP,
    drop_selector: DropSelectorOption = None,
    without: WithoutOption = None,
    policy: PolicyFileOption = "",
    forbid: ForbidOption = None,
    max_nodes: MaxNodesOption = None,
    max_spot_share: SpotShareOption = None,
    reserved: ReservedOption = None,
    max_pools: MaxPoolsOption = None,
    previous: PreviousOption = "",
    min_saving: MinSavingOption = DEFAULT_MIN_SAVING,
    fallback: FallbackOption = True,
    seats: SeatsOption = False,
    gap: GapOption = DEFAULT_GAP,
    effort: EffortOption = 1.0,
    time_limit: TimeLimitOption = DEFAULT_TIME_LIMIT,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 where the plan is dearer than what is paid now.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Find the cheapest way to slice and buy GPUs that gives every workload what it needs.

    Exits with 1 if a workload fits nothing; the others are planned all the same. Those that are left where they are,
    with the reason, aren't counted as such. After Ctrl-C the best plan so far comes out, marked as such, and the exit
    code is 130; Ctrl-C a second time ends at once.
    """
    planned = make_plan(
        file,
        catalog_file=catalog_file,
        stack=stack,
        overhead=overhead,
        at=at,
        today=today or (),
        accept_assumed=accept_assumed,
        unknown=unknown,
        drop_selector=drop_selector,
        without=without,
        fallback=fallback,
        seats=seats,
        gap=gap,
        effort=effort,
        time_limit=time_limit,
        previous=previous,
        min_saving=min_saving,
        buying=Buying(
            policy,
            tuple(forbid or ()),
            tuple(max_nodes or ()),
            max_spot_share,
            tuple(reserved or ()),
            max_pools,
        ),
    )
    made = planned.solution.plan
    if out:
        write_plan(made, out)
    print_plan(made, output)
    say(verdict(made))
    if out and not made.pools:
        say(f"written to {out}")
    elif out:
        say(f"written to {out}; next: gpuslice render -f {out} --cluster NAME --role ROLE --out manifests/")
    dearer = dearer_than_now(made.summary)
    if dearer and output is not Output.TABLE:
        say(dearer)
    of = len(planned.workloads.workloads)
    stays = sum(left.stays for left in made.unplaced)
    if stays:
        say(f"{stays} of {of} workloads are left where they are")
    if len(made.unplaced) > stays:
        say(f"{len(made.unplaced) - stays} of {of} workloads fit nothing")
        raise typer.Exit(1)
    if dearer and strict:
        raise typer.Exit(1)
    if made.summary.termination == "time-limit":
        say("--time-limit ended the search: run again, it may end elsewhere; this is the best plan so far")
    if made.summary.termination == "interrupted":
        say("this is the best plan so far: with more time there may be a cheaper one")
        raise typer.Exit(INTERRUPTED)
