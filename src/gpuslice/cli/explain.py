"""`gpuslice explain`: of a plan that is given, at once, or of one made now; printed by the modules beside this."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer

from gpuslice.cli.console import CatalogOption, Output, OutputOption
from gpuslice.cli.explain_plan import explain_plan
from gpuslice.cli.explain_workload import explain_workload, named
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
    SeatsOption,
    StackOption,
    TimeLimitOption,
    WithoutOption,
    make_plan,
)
from gpuslice.cli.savings import (
    DEFAULT_SAVINGS_LIMIT,
    SavingsLimitOption,
    SavingsOption,
    exit_after,
    find_savings,
)
from gpuslice.cli.subject import inputs_of, subject_of
from gpuslice.errors import InputError
from gpuslice.hardware.stack import Stack
from gpuslice.plan.defaults import DEFAULT_GAP
from gpuslice.report.subject import Subject

FilesOption = Annotated[
    list[str],
    typer.Option(
        "-f",
        "--filename",
        metavar="FILE",
        help="Workloads (workloads.yaml, or manifests: a file or a directory), and in another -f the plan that was "
        "made of them; - is stdin.",
    ),
]
_FOR_PLANNING: Final = {
    "stack": "--stack",
    "overhead": "--overhead",
    "today": "--today",
    "without": "--without",
    "fallback": "--fallback",
    "seats": "--seats",
    "gap": "--gap",
    "effort": "--effort",
    "time_limit": "--time-limit",
    "savings": "--savings",
    "savings_limit": "--savings-limit",
}


def explain(
    context: typer.Context,
    *,
    workload: Annotated[
        str, typer.Argument(metavar="[WORKLOAD]", help="namespace/name; left out: the whole plan.")
    ] = "",
    files: FilesOption,
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
    """Show the alternatives of one workload and what each would cost or break, or what binds the whole plan.

    With a plan beside the workloads, it is that plan, at once; without one, one is made. Exits with 2 if the plan is of
    other workloads.
    """
    if savings and output is Output.NAME:
        raise InputError("names have no savings", where="-o", fix="with --savings, write table, json or yaml")
    if len(files) > 1:
        _refuse_planning(context)
        subject = _subject(files, at, catalog_file, accept_assumed=accept_assumed)
        if workload:
            explain_workload(subject, workload, output)
        else:
            explain_plan(subject, output)
        return
    _refuse_plan_alone(files[0])
    planned = make_plan(
        files[0],
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
        named(planned.workloads.workloads, workload)
    found_savings = None
    if savings:
        found_savings = find_savings(
            planned, effort=effort, time_limit=time_limit, limit=savings_limit, name=workload
        )
    subject = Subject(planned.solution.plan, planned.catalog, planned.workloads.workloads, given=True)
    if workload:
        explain_workload(subject, workload, output, found_savings)
    else:
        explain_plan(subject, output, planned, found_savings)
    exit_after(found_savings)


def _refuse_planning(context: typer.Context) -> None:
    """That nothing is asked for which only planning could give.

    Raises:
        InputError: it is.
    """
    for name, option in _FOR_PLANNING.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(
                f"{option} is for making a plan, and one is given",
                where="-f",
                fix="leave it out, or name the workloads alone",
            )


def _refuse_plan_alone(path: str) -> None:
    from gpuslice.artefacts.documents import read_documents

    if path == "-" or not os.path.isfile(path):  # noqa: PTH113  Path.is_file raises on a name that is too long
        return
    match read_documents(path)[0].data:
        case {"kind": "Plan"}:
            raise InputError(
                "is a plan, and says nothing of what its workloads need",
                where=path,
                fix="name these, too: gpuslice explain -f plan.yaml -f workloads.yaml",
            )


def _subject(files: list[str], at: Moment, catalog_file: str, *, accept_assumed: bool) -> Subject:
    """The plan and its workloads.

    Raises:
        InputError: it is a plan of other workloads, or breaks another rule.
    """
    from gpuslice.artefacts.quoting import shorten

    plan, workloads = inputs_of(files, at.value, accept_assumed=accept_assumed)
    if workloads is None:
        raise InputError("the workloads are missing", where="-f", fix="name those that the plan was made of")
    subject = subject_of(plan, workloads, catalog_file)
    if subject.violations:
        first, more = subject.violations[0], len(subject.violations) - 1
        others = f" (and {more} more)" if more else ""
        raise InputError(
            f"the plan is of other workloads: {first.rule}: {shorten(first.where)}: "
            f"{shorten(first.message)}{others}",
            where="-f",
            fix="plan them anew, or name those that it was made of, with --at and --accept-assumed as then",
        )
    return subject
