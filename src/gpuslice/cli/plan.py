"""`gpuslice plan`: from workloads to the cheapest safe plan, as a table for people and plan.yaml for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import CatalogOption, Output, OutputOption, print_data, print_table, print_text, say
from gpuslice.cli.planning import (
    AssumedOption,
    GapOption,
    Moment,
    MomentOption,
    OverheadOption,
    StackName,
    StackOption,
    TimeLimitOption,
    WorkloadsOption,
    make_plan,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.planner.plan import Layout, Plan, Pool


def plan(
    *,
    file: WorkloadsOption,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Write plan.yaml.")] = "",
    stack: StackOption = StackName.AL2023,
    catalog_file: CatalogOption = "",
    overhead: OverheadOption = "",
    at: MomentOption = Moment.NOW,
    accept_assumed: AssumedOption = False,
    gap: GapOption = 0.005,
    time_limit: TimeLimitOption = 10.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Find the cheapest way to slice and buy GPUs that gives every workload what it needs.

    Exits with 1 if a workload fits nothing; the others are planned all the same.
    """
    planned = make_plan(
        file,
        catalog_file=catalog_file,
        stack=stack,
        overhead=overhead,
        at=at,
        accept_assumed=accept_assumed,
        gap=gap,
        time_limit=time_limit,
    )
    made = planned.solution.plan
    if out:
        write_plan(made, out)
    print_plan(made, output)
    if out:
        say(f"written to {out}; next: gpuslice render -f {out} --cluster NAME --role ROLE --out manifests/")
    if made.unplaced:
        say(f"{len(made.unplaced)} of {len(planned.workloads.workloads)} workloads fit nothing")
        raise typer.Exit(1)


def write_plan(made: Plan, path: str) -> None:
    """plan.yaml, whole or not at all."""
    from gpuslice.artefacts.documents import dump_json, dump_yaml
    from gpuslice.artefacts.output import write_atomically

    write_atomically(path, dump_json(made) if path.endswith(".json") else dump_yaml(made))


def print_plan(made: Plan, output: Output) -> None:
    """The plan on stdout, in the form asked for."""
    match output:
        case Output.NAME:
            print_text("\n".join(pool.name for pool in made.pools))
        case Output.TABLE:
            print_summary(made)
            _print_assignments(made)
            _print_pools(made.pools)
            _print_lists(made)
        case _:
            print_data(made, output)


def print_summary(made: Plan) -> None:
    """What it costs today, what it will cost, and how far that is from the proven least."""
    from gpuslice.units import HOURS_A_MONTH

    summary = made.summary
    today = next((each for each in summary.baselines if each.name == "whole-gpu"), None)
    rows: list[tuple[object, ...]] = []
    for each in summary.baselines:
        misfits = f"; {each.misfits} workloads outside their rules" if each.misfits else ""
        rows.append((each.name, _dollars(each.usd_per_hour), _dollars(each.usd_per_hour * HOURS_A_MONTH, 0), each.note + misfits))
    saved = ""
    if today is not None and today.usd_per_hour:
        share = 1 - summary.usd_per_hour / today.usd_per_hour
        saved = f"{abs(share):.1%} {'less' if share >= 0 else 'more'} than whole GPUs"
    rows += [
        ("planned", _dollars(summary.usd_per_hour), _dollars(summary.usd_per_hour * HOURS_A_MONTH, 0), saved),
        ("cheapest packing", _dollars(summary.optimal_usd_per_hour), None, "replicas of one workload may go to several pools"),
        ("proven least", _dollars(summary.bound_usd_per_hour), None, f"nothing within the rules costs less; gap {summary.gap:.2%}"),
    ]
    print_table(("", "$ an hour", "$ a month", "what"), rows, right=("$ an hour", "$ a month"))


def _print_assignments(made: Plan) -> None:
    from msgspec import UNSET

    print_text("")
    print_table(
        ("workload", "pods", "slice", "slowdown", "pool", "why"),
        [
            (
                each.workload,
                each.replicas,
                each.slice,
                None if each.expected_slowdown is UNSET else f"{each.expected_slowdown:.2f}x",
                each.pool,
                each.because,
            )
            for each in made.assignments
        ],
        right=("pods", "slowdown"),
    )


def _print_pools(pools: Iterable[Pool]) -> None:
    print_text("")
    rows = []
    for pool in pools:
        nodes: dict[tuple[str, str], int] = {}
        for node in pool.nodes:
            key = (node.instance_type, node.purchase)
            nodes[key] = nodes.get(key, 0) + node.count
        bill = sum(node.usd_per_hour * node.count for node in pool.nodes)
        listed = ", ".join(
            f"{count} {name}" + ("" if purchase == "on-demand" else f" ({purchase})")
            for (name, purchase), count in nodes.items()
        )
        rows.append((pool.name, described(pool.layout), listed, _dollars(bill)))
    print_table(("pool", "layout", "nodes", "$ an hour"), rows, right=("$ an hour",))


def described(layout: Layout) -> str:
    """A layout in a few words: "L4, 4 slots a GPU"."""
    if layout.metered:
        return f"{layout.gpu}, metered: {layout.metered.memory} and {layout.metered.time / 1000:g} of its time"
    if layout.replicas:
        return f"{layout.gpu}, {layout.replicas} slots a GPU by {layout.mechanism}"
    if layout.geometry:
        return f"{layout.gpu}, MIG: " + " + ".join(f"{each.count} {each.profile}" for each in layout.geometry)
    if layout.geometries:
        return f"{layout.gpu}, MIG: {len(set(layout.geometries))} geometries on {len(layout.geometries)} GPUs"
    return f"{layout.gpu}, {layout.mechanism}"


def _print_lists(made: Plan) -> None:
    if made.unplaced:
        print_text("\nNot placed:")
        for each in made.unplaced:
            print_text(f"  {each.workload}: {each.reason}")
    if made.assumptions:
        print_text("\nAssumed:")
        for assumption in made.assumptions:
            print_text(f"  {assumption}")


def _dollars(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}"
