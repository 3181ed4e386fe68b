"""Seats of a plan that is carried out already: which of them may stay, and who needs another one."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.carriers.table import carrier_of
from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.homes.previous import cut_of
from gpuslice.planner.model.options import node_option
from gpuslice.planner.model.patterns import Pattern, carries, holds
from gpuslice.planner.model.places import Place, PodsAtPlace, numbered, pods_at
from gpuslice.planner.model.pools import instances_of
from gpuslice.planner.seats.pools import Had, Own, SeatPool, seat_kind, seat_name
from gpuslice.planner.seats.requests import askings
from gpuslice.workloads.policy import Policy, forbids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuslice.carriers.carrier import Ask
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.plan.artefact import Plan, Pool
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.places import ClassNumber, SliceIndex


def seats_kept(
    previous: Plan,
    classes: Sequence[WorkloadClass],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    policy: Policy,
    stack: str,
) -> Had:
    """The seats that replicas have and may keep, as many as there are replicas.

    A workload keeps seats where its slice still fits it, its own pool can still be made, and its pods go on asking for
    the same. A pool stays with as many nodes as everybody who has seats there can fill.

    Args:
        previous: plan.
        classes: to be placed now.
        catalog: types and prices.
        overhead: of daemonsets.
        policy: what may be bought.
        stack: what nodes run.
    """
    types = {kind.name: kind for kind in catalog.instance_types if not forbids(policy, kind)}
    numbers = {member.name: number for number, a_class in numbered(classes) for member in a_class.members}
    asks = _asks(previous, classes, numbers)
    patterns: dict[str, Pattern] = {}
    for pool in previous.pools:
        machine, purchase = types.get(pool.instance_types[0]), Purchase(pool.purchases[0])
        if not pool.seats or machine is None or purchase not in machine.prices:
            continue
        carrier = carrier_of(pool, stack)
        kept_cut = (
            cut_of(pool, classes, [machine], carrier, catalog.region)
            if pool.seats.keys() <= asks.keys()
            else None
        )
        option = None if kept_cut is None else node_option(machine, purchase, kept_cut[0], classes, overhead)
        if kept_cut is not None and option is not None:
            geometries = kept_cut[1] * option.units if len(kept_cut[1]) == 1 else kept_cut[1]
            pattern = _full(Pattern(option, (), geometries), pool.seats, asks, numbers, classes)
            if pattern is not None:
                patterns[pool.name] = pattern
    own: dict[str, tuple[Pool, Pattern]] = {}
    for pool in previous.pools:
        if pool.name in patterns and pool.max_nodes is UNSET:
            own[next(iter(pool.seats))] = pool, patterns[pool.name]
    left = {
        member.name: member.replicas
        for a_class in classes
        for member in a_class.members
        if member.name in own
    }
    limited = []
    for pool in previous.pools:
        if pool.name not in patterns or pool.max_nodes is UNSET or not pool.seats.keys() <= left.keys():
            continue
        nodes = min(pool.max_nodes, *(left[name] // count for name, count in pool.seats.items()))
        if nodes:
            seats = tuple(sorted(pool.seats.items()))
            limited.append(SeatPool(seat_kind(patterns[pool.name]), seats, ((seats, nodes),)))
            for name, count in seats:
                left[name] -= count * nodes
    kept = {}
    for name, (pool, pattern) in own.items():
        replicas = min(left[name], sum(node.pods[name] * node.count for node in pool.nodes))
        kept[name] = Own(seat_kind(pattern), pool.seats[name], replicas)
    return Had(tuple(limited), kept, {name: asks[name] for name in own})


def unseated(classes: Sequence[WorkloadClass], had: Had) -> tuple[WorkloadClass, ...]:
    """The classes of those replicas that have no seat yet; who has one elsewhere goes on asking for the same."""
    seated = Counter({name: own.replicas for name, own in had.own.items()})
    for pool in had.pools:
        for counts, alike in pool.nodes:
            for name, count in counts:
                seated[name] += count * alike
    rest_of_classes = []
    for a_class in classes:
        groups = defaultdict(list)
        for member in a_class.members:
            if rest := member.replicas - seated[member.name]:
                groups[had.asks.get(member.name)].append(replace(member, replicas=rest))
        for ask, members in groups.items():
            replicas = sum(member.replicas for member in members)
            rest_of_classes.append(replace(a_class, members=tuple(members), replicas=replicas, kept_to=ask))
    return tuple(rest_of_classes)


def loads_of_some(
    known: Iterable[Pattern], classes: Sequence[WorkloadClass], some: Sequence[WorkloadClass]
) -> Iterator[Pattern]:
    """The loads of nodes as far as they are of some classes, which are parts of all of them.

    Args:
        known: loads, by numbers of all classes.
        classes: all of them.
        some: as `unseated` has them.
    """
    number_of = {member.name: number for number, a_class in numbered(classes) for member in a_class.members}
    parts: dict[tuple[ClassNumber, Ask | None], ClassNumber] = {}
    for part, a_part in numbered(some):
        parts[number_of[a_part.members[0].name], a_part.kept_to] = part
    for pattern in known:
        for asking in askings(pattern, classes):
            pods = []
            for (number, where, count), ask in zip(pattern.pods, asking, strict=True):
                here = parts.get((number, ask), parts.get((number, None)))
                if here is not None:
                    pods.append(PodsAtPlace(here, where, min(count, some[here].replicas)))
            if pods:
                yield Pattern(pattern.option, tuple(sorted(pods)), pattern.geometries)


def _asks(
    previous: Plan, classes: Sequence[WorkloadClass], numbers: Mapping[str, ClassNumber]
) -> dict[str, Ask]:
    """What the pods of each workload that is still there ask for under a plan, as classes have it."""
    pools = {pool.name: pool for pool in previous.pools if pool.seats}
    asks_of: dict[str, set[Ask]] = defaultdict(set)
    for assignment in previous.assignments:
        if assignment.workload not in numbers or assignment.pool not in pools:
            continue
        one = classes[numbers[assignment.workload]]
        member = next(one_of for one_of in one.members if one_of.name == assignment.workload)
        if assignment.asks.seat != seat_name(member):
            continue  # its need is another, and so are its seats
        pool = pools[assignment.pool]
        ask = carrier_of(pool, previous.stack).ask_in(assignment.asks, pool.layout)
        asks_of[assignment.workload].add(one.told(ask, Mechanism(pool.layout.mechanism), pool.layout.gpu))
    return {name: asks.pop() for name, asks in asks_of.items() if len(asks) == 1}


def _full(
    node: Pattern,
    seats: Mapping[str, int],
    asks: Mapping[str, Ask],
    numbers: Mapping[str, ClassNumber],
    classes: Sequence[WorkloadClass],
) -> Pattern | None:
    """The node with all seats taken; None where it doesn't carry that (any more)."""
    option = node.option
    pods: Counter[Place] = Counter()
    for name, count in seats.items():
        one = replace(classes[numbers[name]], kept_to=asks[name])
        fitting = [
            at
            for at, _ in option.cut.fits.get(numbers[name], ())
            if one.may_have(option.cut.slices[at], option.cut.carrier)
        ]
        if not fitting or not option.admits(numbers[name]):
            return None
        pods[Place(numbers[name], fitting[0])] += count
    load = Pattern(option, pods_at(pods), node.geometries)
    if option.cut.mechanism is not Mechanism.MIG:
        return load if carries(option, load.counts(), classes) else None
    instances = instances_of(option, node.geometries)
    taken: Counter[SliceIndex] = Counter()
    for _, where, count in load.pods:
        taken[where] += count
    fits = holds(option, load.counts(), classes)
    return load if fits and all(count <= instances[where] for where, count in taken.items()) else None
