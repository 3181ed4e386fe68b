"""A fleet with seats: who asks for what, pools whose seats hold the packing together, and Karpenter's word for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.errors import InputError
from gpuslice.hardware.slices import Mechanism
from gpuslice.hardware.stacks import Stack
from gpuslice.planner.fallbacks import Missing
from gpuslice.planner.fleet import Fleet
from gpuslice.planner.limits import limits_of
from gpuslice.planner.master import cost
from gpuslice.planner.realised import priced_orders
from gpuslice.planner.seating import seating
from gpuslice.planner.seats import SeatedFleet
from gpuslice.planner.seats_realised import SeatRealiser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.planner.classes import WorkloadClass
    from gpuslice.planner.columns import Relaxation
    from gpuslice.planner.master import Packing, Packings
    from gpuslice.planner.options import NodeOption
    from gpuslice.planner.solve import Settings

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
    if settings.stack is Stack.BOTTLEROCKET:
        raise InputError(
            "Bottlerocket's nodes take no file that says which seats they have",
            where="--seats",
            fix="leave it out, or plan for --stack al2023",
        )
    if settings.previous is not None:
        raise InputError(
            "seats and a previous plan don't go together yet",
            where="--seats",
            fix="leave --previous out: with seats, templates change only where what pods ask for does",
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
    packings: Packings,
    relaxation: Relaxation,
    classes: Sequence[WorkloadClass],
    options: Sequence[NodeOption],
    offered: Offered,
    settings: Settings,
    tell: Callable[[Packing], None],
    remaining: Callable[[], float],
) -> Fleet | str:
    """The fleet with seats, or why there is none, in words for the plan's assumptions.

    Args:
        packings: of everybody, when any replica may be anywhere: what it comes to is not dearer than that.
        relaxation: prices and loads.
        classes: to place.
        options: nodes for them.
        offered: others.
        settings: rules.
        tell: about packings as they are found.
        remaining: seconds left.
    """
    workloads = [member for each in classes for member in each.members]
    if len(workloads) > _MOST_WORKLOADS:
        return f"no seats for {len(workloads)} workloads: each would have a NodePool of its own"
    packing = _packed(packings, tell)
    without = replace(settings, without=settings.without | {Mechanism.MIG.value})
    found = seating(
        classes,
        options,
        (*relaxation.patterns, *packing),
        packing,
        lambda some: offered.nodes(some, without),
        gap=settings.gap,
        remaining=remaining,
    )
    if found is None:
        return "no seats: there was no time to choose what pods ask for"
    made = SeatedFleet(found, settings.stack, offered.second)
    pools, assignments = made.pools(), made.assignments()
    nodes = Counter[tuple[str, str, str]]()
    for pool in pools:
        for node in pool.nodes:
            nodes[pool.name, node.instance_type, node.purchase] += node.count
    pods = sum(each.replicas for each in assignments)
    if pods * nodes.total() > _MOST_LOOKS:
        return f"no seats for {pods:,} replicas: the model of Karpenter would take too long to say what it launches"
    realiser = SeatRealiser(pools, assignments, workloads, offered.catalog, settings.stack, settings.overhead)
    orders = enumerate(priced_orders(pods))
    spread = realiser.spread(order for number, order in orders if not number or remaining() > 0)
    if any(dict(bill.nodes) != nodes for bill, _ in spread.bills):
        return "no seats: by the model, Karpenter launches other nodes than the planned ones"
    seats = made.packing()
    price = cost(seats)
    missing = []
    for name in sorted({instance_type for _, instance_type, _ in nodes}):
        if remaining() > 0:
            bill = realiser.without(name, spread.typical)
            missing.append(Missing(name, bill.price - price, bill.unbound))
    cheapest = min([(seats, found.classes), (packing, tuple(classes))], key=lambda each: cost(each[0]))
    return Fleet(pools, assignments, price, *cheapest, spread, tuple(missing))


def _packed(packings: Packings, tell: Callable[[Packing], None]) -> Packing:
    """The cheapest packing. Nothing is counted where seats are planned, so that there is one."""
    packing = packings.cheapest()
    if packing is None:
        raise AssertionError("no packing, and no limits")
    tell(packing)
    packings.look_at_all(packing)
    return packings.cheapest_of_all(packing)
