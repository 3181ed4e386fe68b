"""What each workload's pods ask for, such that nodes are cheapest when any of them may be on any node that offers it.

With seats the pods of a workload may be in many pools, in exact numbers. But they have one template, which asks for one
resource. So a packing for seats comes in two steps: an integer program over the loads known chooses what each workload
asks for; then loads are generated anew for that, and nodes made whole. A MIG profile is a resource of its own, on nodes
that offer little else: whoever asks for one stays on the nodes that the program has for it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner import budget
from gpuslice.planner.bound.columns import ColumnGeneration, each_alone
from gpuslice.planner.model.limits import Limits
from gpuslice.planner.model.packing import cost
from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import ClassNumber, PodsAtPlace, numbered, numbers_of
from gpuslice.planner.packing.programme import Packings, cheapest_of, trimmed
from gpuslice.planner.programs.highs import INFINITY, Column, Ended, Stop, solve_mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gpuslice.carriers.carrier import Ask
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.workloads.model import Workload

    Asking = tuple[Ask, ...]  # of a pattern's pods, entry by entry

_NODES: Final = 100  # of branch and bound
_ALONE: Final = 2  # nodes for each place alone, cheapest first
_MUCH_DEARER: Final = 2
_MOST_CHOICES: Final = 2_000  # of workloads; beyond, all of a class ask alike


class AskingClass(NamedTuple):
    """Replicas of a class that ask for the same.

    Attributes:
        class_number: of the class, among all those to place.
        ask: what their pods ask for.
    """

    class_number: ClassNumber
    ask: Ask


@dataclass(frozen=True, slots=True)
class Seating:
    """Who asks for what, and nodes.

    Attributes:
        classes: the members of each ask for the same, which is `kept_to`.
        packing: whole nodes for all of them, by their numbers here.
        alone: by number, nodes on which a replica of the class is cheap with no others.
    """

    classes: tuple[WorkloadClass, ...]
    packing: Packing
    alone: tuple[tuple[Pattern, ...], ...]


def seating(
    classes: Sequence[WorkloadClass],
    options: Sequence[NodeOption],
    known: Iterable[Pattern],
    begin: Packing,
    offered: Callable[[Sequence[WorkloadClass]], tuple[NodeOption, ...]],
    *,
    gap: float,
    clock: Clock,
) -> Seating | None:
    """Choose for every workload what its pods ask for, and nodes; None where time is too short for an answer.

    Args:
        classes: to place.
        options: nodes for them.
        known: loads worth choosing from.
        begin: whole nodes for all of them, as if any replica could be anywhere.
        offered: nodes without MIG for other classes.
        gap: relative, at which nodes are good enough.
        clock: work left.
    """
    lonely = _alone(options, classes)
    if clock.over():
        return None
    begun = _begun(begin, classes, lonely)
    patterns = dict.fromkeys([*known, *_likely(lonely), *(pattern for pattern, _ in begun[1])])
    asked, nodes = _chosen(list(patterns), classes, begun, gap=gap / 2, clock=clock)
    kept, numbers = _kept(classes, asked)
    packing: Packing = Counter()
    for (pattern, asking), count in nodes.items():
        if (same := _renumbered(pattern, asking, numbers)) is not None:
            packing[same] += count
    by_number = {number: place for place, number in numbers.items()}
    own = []
    for number in numbers_of(kept):
        _, ask = place = by_number[number]
        alone = (_renumbered(pattern, (ask,), numbers) for pattern in lonely[place])
        own.append(tuple(lone for lone in alone if lone is not None))
    return Seating(kept, _repacked(packing, kept, offered, gap=gap, clock=clock), tuple(own))


def askings(pattern: Pattern, classes: Sequence[WorkloadClass]) -> tuple[Asking, ...]:
    """What the pods of a node may ask for: one thing each; on a whole GPU that is its node's only one, two."""
    cut, gpus = pattern.option.cut, pattern.option.instance_type.gpu_count
    places = [(classes[number], cut.slices[where]) for number, where, _ in pattern.pods]
    askings_of = [tuple(one.asks_for(slice_, cut.carrier) for one, slice_ in places)]
    others = [one.asks_otherwise(slice_, cut.carrier, gpus) for one, slice_ in places]
    known = tuple(ask for ask in others if ask is not None)
    if len(known) == len(places):
        askings_of.append(known)
    kept = [one.kept_to for one, _ in places]
    return tuple(
        asking
        for asking in askings_of
        if all(to is None or to == ask for to, ask in zip(kept, asking, strict=True))
    )


def _alone(
    options: Iterable[NodeOption], classes: Sequence[WorkloadClass]
) -> dict[AskingClass, list[Pattern]]:
    """For each place that there can be, the nodes on which a replica is cheapest with none of another class."""
    nodes: dict[AskingClass, list[Pattern]] = defaultdict(list)
    for option in options:
        for number in option.classes:
            for pattern in each_alone(option, number, classes):
                for (ask,) in askings(pattern, classes):
                    nodes[AskingClass(number, ask)].append(pattern)
    return {
        place: sorted(group, key=lambda pattern: (_a_replica(pattern), pattern.option.price))[:_ALONE]
        for place, group in nodes.items()
    }


def _likely(lonely: Mapping[AskingClass, Sequence[Pattern]]) -> Iterator[Pattern]:
    """Of the nodes of one class alone, those on which a replica isn't much dearer than elsewhere."""
    least: dict[ClassNumber, float] = {}
    for (number, _), patterns in lonely.items():
        least[number] = min(_a_replica(patterns[0]), least.get(number, math.inf))
    for (number, _), patterns in lonely.items():
        if _a_replica(patterns[0]) <= _MUCH_DEARER * least[number]:
            yield from patterns


def _a_replica(pattern: Pattern) -> float:
    """Micro-dollars an hour of each replica on a node of one class."""
    return pattern.option.price / pattern.pods[0].replicas


def _begun(
    packing: Packing, classes: Sequence[WorkloadClass], lonely: Mapping[AskingClass, Sequence[Pattern]]
) -> tuple[dict[ClassNumber, Ask], Counter[tuple[Pattern, Asking]]]:
    """A choice to begin from, which is there however short time is.

    All of a class ask for what most of its replicas get by the packing, or where they are cheapest alone; whoever then
    has no place is on nodes alone.
    """
    votes: dict[ClassNumber, Counter[Ask]] = defaultdict(Counter)
    for pattern, count in packing.items():
        for asking in askings(pattern, classes):
            for (number, _, carried), ask in zip(pattern.pods, asking, strict=True):
                votes[number][ask] += carried * count
    asks: dict[ClassNumber, Ask] = {}
    for number, ask in sorted(lonely, key=lambda place: _a_replica(lonely[place][0])):
        asks.setdefault(number, ask)
    asks |= {number: max(sorted(counts), key=counts.__getitem__) for number, counts in votes.items()}
    left = {number: a_class.replicas for number, a_class in numbered(classes)}
    nodes: Counter[tuple[Pattern, Asking]] = Counter()
    for pattern, count in packing.items():
        for asking in askings(pattern, classes):
            served = [
                (number, carried)
                for (number, _, carried), ask in zip(pattern.pods, asking, strict=True)
                if ask == asks[number]
            ]
            if served:
                nodes[pattern, asking] += count
                for number, carried in served:
                    left[number] -= carried * count
                break
    for number, missing in left.items():
        if missing > 0:
            alone = lonely[AskingClass(number, asks[number])][0]
            nodes[alone, (asks[number],)] += -(-missing // alone.pods[0].replicas)
    return asks, nodes


def _chosen(
    patterns: Sequence[Pattern],
    classes: Sequence[WorkloadClass],
    begun: tuple[dict[ClassNumber, Ask], Counter[tuple[Pattern, Asking]]],
    *,
    gap: float,
    clock: Clock,
) -> tuple[dict[str, Ask], Counter[tuple[Pattern, Asking]]]:
    """What each workload asks for, by its name, and nodes: the integer program's, or those begun with."""
    rows: dict[AskingClass, int] = {}
    columns, nodes = [], []
    for pattern in patterns:
        for asking in askings(pattern, classes):
            entries: Counter[int] = Counter()
            for (number, _, count), ask in zip(pattern.pods, asking, strict=True):
                entries[rows.setdefault(AskingClass(number, ask), len(rows))] += count
            ordered = sorted(entries.items())
            nodes.append((pattern, asking))
            columns.append(
                Column(
                    pattern.option.usd,
                    tuple(row for row, _ in ordered),
                    tuple(float(count) for _, count in ordered),
                )
            )
    lower, upper = [0.0] * len(rows), [INFINITY] * len(rows)
    places: dict[ClassNumber, list[AskingClass]] = defaultdict(list)
    for place in rows:
        places[place.class_number].append(place)
    many = sum(len(classes[number].members) * len(group) for number, group in places.items()) > _MOST_CHOICES
    choices: list[tuple[tuple[Workload, ...], Ask]] = []
    begins: list[float] = []
    for number, a_class in numbered(classes):
        together = many or a_class.splittable
        for group in (a_class.members,) if together else ((member,) for member in a_class.members):
            one = len(lower)
            lower.append(1.0)
            upper.append(1.0)
            replicas = float(sum(member.replicas for member in group))
            for place in places[number]:
                choices.append((group, place.ask))
                begins.append(float(begun[0][number] == place.ask))
                columns.append(Column(0.0, (rows[place], one), (-replicas, 1.0), upper=1.0))
    start = np.array([float(begun[1][node]) for node in nodes] + begins)
    answer = solve_mixed(
        columns,
        lower,
        upper,
        Stop(gap, _NODES, budget.CHECKS_OF_SEATS, clock.on_the_wall),
        start=start,
    )
    if answer.ended is Ended.TIME:
        clock.stop()
    values = start if answer.point is None else answer.point.values
    taken = values[len(nodes) :]
    asked = {
        member.name: ask
        for (group, ask), value in zip(choices, taken, strict=True)
        if value > 0.5
        for member in group
    }
    return asked, Counter({node: round(x) for node, x in zip(nodes, values, strict=False) if x > 0.5})


def _kept(
    classes: Sequence[WorkloadClass], asked: Mapping[str, Ask]
) -> tuple[tuple[WorkloadClass, ...], dict[AskingClass, ClassNumber]]:
    """The classes, parted by what their members ask for, those that ask for MIG profiles last; and their numbers."""
    members: dict[AskingClass, list[Workload]] = defaultdict(list)
    for number, a_class in numbered(classes):
        for member in a_class.members:
            members[AskingClass(number, asked[member.name])].append(member)
    places = sorted(members, key=lambda place: place.ask.mechanism is Mechanism.MIG)
    kept = tuple(
        replace(
            classes[place.class_number],
            members=tuple(members[place]),
            replicas=sum(workload.replicas for workload in members[place]),
            kept_to=place.ask,
        )
        for place in places
    )
    return kept, {place: ClassNumber(number) for number, place in enumerate(places)}


def _renumbered(
    pattern: Pattern, asking: Asking, numbers: Mapping[AskingClass, ClassNumber]
) -> Pattern | None:
    """A node with the classes' new numbers, without those places that nobody asks for; None: nobody is left."""
    pods = sorted(
        PodsAtPlace(numbers[asker], where, count)
        for (number, where, count), ask in zip(pattern.pods, asking, strict=True)
        if (asker := AskingClass(number, ask)) in numbers
    )
    return Pattern(pattern.option, tuple(pods), pattern.geometries) if pods else None


def _repacked(
    packing: Packing,
    classes: tuple[WorkloadClass, ...],
    offered: Callable[[Sequence[WorkloadClass]], tuple[NodeOption, ...]],
    *,
    gap: float,
    clock: Clock,
) -> Packing:
    """Nodes without surplus; those without MIG are looked for anew, and taken where that is cheaper."""
    others = sum(
        a_class.kept_to is None or a_class.kept_to.mechanism is not Mechanism.MIG for a_class in classes
    )
    options = offered(classes[:others]) if others else ()
    used = [pattern.option for pattern in packing]
    packing = trimmed(packing, options, classes, Limits((), [*options, *used]))
    if not options or clock.over():
        return packing
    columns = ColumnGeneration(options, classes[:others])
    relaxation = columns.relax(tolerance=gap / 3, clock=clock.share(1.0 - budget.LEFT_BY_SEATS_BOUND))
    packings = Packings(columns, relaxation, options, classes[:others], gap=gap, clock=clock)
    again = cheapest_of(packings)
    if again is None:
        return packing
    with_mig = Counter(
        {
            pattern: count
            for pattern, count in packing.items()
            if pattern.option.cut.mechanism is Mechanism.MIG
        }
    )
    without = packing - with_mig
    return with_mig + (again if cost(again) < cost(without) else without)
