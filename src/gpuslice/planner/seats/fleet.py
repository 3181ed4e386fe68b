"""A fleet with seats: who asks for what, pools whose seats hold the packing together, and Karpenter's word for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.launches.bill import priced_orders
from gpuslice.plan import artefact
from gpuslice.planner.homes.fallbacks import Missing
from gpuslice.planner.homes.previous import traded
from gpuslice.planner.model.limits import limits_of
from gpuslice.planner.model.packing import cost
from gpuslice.planner.model.pools import pool_of
from gpuslice.planner.packing.programme import cheapest_of
from gpuslice.planner.seats.launches import SeatRealiser
from gpuslice.planner.seats.pools import NOTHING_HAD, Had, SeatedFleet
from gpuslice.planner.seats.previous import loads_of_some, seats_kept, unseated
from gpuslice.planner.seats.requests import Seating, seating
from gpuslice.planner.writing.fleet import Fleet
from gpuslice.units import usd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Plan
    from gpuslice.planner.bound.columns import Relaxation
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.homes.search import Within
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.patterns import Pattern
    from gpuslice.planner.packing.programme import Packings
    from gpuslice.planner.settings import Settings

_MOST_WORKLOADS: Final = 300
"""Each has a NodePool of its own, and a resource: more than that nobody looks after, and Karpenter tries them all."""

_MOST_LOOKS: Final = 20_000_000
"""Pods times nodes, above which the model of Karpenter isn't asked: one order would take more than some seconds."""


def refuse_seats(settings: Settings) -> None:
    """Accept settings under which seats can be planned.

    Raises:
        InputError: they can't, and why.
    """
    policy = settings.policy
    if not settings.carrier.seats:
        raise InputError(
            "Bottlerocket's nodes take no file that says which seats they have",
            where="--seats",
            fix="leave it out, or plan for --stack al2023",
        )
    counted = policy.max_pools is not UNSET or bool(limits_of(policy))
    if counted:
        raise InputError(
            "seats can't be planned within a policy's counts yet: maxNodes, maxPools, maxSpotShare, reserved",
            where="--seats",
            fix="leave it out, or plan without them",
        )


@dataclass(frozen=True, slots=True)
class Offered:
    """Where nodes come from.

    Attributes:
        nodes: for any classes, under any settings.
        second: those to fall back to where EC2 is out of one.
        catalog: types and prices.
    """

    nodes: Callable[[Sequence[WorkloadClass], Settings], tuple[NodeOption, ...]]
    second: Callable[[NodeOption], Iterable[NodeOption]]
    catalog: Catalog


def with_seats(
    packing: Packing,
    relaxation: Relaxation,
    classes: Sequence[WorkloadClass],
    options: Sequence[NodeOption],
    offered: Offered,
    settings: Settings,
    clock: Clock,
) -> Fleet | str:
    """The fleet with seats, or why there is none, in words for the plan's assumptions.

    Args:
        packing: the cheapest one, when any replica may be anywhere.
        relaxation: prices and loads.
        classes: to place.
        options: nodes for them.
        offered: others.
        settings: rules; seats of a previous plan stay, unless moving saves enough.
        clock: work left.
    """
    count = sum(len(a_class.members) for a_class in classes)
    if count > _MOST_WORKLOADS:
        return f"no seats for {count} workloads: each would have a NodePool of its own"
    without = replace(settings, without=settings.without | {Mechanism.MIG.value})

    def made(some: Sequence[WorkloadClass], known: Iterable[Pattern], had: Had) -> Fleet | str:
        seats: Seating | None = Seating((), Counter(), ())
        if some:
            seats = seating(
                some,
                options if some is classes else offered.nodes(some, settings),
                known,
                packing if some is classes else Counter(),
                lambda others: offered.nodes(others, without),
                gap=settings.gap,
                clock=clock,
            )
        if seats is None:
            return "no seats: there was no time to choose what pods ask for"
        fleet = SeatedFleet(classes, seats, offered.second, had)
        return _realised(fleet, classes, offered, settings, clock)

    known = (*relaxation.patterns, *packing)
    free = made(classes, known, NOTHING_HAD)
    if isinstance(free, str):
        return free
    fleet, previous = free, settings.previous
    if previous is not None and any(pool.seats for pool in previous.pools):
        had = seats_kept(
            previous, classes, offered.catalog, settings.overhead, settings.policy, settings.stack
        )
        rest = unseated(classes, had)
        kept = made(rest, loads_of_some(known, classes, rest), had)
        if not isinstance(kept, str) and had.own:
            fleet = _steadier(kept, free, previous, settings.min_saving)
    return replace(fleet, packing=min(fleet.packing, free.packing, packing, key=cost))


def _steadier(kept: Fleet, free: Fleet, previous: Plan, min_saving: float) -> Fleet:
    """The fleet in which seats stay, unless the free one saves enough; with the trade."""
    if kept.price <= free.price:
        free = kept
    change = traded(previous, (kept.price, kept.assignments), (free.price, free.assignments), min_saving)
    return replace(kept if change.kept else free, change=change)


def _realised(
    made: SeatedFleet,
    classes: Sequence[WorkloadClass],
    offered: Offered,
    settings: Settings,
    clock: Clock,
) -> Fleet | str:
    """Pools with seats as the model of Karpenter carries them out; or why it doesn't."""
    pools, assignments, packing = made.pools(), made.assignments(), made.packing()
    workloads = [member for a_class in classes for member in a_class.members]
    nodes = Counter[tuple[str, str, str]]()
    for pool in pools:
        for node in pool.nodes:
            nodes[pool.name, node.instance_type, node.purchase] += node.count
    pods = sum(assignment.replicas for assignment in assignments)
    if pods * nodes.total() > _MOST_LOOKS:
        return f"no seats for {pods:,} replicas: the model of Karpenter would take too long to say what it launches"
    realiser = SeatRealiser(pools, assignments, workloads, offered.catalog, settings.stack, settings.overhead)
    orders = enumerate(priced_orders(pods))
    spread = realiser.spread(order for number, order in orders if not number or not clock.over())
    if spread.unbound or any(dict(bill.nodes) != nodes for bill, _ in spread.bills):
        return "no seats: by the model, Karpenter launches other nodes than the planned ones"
    price = cost(packing)
    missing = []
    for name in sorted({instance_type for _, instance_type, _ in nodes}):
        if not clock.over():
            bill = realiser.without(name, spread.typical)
            # Pods that wait have no nodes: a bill that is lower for that saves nothing.
            missing.append(Missing(name, max(bill.price - price, 0), bill.unbound))
    return Fleet(pools, assignments, price, packing, tuple(classes), spread, tuple(missing))


def beside_one_pool(fleet: Fleet, other: Within) -> Fleet:
    """The fleet, and what it would be without seats.

    Args:
        fleet: with seats.
        other: the fleet without seats: its workloads in one pool each.
    """
    pools = {pool_of(pattern) for pattern in other.carried.packing}
    one = artefact.OnePoolEach(usd(cost(other.carried.packing)), len(pools))
    return replace(fleet, one_pool_each=one)


def packed(packings: Packings, tell: Callable[[Packing], None]) -> Packing:
    """The cheapest packing. Nothing is counted where seats are planned, so that there is one."""
    packing = cheapest_of(packings, tell)
    if packing is None:
        raise AssertionError("no packing, and no limits")
    return packing
