"""Groups: of a model's nodes those that classes may enter together, by what their pods require of a node's labels.

A pool is for one group. So every machine that it may have meets what each of its pods requires, whichever of them
Karpenter launches; and classes that require nothing may be in any group.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.labels import node_facts
from gpuslice.planner.model.places import numbered, numbers_of
from gpuslice.workloads.requirements import entered, met, pins_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gpuslice.cloud.catalog import InstanceType, Purchase
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.places import ClassNumber
    from gpuslice.workloads.requirements import Requirement, Term, Terms

    Offer = tuple[str, Purchase]  # an instance type by its name, and how it is bought
    Facts = Mapping[str, str | None]
    Entry = tuple[Term, frozenset[Offer]]  # what a pool is bound to, and its nodes

_MOST_TOGETHER: Final = 16
"""Groups of a GPU model for classes that require different things: each multiplies the ways to cut it."""
_MOST_TERMS: Final = 16
"""Of requirements taken together: terms multiply."""


@dataclass(frozen=True, slots=True)
class Group:
    """Who may share nodes, and which.

    Attributes:
        members: numbers of the classes, ascending.
        pins: what its pools are bound to: zones, and labels of the cluster's owner.
        offers: what may be bought for them; None: anything.
    """

    members: tuple[ClassNumber, ...]
    pins: Term = ()
    offers: frozenset[Offer] | None = None

    def has(self, kind: InstanceType, purchase: Purchase) -> bool:
        """Whether an instance type may be bought so for them."""
        return self.offers is None or (kind.name, purchase) in self.offers


def groups_of(
    classes: Sequence[WorkloadClass], kinds: Iterable[InstanceType], region: str
) -> tuple[Group, ...]:
    """The groups of some instance types, those of most classes first.

    Args:
        classes: to place.
        kinds: instance types with their prices.
        region: that they are in.
    """
    if not any(a_class.requires for a_class in classes):
        return (Group(tuple(numbers_of(classes))),)
    facts = {
        (kind.name, purchase): node_facts(kind, purchase, region)
        for kind in kinds
        for purchase in sorted(kind.prices)
    }
    # What differs in words only is one group.
    wanted: dict[Entry, None] = {((), frozenset(facts)): None}
    required = list(dict.fromkeys(a_class.requires for a_class in classes if a_class.requires))
    for requires in required:
        wanted |= dict.fromkeys(_entries(requires, facts))
    _together(wanted, required, facts)
    groups = [_group(classes, pins, {offer: facts[offer] for offer in offers}) for pins, offers in wanted]
    return tuple(_widest(group for group in groups if group.members))


def _widest(groups: Iterable[Group]) -> list[Group]:
    """Groups without those whose classes may all enter another, on all of their nodes: pins cost nothing."""
    widest: list[Group] = []
    for group in sorted(groups, key=lambda group: (-len(group.members), -len(group.offers or ()))):
        if not any(
            {*group.members} <= {*other.members} and (group.offers or set()) <= (other.offers or set())
            for other in widest
        ):
            widest.append(group)
    return widest


def _entries(requires: Terms, facts: Mapping[Offer, Facts]) -> list[Entry]:
    """What a pool may be bound to for one of the terms to be met, and the nodes that then meet it."""
    entering: dict[Term, set[Offer]] = defaultdict(set)
    for term in requires:
        pins = pins_of(term)
        entering[pins] |= {offer for offer, here in facts.items() if entered((term,), here, pins)}
    return [(pins, frozenset(offers)) for pins, offers in entering.items() if offers]


def _together(wanted: dict[Entry, None], required: Sequence[Terms], facts: Mapping[Offer, Facts]) -> None:
    """Add what is open to several that require different things, as long as there are few such."""
    room = len(wanted) + _MOST_TOGETHER
    joint = list(required)
    for requires in joint:  # which grows: of two, then of three
        for other in required:
            both = tuple(
                dict.fromkeys(tuple(dict.fromkeys(term + another)) for term in requires for another in other)
            )
            entries = [entry for entry in _entries(both[:_MOST_TERMS], facts) if entry not in wanted]
            if len(wanted) + len(entries) > room:
                return
            if entries:
                wanted |= dict.fromkeys(entries)
                joint.append(both[:_MOST_TERMS])


def group_of(
    classes: Sequence[WorkloadClass],
    pins: Term,
    kinds: Iterable[InstanceType],
    purchases: Collection[Purchase],
    region: str,
) -> Group:
    """The group of a pool that there is.

    Args:
        classes: to place.
        pins: that the pool is bound to.
        kinds: its instance types.
        purchases: how they are bought.
        region: that they are in.
    """
    if not pins and not any(a_class.requires for a_class in classes):
        return Group(tuple(numbers_of(classes)))
    facts = {
        (kind.name, purchase): node_facts(kind, purchase, region)
        for kind in kinds
        for purchase in kind.prices
        if purchase in purchases
    }
    return _group(classes, pins, facts)


def _group(classes: Sequence[WorkloadClass], pins: Term, facts: Mapping[Offer, Facts]) -> Group:
    enters: dict[Terms, bool] = {}
    for a_class in classes:
        if a_class.requires not in enters:
            enters[a_class.requires] = all(entered(a_class.requires, here, pins) for here in facts.values())
    members = tuple(number for number, a_class in numbered(classes) if enters[a_class.requires])
    return Group(members, pins, frozenset(facts))


def unmet(requires: Terms, facts: Facts) -> Requirement | None:
    """What of a pod's requirements no pool of such machines can meet; None: there is a term that one can.

    Args:
        requires: of the pod.
        facts: of the machine.
    """
    missing = [
        next((condition for condition in term if not met(condition, facts, pins_of(term))), None)
        for term in requires
    ]
    return None if None in missing or not missing else missing[0]
