"""Numbers that stand for classes and slices, and the places that replicas have by both."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NewType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sized

    from gpuslice.planner.model.classes import WorkloadClass

ClassNumber = NewType("ClassNumber", int)
"""The position of a workload class among all those to place."""
SliceIndex = NewType("SliceIndex", int)
"""The position of a slice among those that a cut offers."""
ONLY_SLICE = SliceIndex(0)
"""Of a cut that offers one: any but MIG's."""


class Place(NamedTuple):
    """What replicas of a class have under a cut.

    Attributes:
        class_number: whose they are.
        slice_index: which slice each of them gets.
    """

    class_number: ClassNumber
    slice_index: SliceIndex


class PodsAtPlace(NamedTuple):
    """Pods of one class with one slice, on one node.

    Attributes:
        class_number: whose they are.
        slice_index: which slice each of them gets.
        replicas: how many, positive.
    """

    class_number: ClassNumber
    slice_index: SliceIndex
    replicas: int


class LoadEntry(NamedTuple):
    """Replicas of one class with one slice, in one pool.

    Attributes:
        place: whose they are, and what each of them gets.
        replicas: how many, positive.
    """

    place: Place
    replicas: int


Load = tuple[LoadEntry, ...]
"""What a pool carries, ascending."""


class Member(NamedTuple):
    """A workload, by where it stands in its class.

    Attributes:
        class_number: of its class.
        position: among the members of that.
    """

    class_number: ClassNumber
    position: int


def numbered(classes: Iterable[WorkloadClass]) -> Iterator[tuple[ClassNumber, WorkloadClass]]:
    """Classes with their numbers, in order."""
    return ((ClassNumber(number), a_class) for number, a_class in enumerate(classes))


def numbers_of(classes: Sized) -> list[ClassNumber]:
    """The numbers of all classes, ascending."""
    return [ClassNumber(number) for number in range(len(classes))]


def pods_at(counts: Mapping[Place, int]) -> tuple[PodsAtPlace, ...]:
    """What a node carries, ascending, from so many replicas by place."""
    return tuple(PodsAtPlace(*place, count) for place, count in sorted(counts.items()))


def pods_in_slots(counts: Mapping[ClassNumber, int]) -> tuple[PodsAtPlace, ...]:
    """What a node carries whose cut offers one slice, ascending, from so many replicas by class."""
    return tuple(PodsAtPlace(number, ONLY_SLICE, count) for number, count in sorted(counts.items()))


def load_from(counts: Mapping[Place, int]) -> Load:
    """What a pool carries, ascending, from so many replicas by place; places with none are left out."""
    return tuple(LoadEntry(place, count) for place, count in sorted(counts.items()) if count > 0)
