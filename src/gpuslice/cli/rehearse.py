"""`gpuslice rehearse`: a plan on a scratch cluster with real Karpenter, and where it comes out otherwise."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path
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
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.rehearsal.comparison import Comparison, SliceLine

_WANTED: Final = ("boto3", "cryptography", "flask", "moto")


def rehearse(
    *,
    plan_file: Annotated[str, typer.Option("-f", "--filename", metavar="FILE", help="A plan; - is stdin.")],
    workloads_file: Annotated[
        str,
        typer.Option(
            "--workloads",
            metavar="FILE",
            help="What the plan was made of: workloads.yaml or manifests. Says how much CPU and memory pods ask for.",
        ),
    ],
    missing: Annotated[
        list[str] | None,
        typer.Option(
            "--out-of-capacity",
            metavar="TYPE",
            help="An instance type that EC2 is out of; may be given several times.",
        ),
    ] = None,
    quiet: Annotated[
        int,
        typer.Option("--quiet", metavar="SECONDS", help="End after so long without any change.", min=5),
    ] = 30,
    logs: Annotated[
        str,
        typer.Option("--logs", metavar="DIRECTORY", help="Keep the logs of all processes there."),
    ] = "",
    catalog_file: CatalogOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Rehearse a plan: real Karpenter launches its nodes on a played EC2, and the outcome is compared line by line.

    No cluster, GPU or AWS account is used: everything runs on this machine, on loopback, and ends with the command. A
    kubeconfig is never read. The first time, the programs are built from their Go modules. Exit code 1: it differs.
    """
    from gpuslice.cloud.selection import choose
    from gpuslice.plan.reading import read_plan
    from gpuslice.workloads.policy import priced
    from gpuslice.workloads.sources import read

    if any(importlib.util.find_spec(literal) is None for literal in _WANTED):
        raise InputError("parts for rehearsing are missing", fix="pip install 'gpuslice[rehearse]'")
    plan = read_plan(plan_file)
    catalog = priced(plan.policy, choose(catalog_file, plan.catalog.region))
    workload_set = read(workloads_file, at="now", accept_assumed=True, region=plan.catalog.region)
    from gpuslice.rehearsal.build import build
    from gpuslice.rehearsal.cluster import scratch_cluster
    from gpuslice.rehearsal.rehearse import Patience, check
    from gpuslice.rehearsal.rehearse import rehearse as run

    check(plan, catalog, workload_set.workloads, missing or ())
    # A polite end is an end like Ctrl-C: everything that was started ends with us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    binaries = build(say)
    say("starting a control plane, a played EC2 and Karpenter")
    with scratch_cluster(binaries, catalog, directory=Path(logs) if logs else None) as cluster:
        cluster.ec2.out_of_capacity(tuple(missing or ()))
        outcome = run(
            cluster, plan, catalog, workload_set.workloads, patience=Patience(quiet_s=quiet), say=say
        )
    _print(outcome, output)
    if not outcome.matches:
        raise typer.Exit(1)


def _print(outcome: Comparison, output: Output) -> None:
    if output is Output.NAME:
        print_names(
            f"{node.pool}/{node.instance_type}" for node in outcome.nodes if node.planned != node.launched
        )
        return
    if output is not Output.TABLE:
        print_data(outcome, output)
        return
    pods = sum(workload.replicas for workload in outcome.workloads)
    rows = (
        ("planned", outcome.planned_usd_per_hour, sum(node.planned for node in outcome.nodes), pods),
        (
            "rehearsed",
            outcome.launched_usd_per_hour,
            sum(node.launched for node in outcome.nodes),
            sum(workload.bound for workload in outcome.workloads),
        ),
    )
    cells = [(name, f"{usd:,.2f}", nodes, bound) for name, usd, nodes, bound in rows]
    print_table(("", "$ an hour", "nodes", "pods"), cells, right=("$ an hour", "nodes", "pods"))
    print_text("")
    print_table(
        ("pool", "instance type", "planned", "launched", "slices"),
        [
            (
                node.pool,
                node.instance_type,
                node.planned,
                node.launched,
                _slices(outcome, node.pool, node.instance_type),
            )
            for node in outcome.nodes
        ],
        right=("planned", "launched"),
    )
    unbound = [workload for workload in outcome.workloads if workload.bound != workload.replicas]
    if unbound:
        print_text("")
        print_table(
            ("workload", "pool", "pods", "bound", "why"),
            [(line.workload, line.pool, line.replicas, line.bound, line.why) for line in unbound],
            right=("pods", "bound"),
        )
    print_list("Troubles", outcome.troubles)
    print_text("\nas planned" if outcome.matches else "\nnot as planned")


def _slices(outcome: Comparison, pool: str, instance_type: str) -> str | None:
    lines = [
        slice_ for slice_ in outcome.slices if (slice_.pool, slice_.instance_type) == (pool, instance_type)
    ]
    wrong = [line for line in lines if any(figure != line.promised for figure in line.registered)]
    return ", ".join(map(_wrong, wrong)) if wrong else "as promised" if lines else None


def _wrong(line: SliceLine) -> str:
    low, high = line.registered[0], line.registered[-1]
    some = str(low) if low == high else f"{low} to {high}"
    return f"{line.resource}: {some} of {line.promised}"
