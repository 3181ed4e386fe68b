"""A plan as tables: what it costs beside what else was thinkable, who goes where and why, the pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.cli.console import (
    Output,
    print_data,
    print_list,
    print_names,
    print_table,
    print_text,
    red,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.plan.artefact import Assignment, Plan, Pool, Summary, Unplaced

_WORTH_SEATS: Final = 0.01  # of the bill


def print_plan(made: Plan, output: Output) -> None:
    """The plan on stdout, in the form asked for."""
    from gpuslice.plan.comparison import dearer_than_now
    from gpuslice.plan.models_today import assumed_in_words

    match output:
        case Output.NAME:
            print_names(pool.name for pool in made.pools)
        case Output.TABLE:
            dearer = dearer_than_now(made.summary)
            if dearer:
                print_text(red(dearer))
            models = assumed_in_words(made.models_today)
            if models:
                print_text(f"{models}\n")
            print_summary(made)
            if made.pools:
                _print_assignments(made)
                _print_pools(made.pools)
            for title, stays in (("Not placed", False), ("Left where it is", True)):
                print_list(title, [_left_in_words(left) for left in made.unplaced if left.stays is stays])
            print_list("Assumed", [words for words in made.assumptions if words != models])
        case _:
            print_data(made, output)


def print_summary(made: Plan) -> None:
    """What is paid now, what it will cost, how far that is from the proven least, and what else was thinkable."""
    from msgspec import UNSET

    from gpuslice.plan.comparison import A_CENT, STAYING, now_in_words, spread_in_words, whole_gpus
    from gpuslice.units import HOURS_A_MONTH

    summary = made.summary

    def row(name: str, usd: float, words: str) -> tuple[str, str, str, str]:
        return name, _dollars(usd), _dollars(usd * HOURS_A_MONTH, 0), words

    whole, now = whole_gpus(summary), summary.now
    others = [baseline for baseline in summary.baselines if baseline is not whole]
    rows = []
    hypothetical = []
    if whole is not None:
        words = f"hypothetical: {whole.note}{', at on-demand prices' if whole.on_spot else ''}"
        hypothetical.append(row("whole GPUs", whole.usd_per_hour, words))
    if now is UNSET:  # then this is all that there is to put a plan beside
        rows, hypothetical = hypothetical, rows
    else:
        rows.append(row("now", now.usd_per_hour, now_in_words(now)))
    rows.append(row("planned", summary.usd_per_hour, _saving(summary)))
    if now is not UNSET and now.staying_usd_per_hour:
        rows.append(row("left as it is", now.staying_usd_per_hour, STAYING))
    spread = summary.spread
    if spread is not UNSET and spread.highest - spread.lowest >= A_CENT / 2:
        rows.append(row("on average", spread.mean, spread_in_words(spread)))
    if summary.usd_per_hour - summary.optimal_usd_per_hour >= 0.005:
        words = "if any replica could go to any pool, and Karpenter packed as we do"
        rows.append(row("cheapest packing", summary.optimal_usd_per_hour, words + _way_there(made)))
    if summary.one_pool_each is not UNSET:
        pools, used = summary.one_pool_each.pools, sum(bool(pool.nodes) for pool in made.pools)
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
    rows += hypothetical
    rows += [
        row(
            baseline.name,
            baseline.usd_per_hour,
            f"wrong for {_workloads(baseline.misfits)}: {baseline.note}"
            if baseline.misfits
            else baseline.note,
        )
        for baseline in others
    ]
    print_table(("", "$ an hour", "$ a month", ""), rows, right=("$ an hour", "$ a month"))


def _way_there(made: Plan) -> str:
    """How to come near the cheapest packing, where that is worth it; empty where there is no way."""
    from gpuslice.workloads.policy import FREE

    above = made.summary.usd_per_hour - made.summary.optimal_usd_per_hour
    worth = above >= _WORTH_SEATS * made.summary.usd_per_hour
    may = made.stack == "al2023" and made.policy == FREE and not any(pool.seats for pool in made.pools)
    return ": --seats comes near that" if worth and may else ""


def _saving(summary: Summary) -> str:
    """What the plan saves, in words: "35.4% less than now: $54.67 an hour"."""
    from gpuslice.plan.comparison import comparison

    compared = comparison(summary)
    return "" if compared is None else compared.in_words


def _left_in_words(left: Unplaced) -> str:
    """Why a workload isn't planned, and what whole GPUs for it would cost where it stays."""
    from msgspec import UNSET

    words = f"{left.workload}: {left.reason}"
    if left.whole_gpus_usd_per_hour is not UNSET:
        words += f"; whole GPUs for it would be ${left.whole_gpus_usd_per_hour:,.2f} an hour"
    return words


def _proof(summary: Summary) -> str:
    words = "nothing within the rules costs less"
    if summary.bound_usd_per_hour:
        above = summary.usd_per_hour / summary.bound_usd_per_hour - 1
        words += f"; the plan is {above:.1%} above it" if above >= 0.0005 else "; the plan is at it"
    elif summary.usd_per_hour:
        words = "not proven: the search ended before it had a bound"
    ended = {
        "time-limit": "; the time limit ended the search",
        "work-limit": "; --effort 3 looks further",
        "interrupted": "; the search was interrupted",
    }
    return words + ended.get(summary.termination, "")


def verdict(made: Plan) -> str:
    """The plan in one line, for the end of whatever was printed."""
    from msgspec import UNSET

    words = f"planned for ${made.summary.usd_per_hour:,.2f} an hour"
    now = made.summary.now
    if not made.pools and made.unplaced and all(left.stays for left in made.unplaced):
        return "nothing is planned: everybody is left where it is"
    if now is not UNSET and now.staying_usd_per_hour:
        words += f", and ${now.staying_usd_per_hour:,.2f} goes on for nodes left as they are"
    saving = _saving(made.summary)
    return f"{words}, {saving}" if saving else words


def _print_assignments(made: Plan) -> None:
    # With seats a workload may be in dozens of pools, by one template: that is one row.
    rows: dict[tuple[str, ...], list[Assignment]] = {}
    for assignment in made.assignments:
        apart = () if assignment.asks.seat else (assignment.pool, assignment.slice)
        rows.setdefault((assignment.workload, *apart), []).append(assignment)
    print_text("")
    print_table(
        ("workload", "pods", "slowdown", "pool", "why"),
        [
            (
                parts[0].workload,
                sum(part.replicas for part in parts),
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
    most = max(parts, key=lambda part: part.replicas)
    here = sum(part.replicas for part in parts if part.because == most.because)
    of = sum(part.replicas for part in parts)
    return most.because if here == of else f"{here} of {of}: {most.because}"


def _slowest(parts: Sequence[Assignment]) -> str | None:
    known = [part.expected_slowdown for part in parts if part.expected_slowdown]
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
