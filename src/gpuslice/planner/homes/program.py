"""Homes and nodes chosen together: a mixed-integer program over the patterns known. Exact for small fleets."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import Member, PodsAtPlace, numbered
from gpuslice.planner.model.pools import Home, pool_of
from gpuslice.planner.programs.highs import INFINITY, Column, Ended, Stop, begin_mixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future

    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.places import ClassNumber
    from gpuslice.planner.programs.arrays import Floats
    from gpuslice.planner.programs.highs import Answer


_NODES: Final = 4  # of branch and bound: more find nothing that the search wouldn't
_MANY_CHOICES: Final = 250  # of homes for workloads: beyond, only the likely ones of each class
_LIKELY: Final = 3
_MOST_CHOICES: Final = 1_000  # beyond, the search that follows has to do


class HomeProgram:
    """A home for every workload that needs one, such that nodes of the patterns known are cheapest.

    It is solved on another core, from the moment it is made.
    """

    def __init__(
        self,
        patterns: Sequence[Pattern],
        classes: Sequence[WorkloadClass],
        values: Floats,
        *,
        gap: float,
        clock: Clock,
    ) -> None:
        """Begin; where there are too many choices, there will be no answer.

        Args:
            patterns: to choose from; for every class some carry it alone.
            classes: to place; splittable ones need no home.
            values: what a replica of each class is worth, dollars an hour, by which homes are preferred.
            gap: relative, at which to stop.
            clock: whose wall is a net below.
        """
        if _choices(patterns, classes) > _MANY_CHOICES:
            patterns = _likely(patterns, values)
        self._patterns, self._classes = patterns, classes
        self._choices: list[tuple[Member, Home]] = []
        self._begun: Future[Answer] | None = None
        if _choices(patterns, classes) > _MOST_CHOICES:
            return
        rows, lower, columns = _supply(patterns, classes)
        upper = [INFINITY] * len(lower)
        homes: dict[ClassNumber, list[tuple[Home, int]]] = defaultdict(list)
        for (number, home), row in rows.items():
            if home is not None:
                homes[number].append((home, row))
        for number, offered in sorted(homes.items()):
            for position, workload in enumerate(classes[number].members):
                one = len(lower)
                lower.append(1.0)
                upper.append(1.0)
                for home, row in offered:
                    self._choices.append((Member(number, position), home))
                    columns.append(Column(0.0, (row, one), (-float(workload.replicas), 1.0), upper=1.0))
        self._clock = clock
        self._begun = begin_mixed(
            columns, lower, upper, Stop(gap, _NODES, seconds=clock.on_the_wall), hasty=True
        )

    def chosen(self) -> tuple[dict[Member, Home], Packing] | None:
        """The homes, and the nodes, which carry exactly the replicas there are, once there is an answer.

        None where there are too many choices, or none was found before the solver's nodes came to their end.
        """
        answer = None if self._begun is None else self._begun.result()
        if answer is not None and answer.ended is Ended.TIME:
            self._clock.stop()
        if answer is None or answer.point is None:
            return None
        values = answer.point.values
        taken = values[len(self._patterns) :]
        chosen = {
            member: home for (member, home), value in zip(self._choices, taken, strict=True) if value > 0.5
        }
        wanted: Counter[tuple[ClassNumber, Home | None]] = Counter()
        for (number, position), home in chosen.items():
            wanted[number, home] += self._classes[number].members[position].replicas
        for number, a_class in numbered(self._classes):
            if a_class.splittable:
                wanted[number, None] = a_class.replicas
        amounts = Counter(
            {pattern: round(x) for pattern, x in zip(self._patterns, values, strict=False) if x > 0.5}
        )
        return chosen, _without_surplus(amounts, wanted, self._classes)


def _choices(patterns: Iterable[Pattern], classes: Sequence[WorkloadClass]) -> int:
    homes = {(number, pool_of(pattern), where) for pattern in patterns for number, where, _ in pattern.pods}
    return sum(len(classes[number].members) for number, _, _ in homes if not classes[number].splittable)


def _likely(patterns: Sequence[Pattern], values: Floats) -> list[Pattern]:
    """The patterns that have everybody in one of the best homes of its class: those with patterns worth their price."""
    lost = {
        pattern: 1.0 - sum(values[number] * count for number, _, count in pattern.pods) / pattern.option.usd
        for pattern in patterns
        if pattern.option.usd
    }
    ranked = sorted(patterns, key=lambda pattern: lost.get(pattern, 0.0))
    best: dict[ClassNumber, dict[Home, None]] = defaultdict(dict)
    for pattern in ranked:
        for number, where, _ in pattern.pods:
            if len(best[number]) < _LIKELY:
                best[number][Home(pool_of(pattern), where)] = None
    likely = [
        pattern
        for pattern in patterns
        if all(Home(pool_of(pattern), where) in best[number] for number, where, _ in pattern.pods)
    ]
    covered = {number for pattern in likely for number, _, _ in pattern.pods}
    # Whom the best homes of others leave out can live alone.
    return likely + [
        pattern
        for pattern in patterns
        if len(pattern.pods) == 1 and pattern.pods[0].class_number not in covered
    ]


def _supply(
    patterns: Sequence[Pattern], classes: Sequence[WorkloadClass]
) -> tuple[dict[tuple[ClassNumber, Home | None], int], list[float], list[Column]]:
    """Rows, with their least, and the patterns as columns over them.

    A row is what a home has of a class, less what its tenants take; or the whole demand of a splittable class.
    """
    rows: dict[tuple[ClassNumber, Home | None], int] = {}
    lower: list[float] = []
    columns: list[Column] = []
    for pattern in patterns:
        entries: dict[int, float] = defaultdict(float)
        for number, where, count in pattern.pods:
            splittable = classes[number].splittable
            key = (number, None if splittable else Home(pool_of(pattern), where))
            if key not in rows:
                rows[key] = len(lower)
                lower.append(float(classes[number].replicas) if splittable else 0.0)
            entries[rows[key]] += count
        ordered = sorted(entries.items())
        columns.append(
            Column(pattern.option.usd, tuple(row for row, _ in ordered), tuple(count for _, count in ordered))
        )
    return rows, lower, columns


def _without_surplus(
    amounts: Packing, wanted: Counter[tuple[ClassNumber, Home | None]], classes: Sequence[WorkloadClass]
) -> Packing:
    """The nodes with no more replicas than wanted. Cheap nodes fill first: surplus comes off the dear ones."""
    packing: Packing = Counter()
    for pattern, amount in sorted(
        amounts.items(), key=lambda entry: (entry[0].option.price, entry[0].pods, entry[0].geometries)
    ):
        keys = [
            (number, None if classes[number].splittable else Home(pool_of(pattern), where))
            for number, where, _ in pattern.pods
        ]
        left = amount
        while left:
            pods = []
            used: Counter[tuple[ClassNumber, Home | None]] = Counter()
            same = True  # as long as places are filled as they can be, or not at all
            for key, (number, where, count) in zip(keys, pattern.pods, strict=True):
                carried = min(count, wanted[key])
                same &= carried in {0, count}
                wanted[key] -= carried
                if carried:
                    used[key] += carried
                    pods.append(PodsAtPlace(number, where, carried))
            if not pods:
                break
            more = min(wanted[key] // carried for key, carried in used.items()) if same else 0
            alike = min(left, 1 + more)
            for key, carried in used.items():
                wanted[key] -= carried * (alike - 1)
            packing[Pattern(pattern.option, tuple(pods), pattern.geometries)] += alike
            left -= alike
    return packing
