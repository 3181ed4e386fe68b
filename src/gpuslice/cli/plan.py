"""`gpuslice plan`: from workloads to the cheapest safe plan, as tables for people and plan.yaml for all else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
from gpuslice.cli.interruption import INTERRUPTED
from gpuslice.cli.planning import (
    DEFAULT_GAP,
    DEFAULT_MIN_SAVING,
    DEFAULT_TIME_LIMIT,
    AssumedOption,
    Buying,
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
    StackName,
    StackOption,
    TimeLimitOption,
    WithoutOption,
    WorkloadsOption,
    make_plan,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.plan.artefact import Assignment, Plan, Pool, Summary

_WORTH_SEATS = 0.01  # of the bill


def plan(
    *,
    file: WorkloadsOption,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Write plan.yaml.")] = "",
    stack: StackOption = StackName.AL2023,
    catalog_file: CatalogOption = "",
    overhead: OverheadOption = "",
    at: MomentOption = Moment.NOW,
    accept_assumed: AssumedOption = False,
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
    time_limit: TimeLimitOption = DEFAULT_TIME_LIMIT,
    output: OutputOption = Output.TABLE,
) -> None:
    """Find the cheapest way to slice and buy GPUs that gives every workload what it needs.

    Exits with 1 if a workload fits nothing; the others are planned all the same. After Ctrl-C the best plan so far
    comes out, marked as such, and the exit code is 130; Ctrl-C a second time ends at once.
    """
    planned = make_plan(
        file,
        catalog_file=catalog_file,
        stack=stack,
        overhead=overhead,
        at=at,
        accept_assumed=accept_assumed,
        without=without,
        fallback=fallback,
        seats=seats,
        gap=gap,
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
    if out:
        say(f"written to {out}; next: gpuslice render -f {out} --cluster NAME --role ROLE --out manifests/")
    if made.unplaced:
        say(f"{len(made.unplaced)} of {len(planned.workloads.workloads)} workloads fit nothing")
        raise typer.Exit(1)
    if made.summary.termination == "interrupted":
        say("this is the best plan so far: with more time there may be a cheaper one")
        raise typer.Exit(INTERRUPTED)


def write_plan(made: Plan, path: str) -> None:
    """plan.yaml, whole or not at all."""
    from gpuslice.artefacts.documents import dump_json, dump_yaml
    from gpuslice.artefacts.output import write_atomically

    write_atomically(path, dump_json(made) if path.endswith(".json") else dump_yaml(made))


def print_plan(made: Plan, output: Output) -> None:
    """The plan on stdout, in the form asked for."""
    match output:
        case Output.NAME:
            print_names(pool.name for pool in made.pools)
        case Output.TABLE:
            print_summary(made)
            if made.pools:
                _print_assignments(made)
                _print_pools(made.pools)
            print_list("Not placed", [f"{each.workload}: {each.reason}" for each in made.unplaced])
            print_list("Assumed", made.assumptions)
        case _:
            print_data(made, output)


def print_summary(made: Plan) -> None:
    """What it costs today, what it will cost, how far that is from the proven least, and what else was thinkable."""
    from msgspec import UNSET

    from gpuslice.units import HOURS_A_MONTH

    summary = made.summary

    def row(name: str, usd: float, words: str) -> tuple[str, str, str, str]:
        return name, _dollars(usd), _dollars(usd * HOURS_A_MONTH, 0), words

    today = [each for each in summary.baselines if each.name == "whole-gpu"]
    others = [each for each in summary.baselines if each.name != "whole-gpu"]
    rows = [
        *(row("today", each.usd_per_hour, each.note) for each in today),
        row("planned", summary.usd_per_hour, _saving(summary)),
    ]
    spread = summary.spread
    if spread is not UNSET and spread.highest - spread.lowest >= 0.005:
        words = f"as pods arrive, Karpenter's bill comes to ${spread.lowest:,.2f} to ${spread.highest:,.2f}"
        rows.append(row("on average", spread.mean, words))
    if summary.usd_per_hour - summary.optimal_usd_per_hour >= 0.005:
        words = "if any replica could go to any pool, and Karpenter packed as we do"
        rows.append(row("cheapest packing", summary.optimal_usd_per_hour, words + _way_there(made)))
    if summary.one_pool_each is not UNSET:
        pools, used = summary.one_pool_each.pools, sum(bool(each.nodes) for each in made.pools)
        words = f"without seats: {pools} pools; this plan has {len(made.pools)}, of which {used} have nodes"
        rows.append(row("one pool each", summary.one_pool_each.usd_per_hour, words))
    if summary.any_pools_usd_per_hour is not UNSET:
        costs = summary.usd_per_hour - summary.any_pools_usd_per_hour
        words = f"the cap of {made.policy.max_pools} costs ${costs:,.2f} an hour"
        rows.append(row("with more pools", summary.any_pools_usd_per_hour, words))
    if summary.change is not UNSET:
        change = summary.change
        words = f"everybody who may stays: {change.restarts} replicas restart"
        rows.append(row("kept", change.kept_usd_per_hour, words if change.kept else "if nobody moved"))
        words = f"wherever it is cheapest: {change.free_restarts} replicas would restart"
        rows.append(
            row("moved", change.free_usd_per_hour, words if change.kept else words.replace("would ", ""))
        )
    rows.append(row("proven least", summary.bound_usd_per_hour, _proof(summary)))
    rows += [
        row(
            each.name,
            each.usd_per_hour,
            f"wrong for {_workloads(each.misfits)}: {each.note}" if each.misfits else each.note,
        )
        for each in others
    ]
    print_table(("", "$ an hour", "$ a month", ""), rows, right=("$ an hour", "$ a month"))


def _way_there(made: Plan) -> str:
    """How to come near the cheapest packing, where that is worth it; empty where there is no way."""
    from gpuslice.workloads.policy import FREE

    above = made.summary.usd_per_hour - made.summary.optimal_usd_per_hour
    worth = above >= _WORTH_SEATS * made.summary.usd_per_hour
    may = made.stack == "al2023" and made.policy == FREE and not any(each.seats for each in made.pools)
    return ": --seats comes near that" if worth and may else ""


def _saving(summary: Summary) -> str:
    """What the plan saves, in words: "35.4% less: $54.67 an hour"."""
    today = next((each.usd_per_hour for each in summary.baselines if each.name == "whole-gpu"), 0.0)
    if not today:
        return ""
    saved = today - summary.usd_per_hour
    if abs(saved) < today / 1000:
        return "slicing saves nothing here: gpuslice explain tells what binds"
    return f"{abs(saved) / today:.1%} {'less' if saved > 0 else 'more'}: ${abs(saved):,.2f} an hour"


def _proof(summary: Summary) -> str:
    above = summary.usd_per_hour / summary.bound_usd_per_hour - 1 if summary.bound_usd_per_hour else 0.0
    words = "nothing within the rules costs less"
    words += f"; the plan is {above:.1%} above it" if above >= 0.0005 else "; the plan is at it"
    ended = {
        "time-limit": "; the time limit ended the search",
        "interrupted": "; the search was interrupted",
    }
    return words + ended.get(summary.termination, "")


def verdict(made: Plan) -> str:
    """The plan in one line, for the end of whatever was printed."""
    words = f"planned for ${made.summary.usd_per_hour:,.2f} an hour"
    saving = _saving(made.summary)
    return f"{words}, {saving}" if saving else words


def _print_assignments(made: Plan) -> None:
    # With seats a workload may be in dozens of pools, by one template: that is one row.
    rows: dict[tuple[str, ...], list[Assignment]] = {}
    for each in made.assignments:
        apart = () if each.asks.seat else (each.pool, each.slice)
        rows.setdefault((each.workload, *apart), []).append(each)
    print_text("")
    print_table(
        ("workload", "pods", "slowdown", "pool", "why"),
        [
            (
                parts[0].workload,
                sum(each.replicas for each in parts),
                _slowest(parts),
                parts[0].pool if len(parts) == 1 else f"{len(parts)} pools",
                _why(parts),
            )
            for parts in rows.values()
        ],
        right=("pods", "slowdown"),
    )
    several = sum(len(parts) > 1 for parts in rows.values())
    if several:
        say(f"{_workloads(several)} in several pools: gpuslice explain WORKLOAD --seats lists them")


def _why(parts: Sequence[Assignment]) -> str:
    """The reason for where most pods of a workload are, and for how many that is one if not for all."""
    most = max(parts, key=lambda each: each.replicas)
    here = sum(each.replicas for each in parts if each.because == most.because)
    of = sum(each.replicas for each in parts)
    return most.because if here == of else f"{here} of {of}: {most.because}"


def _slowest(parts: Sequence[Assignment]) -> str | None:
    known = [each.expected_slowdown for each in parts if each.expected_slowdown]
    return f"{max(known):.2f}x" if known else None


def _print_pools(pools: Iterable[Pool]) -> None:
    from gpuslice.plan.words import layout_in_words

    print_text("")
    rows = []
    spare = 0
    for pool in pools:
        if not pool.nodes:
            spare += 1
            continue
        nodes: dict[tuple[str, str], int] = {}
        for node in pool.nodes:
            key = (node.instance_type, node.purchase)
            nodes[key] = nodes.get(key, 0) + node.count
        bill = sum(node.usd_per_hour * node.count for node in pool.nodes)
        listed = ", ".join(
            f"{count} {name}" + ("" if purchase == "on-demand" else f" ({purchase})")
            for (name, purchase), count in nodes.items()
        )
        rows.append((pool.name, _dollars(bill), listed, layout_in_words(pool.layout)))
    print_table(("pool", "$ an hour", "nodes", "layout"), rows, right=("$ an hour",))
    if spare:
        say(
            f"{spare} more pool{'s' * (spare != 1)} without nodes, where pods go that find no other seat: "
            "-o json lists them all"
        )


def _workloads(count: int) -> str:
    return f"{count} workload{'s' * (count != 1)}"


def _dollars(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}"
