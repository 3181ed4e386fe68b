"""Why a workload is where it is, in words: what it pays there, and the nearest loser with its dollars."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

from gpuslice.costs.alternatives import alternatives, offers
from gpuslice.costs.pool_use import pool_uses
from gpuslice.costs.shares import paid
from gpuslice.units import micro_usd
from gpuslice.workloads.service_kinds import latency_limit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.costs.alternatives import Offer
    from gpuslice.plan.artefact import Assignment, Plan
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.settings import Settings
    from gpuslice.workloads.model import Service
    from gpuslice.workloads.service_kinds import Kind

_MOST: Final = 100
"""Kinds of workloads, the dearest first, whose losers are looked for: each takes some milliseconds."""
_CENT: Final = 0.005  # dollars an hour: what is nearer looks equal


def served_in_words(service: Service, kind: Kind, replicas: int) -> str:
    """What so many replicas of a kind do, against what is asked: with the profile that says so."""
    profile = kind.profile
    done = float(kind.throughput * replicas)
    of_one = (
        f"{profile.rate:g}"
        if profile.processes == 1
        else f"{profile.processes} processes of {profile.rate:g}"
    )
    return (
        f"{replicas} x {of_one} = {done:g} {service.unit} for the {service.rate:g} asked; "
        f"{profile.latency_ms:g} ms a batch of {profile.batch}, below {float(latency_limit(service)):g}"
    )


def with_prices(
    plan: Plan, classes: Sequence[WorkloadClass], catalog: Catalog, settings: Settings
) -> tuple[Assignment, ...]:
    """The plan's assignments, each with what its workload pays, and with what the next best slice costs.

    Args:
        plan: whose nodes are all there.
        classes: that it places.
        catalog: types and prices.
        settings: that it was made under.
    """
    members = [member for a_class in classes for member in a_class.members]
    of_workload: dict[str, float] = defaultdict(float)
    for (name, _), usd in paid(pool_uses(plan, members, catalog)).items():
        of_workload[name] += usd
    losers = _losers(plan, classes, catalog, settings, of_workload)
    return tuple(
        assignment
        if assignment.service is not UNSET
        else structs.replace(
            assignment,
            because=f"{assignment.because}; ${of_workload[assignment.workload]:,.2f} an hour"
            f"{losers.get(assignment.workload, '')}",
        )
        for assignment in plan.assignments
    )


def _losers(
    plan: Plan,
    classes: Sequence[WorkloadClass],
    catalog: Catalog,
    settings: Settings,
    pays: Mapping[str, float],
) -> dict[str, str]:
    """The next best slice of each workload in words, to follow what it pays."""
    layouts = {pool.name: pool.layout for pool in plan.pools}
    had: dict[str, list[Assignment]] = defaultdict(list)
    for assignment in plan.assignments:
        had[assignment.workload].append(assignment)
    dearest = sorted(classes, key=lambda kind: -sum(pays.get(member.name, 0.0) for member in kind.members))
    freed, types = _freed(plan), _types(plan)
    found = {}
    for kind in dearest[:_MOST]:
        if kind.members[0].service is not None:
            continue
        pools = dict.fromkeys(one.pool for member in kind.members for one in had[member.name])
        listed = alternatives(
            kind.members[0],
            catalog,
            settings.overhead,
            settings.stack,
            [layouts[pool] for pool in pools],
            policy=settings.policy,
            without=settings.without,
            in_order=False,
        )
        for member in kind.members:
            here = {one.slice for one in had[member.name]}
            own, usd, frees = types[member.name], pays.get(member.name, 0.0), freed[member.name] / 1e6
            others = [
                offer
                for offer in offers(listed, member.replicas)
                if offer.slice not in here and not _likewise(offer, own, (usd, frees))
            ]
            found[member.name] = _next(others, usd, frees)
    return found


def _types(plan: Plan) -> dict[str, set[str]]:
    """The instance types of the nodes that carry a workload."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in (node for pool in plan.pools for node in pool.nodes):
        for name in node.pods:
            found[name].add(node.instance_type)
    return found


def _likewise(offer: Offer, own: Collection[str], prices: Iterable[float]) -> bool:
    """Whether an offer is only another way to cut the same nodes for the same money."""
    if offer.alone is None or offer.alone_price is None or offer.alone.instance_type not in own:
        return False
    alone = offer.alone_price / 1e6
    return any(abs(alone - price) < _CENT for price in prices)


def _freed(plan: Plan) -> Counter[str]:
    """Micro-dollars an hour of the nodes that carry nobody else, by workload: what goes if it leaves."""
    found: Counter[str] = Counter()
    for node in (node for pool in plan.pools for node in pool.nodes):
        if len(node.pods) == 1:
            (name,) = node.pods
            found[name] += micro_usd(node.usd_per_hour) * node.count
    return found


def _next(others: Sequence[Offer], pays: float, freed: float) -> str:
    """The cheapest of the others for all replicas alone; where that is less than they pay here, what moving frees."""
    first = next((offer for offer in others if offer.alone is not None), None)
    if first is None or first.alone is None or first.alone_price is None:
        return ", and nothing else would do"
    alone = first.alone_price / 1e6
    nodes = f"{first.alone.needed(first.replicas)} {first.alone.instance_type}"
    words = f", next is {first.slice} at ${alone:,.2f} (alone on {nodes})"
    if alone >= pays - _CENT:
        return words
    if alone >= freed - _CENT:
        return f"{words}, and moving frees ${freed:,.2f} of nodes"
    less = f"{words}, ${freed - alone:,.2f} less than the nodes that moving frees"
    return f"{less}: not found, or dearer as Karpenter would fill its pool"
