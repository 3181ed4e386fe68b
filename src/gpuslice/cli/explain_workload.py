"""`gpuslice explain WORKLOAD`: where it is and why, and what each alternative would cost or break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.cli.console import Output, print_data, print_list, print_names, print_table, print_text, say
from gpuslice.cli.savings import print_savings, savings_data
from gpuslice.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.advice.alternatives import Alternative
    from gpuslice.advice.services import Choice
    from gpuslice.cli.planning import Planned
    from gpuslice.cli.savings import Savings
    from gpuslice.plan.artefact import Assignment, Unplaced
    from gpuslice.workloads.model import Workload

_CHOSEN: Final = (
    "* chosen; prices are of nodes that it would fill alone: the plan mixes workloads, often for less"
)


def named(planned: Planned, name: str) -> Workload:
    """The workload of that name.

    Raises:
        InputError: no workload is called so.
    """
    from gpuslice.artefacts.quoting import quoted

    by_name = {workload.name: workload for workload in planned.workloads.workloads}
    if name not in by_name:
        raise InputError(
            f"no workload is called {quoted(name)}",
            fix=nearest(name, by_name) or f"there are {', '.join(list(by_name)[:3])}, …",
        )
    return by_name[name]


def explain_workload(planned: Planned, name: str, output: Output, savings: Savings | None) -> None:
    """Print where it is and why, what else it could have, what won't do, and what changes would save.

    Raises:
        InputError: no workload is called so.
    """
    from gpuslice.advice.alternatives import alternatives
    from gpuslice.plan.words import need_in_words

    workload, made = named(planned, name), planned.solution.plan
    if workload.service is not None:
        _explain_service(planned, workload, output, savings)
        return
    placed = [assignment for assignment in made.assignments if assignment.workload == name]
    pools = {assignment.pool for assignment in placed}
    given = [pool.layout for pool in made.pools if pool.name in pools]
    could_have = alternatives(
        workload, planned.catalog, planned.settings.overhead, planned.settings.stack, given
    )
    missed = [left_out for left_out in made.unplaced if left_out.workload == name]
    match output:
        case Output.NAME:
            print_names(alternative.slice for alternative in could_have if alternative.answer.fits)
        case Output.TABLE:
            _print_placed(placed)
            for miss in missed:
                print_text(f"{name}: not placed\n  why: {miss.reason}")
            if not placed and not missed:
                print_text(f"{name}: no replicas, so nothing to place")
            print_text(f"  need: {need_in_words(workload.need)}")
            _print_alternatives(could_have, {assignment.slice for assignment in placed})
            if savings is not None:
                print_savings(savings, planned)
        case _:
            print_data(
                {
                    "workload": name,
                    "assignments": placed,
                    "unplaced": missed,
                    "alternatives": [_plain(alternative) for alternative in could_have],
                    **({} if savings is None else {"savings": savings_data(savings)}),
                },
                output,
            )


def _explain_service(planned: Planned, workload: Workload, output: Output, savings: Savings | None) -> None:
    """Its load, what serves it, and what each of its profiles would take."""
    from gpuslice.advice.services import choices

    settings, made = planned.settings, planned.solution.plan
    offers = choices(workload, planned.catalog, settings.overhead, settings.stack)
    placed = [part for part in made.assignments if part.workload == workload.name]
    missed = [left for left in made.unplaced if left.workload == workload.name]
    match output:
        case Output.NAME:
            print_names(dict.fromkeys(choice.profile.slice for choice in offers if not choice.reason))
        case Output.TABLE:
            _print_service(workload, placed, missed)
            _print_choices(offers, placed)
            if savings is not None:
                print_savings(savings, planned)
        case _:
            print_data(
                {
                    "workload": workload.name,
                    "assignments": placed,
                    "unplaced": missed,
                    "profiles": [_plain_choice(choice) for choice in offers],
                    **({} if savings is None else {"savings": savings_data(savings)}),
                },
                output,
            )


def _plain_choice(choice: Choice) -> dict[str, object]:
    fields: dict[str, object] = {
        "slice": choice.profile.slice,
        "batch": choice.profile.batch,
        "processes": choice.profile.processes,
        "latencyMs": choice.profile.latency_ms,
        "throughput": choice.throughput,
    }
    if choice.replicas:
        fields["replicas"] = choice.replicas
    if choice.price is not None:
        fields |= {"usdPerHour": choice.price / 1e6, "instanceType": choice.instance_type}
    if choice.reason:
        fields["reason"] = choice.reason
    return fields


def _print_service(workload: Workload, placed: Sequence[Assignment], missed: Sequence[Unplaced]) -> None:
    """What serves it, or why nothing does."""
    from msgspec import UNSET

    from gpuslice.plan.words import load_in_words

    service = workload.service
    assert service is not None  # noqa: S101  asked only for services
    _print_placed(placed)
    served = [(part.service, part.replicas) for part in placed if part.service is not UNSET]
    if served:
        spare = sum(serving.throughput * replicas for serving, replicas in served) / service.rate - 1
        print_text(f"  headroom: {spare:.0%} above the load")
    for miss in missed:
        print_text(f"{workload.name}: not placed\n  why: {miss.reason}")
    if not placed and not missed:
        print_text(f"{workload.name}: no load, so nothing to place")
    print_text(f"  load: {load_in_words(service)}")


def _print_choices(listed: Sequence[Choice], placed: Sequence[Assignment]) -> None:
    """Its profiles: what each would take, and below them those that won't do."""
    offered = [choice for choice in listed if not choice.reason]
    chosen = {
        (part.service.batch, part.service.processes, part.service.latency_ms)
        for part in placed
        if part.service
    }
    if offered:
        print_text("")
        print_table(
            ("", "profile on", "batch", "processes", "ms", "a pod does", "pods", "$ an hour", "cheapest on"),
            [
                (
                    "*" if (profile.batch, profile.processes, profile.latency_ms) in chosen else "",
                    profile.slice,
                    profile.batch,
                    profile.processes,
                    f"{profile.latency_ms:g}",
                    f"{choice.throughput:g}",
                    choice.replicas,
                    dollars(choice.price),
                    choice.instance_type,
                )
                for choice in offered
                for profile in (choice.profile,)
            ],
            right=("batch", "processes", "ms", "a pod does", "pods", "$ an hour"),
        )
        say(_CHOSEN)
    print_list(
        "Won't do",
        [
            f"{profile.slice}, batch {profile.batch}, processes {profile.processes}: {choice.reason}"
            for choice in listed
            if choice.reason
            for profile in (choice.profile,)
        ],
    )


def _print_placed(placed: Sequence[Assignment]) -> None:
    """Where it is, pool by pool, and why: said once where it is the same."""
    for number, assignment in enumerate(placed, 1):
        print_text(
            f"{assignment.workload}: {_pods(assignment.replicas)} on {assignment.slice}, in pool {assignment.pool}"
        )
        if number == len(placed) or placed[number].because != assignment.because:
            print_text(f"  why: {assignment.because}")


def _print_alternatives(listed: Sequence[Alternative], chosen: set[str]) -> None:
    """What would do, cheapest first, and below it what would not and why."""
    from gpuslice.advice.words import refusals

    offered = [alternative for alternative in listed if alternative.price is not None]
    if offered:
        print_text("")
        print_table(
            ("", "slice", "$ an hour per pod", "pods a node", "slowdown", "cheapest on"),
            [
                (
                    "*" if alternative.slice in chosen else "",
                    alternative.slice,
                    dollars(alternative.price, 4),
                    alternative.per_node,
                    None
                    if alternative.answer.slowdown is None
                    else f"{float(alternative.answer.slowdown):.2f}x",
                    alternative.instance_type,
                )
                for alternative in offered
            ],
            right=("$ an hour per pod", "pods a node", "slowdown"),
        )
        say(_CHOSEN)
    print_list("Won't do", [f"{slices}: {reason}" for slices, reason in refusals(listed)])


def _plain(alternative: Alternative) -> dict[str, object]:
    fields: dict[str, object] = {"slice": alternative.slice, "fits": alternative.answer.fits}
    if alternative.answer.binds is not None:
        fields |= {"binds": alternative.answer.binds.value, "reason": alternative.answer.reason}
    if alternative.price is not None:
        fields |= {
            "usdPerHourPerPod": alternative.price / 1e6,
            "instanceType": alternative.instance_type,
            "podsPerNode": alternative.per_node,
        }
    if alternative.answer.slowdown is not None:
        fields["expectedSlowdown"] = round(float(alternative.answer.slowdown), 3)
    return fields


def dollars(micro: int | None, digits: int = 2) -> str:
    """Micro-dollars as dollars; "-" for none."""
    return "-" if micro is None else f"{micro / 1e6:,.{digits}f}"


def _pods(count: int) -> str:
    return f"{count} pod{'s' * (count != 1)}"
