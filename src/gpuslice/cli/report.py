"""`gpuslice report`: a plan as one HTML page for people who decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import CatalogOption, say
from gpuslice.cli.planning import AssumedOption, Moment, MomentOption
from gpuslice.cli.subject import subject_of
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Plan
    from gpuslice.simulator.result import Simulation
    from gpuslice.workloads.artefact import WorkloadSet


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

    plan, workloads = _read(files, at, accept_assumed=accept_assumed)
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


def _read(files: list[str], at: Moment, *, accept_assumed: bool) -> tuple[Plan, WorkloadSet | None]:
    """The plan among the files, and the workloads if they are there."""
    import os

    from gpuslice.artefacts.documents import read_documents
    from gpuslice.plan.reading import plan_in
    from gpuslice.workloads.artefact import parse_workloads
    from gpuslice.workloads.sources import read

    plans: list[Plan] = []
    workload_sets: list[WorkloadSet] = []
    manifests: list[str] = []
    for path in files:
        if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises on a name that is too long
            manifests.append(path)
            continue
        documents = read_documents(path)
        match documents[0].data:
            case {"kind": "Workloads"}:
                workload_sets.append(parse_workloads(documents, at=at.value, accept_assumed=accept_assumed))
            case {"apiVersion": str(version), "kind": str()} if not version.startswith("gpuslice.io/"):
                if path == "-":
                    raise InputError(
                        "holds manifests, which are read from files", where="stdin", fix="name the file"
                    )
                manifests.append(path)
            case _:
                plans.append(plan_in(documents))
    sets = len(workload_sets) + len(manifests)
    if len(plans) != 1 or sets > 1:
        raise InputError(
            f"{len(plans)} plans and {sets} sets of workloads are named",
            where="-f",
            fix="name one plan, and at most one file or directory with its workloads",
        )
    region = plans[0].catalog.region
    workload_sets += [
        read(path, at=at.value, accept_assumed=accept_assumed, region=region) for path in manifests
    ]
    return plans[0], workload_sets[0] if workload_sets else None
