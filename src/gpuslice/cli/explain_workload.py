"""`gpuslice explain WORKLOAD`: where it is and why, and what each alternative would cost or break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.cli.console import Output, print_data, print_list, print_names, print_table, print_text, say
from gpuslice.cli.savings import print_savings, savings_data
from gpuslice.errors import InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuslice.advice.services import Choice
    from gpuslice.cli.savings import Savings
    from gpuslice.costs.alternatives import Alternative, Nodes, Offer
    from gpuslice.plan.artefact import Assignment, Plan, Unplaced
    from gpuslice.report.subject import Subject
    from gpuslice.workloads.model import Workload

_OFFERS_SHOWN: Final = 15
_OFFERED: Final = (
    "* planned: what it pays of the plan's nodes, idle left out; the others: as many whole nodes as all its pods fill "
    "alone, and with others its part of full ones"
)
_CHOSEN: Final = (
    "* chosen; prices are of whole nodes that it would fill alone: the plan mixes workloads, often for less"
)


def named(workloads: Sequence[Workload], name: str) -> Workload:
    """The workload of that name.

    Raises:
        InputError: no workload is called so.
    """
    from gpuslice.artefacts.quoting import quoted

    by_name = {workload.name: workload for workload in workloads}
    if name not in by_name:
        raise InputError(
            f"no workload is called {quoted(name)}",
            fix=nearest(name, by_name) or f"there are {', '.join(list(by_name)[:3])}, …",
        )
    return by_name[name]


def explain_workload(subject: Subject, name: str, output: Output, savings: Savings | None = None) -> None:
    """Print where it is and why, what else it could have, what won't do, and what changes would save.

    Args:
        subject: the plan, and the workloads that it was made of.
        name: of the workload.
        output: the form.
        savings: of changes, where they were asked for.

    Raises:
        InputError: no workload is called so.
    """
    from gpuslice.costs.alternatives import alternatives, offers, ranked
    from gpuslice.costs.pool_use import pool_uses
    from gpuslice.costs.shares import overhead, paid_by_slice
    from gpuslice.hardware.stacks import Stack
    from gpuslice.plan.words import need_in_words

    plan, workload = subject.plan, named(subject.workloads, name)
    if workload.service is not None:
        _explain_service(subject, workload, output, savings)
        return
    placed = [assignment for assignment in plan.assignments if assignment.workload == name]
    pools = {assignment.pool for assignment in placed}
    given = [pool.layout for pool in plan.pools if pool.name in pools]
    found = alternatives(
        workload, subject.catalog, overhead(plan), Stack(plan.stack), given, policy=plan.policy
    )
    uses = pool_uses(plan, subject.workloads, subject.catalog)
    paid = {slice_: usd for (who, slice_), usd in paid_by_slice(plan, uses).items() if who == name}
    listed = ranked(offers(found, workload.replicas), paid)
    by_slice = {offer.slice: (at, offer, usd) for at, (offer, usd) in enumerate(listed)}
    found = tuple(
        sorted(found, key=lambda one: (not one.answer.fits, by_slice.get(one.slice, (len(found),))[0]))
    )
    missed = [left for left in plan.unplaced if left.workload == name]
    match output:
        case Output.NAME:
            print_names(alternative.slice for alternative in found if alternative.answer.fits)
        case Output.TABLE:
            _print_placed(placed)
            for miss in missed:
                print_text(f"{name}: not placed\n  why: {miss.reason}")
            if not placed and not missed:
                print_text(f"{name}: no replicas, so nothing to place")
            print_text(f"  need: {need_in_words(workload.need)}")
            _print_offers(listed, found, _nodes_by_slice(plan, name))
            if savings is not None:
                print_savings(savings, plan.summary, subject.catalog)
        case _:
            print_data(
                {
                    "workload": name,
                    "assignments": placed,
                    "unplaced": missed,
                    "alternatives": [
                        _plain(alternative, *by_slice.get(alternative.slice, (0, None, None))[1:])
                        for alternative in found
                    ],
                    **({} if savings is None else {"savings": savings_data(savings)}),
                },
                output,
            )


def _nodes_by_slice(plan: Plan, name: str) -> dict[str, str]:
    """The nodes of the plan that carry a workload, by slice: "3 g6.xlarge, shared"."""
    nodes = {pool.name: [node for node in pool.nodes if name in node.pods] for pool in plan.pools}
    found: dict[str, dict[str, int]] = {}
    shared: set[str] = set()
    for assignment in plan.assignments:
        if assignment.workload == name:
            counts = found.setdefault(assignment.slice, {})
            for node in nodes[assignment.pool]:
                counts[node.instance_type] = counts.get(node.instance_type, 0) + node.count
                if len(node.pods) > 1:
                    shared.add(assignment.slice)
    return {
        slice_: ", ".join(f"{count} {kind}" for kind, count in counts.items())
        + (", shared" if slice_ in shared else "")
        for slice_, counts in found.items()
    }


def _explain_service(subject: Subject, workload: Workload, output: Output, savings: Savings | None) -> None:
    """Its load, what serves it, and what each of its profiles would take."""
    from gpuslice.advice.services import choices
    from gpuslice.costs.shares import overhead
    from gpuslice.hardware.stacks import Stack

    plan = subject.plan
    offers = choices(workload, subject.catalog, overhead(plan), Stack(plan.stack), plan.policy)
    placed = [part for part in plan.assignments if part.workload == workload.name]
    missed = [left for left in plan.unplaced if left.workload == workload.name]
    match output:
        case Output.NAME:
            print_names(dict.fromkeys(choice.profile.slice for choice in offers if not choice.reason))
        case Output.TABLE:
            _print_service(workload, placed, missed)
            _print_choices(offers, placed)
            if savings is not None:
                print_savings(savings, plan.summary, subject.catalog)
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


def _print_offers(
    listed: Sequence[tuple[Offer, float | None]], found: Sequence[Alternative], planned_on: Mapping[str, str]
) -> None:
    """What would do, cheapest first, and below it what would not and why."""
    from gpuslice.advice.words import refusals

    if listed:
        shown = [pair for at, pair in enumerate(listed) if at < _OFFERS_SHOWN or pair[1] is not None]
        print_text("")
        print_table(
            ("", "slice", "$ an hour", "with others", "pods a node", "slowdown", "nodes"),
            [
                (
                    "" if paid is None else "*",
                    offer.slice,
                    dollars(offer.alone_price) if paid is None else f"{paid:,.2f}",
                    dollars(offer.shared_price),
                    (offer.alone or offer.shared).per_node,
                    None if offer.slowdown is None else f"{offer.slowdown:.2f}x",
                    planned_on.get(offer.slice) if paid is not None else _nodes(offer),
                )
                for offer, paid in shown
            ],
            right=("$ an hour", "with others", "pods a node", "slowdown"),
        )
        if len(shown) < len(listed):
            say(f"{len(listed) - len(shown)} dearer ones: -o json lists them all")
        say(_OFFERED)
    print_list("Won't do", [f"{slices}: {reason}" for slices, reason in refusals(found)])


def _nodes(offer: Offer) -> str:
    if offer.alone is None:
        return f"not so many {offer.shared.instance_type} may be bought"
    return f"{offer.alone.needed(offer.replicas)} {offer.alone.instance_type}"


def _plain(alternative: Alternative, offer: Offer | None, paid: float | None) -> dict[str, object]:
    fields: dict[str, object] = {"slice": alternative.slice, "fits": alternative.answer.fits}
    if alternative.answer.binds is not None:
        fields |= {"binds": alternative.answer.binds.value, "reason": alternative.answer.reason}
    if paid is not None:
        fields["plannedUsdPerHour"] = round(paid, 6)
    if offer is not None:
        if offer.alone is not None and offer.alone_price is not None:
            fields["alone"] = _plain_nodes(offer.alone, offer.replicas, offer.alone_price)
        fields["shared"] = _plain_nodes(offer.shared, offer.replicas, offer.shared_price)
    if alternative.answer.slowdown is not None:
        fields["expectedSlowdown"] = round(float(alternative.answer.slowdown), 3)
    return fields


def _plain_nodes(nodes: Nodes, replicas: int, price: int) -> dict[str, object]:
    return {
        "usdPerHour": price / 1e6,
        "instanceType": nodes.instance_type,
        "purchase": nodes.purchase.value,
        "nodes": nodes.needed(replicas),
        "podsPerNode": nodes.per_node,
    }


def dollars(micro: int | None, digits: int = 2) -> str:
    """Micro-dollars as dollars; "-" for none."""
    return "-" if micro is None else f"{micro / 1e6:,.{digits}f}"


def _pods(count: int) -> str:
    return f"{count} pod{'s' * (count != 1)}"
