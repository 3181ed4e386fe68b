"""`gpuslice report`: a plan as one HTML page for people who decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import CatalogOption, say
from gpuslice.cli.planning import AssumedOption, Moment, MomentOption
from gpuslice.cli.subject import inputs_of, subject_of
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Plan
    from gpuslice.simulator.result import Simulation


def report(
    *,
    files: Annotated[
        list[str],
        typer.Option(
            "-f",
            "--filename",
            metavar="FILE",
            help="The plan, and in another -f the workloads that it was made for: workloads.yaml or manifests. "
            "- is stdin.",
        ),
    ],
    simulation: Annotated[
        str,
        typer.Option(
            "--simulation",
            metavar="FILE",
            help="What `gpuslice simulate` made of this plan, to be shown too.",
        ),
    ] = "",
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to write the page.")
    ] = "report.html",
    catalog_file: CatalogOption = "",
    at: MomentOption = Moment.NOW,
    accept_assumed: AssumedOption = False,
) -> None:
    """Write a plan as a page to look at: what it saves, where the money goes, who is where and why.

    With the workloads beside the plan, every rule is recomputed first, and each workload has its alternatives. Exits
    with 1 if the plan breaks a rule: the page then says which, and draws nothing.
    """
    from gpuslice.artefacts.output import write_atomically
    from gpuslice.artefacts.quoting import shorten
    from gpuslice.report.page import page

    plan, workloads = inputs_of(files, at.value, accept_assumed=accept_assumed)
    subject = subject_of(plan, workloads, catalog_file)
    if simulation:
        subject = replace(subject, simulation=_simulation(simulation, plan, files))
    write_atomically(out, page(subject))
    say(f"written to {out}")
    if subject.violations:
        first = subject.violations[0]
        say(
            f"the plan breaks rules, and is not drawn: {first.rule}: {shorten(first.where)}: {shorten(first.message)}"
        )
        raise typer.Exit(1)


def _simulation(path: str, plan: Plan, files: list[str]) -> Simulation:
    """The simulation in a file.

    Raises:
        InputError: it is none, or one of another plan.
    """
    from gpuslice.artefacts.documents import read_documents
    from gpuslice.artefacts.strict import decode
    from gpuslice.simulator.replay import digest
    from gpuslice.simulator.result import Simulation

    document = read_documents(path)[0]
    replay = decode(document.data, Simulation, where=document.where)
    if replay.plan and replay.plan != digest(plan):
        raise InputError(
            "is of another plan",
            where=document.where,
            fix=f"replay this one: gpuslice simulate {' '.join(f'-f {name}' for name in files)} …",
        )
    if (replay.region, replay.prices) != (plan.catalog.region, plan.catalog.prices):
        raise InputError(
            f"has prices of {replay.region[:40]} of {replay.prices[:40]}, the plan is of {plan.catalog.region[:40]} "
            f"of {plan.catalog.prices[:40]}",
            where=document.where,
            fix="replay with the plan's catalog: --catalog FILE",
        )
    return replay
